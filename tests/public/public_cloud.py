"""A cloud that records: what a deployment asked of it, in order, and agents that answer by script."""

from __future__ import annotations

import base64
import functools
import gzip
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.clouds import assumptions, ports, recording


@dataclass(frozen=True, kw_only=True)
class Push:
    """A stack's new template."""

    stack: str
    region: str | None
    template: Mapping[str, Any]
    came: frozenset[str]
    changed: frozenset[str]
    gone: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Deletion:
    stack: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A plan that an agent got."""

    server: str  # the name of its Heat resource
    name: str
    parameters: Mapping[str, Any]
    scripts: tuple[str, ...]  # file names of entry points, in the order of the plan
    plan: Mapping[str, Any]

    @property
    def command(self) -> str:
        """What a plan of `io.murano.configuration.Linux` runs, "" for any other."""
        return str((self.plan.get("Files") or {}).get("scriptFile", {}).get("Body", ""))


class ScriptedCloud(recording.Recording):
    """Writes down what happens, in order, and lets agents answer.

    `answers` are by the name of the plan: the value its body returns, or what makes it from the `Execution`. As Heat it
    refuses a template that refers to what is not in it; a plan for a server that no template has is never answered.
    """

    def __init__(self, answers: Mapping[str, object], protocol: str = "http") -> None:
        super().__init__()
        self.events: list[Push | Deletion | Execution] = []
        self._answers = answers
        self.protocol = protocol
        self._addresses: dict[str, str] = {}  # by the name of the server
        self._pushed: dict[str, Mapping[str, Any]] = {}  # the templates of the stacks that there are

    @property
    def pushes(self) -> list[Push]:
        return [event for event in self.events if isinstance(event, Push)]

    @property
    def executions(self) -> list[Execution]:
        return [event for event in self.events if isinstance(event, Execution)]

    def push(self, stack, template, files, environment, parameters):
        before, after = self._pushed.get(stack.name, {"resources": {}})["resources"], template["resources"]
        dangling = set(_references(template)) - set(after)
        if dangling:
            raise ports.StackError(stack.name, f"the template refers to {', '.join(sorted(dangling))}, which it lacks")
        changed = frozenset(name for name in after if name in before and before[name] != after[name])
        self.events.append(
            Push(
                stack=stack.name,
                region=stack.region_name,
                template=template,
                came=frozenset(set(after) - set(before)),
                changed=changed,
                gone=frozenset(set(before) - set(after)),
            )
        )
        self._pushed[stack.name] = template
        return super().push(stack, template, files, environment, parameters)

    def outputs(self, stack):
        template = self._pushed.get(stack.name, {})
        known = _Outputs(stack.name, template, self._addresses)
        return {name: known.value(output["value"]) for name, output in (template.get("outputs") or {}).items()}

    def delete(self, stack):
        super().delete(stack)
        if self._pushed.pop(stack.name, None) is not None:  # regions that nothing is in have no stack
            self.events.append(Deletion(stack=stack.name))

    def named(self, text: str) -> str:
        """A text with the servers' names in place of their addresses: `<web>`, `<web public>`."""
        for name, address in self._addresses.items():
            text = re.sub(rf"(?<![\d.]){re.escape(address)}(?![\d.]*\d)", f"<{name}>", text)
        return text

    def register(self, environment_id, project_id, instance_id):
        if self.protocol == "amqp":
            return {"protocol": "amqp"}
        return super().register(environment_id, project_id, instance_id)

    def run(self, agent_id, plan_id, plan, *about, **more):
        execution = self._received(agent_id, plan)
        result = super().run(agent_id, plan_id, plan, *about, **more)
        for name, answer in self._answers.items():
            if re.fullmatch(name, execution.name):
                value = answer(execution) if callable(answer) else answer
                if "IsException" in result:
                    return {"IsException": False, "Result": [{"IsException": False, "Result": value}]}
                return {**result, "Body": value}
        return result

    def send(self, agent_id, plan_id, plan, *about, **more):
        self._received(agent_id, plan)
        super().send(agent_id, plan_id, plan, *about, **more)

    def list(self, region, kind):
        """What Neutron lists, with the subnets that were pushed."""
        listed = super().list(region, kind)
        if kind == "subnets":
            listed = [*listed, *self._pushed_subnets()]
        return listed

    def stacks(self) -> Sequence[str]:
        """Names of the stacks that there are."""
        return list(self._pushed)

    def standing(self, type_name: str | None = None) -> dict[str, dict[str, Any]]:
        """The resources of all stacks by name, those of a type."""
        return {
            name: resource
            for template in self._pushed.values()
            for name, resource in template["resources"].items()
            if type_name in (None, resource["type"])
        }

    def _pushed_subnets(self) -> Iterator[dict[str, Any]]:
        for stack, template in self._pushed.items():
            for name, resource in template["resources"].items():
                if resource["type"] == "OS::Neutron::Subnet":
                    of = assumptions.Assumptions(stack, template, {})
                    cidr = resource["properties"]["cidr"]
                    yield {
                        "id": assumptions.stable_id(stack, name),
                        "network_id": of.value(resource["properties"]["network"]),
                        "cidr": cidr,
                        "gateway_ip": str(next(ipaddress.ip_network(cidr).hosts())),
                    }

    def _received(self, agent_id: str, plan: Mapping[str, Any]) -> Execution:
        files = plan.get("Files") or {}
        scripts = plan.get("Scripts") or {}
        entries = [script["EntryPoint"] for script in scripts.values()] if isinstance(scripts, dict) else []
        execution = Execution(
            server=self._server_of(agent_id),
            name=str(plan.get("Name") or ", ".join(each["Name"] for each in plan.get("Commands") or [])),
            parameters=plan.get("Parameters") or {},
            scripts=tuple(files[entry]["Name"] if entry in files else entry for entry in entries),
            plan=plan,
        )
        self.events.append(execution)
        return execution

    def _server_of(self, agent_id: str) -> str:
        """The server whose boot data tell of the agent."""
        resources = self.standing()
        told = re.compile(rf'["h]{re.escape(agent_id)}["\s]')  # the agent's own id, or the end of its queue's name
        for name, resource in resources.items():
            if resource["type"] == "OS::Nova::Server":
                data = resource["properties"].get("user_data")
                if any(told.search(text) for text in _boot_texts(data, resources)):
                    return name
        raise ports.AgentTimeout(f"no server has been booted with the agent {agent_id}")


