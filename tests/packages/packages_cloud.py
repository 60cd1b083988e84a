"""A cloud for the bundled packages: answers effects from a small model of servers, Kubernetes and podman."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import pathlib
from collections.abc import Mapping

import dsl
from engine import system

ROOT = pathlib.Path(__file__).parents[2] / "packages"
BROKEN = "some context\nit is broken\n"
LISTINGS = {
    "routers": [{"id": "router", "name": "murano-default-router", "external_gateway_info": {"network_id": "outside"}}],
    "networks": [{"id": "outside", "name": "ext-net", "router:external": True, "tenant_id": "admin"}],
    "extensions": [{"alias": "security-group"}],
}


class Cloud:
    """The `System` of a program. What was asked of it is in `reports`, `plans` and `pushes`."""

    def __init__(self) -> None:
        self.natives = system.natives()
        self.project_id = self.owner_project_id = "project"
        self.user_id = self.owner_user_id = "user"
        self.environment_id = "environment"
        self.reports: list[str] = []
        self.plans: list[tuple[str, str]] = []
        self.parameters: list[dict[str, object]] = []
        self.pushes: list[dict] = []
        self.template: dict | None = None
        self.servers: dict[str, str] = {}
        self.kubernetes = Kubernetes()
        self.podman: dict[str, dict] = {}
        self.failing: set[str] = set()
        self._numbers = itertools.count(1)
        self._addresses: dict[str, str] = {}

    def config(self, group: str, name: str) -> object:
        return None

    def delivery(self, number: int) -> str | None:
        return None

    def delivered(self, number: int, key: str) -> None:
        return None

    def perform(self, effect: dsl.Effect) -> object:
        handler = getattr(self, "_" + effect.name.replace(".", "_"))
        return handler(**effect.arguments)

    def planned(self) -> list[str]:
        """Names of the plans that were run so far."""
        return [name for name, _ in self.plans]

    def forget(self) -> None:
        """Starts a new page: what was asked for until now is not remembered, what exists stays."""
        for record in (self.reports, self.plans, self.parameters, self.pushes):
            record.clear()

    def _random_id(self) -> str:
        return f"{next(self._numbers):032x}"

    def _random_name(self) -> str:
        return f"name{next(self._numbers)}"

    def _clock_now(self) -> float:
        return 1_700_000_000.0 + next(self._numbers)

    def _config(self, **_: object) -> None:
        return None

    def _log(self, **_: object) -> None:
        return None

    def _report(self, text: str, level: str, **_: object) -> None:
        self.reports.append(text)

    def _instance_track(self, **_: object) -> None:
        return None

    _instance_untrack = _instance_track

    def _network_list(self, kind: str, **_: object) -> object:
        return copy.deepcopy(LISTINGS.get(kind, []))

    def _metadef_namespaces(self, **_: object) -> object:
        return []

    _metadef_objects = _metadef_namespaces

    def _identity_project(self, id: str) -> object:
        return {"id": id, "name": id}

    _identity_user = _identity_project

    def _heat_push(self, template: dict, **_: object) -> object:
        self.pushes.append(template)
        self.template = copy.deepcopy(template)
        return self._heat_outputs()

    def _heat_current(self, **_: object) -> object:
        return None if self.template is None else {"template": copy.deepcopy(self.template), "parameters": {}}

    def _heat_outputs(self, **_: object) -> object:
        if self.template is None:
            return {}
        return {name: self._output(output["value"]) for name, output in self.template.get("outputs", {}).items()}

    def _heat_delete(self, **_: object) -> None:
        self.template = None

    def _output(self, value: object) -> object:
        if isinstance(value, Mapping) and "get_attr" in value:
            name, attribute = value["get_attr"][:2]
            if attribute == "addresses":
                return [{"addr": self._address(name)}]
            return self._address(f"floating {name}", "203.0.113")
        if isinstance(value, Mapping) and "get_resource" in value:
            return f"id of {value['get_resource']}"
        return value

    def _address(self, name: str, network: str = "10.0.0") -> str:
        return self._addresses.setdefault(name, f"{network}.{len(self._addresses) + 5}")

    def address_of(self, server: str) -> str:
        return self._addresses[server]

    def _agent_register(self, instance_id: str, name: str, **_: object) -> object:
        self.servers[instance_id] = name
        return {"protocol": "http", "agent_id": instance_id, "url": "http://127.0.0.1:1", "token": "token"}

    def _agent_run(self, instance_id: str, plan: dict, **_: object) -> object:
        name, parameters = plan["Name"], plan.get("Parameters") or {}
        self.plans.append((name, self.servers[instance_id]))
        self.parameters.append(parameters)
        if name.startswith(tuple(self.failing)):
            body = {"Message": "Script x returned error code", "AdditionalInfo": {"exitCode": 1, "stderr": BROKEN}}
            return {"FormatVersion": "2.0.0", "ID": "1", "SourceID": plan["ID"], "ErrorCode": 100, "Body": body}
        body = self._body(name, self.servers[instance_id], copy.deepcopy(parameters))
        return {
            "FormatVersion": "2.0.0",
            "ID": "1",
            "SourceID": plan["ID"],
            "Action": "Execution:Result",
            "ErrorCode": 0,
            "Body": body,
            "Time": "2026-01-01",
        }

    def _body(self, name: str, server: str, parameters: dict) -> object:
        kubernetes = self.kubernetes
        if name == "Start the Kubernetes control plane":
            kubernetes.nodes[server] = "master"
        elif name == "Create a token to join the cluster":
            return {"address": "10.0.0.1:6443", "token": "abcdef.0123456789abcdef", "hash": "sha256:12ab"}
        elif name == "Join the cluster":
            kubernetes.nodes[parameters["name"]] = ""
        elif name == "Give the new nodes their roles":
            kubernetes.nodes.update(dict.fromkeys(parameters["minions"], "minion"))
            kubernetes.nodes.update(dict.fromkeys(parameters["gateways"], "gateway"))
        elif name.startswith("Remove node "):
            kubernetes.nodes.pop(parameters["name"], None)
        elif name == "List the nodes":
            return [{"name": node, "role": role, "ready": True} for node, role in kubernetes.nodes.items()]
        elif name.startswith("Apply "):
            for item in parameters["objects"]:
                kubernetes.objects[item["kind"], item["metadata"]["name"]] = item
        elif name.startswith("Delete "):
            for item in parameters["objects"]:
                kubernetes.objects.pop((item["kind"], item["name"]), None)
        elif name.startswith("Get the address of service "):
            return f"10.96.0.{10 + sorted(kubernetes.names('Service')).index(parameters['name'])}"
        elif name == "List pods":
            return kubernetes.pods(parameters["value"])
        elif name.startswith("Kill pod "):
            kubernetes.killed.append(parameters["name"])
        elif name.startswith("Run container "):
            self.podman[parameters["container"]["name"]] = parameters["container"]
        elif name.startswith("Remove container "):
            self.podman.pop(parameters["name"], None)
        elif name == "List the containers":
            return [{"name": container, "state": "running", "restarts": 0} for container in parameters["names"]]
        elif not name.startswith(QUIET):
            raise AssertionError(f"no answer for the plan {name}")
        return None


QUIET = ("Prepare a Kubernetes node", "Prepare the container host", "Restart deployment ", "Restart the containers")


class Kubernetes:
    """Nodes by role, and the objects that were applied."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}
        self.objects: dict[tuple[str, str], dict] = {}
        self.killed: list[str] = []

    def names(self, kind: str) -> list[str]:
        return [name for item, name in self.objects if item == kind]

    def pods(self, deployment: str) -> list[dict[str, object]]:
        replicas = self.objects["Deployment", deployment]["spec"]["replicas"]
        return [
            {
                "name": f"{deployment}-{number + len(self.killed)}",
                "node": "n",
                "phase": "Running",
                "ready": True,
                "restarts": 0,
            }
            for number in range(replicas)
        ]


