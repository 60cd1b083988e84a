"""The keeper: one process per data directory that holds the lab's network and, unprivileged, its user namespace.

It outlives the service, starts servers on request (so that they are nobody's children but its own), runs commands in
them, and hands sockets of the lab's network to the service. Its Unix socket serves the lab's owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine.clouds.lab.sandbox import cgroups, hardening, identity, processes, rootfs, syscalls, uplink, volumes
from engine.clouds.lab.sandbox.iproute import NetworkError, ip_batch
from engine.clouds.lab.sandbox.launch import PATH, Launch, launch

PROTOCOL = 1
SOCKET = "keeper.sock"
RECORD = "keeper.json"
MAX_REQUEST = 200_000
Reply = tuple[dict, list[int]]


def main(directory: str) -> None:
    """Become the keeper of a lab directory; returns at once when another one holds it."""
    os.chdir(directory)
    lock = os.open("keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    try:
        keeper = Keeper(directory)
        keeper.open()
    except (OSError, NetworkError) as error:
        _say({"error": f"the lab's namespaces cannot be made: {error}"})
        raise SystemExit(1) from error
    _say({"pid": os.getpid()})
    keeper.serve()


class Keeper:
    """The state of a running keeper: who it is, and its listening socket."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.privileged = identity.has_users_to_give()
        self.identity = (0, 1)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)

    def open(self) -> None:
        """Make the namespaces, then the socket and the record that others find this process by."""
        if self.privileged:
            self.identity = identity.choose(self.directory)
            self.host_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
        else:
            uid, gid = os.geteuid(), os.getegid()
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.become_subreaper()
        ip_batch(["link set lo up"])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        with contextlib.suppress(OSError):
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)
        self.socket.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        self.socket.listen(64)
        record = {"pid": os.getpid(), "start": processes.start_time(os.getpid()), "protocol": PROTOCOL}
        partial = Path(RECORD + ".partial")
        partial.write_text(json.dumps(record))
        partial.rename(RECORD)

    def serve(self) -> None:
        """Answer for ever, each connection in a child of its own."""
        signal.signal(signal.SIGCHLD, lambda number, frame: _reap())
        signal.signal(signal.SIGTERM, lambda number, frame: _end())
        while True:
            connection, _ = self.socket.accept()
            with connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    self.socket.close()
                    try:
                        self._converse(connection)
                    finally:
                        os._exit(0)

    def _converse(self, connection: socket.socket) -> None:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", raw)[1] != os.geteuid():
            return
        data, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, 3)
        if not data:
            return
        try:
            request = json.loads(data)
            operation = self._operations()[request["do"]]
            answer, given = operation(request, list(descriptors))
        except (OSError, NetworkError, ValueError, KeyError) as error:
            answer, given = {"error": str(error) or repr(error)}, []
        socket.send_fds(connection, [json.dumps(answer).encode()], given)

    def _operations(self) -> dict[str, Callable[[dict, list[int]], Reply]]:
        return {
            "base": self._base, "connect": self._open_connection, "exec": self._exec, "hello": self._hello,
            "ip": self._ip, "launch": self._launch, "listen": self._listen, "mount": self._mount,
            "unmount": self._unmount, "uplink": self._uplink,
        }  # fmt: skip

    def _hello(self, request: dict, descriptors: list[int]) -> Reply:
        return {"protocol": PROTOCOL, "pid": os.getppid(), "identity": self.identity, "privileged": self.privileged}, []

    def _base(self, request: dict, descriptors: list[int]) -> Reply:
        """Build the lower tree under another name, then rename: a half-built one is never used."""
        final = Path(self.directory, "base", request["digest"])
        record = final / "base.json"
        if not record.exists():
            for abandoned in final.parent.glob("*.partial"):  # the caller has the lock: nobody else is building
                shutil.rmtree(abandoned)
            partial = final.with_name(f"{request['digest']}.{os.getpid()}.partial")
            base = rootfs.build_base(
                partial, Path(request["image"]), request["interpreter"], request["prefix"], self.identity[0]
            )
            (partial / "base.json").write_text(json.dumps({**base.to_json(), "path": str(final)}))
            partial.rename(final)
        return json.loads(record.read_text()), []

    def _ip(self, request: dict, descriptors: list[int]) -> Reply:
        """`ip` commands in the lab's network, or in that of a server (`pid`)."""
        ignore = bool(request.get("ignore_errors"))
        return {"output": ip_batch(request["commands"], request.get("pid"), ignore_errors=ignore)}, []

    def _uplink(self, request: dict, descriptors: list[int]) -> Reply:
        """A link to the host's network that lets the host connect to servers, never servers to the host."""
        if not self.privileged:
            return {"link": None, "reason": "only root can join the lab's network to the host's"}, []
        addresses = request["host_address"], request["lab_address"]
        return uplink.connect(self.host_network, request["link"], *addresses, request["routes"]), []

    def _launch(self, request: dict, descriptors: list[int]) -> Reply:
        return launch(Launch.from_json(request["launch"]), self.identity), []

    def _listen(self, request: dict, descriptors: list[int]) -> Reply:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((request["address"], request["port"]))
        listener.listen(128)
        return {"port": listener.getsockname()[1]}, [listener.detach()]

    def _open_connection(self, request: dict, descriptors: list[int]) -> Reply:
        timeout = float(request.get("timeout", 10))
        connection = socket.create_connection((request["address"], request["port"]), timeout)
        connection.settimeout(None)
        return {}, [connection.detach()]

    def _mount(self, request: dict, descriptors: list[int]) -> Reply:
        """Show a folder of the host in a running server (this process ends after the answer, so it may move)."""
        volumes.attach(_living(request), request["source"], request["target"], self.identity[0])
        return {}, []

    def _unmount(self, request: dict, descriptors: list[int]) -> Reply:
        volumes.detach(_living(request), request["target"])
        return {}, []

    def _exec(self, request: dict, descriptors: list[int]) -> Reply:
        """Run a command in a server with the three descriptors as its standard streams; waits for its end."""
        pid = _living(request)
        namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in _NAMESPACES]
        helper = os.fork()
        if helper == 0:
            _enter_and_run(namespaces, request, descriptors, self.privileged)
        for number in (*namespaces, *descriptors):
            os.close(number)
        deadline = time.monotonic() + request["timeout"] if request.get("timeout") else None
        while True:
            ended, status = os.waitpid(helper, os.WNOHANG if deadline else 0)
            if ended:
                return {"code": os.waitstatus_to_exitcode(status)}, []
            if deadline and time.monotonic() > deadline:
                for child in Path(f"/proc/{helper}/task/{helper}/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
                os.waitpid(helper, 0)
                raise OSError(f"ended after {request['timeout']:g} s without a result")
            time.sleep(0.02)


def _living(request: dict) -> int:
    """The pid of the server that a request names, if it is still that process."""
    pid = int(request["pid"])
    if not processes.alive(pid, request["start"]):
        raise OSError(f"the server's process {pid} is gone")
    return pid


# The user namespace last: the PID namespace belongs to the keeper's, where the process still has its capabilities.
_NAMESPACES = ("net", "uts", "ipc", "pid", "cgroup", "mnt", "user")


def _enter_and_run(namespaces: list[int], request: dict, descriptors: list[int], privileged: bool) -> None:
    """In a child: join, fork (to be in the PID namespace), restrict, run. Never returns."""
    try:
        # Until the command runs, this process has the host's interpreter open: nobody in the server may look at it.
        syscalls.set_dumpable(False)
        if privileged:
            cgroups.join(request["group"], request["id"])
        for number in namespaces:
            syscalls.setns(number)
        for target, number in enumerate(descriptors):
            os.dup2(number, target)
        os.closerange(3, 4096)
        if privileged:
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        os.setsid()
        hardening.harden(request["limits"])
        os.chdir(request.get("cwd", "/root"))
        environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", **request.get("env", {})}
        os.execvpe(request["argv"][0], request["argv"], environment)  # noqa: S606 - the very task
    except BaseException as error:  # the message is all that can leave this process
        with contextlib.suppress(OSError):
            os.write(2, f"{request['argv'][0]}: {error}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _end() -> None:
    """Collect the servers that were just killed, so that none is left to a host's init that does not, and go."""
    deadline = time.monotonic() + 2
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
    os._exit(0)


def _say(message: dict) -> None:
    """One line to the process that started the keeper, which reads it and then goes its own way."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


if __name__ == "__main__":
    main(sys.argv[1])
