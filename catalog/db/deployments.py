"""Deployments: one row per deploy, action or delete of an environment, and the lease under which a worker runs it.

The row is the truth (docs/architecture.md, "durable execution"). The API submits and cancels, workers `claim`, `hold`
and `release`. Every statement that changes a running deployment is conditional on the lease's owner and fence.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from catalog.db import sealing, statuses
from catalog.db.base import Base, Database, Identifier, Json, Timestamp, new_id, now

KINDS = ("deploy", "action", "delete")
LOCKS_LOOKED_AT = 10  # deployments: what an environment has may come from one before a failed one

QUEUED = "queued"  # waits for a worker
RUNNING = "running"  # a worker has claimed it; its lease says whether that worker still lives
CANCELLING = "cancelling"  # running, and the next effect ends it
FINISHED = "finished"  # result is there
UNFINISHED = (QUEUED, RUNNING, CANCELLING)

# Of what a row and its journal mean. A release that changes it counts up; workers leave newer deployments alone.
FORMAT = 1


class Deployment(Base):
    """One run of the engine (Murano's "task"). `lease_expires` is in seconds of the database's clock.

    `retry_of` is the failed deployment whose journal it takes over. `failure` is what a retry has to know: of one that
    failed `{"places": [effect key], "effects": number, "refused": reason or null, "stacks": [name]}`, of a retry that
    runs `{"stacks": [name], "pushes": {stack: [effect key]}}` (engine.retry).
    """

    __tablename__ = "deployments"

    id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True, default=new_id)
    environment_id: orm.Mapped[str] = orm.mapped_column(
        Identifier, sa.ForeignKey("environments.id", ondelete="CASCADE"), index=True
    )
    session_id: orm.Mapped[str | None] = orm.mapped_column(Identifier)
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    user_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    kind: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    action: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(sealing.Json("deployments.action"))
    model: orm.Mapped[dict[str, Any]] = orm.mapped_column(sealing.Json("deployments.model"))
    lock: orm.Mapped[list[dict[str, Any]]] = orm.mapped_column(Json)
    plan: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(Json)
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16), index=True, default=QUEUED)
    result: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(sealing.Json("deployments.result"))
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now, onupdate=now)
    started: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)
    finished: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)
    owner: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    lease_expires: orm.Mapped[float | None] = orm.mapped_column(sa.Double)
    fence: orm.Mapped[int] = orm.mapped_column(sa.Integer, default=0)
    retry_of: orm.Mapped[str | None] = orm.mapped_column(Identifier)
    failure: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(sealing.Json("deployments.failure"))
    format: orm.Mapped[int] = orm.mapped_column(sa.Integer, default=FORMAT, server_default="1")


class database_clock(GenericFunction[float]):
    """Seconds since the epoch by the database's clock: the one clock all workers share."""

    type = sa.Double()
    inherit_cache = True


@compiles(database_clock, "sqlite")
def _clock_of_sqlite(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_clock, "postgresql")
def _clock_of_postgresql(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(database_clock, "mysql", "mariadb")
def _clock_of_mysql(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "(UNIX_TIMESTAMP(SYSDATE(6)) + 0.0)"


def submit(
    session: orm.Session,
    *,
    environment_id: str,
    session_id: str | None,
    project_id: str,
    user_id: str,
    kind: str,
    action: Mapping[str, Any] | None,
    model: Mapping[str, Any],
    lock: Sequence[Mapping[str, Any]],
    retry_of: str | None = None,
    plan: Mapping[str, Any] | None = None,
) -> Deployment:
    """Queues a deployment with its first report, "Action <method> is scheduled" (spec/api-v1 §1.5).

    `action` is `{"object_id", "method", "args"}`, null for a delete; `lock` is `[{"fqn", "version", "package_id",
    "digest"}]`; `plan` is `{"hash", "moment"}` of the plan that a worker has to find unchanged. Wake the workers
    after the commit: `deployment_ready(deployment_id)` on the topic of `catalog.broker`. Raises `ValueError` for an
    unknown kind, or an action that does not fit it.
    """
    if kind not in KINDS:
        raise ValueError(f"kind of a deployment: expected one of {', '.join(KINDS)}, found {kind!r}")
    if (kind == "delete") is not (action is None):
        raise ValueError(f"a deployment of kind {kind!r}: expected {'no' if kind == 'delete' else 'an'} action")
    deployment = Deployment(
        id=new_id(),
        environment_id=environment_id,
        session_id=session_id,
        project_id=project_id,
        user_id=user_id,
        kind=kind,
        action=None if action is None else dict(action),
        model=dict(model),
        lock=[dict(entry) for entry in lock],
        plan=None if plan is None else dict(plan),
        state=QUEUED,
        created=now(),
        retry_of=retry_of,
    )
    session.add(deployment)
    session.flush()
    method = None if action is None else action.get("method")
    text, about = f"Action {method} is scheduled", statuses.About(step="queue")
    statuses.add(session, deployment.id, environment_id, text=text, about=about)
    return deployment


def of_environment(session: orm.Session, environment_id: str) -> list[Deployment]:
    """The environment's deployments, newest first."""
    query = sa.select(Deployment).where(Deployment.environment_id == environment_id)
    return list(session.scalars(query.order_by(Deployment.created.desc(), Deployment.id.desc())))


def unfinished(session: orm.Session, environment_id: str) -> list[Deployment]:
    """The environment's deployments that are queued or run, oldest first."""
    query = sa.select(Deployment).where(Deployment.environment_id == environment_id, Deployment.state.in_(UNFINISHED))
    return list(session.scalars(query.order_by(Deployment.created, Deployment.id)))


def busy_environments(session: orm.Session) -> list[str]:
    """Ids of the environments that have deployments which are queued or run."""
    return list(
        session.scalars(sa.select(Deployment.environment_id).where(Deployment.state.in_(UNFINISHED)).distinct())
    )


def shown_state(deployment: Deployment, levels: Mapping[str, int]) -> str:
    """The state as API v1 shows it (spec/api-v1 §1.8); `levels` counts the deployment's statuses by level."""
    failed = levels.get("error", 0) > 0 or bool((deployment.result or {}).get("isException"))
    warned = levels.get("warning", 0) > 0
    if deployment.state == FINISHED:
        return "completed_w_errors" if failed else "completed_w_warnings" if warned else "success"
    return "running_w_errors" if failed else "running_w_warnings" if warned else "running"


def cancel(session: orm.Session, deployment_id: str) -> bool:
    """Asks for the end of a deployment at its next effect. False: it has finished already, or never was."""
    changed = session.execute(
        sa.update(Deployment)
        .where(Deployment.id == deployment_id, Deployment.state.in_(UNFINISHED))
        .values(state=CANCELLING, updated=now())
    )
    return _matched(changed) == 1


# --- the lease -------------------------------------------------------------------------------------------------------


def claimable(session: orm.Session, limit: int, project_limit: int = 0) -> list[str]:
    """Ids of deployments no living worker holds, in the order in which they should be claimed.

    Projects take turns: that of the fewest running deployments first, among equals the oldest deployment. With a
    `project_limit`, a project gets no more than that many at a time. What a newer release has submitted or taken up
    is left for its workers. Deployments of one environment run one after the
    other: only its oldest unfinished one is offered. That one can not become another's follower between this query
    and `claim`, so `claim` need not look again.
    """
    older = orm.aliased(Deployment)
    has_older = sa.exists().where(
        older.environment_id == Deployment.environment_id,
        older.state.in_(UNFINISHED),
        sa.or_(
            older.created < Deployment.created,
            sa.and_(older.created == Deployment.created, older.id < Deployment.id),
        ),
    )
    running = (
        sa.select(Deployment.project_id, sa.func.count().label("number"))
        .where(Deployment.state.in_(UNFINISHED), ~_unheld())
        .group_by(Deployment.project_id)
        .subquery()
    )
    in_project = sa.func.row_number().over(
        partition_by=Deployment.project_id, order_by=(Deployment.created, Deployment.id)
    )
    waiting = (
        sa.select(
            Deployment.id,
            Deployment.created,
            (sa.func.coalesce(running.c.number, 0) + in_project).label("turn"),
        )
        .outerjoin(running, running.c.project_id == Deployment.project_id)
        .where(Deployment.state.in_(UNFINISHED), _unheld(), _understood(), ~has_older)
        .subquery()
    )
    query = sa.select(waiting.c.id).order_by(waiting.c.turn, waiting.c.created, waiting.c.id).limit(limit)
    if project_limit:
        query = query.where(waiting.c.turn <= project_limit)
    return list(session.scalars(query))


@dataclass(frozen=True)
class Held:
    """A lease as others see it. `left` is in seconds of the database's clock; `sign` changes with every renewal."""

    deployment_id: str
    sign: tuple[int, float]
    left: float


def held(session: orm.Session) -> list[Held]:
    """The leases that have not run out."""
    query = sa.select(
        Deployment.id, Deployment.fence, Deployment.lease_expires, Deployment.lease_expires - database_clock()
    ).where(Deployment.state.in_(UNFINISHED), ~_unheld())
    return [Held(row[0], (row[1], row[2] or 0.0), row[3] or 0.0) for row in session.execute(query)]


def claim(
    session: orm.Session,
    deployment_id: str,
    owner: str,
    seconds: float,
    *,
    project_limit: int = 0,
    stale: tuple[int, float] | None = None,
) -> int | None:
    """Takes the lease if nobody holds it, in one conditional UPDATE: the fencing number, or None if it was taken.

    `stale` is the `Held.sign` of a lease whose holder has not been heard of: it is taken although it has not run out.
    None, too, while `project_limit` other deployments of the project run.
    """
    if project_limit and _project_is_busy(session, deployment_id, project_limit):
        return None
    row = sa.select(Deployment.id).where(Deployment.id == deployment_id).with_for_update(skip_locked=True)
    if session.scalar(row) is None:  # its worker writes just now, or was stopped while it did: others need not wait
        return None
    free = _unheld()
    if stale is not None:
        free = sa.and_(Deployment.fence == stale[0], Deployment.lease_expires == stale[1])
    changed = session.execute(
        sa.update(Deployment)
        .where(Deployment.id == deployment_id, Deployment.state.in_(UNFINISHED), _understood(), free)
        .values(
            owner=owner,
            format=FORMAT,
            fence=Deployment.fence + 1,
            lease_expires=database_clock() + seconds,
            state=sa.case((Deployment.state == QUEUED, RUNNING), else_=Deployment.state),
            started=sa.func.coalesce(Deployment.started, now()),
            updated=now(),
        )
        .execution_options(synchronize_session=False)
    )
    if _matched(changed) == 0:
        return None
    return session.scalars(sa.select(Deployment.fence).where(Deployment.id == deployment_id)).one()


def hold(session: orm.Session, deployment_id: str, owner: str, fence: int, seconds: float) -> str | None:
    """Renews the lease and locks the row until the transaction ends: the deployment's state, None if the lease is lost.

    First statement of every transaction of a worker: while the row is locked nobody can claim it, so whatever
    else the transaction writes is written by the lease's holder or not at all.
    """
    wanted = {"of": deployment_id, "by": owner, "under": fence, "seconds": seconds}
    connection = session.connection()
    for state in (RUNNING, CANCELLING):
        if _matched(connection.execute(_HOLD, {**wanted, "in_state": state})) == 1:
            return state
    return None


def hold_all(session: orm.Session, owner: str, fences: Mapping[str, int], seconds: float) -> dict[str, str | None]:
    """Renews leases by `{deployment id: fence}`: each deployment's state, None where the lease is lost.

    Rows that another transaction of their holder has locked are left to that, which renews them, too.
    """
    mine = sa.and_(
        Deployment.id.in_(list(fences)), Deployment.owner == owner, Deployment.state.in_((RUNNING, CANCELLING))
    )
    free = session.scalars(sa.select(Deployment.id).where(mine).with_for_update(skip_locked=True)).all()
    if free:
        session.execute(
            sa.update(Deployment)
            .where(Deployment.id.in_(free), Deployment.owner == owner)
            .values(lease_expires=database_clock() + seconds)
            .execution_options(synchronize_session=False)
        )
    held = {
        row.id: row.state
        for row in session.execute(sa.select(Deployment.id, Deployment.fence, Deployment.state).where(mine))
        if row.fence == fences[row.id]
    }
    return {deployment_id: held.get(deployment_id) for deployment_id in fences}


def release(session: orm.Session, deployment_id: str, owner: str, fence: int) -> bool:
    """Gives the lease back, the deployment unfinished: any worker may claim it at once. False: it was lost before."""
    changed = session.execute(
        sa.update(Deployment)
        .where(Deployment.id == deployment_id, Deployment.owner == owner, Deployment.fence == fence)
        .values(owner=None, lease_expires=None)
        .execution_options(synchronize_session=False)
    )
    return _matched(changed) == 1


def end_idle_transactions(database: Database, seconds: float) -> None:
    """Has the server end transactions in which nothing happens for so long: a worker that was stopped in the middle of
    one would keep its rows locked. For processes whose transactions are short. SQLite can not do that.
    """
    statement = {
        "postgresql": f"SET idle_in_transaction_session_timeout = {int(seconds * 1000)}",
        "mysql": f"SET SESSION idle_transaction_timeout = {int(seconds)}",  # MariaDB; MySQL has no such thing
        "mariadb": f"SET SESSION idle_transaction_timeout = {int(seconds)}",
    }.get(database.engine.dialect.name)

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(statement)
            connection.commit()
        except database.engine.dialect.loaded_dbapi.Error:
            connection.rollback()
        finally:
            cursor.close()

    if statement is not None:
        sa.event.listen(database.engine, "connect", prepare)


def locked_packages(session: orm.Session, environment_id: str) -> set[str]:
    """The ids of the packages that the environment's last deployments were locked to."""
    newest = sa.select(Deployment.lock).where(Deployment.environment_id == environment_id)
    locks = session.scalars(newest.order_by(Deployment.created.desc()).limit(LOCKS_LOOKED_AT))
    return {entry["package_id"] for lock in locks for entry in lock}


def release_all(session: orm.Session) -> int:
    """Gives every lease back; how many there were. Only for a service that knows it is alone on its database: what a
    dead process held need not wait for its lease to run out. One that is not dead is fenced out by the next claim.
    """
    changed = session.execute(
        sa.update(Deployment)
        .where(Deployment.lease_expires.is_not(None))
        .values(owner=None, lease_expires=None)
        .execution_options(synchronize_session=False)
    )
    return _matched(changed)


def _project_is_busy(session: orm.Session, deployment_id: str, limit: int) -> bool:
    """Whether as many others of the project run as may. Locks what the project has, so that claims of one project are
    made one after the other.
    """
    project_id = sa.select(Deployment.project_id).where(Deployment.id == deployment_id).scalar_subquery()
    unfinished = sa.and_(Deployment.project_id == project_id, Deployment.state.in_(UNFINISHED))
    session.execute(sa.select(Deployment.id).where(unfinished).order_by(Deployment.id).with_for_update()).all()
    others = sa.select(sa.func.count()).where(unfinished, ~_unheld(), Deployment.id != deployment_id)
    return (session.scalar(others) or 0) >= limit


# Every transaction of every worker begins with it: prepared once, and past the object-relational mapping.
_TABLE = cast(sa.Table, Deployment.__table__)
_HOLD = (
    sa.update(_TABLE)
    .where(
        _TABLE.c.id == sa.bindparam("of"),
        _TABLE.c.owner == sa.bindparam("by"),
        _TABLE.c.fence == sa.bindparam("under"),
        _TABLE.c.state == sa.bindparam("in_state"),
    )
    .values(lease_expires=database_clock() + sa.bindparam("seconds", type_=sa.Double()))
)


def too_new(session: orm.Session) -> int:
    """How many deployments wait for a worker of a newer release than this one."""
    waiting = sa.select(sa.func.count()).where(Deployment.state.in_(UNFINISHED), _unheld(), ~_understood())
    return session.scalar(waiting) or 0


def _understood() -> sa.ColumnElement[bool]:
    """Whether this release knows what the row and its journal mean."""
    return sa.and_(Deployment.format <= FORMAT, Deployment.kind.in_(KINDS))


def _unheld() -> sa.ColumnElement[bool]:
    return sa.or_(Deployment.lease_expires.is_(None), Deployment.lease_expires < database_clock())


def _matched(result: Any) -> int:
    return int(result.rowcount)
