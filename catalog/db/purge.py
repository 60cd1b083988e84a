"""Removing what is over and old: deployments, their reports, output and journals, sessions, tokens, answers, plans.

`purge(database, before)` deletes batch by batch, so that nobody waits long for a lock; `count(database, before)` says
what it would delete. Reached by `chandlery db purge`. What environments are made of and the accounting of instances
stay; so do the last deployment of an environment and what its status follows from. The last report of an application
that only older deployments have reported about goes with these. Of receipts goes what is known to be gone: what was
left in a cloud stays in them until it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import agents, deployments, idempotency, identity, journal, outputs, resources, sessions, statuses
from catalog.db.base import Base, Database, now

BATCH = 500  # rows of one transaction


def purge(
    database: Database, before: datetime.datetime, *, kinds: Collection[str] = (), batch: int = BATCH
) -> dict[str, int]:
    """Deletes what was over before then; how many rows of each kind. `kinds` are some of `KINDS`, by default all.

    Raises `ValueError` for a kind there is not. May be interrupted at any time and started again.
    """
    removed = dict.fromkeys(_chosen(kinds), 0)
    for kind in removed:
        table, old = KINDS[kind]
        while True:
            with database.transaction() as session:
                found = _delete(session, table, old(before), batch)
            removed[kind] += found
            if found < batch:
                break
    return removed


def count(database: Database, before: datetime.datetime, *, kinds: Collection[str] = ()) -> dict[str, int]:
    """How many rows of each kind `purge` would delete now; nothing is deleted. Raises `ValueError` as that does."""
    with database.reading() as session:
        return {
            kind: session.scalar(sa.select(sa.func.count()).select_from(KINDS[kind][0]).where(KINDS[kind][1](before)))
            or 0
            for kind in _chosen(kinds)
        }


def _chosen(kinds: Collection[str]) -> list[str]:
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: expected some of {', '.join(KINDS)}")
    return [kind for kind in KINDS if not kinds or kind in kinds]


def _delete(session: orm.Session, table: type[Base], old: sa.ColumnElement[bool], batch: int) -> int:
    """Deletes up to `batch` rows. Their keys are read first: MariaDB has no subquery on the table it deletes from."""
    keys = sa.inspect(table).primary_key
    rows = session.execute(sa.select(*keys).select_from(table).where(old).limit(batch)).all()
    if rows:
        named = keys[0].in_([row[0] for row in rows]) if len(keys) == 1 else sa.tuple_(*keys).in_(map(tuple, rows))
        session.execute(sa.delete(table).where(named).execution_options(synchronize_session=False))
    return len(rows)


def _journals(before: datetime.datetime) -> sa.ColumnElement[bool]:
    """Journals are for taking over a deployment, and for finding out what happened; both are over."""
    over = sa.select(deployments.Deployment.id).where(
        deployments.Deployment.state == deployments.FINISHED, deployments.Deployment.finished < before
    )
    return journal.JournalEntry.deployment_id.in_(over)


def _outputs(before: datetime.datetime) -> sa.ColumnElement[bool]:
    """What plans printed is for those who watch, and for finding out what happened."""
    over = sa.select(deployments.Deployment.id).where(
        deployments.Deployment.state == deployments.FINISHED, deployments.Deployment.finished < before
    )
    return outputs.OutputChunk.deployment_id.in_(over)


def _deployments(before: datetime.datetime) -> sa.ColumnElement[bool]:
    """Finished ones but for the last of each environment: what people see of it comes from there."""
    ours = deployments.Deployment
    newer = orm.aliased(ours)
    has_newer = sa.exists().where(
        newer.environment_id == ours.environment_id, newer.state == deployments.FINISHED, newer.finished > ours.finished
    )
    return sa.and_(ours.state == deployments.FINISHED, ours.finished < before, has_newer)


def _reports(before: datetime.datetime) -> sa.ColumnElement[bool]:
    return statuses.Status.deployment_id.in_(sa.select(deployments.Deployment.id).where(_deployments(before)))


def _sessions(before: datetime.datetime) -> sa.ColumnElement[bool]:
    """Those that stand behind one that was deployed, or failed: nobody can deploy them, no status follows from them."""
    ours = sessions.Session
    newer = orm.aliased(ours)
    outdone = sa.exists().where(
        newer.environment_id == ours.environment_id,
        newer.state.not_in((sessions.OPENED, sessions.DEPLOYING, sessions.DELETING)),
        newer.id != ours.id,
        sa.or_(newer.version > ours.version, sa.and_(newer.version == ours.version, newer.updated > ours.updated)),
    )
    still = ours.state.in_((sessions.DEPLOYING, sessions.DELETING))
    return sa.and_(ours.updated < before, ~still, outdone)


def _tokens(_before: datetime.datetime) -> sa.ColumnElement[bool]:
    """All that have expired, however short ago: nobody can use them."""
    return identity.Token.expires < now()


def _answers(before: datetime.datetime) -> sa.ColumnElement[bool]:
    return idempotency.KeptAnswer.created < before


def _plans(before: datetime.datetime) -> sa.ColumnElement[bool]:
    """Those that are over, where no deployment that might ask again is going on."""
    going_on = (
        sa.select(agents.Agent.id)
        .join(deployments.Deployment, deployments.Deployment.environment_id == agents.Agent.environment_id)
        .where(deployments.Deployment.state != deployments.FINISHED)
    )
    return sa.and_(
        agents.AgentPlan.state.in_((agents.DONE, agents.WITHDRAWN)),
        agents.AgentPlan.created < before,
        agents.AgentPlan.agent_id.not_in(going_on),
    )


def _resources(before: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(resources.CloudResource.state == resources.GONE, resources.CloudResource.gone < before)


def _receipts(before: datetime.datetime) -> sa.ColumnElement[bool]:
    """Those of environments that ended and have nothing left to account for."""
    has_resources = sa.exists().where(resources.CloudResource.environment_id == resources.Receipt.environment_id)
    return sa.and_(resources.Receipt.ended < before, ~has_resources)


Old = Callable[[datetime.datetime], Any]
# In this order: what hangs on a deployment goes before it, so that no batch is larger than it says.
KINDS: Mapping[str, tuple[type[Base], Old]] = {
    "journals": (journal.JournalEntry, _journals),
    "output": (outputs.OutputChunk, _outputs),
    "reports": (statuses.Status, _reports),
    "deployments": (deployments.Deployment, _deployments),
    "sessions": (sessions.Session, _sessions),
    "tokens": (identity.Token, _tokens),
    "answers": (idempotency.KeptAnswer, _answers),
    "plans": (agents.AgentPlan, _plans),
    "resources": (resources.CloudResource, _resources),
    "receipts": (resources.Receipt, _receipts),
}
