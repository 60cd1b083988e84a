"""The lock a session's model was last resolved to: what was checked or planned is what is deployed."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base


class SessionLock(base.Base):
    """One session's lock, `[{"fqn", "version", "package_id", "digest"}]`, and the digest of the types it is for."""

    __tablename__ = "session_locks"

    session_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    types_digest: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    lock: orm.Mapped[list[dict[str, Any]]] = orm.mapped_column(base.Json)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)


def get(session: orm.Session, session_id: str, types_digest: str) -> list[dict[str, Any]] | None:
    """The session's lock, if it is for these types."""
    row = session.get(SessionLock, session_id)
    return row.lock if row is not None and row.types_digest == types_digest else None


def keep(session: orm.Session, session_id: str, types_digest: str, lock: list[dict[str, Any]]) -> None:
    """Keeps the session's lock, in place of the one before."""
    row = session.get(SessionLock, session_id) or SessionLock(session_id=session_id)
    row.types_digest, row.lock = types_digest, lock
    session.add(row)
