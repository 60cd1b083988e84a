"""Memory and process limits of a server by control groups, where root finds them (version 2 or the older kind)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """What one server may take: bytes of memory, number of processes."""

    memory: int
    processes: int


def confine(lab: str, server: str, pid: int, limits: Limits) -> list[str]:
    """Put a process (and all it will start) into a group of its own; gives sentences about what is not limited."""
    missing = []
    for controller, settings in _settings(limits).items():
        parent = _parent(controller)
        group = parent / lab / server if parent else None
        try:
            if group is None:
                raise OSError(f"this machine has no control group for {controller}")
            group.mkdir(parents=True, exist_ok=True)
            if parent == _ROOT:
                _delegate(group, controller)
            for name, value in settings.items():
                (group / name).write_text(str(value))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            missing.append(f"{controller} of the server is not limited: {error.strerror or error}")
    return missing


def join(lab: str, server: str) -> None:
    """Put the calling process into the groups of a server, as far as there are any."""
    for controller in ("memory", "pids"):
        parent = _parent(controller)
        if parent is not None:
            with contextlib.suppress(FileNotFoundError):
                (parent / lab / server / "cgroup.procs").write_text("0")


def release(lab: str, server: str | None = None) -> None:
    """Remove the empty groups of a server, or of the whole lab."""
    for controller in ("memory", "pids"):
        parent = _parent(controller)
        if parent is None:
            continue
        group = parent / lab / server if server else parent / lab
        with contextlib.suppress(OSError):
            if server is None and group.is_dir():
                for entry in os.scandir(group):
                    if entry.is_dir():
                        os.rmdir(entry.path)
            group.rmdir()


def _settings(limits: Limits) -> dict[str, dict[str, int]]:
    if (_ROOT / "cgroup.controllers").exists():
        memory = {"memory.max": limits.memory}
    else:
        memory = {"memory.limit_in_bytes": limits.memory}
    return {"memory": memory, "pids": {"pids.max": limits.processes}}


def _parent(controller: str) -> Path | None:
    if (_ROOT / "cgroup.controllers").exists():
        return _ROOT
    older = _ROOT / controller
    return older if (older / "cgroup.procs").exists() else None


def _delegate(group: Path, controller: str) -> None:
    """Version 2: a controller must be handed down from the root to the group's parent."""
    for folder in (_ROOT, group.parent):
        handed = folder / "cgroup.subtree_control"
        if controller not in handed.read_text().split():
            handed.write_text(f"+{controller}")
