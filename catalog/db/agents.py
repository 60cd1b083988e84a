"""Guest agents and the execution plans on their way to them.

Written by the engine (registering agents, queueing plans, waiting) and by the agents' API (delivering plans, storing
results). Both may be in different processes: the rows are the truth, `signals` only shortens the wait within one
process. Tokens are kept as SHA-256 hashes; they are 256 random bits, so that a plain hash is enough. How the tokens
work together: docs/agents.md.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import threading
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.base import Base, Identifier, Json, Timestamp, now

QUEUED, SENT, DONE, WITHDRAWN = "queued", "sent", "done", "withdrawn"
ENROLMENT_HOURS = 24  # how long after a registration a server may still enrol: slow images, replaced servers
KEPT_DAYS = 7  # how long plans are kept after they are over
SEEN_SECONDS = 5  # `seen` is written at most that often

ENROLLED, ALREADY_ENROLLED, ENROLMENT_CLOSED, WRONG_TOKEN = "enrolled", "already enrolled", "closed", "wrong token"


class Agent(Base):
    """The agent of one server. `token_hash` is of the boot token, `session_hash` of the secret its agent chose when it
    enrolled.
    """

    __tablename__ = "agents"

    id: orm.Mapped[str] = orm.mapped_column(Identifier, primary_key=True)
    environment_id: orm.Mapped[str] = orm.mapped_column(
        Identifier, sa.ForeignKey("environments.id", ondelete="CASCADE"), index=True
    )
    project_id: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    instance_id: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    token_hash: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    session_hash: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    enrolment_ends: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)
    seen: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)
    version: orm.Mapped[str | None] = orm.mapped_column(sa.String(32))


class AgentPlan(Base):
    """One execution plan; `id` is chosen by the engine and the same when the engine asks again."""

    __tablename__ = "agent_plans"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(128), primary_key=True)
    agent_id: orm.Mapped[str] = orm.mapped_column(
        Identifier, sa.ForeignKey("agents.id", ondelete="CASCADE"), index=True
    )
    plan: orm.Mapped[dict[str, Any]] = orm.mapped_column(Json)
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16), default=QUEUED)
    result: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(Json)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(Timestamp, default=now)
    deadline: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)
    sent: orm.Mapped[datetime.datetime | None] = orm.mapped_column(Timestamp)


class PlanConflict(Exception):
    """A plan id that was used before, for another agent or another plan."""


def register(
    session: orm.Session, *, agent_id: str, environment_id: str, project_id: str, instance_id: str, token_hash: str
) -> Agent:
    """Adds the agent, or opens the enrolment again of the one there is. Its session stays valid."""
    agent = session.get(Agent, agent_id)
    if agent is None:
        agent = Agent(id=agent_id, environment_id=environment_id, project_id=project_id, instance_id=instance_id)
        session.add(agent)
    else:
        forget_old_plans(session, agent_id)
    agent.token_hash = token_hash
    agent.enrolment_ends = now() + datetime.timedelta(hours=ENROLMENT_HOURS)
    return agent


def forget_old_plans(session: orm.Session, agent_id: str) -> None:
    """Removes what is long over: the deployments' journals have the results, the agents know what they ran."""
    old = now() - datetime.timedelta(days=KEPT_DAYS)
    over = sa.and_(AgentPlan.agent_id == agent_id, AgentPlan.state.in_((DONE, WITHDRAWN)), AgentPlan.created < old)
    session.execute(sa.delete(AgentPlan).where(over))


def enrol(session: orm.Session, agent_id: str, boot_token: str, session_hash: str) -> str:
    """Binds the agent's own secret to the agent, once per registration; the same secret again is fine (the answer was
    lost).
    """
    agent = session.get(Agent, agent_id, with_for_update=True)
    if agent is None or not hmac.compare_digest(agent.token_hash, hash_of(boot_token)):
        return WRONG_TOKEN
    if agent.session_hash is not None and hmac.compare_digest(agent.session_hash, session_hash):
        return ALREADY_ENROLLED
    if agent.enrolment_ends is None or agent.enrolment_ends < now():
        return ENROLMENT_CLOSED
    agent.session_hash = session_hash
    agent.enrolment_ends = None
    return ENROLLED


def authenticate(session: orm.Session, agent_id: str, token: str) -> Agent | None:
    """The agent whose session token this is."""
    agent = session.get(Agent, agent_id)
    if agent is None or agent.session_hash is None:
        return None
    return agent if hmac.compare_digest(agent.session_hash, hash_of(token)) else None


