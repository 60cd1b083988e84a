"""Lists of packages as clients ask for them: filters, search, order and pages. spec/api-v1 §1.11, "List/search"."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.categories import Category
from catalog.db.packages import ClassDefinition, Package, Tag, package_categories, package_tags

ORDER = {"name": Package.name, "fqn": Package.fully_qualified_name, "created": Package.created}
ESCAPE = "\\"


@dataclasses.dataclass(frozen=True)
class Query:
    """What is asked for. `None` and empty sequences do not restrict; `ids=()` is told from None: nothing matches."""

    project_id: str
    everything: bool = False  # an administrator's view over all projects
    include_public: bool = True
    owned: bool = False
    include_disabled: bool = False
    ids: Sequence[str] | None = None
    categories: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    class_name: str | None = None
    fqn: str | None = None
    name: str | None = None
    type: str | None = None
    version: str | None = None
    search: str | None = None
    order_by: Sequence[str] = ("name",)
    descending: bool = False
    limit: int = 20
    marker: str | None = None


class UnknownMarker(LookupError):
    """The marker is no package the caller could have seen."""


def find(session: orm.Session, query: Query) -> Sequence[Package]:
    """One page. Raises `UnknownMarker`."""
    where = _visible(query) + _filters(query)
    words = [word for word in (query.search or "").replace(";", ",").split(",") if word.strip()]
    weight: sa.ColumnElement[int] = sa.literal(0)
    if words:
        fields = _search_fields()
        matches = [sa.or_(*(_contains(field, word.strip()) for word in words)) for field in fields]
        where.append(sa.or_(*(_in_field(field, condition) for field, condition in zip(fields, matches, strict=True))))
        ranked = [
            (_in_field(field, condition), rank)
            for rank, (field, condition) in enumerate(zip(fields, matches, strict=True))
        ]
        weight = sa.case(*ranked, else_=len(fields))
    keys: list[Any] = [ORDER[name] for name in query.order_by if name in ORDER]
    statement = sa.select(Package.id).where(*where)
    if query.marker is not None:
        statement = statement.where(_after(session, query, where, weight, keys))
    order: list[Any] = [weight] if words else []
    order += [key.desc() if query.descending else key.asc() for key in keys]
    order.append(Package.id.desc() if query.descending else Package.id.asc())
    ids = session.scalars(statement.order_by(*order).limit(query.limit)).all()
    rows = {row.id: row for row in session.scalars(sa.select(Package).where(Package.id.in_(ids)))}
    return [rows[found] for found in ids]


def _after(
    session: orm.Session,
    query: Query,
    where: Sequence[sa.ColumnElement[bool]],
    weight: sa.ColumnElement[int],
    keys: Sequence[Any],
) -> sa.ColumnElement[bool]:
    """The condition of coming after the marker, its weight in a search included (spec/api-v1 §5 B13, B14)."""
    marked = session.execute(
        sa.select(Package.id, weight.label("weight"), *keys).where(*_visible(query), Package.id == query.marker)
    ).one_or_none()
    if marked is None:
        raise UnknownMarker(query.marker)
    steps: list[tuple[Any, Any, bool]] = [(weight, marked[1], False)]
    steps += [(key, value, query.descending) for key, value in zip(keys, marked[2:], strict=True)]
    steps.append((Package.id, marked[0], query.descending))
    alternatives = []
    for position, (column, value, descending) in enumerate(steps):
        same = [earlier == found for earlier, found, _ in steps[:position]]
        alternatives.append(sa.and_(*same, column < value if descending else column > value))
    return sa.or_(*alternatives)


def _visible(query: Query) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    own = Package.owner_id == query.project_id
    if query.owned:
        where.append(own)
    elif not query.everything:
        where.append(sa.or_(own, Package.is_public) if query.include_public else own)
    return where


def _filters(query: Query) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if not query.include_disabled:
        where.append(Package.enabled.is_(True))
    exact = (
        (Package.fully_qualified_name, query.fqn),
        (Package.name, query.name),
        (Package.type, query.type),
        (Package.version, query.version),
    )
    where.extend(column == value for column, value in exact if value is not None)
    if query.ids is not None:
        where.append(Package.id.in_(query.ids))
    if query.categories is not None:
        where.append(_with_category(Category.name.in_(query.categories)))
    if query.tags is not None:
        where.append(_with_tag(Tag.name.in_(query.tags)))
    if query.class_name is not None:
        where.append(_with_class(ClassDefinition.name == query.class_name))
    return where


Field = orm.InstrumentedAttribute[str] | orm.InstrumentedAttribute[str | None]


def _search_fields() -> list[Field]:
    """In the order of their weight."""
    return [
        Package.name,
        Package.fully_qualified_name,
        Package.description,
        Category.name,
        Tag.name,
        ClassDefinition.name,
        Package.author,
        Package.id,
        Package.type,
        Package.owner_id,
        Package.ui_definition,
    ]


def _in_field(field: Field, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    if field is Category.name:
        return _with_category(condition)
    if field is Tag.name:
        return _with_tag(condition)
    if field is ClassDefinition.name:
        return _with_class(condition)
    return sa.func.coalesce(condition, sa.false())


def _contains(field: Field, word: str) -> sa.ColumnElement[bool]:
    escaped = word.lower()
    for special in (ESCAPE, "%", "_"):
        escaped = escaped.replace(special, ESCAPE + special)
    return sa.func.lower(field).like(f"%{escaped}%", escape=ESCAPE)


def _with_category(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    members = sa.select(package_categories.c.package_id).join(Category, Category.id == package_categories.c.category_id)
    return Package.id.in_(members.where(condition))


def _with_tag(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    members = sa.select(package_tags.c.package_id).join(Tag, Tag.id == package_tags.c.tag_id)
    return Package.id.in_(members.where(condition))


def _with_class(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return Package.id.in_(sa.select(ClassDefinition.package_id).where(condition))
