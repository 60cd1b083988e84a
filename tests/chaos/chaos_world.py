"""A world for workers to die in: a database, a Heat and guests that outlive them, and what must hold afterwards."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import multiprocessing.forkserver
import os
import pathlib
import sys
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import chaos_convoy
import chaos_guests
import chaos_heat
import chaos_worker
import pytest

from catalog.db import base, deployments, environments, journal, resources, sessions, statuses
from engine import effects

HERE = pathlib.Path(__file__).parent
PATIENCE = 300.0  # seconds after which something that was waited for counts as lost; a busy machine is slow, not wrong
USER = "user-1"


@dataclass(frozen=True)
class Seen:
    """What a deployment left, without what differs from run to run by nature: ids, random names, order of ships."""

    state: tuple
    ships: list
    log: list
    reports: dict
    closing: str
    alive: list
    templates: list


class World:
    """Use as a context manager: it ends what it started."""

    def __init__(self, database: base.Database, folder: pathlib.Path, **orders: Any) -> None:
        self.database = database
        self.guests = chaos_guests.Guests(database)
        self.heat = chaos_heat.Heat(self.guests.boot, self.guests.halt)
        self.lock = chaos_convoy.lock()
        self.log = folder / "workers.jsonl"
        self._orders = {
            "database": database.url,
            "heat": self.heat.url,
            "agents": self.guests.url,
            "secret": chaos_guests.SECRET,
            "log": self.log,
            "lease": 1.0,
            "poll": 0.1,
            **orders,
        }
        self._workers: list[Any] = []
        self._numbers: dict[str, str] = {}

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end_workers()
        self.guests.close()
        self.heat.close()

    def worker(self, **orders: Any) -> Any:
        """A worker process, begun; it ends with the test at the latest."""
        orders = chaos_worker.Orders(**{**self._orders, **orders})
        process = _forge().Process(target=chaos_worker.main, args=(orders,), daemon=True)
        process.start()
        self._workers.append(process)
        return process

    def end_workers(self) -> None:
        """Ends those that are left: one of them would take what the next test has for its own."""
        for process in self._workers:
            process.kill()
        for process in self._workers:
            process.join()
        self._workers.clear()

    def environment(self, name: str, ships: tuple[str, ...] = chaos_convoy.SHIPS) -> str:
        environment_id = base.new_id()
        model = {
            "Objects": {
                "?": {"type": "convoy.Fleet", "id": environment_id},
                "name": name,
                "services": chaos_convoy.ships(environment_id, ships),
            },
            "Attributes": [],
            "project_id": chaos_convoy.PROJECT,
            "user_id": USER,
        }
        with self.database.transaction() as session:
            session.add(
                environments.Environment(id=environment_id, name=name, project_id=chaos_convoy.PROJECT, model=model)
            )
        return environment_id

    def submit(self, environment_id: str, kind: str = "deploy", project: str = chaos_convoy.PROJECT) -> str:
        """A deployment as the API submits it; its id."""
        with self.database.transaction() as session:
            environment = environments.get(session, environment_id)
            opened = sessions.open_for(session, environment, USER)
            if kind == "delete":
                opened.model = {**opened.model, "Objects": None}
            opened.state = sessions.DELETING if kind == "delete" else sessions.DEPLOYING
            deployment_id = deployments.submit(
                session,
                environment_id=environment_id,
                session_id=opened.id,
                project_id=project,
                user_id=USER,
                kind=kind,
                action=None if kind == "delete" else {"object_id": environment_id, "method": "deploy", "args": {}},
                model=opened.model,
                lock=self.lock,
            ).id
        self._numbers[deployment_id] = environment_id
        return deployment_id

    def let_the_leases_run_out(self, *deployment_ids: str) -> None:
        """As if their workers had not been heard of for longer than their leases."""
        with self.database.transaction() as session:
            for each in deployment_ids:
                session.get_one(deployments.Deployment, each).lease_expires = 1.0

    def state(self, deployment_id: str) -> str | None:
        with self.database.reading() as session:
            row = session.get(deployments.Deployment, deployment_id)
            return None if row is None else row.state

    def ended(self, deployment_id: str) -> bool:
        return self.state(deployment_id) in (deployments.FINISHED, None)

    def unfinished(self, deployment_ids: Collection[str]) -> set[str]:
        """Those that have not ended, in one query."""
        row = deployments.Deployment
        query = deployments.sa.select(row.id).where(row.id.in_(deployment_ids), row.state != deployments.FINISHED)
        with self.database.reading() as session:
            return set(session.scalars(query))

    def wait_for_the_end(self, *deployment_ids: str, seconds: float = PATIENCE) -> None:
        for each in deployment_ids:
            wait_until(lambda each=each: self.ended(each), seconds, f"the end of deployment {each}")

    def outcomes(self, deployment_id: str) -> dict[str, tuple]:
        """Effects with an outcome: all that must never change again."""
        with self.database.reading() as session:
            return {
                entry.key: (entry.name, json.dumps([entry.outcome, entry.failure]), entry.started, entry.finished)
                for entry in journal.entries(session, deployment_id)
                if entry.finished is not None
            }

    def told(self, what: str | None = None) -> list[dict]:
        """What workers wrote about themselves."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if what in (None, entry["what"])]

    def seen(self, deployment_id: str) -> Seen:
        environment_id = self._numbers[deployment_id]
        with self.database.reading() as session:
            row = session.get_one(deployments.Deployment, deployment_id)
            environment = environments.get(session, environment_id)
            opened = session.get_one(sessions.Session, row.session_id)
            reports = statuses.of_deployment(session, deployment_id, progress=True)
        assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))
        reports = [report for report in reports if report.level != statuses.PROGRESS]
        root = environment.model["Objects"]
        by_ship: dict[str, list[str]] = {}
        for report in reports:
            by_ship.setdefault((report.entity_id or "").removeprefix(environment_id), []).append(report.text)
        return Seen(
            state=(row.state, row.result, opened.state, environment.version),
            ships=[
                {**ship, "?": None, "hull": bool(ship["hull"]), "address": ship["address"].replace(environment_id, "")}
                for ship in root["services"]
            ],
            log=sorted(root["log"]),
            reports=by_ship,
            closing=reports[-1].text,
            alive=sorted(
                (stack.removeprefix(environment_id), *which, len(ids))
                for (stack, *which), ids in self.heat.alive(environment_id).items()
            ),
            templates=sorted(
                (name.removeprefix(environment_id), sorted(template["resources"]))
                for name, template in self.heat.templates(environment_id).items()
            ),
        )

    def receipt(self, environment_id: str) -> list[resources.CloudResource]:
        """What was made for the environment, as the service knows it."""
        with self.database.reading() as session:
            return resources.of_environment(session, environment_id)

    def executions(self, deployment_id: str) -> list[int]:
        """How often each plan of the deployment was carried out."""
        ids = {
            effects_id(deployment_id, key)
            for key, entry in self.outcomes(deployment_id).items()
            if entry[0] == "agent.run"
        }
        return [self.guests.ran[plan_id] for plan_id in sorted(ids)]


