"""The port through which a deployment creates what it needs: Orchestration (Heat, the lab, a recording).

It is idempotent: a worker that takes over a deployment repeats the call in flight. The other ports are in
`engine.clouds.services`. See docs/architecture.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Stack:
    """One Heat stack: where it lives and what it is called. `name` is unique in project and region."""

    name: str
    project_id: str | None = None
    region_name: str | None = None
    environment_id: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()


class CloudError(Exception):
    """A cloud refused or failed; the message names the stack or agent, the reason and what to do."""


class StackError(CloudError):
    """A stack did not reach the wanted state. `resource` is the culprit's logical id, None for the template itself."""

    def __init__(self, stack: str, reason: str, resource: str | None = None, resource_type: str | None = None) -> None:
        self.stack = stack
        self.reason = reason
        self.resource = resource
        self.resource_type = resource_type
        where = f"stack {stack!r}"
        if resource is not None:
            where += f", resource {resource!r}" + (f" ({resource_type})" if resource_type else "")
        super().__init__(f"{where}: {reason}")


class AgentTimeout(CloudError):
    """An agent gave no result in time; the plan may still be executed later and its result is then kept."""


@runtime_checkable
class Orchestration(Protocol):
    """Carries out templates. All calls block until the cloud is done."""

    def push(
        self,
        stack: Stack,
        template: dict,
        files: dict[str, str],
        environment: dict | str | None,
        parameters: dict,
    ) -> dict:
        """Make the stack what the template says and give its outputs {name: value}; raises StackError."""

    def current(self, stack: Stack) -> dict | None:
        """The template last pushed, None when there is no such stack."""

    def outputs(self, stack: Stack) -> dict:
        """{output name: value}, {} when there is no such stack."""

    def delete(self, stack: Stack) -> None:
        """Remove the stack with all its resources; nothing happens when it is gone already. Raises StackError."""
