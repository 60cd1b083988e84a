"""Shows a folder of the host in a server, while it starts or while it runs, and takes it away again.

The mount is made from outside in the server's mount namespace, so that it can be taken away from there: what was
mounted before the namespace was the server's is locked for ever. Paths are looked up in the server's own tree.
"""

from __future__ import annotations

import contextlib
import os

from engine.clouds.lab.sandbox import syscalls


def attach(pid: int, source: str, target: str, owner: int) -> None:
    """Mount the folder `source` on `target` of the server whose first process is `pid`. Raises OSError.

    Changes the calling process's namespace: call it in a child that does nothing else afterwards.
    """
    os.chown(source, owner, owner)
    tree = syscalls.clone_tree(source)
    _enter(pid)
    _make_folders(target, owner)
    if os.path.ismount(target):
        return
    syscalls.attach_tree(tree, target)
    flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_NODEV | syscalls.MS_NOSUID
    syscalls.mount("none", target, "", flags)


def attach_in_child(pid: int, source: str, target: str, owner: int) -> None:
    """As `attach`, for a caller that goes on."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            attach(pid, source, target, owner)
        except OSError as error:
            os.write(write, str(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        problem = stream.read().decode()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    if problem:
        raise OSError(problem)


def detach(pid: int, target: str) -> None:
    """Take the folder away; nothing happens when nothing is mounted there. As for namespaces, see `attach`."""
    _enter(pid)
    if os.path.ismount(target):
        syscalls.unmount(target)


def _enter(pid: int) -> None:
    with open(f"/proc/{pid}/ns/mnt") as namespace:
        syscalls.setns(namespace.fileno(), syscalls.CLONE_NEWNS)


def _make_folders(path: str, owner: int) -> None:
    """Like mkdir -p, each new folder the server's own; a link on the way is replaced: it would move the volume."""
    place = ""
    for name in path.strip("/").split("/"):
        place += f"/{name}"
        if os.path.islink(place):
            os.unlink(place)
        if not os.path.isdir(place):
            os.mkdir(place)
            os.chown(place, owner, owner)
