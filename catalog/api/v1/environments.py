"""Environments. spec/api-v1 §1.4."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
import webob
import yaml
from sqlalchemy import orm

from catalog import model, topology
from catalog.api import errors
from catalog.api.request import Request, check_name, check_text
from catalog.api.timestamps import timestamp
from catalog.api.v1 import access, plans, submission, trusts
from catalog.db import environments, resources, sessions, statuses
from catalog.db.environments import Environment
from catalog.trusts import trust_of

MOST_IDS = 5000  # asked for in one query: databases bound the number of values in one


def list_all(request: Request) -> Any:
    """GET /environments."""
    request.authorize("list_environments")
    project_id: str | None = request.caller.project_id
    if request.flag("all_tenants"):
        request.authorize("list_environments_all_tenants")
        project_id = None
    elif request.params.get("tenant"):
        request.authorize("list_environments_all_tenants")
        project_id = check_text(request.params["tenant"], "tenant")
    with request.database.reading() as session:
        rows = environments.list_of(session, project_id)
        status = environments.statuses(session, [row.id for row in rows])
        return {"environments": [{**shown(row), "status": status[row.id]} for row in rows]}


def create(request: Request) -> Any:
    """POST /environments."""
    request.authorize("create_environment")
    body = request.json_object()
    with request.database.transaction() as session:
        row = add(request, session, body)
        answer = shown(row)
    # Every other key is echoed as it was sent (spec/api-v1 §1.4); what the service decides is not taken from the body.
    return {**{key: value for key, value in body.items() if key not in model.OWN_COLUMNS}, **answer}


def add(request: Request, session: orm.Session, body: dict[str, Any]) -> Environment:
    """Adds the environment a body describes. Raises `errors.BadRequest`, `errors.Conflict`."""
    name = check_name(body.get("name"), "Environment name")
    description = body.get("description_text") or ""
    if not isinstance(description, str):
        raise errors.BadRequest("description_text: expected a string")
    taken = errors.Conflict(f"Environment with specified name already exists: {name}")
    if environments.exists(session, request.caller.project_id, name):
        raise taken
    try:
        content = model.new_environment(
            body, _networks(request, name), project_id=request.caller.project_id, user_id=request.caller.user_id
        )
    except model.ModelError as failure:
        raise errors.BadRequest(str(failure))
    row = Environment(
        name=name, project_id=request.caller.project_id, description_text=check_text(description, "description_text")
    )
    row.model = content
    session.add(row)
    try:
        session.flush()
    except sa.exc.IntegrityError:  # another request took the name since we looked
        raise taken
    return row


def show(request: Request) -> Any:
    """GET /environments/E."""
    with request.database.reading() as session:
        environment = access.environment_of(request, session)
        request.authorize("show_environment", environment_id=environment.id)
        seen = access.view(request, session)
        status = environments.status(session, environment.id)
        apps = None
        if seen.objects is not None:
            apps = model.with_status(model.applications(seen.model), status)
        answer = {
            **shown(environment),
            "status": status,
            "acquired_by": environments.acquired_by(session, environment.id),
            "services": apps,
        }
        return tagged(answer, seen.etag)


def update(request: Request) -> Any:
    """PUT /environments/E: renames it, in the model and in opened sessions too (spec/api-v1 §5 B29)."""
    body = request.json_object()
    with request.database.transaction() as session:
        environment = access.environment_of(request, session)
        request.authorize("update_environment", environment_id=environment.id)
        access.check_generation(request, environment)
        if "name" not in body:
            raise errors.NotFound('Request body: expected the key "name", found none')
        name = check_name(str(body["name"]) if isinstance(body["name"], int) else body["name"], "Environment name")
        if name != environment.name:
            _rename(session, environment, name)
        return shown(environment)


def delete(request: Request) -> Any:
    """DELETE /environments/E: by the engine if it has ever deployed it, at once otherwise or with `abandon`.

    With `?plan=<hash>` only if that plan of the deletion still holds.
    """
    environment_id = request.values["environment"]
    request.authorize("delete_environment", environment_id=environment_id)
    wanted = plans.wanted_in_query(request)
    held: dict[str, Any] | None = None
    compared = 0
    if wanted is not None:
        with request.database.reading() as session:
            environment = access.environment_of(request, session)
            content = {**submission.with_environment_id(environment.model, environment.id), "Objects": None}
            lock = submission.resolved(session, environment.project_id, content, environment.id)
            compared = environment.generation
        held = plans.held(request, wanted, content, lock, None)
    with request.database.transaction() as session:
        environment = access.environment_of(request, session)
        environments.lock(session, environment.id)
        if held is not None and environment.generation != compared:
            raise errors.Conflict(f"Environment {environment.id} was changed while the plan was compared.")
        abandoned = request.flag("abandon")
        if not abandoned:
            access.idle(session, environment)
        forgotten = abandoned or "ObjectsCopy" not in environment.model
        trust_id = trust_of(environment.model)
        if forgotten:
            _end(request, session, environment, resources.ABANDONED if abandoned else resources.DELETED)
    if forgotten:
        trusts.give_back(request, trust_id)
    else:
        _delete_by_engine(request, held, compared)
    return None


def _delete_by_engine(request: Request, held: dict[str, Any] | None, compared: int) -> None:
    def ready(session: orm.Session) -> Environment:
        environment = access.environment_of(request, session)
        access.idle(session, environment)
        return environment

    with trusts.for_submission(request, ready) as lent, request.database.transaction() as session:
        environment = access.environment_of(request, session)
        environments.lock(session, environment.id)
        if held is not None and environment.generation != compared:
            raise errors.Conflict(f"Environment {environment.id} was changed while the plan was compared.")
        access.idle(session, environment)
        opened = sessions.open_for(session, environment, request.caller.user_id)
        opened.model = {**opened.model, "Objects": None}
        session.flush()
        deployment_id = submission.submit_deletion(request, session, environment, opened, lent, held)
    request.services.engine.wake(deployment_id)


def last_status(request: Request) -> Any:
    """GET /environments/E/lastStatus: the newest report about each application or anything inside it."""
    with request.database.reading() as session:
        seen = access.view(request, session)
        request.authorize("show_environment", environment_id=seen.environment.id)
        apps = [app for app in model.applications(seen.model) if model.object_id(app) is not None]
        inner = {model.object_id(app): model.object_ids(app) for app in apps}
        wanted = [found for ids in inner.values() for found in ids]
        newest: dict[str, statuses.Status] = {}
        for start in range(0, len(wanted), MOST_IDS):
            part = wanted[start : start + MOST_IDS]
            newest |= statuses.last_of_entities(session, seen.environment.id, part)
        answer = {}
        for app_id, ids in inner.items():
            found = [newest[each] for each in ids if each in newest]
            last = max(found, key=lambda status: (status.created, status.sequence), default=None)
            answer[app_id] = None if last is None else submission.shown_status(last)
        return {"lastStatuses": answer}


def show_topology(request: Request) -> Any:
    """GET /environments/E/topology: the applications as a graph."""
    with request.database.reading() as session:
        seen = access.view(request, session)
        request.authorize("show_environment", environment_id=seen.environment.id)
        return topology.graph(seen.objects or {})


def shown(row: Environment) -> dict[str, Any]:
    """The fields every answer about an environment has."""
    return {
        "id": row.id,
        "name": row.name,
        "tenant_id": row.project_id,
        "version": row.version,
        "description_text": row.description_text,
        "created": timestamp(row.created),
        "updated": timestamp(row.updated),
    }


def tagged(answer: Any, etag: str) -> webob.Response:
    """A JSON answer with an `ETag`, to be sent back as `If-Match` by clients that want no lost update."""
    body = b"" if answer is None else json.dumps(answer).encode()
    return webob.Response(
        body=body, content_type="application/json", charset=None, headerlist=None, etag=etag.strip('"')
    )


def _end(request: Request, session: orm.Session, environment: Environment, how: str) -> None:
    """Removes the environment without the engine; its receipt stays."""
    session.delete(environment)
    session.flush()  # a worker that holds its deployment is waited for, and writes into the receipt before it is closed
    resources.end(
        session,
        environment_id=environment.id,
        project_id=environment.project_id,
        name=environment.name,
        user_id=request.caller.user_id,
        how=how,
    )


def _rename(session: orm.Session, environment: Environment, name: str) -> None:
    if environments.exists(session, environment.project_id, name):
        raise errors.Conflict(f"Environment with specified name already exists: {name}")
    opened = session.scalars(
        sa.select(sessions.Session)
        .where(sessions.Session.environment_id == environment.id, sessions.Session.state == sessions.OPENED)
        .options(orm.undefer(sessions.Session.model))
    )
    for row in [environment, *opened]:
        if isinstance(row.model.get("Objects"), dict):
            row.model = {**row.model, "Objects": {**row.model["Objects"], "name": name}}
    environment.name = name
    session.flush()


def _networks(request: Request, name: str) -> dict[str, Any]:
    options = request.config.networking
    if not options.network_config_file:
        return model.default_networks(options.driver, name)
    try:
        with open(options.network_config_file, encoding="utf-8") as file:
            configured = yaml.safe_load(file)
    except (OSError, yaml.YAMLError) as failure:
        raise errors.Unavailable(f"The operator's file of default networks cannot be read: {type(failure).__name__}")
    filled: dict[str, Any] = model.configured_networks(configured, name)
    return filled
