"""A cloud that does nothing and writes down what it was asked to do: for plans, before anything is created.

Over a real cloud (`base`) it reads what is there already, so that a change shows as a change. Its answers are plausible
and always the same: addresses from documentation ranges, ids derived from names, empty script output. They are
*assumed*, and a plan says so where a program went on from them. How steps are told is the business of `engine.steps`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dsl
from engine import steps
from engine.clouds import assumptions, changes, executions, ports, services

MOST_STEPS = 20_000  # of one plan: as many effects as a deployment may have


class TooManySteps(dsl.Interrupted):
    """A package does more than any deployment may."""


class Recording:
    """Orchestration, Agents and Network in one; `steps` is what they would have done, in order."""

    def __init__(
        self, base: services.Cloud | None = None, server_name: Callable[[str], str | None] = lambda _id: None
    ) -> None:
        self.steps: list[steps.Step] = []
        self.secrets: set[str] = set()  # texts that came to light on the way and are not to be shown
        self._base = base
        self._server_name = server_name
        self._stacks: dict[tuple[str, str], changes.Pushed | None] = {}  # by region and name: as they would be
        self._routers: dict[str, list[dict[str, Any]]] = {}  # by region: those the deployment would have made
        self._mutex = threading.Lock()
        self._place = threading.local()

    def cloud(self) -> services.Cloud:
        """This recording as a deployment's cloud, with the services of the base; what only reads goes to the base."""
        base = self._base
        return services.Cloud(
            orchestration=self,
            agents=self,
            network=self if base is None or base.network is not None else None,
            metadata_definitions=None if base is None else base.metadata_definitions,
            identity=None if base is None else base.identity,
            workflow=RecordedWorkflow(self) if base is None or base.workflow is not None else None,
            secrets=None if base is None else base.secrets,
        )

    def record(self, step: steps.Step) -> None:
        with self._mutex:
            if len(self.steps) >= MOST_STEPS:
                raise TooManySteps(f"more than {MOST_STEPS:,} steps")
            self.steps.append(dataclasses.replace(step, effect=getattr(self._place, "effect", "")))

    @contextlib.contextmanager
    def during(self, effect: str) -> Iterator[None]:
        """What this thread records meanwhile belongs to the effect of this key."""
        self._place.effect = effect
        try:
            yield
        finally:
            self._place.effect = ""

    # --- Orchestration ---

    def push(
        self,
        stack: ports.Stack,
        template: dict[str, Any],
        files: dict[str, str],
        environment: dict[str, Any] | str | None,
        parameters: dict[str, Any],
    ) -> dict[str, Any]:
        wanted = changes.Pushed(
            template=template, parameters=parameters, files=files or {}, environment=environment or {}
        )
        before = self._known(stack)
        self._note(before, wanted)
        for step in changes.of_push(stack.name, before, wanted):
            self.record(step)
        with self._mutex:
            self._stacks[_key(stack)] = wanted
        return self.outputs(stack)

    def current(self, stack: ports.Stack) -> dict[str, Any] | None:
        known = self._known(stack)
        return None if known is None else dict(known.template)

    def parameters(self, stack: ports.Stack) -> dict[str, Any]:
        known = self._known(stack)
        return {} if known is None else dict(known.parameters)

    def files(self, stack: ports.Stack) -> dict[str, str]:
        known = self._known(stack)
        return {} if known is None else dict(known.files or {})

    def environment(self, stack: ports.Stack) -> dict[str, Any]:
        known = self._known(stack)
        return {} if known is None else known.settings()

    def outputs(self, stack: ports.Stack) -> dict[str, Any]:
        known = self._known(stack) or changes.Pushed(template={})
        real = {} if self._base is None else self._base.orchestration.outputs(stack)
        assumed = assumptions.Assumptions(stack.name, known.template, known.parameters)
        return {
            name: real[name] if real.get(name) is not None else assumed.value(output.get("value"))
            for name, output in assumptions.section(known.template, "outputs").items()
        }

    def delete(self, stack: ports.Stack) -> None:
        before = self._known(stack)
        if before is None:
            return
        self._note(before)
        for step in changes.of_deletion(stack.name, before):
            self.record(step)
        with self._mutex:
            self._stacks[_key(stack)] = None

    def _known(self, stack: ports.Stack) -> changes.Pushed | None:
        """The stack as it would be now: as the deployment would have left it, else as it is."""
        with self._mutex:
            if _key(stack) in self._stacks:
                return self._stacks[_key(stack)]
        if self._base is None:
            return None
        there = self._base.orchestration
        template = there.current(stack)
        if template is None:
            return None
        return changes.Pushed(
            template=template,
            parameters=there.parameters(stack) if isinstance(there, services.KeepsParameters) else {},
            files=there.files(stack) if isinstance(there, services.KeepsFiles) else None,
            environment=there.environment(stack) if isinstance(there, services.KeepsFiles) else None,
        )

    def _note(self, *stacks: changes.Pushed | None) -> None:
        for each in stacks:
            if each is not None:
                self.secrets.update(each.secrets())

    def resources(self, stack: ports.Stack) -> ports.Holdings | None:
        with self._mutex:
            recorded = _key(stack) in self._stacks
            known = self._stacks.get(_key(stack))
        if not recorded:
            return None if self._base is None else self._base.orchestration.resources(stack)
        if known is None:
            return None
        return ports.Holdings(
            id=assumptions.stable_id(stack.name),
            resources=[
                ports.Held(id=assumptions.stable_id(stack.name, name), name=name, type=str(resource.get("type")))
                for name, resource in assumptions.section(known.template, "resources").items()
            ],
        )

    def tagged(self, project_id: str, tag: str) -> Sequence[ports.Found]:
        return () if self._base is None else self._base.orchestration.tagged(project_id, tag)

    # --- Agents ---

    def register(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """What the boot data would say. Nobody is let in by a plan."""
        return self.access(environment_id, project_id, instance_id)

    def access(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        if self._base is not None:
            return self._base.agents.access(environment_id, project_id, instance_id)
        agent_id = self.agent_id(environment_id, project_id, instance_id)
        return {"agent_id": agent_id, "url": "http://chandlery.example", "token": "recorded"}

    def agent_id(self, environment_id: str, project_id: str, instance_id: str) -> str:
        return instance_id

    def run(
        self,
        agent_id: str,
        plan_id: str,
        plan: dict[str, Any],
        timeout: float,
        check: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        self.record(executions.of_plan(self._server_name(agent_id) or agent_id, plan, timeout))
        if not str(plan.get("FormatVersion", "1.")).startswith("2."):
            return {"IsException": False, "Result": [{"IsException": False, "Result": [""]}]}
        return {
            "FormatVersion": "2.0.0",
            "ID": assumptions.stable_id("result", plan_id),
            "SourceID": plan.get("ID", plan_id),
            "Action": "Execution:Result",
            "ErrorCode": 0,
            "Body": assumptions.result_of(str(plan.get("Body") or ""), plan.get("Scripts") or {}),
            "Time": "",
        }

    def send(self, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None = None) -> None:
        self.record(executions.of_plan(self._server_name(agent_id) or agent_id, plan, timeout, waits=False))

    def forget(self, environment_id: str) -> None:
        """Nothing was let in."""

    # --- Network ---

    def list(self, region: str, kind: str) -> list[dict[str, Any]]:
        if self._base is not None and self._base.network is not None:
            there = self._base.network.list(region, kind)
        else:
            there = _NETWORK.get(kind, [])
        return [*there, *self._routers.get(region, [])] if kind == "routers" else there

    def create_router(self, region: str, name: str, external_network_id: str) -> dict[str, Any]:
        for router in self.list(region, "routers"):
            if router["name"] == name:
                return router
        gateway = {"network_id": external_network_id}
        self.record(
            steps.Step(
                kind="create",
                target=name,
                type="OS::Neutron::Router",
                summary=f"Create the router {name}",
                details={"properties": {"name": name, "external_gateway_info": gateway}, "region": region},
            )
        )
        made = {"id": assumptions.stable_id("router", name), "name": name, "external_gateway_info": gateway}
        self._routers.setdefault(region, []).append(made)
        return made


class RecordedWorkflow:
    """The Workflow of a recording, whose `run` is another one than that of agents."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def upload(self, region: str, definition: str) -> None:
        self._recording.record(executions.of_definition(region, definition))

    def run(
        self, region: str, name: str, inputs: Mapping[str, Any], params: Mapping[str, Any], timeout: float
    ) -> dict[str, Any] | str:
        self._recording.record(executions.of_workflow(region, name, inputs, params, timeout))
        return {} if timeout > 0 else assumptions.stable_id("workflow", region, name)


def _key(stack: ports.Stack) -> tuple[str, str]:
    return (stack.region_name or "", stack.name)


_NETWORK: Mapping[str, list[dict[str, Any]]] = {  # what a cloud nobody has asked is assumed to offer
    "networks": [{"id": "ext-net", "name": "ext-net", "router:external": True, "subnets": []}],
    "routers": [
        {
            "id": "murano-default-router",
            "name": "murano-default-router",
            "external_gateway_info": {"network_id": "ext-net"},
        }
    ],
    "subnets": [],
    "ports": [],
    "extensions": [{"alias": "security-group", "name": "security-group"}],
}
