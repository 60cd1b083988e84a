"""Categories: the shelves packages are shown on. spec/api-v1 §1.12."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base

# What a new catalog starts with, as existing clients and packages expect (spec/api-v1 §1.12).
INITIAL = (
    "Web",
    "Databases",
    "Message Queue",
    "Application Servers",
    "Microsoft Services",
    "Load Balancers",
    "Big Data",
    "Key-Value Storage",
    "SAP",
)


class Category(base.Base):
    """One category."""

    __tablename__ = "categories"

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(80), unique=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)


def get(session: orm.Session, category_id: str) -> Category | None:
    """The category, or None."""
    return session.get(Category, category_id)


def list_all(session: orm.Session) -> Sequence[Category]:
    """Every category, by name."""
    return session.scalars(sa.select(Category).order_by(Category.name)).all()


def named(session: orm.Session, names: Iterable[str]) -> dict[str, Category]:
    """Those of the named categories that exist."""
    wanted = list(names)
    found = session.scalars(_NAMED, {"names": wanted}).all() if wanted else ()
    return {category.name: category for category in found}


_NAMED = sa.select(Category).where(Category.name.in_(sa.bindparam("names", expanding=True)))


def add(session: orm.Session, name: str) -> Category:
    """Adds a category; the database refuses a second one of the name (`sqlalchemy.exc.IntegrityError`)."""
    category = Category(name=name)
    session.add(category)
    session.flush()
    return category


def seed(session: orm.Session) -> None:
    """Adds those of the initial categories that are missing."""
    present = named(session, INITIAL)
    for name in INITIAL:
        if name not in present:
            session.add(Category(name=name))
