"""A real service (SQLite, the agents' API on cheroot) and real agents as processes of their own."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from typing import Any

import cheroot.wsgi
import requests

import catalog.db.environments
from catalog.api import agents as agents_api
from catalog.db import base
from engine.agents import boot, http

SECRET = b"a secret of the tests, 32 bytes.."
ENVIRONMENT, PROJECT = "e" * 32, "p" * 32


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """The agents' API on a port of its own; can be stopped and started again on the same port."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.database = base.Database(f"sqlite:///{folder}/catalog.sqlite")
        self.database.create_tables()
        self.port = free_port()
        self.add_environment(ENVIRONMENT, PROJECT)
        self.start()
        self.agents = http.HttpAgents(database=self.database, url=self.url, secret=SECRET)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_environment(self, environment_id: str, project_id: str) -> None:
        with self.database.transaction() as session:
            session.add(
                catalog.db.environments.Environment(
                    id=environment_id, name=environment_id, project_id=project_id, model={"Objects": None}
                )
            )

    def start(self) -> None:
        self.app = agents_api.agents_app(self.database)
        self.server = cheroot.wsgi.Server(("127.0.0.1", self.port), self.app, numthreads=12)
        self.server.expiration_interval = 0.05  # how often it looks whether it shall stop
        self.server.prepare()
        self.thread = threading.Thread(target=self.server.serve, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.app.close()
        self.server.stop()
        self.thread.join()

    def post(self, path: str, token: str | None, body: Any = None, **named: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {})
        return requests.post(f"{self.url}/agents/v1/{path}", data=data, headers=headers, timeout=30, **named)


@dataclasses.dataclass
class Guest:
    """One agent: its files, and its process when it runs."""

    service: Service
    folder: pathlib.Path
    access: dict[str, Any]
    python: str = sys.executable
    process: subprocess.Popen[bytes] | None = None

    @property
    def id(self) -> str:
        return str(self.access["agent_id"])

    @property
    def storage(self) -> pathlib.Path:
        return self.folder / "storage"

    @property
    def session(self) -> str:
        return (self.storage / f"session-{self.id}").read_text()

    def start(self, *, reads_boot_data_again: bool = True, source: str | None = None) -> Guest:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "agent.py").write_text(source or boot.agent_source())
        if reads_boot_data_again:
            config = {**self.access, "storage": str(self.storage), "retry_limit": 0.3}
            (self.folder / "agent.json").write_text(json.dumps(config))
        with open(self.folder / "agent.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.python, self.folder / "agent.py", "--config", self.folder / "agent.json", "--foreground"],
                stdout=log,
                stderr=log,
            )
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def run(
        self, plan: dict[str, Any], plan_id: str | None = None, timeout: float = 120, **named: Any
    ) -> dict[str, Any]:
        return self.service.agents.run(self.id, plan_id or uuid.uuid4().hex, plan, timeout, **named)

    def value(self, body: str, **parameters: Any) -> Any:
        """What the body returns; the test fails if it fails."""
        result = self.run(
            {"FormatVersion": "2.2.0", "Body": body, "Parameters": parameters, "Scripts": {}, "Files": {}}
        )
        assert result["ErrorCode"] == 0, result
        return result["Body"]


def script_plan(body: str, script: str = "", *, version: str = "2.0.0", **options: Any) -> dict[str, Any]:
    """A plan with one Application script called `run`."""
    return {
        "FormatVersion": version,
        "Body": body,
        "Scripts": {"run": {"Type": "Application", "EntryPoint": "f1", "Files": [], "Options": options}},
        "Files": {"f1": {"Name": "run.sh", "BodyType": "Text", "Body": script}},
    }


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
