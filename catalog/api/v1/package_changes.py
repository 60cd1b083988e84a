"""What may be changed of a stored package, and how: the JSON patch of its data. spec/api-v1 §1.11, "PATCH".

`remove` takes the values to remove, as the original demands, or none, as RFC 6902 has it: then all go (§5 B21).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import orm

from catalog import packages as importing
from catalog.api import errors
from catalog.api.request import check_text, kind_of
from catalog.db import categories, packages

ALL = object()  # the value of a `remove` without one
OPERATIONS = {
    "categories": ("add", "replace", "remove"),
    "tags": ("add", "replace", "remove"),
    "is_public": ("replace",),
    "enabled": ("replace",),
    "description": ("replace",),
    "name": ("replace",),
}
MOST = 100  # tags or categories of one package


@dataclasses.dataclass(frozen=True)
class Change:
    """One operation, checked."""

    operation: str
    path: str
    value: Any


def read(body: Any) -> list[Change]:
    """The operations of a patch. Raises `errors.BadRequest` for a wrong form, `errors.Forbidden` for a wrong target."""
    if not isinstance(body, list):
        raise errors.BadRequest(f"Request body: expected an array of operations, found {kind_of(body)}")
    return [_change(operation) for operation in body]


def check_fields(fields: dict[str, Any]) -> None:
    """Raises `errors.BadRequest` unless these are data of a package that an upload may bring along."""
    for key, value in fields.items():
        if key not in OPERATIONS:
            raise errors.BadRequest(f"Package data: expected {', '.join(OPERATIONS)}, found {key[:80]!r}")
        _check(key, value)


def apply(session: orm.Session, row: packages.Package, change: Change) -> None:
    """Changes the package. Raises `errors.ApiError`."""
    if change.path == "tags":
        names = _combined([tag.name for tag in row.tags], change)
        row.tags = packages.tags_named(session, names)
    elif change.path == "categories":
        names = _combined([category.name for category in row.categories], change)
        found = categories.named(session, names)
        for name in names:
            if name not in found:
                raise errors.BadRequest(f"Category {name!r} doesn't exist")
        row.categories = list(found.values())
    elif change.path == "is_public":
        if change.value and not row.is_public:
            _refuse_public(session, row)
        row.is_public = change.value
    else:
        setattr(row, change.path, change.value)


def _change(operation: Any) -> Change:
    if not isinstance(operation, dict):
        raise errors.BadRequest(f"Operation: expected an object with op, path and value, found {kind_of(operation)}")
    kind, pointer = operation.get("op"), operation.get("path")
    if not isinstance(kind, str) or not isinstance(pointer, str):
        raise errors.BadRequest("Operation: expected op and path, strings, and value")
    if "value" not in operation and kind != "remove":
        raise errors.BadRequest(f"Operation {kind} {pointer}: expected a value, found none"[:300])
    path = pointer.removeprefix("/")
    if not pointer.startswith("/") or "/" in path:
        raise errors.BadRequest(f"Operation {kind}: expected a path like /tags, found {pointer}"[:300])
    if path not in OPERATIONS:
        raise errors.Forbidden(f"Attribute '{path[:80]}' is invalid: expected one of {', '.join(OPERATIONS)}")
    if kind not in OPERATIONS[path]:
        allowed = ", ".join(OPERATIONS[path])
        raise errors.Forbidden(f"Method '{kind[:20]}' is not allowed for a path with name '{path}': expected {allowed}")
    value = operation.get("value", ALL)
    if value is not ALL:
        _check(path, value)
    return Change(kind, path, value)


def _check(path: str, value: Any) -> None:
    if path in ("is_public", "enabled"):
        if not isinstance(value, bool):
            raise errors.BadRequest(f"{path}: expected true or false, found {kind_of(value)}")
    elif path in ("tags", "categories"):
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise errors.BadRequest(f"{path}: expected an array of non-empty strings, found {kind_of(value)}")
        if len(set(value)) != len(value):
            raise errors.BadRequest(f"{path}: expected every value once")
        if len(value) > MOST or any(len(each) > importing.TAG_LIMIT for each in value):
            raise errors.BadRequest(f"{path}: expected at most {MOST} of at most {importing.TAG_LIMIT} characters each")
        for each in value:
            check_text(each, path)
    elif not isinstance(value, str):
        raise errors.BadRequest(f"{path}: expected a string, found {kind_of(value)}")
    else:
        check_text(value, path)
        if path == "name" and not 0 < len(value) <= importing.NAME_LIMIT:
            raise errors.BadRequest(f"name: expected 1 to {importing.NAME_LIMIT} characters, found {len(value)}")


def _combined(present: list[str], change: Change) -> list[str]:
    if change.operation == "add":
        return list(dict.fromkeys([*present, *change.value]))
    if change.operation == "replace":
        return list(change.value)
    if change.value is ALL:
        return []
    missing = [name for name in change.value if name not in present]
    if missing:
        raise errors.NotFound(f"{change.path}: the package has no {missing[0]!r} to remove")
    return [name for name in present if name not in change.value]


def _refuse_public(session: orm.Session, row: packages.Package) -> None:
    try:
        importing.refuse_public(session, row.fully_qualified_name, row.version, row.owner_id)
    except importing.Duplicate as failure:
        raise errors.Conflict(str(failure))
    names = [definition.name for definition in row.class_definitions]
    clashes = packages.clashing(session, row.fully_qualified_name, names, project_id=row.owner_id, public=True)
    if clashes:
        raise errors.Conflict(f"Class {clashes[0][0]} already exists in the public package {clashes[0][1]}")
