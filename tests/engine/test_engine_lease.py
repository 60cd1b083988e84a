"""Claiming, renewing, fencing: who may write to a deployment."""

from __future__ import annotations

import threading

import pytest
from engine_world import finished, let_the_lease_run_out, look, new_environment, submit, texts, wait_until

from catalog.db import deployments, statuses
from engine import lease


def claim(database, deployment_id, owner="worker-1", seconds=30.0):
    with database.transaction() as session:
        return deployments.claim(session, deployment_id, owner, seconds)


def held(database, deployment_id, owner="worker-1", seconds=30.0, **more):
    fence = claim(database, deployment_id, owner, seconds)
    assert fence is not None
    return lease.Lease(database, deployment_id, owner, fence, seconds=seconds, **more)


def expiry(database, deployment_id):
    with database.reading() as session:
        return session.get_one(deployments.Deployment, deployment_id).lease_expires


def report(text):
    def work(session):
        deployment = session.scalars(deployments.sa.select(deployments.Deployment)).first()
        statuses.add(session, deployment.id, deployment.environment_id, text=text)

    return work


def test_a_deployment_is_claimed_by_one_worker_only(any_database):
    deployment_id = submit(any_database, new_environment(any_database))
    assert claim(any_database, deployment_id, "worker-1") == 1
    assert claim(any_database, deployment_id, "worker-2") is None
    assert look(any_database, deployment_id).state == deployments.RUNNING


def test_many_workers_at_once_claim_each_deployment_exactly_once(any_database):
    wanted = {submit(any_database, new_environment(any_database, name=f"env-{n}")) for n in range(6)}
    claimed: list[str] = []

    def work(name):
        for deployment_id in wanted:
            if claim(any_database, deployment_id, name) is not None:
                claimed.append(deployment_id)

    workers = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(wanted)


def test_a_lease_that_ran_out_is_claimed_with_the_next_fence(any_database):
    deployment_id = submit(any_database, new_environment(any_database))
    assert claim(any_database, deployment_id, "worker-1") == 1
    assert claim(any_database, deployment_id, "worker-2") is None
    let_the_lease_run_out(any_database, deployment_id)
    with any_database.reading() as session:
        assert deployments.claimable(session, 5) == [deployment_id]
    assert claim(any_database, deployment_id, "worker-2") == 2


def test_a_renewed_lease_does_not_run_out(database):
    deployment_id = submit(database, new_environment(database))
    with held(database, deployment_id, seconds=3.0):
        first = expiry(database, deployment_id)
        wait_until(lambda: expiry(database, deployment_id) > first)
        assert claim(database, deployment_id, "worker-2") is None


def test_a_fenced_out_worker_writes_nothing(any_database):
    deployment_id = submit(any_database, new_environment(any_database))
    paused = held(any_database, deployment_id, "paused")
    let_the_lease_run_out(any_database, deployment_id)
    successor = held(any_database, deployment_id, "successor")
    with pytest.raises(lease.LeaseLost, match="fence 1 is lost"):
        paused.write(report("from the grave"))
    successor.write(report("alive"))
    assert texts(any_database, deployment_id) == ["Action deploy is scheduled", "alive"]
    with pytest.raises(lease.LeaseLost):
        paused.check()


def test_a_worker_that_comes_late_but_was_not_replaced_goes_on(database):
    deployment_id = submit(database, new_environment(database))
    late = held(database, deployment_id)
    let_the_lease_run_out(database, deployment_id)
    late.write(report("late"))
    assert claim(database, deployment_id, "worker-2") is None or pytest.fail("the write should have renewed the lease")


def test_a_lease_given_back_is_claimed_at_once(database):
    deployment_id = submit(database, new_environment(database))
    held(database, deployment_id).release()
    assert claim(database, deployment_id, "worker-2") == 2


