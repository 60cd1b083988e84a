"""Environment templates. spec/api-v1 §1.10; only the owner changes a template, public or not (§5 B3, B4)."""

from __future__ import annotations

import copy
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog import model
from catalog.api import errors
from catalog.api.request import Request, check_name, check_text, kind_of
from catalog.api.timestamps import timestamp
from catalog.api.v1 import environments
from catalog.db import sessions, templates
from catalog.db.templates import Template

OWN_KEYS = (*model.OWN_COLUMNS, "is_public")


def list_all(request: Request) -> Any:
    """GET /templates."""
    request.authorize("list_env_templates")
    wanted = request.params.get("is_public", "").strip()
    public = None if not wanted else wanted.lower() == "true"
    with request.database.reading() as session:
        rows = templates.list_for(session, request.caller.project_id, public=public)
        return {"templates": [_shown(row) for row in rows]}


def create(request: Request) -> Any:
    """POST /templates."""
    request.authorize("create_env_template")
    body = request.json_object()
    name = check_name(body.get("name"), "Environment template name")
    is_public = _flag(body)
    content = {key: value for key, value in body.items() if key not in OWN_KEYS}
    _check(content.get("services"))
    with request.database.transaction() as session:
        row = _add(request, session, name, is_public, content)
        return {**content, **_shown(row)}


def show(request: Request) -> Any:
    """GET /templates/T, with its applications."""
    with request.database.reading() as session:
        row = _readable(request, session, "show_env_template")
        return {**_shown(row), "services": row.model.get("services", [])}


def update(request: Request) -> Any:
    """PUT /templates/T: renames it; `description_text` and `is_public` can be changed, too."""
    body = request.json_object()
    with request.database.transaction() as session:
        row = _own(request, session, "update_env_template")
        name = check_name(body.get("name"), "Environment template name")
        if name != row.name and templates.exists(session, row.project_id, name):
            raise errors.Conflict(f"Environment template with specified name already exists: {name}")
        row.name = name
        row.model = {**row.model, "name": name}
        if "description_text" in body:
            row.description_text = _description(body)
        if "is_public" in body:
            row.is_public = _flag(body)
        session.flush()
        return _shown(row)


def delete(request: Request) -> Any:
    """DELETE /templates/T."""
    with request.database.transaction() as session:
        session.delete(_own(request, session, "delete_env_template"))


def clone(request: Request) -> Any:
    """POST /templates/T/clone: a copy of a public template in the caller's project."""
    body = request.json_object()
    request.authorize("clone_env_template", env_template_id=request.values["template"])
    with request.database.transaction() as session:
        row = _template(request, session)
        if not row.is_public:
            raise errors.Forbidden(f"Environment template {row.id} is not public: only public ones can be cloned")
        name = check_name(body.get("name"), "Environment template name")
        content = {**copy.deepcopy(row.model), "name": name}
        copied = _add(request, session, name, _flag(body), content)
        return {**_shown(copied), "services": content.get("services", [])}


def create_environment(request: Request) -> Any:
    """POST /templates/T/create-environment: an environment, and a session in which it has the applications."""
    body = request.json_object()
    request.authorize("create_environment")
    with request.database.transaction() as session:
        row = _readable(request, session, "show_env_template")
        environment = environments.add(request, session, {key: body[key] for key in body if key != "services"})
        opened = sessions.open_for(session, environment, request.caller.user_id)
        services = row.model.get("services")
        if services:
            objects = {**environment.model["Objects"], "services": copy.deepcopy(services)}
            opened.model = {**environment.model, "Objects": objects}
            session.flush()
        return {"session_id": opened.id, "environment_id": environment.id}


def show_services(request: Request) -> Any:
    """GET /templates/T/services[/path]."""
    path = model.pieces(request.values["path"])
    with request.database.reading() as session:
        row = _member(request, session)
        request.authorize("show_env_template", env_template_id=row.id)
        services = row.model.get("services")
        if services is None:
            return []
        try:
            found = model.look_up(services, path)
        except model.NothingThere as failure:
            raise errors.NotFound(str(failure))
        if found is None:
            raise errors.NotFound(f"Path services/{'/'.join(path)}: there is nothing")
        return found


