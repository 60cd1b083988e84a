"""Configuration sessions: private copies of an environment's model that are edited, then deployed. spec/api-v1 §1.5."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, sealing

if TYPE_CHECKING:
    from catalog.db.environments import Environment

OPENED = "opened"
DEPLOYING = "deploying"
DELETING = "deleting"
DEPLOYED = "deployed"
DEPLOY_FAILURE = "deploy failure"
DELETE_FAILURE = "delete failure"


class Session(base.Base):
    """One session. `version` is the environment's version at opening; `model` has the shape of `Environment.model`."""

    __tablename__ = "sessions"
    __table_args__ = (sa.Index(None, "environment_id", "version", "updated"),)

    id: orm.Mapped[str] = orm.mapped_column(base.Identifier, primary_key=True, default=base.new_id)
    environment_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("environments.id", ondelete="CASCADE")
    )
    user_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    state: orm.Mapped[str] = orm.mapped_column(sa.String(36), default=OPENED)
    version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, default=0)
    generation: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    model: orm.Mapped[dict[str, Any]] = orm.mapped_column(sealing.Json("sessions.model"), deferred=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)

    __mapper_args__ = {"version_id_col": generation}


def get(session: orm.Session, session_id: str, *, for_update: bool = False) -> Session | None:
    """The session with its model, or None. `for_update`: others who want to write it wait until this one is done."""
    query = sa.select(Session).where(Session.id == session_id).options(orm.undefer(Session.model))
    if for_update:
        query = query.with_for_update()
    return session.scalars(query).one_or_none()


def open_for(session: orm.Session, environment: Environment, user_id: str) -> Session:
    """Opens a session: a copy of the environment as it is now."""
    opened = Session(
        environment_id=environment.id, user_id=user_id, version=environment.version, model=environment.model
    )
    session.add(opened)
    session.flush()
    return opened


def is_valid(session: orm.Session, row: Session, environment_version: int) -> bool:
    """Whether the session still describes its environment.

    It does not when the environment went on to a newer version, or, while only opened, when another session of the
    environment is being deployed.
    """
    if environment_version > row.version:
        return False
    if row.state != OPENED:
        return True
    other_deploys = sa.select(Session.id).where(
        Session.environment_id == row.environment_id, Session.state == DEPLOYING, Session.id != row.id
    )
    return session.scalar(other_deploys.limit(1)) is None


def begin(session: orm.Session, row: Session, state: str) -> bool:
    """Moves an opened session to `deploying` or `deleting`; False when somebody else was faster.

    The caller has locked the environment, so of two sessions of one environment only one can begin.
    """
    moved: Any = session.execute(
        sa.update(Session)
        .where(Session.id == row.id, Session.state == OPENED, Session.generation == row.generation)
        .values(state=state, updated=base.now(), generation=Session.generation + 1)
        .execution_options(synchronize_session=False)
    )
    session.expire(row)
    return bool(moved.rowcount)
