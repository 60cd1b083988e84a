"""Plans that were answered, so that a deployment can be held to one and told what differs; and the key of digests.

Steps are kept as they were told, with secrets masked. What is masked differs by its digest, which is made with a key of
the installation that nobody else has: a plain digest of a short password could be found out by trying.
"""

from __future__ import annotations

import datetime
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, sealing

KEPT = 20  # plans of an environment, the newest
DIFFERENCES = 10  # steps that are told when a plan does not hold
_KEY_NAME = "plans"


class Plan(base.Base):
    """One plan. `moment` is what the clock showed in it, in seconds since the epoch."""

    __tablename__ = "plans"

    environment_id: orm.Mapped[str] = orm.mapped_column(
        base.Identifier, sa.ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True
    )
    hash: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    moment: orm.Mapped[float] = orm.mapped_column(sa.Double)
    steps: orm.Mapped[list[dict[str, Any]]] = orm.mapped_column(sealing.Json("plans.steps"))
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


class Key(base.Base):
    """A key of the installation, made when it is first needed."""

    __tablename__ = "installation_keys"

    name: orm.Mapped[str] = orm.mapped_column(sa.String(32), primary_key=True)
    value: orm.Mapped[str] = orm.mapped_column(sealing.Text("installation_keys.value"))


def get(session: orm.Session, environment_id: str, plan_hash: str) -> Plan | None:
    """The environment's plan of this hash, if it is one of the newest."""
    return session.get(Plan, (environment_id, plan_hash))


def keep(
    session: orm.Session, environment_id: str, plan_hash: str, moment: float, steps: Sequence[Mapping[str, Any]]
) -> None:
    """Keeps a plan, and forgets the environment's oldest ones. Call it under `environments.lock`."""
    row = get(session, environment_id, plan_hash) or Plan(environment_id=environment_id, hash=plan_hash)
    row.moment, row.steps, row.created = moment, [dict(step) for step in steps], base.now()
    session.add(row)
    session.flush()
    known = sa.select(Plan.hash).where(Plan.environment_id == environment_id, Plan.hash != plan_hash)
    old = session.scalars(known.order_by(Plan.created.desc()).offset(KEPT - 1)).all()
    if old:
        session.execute(sa.delete(Plan).where(Plan.environment_id == environment_id, Plan.hash.in_(old)))


def key(database: base.Database) -> bytes:
    """The key of plans' digests: the same in all processes of the installation, for ever."""
    with database.reading() as session:
        found = session.get(Key, _KEY_NAME)
    if found is None:
        try:
            with database.transaction() as session:
                session.add(Key(name=_KEY_NAME, value=secrets.token_hex(32)))
        except sa.exc.IntegrityError:  # another process was faster
            pass
        with database.reading() as session:
            found = session.get_one(Key, _KEY_NAME)
    return bytes.fromhex(found.value)


def moved(
    plan_hash: str, planned: Sequence[Mapping[str, Any]] | None, now: Sequence[Mapping[str, Any]], now_hash: str
) -> dict[str, Any]:
    """What differs: `{"planned", "now", "differences": [{"planned", "now", "hidden"}], "left_out"}`.

    `planned` are the steps of the plan, None when it is not kept. A difference has null for the side that has no such
    step; `hidden` says that only what is masked differs.
    """
    told = [] if planned is None else _differences(planned, now)
    return {
        "planned": plan_hash,
        "now": now_hash,
        "differences": told[:DIFFERENCES],
        "left_out": max(0, len(told) - DIFFERENCES),
    }


def sentence(found: Mapping[str, Any]) -> str:
    """What `moved` found, for people."""
    start = f"The plan {found['planned'][:12]} does not hold any more"
    number = len(found["differences"]) + found["left_out"]
    if not number:
        return f"{start}: today's is {found['now'][:12]}; what differs is not known, as the plan is not kept any more."
    first = found["differences"][0]
    planned, now = first["planned"], first["now"]
    if planned is None:
        told = f"new is: {now['summary']}"
    elif now is None:
        told = f"gone is: {planned['summary']}"
    elif first["hidden"]:
        told = f"a secret or another part that is not shown differs in: {now['summary']}"
    elif planned["summary"] == now["summary"]:
        told = f"changed is: {now['summary']}"
    else:
        told = f"planned was: {planned['summary']}; now it is: {now['summary']}"
    return f"{start}: {number} step{'s' if number > 1 else ''} differ{'' if number > 1 else 's'}, and first {told}."


def _differences(planned: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    gone, come = _without(planned, now), _without(now, planned)
    waiting: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for step in come:
        waiting[_same_thing(step)].append(step)
    before_of: dict[int, Mapping[str, Any]] = {}
    left = []
    for step in gone:
        others = waiting[_same_thing(step)]
        if others:
            before_of[id(others.pop(0))] = step
        else:
            left.append(step)
    paired: list[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]] = [
        (before_of.get(id(step)), step) for step in come
    ]
    paired += [(step, None) for step in left]
    return [{"planned": before, "now": after, "hidden": _looks_equal(before, after)} for before, after in paired]


def _without(steps: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps that have no equal among the others, each of which equals one at most."""
    numbers: dict[str, int] = defaultdict(int)
    for step in others:
        numbers[step["digest"]] += 1
    left = []
    for step in steps:
        if numbers[step["digest"]]:
            numbers[step["digest"]] -= 1
        else:
            left.append(step)
    return left


def _same_thing(step: Mapping[str, Any]) -> tuple[str, ...]:
    plan = (step.get("details") or {}).get("plan")
    return (str(step["target"]), str(step["type"]), str(plan) if step["kind"] == "execute" else "")


def _looks_equal(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    if before is None or after is None:
        return False
    return {**before, "digest": ""} == {**after, "digest": ""}
