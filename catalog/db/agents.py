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

from catalog.db import deployments, sealing, statuses
from catalog.db.base import Base, Identifier, Json, Timestamp, now

QUEUED, SENT, DONE, WITHDRAWN = "queued", "sent", "done", "withdrawn"
ENROLMENT_HOURS = 24  # how long after a registration a server may still enrol: slow images, replaced servers
KEPT_DAYS = 7  # how long plans are kept after they are over
ANOTHER_WAIT_SECONDS = 15  # that who goes on waiting for a result has at least: agents ask again within that time
SEEN_SECONDS = 5  # `seen` is written at most that often

ALIVE_SECONDS = 60  # after its last sign of life an agent may be replaced: it gives one every half a minute
EARLIER_BOOTS = 16  # of a server that are remembered
TWIN_SECONDS = 600  # of silence after which a server is gone, and its copy may take its place

ENROLLED, ALREADY_ENROLLED, ENROLMENT_CLOSED, WRONG_TOKEN = "enrolled", "already enrolled", "closed", "wrong token"
STILL_ALIVE = "the agent is alive"
CURRENT, DOUBTFUL, DISCOVERED, TWIN = "current", "doubtful", "twin discovered", "twin"


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
    boots: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(Json)  # see `recognise`


class AgentPlan(Base):
    """One execution plan; `id` is chosen by the engine and the same when the engine asks again."""

    __tablename__ = "agent_plans"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(128), primary_key=True)
    agent_id: orm.Mapped[str] = orm.mapped_column(
        Identifier, sa.ForeignKey("agents.id", ondelete="CASCADE"), index=True
    )
    plan: orm.Mapped[dict[str, Any]] = orm.mapped_column(sealing.Json("agent_plans.plan"))
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16), default=QUEUED)
    result: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(sealing.Json("agent_plans.result"))
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
    lost). A server takes the place of another one only when that one is silent: who can read boot data in a server that
    lives can not take its agent's place.
    """
    agent = session.get(Agent, agent_id, with_for_update=True)
    if agent is None or not hmac.compare_digest(agent.token_hash, hash_of(boot_token)):
        return WRONG_TOKEN
    if agent.session_hash is not None and hmac.compare_digest(agent.session_hash, session_hash):
        return ALREADY_ENROLLED
    if agent.enrolment_ends is None or agent.enrolment_ends < now():
        return ENROLMENT_CLOSED
    if agent.session_hash is not None and was_seen(agent, ALIVE_SECONDS):
        return STILL_ALIVE
    agent.session_hash = session_hash
    agent.enrolment_ends = None
    agent.boots = None
    return ENROLLED


def may_enrol(session: orm.Session, agent_id: str, boot_token: str) -> Agent | None:
    """The agent whose boot token this is; `enrol` says whether it still serves."""
    agent = session.get(Agent, agent_id)
    return agent if agent is not None and hmac.compare_digest(agent.token_hash, hash_of(boot_token)) else None


def authenticate(session: orm.Session, agent_id: str, token: str) -> Agent | None:
    """The agent whose session token this is."""
    agent = session.get(Agent, agent_id)
    if agent is None or agent.session_hash is None:
        return None
    return agent if hmac.compare_digest(agent.session_hash, hash_of(token)) else None


def was_seen(agent: Agent, seconds: float) -> bool:
    """Whether the agent gave a sign of life in the last so many seconds."""
    return agent.seen is not None and now() - agent.seen < datetime.timedelta(seconds=seconds)


def saw(session: orm.Session, agent: Agent, version: str | None) -> None:
    """Remembers that the agent is alive."""
    agent.seen = now()
    agent.version = version


def is_another_boot(agent: Agent, boot: str | None) -> bool:
    """Whether the agent comes from another boot of its server than the one before."""
    return boot is not None and (agent.boots or {}).get("current") != boot


def recognise(agent: Agent, boot: str | None) -> str:
    """Whether this boot of a server may speak for the agent. The caller has the agent's row locked.

    A server that is restarted has a new boot, and the one before is never heard again, but for one poll that was on its
    way. So an earlier boot that comes back once is DOUBTFUL, and gets no plan; one that comes twice lives, and so does
    the boot that took its place: DISCOVERED, two servers have one secret. The one that came later, whose disk is a copy
    of the other's, is a TWIN from then on, until the other one is silent for long.
    """
    if boot is None:
        return CURRENT
    known: dict[str, Any] = agent.boots or {"current": boot, "earlier": [], "returned": [], "refused": []}
    current, found = known["current"], CURRENT
    if boot in known["refused"]:
        if was_seen(agent, TWIN_SECONDS):
            return TWIN
        known = {**known, "current": boot, "refused": [other for other in known["refused"] if other != boot]}
    elif boot == current:
        pass
    elif boot not in known["earlier"]:
        known = {**known, "current": boot, "earlier": [*known["earlier"], current][-EARLIER_BOOTS:]}
    elif boot not in known["returned"]:
        known = {**known, "returned": [*known["returned"], boot][-EARLIER_BOOTS:]}
        found = DOUBTFUL
    else:
        known = {
            "current": boot,
            "earlier": [other for other in known["earlier"] if other != boot],
            "returned": [],
            "refused": [*known["refused"], current][-EARLIER_BOOTS:],
        }
        found = DISCOVERED
    agent.boots = known
    return found


def report_twin(session: orm.Session, agent_id: str) -> None:
    """A warning among the reports of the deployment that is going on in the agent's environment, if one is."""
    agent = session.get_one(Agent, agent_id)
    running = sa.select(deployments.Deployment).where(
        deployments.Deployment.environment_id == agent.environment_id,
        deployments.Deployment.state.in_(deployments.UNFINISHED),
    )
    deployment = session.scalars(running.order_by(deployments.Deployment.created).limit(1).with_for_update()).first()
    if deployment is not None:
        text = (
            "Two servers have the secret of one agent: one was made from a copy of the other's disk. The one that came "
            "later gets no plans from now on; it may have carried out some that were meant for the other"
        )
        statuses.add(
            session, deployment.id, agent.environment_id, text=text, level="warning", entity_id=agent.instance_id
        )


def queue(
    session: orm.Session, *, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None
) -> AgentPlan:
    """The plan's row: inserted if absent. A new wait for it has what was left of the time, but never nothing.

    :raises PlanConflict: the id was used for another agent or with another content.
    """
    moment = now()
    deadline = None if timeout is None else moment + datetime.timedelta(seconds=min(timeout, 10 * 365 * 86400))
    row = session.get(AgentPlan, plan_id, with_for_update=True)
    if row is None:
        row = AgentPlan(id=plan_id, agent_id=agent_id, plan=plan, state=QUEUED, created=moment, deadline=deadline)
        session.add(row)
        session.flush()
        return row
    if row.agent_id != agent_id or row.plan != plan:
        what = "agent" if row.agent_id != agent_id else "plan"
        raise PlanConflict(f"plan {plan_id}: this id was used for another {what}; plan ids must not be used twice")
    if row.state in (QUEUED, SENT) and row.deadline is not None and deadline is not None:
        least = moment + datetime.timedelta(seconds=ANOTHER_WAIT_SECONDS)
        row.deadline = min(deadline, max(row.deadline, least))
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
