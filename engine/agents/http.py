"""The Agents port over HTTP: plans go into the database, guest agents fetch them from `/agents/v1`, results come back
the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy.exc

from catalog.db import agents, outputs
from catalog.db.base import Database
from engine.agents import stored
from engine.agents.stored import AgentTimeout, UnknownAgent, elapsed

__all__ = ["AgentTimeout", "HttpAgents", "UnknownAgent"]


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
    )  # more for the agents' configuration: retry_limit, ca, proxy

    def __post_init__(self) -> None:
        stored.checked_secret(self.secret)

    def register(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """The agent of a server and what its boot data must say: `{"agent_id", "url", "token", ...settings}`.
        Idempotent.

        Opens the agent's enrolment for a day, so that a server that was replaced can enrol too.
        """
        access = self.access(environment_id, project_id, instance_id)
        stored.register(self.database, environment_id, project_id, instance_id, str(access["token"]))
        return access

    def access(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """What `register` would answer; registers nothing."""
        agent_id = stored.agent_id_of(environment_id, project_id, instance_id)
        token = hmac.new(self.secret, b"boot token of agent " + agent_id.encode(), hashlib.sha256).hexdigest()
        return {**self.settings, "agent_id": agent_id, "url": self.url, "token": token}

    def agent_id(self, environment_id: str, project_id: str, instance_id: str) -> str:
        """The id that `register` gives; registers nothing."""
        return stored.agent_id_of(environment_id, project_id, instance_id)

    def watch(self, deployment_id: str, entity_id: str, agent_id: str, plan_id: str, plan: dict[str, Any]) -> None:
        """Has the output of the plan kept with the deployment, for people. Idempotent by `plan_id`."""
        fields = {"deployment_id": deployment_id, "entity_id": entity_id, "agent_id": agent_id, "plan_id": plan_id}
        twice = contextlib.suppress(sqlalchemy.exc.IntegrityError)  # another worker did it, or the environment is gone
        with twice, self.database.transaction() as session:
            outputs.watch(session, **fields, plan=plan)

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
        topic = stored.topic_of(plan_id)
        agents.signals.enter(topic)
        try:
            left = stored.queue(self.database, agent_id, plan_id, plan, timeout)
            agents.signals.give(f"agent/{agent_id}")
            deadline = time.monotonic() + left
            result = stored.wait(
                self.database,
                plan_id,
                deadline,
                check,
                lambda count, seconds: agents.signals.wait(topic, count, seconds),
            )
        finally:
            agents.signals.leave(topic)
        if result is None:
            result = stored.withdraw(self.database, agent_id, plan_id, timeout, why_no_answer)
        return stored.with_source(result, plan, plan_id)

    def send(self, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None = None) -> None:
        """Queues the plan without waiting for it. Idempotent by `plan_id`. Raises as `run` does."""
        stored.queue(self.database, agent_id, plan_id, plan, timeout)
        agents.signals.give(f"agent/{agent_id}")

    def forget(self, environment_id: str) -> None:
        """Nothing is left to do: the agents' rows, and with them their tokens, went with the environment."""


def why_no_answer(agent: agents.Agent | None, plan: agents.AgentPlan | None) -> str:
    """What is known about an agent that gave no result."""
    if agent is None or agent.session_hash is None:
        return "it has never enrolled; look at the server's boot log, and whether it reaches the service's URL"
    if plan is not None and plan.sent is not None:
        return f"it took the plan {elapsed(plan.sent)} ago and has not sent a result"
    return (
        f"it was last seen {elapsed(agent.seen)} ago and has not taken the plan"
        if agent.seen
        else "it enrolled but has not asked for plans"
    )
