"""What runs for how long: servers and applications that deployments started and ended (spec/engine-flow §10).

Rows outlive their environment, for accounting.
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.base import Base, Identifier

UNCLASSIFIED = 0
APPLICATION = 100
SERVER = 200


class InstanceStats(Base):
    """One tracked application or server; `created` and `destroyed` are seconds since the epoch."""

    __tablename__ = "instance_stats"

    environment_id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True)
    instance_id: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    instance_type: orm.Mapped[int] = orm.mapped_column(sa.Integer)
    created: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    destroyed: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    type_name: orm.Mapped[str] = orm.mapped_column(sa.String(512))
    type_title: orm.Mapped[str | None] = orm.mapped_column(sa.String(512))
    unit_count: orm.Mapped[int | None] = orm.mapped_column(sa.Integer)
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64), index=True)


def track(
    session: orm.Session,
    *,
    environment_id: str,
    instance_id: str,
    instance_type: int,
    type_name: str,
    type_title: str | None,
    unit_count: int | None,
    project_id: str,
) -> None:
    """Begins an instance's row; of one that is tracked already only the unit count changes."""
    row = session.get(InstanceStats, (environment_id, instance_id))
    if row is not None:
        row.unit_count = unit_count
        row.destroyed = None
        return
    session.add(
        InstanceStats(
            environment_id=environment_id,
            instance_id=instance_id,
            instance_type=instance_type,
            created=int(time.time()),
            type_name=type_name,
            type_title=type_title,
            unit_count=unit_count,
            project_id=project_id,
        )
    )
    session.flush()


def untrack(session: orm.Session, *, environment_id: str, instance_id: str) -> None:
    """Stamps the end of an instance; one that was never tracked is none of ours."""
    row = session.get(InstanceStats, (environment_id, instance_id))
    if row is not None and row.destroyed is None:
        row.destroyed = int(time.time())
