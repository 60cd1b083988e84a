"""Containers as processes: an image is one of the programs of `images/`, run with the container's environment and
mounts.

Mounts are links in a folder of the container (`CHANDLERY_LAB_ROOTFS`), which the programs take as their file tree; so
they need no privilege. Used by podman and by the kubelet.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
import traceback

from simulated import NOTICE, system

# repository name without registry and namespace -> program, and the tags that the program does not stand for
IMAGES = {
    "influxdb": ("influxdb", re.compile(r"[2-9]|latest")),
    "grafana": ("grafana", re.compile(r"[0-6]\.")),
    "grafana-oss": ("grafana", re.compile(r"[0-6]\.")),
}
KEEP_ENVIRONMENT = ("LANG", "TZ")
LOG_LIMIT = 4 * 1024 * 1024  # bytes of a container's log; when it starts again the older half goes


class UnknownImage(Exception):
    """There is no program for this image."""


@dataclasses.dataclass(frozen=True)
class Container:
    """What to run. `folder` is its own; `mounts` are (source, path in the container, read only)."""

    name: str
    image: str
    folder: str
    environment: dict[str, str]
    arguments: tuple[str, ...] = ()
    mounts: tuple[tuple[str, str, bool], ...] = ()
    network_pid: int | None = None
    address: str | None = None  # listen here instead of everywhere

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "log")


def program_of(image: str) -> str:
    """The program that stands for an image reference, whatever registry or mirror it names.

    :raises UnknownImage: none does; the message says which there are.
    """
    reference = image.partition("@")[0]
    name, _colon, tag = reference.rpartition("/")[2].partition(":")
    known = "influxdb 1.x (docker.io/library/influxdb:1.8) and grafana 7 and later (docker.io/grafana/grafana:11.4.0)"
    if name not in IMAGES:
        raise UnknownImage(f"{image}: the Chandlery lab has no simulated program for this image; it has {known}")
    program, wrong_tags = IMAGES[name]
    if wrong_tags.match(tag or "latest"):
        raise UnknownImage(f"{image}: the Chandlery lab does not simulate this version; it has {known}")
    return program


def start(container: Container) -> int:
    """Starts the program; it ends when its parent, this process, does. Gives the process id.

    :raises UnknownImage: as `program_of`.
    :raises OSError: a mount cannot be made.
    """
    program = os.path.join(system.LIBRARY, "simulated", "images", program_of(container.image) + ".py")
    tree = make_tree(container)
    environment = {name: os.environ[name] for name in KEEP_ENVIRONMENT if name in os.environ}
    environment |= {"PATH": os.environ.get("PATH", os.defpath), **container.environment}
    environment |= {"CHANDLERY_LAB_ROOTFS": tree, "CHANDLERY_LAB_IMAGE": container.image, "PYTHONPATH": system.LIBRARY}
    if container.address:
        environment["CHANDLERY_LAB_LISTEN"] = container.address
    shorten_log(container.log)
    pid = os.fork()
    if pid:
        return pid
    try:
        system.die_with_parent()
        os.setsid()
        if container.network_pid is not None:
            system.enter_network(container.network_pid)
        log = os.open(container.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 4096)
        os.chdir(tree)
        arguments = ["python3", program, *container.arguments]
        os.execve(sys.executable, arguments, environment)  # noqa: S606 - a program of ours
    except BaseException:  # only this child ends; its log says why
        traceback.print_exc()
    finally:
        os._exit(127)


def make_tree(container: Container) -> str:
    """The container's folder tree: writable folders of its own, mounts as links. It is new at every start, like a
    container's layer.
    """
    tree = os.path.join(container.folder, "tree")
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    for source, target, _read_only in sorted(container.mounts, key=lambda mount: mount[1]):
        parts = [part for part in target.split("/") if part not in ("", ".")]
        if ".." in parts or not parts:
            raise OSError(f"container {container.name}: {target} cannot be a mount's path")
        if not os.path.exists(source):
            raise OSError(f"container {container.name}: the mount's source {source} does not exist")
        place = os.path.join(tree, *parts)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if not os.path.lexists(place):
            os.symlink(os.path.abspath(source), place)
    return tree


def shorten_log(name: str) -> None:
    if os.path.exists(name) and os.path.getsize(name) > LOG_LIMIT:
        with open(name, "rb") as file:
            file.seek(-LOG_LIMIT // 2, os.SEEK_END)
            rest = file.read()
        system.write(name, rest)


def notice(image: str) -> str:
    return f"{image}: {NOTICE}; a program that answers like it, not the real one"