def saw(session: orm.Session, agent: Agent, version: str | None) -> None:
    """Remembers that the agent is alive."""
    agent.seen = now()
    agent.version = version


def queue(
    session: orm.Session, *, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None
) -> AgentPlan:
    """The plan's row: inserted if absent, with its deadline moved if a new wait begins.

    :raises PlanConflict: the id was used for another agent or with another content.
    """
    deadline = None if timeout is None else now() + datetime.timedelta(seconds=min(timeout, 10 * 365 * 86400))
    row = session.get(AgentPlan, plan_id, with_for_update=True)
    if row is None:
        row = AgentPlan(id=plan_id, agent_id=agent_id, plan=plan, state=QUEUED, created=now(), deadline=deadline)
        session.add(row)
        session.flush()
        return row
    if row.agent_id != agent_id or row.plan != plan:
        what = "agent" if row.agent_id != agent_id else "plan"
        raise PlanConflict(f"plan {plan_id}: this id was used for another {what}; plan ids must not be used twice")
    if row.state in (QUEUED, SENT):
        row.deadline = deadline
    return row


def next_plan(session: orm.Session, agent_id: str) -> AgentPlan | None:
    """The oldest plan without a result. It stays the next one until its result is there: agents run an id only once."""
    return session.scalars(_open_plans(agent_id).limit(1)).first()


def open_plans(session: orm.Session, agent_id: str) -> Sequence[AgentPlan]:
    """All plans of an agent that have no result yet and have not been withdrawn, oldest first."""
    return session.scalars(_open_plans(agent_id)).all()


def _open_plans(agent_id: str) -> sa.Select[AgentPlan]:
    waiting = sa.select(AgentPlan).where(AgentPlan.agent_id == agent_id, AgentPlan.state.in_((QUEUED, SENT)))
    return waiting.order_by(AgentPlan.created, AgentPlan.id)


def sent(session: orm.Session, plan_id: str) -> None:
    """Notes that a plan is on its way to its agent, unless that is known already."""
    row = session.get(AgentPlan, plan_id, with_for_update=True)
    if row is not None and row.state == QUEUED:
        row.state, row.sent = SENT, now()


def finish(session: orm.Session, agent_id: str, plan_id: str, result: dict[str, Any]) -> str | None:
    """Stores the first result of a plan that was sent to this agent; gives the plan's state before, None if there is no
    such plan.
    """
    row = session.get(AgentPlan, plan_id, with_for_update=True)
    if row is None or row.agent_id != agent_id:
        return None
    before = row.state
    if before == SENT:
        row.state, row.result = DONE, result
    return before


def withdraw(session: orm.Session, plan_id: str) -> AgentPlan | None:
    """Takes back a plan nobody waits for any more, unless its result came just now. Gives the row."""
    row = session.get(AgentPlan, plan_id, with_for_update=True)
    if row is not None and row.state in (QUEUED, SENT):
        row.state = WITHDRAWN
    return row


def of_environment(session: orm.Session, environment_id: str) -> Sequence[Agent]:
    """All agents of an environment."""
    return session.scalars(
        sa.select(Agent).where(Agent.environment_id == environment_id).order_by(Agent.instance_id)
    ).all()


def hash_of(token: str) -> str:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Signals:
    """Wakes waiters of this process early. A missed signal costs the time until the next look at the database, nothing
    else.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._all = 0

    def count(self, topic: str) -> int:
        """What `wait` shall wait to change; take it before looking at the database."""
        with self._condition:
            return self._counts.get(topic, 0) + self._all

    def give(self, topic: str) -> None:
        with self._condition:
            if topic in self._waiting:
                self._counts[topic] = self._counts.get(topic, 0) + 1
                self._condition.notify_all()

    def give_all(self) -> None:
        """Wakes everybody: the process ends."""
        with self._condition:
            self._all += 1
            self._condition.notify_all()

    def wait(self, topic: str, count: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._condition:
            while self._counts.get(topic, 0) + self._all == count and time.monotonic() < deadline:
                self._condition.wait(deadline - time.monotonic())

    def enter(self, topic: str) -> None:
        """Counts signals of this topic from now on."""
        with self._condition:
            self._waiting[topic] = self._waiting.get(topic, 0) + 1

    def leave(self, topic: str) -> None:
        """The last one to leave ends the counting."""
        with self._condition:
            self._waiting[topic] -= 1
            if not self._waiting[topic]:
                del self._waiting[topic]
                self._counts.pop(topic, None)


signals = Signals()
