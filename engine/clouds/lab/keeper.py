"""The service's side of the keeper (sandbox/keeper.py): starts it when it is not there, and asks it for things."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from engine.clouds.lab.sandbox import processes
from engine.clouds.lab.sandbox.keeper import MAX_REQUEST, PROTOCOL, RECORD, SOCKET

_ROOT = Path(__file__).resolve().parents[3]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from engine.clouds.lab.sandbox.keeper import main; main(sys.argv[2])"
)


class KeeperError(Exception):
    """The keeper refused or is gone; the message says what failed."""


class Keeper:
    """Asks the keeper of one lab directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def running(self) -> bool:
        """Whether the recorded keeper is alive."""
        pid, start = self.process()
        return processes.alive(pid, start)

    def process(self) -> tuple[int, int]:
        """(pid, start time) as recorded, (0, 0) without a record."""
        try:
            record = json.loads((self.directory / RECORD).read_text())
            return int(record["pid"]), int(record["start"])
        except (OSError, ValueError, KeyError):
            return 0, 0

    def ensure(self) -> bool:
        """Start the keeper when there is none; True when a new one was started. Raises KeeperError."""
        if self.running():
            answer, _ = self.ask("hello")
            if answer["protocol"] != PROTOCOL:
                raise KeeperError(
                    f"the lab in {self.directory} was started by another version (protocol {answer['protocol']}, "
                    f"expected {PROTOCOL}): run `chandlery lab cleanup` and deploy again"
                )
            return False
        with (self.directory / "keeper.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, str(_ROOT), str(self.directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            )
        assert process.stdout is not None
        with process.stdout:
            ready, _, _ = select.select([process.stdout], [], [], 20)
            line = process.stdout.readline() if ready else b""
        message = json.loads(line) if line else {"error": self._last_words()}
        if "error" in message:
            process.wait(5)
            if self._wait_for_other():
                return False
            raise KeeperError(str(message["error"]))
        # The keeper outlives this process on purpose; Popen would warn about it when collected.
        process.returncode = 0
        return True

    def ask(self, operation: str, descriptors: tuple[int, ...] = (), **arguments: object) -> tuple[dict, list[int]]:
        """One request; gives the answer and the descriptors that came with it. Raises KeeperError."""
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with contextlib.closing(connection):
                # Through the descriptor: the path of a data directory may be longer than a socket address.
                connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
                request = json.dumps({"do": operation, **arguments}).encode()
                socket.send_fds(connection, [request], list(descriptors))
                data, received, _, _ = socket.recv_fds(connection, MAX_REQUEST, 4)
        except OSError as error:
            raise KeeperError(f"the lab's keeper in {self.directory} does not answer ({operation}): {error}") from error
        finally:
            os.close(folder)
        if not data:
            raise KeeperError(f"the lab's keeper gave no answer to {operation!r}; see {self.directory}/keeper.log")
        answer = json.loads(data)
        if "error" in answer:
            raise KeeperError(answer["error"])
        return answer, list(received)

    def stop(self) -> None:
        """End the keeper; the lab's network goes with it."""
        pid, start = self.process()
        if not processes.kill(pid, start, 3.0, signal.SIGTERM):
            processes.kill(pid, start)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # it is our child when this very process has started it
        for name in (SOCKET, RECORD):
            (self.directory / name).unlink(missing_ok=True)

    def _wait_for_other(self) -> bool:
        """Another process may have started the keeper at the same time; its record follows its lock."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if self.running():
                return True
            time.sleep(0.02)
        return False

    def _last_words(self) -> str:
        text = (self.directory / "keeper.log").read_text(errors="replace").strip()
        return text.splitlines()[-1] if text else "the keeper ended without a word"
