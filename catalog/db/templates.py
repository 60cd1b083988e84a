"""Environment templates: compositions kept to create environments from. spec/api-v1 §1.10."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, sealing


class Template(base.Base):
    """One template. `model` is the body it was created with, its `services` included."""

    __tablename__ = "environment_templates"
    __table_args__ = (sa.UniqueConstraint("project_id", "name"),)

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    description_text: orm.Mapped[str] = orm.mapped_column(base.LongText, default="")
    version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, default=0)
    generation: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    is_public: orm.Mapped[bool] = orm.mapped_column(default=False)
    model: orm.Mapped[dict[str, Any]] = orm.mapped_column(sealing.Json("environment_templates.model"), deferred=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)

    __mapper_args__ = {"version_id_col": generation}


def get(session: orm.Session, template_id: str) -> Template | None:
    """The template with its model, or None."""
    query = sa.select(Template).where(Template.id == template_id).options(orm.undefer(Template.model))
    return session.scalars(query).one_or_none()


def list_for(session: orm.Session, project_id: str, *, public: bool | None) -> Sequence[Template]:
    """Templates a project sees: all public ones (True), its private ones (False), or public and its own (None)."""
    own = Template.project_id == project_id
    if public is None:
        where = sa.or_(own, Template.is_public)
    elif public:
        where = Template.is_public.is_(True)
    else:
        where = sa.and_(own, Template.is_public.is_(False))
    return session.scalars(sa.select(Template).where(where).order_by(Template.created, Template.id)).all()


def exists(session: orm.Session, project_id: str, name: str) -> bool:
    """Whether the project has a template of that name."""
    query = sa.select(Template.id).where(Template.project_id == project_id, Template.name == name)
    return session.scalar(query) is not None
