"""Starts one server: namespaces, file tree, id map, network, then the init process. Runs in a child of the keeper.

Order of safety: the new process waits for "go" after its pid has been written to disk, and dies when its launcher dies
before that; so no server can run that the state in the data directory does not know.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.clouds.lab.sandbox import cgroups, hardening, processes, rootfs, syscalls, volumes
from engine.clouds.lab.sandbox import identity as identities
from engine.clouds.lab.sandbox.iproute import ip_batch

LOCK = "launch.lock"  # held while a server is started or stopped
INIT = "/usr/lib/chandlery/init.py"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_OWN = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWCGROUP
)


@dataclass(frozen=True)
class Nic:
    """One network interface: `addresses` with prefix length; `gateway` of the first interface is the default route."""

    bridge: str
    link: str  # the name of the lab's end
    name: str  # the name inside
    mac: str
    addresses: tuple[str, ...]
    gateway: str | None = None


@dataclass(frozen=True)
class Launch:
    """What the keeper needs to start a server."""

    id: str
    hostname: str
    directory: str
    base: rootfs.Base
    nics: tuple[Nic, ...] = ()
    extra_addresses: tuple[str, ...] = ()  # floating addresses, on the loopback interface
    volumes: tuple[tuple[str, str], ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    group: str = ""  # the lab's control group
    memory: int = 0  # bytes

    @classmethod
    def from_json(cls, value: dict) -> Launch:
        """From the keeper's request."""
        base = dict(value["base"])
        base["system"], base["binds"] = tuple(base["system"]), tuple(base["binds"])
        nics = tuple(Nic(**{**nic, "addresses": tuple(nic["addresses"])}) for nic in value["nics"])
        volumes = tuple((source, target) for source, target in value["volumes"])
        extra = tuple(value["extra_addresses"])
        rest = {key: value[key] for key in ("id", "hostname", "directory", "limits", "group", "memory")}
        return cls(base=rootfs.Base(**base), nics=nics, extra_addresses=extra, volumes=volumes, **rest)


