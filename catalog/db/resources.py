"""The receipt: every cloud resource ever made on behalf of an environment, by its id there, and what became of it.

Rows are written by the engine in the transaction that concludes what made them, and by the API when an environment is
abandoned. They outlive the environment; `Receipt` is what is then still known of it. Only `chandlery db purge` removes
them. See docs/engine.md, "The receipt".
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import environments
from catalog.db.base import Base, Identifier, Json, LongText, Timestamp, now

THERE = "there"  # the cloud has it
GONE = "gone"  # the cloud was asked, and has it no more
KEPT = "kept"  # it stays on purpose: the reason says whose
LEFT = "left"  # it should be gone and is not, or nobody can tell: the reason says why
STATES = (THERE, GONE, KEPT, LEFT)

DELETED = "deleted"  # how an environment ended
ABANDONED = "abandoned"

STACK = "OS::Heat::Stack"

DELETE = "delete"  # what becomes of a resource that its stack lets go of: the deletion policies of templates
RETAIN = "retain"
SNAPSHOT = "snapshot"
POLICIES = (DELETE, RETAIN, SNAPSHOT)

NOBODYS = "nothing in the environment's model led to it when the environment was deleted"

_IDS = uuid.UUID("5e0c7d0a-64f5-4f0b-9d53-1c8b1c1f6a37")
_MOST_IDS = 500  # asked for in one query


class CloudResource(Base):
    """One resource. `stack` and `region` are names, "" for none; `name` is the logical one, `group/0` in nested stacks.

    `physical_id` is null for a stack that could not be asked what it is, and may hold resources that are not listed.
    """

    __tablename__ = "cloud_resources"

    id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True)
    environment_id: orm.Mapped[str] = orm.mapped_column(Identifier, index=True)
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64), index=True)
    deployment_id: orm.Mapped[str | None] = orm.mapped_column(Identifier)
    region: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    stack: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    name: orm.Mapped[str] = orm.mapped_column(sa.String(1024))
    type: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    physical_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    policy: orm.Mapped[str] = orm.mapped_column(sa.String(16), default=DELETE)
    state: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    reason: orm.Mapped[str | None] = orm.mapped_column(LongText)
    made: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp)
    seen: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp)
    gone: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)


class Receipt(Base):
    """What is known of an environment that is no more. `notes`: `[{"object_id", "message", "details"}]`, what went
    wrong while it was deleted and left nothing behind.
    """

    __tablename__ = "receipts"

    environment_id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True)
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64), index=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    how: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    user_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    ended: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp)
    notes: orm.Mapped[list[dict[str, Any]]] = orm.mapped_column(Json)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where resources are and on whose behalf: a stack, or a region's services with `stack` ""."""

    environment_id: str
    project_id: str
    deployment_id: str | None = None
    region: str = ""
    stack: str = ""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A resource as the cloud shows it. `policy` None: not known; `trouble` is what it failed with."""

    physical_id: str
    name: str
    type: str
    policy: str | None = None
    trouble: str | None = None


def see(
    session: orm.Session,
    place: Place,
    found: Iterable[Seen] | None,
    *,
    left: str | None = None,
    vanished: str | None = None,
) -> list[CloudResource]:
    """Takes down all that a stack has now (None: there is no such stack), the stack itself included; what changed.

    What was there and is not found is gone, or kept where its policy says so; `vanished` is the reason when nobody here
    removed it. `left` is why what is found should not be there any more.
    """
    moment = now()
    shown = {_id(place, each.type, each.physical_id): each for each in found or ()}
    known = {row.id: row for row in _rows(session, place, list(shown))}
    changed = []
    for row_id, each in shown.items():
        row = known.pop(row_id, None)
        if row is None:
            row = _new(place, row_id, each.type, each.physical_id, moment)
            session.add(row)
            changed.append(row)
        elif row.state == GONE:
            changed.append(row)
        row.name, row.seen, row.gone = each.name[:1024], moment, None
        row.policy = each.policy or row.policy or DELETE
        row.state, row.reason = (THERE, each.trouble) if left is None else (LEFT, each.trouble or left)
    for row in known.values():
        if (
            row.physical_id is None and found is not None
        ):  # now that the stack is listed its place-holder is one too many
            session.delete(row)
        elif row.state in (THERE, LEFT):
            _let_go(row, moment, vanished)
            changed.append(row)
    session.flush()
    return changed


def unseen(session: orm.Session, place: Place, why: str) -> None:
    """Takes down that a stack could not be asked what it has: what is known of it stays, and says why."""
    rows = list(_rows(session, place, ()))
    if not any(row.type == STACK and row.name == place.stack for row in rows):
        row = _new(place, _id(place, STACK, ""), STACK, None, now())
        row.name, row.state, row.policy = place.stack[:1024], THERE, DELETE
        session.add(row)
        rows.append(row)
    for row in rows:
        if row.state == THERE:
            row.reason = why
    session.flush()


def made(session: orm.Session, place: Place, each: Seen, *, kept: str | None) -> None:
    """Takes down a resource outside of any stack; `kept` is why it stays on purpose, None for one that does not."""
    moment = now()
    row_id = _id(place, each.type, each.physical_id)
    row = session.get(CloudResource, row_id)
    if row is None:
        row = _new(place, row_id, each.type, each.physical_id, moment)
        session.add(row)
    row.name, row.seen, row.gone = each.name[:1024], moment, None
    row.state, row.reason, row.policy = (THERE, None, DELETE) if kept is None else (KEPT, kept, RETAIN)
    session.flush()


def settle(session: orm.Session, environment_id: str, types: Sequence[str], *, left: str | None) -> None:
    """Takes down that an environment's resources of these types are gone, or why they are left."""
    moment = now()
    query = sa.select(CloudResource).where(
        CloudResource.environment_id == environment_id,
        CloudResource.type.in_(types),
        CloudResource.state.in_((THERE, LEFT)),
    )
    for row in session.scalars(query):
        row.state, row.reason, row.gone = (GONE, None, moment) if left is None else (LEFT, left, None)


