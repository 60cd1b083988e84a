"""Status reports of deployments, in the order they were made.

A report has a `sequence` within its deployment, which is what clients resume from; `created` is for people. Rows are
added by the API (the first one of a deployment) and by the engine, under the deployment's lease.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.base import Base, Identifier, LongText, Timestamp, new_id, now

LEVELS = ("debug", "info", "warning", "error")


class Status(Base):
    """One report. `entity_id` is the object it is about, null for the environment as a whole."""

    __tablename__ = "statuses"
    __table_args__ = (sa.UniqueConstraint("deployment_id", "sequence"),)

    id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True, default=new_id)
    deployment_id: orm.Mapped[str] = orm.mapped_column(Identifier, sa.ForeignKey("deployments.id", ondelete="CASCADE"))
    environment_id: orm.Mapped[str] = orm.mapped_column(Identifier, index=True)
    entity_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    level: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    text: orm.Mapped[str] = orm.mapped_column(LongText)
    details: orm.Mapped[str | None] = orm.mapped_column(LongText)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now)
    sequence: orm.Mapped[int] = orm.mapped_column(sa.Integer)


def add(
    session: orm.Session,
    deployment_id: str,
    environment_id: str,
    *,
    text: str,
    level: str = "info",
    entity_id: str | None = None,
    details: str | None = None,
    status_id: str | None = None,
) -> Status:
    """Appends a report. The caller's transaction has the deployment's row locked (or has just made it)."""
    last = session.scalar(sa.select(sa.func.max(Status.sequence)).where(Status.deployment_id == deployment_id))
    status = Status(
        id=status_id or new_id(),
        deployment_id=deployment_id,
        environment_id=environment_id,
        entity_id=entity_id,
        level=level if level in LEVELS else "info",
        text=text,
        details=details,
        created=now(),
        sequence=(last or 0) + 1,
    )
    session.add(status)
    session.flush()
    return status


def of_deployment(
    session: orm.Session, deployment_id: str, *, after: int = 0, entity_ids: Iterable[str] = ()
) -> list[Status]:
    """The deployment's reports with a sequence above `after`, oldest first; of the given objects if any are given."""
    query = sa.select(Status).where(Status.deployment_id == deployment_id, Status.sequence > after)
    wanted = list(entity_ids)
    if wanted:
        query = query.where(Status.entity_id.in_(wanted))
    return list(session.scalars(query.order_by(Status.sequence)))


def levels(session: orm.Session, deployment_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many reports of each level each deployment has: `{deployment id: {level: count}}`, in one query."""
    counts: dict[str, dict[str, int]] = {deployment_id: {} for deployment_id in deployment_ids}
    query = (
        sa.select(Status.deployment_id, Status.level, sa.func.count())
        .where(Status.deployment_id.in_(list(deployment_ids)))
        .group_by(Status.deployment_id, Status.level)
    )
    for deployment_id, level, count in session.execute(query):
        counts[deployment_id][level] = count
    return counts


def last_of_entities(session: orm.Session, environment_id: str, entity_ids: Iterable[str]) -> dict[str, Status]:
    """The newest report about each of the objects, over all deployments of the environment."""
    wanted = list(entity_ids)
    ranked = (
        sa.select(
            Status.id,
            sa.func.row_number()
            .over(partition_by=Status.entity_id, order_by=(Status.created.desc(), Status.sequence.desc()))
            .label("rank"),
        )
        .where(Status.environment_id == environment_id, Status.entity_id.in_(wanted))
        .subquery()
    )
    query = sa.select(Status).join(ranked, sa.and_(ranked.c.id == Status.id, ranked.c.rank == 1))
    return {status.entity_id: status for status in session.scalars(query) if status.entity_id is not None}
