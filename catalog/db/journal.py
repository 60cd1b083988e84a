"""The journal: every effect of a deployment on the world, its intent and its outcome.

A row without `finished` is an effect in flight, or one whose worker died. `outcome` and `failure` are JSON; an outcome
of null is told from none by `finished`. `delivery` is the place in which the outcome was handed to the program.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import sealing
from catalog.db.base import Base, Identifier, Timestamp, now
from catalog.db.deployments import FINISHED, Deployment


class JournalEntry(Base):
    """One effect. `key` is `<thread path>/<sequence>`; `failure` is `{"names", "message", "extra"}`.

    `inherited` marks what a retry was offered of the deployment before: it counts where the same is asked for again.
    """

    __tablename__ = "journal"

    deployment_id: orm.Mapped[str] = orm.mapped_column(
        Identifier, sa.ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True
    )
    key: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(128))
    digest: orm.Mapped[str] = orm.mapped_column(sealing.Text("journal.digest"))  # tells whether a guess is right
    arguments: orm.Mapped[Any] = orm.mapped_column(sealing.Json("journal.arguments"))
    outcome: orm.Mapped[Any | None] = orm.mapped_column(sealing.Json("journal.outcome"))
    failure: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(sealing.Json("journal.failure"))
    started: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp)
    finished: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)
    delivery: orm.Mapped[int | None] = orm.mapped_column(sa.Integer)
    inherited: orm.Mapped[bool | None] = orm.mapped_column(sa.Boolean)


def entries(session: orm.Session, deployment_id: str) -> list[JournalEntry]:
    """All effects of a deployment, in the order they began."""
    query = sa.select(JournalEntry).where(JournalEntry.deployment_id == deployment_id)
    return list(session.scalars(query.order_by(JournalEntry.started, JournalEntry.key)))


def enter(session: orm.Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes effects that are certainly not there yet, each with all columns: intents, or all that came of them."""
    if rows:
        session.connection().execute(_ENTER, [dict(row) for row in rows] if len(rows) > 1 else dict(rows[0]))


def conclude(
    session: orm.Session, deployment_id: str, key: str, *, outcome: Any = None, failure: Mapping[str, Any] | None = None
) -> None:
    """Writes what came of an effect."""
    known = None if failure is None else dict(failure)
    session.connection().execute(
        _CONCLUDE, {"of": deployment_id, "at": key, "outcome": outcome, "failure": known, "finished": now()}
    )


def deliver(session: orm.Session, deployment_id: str, deliveries: Mapping[int, str]) -> None:
    """Writes the places in which outcomes were handed to the program: `{number: key}`."""
    if deliveries:
        places = [{"of": deployment_id, "at": key, "delivery": number} for number, key in deliveries.items()]
        session.connection().execute(_DELIVER, places if len(places) > 1 else places[0])


def copy(session: orm.Session, deployment_id: str, given: Sequence[tuple[JournalEntry, bool]]) -> None:
    """Copies effects of another deployment, each as a part of the history of this one or, with True, as an offer."""
    names = ("key", "name", "digest", "arguments", "outcome", "failure", "started", "finished")
    rows = [
        {
            **{name: getattr(entry, name) for name in names},
            "deployment_id": deployment_id,
            "delivery": None if offered else entry.delivery,
            "inherited": offered,
        }
        for entry, offered in given
    ]
    if rows:
        session.execute(_ENTER, rows)


def forsake(session: orm.Session, deployment_id: str, keys: Sequence[str]) -> None:
    """Removes offers of the deployment before, of which the retry has no use."""
    gone = sa.and_(_TABLE.c.deployment_id == deployment_id, _TABLE.c.key.in_(keys), _TABLE.c.inherited.is_(True))
    session.execute(sa.delete(_TABLE).where(gone))


def under_way(session: orm.Session, deployment_id: str, name: str) -> list[str]:
    """The keys of a deployment's effects of this name that have begun and not ended."""
    here = sa.and_(JournalEntry.deployment_id == deployment_id, JournalEntry.name == name)
    return list(session.scalars(sa.select(JournalEntry.key).where(here, JournalEntry.finished.is_(None))))


def count(session: orm.Session, deployment_id: str) -> int:
    """How many effects of a deployment are there."""
    query = sa.select(sa.func.count()).select_from(JournalEntry)
    return session.scalar(query.where(JournalEntry.deployment_id == deployment_id)) or 0


# Every effect of every deployment goes through these: prepared once, and past the object-relational mapping.
_TABLE = cast(sa.Table, JournalEntry.__table__)
_HERE = sa.and_(_TABLE.c.deployment_id == sa.bindparam("of"), _TABLE.c.key == sa.bindparam("at"))
_ENTER = sa.insert(_TABLE)
_CONCLUDE = (
    sa.update(_TABLE)
    .where(_HERE)
    .values(outcome=sa.bindparam("outcome"), failure=sa.bindparam("failure"), finished=sa.bindparam("finished"))
)
_DELIVER = sa.update(_TABLE).where(_HERE).values(delivery=sa.bindparam("delivery"))


def prune(session: orm.Session, finished_before: datetime.datetime) -> int:
    """Removes the journals of deployments that finished before: how many effects. Their results and reports stay."""
    old = sa.select(Deployment.id).where(Deployment.state == FINISHED, Deployment.finished < finished_before)
    removed: Any = session.execute(sa.delete(JournalEntry).where(JournalEntry.deployment_id.in_(old)))
    return int(removed.rowcount)