def end(
    session: orm.Session,
    *,
    environment_id: str,
    project_id: str,
    name: str,
    user_id: str,
    how: str,
    notes: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Closes the receipt of an environment: whatever is still there is left, and says why."""
    moment = now()
    abandoned = f"abandoned by user {user_id} at {moment.isoformat(timespec='seconds')}Z"
    query = sa.select(CloudResource).where(
        CloudResource.environment_id == environment_id, CloudResource.state.in_((THERE, LEFT))
    )
    for row in session.scalars(query):
        row.state = LEFT
        row.reason = abandoned if how == ABANDONED else row.reason or NOBODYS
    session.merge(
        Receipt(
            environment_id=environment_id,
            project_id=project_id,
            name=name,
            how=how,
            user_id=user_id,
            ended=moment,
            notes=[dict(note) for note in notes],
        )
    )
    session.flush()


def receipt(session: orm.Session, environment_id: str, *, for_update: bool = False) -> Receipt | None:
    """What is known of an environment that ended, None of one that is there or never was."""
    return session.get(Receipt, environment_id, with_for_update=for_update or None)


def of_environment(session: orm.Session, environment_id: str, state: str | None = None) -> list[CloudResource]:
    """The environment's resources, oldest first; those in one state, if one is given."""
    query = sa.select(CloudResource).where(CloudResource.environment_id == environment_id)
    if state is not None:
        query = query.where(CloudResource.state == state)
    return list(
        session.scalars(
            query.order_by(CloudResource.made, CloudResource.stack, CloudResource.name, CloudResource.physical_id)
        )
    )


def stacks(
    session: orm.Session, *, project_id: str | None = None, environment_id: str | None = None
) -> list[CloudResource]:
    """The stacks of an environment, or of all that a project has or had, that the cloud may still have."""
    query = sa.select(CloudResource).where(CloudResource.type == STACK, CloudResource.state.in_((THERE, LEFT)))
    if project_id is not None:
        query = query.where(sa.or_(*(CloudResource.environment_id.in_(each) for each in _of_project(project_id))))
    if environment_id is not None:
        query = query.where(CloudResource.environment_id == environment_id)
    rows = session.scalars(query.order_by(CloudResource.made, CloudResource.id))
    return [row for row in rows if row.name == row.stack]


def receipts(session: orm.Session, project_id: str) -> list[Receipt]:
    """The receipts of a project's environments that ended, the newest first."""
    query = sa.select(Receipt).where(Receipt.project_id == project_id)
    return list(session.scalars(query.order_by(Receipt.ended.desc(), Receipt.environment_id)))


def projects(session: orm.Session) -> list[str]:
    """Projects for whose environments, there or gone, something was ever made."""
    made = sa.select(CloudResource.environment_id).distinct()
    found: set[str] = set()
    for table, key in ((Receipt, Receipt.environment_id), (environments.Environment, environments.Environment.id)):
        found.update(session.scalars(sa.select(table.project_id).where(key.in_(made)).distinct()))
    return sorted(found)


def _of_project(project_id: str) -> tuple[sa.Select[str], sa.Select[str]]:
    """The ids of its environments, and of those that ended."""
    row = environments.Environment
    return (
        sa.select(row.id).where(row.project_id == project_id),
        sa.select(Receipt.environment_id).where(Receipt.project_id == project_id),
    )


def _rows(session: orm.Session, place: Place, ids: Sequence[str]) -> Iterator[CloudResource]:
    """The stack's rows that are not over, and those with the ids."""
    of_stack = sa.select(CloudResource).where(
        CloudResource.environment_id == place.environment_id,
        CloudResource.region == place.region,
        CloudResource.stack == place.stack,
        CloudResource.state != GONE,
    )
    rows = {row.id: row for row in session.scalars(of_stack)}
    missing = [each for each in ids if each not in rows]
    for first in range(0, len(missing), _MOST_IDS):
        query = sa.select(CloudResource).where(CloudResource.id.in_(missing[first : first + _MOST_IDS]))
        rows.update({row.id: row for row in session.scalars(query)})
    yield from rows.values()


def _new(
    place: Place, row_id: str, type_name: str, physical_id: str | None, moment: datetime.datetime
) -> CloudResource:
    return CloudResource(
        id=row_id,
        environment_id=place.environment_id,
        project_id=place.project_id,
        deployment_id=place.deployment_id,
        region=place.region[:255],
        stack=place.stack[:255],
        type=type_name[:255],
        physical_id=None if physical_id is None else physical_id[:255],
        made=moment,
        seen=moment,
    )


def _let_go(row: CloudResource, moment: datetime.datetime, vanished: str | None) -> None:
    if row.policy == RETAIN:
        row.state, row.reason = KEPT, "its template says deletion_policy: retain, so its stack left it behind"
        return
    row.state, row.reason, row.gone = GONE, vanished, moment
    if row.policy == SNAPSHOT and vanished is None:
        row.reason = "a snapshot of it was made and stays: its template says deletion_policy: snapshot"


def _id(place: Place, type_name: str, physical_id: str) -> str:
    """The same for the same resource, whoever sees it again."""
    return uuid.uuid5(_IDS, "\n".join((place.environment_id, place.region, place.stack, type_name, physical_id))).hex