def add_service(request: Request) -> Any:
    """POST /templates/T/services: one application, or an array of them."""
    body = request.body
    if not isinstance(body, dict | list):
        raise errors.BadRequest(f"Request body: expected an application or an array of them, found {kind_of(body)}")
    with request.database.transaction() as session:
        row = _member(request, session)
        request.authorize("update_service_env_template", env_template_id=row.id)
        added = body if isinstance(body, list) else [body]
        if body != {}:  # the original takes an empty object, and keeps nothing of it
            _keep(row, [*row.model.get("services", []), *added])
        return body


def put_service(request: Request) -> Any:
    """PUT /templates/T/services/{path}: replaces one application, or a part of it."""
    path = model.pieces(request.values["path"])
    with request.database.transaction() as session:
        row = _member(request, session)
        request.authorize("update_service_env_template", env_template_id=row.id)
        services = copy.deepcopy(row.model.get("services", []))
        if not path:
            raise errors.NotFound("PUT services/: expected the id of an application in the path")
        try:
            model.put(services, path, request.body)
        except model.NothingThere as failure:
            raise errors.NotFound(str(failure))
        _keep(row, services)
        return request.body


def delete_service(request: Request) -> Any:
    """DELETE /templates/T/services/{path}; answers what the template describes then."""
    path = model.pieces(request.values["path"])
    with request.database.transaction() as session:
        row = _member(request, session)
        request.authorize("update_service_env_template", env_template_id=row.id)
        content = copy.deepcopy(row.model)
        try:
            model.remove(content, ["services", *path])
        except model.NothingThere as failure:
            raise errors.NotFound(str(failure))
        row.model = content
        return {**content, "id": row.id, "tenant_id": row.project_id, "name": row.name}


# --- rules -----------------------------------------------------------------------------------------------------------


def _template(request: Request, session: orm.Session) -> Template:
    row = templates.get(session, request.values["template"])
    if row is None:
        raise errors.NotFound(f"EnvTemplate with id {request.values['template']} not found")
    return row


def _readable(request: Request, session: orm.Session, rule: str) -> Template:
    """A template the caller may see: public, of the own project, or as administrator."""
    request.authorize(rule, env_template_id=request.values["template"])
    row = _template(request, session)
    if not (row.is_public or request.caller.is_admin or row.project_id == request.caller.project_id):
        raise errors.Forbidden("User has no access to these resources.")
    return row


def _own(request: Request, session: orm.Session, rule: str) -> Template:
    """A template the caller may change: of the own project, or as administrator."""
    row = _readable(request, session, rule)
    if not (request.caller.is_admin or row.project_id == request.caller.project_id):
        raise errors.Forbidden("User has no access to these resources: the template belongs to another project.")
    return row


def _member(request: Request, session: orm.Session) -> Template:
    """A template whose applications the caller may work with: of the own project only."""
    row = _template(request, session)
    if row.project_id != request.caller.project_id:
        raise errors.Forbidden("User is not authorized to access these tenant resources")
    return row


def _add(request: Request, session: orm.Session, name: str, is_public: bool, content: dict[str, Any]) -> Template:
    taken = errors.Conflict(f"Environment template with specified name already exists: {name}")
    if templates.exists(session, request.caller.project_id, name):
        raise taken
    row = Template(name=name, project_id=request.caller.project_id, is_public=is_public)
    row.description_text = _description(content)
    row.model = content
    session.add(row)
    try:
        session.flush()
    except sa.exc.IntegrityError:
        raise taken
    return row


def _keep(row: Template, services: list[Any]) -> None:
    _check(services)
    row.model = {**row.model, "services": services}


def _check(services: Any) -> None:
    if services is None:
        return
    try:
        model.check_applications(services)
    except model.ModelError as failure:
        raise errors.BadRequest(f"{failure}. Nothing was stored.")


def _flag(body: dict[str, Any]) -> bool:
    value = body.get("is_public", False)
    if not isinstance(value, bool):
        raise errors.BadRequest(f"is_public: expected true or false, found {kind_of(value)}")
    return value


def _description(body: dict[str, Any]) -> str:
    value = body.get("description_text") or ""
    if not isinstance(value, str):
        raise errors.BadRequest(f"description_text: expected a string, found {kind_of(value)}")
    return check_text(value, "description_text")


def _shown(row: Template) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "tenant_id": row.project_id,
        "version": row.version,
        "description_text": row.description_text,
        "is_public": row.is_public,
        "created": timestamp(row.created),
        "updated": timestamp(row.updated),
    }
