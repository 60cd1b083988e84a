"""Chandlery as an operator runs it: API and engine processes on a database server and a broker."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import requests
import sqlalchemy as sa

PATIENCE = 60.0  # seconds for a process to be ready, or to end
CONFIGURATION = """\
[database]
connection = {database}
[messaging]
transport_url = {broker}
[identity]
auth = keystone
[keystone_authtoken]
auth_type = password
auth_url = {auth_url}
www_authenticate_uri = {auth_url}
username = {username}
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
[murano_auth]
auth_url = {auth_url}
username = {username}
password = {password}
[engine]
cloud = heat
agent_url = {url}
agent_secret = {secret}
class_configs = {class_configs}
[networking]
external_network = {external_network}
router_name = {router}
env_ip_template = 10.88.0.0
"""


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def empty_database(server: str) -> Iterator[str]:
    """The URL of a new database on the server, dropped afterwards."""
    name = f"chandlery_test_{uuid.uuid4().hex[:10]}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name}"))
        admin.dispose()


class Process:
    """A process of ours with its log in a file."""

    def __init__(self, log: pathlib.Path, program: str, *arguments: str, **environ: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [pathlib.Path(sys.executable).parent / program, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environ, "PYTHONUNBUFFERED": "1"},
            )

    def wait_for(self, ready: str | None = None, url: str | None = None) -> None:
        """Until the log says `ready`, or something answers at `url`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"ended with {self._process.returncode}:\n{self.log.read_text()}"
            if ready is not None and ready in self.log.read_text():
                return
            with contextlib.suppress(requests.ConnectionError):
                if url is not None and requests.get(url, timeout=5).status_code < 400:
                    return
            time.sleep(0.2)
        raise AssertionError(f"not ready after {PATIENCE:.0f} s:\n{self.log.read_text()}")

    def kill(self) -> None:
        """As a crash would end it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """As an operator ends it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
