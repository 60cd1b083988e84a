"""What the stand-ins need of the system: paths, daemons, processes, namespaces.

`CHANDLERY_LAB_ROOT` puts all files under another folder, so that several simulated servers can share one file tree.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

ROOT = os.environ.get("CHANDLERY_LAB_ROOT", "").rstrip("/")
LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATE = "/var/lib/chandlery-lab"

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)


def path(name: str) -> str:
    """Where a file of the simulated server is."""
    return ROOT + name


def read_json(name: str) -> dict | None:
    """The JSON file, None if there is none (yet)."""
    try:
        with open(name, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(name: str, content: str | bytes, mode: int = 0o600) -> None:
    """Replaces the file in one step, making its folders."""
    os.makedirs(os.path.dirname(name), exist_ok=True)
    temporary = f"{name}.{os.getpid()}.new"
    data = content.encode() if isinstance(content, str) else content
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    os.replace(temporary, name)


def write_json(name: str, value: object) -> None:
    write(name, json.dumps(value, indent=1) + "\n")


def begun(pid: int) -> int | None:
    """Start time of a living process, None if it is gone or only waits to be collected.

    A process whose first thread has ended lives as long as another one: until then its sockets are open.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] in (b"Z", b"X") and len(os.listdir(f"/proc/{pid}/task")) <= 1:
            return None
    except OSError:
        return None
    return int(fields[19])


class Daemon:
    """A background process with a file that names it; knows it even when its process id was used again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = path(f"{STATE}/daemons/{name}.json")
        self.log = path(f"/var/log/chandlery-lab/{name}.log")

    def pid(self) -> int | None:
        """Its process id if it runs."""
        state = read_json(self.file)
        return state["pid"] if state and begun(state["pid"]) == state["begun"] else None

    def start(self, module: str, *arguments: str) -> int:
        """Starts `python3 -m module` unless it runs."""
        running = self.pid()
        if running is not None:
            return running
        os.makedirs(os.path.dirname(self.log), exist_ok=True)
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "PYTHONPATH": LIBRARY},
                start_new_session=True,
            )
        write_json(
            self.file, {"pid": process.pid, "begun": begun(process.pid), "module": module, "arguments": arguments}
        )
        return process.pid

    def stop(self, seconds: float = 3) -> None:
        """Ends it and forgets it."""
        pid = self.pid()
        if pid is not None:
            end(pid, seconds)
        if os.path.exists(self.file):
            os.unlink(self.file)


def end(pid: int, seconds: float) -> None:
    """SIGTERM, and SIGKILL when that does not help in time. Works for children and strangers."""
    started = begun(pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + seconds
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        while begun(pid) == started and started is not None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return


def restart_daemons() -> None:
    """After a boot: starts what ran before."""
    folder = path(f"{STATE}/daemons")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        state = read_json(os.path.join(folder, name))
        if name.endswith(".json") and state:
            Daemon(name[: -len(".json")]).start(state["module"], *state["arguments"])


def die_with_parent() -> None:
    """For a child just forked: it shall not outlive the one that looks after it."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_name(name: str) -> None:
    """What `ps` shows, 15 characters of it."""
    _libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def unshare_network() -> None:
    """Gives this process (this thread) a network of its own; OSError where that is not permitted."""
    if _libc.unshare(CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"a network namespace: {os.strerror(number)}")


def enter_network(pid: int) -> None:
    """Joins the network of another process."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"the network of process {pid}: {os.strerror(number)}")
    finally:
        os.close(descriptor)
