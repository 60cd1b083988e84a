"""The lab: an embedded cloud that carries out a template's resources on this machine. See docs/lab.md.

`LabOrchestration` is the port's implementation. Names are loaded when asked for: the sandbox's own programs import this
package too and must stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.clouds.lab.isolation_level import Isolation, isolation
    from engine.clouds.lab.orchestration import LabOrchestration

__all__ = ["Isolation", "LabOrchestration", "isolation"]


def __getattr__(name: str) -> object:
    if name == "LabOrchestration":
        from engine.clouds.lab import orchestration

        return orchestration.LabOrchestration
    if name in ("Isolation", "isolation"):
        from engine.clouds.lab import isolation_level

        return getattr(isolation_level, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
