"""A world for programs under test: a cloud that takes templates at their word, agents that answer from a script.

It is told apart from the real ones by nothing a program could see: the same effects, the same shapes.
"""

from __future__ import annotations

import copy
import ipaddress
import threading
from collections.abc import Callable, Iterator, Mapping

import dsl
from engine import system

PROJECT = "project-1"
EXTERNAL_NETWORK = {"id": "ext-1", "name": "ext-net", "router:external": True, "project_id": "admin"}
ROUTER = {
    "id": "router-1",
    "name": "murano-default-router",
    "project_id": PROJECT,
    "external_gateway_info": {"network_id": "ext-1"},
}


class Cloud:
    """Stacks by name. Outputs are computed from the template: ids are `<resource>!`, addresses are counted up."""

    def __init__(self) -> None:
        self.stacks: dict[str, dict] = {}
        self.addresses: dict[str, str] = {}
        self.networks: dict[str, list[dict]] = {
            "networks": [EXTERNAL_NETWORK],
            "subnets": [],
            "ports": [],
            "routers": [ROUTER],
            "extensions": [{"alias": "security-group", "name": "Security groups"}],
        }

    def outputs(self, stack: str) -> dict[str, object]:
        template = self.stacks.get(stack, {}).get("template", {})
        return {name: self._value(output["value"], template) for name, output in template.get("outputs", {}).items()}

    def pushed_subnets(self) -> list[dict]:
        """The subnets of all stacks, as Neutron lists them."""
        return [
            {
                "id": f"{name}!",
                "network_id": self._value(resource["properties"]["network"], stack["template"]),
                "cidr": resource["properties"]["cidr"],
                "gateway_ip": str(next(ipaddress.ip_network(resource["properties"]["cidr"]).hosts())),
            }
            for stack in self.stacks.values()
            for name, resource in stack["template"]["resources"].items()
            if resource["type"] == "OS::Neutron::Subnet" and "ip_version" in resource["properties"]
        ]

    def _value(self, value: object, template: dict) -> object:
        if isinstance(value, dict) and set(value) == {"get_resource"}:
            assert value["get_resource"] in template["resources"], f"{value} refers to nothing"
            return f"{value['get_resource']}!"
        if isinstance(value, dict) and set(value) == {"get_attr"}:
            return self._attribute(value["get_attr"], template)
        return value

    def _attribute(self, path: list, template: dict) -> object:
        resource, attribute = path[0], path[1]
        assert resource in template["resources"], f"{path} refers to nothing"
        if attribute in ("floating_ip_address", "ip"):
            return self._address(resource, "172.24.4")
        if attribute == "addresses":
            ports = template["resources"][resource]["properties"].get("networks", [])
            return self._addresses([port["port"]["get_resource"] for port in ports], path[2], template)
        if attribute == "networks":
            return {"private": [self._address(resource, "10.0.0")]}
        if attribute == "fixed_ips":
            return self._address(resource, "10.0.0")
        return f"{resource}.{attribute}"

    def _addresses(self, ports: list[str], network: str, template: dict) -> list[dict]:
        """The server's addresses in a network as Nova lists them: floating ones are among them."""
        resources = template["resources"]
        joined = [port for port in ports if self._network_name(resources[port]["properties"]["network"]) == network]
        listed = [{"addr": self._address(port, "10.0.0"), "OS-EXT-IPS:type": "fixed"} for port in joined]
        for name, resource in resources.items():
            if resource["type"] == "OS::Neutron::FloatingIP" and (
                resource["properties"]["port_id"]["get_resource"] in joined
            ):
                listed.append({"addr": self._address(name, "172.24.4"), "OS-EXT-IPS:type": "floating"})
        return listed

    def _network_name(self, reference: object) -> str:
        if isinstance(reference, dict):
            for stack in self.stacks.values():
                resource = stack["template"]["resources"].get(reference["get_resource"])
                if resource is not None:
                    return resource["properties"]["name"]
        found = [network for network in self.networks["networks"] if network["id"] == reference]
        return found[0]["name"]

    def _address(self, owner: str, prefix: str) -> str:
        if owner not in self.addresses:
            number = sum(address.startswith(prefix) for address in self.addresses.values())
            self.addresses[owner] = f"{prefix}.{number + 11}"
        return self.addresses[owner]