def test_a_service_that_is_alone_gives_the_leases_of_its_predecessor_back_at_once(any_database):
    """The all-in-one holds its data directory: whoever had a lease there is dead."""
    held_ids = [submit(any_database, new_environment(any_database, name=f"env-{n}")) for n in range(2)]
    done_id = submit(any_database, new_environment(any_database, name="done"))
    for deployment_id in held_ids:
        dead = held(any_database, deployment_id, seconds=600.0)
    with any_database.transaction() as session:
        session.get(deployments.Deployment, done_id).state = deployments.FINISHED
    with any_database.reading() as session:
        assert deployments.claimable(session, 5) == []
    with any_database.transaction() as session:
        deployments.release_all(session)
    with any_database.reading() as session:
        assert deployments.claimable(session, 5) == held_ids
    with pytest.raises(lease.LeaseLost):
        dead.write(report("from the grave"))


def test_cancellation_reaches_the_holder_by_renewal(database):
    deployment_id = submit(database, new_environment(database))
    with held(database, deployment_id, seconds=0.2) as mine:
        interrupted = threading.Event()
        with mine.watched(interrupted.set):
            with database.transaction() as session:
                assert deployments.cancel(session, deployment_id)
            assert interrupted.wait(60)
        with pytest.raises(lease.Cancelled):
            mine.check()
        mine.write(report("a cancelled deployment may still write its ending"))


def test_what_has_finished_can_not_be_cancelled(database):
    deployment_id = submit(database, new_environment(database))
    with database.transaction() as session:
        session.get(deployments.Deployment, deployment_id).state = deployments.FINISHED
    with database.transaction() as session:
        assert not deployments.cancel(session, deployment_id)
        assert not deployments.cancel(session, "no-such-deployment")
    assert finished(database, deployment_id).state == deployments.FINISHED


def test_deployments_of_one_environment_run_one_after_the_other(database):
    environment_id = new_environment(database)
    first, second = submit(database, environment_id), submit(database, environment_id)
    other = submit(database, new_environment(database, name="other"))
    with database.reading() as session:
        assert deployments.claimable(session, 5) == [first, other]
    with database.transaction() as session:
        session.get(deployments.Deployment, first).state = deployments.FINISHED
    with database.reading() as session:
        assert deployments.claimable(session, 5) == [second, other]


def test_an_abandoned_environment_takes_the_lease_with_it(database):
    environment_id = new_environment(database)
    deployment_id = submit(database, environment_id)
    mine = held(database, deployment_id)
    with database.transaction() as session:
        session.execute(deployments.sa.text("DELETE FROM environments WHERE id = :id"), {"id": environment_id})
    with pytest.raises(lease.LeaseLost):
        mine.write(report("to nobody"))
    assert look(database, deployment_id).state is None


def test_an_outage_of_the_database_is_waited_out(database, monkeypatch):
    deployment_id = submit(database, new_environment(database))
    mine = held(database, deployment_id)
    failures = iter([True, True, False])
    real = deployments.hold

    def hold(session, *arguments):
        if next(failures, False):
            raise deployments.sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return real(session, *arguments)

    monkeypatch.setattr(deployments, "hold", hold)
    mine.write(report("after the outage"))
    assert texts(database, deployment_id)[-1] == "after the outage"


def test_a_worker_that_stops_does_not_wait_for_a_database_that_is_away(database, monkeypatch):
    draining = threading.Event()
    deployment_id = submit(database, new_environment(database))
    mine = held(database, deployment_id, draining=draining)

    def hold(*_arguments):
        raise deployments.sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))

    monkeypatch.setattr(deployments, "hold", hold)
    threading.Timer(0.3, draining.set).start()
    with pytest.raises(lease.Draining):
        mine.write(report("never"))


def test_a_missing_table_is_an_error_and_not_an_outage(database):
    deployment_id = submit(database, new_environment(database))
    with database.transaction() as session:
        session.execute(deployments.sa.text("DROP TABLE statuses"))
    with pytest.raises(deployments.sa.exc.OperationalError, match="no such table"):
        held(database, deployment_id).write(report("nowhere"))
