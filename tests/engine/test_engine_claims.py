"""Whose deployment is next: projects take turns, limits hold on all workers together, dead holders are found out."""

from __future__ import annotations

import threading

import pytest
from engine_world import let_the_lease_run_out, look, new_environment, submit, wait_until

from catalog.db import deployments
from engine import closing, worker
from engine.worker import Worker, WorkerSettings


def waiting(database, project, number=1):
    """Deployments of a project that wait for a worker, oldest first."""
    ids = [submit(database, new_environment(database, name=f"{project}-{n}")) for n in range(number)]
    with database.transaction() as session:
        for each in ids:
            session.get_one(deployments.Deployment, each).project_id = project
    return ids


def offered(database, limit=100, project_limit=0):
    with database.reading() as session:
        return deployments.claimable(session, limit, project_limit)


def claim(database, deployment_id, **more):
    with database.transaction() as session:
        return deployments.claim(session, deployment_id, "somebody", 600.0, **more)


def test_projects_take_turns_however_much_one_of_them_wants(any_database):
    first, second, third = waiting(any_database, "greedy", 3)
    (modest,) = waiting(any_database, "modest")
    assert offered(any_database) == [first, modest, second, third]


def test_a_project_that_runs_much_already_waits_for_those_that_run_nothing(any_database):
    busy = waiting(any_database, "busy", 3)
    late = waiting(any_database, "late", 2)
    claim(any_database, busy[0])
    assert offered(any_database) == [late[0], busy[1], late[1], busy[2]]
    claim(any_database, late[0])
    assert offered(any_database) == [busy[1], late[1], busy[2]]


def test_no_more_of_a_project_is_offered_than_its_limit(any_database):
    many = waiting(any_database, "many", 4)
    (other,) = waiting(any_database, "other")
    assert offered(any_database, project_limit=2) == [many[0], other, many[1]]
    claim(any_database, many[0])
    assert offered(any_database, project_limit=2) == [other, many[1]]
    claim(any_database, many[1])
    assert offered(any_database, project_limit=2) == [other]


def test_workers_that_claim_at_the_same_time_do_not_exceed_the_limit_of_a_project(any_database):
    """Each has seen the same offer; the limit holds nevertheless."""
    many = waiting(any_database, "many", 8)
    barrier, fences = threading.Barrier(8), []

    def work(deployment_id):
        barrier.wait()
        fences.append(claim(any_database, deployment_id, project_limit=3))

    claimers = [threading.Thread(target=work, args=(each,)) for each in many]
    for claimer in claimers:
        claimer.start()
    for claimer in claimers:
        claimer.join()
    assert len(fences) == 8
    assert sum(fence is not None for fence in fences) == 3


def test_a_deployment_whose_worker_died_counts_for_its_project_when_it_is_taken_over(any_database):
    first, second = waiting(any_database, "many", 2)
    claim(any_database, first, project_limit=1)
    assert claim(any_database, second, project_limit=1) is None
    let_the_lease_run_out(any_database, first)
    assert offered(any_database, project_limit=1) == [first]
    assert claim(any_database, first, project_limit=1) == 2


def test_a_row_that_somebody_has_locked_is_passed_by(any_database):
    """Its worker writes at the moment, or was stopped in the middle of it."""
    if any_database.is_sqlite:
        pytest.skip("SQLite has one lock for everything")
    locked, free = waiting(any_database, "project", 2)
    with any_database.transaction() as session:
        session.execute(
            deployments.sa.update(deployments.Deployment)
            .where(deployments.Deployment.id == locked)
            .values(updated=deployments.now())
        )
        assert claim(any_database, locked) is None
        assert claim(any_database, free) == 1
    assert claim(any_database, locked) == 1


def test_a_holder_that_is_silent_loses_a_lease_that_seems_to_last_for_an_hour(any_database, monkeypatch):
    """The database's clock was set back after the holder's last renewal."""
    monkeypatch.setattr(worker, "SILENT", 0.01)
    (deployment_id,) = waiting(any_database, "project")
    with any_database.transaction() as session:
        deployments.claim(session, deployment_id, "a worker that died", 3600.0)

    def run(held):
        held.write(lambda session: closing.close(session, held.deployment_id, closing.Ending()))

    successor = Worker(any_database, run, WorkerSettings(poll=0.05, lease=6.0))
    successor.start()
    wait_until(lambda: look(any_database, deployment_id).state == deployments.FINISHED, what="the end")
    successor.stop()


def test_a_lease_that_was_renewed_is_not_stale(any_database):
    (deployment_id,) = waiting(any_database, "project")
    with any_database.transaction() as session:
        fence = deployments.claim(session, deployment_id, "alive", 600.0)
    with any_database.reading() as session:
        (seen,) = deployments.held(session)
    assert seen.deployment_id == deployment_id
    assert 0 < seen.left <= 600.0
    with any_database.transaction() as session:
        assert deployments.hold(session, deployment_id, "alive", fence, 601.0) == deployments.RUNNING
    assert claim(any_database, deployment_id, stale=seen.sign) is None
    with any_database.reading() as session:
        (seen,) = deployments.held(session)
    assert claim(any_database, deployment_id, stale=seen.sign) == 2
