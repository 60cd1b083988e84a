"""Categories. spec/api-v1 §1.12. Counts and packages are those the caller can see (§5 B16)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.api import errors
from catalog.api.request import Request, check_name, kind_of
from catalog.api.timestamps import timestamp
from catalog.db import categories
from catalog.db.categories import Category
from catalog.db.packages import Package, package_categories, visible_to

SORT_KEYS = ("name", "created", "updated", "package_count", "id")
NAME_LIMIT = 80


def list_all(request: Request) -> Any:
    """GET /catalog/categories."""
    request.authorize("get_category")
    for name in request.params:
        if name not in ("sort_keys", "sort_dir", "limit", "marker"):
            raise errors.BadRequest(f"Parameter {name[:80]!r}: expected sort_keys, sort_dir, limit or marker")
    keys = [key.strip() for key in request.params.get("sort_keys", "name").split(",")]
    for key in keys:
        if key not in SORT_KEYS:
            raise errors.BadRequest(f"sort_keys: expected some of {', '.join(SORT_KEYS)}, found {key[:80]!r}")
    direction = request.params.get("sort_dir", "asc")
    if direction not in ("asc", "desc"):
        raise errors.BadRequest(f"sort_dir: expected asc or desc, found {direction[:80]!r}")
    limit = _limit(request.params.get("limit"))
    with request.database.reading() as session:
        counts = _counts(request, session)
        found = [_shown(row, counts.get(row.id, 0)) for row in categories.list_all(session)]
    found.sort(key=lambda shown: [*(shown[key] for key in keys), shown["id"]], reverse=direction == "desc")
    marker = request.params.get("marker")
    if marker:
        positions = [position for position, shown in enumerate(found) if shown["id"] == marker]
        if not positions:
            raise errors.NotFound(f"marker: there is no category {marker}")
        found = found[positions[0] + 1 :]
    answer: dict[str, Any] = {"categories": found if limit is None else found[:limit]}
    if limit is not None and len(answer["categories"]) == limit:
        answer["next_marker"] = answer["categories"][-1]["id"]
    return answer


def show(request: Request) -> Any:
    """GET /catalog/categories/C, with its packages."""
    request.authorize("get_category", category_id=request.values["category"])
    with request.database.reading() as session:
        row = _category(request, session)
        query = (
            sa.select(Package.id, Package.name, Package.fully_qualified_name)
            .join(package_categories, package_categories.c.package_id == Package.id)
            .where(package_categories.c.category_id == row.id, *_visible(request))
            .order_by(Package.name, Package.id)
        )
        listed = [{"id": id, "name": name, "fully_qualified_name": fqn} for id, name, fqn in session.execute(query)]
        return {**_shown(row, len(listed)), "packages": listed}


def create(request: Request) -> Any:
    """POST /catalog/categories."""
    request.authorize("add_category")
    name = request.json_object().get("name")
    if not isinstance(name, str) or not name:
        raise errors.BadRequest(f"Category name: expected a non-empty string, found {kind_of(name)}")
    if name.strip():
        check_name(name, "Category name", NAME_LIMIT)
    elif len(name) > NAME_LIMIT:
        raise errors.BadRequest(f"Category name: expected at most {NAME_LIMIT} characters, found {len(name)}")
    with request.database.transaction() as session:
        taken = errors.Conflict(f"Category with specified name already exists: {name}")
        if categories.named(session, [name]):
            raise taken
        try:
            row = categories.add(session, name)
        except sa.exc.IntegrityError:
            raise taken
        return _shown(row, 0)


def delete(request: Request) -> Any:
    """DELETE /catalog/categories/C; 403 while packages are in it."""
    request.authorize("delete_category", category_id=request.values["category"])
    with request.database.transaction() as session:
        row = _category(request, session)
        used = sa.select(package_categories.c.package_id).where(package_categories.c.category_id == row.id).limit(1)
        if session.scalar(used) is not None:
            raise errors.Forbidden(
                "It's impossible to delete categories assigned to a package, uploaded to the catalog"
            )
        session.delete(row)


def _category(request: Request, session: orm.Session) -> Category:
    row = categories.get(session, request.values["category"])
    if row is None:
        raise errors.NotFound(f"Category id {request.values['category']} not found")
    return row


def _counts(request: Request, session: orm.Session) -> dict[str, int]:
    query = (
        sa.select(package_categories.c.category_id, sa.func.count())
        .join(Package, Package.id == package_categories.c.package_id)
        .where(*_visible(request))
        .group_by(package_categories.c.category_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def _visible(request: Request) -> list[sa.ColumnElement[bool]]:
    return [] if request.caller.is_admin else [visible_to(request.caller.project_id)]


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise errors.BadRequest(f"limit: expected a number above 0, found {text[:40]!r}")
    return int(text[:9])


def _shown(row: Category, package_count: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "created": timestamp(row.created),
        "updated": timestamp(row.updated),
        "package_count": package_count,
    }
