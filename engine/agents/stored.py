"""What all ways to an agent share: plans and results are rows, and who waits looks at the row.

Works across processes and survives their end: `run` with the same plan id again continues to wait for the same plan. A
plan that was not answered in time is withdrawn, so that it does not run unseen later. How a plan gets to its agent, and
the result back into the row, is the business of `engine.agents.http` and `engine.agents.amqp`.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy.exc

from catalog.db import agents, outputs
from catalog.db.base import Database, now
from engine.clouds import ports

LOOK_SECONDS = 0.25  # how often a waiting `run` looks at the database: results taken by other processes
MINIMUM_SECRET = 16  # bytes
PLAN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class AgentTimeout(ports.AgentTimeout, TimeoutError):
    """The agent did not answer in time; the message says what is known about it. The plan has been withdrawn."""


class UnknownAgent(ports.CloudError, LookupError):
    """There is no such agent (any more): its environment has been deleted, or it was never registered."""


def agent_id_of(environment_id: str, project_id: str, instance_id: str) -> str:
    """32 hex digits, the same whenever the same server is meant. No secret."""
    text = "\0".join(("agent", project_id, environment_id, instance_id))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def checked_secret(secret: bytes) -> bytes:
    """Raises ValueError for one that is too short to derive tokens and passwords from."""
    if len(secret) < MINIMUM_SECRET:
        raise ValueError(f"agents' secret: expected at least {MINIMUM_SECRET} bytes, found {len(secret)}")
    return secret


def register(database: Database, environment_id: str, project_id: str, instance_id: str, token: str) -> str:
    """Makes the agent known, and opens its enrolment for a day; gives its id. Idempotent."""
    agent_id = agent_id_of(environment_id, project_id, instance_id)
    fields = {
        "agent_id": agent_id,
        "environment_id": environment_id,
        "project_id": project_id,
        "instance_id": instance_id,
    }
    try:
        with database.transaction() as session:
            agents.register(session, **fields, token_hash=agents.hash_of(token))
    except sqlalchemy.exc.IntegrityError:  # registered by somebody else in this moment: now it is there
        with database.transaction() as session:
            agents.register(session, **fields, token_hash=agents.hash_of(token))
    return agent_id


def queue(database: Database, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None) -> float:
    """Writes the plan's row; gives the seconds that are left to wait for its result. Idempotent by `plan_id`.

    They count from when it was queued first, whoever waits; who takes the wait over has a few in any case, for the
    result may be there and nobody was to take it.

    :raises UnknownAgent: the agent was not registered.
    :raises agents.PlanConflict: the plan id was used for something else.
    """
    if PLAN_ID.fullmatch(plan_id) is None:
        raise ValueError(f"plan id {plan_id!r}: expected 1 to 128 letters, digits, '.', '_', '-' (it goes into a URL)")
    with database.transaction() as session:
        if session.get(agents.Agent, agent_id) is None:
            raise UnknownAgent(
                f"agent {agent_id} is not registered: its server was never deployed, or its environment is gone"
            )
        row = agents.queue(session, agent_id=agent_id, plan_id=plan_id, plan=plan, timeout=timeout)
        return math.inf if row.deadline is None else max(0.0, (row.deadline - now()).total_seconds())


def wait(
    database: Database,
    plan_id: str,
    deadline: float,
    check: Callable[[], None] | None,
    pause: Callable[[int, float], None],
) -> dict[str, Any] | None:
    """The result, by the monotonic clock's `deadline`; None when the time is over or the plan was withdrawn.

    `check` is called every quarter of a second; what it raises ends the wait, and the plan stays.
    `pause(count, seconds)` waits at most so long, less when signal `count` of the plan's topic is over.
    """
    topic = topic_of(plan_id)
    while True:
        count = agents.signals.count(topic)
        with database.reading() as session:
            row = session.get(agents.AgentPlan, plan_id)
            if row is None:
                raise UnknownAgent(f"plan {plan_id} is gone: the environment of its agent was deleted")
            if row.state == agents.DONE:
                return dict(row.result or {})
            if row.state == agents.WITHDRAWN:
                return None
        if check is not None:
            check()
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        pause(count, min(left, LOOK_SECONDS))


def withdraw(
    database: Database,
    agent_id: str,
    plan_id: str,
    timeout: float,
    why: Callable[[agents.Agent | None, agents.AgentPlan | None], str],
) -> dict[str, Any]:
    """The result that came in the last moment. Raises AgentTimeout with the reason `why` gives, the plan withdrawn."""
    with database.transaction() as session:
        row = agents.withdraw(session, plan_id)
        if row is not None and row.state == agents.DONE:
            return dict(row.result or {})
        if row is not None:
            outputs.end(session, row)  # the line it stopped at may say why: a question, say
        agent = session.get(agents.Agent, agent_id)
    # Outside the transaction: the broker may be asked, and may not answer.
    reason = "its environment was deleted meanwhile" if agent is None or row is None else why(agent, row)
    raise AgentTimeout(f"agent did not respond within {timeout:g} seconds: {reason}")


def topic_of(plan_id: str) -> str:
    """The topic of `agents.signals` that is given when the plan's result is stored."""
    return f"plan/{plan_id}"


def with_source(result: dict[str, Any], plan: dict[str, Any], plan_id: str) -> dict[str, Any]:
    """A result of format 2 that names its plan by the plan's own id."""
    return {**result, "SourceID": plan.get("ID") or plan_id} if "ErrorCode" in result else result


def elapsed(since: Any) -> str:
    """Whole seconds until now, as in `5 s`."""
    return f"{max((now() - since).total_seconds(), 0):.0f} s"
