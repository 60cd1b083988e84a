"""The Agents port over HTTP: plans go into the database, guest agents fetch them from `/agents/v1`, results come back
the same way.

Works across processes and survives their end: `run` with the same plan id again continues to wait for the same plan. A
plan that was not answered in time is withdrawn, so that it does not run unseen later.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy.exc

from catalog.db import agents
from catalog.db.base import Database, now
from engine.clouds import ports

LOOK_SECONDS = 0.25  # how often a waiting `run` looks at the database: results taken by other processes
MINIMUM_SECRET = 16  # bytes
PLAN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class AgentTimeout(ports.AgentTimeout, TimeoutError):
    """The agent did not answer in time; the message says what is known about it. The plan has been withdrawn."""


class UnknownAgent(ports.CloudError, LookupError):
    """There is no such agent (any more): its environment has been deleted, or it was never registered."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HttpAgents:
    """`url` is where servers reach this service; `secret` (>= 16 bytes, the same in all processes) derives the boot
    tokens.
    """

    database: Database
    url: str
    secret: bytes
    settings: dict[str, object] = dataclasses.field(
        default_factory=dict
    )  # more for the agents' configuration: retry_limit, ca_file

    def __post_init__(self) -> None:
        if len(self.secret) < MINIMUM_SECRET:
            raise ValueError(f"agents' secret: expected at least {MINIMUM_SECRET} bytes, found {len(self.secret)}")

    def register(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """The agent of a server and what its boot data must say: `{"agent_id", "url", "token", ...settings}`.
        Idempotent.

        Opens the agent's enrolment for a day, so that a server that was replaced can enrol too.
        """
        agent_id = agent_id_of(environment_id, project_id, instance_id)
        token = hmac.new(self.secret, b"boot token of agent " + agent_id.encode(), hashlib.sha256).hexdigest()
        fields = {
            "agent_id": agent_id,
            "environment_id": environment_id,
            "project_id": project_id,
            "instance_id": instance_id,
        }
        try:
            with self.database.transaction() as session:
                agents.register(session, **fields, token_hash=agents.hash_of(token))
        except sqlalchemy.exc.IntegrityError:  # registered by somebody else in this moment: now it is there
            with self.database.transaction() as session:
                agents.register(session, **fields, token_hash=agents.hash_of(token))
        return {**self.settings, "agent_id": agent_id, "url": self.url, "token": token}

    def agent_id(self, environment_id: str, project_id: str, instance_id: str) -> str:
        """The id that `register` gives; registers nothing."""
        return agent_id_of(environment_id, project_id, instance_id)

    def run(
        self,
        agent_id: str,
        plan_id: str,
        plan: dict[str, Any],
        timeout: float,
        check: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Has the plan executed, once per `plan_id`, and gives its result message (spec/agent-protocol §6), also of
        plans that failed.

        `check` is called every quarter of a second; what it raises ends the wait, and the plan stays queued for a later
        `run`.

        :raises AgentTimeout: no result within `timeout` seconds.
        :raises UnknownAgent: `register` was not called.
        :raises agents.PlanConflict: the plan id was used for something else.
        """
        topic = f"plan/{plan_id}"
        agents.signals.enter(topic)
        try:
            self.send(agent_id, plan_id, plan, timeout)
            result = self._wait(topic, plan_id, time.monotonic() + timeout, check)
        finally:
            agents.signals.leave(topic)
        if result is None:
            result = self._withdraw(agent_id, plan_id, timeout)
        if "ErrorCode" in result:
            result["SourceID"] = plan.get("ID") or plan_id
        return result

    def send(self, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None = None) -> None:
        """Queues the plan without waiting for it. Idempotent by `plan_id`. Raises as `run` does."""
        if PLAN_ID.fullmatch(plan_id) is None:
            raise ValueError(
                f"plan id {plan_id!r}: expected 1 to 128 letters, digits, '.', '_', '-' (it goes into a URL)"
            )
        with self.database.transaction() as session:
            if session.get(agents.Agent, agent_id) is None:
                raise UnknownAgent(
                    f"agent {agent_id} is not registered: its server was never deployed, or its environment is gone"
                )
            agents.queue(session, agent_id=agent_id, plan_id=plan_id, plan=plan, timeout=timeout)
        agents.signals.give(f"agent/{agent_id}")

    def _wait(
        self, topic: str, plan_id: str, deadline: float, check: Callable[[], None] | None
    ) -> dict[str, Any] | None:
        """The result; None when the time is over or the plan was withdrawn."""
        while True:
            count = agents.signals.count(topic)
            with self.database.reading() as session:
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
            agents.signals.wait(topic, count, min(left, LOOK_SECONDS))

    def _withdraw(self, agent_id: str, plan_id: str, timeout: float) -> dict[str, Any]:
        with self.database.transaction() as session:
            row = agents.withdraw(session, plan_id)
            if row is not None and row.state == agents.DONE:  # it came in the last moment
                return dict(row.result or {})
            agent = session.get(agents.Agent, agent_id)
            reason = why_no_answer(agent, row)
        raise AgentTimeout(f"agent did not respond within {timeout:g} seconds: {reason}")


def agent_id_of(environment_id: str, project_id: str, instance_id: str) -> str:
    """32 hex digits, the same whenever the same server is meant. No secret."""
    text = "\0".join(("agent", project_id, environment_id, instance_id))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def why_no_answer(agent: agents.Agent | None, plan: agents.AgentPlan | None) -> str:
    if agent is None or plan is None:
        return "its environment was deleted meanwhile"
    if agent.session_hash is None:
        return "it has never enrolled; look at the server's boot log, and whether it reaches the service's URL"
    if plan.sent is not None:
        return f"it took the plan {elapsed(plan.sent)} ago and has not sent a result"
    return (
        f"it was last seen {elapsed(agent.seen)} ago and has not taken the plan"
        if agent.seen
        else "it enrolled but has not asked for plans"
    )


def elapsed(since: Any) -> str:
    return f"{max((now() - since).total_seconds(), 0):.0f} s"