def effects_id(deployment_id: str, key: str) -> str:
    """The id under which the service knows the plan of an effect."""
    return uuid.uuid5(effects._PLANS, f"{deployment_id}/{key}").hex


def check_unharmed(
    world: World, deployment_id: str, calm: Seen, before: dict[str, tuple] | None = None, woken: tuple[int, ...] = ()
) -> None:
    """What must hold after any storm. `before` are the outcomes when the worker was lost, `calm` an unkilled run.

    `woken` are processes that were stopped and may have begun with an effect before they saw that; that they changed
    nothing has to be seen in the world.
    """
    after = world.outcomes(deployment_id)
    failed = [entry for entry in after.values() if json.loads(entry[1])[1]]
    assert not failed, failed
    assert world.seen(deployment_id) == calm
    assert len(after) == chaos_convoy.EFFECTS
    assert world.executions(deployment_id) == [1] * len(chaos_convoy.SHIPS), "a plan ran twice, or never"
    if before is not None:
        assert {key: after.get(key) for key in before} == before, "an outcome changed"
    again = [entry for entry in repeated(world, deployment_id) if entry["pid"] not in woken]
    assert not again, f"effects with an outcome were carried out again: {again}"


def repeated(world: World, *deployment_ids: str) -> list[dict]:
    """Effects that a worker carried out after their outcome had been written."""
    outcomes = {each: world.outcomes(each) for each in deployment_ids}
    found = []
    for entry in world.told("performs"):
        known = outcomes.get(entry["deployment"], {}).get(entry["key"])
        if known is not None and datetime.datetime.fromisoformat(entry["wall"]) > known[3]:
            found.append(entry)
    return found


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds:g} s")
        time.sleep(0.02)


def is_stopped(process: Any) -> bool:
    """Whether a process was stopped by a signal."""
    return pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


_context: Any = None


def _forge() -> Any:
    """The fork server, with everything imported and compiled."""
    global _context
    if _context is None:
        _context = multiprocessing.get_context("forkserver")
        _context.set_forkserver_preload(["chaos_worker"])
        # The server imports what it preloads before it is told where the tests' modules are.
        path = os.pathsep.join([str(HERE), *sys.path])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", path)
            multiprocessing.forkserver.ensure_running()
    return _context
