"""Workers that die at every boundary of a deployment, and successors that end it as if nothing had happened.

In the manner of Heat's convergence tests: the real engine, a model of reality that outlives it, a kill between any two
steps, and then the wanted state against what is there.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from engine_harbour import BUNDLED, NETWORKS, fleet, harbour, of_harbour, publish
from engine_mortal import AFTER, BEFORE, LOST, KeptCloud, MortalDatabase, carry
from engine_world import MemoryCloud, effects_of, look, new_environment, submit

from catalog.db import deployments
from engine import effects
from engine.clouds import recording

HERE = pathlib.Path(__file__).parent
SHIPS = ("anna", "berta")


class Voyage:
    """One deployment of the harbour, with what it did to the world."""

    def __init__(self, database, name, ships=SHIPS):
        self.database = database
        self.cloud = MemoryCloud()
        self.deployment_id = submit(
            database, new_environment(database, name=name), lock=harbour(database), change=of_harbour(*fleet(*ships))
        )

    def sail(self, last=0, when=AFTER):
        """A worker that dies at the given boundary, if it comes that far; how many transactions it made."""
        mortal = MortalDatabase(self.database, last, when)
        self.ended = carry(self.database, self.deployment_id, self.cloud, mortal)
        return mortal.count

    def outcomes(self):
        return {
            key: (entry.name, json.dumps([entry.outcome, entry.failure]), entry.started)
            for key, entry in effects_of(self.database, self.deployment_id).items()
            if entry.finished is not None
        }

    def logbook(self):
        return look(self.database, self.deployment_id).model["Objects"]["log"]

    def seen(self):
        """All that a client sees, without random names and the order in which ships passed each other."""
        seen = look(self.database, self.deployment_id)
        root = seen.model["Objects"]
        return {
            "state": (seen.state, seen.session_state, seen.version, seen.result and seen.result["isException"]),
            "ships": [{**ship, "berth": bool(ship["berth"])} for ship in root["services"]],
            "log": {ship: [line for line in root["log"] if line.startswith(ship)] for ship in SHIPS},
            "reports": {ship: [text for _n, _level, text, entity in seen.reports if entity == ship] for ship in SHIPS},
            "closing": seen.reports[-1][1:3],
            "sequence": seen.sequence,
            "progress": sorted(seen.progress),
            "stacks": self.cloud.stacks,
            "executed": sorted(self.cloud.executed.values()),
        }


@pytest.fixture
def performed(monkeypatch):
    """Keys of the effects that were carried out, in order."""
    keys = []
    real, rows = effects.Performer.perform, effects.Performer.rows

    def perform(self, effect):
        keys.append(effect.key)
        return real(self, effect)

    def write_rows(self, effect):
        keys.append(effect.key)
        return rows(self, effect)

    monkeypatch.setattr(effects.Performer, "perform", perform)
    monkeypatch.setattr(effects.Performer, "rows", write_rows)
    return keys


def test_wherever_the_worker_dies_its_successor_ends_the_deployment_as_if_it_had_not(database, performed):
    calm = Voyage(database, "calm")
    boundaries = calm.sail()
    assert calm.ended
    wanted = calm.seen()
    assert wanted["state"] == ("finished", "deployed", 1, False)
    assert boundaries > 15
    for last in range(1, boundaries + 1):
        for when in (BEFORE, AFTER):
            voyage = Voyage(database, f"storm {when} {last}")
            voyage.sail(last, when)
            recorded = voyage.outcomes()
            performed.clear()
            if look(database, voyage.deployment_id).state != "finished":
                voyage.sail()
            assert voyage.seen() == wanted, f"killed {when} transaction {last}"
            assert not recorded.keys() & set(performed), f"an effect with an outcome ran again, {when} {last}"
            after = voyage.outcomes()
            assert {key: after[key] for key in recorded} == recorded
            _agrees_with_its_log(voyage)


def test_a_deployment_survives_a_death_of_every_worker_it_meets(database):
    """Each successor replays all that is recorded, does one thing more, and dies.

    With both ships out that takes three transactions: two intents and an outcome.
    """
    voyage = Voyage(database, "cursed")
    workers = 0
    while look(database, voyage.deployment_id).state != "finished":
        voyage.sail(3, AFTER)
        workers += 1
        assert workers < 100
    calm = Voyage(database, "calm")
    calm.sail()
    assert voyage.seen() == calm.seen()
    assert workers > 5


def test_other_databases_survive_it_too(any_database):
    calm = Voyage(any_database, "calm")
    boundaries = calm.sail()
    for last in range(2, boundaries + 1, 4):
        voyage = Voyage(any_database, f"storm {last}")
        voyage.sail(last, BEFORE)
        voyage.sail()
        assert voyage.seen() == calm.seen()


@pytest.mark.parametrize(("last", "when"), [(5, AFTER), (14, BEFORE)])
def test_a_process_that_is_killed_is_replaced_by_another(database, tmp_path, last, when):
    """The same with SIGKILL, in processes of their own, the cloud's memory in a file."""
    calm = Voyage(database, "calm")
    calm.sail()
    voyage = Voyage(database, "storm")
    assert process(voyage, tmp_path, last, when, "SIGKILL").wait(60) == -signal.SIGKILL
    assert look(database, voyage.deployment_id).state == "running"
    assert process(voyage, tmp_path, 0, AFTER, "SIGKILL").wait(60) == 0
    voyage.cloud = KeptCloud(tmp_path / "cloud.json")
    assert voyage.seen() == calm.seen()


