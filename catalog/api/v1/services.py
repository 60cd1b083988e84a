"""The applications of an environment, edited in a session. spec/api-v1 §1.6."""

from __future__ import annotations

import datetime
from typing import Any

from catalog import model
from catalog.api import errors
from catalog.api.request import Request, kind_of
from catalog.api.v1 import access
from catalog.api.v1.environments import tagged
from catalog.db import environments


def show(request: Request) -> Any:
    """GET /environments/E/services[/path]: the list with each application's status, or what the path leads to."""
    path = model.pieces(request.values["path"])
    with request.database.reading() as session:
        seen = access.view(request, session)
        request.authorize("show_environment", environment_id=seen.environment.id)
        if seen.objects is None:
            return None
        apps = seen.objects.get("services")
        if apps is None:
            return []
        if not isinstance(apps, list):
            raise errors.BadRequest(f"services: expected an array of applications, found {kind_of(apps)}")
        if path:
            return tagged(_found(apps, path), seen.etag)
        return tagged(model.with_status(apps, environments.status(session, seen.environment.id)), seen.etag)


def add(request: Request) -> Any:
    """POST /environments/E/services: one application, or an array of them."""
    path = model.pieces(request.values["path"])
    if path:
        raise errors.NotFound(f"POST to services/{'/'.join(path)}: applications are added at services itself")
    body = request.body
    if not isinstance(body, dict | list):
        raise errors.BadRequest(f"Request body: expected an application or an array of them, found {kind_of(body)}")
    with request.database.transaction() as session:
        row, _environment = access.editable_session(request, session)
        content = access.change_model(row)
        objects = _objects(content)
        added = body if isinstance(body, list) else [body]
        objects["services"] = [*model.applications(content), *model.without_status(added)]
        _keep(row, content)
        return body


def put(request: Request) -> Any:
    """PUT /environments/E/services[/path]: replaces all applications, or what the path leads to."""
    path = model.pieces(request.values["path"])
    with request.database.transaction() as session:
        row, _environment = access.editable_session(request, session)
        content = access.change_model(row)
        objects = _objects(content)
        body = request.body
        if not path:
            body = [] if body is None else body
            objects["services"] = model.without_status(body) if isinstance(body, list) else body
        else:
            try:
                model.put(objects.get("services"), path, body)
            except model.NothingThere as failure:
                raise errors.NotFound(str(failure))
            objects["services"] = model.without_status(objects["services"])
            moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
            objects["?"] = {**objects["?"], "updated": str(moment)}
        _keep(row, content)
        return body


def delete(request: Request) -> Any:
    """DELETE /environments/E/services[/path]: removes all applications, or what the path leads to."""
    path = model.pieces(request.values["path"])
    with request.database.transaction() as session:
        row, _environment = access.editable_session(request, session)
        content = access.change_model(row)
        objects = _objects(content)
        try:
            model.remove(objects, ["services", *path])
        except model.NothingThere as failure:
            raise errors.NotFound(str(failure))
        _keep(row, content)
        return None


def _found(apps: list[Any], path: list[str]) -> Any:
    try:
        return model.look_up(apps, path)
    except model.NothingThere as failure:
        raise errors.NotFound(str(failure))


def _objects(content: dict[str, Any]) -> dict[str, Any]:
    objects = content.get("Objects")
    if not isinstance(objects, dict):
        raise errors.NotFound("The environment is being deleted: it has no applications any more")
    return objects


def _keep(row: Any, content: dict[str, Any]) -> None:
    """Stores the changed model if its applications are still ones (spec/api-v1 §5 B25, B26)."""
    try:
        if "services" in content["Objects"]:
            model.check_applications(content["Objects"]["services"])
    except model.ModelError as failure:
        raise errors.BadRequest(f"{failure}. Nothing was stored.")
    row.model = content
