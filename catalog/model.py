"""Object models as clients address and change them: pure functions over JSON values.

A model is `{"Objects": {"?": {...}, "name", "defaultNetworks", "services": [application...]}, "Attributes":
[...]}`; every object has a header `?` with `id` and `type`. Functions that change something change the value they
are given; callers hand in a copy. spec/api-v1 §1.4 (creation), §1.6 (path addressing), §1.8 (sanitizing).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from catalog.db import masking
from catalog.db.base import new_id

ENVIRONMENT_TYPE = "io.murano.Environment"
NETWORK_TYPES = {"neutron": "io.murano.resources.NeutronNetwork", "nova": "io.murano.resources.NovaNetwork"}
OWN_COLUMNS = ("id", "version", "tenant_id", "project_id", "created", "updated", "generation", "status", "acquired_by")
LONGEST = 255  # characters of an id or a type
TYPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(/[^@\s]+)?(@[\w.]+)?")


class ModelError(ValueError):
    """Something in a model is not what it has to be (a 400)."""


class NothingThere(LookupError):
    """A path leads nowhere (a 404)."""


def new_environment(
    body: Mapping[str, Any], networks: Mapping[str, Any], *, project_id: str, user_id: str
) -> dict[str, Any]:
    """The model of a new environment from the body of its creation; `networks` where the body names none."""
    header = body.get("?") if isinstance(body.get("?"), dict) else {}
    objects: dict[str, Any] = {"?": {"id": new_id(), **(header or {}), "type": ENVIRONMENT_TYPE, "metadata": {}}}
    for key, value in body.items():
        if key != "?" and key not in OWN_COLUMNS and key != "description_text":
            objects[key] = value
    if objects.get("defaultNetworks") is None:
        objects["defaultNetworks"] = dict(networks)
    if "services" in objects:
        check_applications(objects["services"])
    return {"Objects": objects, "Attributes": [], "project_id": project_id, "user_id": user_id}


def default_networks(driver: str, environment_name: str) -> dict[str, Any]:
    """The networks of an environment that names none."""
    network = {"?": {"id": new_id(), "type": NETWORK_TYPES[driver]}, "name": f"{environment_name}-network"}
    return {"environment": network, "flat": None}


def configured_networks(configured: Any, environment_name: str) -> Any:
    """The operator's default networks with fresh ids and the environment's name in place of %ENV%."""
    if isinstance(configured, dict):
        filled = {key: configured_networks(value, environment_name) for key, value in configured.items()}
        if isinstance(filled.get("?"), dict):
            filled["?"] = {**filled["?"], "id": new_id()}
        return filled
    if isinstance(configured, list):
        return [configured_networks(value, environment_name) for value in configured]
    if isinstance(configured, str):
        return configured.replace("%ENV%", environment_name)
    return configured


# --- addressing ------------------------------------------------------------------------------------------------------


def pieces(path: str) -> list[str]:
    """The parts of a path; empty ones do not count."""
    return [piece for piece in path.split("/") if piece]


def look_up(root: Any, path: list[str]) -> Any:
    """What a path leads to: list elements by the id of their header or by index, object members by key.

    A scalar ends the walk. An unknown id is null; whatever is asked of that raises `NothingThere`.
    """
    value = root
    for piece in path:
        if isinstance(value, list):
            value = _element(value, piece)
        elif isinstance(value, dict):
            if piece not in value:
                raise NothingThere(f"Path /{'/'.join(path)}: there is no {piece!r}")
            value = value[piece]
        elif value is None:
            raise NothingThere(f"Path /{'/'.join(path)}: there is nothing above {piece!r}")
        else:
            return value
    return value


def put(root: Any, path: list[str], value: Any) -> None:
    """Replaces what a path leads to: an existing list element (by id or index), or a member of an object."""
    parent = look_up(root, path[:-1])
    last = path[-1]
    if isinstance(parent, list):
        parent[_position(parent, last, path)] = value
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise NothingThere(f"Path /{'/'.join(path)}: there is no object or list that could hold {last!r}")


def remove(root: Any, path: list[str]) -> None:
    """Removes what a path leads to."""
    parent = look_up(root, path[:-1])
    last = path[-1]
    if isinstance(parent, list):
        del parent[_position(parent, last, path)]
    elif isinstance(parent, dict) and last in parent:
        del parent[last]
    else:
        raise NothingThere(f"Path /{'/'.join(path)}: there is no {last!r}")


def _element(values: list[Any], piece: str) -> Any:
    for value in values:
        if object_id(value) == piece:
            return value
    if not (piece.isascii() and piece.isdigit()):
        return None
    index = int(piece[:9])
    if index >= len(values):
        raise NothingThere(f"Index {piece[:20]}: there are only {len(values)} elements")
    return values[index]


def _position(values: list[Any], piece: str, path: list[str]) -> int:
    for position, value in enumerate(values):
        if object_id(value) == piece:
            return position
    if piece.isascii() and piece.isdigit() and int(piece[:9]) < len(values):
        return int(piece[:9])
    raise NothingThere(f"Path /{'/'.join(path)}: there is no element of id or index {piece[:100]!r}")


# --- what is in a model ----------------------------------------------------------------------------------------------


def object_id(value: Any) -> str | None:
    """The id in an object's header, None for what is no object."""
    header = value.get("?") if isinstance(value, dict) else None
    found = header.get("id") if isinstance(header, dict) else None
    return found if isinstance(found, str) else None


