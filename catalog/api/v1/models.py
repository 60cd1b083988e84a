"""The environment's object model as a whole, and patches of it. spec/api-v1 §1.7."""

from __future__ import annotations

import re
from typing import Any

import jsonpatch
import jsonpointer

from catalog import model
from catalog.api import errors
from catalog.api.request import Request, kind_of
from catalog.api.v1 import access
from catalog.api.v1.environments import tagged

CLOSED = ("", "?/id", "defaultNetworks/environment/?/id")  # nothing may be done to these
REPLACE_ONLY = ("defaultNetworks", "defaultNetworks/environment", "defaultNetworks/flat", "name", "region", "?/type")
OPERATIONS = ("add", "replace", "remove")
NETWORK_FIELDS = {
    "autoUplink": bool,
    "externalRouterId": str,
    "dnsNameServers": list,
    "autogenerateSubnet": bool,
    "subnetCidr": str,
    "openstackId": str,
    "regionName": str,
    "name": str,
}
POINTER = re.compile(r"(/([^/~]|~[01])+)+")


def show(request: Request) -> Any:
    """GET /environments/E/model/{path}."""
    with request.database.reading() as session:
        seen = access.view(request, session)
        request.authorize("show_environment", environment_id=seen.environment.id)
        path = model.pieces(request.values["path"])
        if seen.objects is None and path:
            raise errors.NotFound("The environment is being deleted: its model is empty")
        try:
            found = model.look_up(seen.objects, path)
        except model.NothingThere as failure:
            raise errors.NotFound(str(failure))
        if found is None and path and not _is_member(seen.objects, path):
            raise errors.NotFound(f"Path /{'/'.join(path)}: there is nothing")
        return tagged(found, seen.etag)


def patch(request: Request) -> Any:
    """PATCH /environments/E/model/ in a session; answers the new model."""
    operations = _read(request.body)
    with request.database.transaction() as session:
        row, environment = access.editable_session(request, session)
        request.authorize("update_environment", environment_id=environment.id)
        content = access.change_model(row)
        objects = content.get("Objects")
        if not isinstance(objects, dict):
            raise errors.NotFound("The environment is being deleted: its model is empty")
        try:
            objects = jsonpatch.JsonPatch(operations).apply(objects, in_place=True)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as failure:
            raise errors.NotFound(f"The patch does not fit the model: {failure}"[:300])
        except TypeError:  # jsonpatch's answer to a path below a scalar
            raise errors.NotFound("The patch does not fit the model: a path leads below a value that has no parts")
        try:
            if objects.get("services") is not None:
                model.check_applications(objects["services"])
        except model.ModelError as failure:
            raise errors.BadRequest(f"{failure}. Nothing was stored.")
        content["Objects"] = objects
        row.model = content
        return objects


def _is_member(root: Any, path: list[str]) -> bool:
    """Whether the path names a member of an object (whose value may be null), not a list element that is not there."""
    return isinstance(model.look_up(root, path[:-1]), dict)


def _read(body: Any) -> list[dict[str, Any]]:
    """The operations. Raises `errors.BadRequest` for a wrong form, `errors.Forbidden` for what must stay."""
    if not isinstance(body, list):
        raise errors.BadRequest(f"Request body: expected an array of operations, found {kind_of(body)}")
    if not body:
        raise errors.BadRequest("Request body: expected at least one operation, found none")
    return [_operation(each) for each in body]


def _operation(operation: Any) -> dict[str, Any]:
    if not isinstance(operation, dict):
        raise errors.BadRequest(f"Operation: expected an object with op, path and value, found {kind_of(operation)}")
    kind, pointer = operation.get("op"), operation.get("path")
    if not isinstance(kind, str) or not isinstance(pointer, str):
        raise errors.BadRequest("Operation: expected op and path, strings, and value")
    if "value" not in operation and kind != "remove":
        raise errors.BadRequest(f"Operation {kind} {pointer}: expected a value, found none"[:300])
    if pointer not in ("", "/") and not POINTER.fullmatch(pointer):
        raise errors.BadRequest(f"Operation {kind}: expected a path like /defaultNetworks/flat, found {pointer}"[:300])
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    path = "/".join(parts)
    allowed: tuple[str, ...] = OPERATIONS
    if path in CLOSED:
        allowed = ()
    elif path in REPLACE_ONLY:
        allowed = ("replace",)
    if kind not in allowed:
        raise errors.Forbidden(f"Method '{kind[:20]}' is not allowed for a path with name '{path}'"[:300])
    if kind != "remove":
        _check(parts, operation.get("value"))
    return {key: operation[key] for key in ("op", "path", "value") if key in operation}


def _check(parts: list[str], value: Any) -> None:
    """Raises `errors.BadRequest` unless the value is one that may stand at this place."""
    path = "/".join(parts)
    if path == "?":
        _object(value, path)
        for key in ("id", "type"):
            _kind(value.get(key), str, f"?/{key}")
    elif path in ("?/type", "?/name", "name"):
        _kind(value, str, path)
    elif path == "?/_actions" or path == "regions":
        _object(value, path)
    elif path == "region":
        if value is not None:
            _kind(value, str, path)
    elif path == "defaultNetworks":
        _object(value, path)
        for key in ("environment", "flat"):
            if key not in value:
                raise errors.BadRequest(f"{path}: expected the key {key}, found none")
            _check([*parts, key], value[key])
    elif path == "defaultNetworks/flat":
        if value is not None:
            _kind(value, bool, path)
    elif path == "defaultNetworks/environment":
        _object(value, path)
        if "?" not in value or "name" not in value:
            raise errors.BadRequest(f"{path}: expected the keys name and ?")
        for key, inner in value.items():
            _check([*parts, key], inner)
    elif parts[:2] == ["defaultNetworks", "environment"] and len(parts) == 3:
        if parts[2] == "?":
            _object(value, path)
        elif parts[2] in NETWORK_FIELDS and value is not None:
            _kind(value, NETWORK_FIELDS[parts[2]], path)
    elif path == "services":
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise errors.BadRequest("services: expected an array of objects")
    elif len(parts) == 2 and parts[0] == "services":
        _object(value, path)


def _object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise errors.BadRequest(f"{path}: expected an object, found {kind_of(value)}")


def _kind(value: Any, wanted: type, path: str) -> None:
    if not isinstance(value, wanted):
        names = {str: "a string", bool: "true or false", list: "an array"}
        raise errors.BadRequest(f"{path}: expected {names[wanted]}, found {kind_of(value)}")
