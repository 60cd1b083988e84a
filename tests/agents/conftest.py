"""Fixtures: a service, and agents that are ended with their test."""

from __future__ import annotations

import json
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from agents_world import ENVIRONMENT, PROJECT, Guest, Service

import engine.agents.guest


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[Service]:
    running = Service(tmp_path)
    yield running
    running.stop()
    running.database.dispose()


@pytest.fixture
def new_guest(service: Service, tmp_path: pathlib.Path) -> Iterator[Any]:
    made: list[Guest] = []

    def make(
        instance_id: str = "i1", environment_id: str = ENVIRONMENT, project_id: str = PROJECT, **named: Any
    ) -> Guest:
        access = service.agents.register(environment_id, project_id, instance_id)
        guest = Guest(service, tmp_path / f"guest-{len(made)}", access, **named)
        made.append(guest)
        return guest

    yield make
    for guest in made:
        guest.kill()
        for process in guest.storage.glob("plans/*/process.json"):
            pid = json.loads(process.read_text())["pid"]
            if engine.agents.guest.process_begun(pid) == json.loads(process.read_text())["begun"]:
                os.killpg(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One service and one running agent for tests that only run plans."""
    folder = tmp_path_factory.mktemp("shared")
    running = Service(folder)
    guest = Guest(running, folder / "guest", running.agents.register(ENVIRONMENT, PROJECT, "shared")).start()
    yield guest
    guest.kill()
    running.stop()
    running.database.dispose()