def launch(request: Launch, identity: tuple[int, int]) -> dict:
    """Start the server and give {"pid", "start", "notes"}; `identity` is (first host id, count) of its users.

    Who asked for it may have died meanwhile, and the next one may have deleted the server: then it is not started.
    """
    with open(Path(request.directory, LOCK), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink == 0:
            raise OSError(f"server {request.id} was deleted before it started")
        record = Path(request.directory, "run.json")
        run = json.loads(record.read_text()) if record.exists() else None
        if run and processes.alive(run["pid"], run["start"]):
            return dict(run)
        return _launch(request, identity)


def _launch(request: Launch, identity: tuple[int, int]) -> dict:
    directory = Path(request.directory)
    owner = identity[0]
    for name in ("root", "upper/root", "work/root", "seed"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for name in request.base.system:
        (directory / "upper" / name).mkdir(exist_ok=True)
        (directory / "work" / name).mkdir(exist_ok=True)
        os.chown(directory / "upper" / name, owner, owner)
    os.chown(directory / "upper/root", owner, owner)
    console = os.open(directory / "console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = _fork_into_pid_namespace(lambda: _become_server(request, owner, console, theirs, ours))
    theirs.close()
    try:
        notes = _expect(ours, "separated")["notes"]
        _map_identity(pid, identity)
        if owner:
            limits = cgroups.Limits(request.memory, request.limits["RLIMIT_NPROC"])
            notes += cgroups.confine(request.group, request.id, pid, limits)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text("500")  # the service must outlive its servers
        ours.send(b'{"step": "mapped"}')
        notes += _expect(ours, "ready")["notes"]
        _connect(pid, request)
        for source, target in request.volumes:
            volumes.attach_in_child(pid, source, target, owner)
        for note in notes:
            os.write(console, f"chandlery-lab: {note}\n".encode())
        run = {"pid": pid, "start": processes.start_time(pid), "notes": notes}
        _write_durably(directory / "run.json", json.dumps(run))
        ours.send(b'{"step": "go"}')
        final = ours.recv(65536)
        if final:
            raise OSError(json.loads(final)["error"])
        return run
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        (directory / "run.json").unlink(missing_ok=True)
        raise


def _fork_into_pid_namespace(main: Callable[[], None]) -> int:
    """Start a process as pid 1 of a new PID namespace and give its pid here; the keeper becomes its parent.

    A process in between makes the namespace: the caller's later children must stay outside of it.
    """
    read, write = os.pipe()
    between = os.fork()
    if between == 0:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            main()
        os.write(write, str(pid).encode())
        os._exit(0)
    os.close(write)
    answer = os.read(read, 32)
    os.close(read)
    os.waitpid(between, 0)
    if not answer:
        raise OSError("this machine makes no PID namespaces")
    return int(answer)


def _expect(channel: socket.socket, step: str) -> dict:
    data = channel.recv(65536)
    message = json.loads(data) if data else {"error": f"the server's first process died before it was {step}"}
    if "error" in message:
        raise OSError(message["error"])
    return dict(message)


def _become_server(request: Launch, owner: int, console: int, channel: socket.socket, other_end: socket.socket) -> None:
    """The child, pid 1 of the new PID namespace: never returns."""
    try:
        other_end.close()  # so that the launcher's death is seen
        privileged = owner != 0
        syscalls.unshare(syscalls.CLONE_NEWNS)
        notes = rootfs.compose(request.base, Path(request.directory), owner, identities.owns_machine())
        syscalls.unshare(_OWN)
        channel.send(json.dumps({"step": "separated", "notes": notes}).encode())
        _expect(channel, "mapped")
        if privileged:
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        syscalls.set_dumpable(True)
        os.setsid()
        syscalls.set_hostname(request.hostname)
        channel.send(json.dumps({"step": "ready", "notes": hardening.harden(request.limits)}).encode())
        _expect(channel, "going")
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(console, 1)
        os.dup2(console, 2)
        interpreter = request.base.python
        keep = channel.fileno()
        os.set_inheritable(keep, False)
        for number in _open_descriptors():
            if number > 2 and number != keep:
                os.close(number)
        os.execve(  # noqa: S606 - the very task
            interpreter,
            [interpreter, "-I", "-S", INIT],
            {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "container": "chandlery-lab"},
        )
    except BaseException as error:  # this process has nobody else to report to
        try:
            channel.send(json.dumps({"error": str(error) or repr(error)}).encode())
        finally:
            os._exit(1)


def _open_descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]


def _map_identity(pid: int, identity: tuple[int, int]) -> None:
    first, count = identity
    for kind in ("gid", "uid"):
        Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {first} {count}")


def _connect(pid: int, request: Launch) -> None:
    """Create the links between bridges and server, and set the server's side up."""
    outside: list[str] = []
    inside = ["link set lo up"]
    for nic in request.nics:
        outside.append(f"link add name {nic.link} type veth peer name {nic.name} netns {pid}")
        outside.append(f"link set {nic.link} master {nic.bridge}")
        outside.append(f"link set {nic.link} up")
        inside.append(f"link set {nic.name} address {nic.mac}")
        inside += [f"address add {address} dev {nic.name}" for address in nic.addresses]
        inside.append(f"link set {nic.name} up")
    gateways = [nic.gateway for nic in request.nics if nic.gateway]
    if gateways:
        inside.append(f"route add default via {gateways[0]}")
    inside += [f"address add {address} dev lo" for address in request.extra_addresses]
    for nic in request.nics:  # a link of a server that just died may still be there for an instant
        ip_batch([f"link delete {nic.link}"], ignore_errors=True)
    if outside:
        ip_batch(outside)
    ip_batch(inside, namespace_of=pid)


def _write_durably(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(path)