@functools.cache
def library() -> dsl.Library:
    return dsl.Library([ROOT / "io.murano", *sorted(ROOT.glob("org.chandlery.*"))])


class Environment:
    """One environment through several deployments: each loads the model that the one before has left."""

    def __init__(self, cloud: Cloud, applications: list[dict]) -> None:
        self.cloud = cloud
        self.runtime = dsl.Runtime(library(), system=cloud)
        self.model: dict = {
            "Objects": {
                "?": {"type": "io.murano.Environment", "id": "environment"},
                "name": "test",
                "defaultNetworks": {
                    "environment": {
                        "?": {"type": "io.murano.resources.NeutronNetwork", "id": "network"},
                        "name": "test-network",
                    },
                    "flat": None,
                },
                "applications": applications,
            },
            "Attributes": [],
        }

    @property
    def applications(self) -> list[dict]:
        """The composition, to be changed between deployments."""
        return self.model["Objects"]["applications"]

    def application(self, identifier: str) -> dict:
        return next(item for item in self.applications if item["?"]["id"] == identifier)

    def remove(self, identifier: str) -> None:
        self.applications.remove(self.application(identifier))

    def check(self) -> list[dsl.Violation]:
        return list(self.runtime.check(self.model))

    def deploy(self) -> None:
        self.call("environment", "deploy")

    def call(self, identifier: str, method: str, **arguments: object) -> object:
        """Runs one method as a deployment of its own. After a failure the partial model is kept, as the engine does."""
        program = self.runtime.load(copy.deepcopy(self.model))
        program.collect()
        try:
            result = program.call(identifier, method, **arguments)
        except dsl.Thrown:
            self.model = self._stored(program.dump())
            program.discard()
            raise
        self.model = self._stored(program.finalize())
        return result

    def delete(self) -> None:
        program = self.runtime.load({**copy.deepcopy(self.model), "Objects": None})
        program.collect()
        program.finalize()

    @staticmethod
    def _stored(model: dict) -> dict:
        stored = json.loads(json.dumps(model))
        stored["ObjectsCopy"] = copy.deepcopy(stored["Objects"])
        return stored


@functools.cache
def _deployment(model: str) -> tuple[dict, dict]:
    cloud = Cloud()
    environment = Environment(cloud, [])
    environment.model = json.loads(model)
    environment.deploy()
    return environment.model, cloud.__dict__


def deploy_once(environment: Environment) -> None:
    """Deploys a composition for the first time; what that does is done once for all tests that begin with it."""
    model, state = copy.deepcopy(_deployment(json.dumps(environment.model)))
    environment.model = model
    environment.cloud.__dict__.update(state)


def example(name: str = "grafana-on-kubernetes") -> list[dict]:
    """An example composition with its placeholders filled in."""
    text = (ROOT / "examples" / f"{name}.json").read_text()
    return json.loads(text.replace("{influxdb_password}", "pa$$word"))
