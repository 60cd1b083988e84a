"""On whose behalf a program runs, as the host's System says it beside what every System has."""

from __future__ import annotations

from typing import Protocol, cast

import dsl


class HostContext(Protocol):
    """Keystone ids: of the request that started the deployment, and of the environment's owner."""

    project_id: str
    user_id: str
    owner_project_id: str
    owner_user_id: str


def host_context(system: dsl.System) -> HostContext:
    """The context that comes with a System of the engine."""
    return cast(HostContext, system)
