"""Workers: finding work, sharing it, stopping, dying."""

from __future__ import annotations

import threading
import time

import pytest
from engine_world import let_the_lease_run_out, look, new_environment, submit, texts, wait_until

from catalog.db import base, deployments, journal, statuses
from engine import closing, lease
from engine.worker import Worker, WorkerSettings

FAST = WorkerSettings(concurrency=4, poll=0.05, lease=60.0)  # longer than any pause of a busy machine


@pytest.fixture
def workers():
    started = []

    def start(database, run, settings=FAST):
        worker = Worker(database, run, settings)
        worker.start()
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop(60)


def finish(held, **ending):
    held.write(lambda session: closing.close(session, held.deployment_id, closing.Ending(**ending)))


def ended(database, *ids):
    wait_until(lambda: all(look(database, each).state == deployments.FINISHED for each in ids), what="the end")


def test_a_queued_deployment_is_found_without_a_message(database, workers):
    deployment_id = submit(database, new_environment(database))
    workers(database, finish)
    ended(database, deployment_id)


def test_a_wake_up_makes_a_worker_look_at_once(database, workers):
    worker = workers(database, finish, WorkerSettings(poll=60.0))
    time.sleep(0.2)
    deployment_id = submit(database, new_environment(database))
    worker.wake()
    ended(database, deployment_id)


def test_several_workers_run_every_deployment_once(any_database, workers):
    ran = []

    def run(held):
        ran.append(held.deployment_id)
        finish(held)

    ids = [submit(any_database, new_environment(any_database, name=f"env-{n}")) for n in range(8)]
    for _ in range(3):
        workers(any_database, run)
    ended(any_database, *ids)
    assert sorted(ran) == sorted(ids)


def test_a_worker_runs_at_most_so_many_at_a_time(database, workers):
    running, most, mutex, two = 0, 0, threading.Lock(), threading.Barrier(2)

    def run(held):
        nonlocal running, most
        with mutex:
            running += 1
            most = max(most, running)
        two.wait(60)
        with mutex:
            running -= 1
        finish(held)

    ids = [submit(database, new_environment(database, name=f"env-{n}")) for n in range(6)]
    workers(database, run, WorkerSettings(concurrency=2, poll=0.02, lease=60.0))
    ended(database, *ids)
    assert most == 2


def test_deployments_of_one_environment_do_not_overlap(database, workers):
    order = []

    def run(held):
        order.append(("begin", held.deployment_id))
        time.sleep(0.05)
        order.append(("end", held.deployment_id))
        finish(held)

    environment_id = new_environment(database)
    first, second = submit(database, environment_id), submit(database, environment_id)
    workers(database, run)
    workers(database, run)
    ended(database, first, second)
    assert order == [("begin", first), ("end", first), ("begin", second), ("end", second)]


def test_what_a_dead_worker_had_is_taken_over_when_its_lease_runs_out(database, workers):
    deployment_id = submit(database, new_environment(database))
    with database.transaction() as session:
        assert deployments.claim(session, deployment_id, "a worker that died", 600.0)
    took = []
    workers(database, lambda held: (took.append(held.deployment_id), finish(held)))
    other_id = submit(database, new_environment(database, name="other"))
    ended(database, other_id)  # the worker works, and leaves alone what another one holds
    assert took == [other_id]
    let_the_lease_run_out(database, deployment_id)
    ended(database, deployment_id)


def test_a_paused_worker_that_comes_back_after_its_lease_writes_nothing(database, workers):
    """A stopped process, a laptop's lid: the worker wakes and believes that it is still in charge."""
    deployment_id = submit(database, new_environment(database))
    with database.transaction() as session:
        fence = deployments.claim(session, deployment_id, "paused", 60.0)
    paused = lease.Lease(database, deployment_id, "paused", fence, seconds=60.0)
    let_the_lease_run_out(database, deployment_id)
    workers(database, lambda held: finish(held, value="from the successor"))
    ended(database, deployment_id)
    with pytest.raises(lease.LeaseLost):
        finish(paused, value="from the grave")
    assert look(database, deployment_id).result == {"result": "from the successor", "isException": False}


def test_stopping_gives_deployments_back_and_another_worker_ends_them(database, workers):
    begun = threading.Event()

    def run_until_drained(held):
        begun.set()
        while True:
            held.check()
            time.sleep(0.01)

    deployment_id = submit(database, new_environment(database))
    first = workers(database, run_until_drained, WorkerSettings(poll=0.05, lease=60.0))
    assert begun.wait(60)
    first.stop(60)
    assert first.running() == []
    workers(database, finish)
    ended(database, deployment_id)


def test_a_fault_of_a_worker_does_not_take_its_other_deployments_with_it(database, workers, caplog):
    failed = []

    def run(held):
        if not failed:
            failed.append(held.deployment_id)
            raise RuntimeError("a fault of the service")
        finish(held)

    ids = [submit(database, new_environment(database, name=f"env-{n}")) for n in range(3)]
    workers(database, run)
    ended(database, *ids)
    assert "a fault of the service" in caplog.text


def test_a_worker_survives_a_database_that_is_away_for_a_while(database, workers, monkeypatch):
    real, away = deployments.claimable, [True]

    def claimable(session, limit, *more):
        if away[0]:
            raise deployments.sa.exc.OperationalError("SELECT", {}, Exception("connection refused"))
        return real(session, limit, *more)

    monkeypatch.setattr(deployments, "claimable", claimable)
    deployment_id = submit(database, new_environment(database))
    workers(database, finish)
    time.sleep(0.2)
    away[0] = False
    ended(database, deployment_id)


def test_old_journals_are_removed_and_reports_kept(database, workers):
    deployment_id = submit(database, new_environment(database))
    worker = workers(database, lambda held: (held.write(remember), finish(held)), WorkerSettings(keep_journals=0.0))

    def remember(session):
        session.add(
            journal.JournalEntry(
                deployment_id=deployment_id, key="0/1", name="clock.now", digest="", arguments={}, started=base.now()
            )
        )

    worker.wake()
    ended(database, deployment_id)
    time.sleep(0.01)
    assert worker.prune() == 1
    assert texts(database, deployment_id) == ["Action deploy is scheduled", "Deployment finished"]
    with database.reading() as session:
        assert statuses.levels(session, [deployment_id]) == {deployment_id: {"info": 2}}
