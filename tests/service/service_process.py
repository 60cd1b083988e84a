"""A real all-in-one service as a process of its own, for tests that act as its clients."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from cli import client
from cli.demo import process


class Installation:
    """A running service and the command line that talks to it."""

    def __init__(self, service: process.ServiceProcess) -> None:
        self.service = service
        self.imported: list[dict[str, Any]] = []  # what a fixture has imported, for the tests to look at

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``chandlery ARGUMENTS``."""
        command = [sys.executable, "-m", "cli.main", *arguments, "--data", str(self.service.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=240)

    def json(self, *arguments: str) -> Any:
        """What ``chandlery ARGUMENTS -f json`` prints; it must succeed, or fail with 1 (an outcome that is told)."""
        finished = self.run(*arguments, "-f", "json")
        assert finished.returncode in (0, 1), finished.stderr
        return json.loads(finished.stdout)

    def client(self, account: str = "demo") -> client.Client:
        """The REST client of an account."""
        return client.Client(client.Credentials.from_file(self.service.data / client.CREDENTIALS_FILE, account))


@contextlib.contextmanager
def installed(data: pathlib.Path, repository: pathlib.Path) -> Iterator[Installation]:
    """A service on a free port with one repository, ended and cleaned up afterwards."""
    from cli.commands import demo

    service = process.ServiceProcess(data, free_port(), str(repository))
    try:
        service.start()
        yield Installation(service)
    finally:
        service.stop()
        demo.clean_up(data)


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
