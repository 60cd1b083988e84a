"""What other services are to be told about environments, kept until a broker has taken it (spec/engine-flow §7).

A notice is written in the transaction of what it tells of, so none is lost and none tells of what did not happen.
Whoever sends them removes them; one that was sent when the sender died is sent again.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import packages
from catalog.db.base import Base, Identifier, Json, Timestamp, new_id, now


class Notice(Base):
    """`event` is an event type such as `murano.environment.deploy.end`; `is_error` its priority."""

    __tablename__ = "notices"

    id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True, default=new_id)
    event: orm.Mapped[str] = orm.mapped_column(sa.String(128))
    is_error: orm.Mapped[bool] = orm.mapped_column(sa.Boolean)
    payload: orm.Mapped[dict[str, Any]] = orm.mapped_column(Json)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now, index=True)


def add(session: orm.Session, event: str, payload: dict[str, Any], *, is_error: bool = False) -> None:
    """Leaves a notice."""
    session.add(Notice(event=event, payload=payload, is_error=is_error))
    session.flush()


def take(session: orm.Session, limit: int) -> list[Notice]:
    """Removes the oldest notices and gives them; nobody else gets them unless the transaction fails."""
    query = sa.select(Notice).order_by(Notice.created, Notice.id).limit(limit).with_for_update(skip_locked=True)
    taken = list(session.scalars(query))
    session.execute(
        sa.delete(Notice)
        .where(Notice.id.in_([notice.id for notice in taken]))
        .execution_options(synchronize_session=False)
    )
    return taken


def is_first(session: orm.Session, name: str, slot: int) -> bool:
    """Whether nobody has taken this slot of time yet, or a later one, for what has that name; then it is taken by this
    transaction. Raises `sqlalchemy.exc.IntegrityError` for one of two that take the very first at the same moment.
    """
    row = packages.Generation
    later: Any = session.execute(
        sa.update(row)
        .where(row.name == name, row.value < slot)
        .values(value=slot)
        .execution_options(synchronize_session=False)
    )
    if later.rowcount:
        return True
    if session.get(row, name) is not None:
        return False
    session.add(row(name=name, value=slot))
    session.flush()
    return True