def headers(value: Any) -> Iterator[dict[str, Any]]:
    """The header of every object in a value, outer ones first."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if isinstance(current.get("?"), dict):
                yield current["?"]
            waiting.extend(reversed([inner for key, inner in current.items() if key != "?"]))
        elif isinstance(current, list):
            waiting.extend(reversed(current))


def object_ids(value: Any) -> list[str]:
    """The ids of all objects in a value."""
    return [header["id"] for header in headers(value) if isinstance(header.get("id"), str)]


def types(value: Any) -> list[tuple[str, str | None, str | None]]:
    """The type of every object as (class, version, package), each once; `FQN/version@package` names all three."""
    found: dict[tuple[str, str | None, str | None], None] = {}
    for header in headers(value):
        if isinstance(text := header.get("type"), str):
            name, _, package = text.partition("@")
            class_name, _, version = name.partition("/")
            found[class_name, version or _text(header.get("classVersion")), package or _text(header.get("package"))] = (
                None
            )
    return list(found)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def applications(model: Mapping[str, Any]) -> list[Any]:
    """The applications of a model, an empty list when it has none."""
    objects = model.get("Objects")
    found = objects.get("services") if isinstance(objects, dict) else None
    return found if isinstance(found, list) else []


def with_status(apps: list[Any], status: str) -> list[Any]:
    """Copies of applications that carry the environment's status in their headers, as lists show them."""
    shown = []
    for app in apps:
        if isinstance(app, dict) and isinstance(app.get("?"), dict):
            app = {**app, "?": {**app["?"], "status": status}}
        shown.append(app)
    return shown


def without_status(apps: list[Any]) -> list[Any]:
    """Copies of applications without the status a list showed them with."""
    stripped = []
    for app in apps:
        if isinstance(app, dict) and isinstance(app.get("?"), dict) and "status" in app["?"]:
            app = {**app, "?": {key: value for key, value in app["?"].items() if key != "status"}}
        stripped.append(app)
    return stripped


def check_applications(apps: Any) -> None:
    """Raises `ModelError` unless this is a list of objects with an id and a type each, no id twice in the model."""
    if not isinstance(apps, list):
        raise ModelError("services: expected an array of applications")
    for position, app in enumerate(apps):
        where = f"services/{position}"
        header = app.get("?") if isinstance(app, dict) else None
        if not isinstance(header, dict):
            raise ModelError(f'{where}: expected an object with a header "?" that has an id and a type')
        for key in ("id", "type"):
            if not isinstance(header.get(key), str) or not header[key]:
                raise ModelError(f"{where}/?/{key}: expected a non-empty string, found {header.get(key)!r}")
        if len(header["type"]) > LONGEST or not TYPE.fullmatch(header["type"]):
            raise ModelError(
                f"{where}/?/type: expected a class name (name, name/version or name/version@package), "
                f"found {header['type'][:100]!r}"
            )
    seen: set[str] = set()
    for found in object_ids(apps):
        if len(found) > LONGEST:
            raise ModelError(f"services: expected ids of at most {LONGEST} characters, found one of {len(found)}")
        if found in seen:
            raise ModelError(
                f"services: the id {found[:100]!r} belongs to two objects, expected one of its own for each"
            )
        seen.add(found)


def find_action(objects: Any, action_id: str) -> tuple[str, dict[str, Any]] | None:
    """The object and the entry of an action id in the `_actions` of the model's headers: (object id, entry)."""
    for header in headers(objects):
        actions = header.get("_actions")
        if isinstance(actions, dict) and isinstance(actions.get(action_id), dict):
            return str(header.get("id")), actions[action_id]
    return None


def sanitized(value: Any) -> Any:
    """A copy in which texts under keys that name tokens, passwords and trusts are masked (spec/api-v1 §1.8)."""
    return masking.masked(value)
