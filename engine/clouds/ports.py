"""The port through which a deployment creates what it needs: Orchestration (Heat, the lab, a recording).

It is idempotent: a worker that takes over a deployment repeats the call in flight. The other ports are in
`engine.clouds.services`. See docs/architecture.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    waited: float = field(default=0.0, compare=False)  # seconds that workers before have waited for this very change
    ends: float = field(default=math.inf, compare=False)  # of the monotonic clock: when nobody waits for it any more


@dataclass(frozen=True, kw_only=True)
class Held:
    """One resource that a stack has. `name` is its logical one, below those of the nested stacks it is in: `group/0`.

    `status` is as Heat says it, such as CREATE_COMPLETE; `parent_type` is the type of the resource that is its stack.
    `policy` is what becomes of it when its stack lets go of it (`delete`, `retain`), None where only its template says.
    """

    id: str
    name: str
    type: str
    status: str = ""
    reason: str | None = None
    parent_type: str | None = None
    policy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a cloud has for a stack. `id` is the cloud's own for the stack, `status` and `reason` as with `Held`."""

    id: str
    resources: Sequence[Held] = ()
    status: str = ""
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A stack that was found by a tag, whoever made it. `created` is as the cloud writes it."""

    id: str
    name: str
    region_name: str | None = None
    tags: Sequence[str] = field(default=())
    status: str = ""
    created: str | None = None


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

    def resources(self, stack: Stack) -> Holdings | None:
        """What the stack has now, also of one that is worked on or failed; None when there is none."""

    def tagged(self, project_id: str, tag: str) -> Sequence[Found]:
        """The project's stacks that have the tag, in all regions."""