def test_a_process_that_was_stopped_for_longer_than_its_lease_writes_nothing_when_it_goes_on(database, tmp_path):
    """SIGSTOP in the middle, a successor ends the deployment, SIGCONT: the first one finds another fence and leaves."""
    voyage = Voyage(database, "paused")
    paused = process(voyage, tmp_path, 7, AFTER, "SIGSTOP")
    try:
        os.waitid(os.P_PID, paused.pid, os.WSTOPPED | os.WNOWAIT)
        voyage.sail()
        assert voyage.ended
        ended = (look(database, voyage.deployment_id), voyage.outcomes())
        paused.send_signal(signal.SIGCONT)
        assert paused.wait(60) == LOST
        assert (look(database, voyage.deployment_id), voyage.outcomes()) == ended
    finally:
        paused.kill()
        paused.wait()


def process(voyage, folder, last, when, name):
    """A worker in a process of its own, which sends itself a signal at the given boundary."""
    arguments = [voyage.database.url, voyage.deployment_id, folder / "cloud.json", str(last), when, name]
    command = [sys.executable, HERE / "engine_mortal.py", *arguments]
    return subprocess.Popen(command, cwd=HERE.parent.parent, env={**os.environ, "PYTHONPATH": "."})


def test_a_deletion_survives_a_death_at_every_boundary(database):
    """Destructors run in parallel, and swallow errors: none may be lost, none may run twice."""

    def deleted(name, last, when):
        voyage = Voyage(database, name)
        voyage.sail()
        voyage.cloud.calls.clear()
        environment_id = environment_of(database, voyage.deployment_id)
        voyage.deployment_id = submit(database, environment_id, lock=harbour(database), kind="delete")
        count = voyage.sail(last, when)
        if look(database, voyage.deployment_id).state is not None:
            voyage.sail()
        assert look(database, voyage.deployment_id).state is None, f"killed {when} transaction {last}"
        assert voyage.cloud.stacks == {}
        return count, [call for call in voyage.cloud.calls if call[0] == "delete"]

    boundaries, calls = deleted("calm", 0, AFTER)
    assert sorted(calls) == [("delete", "ship-anna"), ("delete", "ship-berta")]
    for last in range(1, boundaries + 1):
        _count, again = deleted(f"storm {last}", last, BEFORE)
        assert set(again) == set(calls)
        assert len(again) <= len(calls) + 2, "at most those in flight are repeated"


def test_the_main_job_survives_deaths_on_its_way(database):
    """Grafana and InfluxDB on a Kubernetes cluster of four servers: a death in every seventh of the deployment."""
    lock = publish(database, *sorted(path.parent for path in BUNDLED.glob("*/manifest.yaml")))
    grafana = json.loads((BUNDLED / "examples" / "grafana-on-kubernetes.json").read_text())

    def compose(model):
        return {**model, "Objects": {**model["Objects"], "services": grafana, "defaultNetworks": NETWORKS}}

    def deploy(world, name, deaths):
        deployment_id = submit(database, new_environment(database, name=name), lock=lock, change=compose)
        mortal = MortalDatabase(database)
        for death in deaths:
            mortal = MortalDatabase(database, death, BEFORE)
            assert not carry(database, deployment_id, world, mortal)
        if not deaths:
            assert carry(database, deployment_id, world, mortal)
        elif look(database, deployment_id).state != "finished":
            assert carry(database, deployment_id, world, MortalDatabase(database))
        seen = look(database, deployment_id)
        assert seen.session_state == "deployed", seen.result
        return mortal.count, [text for _n, _level, text, _entity in seen.reports]

    calm, stormy = OnceWorld(), OnceWorld()
    boundaries, wanted = deploy(calm, "calm", [])
    _count, reports = deploy(stormy, "storm", [boundaries // 7] * 5)
    assert [text.split("http://")[0] for text in reports] == [text.split("http://")[0] for text in wanted]
    assert stormy.told() == calm.told()


class OnceWorld(recording.Recording):
    """The recording as a world with agents that carry out a plan once."""

    def __init__(self):
        super().__init__()
        self.results = {}

    def run(self, agent_id, plan_id, plan, timeout, check=None):
        if plan_id not in self.results:
            self.results[plan_id] = super().run(agent_id, plan_id, plan, timeout, check)
        return self.results[plan_id]

    def told(self):
        """What was done, without ids that differ from environment to environment."""
        return sorted((step.kind, step.type, step.details.get("plan", "")) for step in self.steps)


def environment_of(database, deployment_id):
    with database.reading() as session:
        return session.get(deployments.Deployment, deployment_id).environment_id


def _agrees_with_its_log(voyage):
    """Every ship wrote what it read at the time: no line was lost between two effects of another ship."""
    assert sorted(voyage.logbook()) == sorted(
        f"{ship} {what}" for ship in SHIPS for what in ("in", "at value of address", "done")
    )