class World:
    """A System. `answers` maps the Name of a plan to its result (or to what makes the result from the plan)."""

    project_id = PROJECT
    user_id = "user-1"
    owner_project_id = PROJECT
    owner_user_id = "user-1"
    environment_id = "env"

    def __init__(
        self,
        answers: Mapping[str, object] | None = None,
        settings: Mapping[tuple[str | None, str], object] | None = None,
        protocol: str = "http",
    ) -> None:
        self.natives = system.natives()
        self.cloud = Cloud()
        self.answers: dict[str, object] = dict(answers or {})
        self.settings = dict(settings or {})
        self.protocol = protocol
        self.effects: list[dsl.Effect] = []
        self.pushes: list[dict] = []
        self.plans: list[tuple[str, dict]] = []  # (object id of the server, plan)
        self.reports: list[tuple[str, str, str]] = []  # (object id, level, text)
        self.refused: list[set[str]] = []  # names that templates referred to without having them
        self.workflow: object = None  # what every workflow gives
        self._lock = threading.Lock()
        self._random = 0
        self._identifiers = 0
        self._clock = 1_600_000_000.0

    def perform(self, effect: dsl.Effect) -> object:
        with self._lock:
            self.effects.append(effect)
            handler: Callable[..., object] = getattr(self, "_" + effect.name.replace(".", "_"))
            arguments = copy.deepcopy(dict(effect.arguments))
            return copy.deepcopy(handler(**arguments))

    def delivery(self, number: int) -> str | None:
        return None

    def delivered(self, number: int, key: str) -> None:
        return None

    def named(self, name: str) -> list[dsl.Effect]:
        return [effect for effect in self.effects if effect.name == name]

    @property
    def template(self) -> dict:
        """The template of the only stack."""
        (stack,) = self.cloud.stacks.values()
        return stack["template"]

    # the language

    def _random_id(self) -> str:
        self._identifiers += 1
        return f"{self._identifiers:032x}"

    def _random_name(self) -> str:
        self._random += 1
        return f"random{self._random}"

    def _random_number(self, low: int | None = None, high: int | None = None) -> object:
        return 0.5 if low is None else low

    def _clock_now(self) -> float:
        self._clock += 0.001
        return self._clock

    def _sleep(self, seconds: float) -> None:
        self._clock += seconds

    def _config(self, group: str | None, name: str, **_options: object) -> object:
        return self.settings.get((group, name))

    def _log(self, **_record: object) -> None:
        return None

    # the cloud

    def _heat_current(self, stack: dict) -> object:
        return self.cloud.stacks.get(stack["name"])

    def _heat_push(self, stack: dict, template: dict, files: dict, environment: object, parameters: dict) -> object:
        missing = set(_references(template)) - set(template.get("resources", {}))
        if missing:
            self.refused.append(missing)
            raise dsl.SystemFailure(("OSError",), f"Heat refuses a template that refers to {missing}")
        self.cloud.stacks[stack["name"]] = {"template": template, "parameters": parameters}
        self.pushes.append(template)
        return self.cloud.outputs(stack["name"])

    def _heat_outputs(self, stack: dict) -> object:
        return self.cloud.outputs(stack["name"])

    def _heat_delete(self, stack: dict) -> None:
        self.cloud.stacks.pop(stack["name"], None)

    def _network_list(self, region: str, kind: str) -> object:
        return self.cloud.networks[kind] + (self.cloud.pushed_subnets() if kind == "subnets" else [])

    def _network_create_router(self, region: str, name: str, external_network_id: str) -> object:
        router = {
            "id": f"router-{name}",
            "name": name,
            "project_id": PROJECT,
            "external_gateway_info": {"network_id": external_network_id},
        }
        self.cloud.networks["routers"].append(router)
        return router

    def _metadef_namespaces(self, region: str, resource_type: str) -> object:
        return [
            {
                "namespace": "OS::Test",
                "resource_type_associations": [{"name": resource_type, "prefix": "test:"}],
            }
        ]

    def _metadef_objects(self, region: str, namespace: str) -> object:
        return [{"name": "o", "properties": {"known": {"type": "string"}}}]

    def _identity_user(self, id: str) -> object:
        return {
            "id": id,
            "name": "ann",
            "email": "ann@example.org",
            "domain_id": "default",
            "links": {},
            "team": "blue",
        }

    def _identity_project(self, id: str) -> object:
        return {"id": id, "name": "demo", "domain_id": "default", "enabled": True}

    def _mistral_upload(self, region: str, definition: str) -> None:
        return None

    def _mistral_run(self, **_about: object) -> object:
        return self.workflow

    # agents, catalog

    def _agent_register(self, instance_id: str, **_about: object) -> object:
        if self.protocol == "amqp":
            return {"protocol": "amqp"}
        return {
            "protocol": "http",
            "agent_id": f"agent-{instance_id}",
            "url": "http://127.0.0.1:1/agents/v1",
            "token": "a-token",
        }

    def _agent_run(self, instance_id: str, plan: dict, wait: bool, **_about: object) -> object:
        self.plans.append((instance_id, plan))
        if not wait:
            return None
        answer = self.answers.get(str(plan.get("Name")), "")
        body = answer(plan) if callable(answer) else answer
        if isinstance(body, BaseException):
            raise body
        if isinstance(body, dict) and "ErrorCode" in body:
            return body
        return {
            "FormatVersion": "2.0.0",
            "SourceID": plan.get("ID"),
            "Action": "Execution:Result",
            "ErrorCode": 0,
            "Body": body,
            "Time": "2026-01-01 00:00:00",
        }

    def _report(self, environment_id: str, entity_id: str, level: str, text: str) -> None:
        self.reports.append((entity_id, level, text))

    def _instance_track(self, **_about: object) -> None:
        return None

    def _instance_untrack(self, **_about: object) -> None:
        return None


def _references(part: object) -> Iterator[str]:
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
