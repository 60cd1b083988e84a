"""Status reports of deployments, in the order they were made.

A report has a `sequence` within its deployment, which is what clients resume from; `created` is for people. Rows are
added by the API (the first one of a deployment) and by the engine, under the deployment's lease. Those of level
`progress` are the engine's own, about each long effect; readers get them if they ask for them, no count has them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.base import Base, Identifier, Json, LongText, Timestamp, new_id, now

LEVELS = ("debug", "info", "warning", "error")
PROGRESS = "progress"  # the level of what the engine says of its own work, which Murano's clients do not know
LONGEST_STEP = 255  # characters
LONGEST_TEXT = 100_000
LONGEST_DETAILS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class About:
    """What a report is about: `component` is `{"id", "name", "class"}`, `step` what the engine was doing, `effect_key`
    and `effect_name` the effect that did it, `duration` the seconds of what has ended. All may be unknown.
    """

    component: dict[str, Any] | None = None
    step: str | None = None
    effect_key: str | None = None
    effect_name: str | None = None
    duration: float | None = None


NOTHING = About()


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
    component: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(Json)
    step: orm.Mapped[str | None] = orm.mapped_column(sa.String(LONGEST_STEP))
    effect_key: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    effect_name: orm.Mapped[str | None] = orm.mapped_column(sa.String(128))
    duration: orm.Mapped[float | None] = orm.mapped_column(sa.Double)


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
    about: About = NOTHING,
) -> None:
    """Appends a report. The caller's transaction has the deployment's row locked (or has just made it)."""
    _append(
        session,
        deployment_id,
        about,
        id=status_id or new_id(),
        environment_id=environment_id,
        entity_id=entity_id,
        level=level if level in LEVELS else "info",
        text=text,
        details=details,
    )


def add_progress(
    session: orm.Session,
    deployment_id: str,
    environment_id: str,
    *,
    text: str,
    entity_id: str | None,
    details: str | None,
    about: About,
) -> None:
    """Appends what the engine says of its own work. The caller has the deployment's row locked."""
    _append(
        session,
        deployment_id,
        about,
        id=new_id(),
        environment_id=environment_id,
        entity_id=entity_id,
        level=PROGRESS,
        text=text,
        details=details,
    )


def of_deployment(
    session: orm.Session,
    deployment_id: str,
    *,
    after: int = 0,
    entity_ids: Iterable[str] = (),
    progress: bool = False,
) -> list[Status]:
    """The deployment's reports with a sequence above `after`, oldest first; of the given objects if any are given.

    The engine's own of level `progress` are among them with `progress` only.
    """
    query = sa.select(Status).where(Status.deployment_id == deployment_id, Status.sequence > after)
    if not progress:
        query = query.where(Status.level != PROGRESS)
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
        .where(Status.environment_id == environment_id, Status.entity_id.in_(wanted), Status.level != PROGRESS)
        .subquery()
    )
    query = sa.select(Status).join(ranked, sa.and_(ranked.c.id == Status.id, ranked.c.rank == 1))
    return {status.entity_id: status for status in session.scalars(query) if status.entity_id is not None}


def _columns(about: About) -> dict[str, Any]:
    return {
        "component": about.component,
        "step": None if about.step is None else about.step[:LONGEST_STEP],
        "effect_key": about.effect_key,
        "effect_name": about.effect_name,
        "duration": about.duration,
    }


def shortened(text: str, most: int = LONGEST_TEXT) -> str:
    """The text as people can read it: what is beyond `most` characters is left out, and said to be.

    No database takes U+0000 in a text; it is shown as U+FFFD.
    """
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more characters are left out)"


def _append(
    session: orm.Session, deployment_id: str, about: About, *, text: str, details: str | None, **columns: Any
) -> None:
    shown = {"text": shortened(text), "details": None if details is None else shortened(details, LONGEST_DETAILS)}
    session.execute(_APPEND, {"of": deployment_id, "created": now(), **shown, **columns, **_columns(about)})


# Engines make many: one statement, past the object-relational mapping, the sequence found on the way.
_TABLE = cast(sa.Table, Status.__table__)
_OF = sa.bindparam("of", type_=Identifier)
_GIVEN = [column for column in _TABLE.columns if column.name not in ("deployment_id", "sequence")]
_APPEND = sa.insert(_TABLE).from_select(
    [*_GIVEN, _TABLE.c.deployment_id, _TABLE.c.sequence],
    sa.select(
        *(sa.bindparam(column.name, type_=column.type) for column in _GIVEN),
        _OF,
        sa.func.coalesce(sa.func.max(_TABLE.c.sequence), 0) + 1,
    ).where(_TABLE.c.deployment_id == _OF),
)
