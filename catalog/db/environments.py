"""Environments: the object model a project deploys, and its status, which is derived from its sessions.

spec/api-v1 §1.4 (status computation), §3 (columns).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, sealing
from catalog.db.sessions import Session

READY = "ready"
PENDING = "pending"
DEPLOYING = "deploying"
DELETING = "deleting"
BUSY = (DEPLOYING, DELETING)  # an environment in these takes no configure, deploy, action or delete


class Environment(base.Base):
    """One environment; `model`: `{"Objects", "Attributes", "project_id", "user_id", "ObjectsCopy"?, "SystemData"?}`."""

    __tablename__ = "environments"
    __table_args__ = (sa.UniqueConstraint("project_id", "name"),)

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    description_text: orm.Mapped[str] = orm.mapped_column(base.LongText, default="")
    version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, default=0)
    generation: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    model: orm.Mapped[dict[str, Any]] = orm.mapped_column(sealing.Json("environments.model"), deferred=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)

    __mapper_args__ = {"version_id_col": generation}


def get(session: orm.Session, environment_id: str) -> Environment | None:
    """The environment with its model, or None."""
    query = sa.select(Environment).where(Environment.id == environment_id).options(orm.undefer(Environment.model))
    return session.scalars(query).one_or_none()


def list_of(session: orm.Session, project_id: str | None = None) -> Sequence[Environment]:
    """The environments of a project (of all projects when None), oldest first, without their models."""
    query = sa.select(Environment).order_by(Environment.created, Environment.id)
    if project_id is not None:
        query = query.where(Environment.project_id == project_id)
    return session.scalars(query).all()


def exists(session: orm.Session, project_id: str, name: str) -> bool:
    """Whether the project has an environment of that name."""
    query = sa.select(Environment.id).where(Environment.project_id == project_id, Environment.name == name)
    return session.scalar(query) is not None


def lock(session: orm.Session, environment_id: str) -> None:
    """Makes other transactions that lock the same environment wait until this one ends (SQLite: they wait already)."""
    session.execute(sa.select(Environment.id).where(Environment.id == environment_id).with_for_update())


def statuses(session: orm.Session, environment_ids: Iterable[str]) -> dict[str, str]:
    """The status of each environment, with one query for all of them."""
    wanted = list(environment_ids)
    states: dict[str, list[str]] = {environment_id: [] for environment_id in wanted}
    query = (
        sa.select(Session.environment_id, Session.state)
        .where(Session.environment_id.in_(wanted))
        .order_by(Session.version.desc(), Session.updated.desc(), Session.id)
    )
    for environment_id, state in session.execute(query):
        states[environment_id].append(state)
    return {environment_id: status_of(found) for environment_id, found in states.items()}


def status(session: orm.Session, environment_id: str) -> str:
    """The status of one environment."""
    return statuses(session, [environment_id])[environment_id]


def status_of(states: Iterable[str]) -> str:
    """The status that follows from session states ordered by version and change, newest first (spec/api-v1 §1.4)."""
    result = READY
    for state in states:
        if state == "opened":
            result = PENDING
        elif state == "deployed":
            break
        else:
            return state
    return result


def acquired_by(session: orm.Session, environment_id: str) -> str | None:
    """The id of the session that holds the environment because it deploys or deletes it, or None."""
    query = sa.select(Session.id).where(Session.environment_id == environment_id, Session.state.in_(BUSY)).limit(1)
    return session.scalar(query)