class _Outputs(assumptions.Assumptions):
    """Outputs with an address of its own for every server; floating ones are listed among a server's, as Nova does."""

    def __init__(self, stack: str, template: Mapping[str, Any], addresses: dict[str, str]) -> None:
        super().__init__(stack, template, {})
        self._addresses = addresses

    def _attribute(self, path: Sequence[Any]) -> Any:
        name, attribute = path[0], path[1]
        if attribute == "addresses":
            joined = [port["port"]["get_resource"] for port in self._resources[name]["properties"]["networks"]]
            floating = [each for each in self._floating() if self._port_of(each) in joined]
            listed = [{"addr": self._address(name), "OS-EXT-IPS:type": "fixed"}]
            return listed + [
                {"addr": self._address(f"{name} public"), "OS-EXT-IPS:type": "floating"} for _each in floating
            ]
        if attribute == "floating_ip_address":
            return self._address(f"{self._server_at(self._port_of(name))} public")
        return super()._attribute(path)

    def _floating(self) -> list[str]:
        return [name for name, each in self._resources.items() if each["type"] == "OS::Neutron::FloatingIP"]

    def _port_of(self, floating: str) -> str:
        return self._resources[floating]["properties"]["port_id"]["get_resource"]

    def _server_at(self, port: str) -> str:
        return next(
            name
            for name, each in self._resources.items()
            if each["type"] == "OS::Nova::Server" and {"port": {"get_resource": port}} in each["properties"]["networks"]
        )

    def _address(self, name: str) -> str:
        prefix = "203.0.113" if name.endswith(" public") else "192.0.2"
        return self._addresses.setdefault(name, f"{prefix}.{len(self._addresses) + 10}")


def _references(part: Any) -> Iterator[str]:
    """Names of the resources that a part of a template refers to."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "get_resource":
                yield value
            elif key == "get_attr":
                yield value[0]
            elif key == "depends_on":
                yield from value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


_ENCODED = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")


def _boot_texts(data: Any, resources: Mapping[str, Any]) -> Iterator[str]:
    """All texts in boot data, those of the resources that they are made of among them."""
    if isinstance(data, str):
        yield from _unpacked(data)
    elif isinstance(data, dict):
        for name in _references(data):
            yield from _boot_texts(resources[name]["properties"], resources)
        for key, value in data.items():
            if key != "get_resource":
                yield from _boot_texts(value, resources)
    elif isinstance(data, list):
        for item in data:
            yield from _boot_texts(item, resources)


@functools.lru_cache(maxsize=256)
def _unpacked(text: str) -> list[str]:
    """A text, and what is in it in Base64, compressed or not."""
    found = [text]
    for encoded in _ENCODED.findall(text):
        content = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
        found.append(
            (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode(errors="replace")
        )
    return found
