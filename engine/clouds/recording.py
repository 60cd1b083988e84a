"""A cloud that does nothing and writes down what it was asked to do: for plans, before anything is created.

Over a real cloud (`base`) it reads what is there already, so that a change shows as a change. Its answers are plausible
and always the same: addresses from documentation ranges, ids derived from names, empty script output. They are
*assumed*, and a plan says so where a program went on from them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine import secrets
from engine.clouds import assumptions, ports, services


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing a deployment would do. `kind` is `create`, `update`, `delete`, `execute` or `report`."""

    kind: str
    target: str
    type: str
    summary: str
    details: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "target": self.target,
            "type": self.type,
            "summary": self.summary,
            "details": self.details,
        }


class Recording:
    """Orchestration, Agents and Network in one; `steps` is what they would have done, in order."""

    def __init__(
        self, base: services.Cloud | None = None, server_name: Callable[[str], str | None] = lambda _id: None
    ) -> None:
        self.steps: list[Step] = []
        self._base = base
        self._server_name = server_name
        self._templates: dict[str, dict[str, Any] | None] = {}
        self._parameters: dict[str, dict[str, Any]] = {}
        self._routers: dict[str, list[dict[str, Any]]] = {}  # by region: those the deployment would have made
        self._mutex = threading.Lock()

    def cloud(self) -> services.Cloud:
        """This recording as a deployment's cloud; what can only be read is read from the base."""
        base = self._base
        return services.Cloud(
            orchestration=self,
            agents=self,
            network=self,
            metadata_definitions=None if base is None else base.metadata_definitions,
            identity=None if base is None else base.identity,
            secrets=None if base is None else base.secrets,
        )

    def record(self, step: Step) -> None:
        with self._mutex:
            self.steps.append(step)

    # --- Orchestration ---

    def push(
        self,
        stack: ports.Stack,
        template: dict[str, Any],
        files: dict[str, str],
        environment: dict[str, Any] | str | None,
        parameters: dict[str, Any],
    ) -> dict[str, Any]:
        before = self.current(stack)
        for step in changes(stack.name, before or {}, template):
            self.record(step)
        with self._mutex:
            self._templates[stack.name] = template
            self._parameters[stack.name] = parameters
        return self.outputs(stack)

    def current(self, stack: ports.Stack) -> dict[str, Any] | None:
        with self._mutex:
            if stack.name in self._templates:
                return self._templates[stack.name]
        return None if self._base is None else self._base.orchestration.current(stack)

    def parameters(self, stack: ports.Stack) -> dict[str, Any]:
        return self._parameters.get(stack.name, {})

    def outputs(self, stack: ports.Stack) -> dict[str, Any]:
        template = self.current(stack) or {}
        real = {} if self._base is None else self._base.orchestration.outputs(stack)
        assumed = assumptions.Assumptions(stack.name, template, self._parameters.get(stack.name, {}))
        return {
            name: real[name] if real.get(name) is not None else assumed.value(output.get("value"))
            for name, output in assumptions.section(template, "outputs").items()
        }

    def delete(self, stack: ports.Stack) -> None:
        before = self.current(stack)
        if before is None:
            return
        for step in changes(stack.name, before, {}):
            self.record(step)
        self.record(
            Step(kind="delete", target=stack.name, type="OS::Heat::Stack", summary=f"Delete the stack {stack.name}")
        )
        with self._mutex:
            self._templates[stack.name] = None

    def resources(self, stack: ports.Stack) -> ports.Holdings | None:
        with self._mutex:
            recorded = stack.name in self._templates
            template = self._templates.get(stack.name)
        if not recorded:
            return None if self._base is None else self._base.orchestration.resources(stack)
        if template is None:
            return None
        return ports.Holdings(
            id=assumptions.stable_id(stack.name),
            resources=[
                ports.Held(id=assumptions.stable_id(stack.name, name), name=name, type=str(resource.get("type")))
                for name, resource in assumptions.section(template, "resources").items()
            ],
        )

    def tagged(self, project_id: str, tag: str) -> Sequence[ports.Found]:
        return () if self._base is None else self._base.orchestration.tagged(project_id, tag)

    # --- Agents ---

    def register(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        if self._base is not None:  # registration only makes known: boot data stay the same as in the deployment
            return self._base.agents.register(environment_id, project_id, instance_id)
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
        self.send(agent_id, plan_id, plan, timeout)
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
        self.record(execution(self._server_name(agent_id) or agent_id, plan))

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
        self.record(Step(kind="create", target=name, type="OS::Neutron::Router", summary=f"Create the router {name}"))
        gateway = {"network_id": external_network_id}
        made = {"id": assumptions.stable_id("router", name), "name": name, "external_gateway_info": gateway}
        self._routers.setdefault(region, []).append(made)
        return made


def changes(stack: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Step]:
    """The resources that come, change and go between two templates, in the order in which Heat would have to do it."""
    old, new = assumptions.section(before, "resources"), assumptions.section(after, "resources")
    for name in _in_order(new):
        if name not in old:
            yield _change("create", stack, name, new[name])
        elif changed := _changed(old[name], new[name]):
            yield _change("update", stack, name, new[name], changed)
    for name in reversed(_in_order(old)):
        if name not in new:
            yield _change("delete", stack, name, old[name])


def _change(kind: str, stack: str, name: str, resource: Mapping[str, Any], changed: Sequence[str] = ()) -> Step:
    type_name = str(resource.get("type"))
    properties = resource.get("properties")
    called = properties.get("name") if isinstance(properties, dict) else None
    shown = called if isinstance(called, str) and called else name
    summary = f"{kind.capitalize()} the {_WORDS.get(type_name, type_name)} {shown}"
    details: dict[str, Any] = {"stack": stack}
    if changed:
        summary += f": {', '.join(changed)}"
        details["changed"] = list(changed)
    return Step(kind=kind, target=name, type=type_name, summary=summary, details=details)


def execution(server: str, plan: Mapping[str, Any]) -> Step:
    """An agent's plan as a step: its scripts and, with secrets masked, its parameters."""
    scripts = plan.get("Scripts") or {}
    entries = [str(script.get("EntryPoint")) for script in scripts.values()] if isinstance(scripts, dict) else []
    files = plan.get("Files") or {}
    names = [str(files[entry]["Name"]) if entry in files and "Name" in files[entry] else entry for entry in entries]
    title = str(plan.get("Name") or ", ".join(names) or "plan")
    parameters = plan.get("Parameters") or {}
    return Step(
        kind="execute",
        target=server,
        type="script",
        summary=f"{title} on {server}" + (f" ({', '.join(names)})" if names else ""),
        details={"plan": title, "scripts": names, "parameters": secrets.hidden(parameters)},
    )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if old.get("type") != new.get("type"):
        return ["type"]
    before, after = old.get("properties") or {}, new.get("properties") or {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    rest = {*old, *new} - {"properties"}
    return names + sorted(name for name in rest if old.get(name) != new.get(name))


def _in_order(resources: Mapping[str, Any]) -> list[str]:
    """Names with what a resource refers to before it; loops, which Heat will refuse, in the order they are written."""
    ordered: dict[str, None] = {}

    def visit(name: str, above: frozenset[str]) -> None:
        if name in ordered or name in above or name not in resources:
            return
        for other in _references(resources[name]):
            visit(other, above | {name})
        ordered[name] = None

    for name in resources:
        visit(name, frozenset())
    return list(ordered)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("get_resource", "depends_on") and isinstance(value, str):
                yield value
            elif key in ("get_attr", "depends_on") and isinstance(value, list):
                yield from (str(item) for item in (value[:1] if key == "get_attr" else value))
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


_WORDS = {  # how people call what they pay for
    "OS::Nova::Server": "server",
    "OS::Nova::KeyPair": "key pair",
    "OS::Nova::ServerGroup": "server group",
    "OS::Cinder::Volume": "volume",
    "OS::Cinder::VolumeAttachment": "volume attachment",
    "OS::Neutron::Net": "network",
    "OS::Neutron::Subnet": "subnet",
    "OS::Neutron::Port": "port",
    "OS::Neutron::Router": "router",
    "OS::Neutron::RouterInterface": "router interface",
    "OS::Neutron::FloatingIP": "floating address",
    "OS::Neutron::FloatingIPAssociation": "association of the floating address",
    "OS::Neutron::SecurityGroup": "security group",
}

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
