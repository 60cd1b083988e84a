"""Ports to what a cloud may have beside orchestration and agents; a cloud without such a service leaves it out.

Their answers are the raw JSON of the OpenStack services (spec/core-library §9.7 - §9.12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from engine.clouds import ports


class Agents(Protocol):
    """Runs execution plans in servers (spec/agent-protocol). `engine.agents.http.HttpAgents` is one."""

    def register(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """What a server's boot data must say: `{"agent_id", "url", "token", ...}`; the same answer each time."""

    def access(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """What `register` would answer. Nobody is let in: plans ask."""

    def agent_id(self, environment_id: str, project_id: str, instance_id: str) -> str:
        """The id that `register` gives, without registering."""

    def run(
        self,
        agent_id: str,
        plan_id: str,
        plan: dict[str, Any],
        timeout: float,
        check: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """The result message of the plan, executed once per `plan_id`. `check` may raise to leave the plan waiting."""

    def send(self, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None = None) -> None:
        """Queues the plan, once per `plan_id`."""

    def forget(self, environment_id: str) -> None:
        """Takes back what the servers of an environment that is gone were let into. Idempotent."""


@runtime_checkable
class ShowsOutput(Protocol):
    """A way to agents that sends what plans print while they run, for people."""

    def watch(self, deployment_id: str, entity_id: str, agent_id: str, plan_id: str, plan: dict[str, Any]) -> None:
        """Has the output of the plan kept with the deployment; before `run` or `send`. Idempotent by `plan_id`."""


class Network(Protocol):
    """What network explorers ask of Neutron, as seen by the deployment's project."""

    def list(self, region: str, kind: str) -> list[dict[str, Any]]:
        """All `networks`, `subnets`, `ports`, `routers` or `extensions`."""

    def create_router(self, region: str, name: str, external_network_id: str) -> dict[str, Any]:
        """A router of that name with that gateway; the one that exists already, if any."""


class MetadataDefinitions(Protocol):
    """Glance's metadata definitions."""

    def namespaces(self, region: str, resource_type: str) -> list[dict[str, Any]]: ...

    def objects(self, region: str, namespace: str) -> list[dict[str, Any]]: ...


class Identity(Protocol):
    """Look-ups in Keystone with the service's own credentials; None for what is not there."""

    def user(self, user_id: str) -> dict[str, Any] | None: ...

    def project(self, project_id: str) -> dict[str, Any] | None: ...


class Workflow(Protocol):
    """Mistral."""

    def upload(self, region: str, definition: str) -> None: ...

    def run(
        self, region: str, name: str, inputs: Mapping[str, Any], params: Mapping[str, Any], timeout: float
    ) -> dict[str, Any] | str:
        """The execution's output; its id when `timeout` is 0."""


class Secrets(Protocol):
    """Barbican, through Castellan."""

    def secret(self, key: str) -> Any:
        """What is kept under the key's id."""


@dataclass(frozen=True)
class Quota:
    """What a project may have of something, and has. `limit` is -1 where there is none."""

    limit: int
    used: int


class NoAccess(ports.CloudError):
    """The service may not work in the project, and will not in a moment either."""


class Inventory(Protocol):
    """What a project can use in a cloud. None: the region has no such service. All raise `ports.CloudError`.

    `kinds` are those it tells of; of `flavors`, `images`, `key_pairs`, `availability_zones`, `networks`, `subnets`,
    `routers`, `security_groups` and `volumes`.
    """

    @property
    def kinds(self) -> frozenset[str]: ...

    def regions(self) -> list[str] | None:
        """The names of the regions, None where any will do. Raises `NoAccess`, too."""

    def list(self, region: str, kind: str) -> list[dict[str, Any]] | None:
        """All of a kind, each with `id` and `name`, and some with more."""

    def quotas(self, region: str, service: str) -> dict[str, Quota] | None:
        """Of `compute`: `instances`, `cores`, `ram` (MiB); of `network`: `floating_ips`, `security_groups`; of
        `block-storage`: `volumes`, `gigabytes`; of each what the service tells.
        """


class Trust(Protocol):
    """The trust with which a cloud is worked on."""

    def give_back(self) -> None:
        """Ends it; what was done stays. Raises `ports.CloudError`."""


@runtime_checkable
class KeepsParameters(Protocol):
    """An Orchestration that remembers the parameters of the last push."""

    def parameters(self, stack: ports.Stack) -> dict[str, Any]: ...


@runtime_checkable
class KeepsFiles(Protocol):
    """An Orchestration that remembers the files and the environment of the last push: plans compare them.

    None where it does not tell them to this user.
    """

    def files(self, stack: ports.Stack) -> dict[str, str] | None: ...

    def environment(self, stack: ports.Stack) -> dict[str, Any] | str | None: ...


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The ports of one deployment's cloud. None: the cloud has no such service."""

    orchestration: ports.Orchestration
    agents: Agents
    network: Network | None = None
    metadata_definitions: MetadataDefinitions | None = None
    identity: Identity | None = None
    workflow: Workflow | None = None
    secrets: Secrets | None = None
    inventory: Inventory | None = None
    trust: Trust | None = None
