"""Other releases, and whatever else a worker meets that it did not make: contained, told, nothing lost."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa
from engine_harbour import deployments_on, fleet, harbour, of_harbour
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, effects_of, finished, look, new_environment, submit, texts, wait_until

import dsl
from catalog.broker import oslo_messaging
from catalog.db import base, deployments, journal
from engine import journal as engine_journal
from engine import rpc
from engine.worker import Worker, WorkerSettings

MEGABYTES = 10_000_000


def sailing(database, **more):
    environment_id = new_environment(database, name=base.new_id())
    return submit(database, environment_id, lock=harbour(database), change=of_harbour(*fleet("anna")), **more)


def change(database, deployment_id, **columns):
    with database.transaction() as session:
        for name, value in columns.items():
            setattr(session.get_one(deployments.Deployment, deployment_id), name, value)


# --- a newer release ---


@pytest.mark.parametrize(
    "columns", [{"format": deployments.FORMAT + 1}, {"kind": "snapshot"}, {"state": "paused"}], ids=str
)
def test_what_a_newer_release_has_submitted_is_left_to_its_workers(any_database, columns):
    theirs, ours = sailing(any_database), sailing(any_database)
    change(any_database, theirs, **columns)
    with any_database.reading() as session:
        assert deployments.claimable(session, 5) == [ours]
    with any_database.transaction() as session:
        assert deployments.claim(session, theirs, "worker", 30.0) is None
    assert look(any_database, theirs).reports == look(any_database, ours).reports


def test_a_deployment_that_was_begun_by_a_newer_release_is_told_of_and_goes_on_there(database, caplog, monkeypatch):
    deployment_id = sailing(database)
    change(database, deployment_id, format=deployments.FORMAT + 1, state=deployments.RUNNING, fence=3)
    worker = Worker(database, lambda held: pytest.fail("it was claimed"), WorkerSettings(poll=0.05))
    with caplog.at_level(logging.WARNING, "engine.worker"):
        worker.start()
        wait_until(lambda: "1 deployments wait for workers of a newer release" in caplog.text, what="the warning")
        worker.stop()
    monkeypatch.setattr(deployments, "FORMAT", deployments.FORMAT + 1)  # after the upgrade
    assert carry(database, deployment_id, MemoryCloud(), MortalDatabase(database))
    assert look(database, deployment_id).session_state == "deployed"


def test_taking_a_deployment_up_marks_it_as_of_this_release(database, monkeypatch):
    deployment_id = sailing(database)
    monkeypatch.setattr(deployments, "FORMAT", deployments.FORMAT + 1)
    with database.transaction() as session:
        assert deployments.claim(session, deployment_id, "newer", 0.0) == 1
    monkeypatch.undo()
    with database.reading() as session:
        assert deployments.claimable(session, 5) == []


def test_columns_that_only_a_newer_release_knows_stay_as_they_are(database):
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE deployments ADD COLUMN mood VARCHAR(16) NOT NULL DEFAULT 'calm'")
        connection.exec_driver_sql("ALTER TABLE journal ADD COLUMN weight INTEGER DEFAULT 7")
    deployment_id = sailing(database)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE deployments SET mood = 'bold'")
    assert carry(database, deployment_id, MemoryCloud(), MortalDatabase(database))
    with database.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT mood FROM deployments").scalar_one() == "bold"


def test_an_effect_that_only_a_newer_release_knows_ends_the_deployment_with_its_name(database):
    deployment_id = sailing(database)
    with database.transaction() as session:
        session.add(
            journal.JournalEntry(
                deployment_id=deployment_id, key="0/1", name="tide.turn", digest="?", arguments={}, started=base.now()
            )
        )
    cloud = MemoryCloud()
    assert carry(database, deployment_id, cloud, MortalDatabase(database))
    assert "expected 'tide.turn' as recorded" in look(database, deployment_id).result["result"]["message"]
    assert cloud.calls == []


# --- models of others ---


def test_what_murano_or_another_release_has_put_into_a_model_stays_there(database):
    def as_murano_left_it(model):
        composed = of_harbour(*fleet("anna"))(model)
        root = composed["Objects"]
        header = {**root["?"], "_26411a1861294160833743e45d0eaad9": {"name": "Harbour"}, "metadata": {"x": 1}}
        return {
            **composed,
            "Objects": {**root, "?": header, "acl": []},
            "FutureSection": {"kept": [1, 2]},
            "SystemData": {"Packages": {}, "Novelty": True},
        }

    deployment_id = submit(database, new_environment(database), lock=harbour(database), change=as_murano_left_it)
    assert carry(database, deployment_id, MemoryCloud(), MortalDatabase(database))
    seen = look(database, deployment_id)
    assert seen.session_state == "deployed", seen.result
    assert seen.model["FutureSection"] == {"kept": [1, 2]}
    assert seen.model["SystemData"]["Novelty"] is True
    header = seen.model["Objects"]["?"]  # written anew, as Murano's engine does: what is not its own is not kept
    assert header["metadata"] == {"x": 1}
    assert "_26411a1861294160833743e45d0eaad9" not in header


# --- messages ---


class Asked:
    """An endpoint on which nothing may be reached: whatever is malformed is refused before."""

    def __init__(self):
        self.woken = 0
        self.endpoint = rpc.Endpoint(None, None, {}, None, self.wake, None, None)

    def wake(self):
        self.woken += 1

    def refused(self, call, **arguments):
        with pytest.raises(oslo_messaging.ExpectedException) as raised:
            getattr(self.endpoint, call)({}, **arguments)
        kind, error, _traceback = raised.value.exc_info
        assert kind.__name__ == "MalformedMessage"
        return str(error)


LOCKED = {"fqn": "a", "version": "1", "package_id": "p", "digest": "d"}


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        ("check", {"model": "text", "lock": [], "project_id": "p"}, "model: expected a mapping, found 'text'"),
        ("check", {"model": {1: 2}, "lock": [], "project_id": "p"}, "model: expected a mapping, found a dict"),
        ("check", {"model": {}, "lock": {"a": 1}, "project_id": "p"}, "lock: expected a list of at most 10000"),
        ("check", {"model": {}, "lock": [{**LOCKED, "digest": 5}], "project_id": "p"}, "each with fqn, version"),
        ("check", {"model": {}, "lock": []}, "call check: missing a required argument: 'project_id'"),
        ("check", {"model": {}, "lock": [], "project_id": "p", "colour": 1}, "unexpected keyword argument 'colour'"),
        ("schema", {"class_name": ["x"], "lock": [], "project_id": "p"}, "class_name: expected text of at most 255"),
        ("schema", {"class_name": "x" * 10**6, "lock": [], "project_id": "p"}, "found 'xxxxx"),
        ("remove_leftover", {"project_id": "p\0", "stack_id": "s"}, "project_id: expected text"),
        ("reconcile", {"project_id": None}, "project_id: expected text of at most 255 characters, found None"),
    ],
)
def test_a_poisoned_question_is_refused_by_the_name_of_what_is_wrong(call, arguments, says):
    message = Asked().refused(call, **arguments)
    assert says in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "message", [{}, {"deployment_id": None}, {"deployment_id": {"a": [1]}}, {"deployment_id": "x" * 10**6}, {"so": "?"}]
)
def test_a_poisoned_wake_up_is_a_wake_up(message):
    """A look at the database costs little, and nothing else is done with what it says."""
    asked = Asked()
    asked.endpoint.deployment_ready({}, **message)
    assert asked.woken == 1


def test_wake_ups_that_come_again_or_for_nothing_begin_nothing_twice(database):
    begun = []
    deployments_of = deployments_on(database, MemoryCloud())

    def run(held):
        begun.append(held.deployment_id)
        deployments_of.run(held)

    worker = Worker(database, run, WorkerSettings(poll=60.0))
    asked = rpc.Endpoint(None, None, {}, None, worker.wake, None, None)
    worker.start()
    deployment_id = sailing(database)
    for name in [deployment_id, "of nobody"] * 20:
        asked.deployment_ready({}, name)
    finished(database, deployment_id)
    for _again in range(5):
        asked.deployment_ready({}, deployment_id)
    worker.stop()
    assert begun == [deployment_id]


# --- volumes ---


def test_outputs_of_ten_megabytes_are_kept_whole_or_refused_with_a_reason(any_database):
    """The package may look at none so long: that is its failure, in its own lines; the journal has what came."""
    deployment_id = sailing(any_database)
    cloud = MemoryCloud()
    cloud.outputs = lambda stack: {"address": "x" * MEGABYTES}
    assert carry(any_database, deployment_id, cloud, MortalDatabase(any_database))
    seen = look(any_database, deployment_id)
    kept = next(each for each in effects_of(any_database, deployment_id).values() if each.name == "heat.push")
    assert (kept.outcome or {}).get("address") == "x" * MEGABYTES
    assert seen.session_state == "deploy failure"
    assert "memory" in seen.result["result"]["message"]


def test_an_answer_that_the_database_does_not_take_is_the_effect_s_failure(database, monkeypatch):
    monkeypatch.setattr(database, "largest", 1000)
    deployment_id = sailing(database)
    cloud = MemoryCloud()
    cloud.outputs = lambda stack: {"address": "x" * 2000}
    assert carry(database, deployment_id, cloud, MortalDatabase(database))
    seen = look(database, deployment_id)
    assert "heat.push: expected an answer of at most 1000 bytes" in seen.result["result"]["message"]
    assert seen.session_state == "deploy failure"


def test_a_reason_of_ten_megabytes_is_told_in_part_and_says_so(any_database):
    def refuse(name, arguments):
        raise dsl.SystemFailure(("OSError",), "\0 no quota " * (MEGABYTES // 11))

    deployment_id = sailing(any_database)
    assert carry(any_database, deployment_id, MemoryCloud(before=refuse), MortalDatabase(any_database))
    seen = look(any_database, deployment_id)
    assert seen.session_state == "deploy failure"
    assert len(seen.result["result"]["message"]) < 110_000
    assert "more characters are left out)" in seen.result["result"]["message"]
    assert all(len(text) < 110_000 for text in texts(any_database, deployment_id))


def test_what_can_not_be_written_at_the_end_does_not_keep_a_deployment_from_ending(database, monkeypatch):
    deployment_id = sailing(database)
    with database.transaction() as session:
        fence = deployments.claim(session, deployment_id, "worker", 30.0)
    held = engine_journal.lease.Lease(database, deployment_id, "worker", fence, seconds=30.0)
    kept = engine_journal.Journal(held)
    drawn = dsl.Effect(key="0/1", name="random.id", arguments={}, location=None, object_id=None)
    kept.keep(drawn, engine_journal.Recorded(outcome="x"))
    real = journal.enter

    def refuse(session, rows):
        if rows:
            raise sa.exc.DataError("INSERT", {}, Exception("value too long"))
        real(session, rows)

    monkeypatch.setattr(journal, "enter", refuse)
    kept.end(lambda session: setattr(session.get_one(deployments.Deployment, deployment_id), "state", "finished"))
    assert look(database, deployment_id).state == "finished"
