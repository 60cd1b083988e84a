"""Tries in a process of its own what a server needs: exit code 0, or one sentence on stderr and exit code 1."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine.clouds.lab.sandbox import identity, syscalls


def main() -> None:
    """Try the namespaces, a proc mount and an overlay, as the keeper and the launcher use them."""
    real_root = identity.owns_machine()
    try:
        if not identity.has_users_to_give():
            uid, gid = os.geteuid(), os.getegid()
            _step("user namespaces", lambda: syscalls.unshare(syscalls.CLONE_NEWUSER))
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC
        _step("namespaces", lambda: syscalls.unshare(flags | syscalls.CLONE_NEWPID))
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        child = os.fork()
        if child == 0:
            _in_pid_namespace(real_root)
        _, status = os.waitpid(child, 0)
        raise SystemExit(1 if status else 0)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from error


def _in_pid_namespace(real_root: bool) -> None:
    try:
        _step("a tmpfs", lambda: syscalls.mount("tmpfs", "/tmp", "tmpfs", 0, "size=64k"))  # noqa: S108 - a mount
        for name in ("upper", "work", "root", "proc"):
            os.mkdir(f"/tmp/{name}")  # noqa: S108
        options = "lowerdir=/usr,upperdir=/tmp/upper,workdir=/tmp/work" + ("" if real_root else ",userxattr")
        _step("overlays", lambda: syscalls.mount("overlay", "/tmp/root", "overlay", 0, options))  # noqa: S108
        _step("its own /proc", lambda: syscalls.mount("proc", "/tmp/proc", "proc"))  # noqa: S108
        _step("user namespaces", lambda: syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET))
        os._exit(0)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)


def _step(what: str, action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except OSError as error:
        raise OSError(f"it refuses {what}: {error.strerror or error}") from error
