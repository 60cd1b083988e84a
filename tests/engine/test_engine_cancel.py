"""Cancelling at any moment: the deployment ends at once, its model is kept, nothing goes, no plan runs later."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from engine_harbour import deployments_on, fleet, harbour, of_harbour
from engine_world import PROJECT, MemoryCloud, effects_of, finished, look, new_environment, submit, texts, wait_until

from catalog.db import agents, contents, deployments
from engine import lease, packages
from engine.agents import http
from engine.clouds import services
from engine.worker import Worker, WorkerSettings

QUICK = WorkerSettings(poll=0.02, lease=0.6)
SECRET = b"a secret of the tests, 32 bytes.."


class Quay:
    """A harbour with a worker, and a cloud that stops at a kind of call until it is let go."""

    def __init__(self, database):
        self.database = database
        self.cloud = MemoryCloud()
        self.lock = harbour(database)
        self.environment_id = new_environment(database)
        self.runner = deployments_on(database, self.cloud)
        self.worker = Worker(database, lambda held: self.runner.run(held), QUICK)
        self.worker.start()
        self.reached = threading.Event()
        self.released = threading.Event()

    def submit(self, *ships, **fields):
        return submit(self.database, self.environment_id, lock=self.lock, change=of_harbour(*ships), **fields)

    def stop_at(self, *kinds):
        def stop(name, arguments):
            if name in kinds:
                self.reached.set()
                self.released.wait(300)

        self.cloud.before = stop

    def cancel(self, deployment_id):
        with self.database.transaction() as session:
            assert deployments.cancel(session, deployment_id)

    def cancelled_when(self, deployment_id, reached):
        """What is seen of a deployment that was cancelled when it had come so far."""
        wait_until(reached, what="the moment to cancel")
        self.cancel(deployment_id)
        seen = finished(self.database, deployment_id)
        assert seen.session_state == "deploy failure"
        assert seen.result["result"]["message"] == "The deployment was cancelled."
        return seen


@pytest.fixture
def quay(database):
    made = Quay(database)
    yield made
    made.released.set()
    made.worker.stop(10)


def names(seen):
    return [ship["name"] for ship in seen.model["Objects"]["services"]]


def test_while_packages_are_fetched(quay, monkeypatch):
    def unreachable(_store, _package_id):
        quay.reached.set()
        raise contents.Unreachable("the store is away")

    monkeypatch.setattr(packages.PackageStore, "_content", unreachable)
    quay.runner = deployments_on(quay.database, quay.cloud)
    monkeypatch.setattr(quay.runner, "_store", packages.PackageStore(quay.database))
    deployment_id = quay.submit(*fleet("anna"))
    seen = quay.cancelled_when(deployment_id, quay.reached.is_set)
    assert names(seen) == ["anna"]
    assert quay.cloud.calls == []


def test_while_a_program_computes(quay):
    deployment_id = quay.submit(*fleet("anna"), method="toil")
    seen = quay.cancelled_when(deployment_id, lambda: "Toiling" in texts(quay.database, deployment_id))
    assert names(seen) == ["anna"]


def test_while_it_sleeps(quay):
    deployment_id = quay.submit(*fleet("anna"), method="rest")
    seen = quay.cancelled_when(
        deployment_id,
        lambda: [each for each in effects_of(quay.database, deployment_id).values() if each.name == "sleep"],
    )
    assert names(seen) == ["anna"]


@pytest.mark.parametrize("ships", [("anna",), ("anna", "berta", "clara")], ids=["alone", "in parallel"])
@pytest.mark.parametrize("kind", ["push", "run"])
def test_while_clouds_and_agents_work(quay, kind, ships):
    quay.stop_at(kind)
    deployment_id = quay.submit(*fleet(*ships))
    seen = quay.cancelled_when(deployment_id, quay.reached.is_set)
    assert names(seen) == list(ships)
    assert not [call for call in quay.cloud.calls if call[0] == "delete"]
    quay.cloud.before = None
    quay.released.set()
    again = submit(quay.database, quay.environment_id, lock=quay.lock)
    assert finished(quay.database, again).session_state == "deployed"


def test_while_what_was_taken_away_is_destroyed(quay):
    """The ship that is to go stays in ObjectsCopy, for the next deployment to destroy."""
    finished(quay.database, quay.submit(*fleet("anna", "berta")))
    quay.stop_at("delete")
    deployment_id = quay.submit(*fleet("berta"))
    seen = quay.cancelled_when(deployment_id, quay.reached.is_set)
    assert names(seen) == ["berta"]
    assert [ship["name"] for ship in seen.model["ObjectsCopy"]["applications"]] == ["anna", "berta"]
    assert set(quay.cloud.stacks) == {"ship-anna", "ship-berta"}


def test_while_what_is_left_over_is_destroyed(quay):
    finished(quay.database, quay.submit(*fleet("anna")))
    quay.stop_at("delete")
    deployment_id = quay.submit(*fleet("anna"), kind="action", method="retire")
    quay.cancelled_when(deployment_id, quay.reached.is_set)
    assert set(quay.cloud.stacks) == {"ship-anna", "ship-ghost"}


def test_what_the_program_let_go_of_is_destroyed_by_the_next_deployment(quay):
    [tender] = fleet("tender")

    def with_tender(model):
        return {
            **of_harbour(*fleet("anna"))(model),
            "Objects": {**of_harbour(*fleet("anna"))(model)["Objects"], "tender": tender},
        }

    change = {"lock": quay.lock, "change": with_tender}
    finished(
        quay.database,
        submit(
            quay.database,
            quay.environment_id,
            object_id="tender",
            method="load",
            args={"cargo": 1},
            kind="action",
            **change,
        ),
    )
    assert set(quay.cloud.stacks) == {"ship-tender"}
    deployment_id = submit(quay.database, quay.environment_id, method="dismiss", kind="action", lock=quay.lock)
    seen = quay.cancelled_when(
        deployment_id,
        lambda: [each for each in effects_of(quay.database, deployment_id).values() if each.name == "sleep"],
    )
    assert seen.model["Objects"]["tender"] is None
    assert seen.model["ObjectsCopy"]["tender"]["?"]["id"] == "tender"
    finished(quay.database, submit(quay.database, quay.environment_id, lock=quay.lock))
    assert set(quay.cloud.stacks) == {"ship-anna"}


def test_during_an_outage_of_the_database(quay, monkeypatch):
    """It is seen when the database is back, before anything else happens."""
    real, away = deployments.hold, threading.Event()

    def hold(*arguments):
        if away.is_set():
            quay.reached.set()
            raise sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return real(*arguments)

    monkeypatch.setattr(deployments, "hold", hold)
    monkeypatch.setattr(
        deployments, "hold_all", lambda session, owner, fences, seconds: dict.fromkeys(fences, "running")
    )
    deployment_id = quay.submit(*fleet("anna"))
    quay.cloud.before = lambda name, arguments: away.set()
    wait_until(quay.reached.is_set)
    quay.cancel(deployment_id)
    away.clear()
    quay.cloud.before = None
    seen = finished(quay.database, deployment_id)
    assert seen.result["result"]["message"] == "The deployment was cancelled."
    assert [name for name, *_ in quay.cloud.calls] == ["push"]


def test_a_plan_that_no_agent_has_answered_is_withdrawn(quay):
    ways = http.HttpAgents(database=quay.database, url="http://chandlery.example", secret=SECRET)
    quay.runner._clouds = lambda _context: services.Cloud(orchestration=quay.cloud, agents=ways)
    agent_id = ways.register(quay.environment_id, PROJECT, "anna")["agent_id"]
    deployment_id = quay.submit(*fleet("anna"))

    def plans():
        with quay.database.reading() as session:
            return list(session.scalars(sa.select(agents.AgentPlan).where(agents.AgentPlan.agent_id == agent_id)))

    quay.cancelled_when(deployment_id, plans)
    [plan] = plans()
    assert plan.state == agents.WITHDRAWN
    with quay.database.reading() as session:
        assert agents.next_plan(session, agent_id) is None


def test_a_deployment_that_takes_too_long_ends_like_a_cancelled_one_with_the_reason(quay):
    quay.runner = deployments_on(quay.database, quay.cloud, deployment_timeout=0.3)
    quay.stop_at("run")
    seen = finished(quay.database, quay.submit(*fleet("anna")))
    assert seen.session_state == "deploy failure"
    assert "has taken 0.3 s, the most one may take ([engine] deployment_timeout)" in seen.result["result"]["message"]
    assert names(seen) == ["anna"]
    assert set(quay.cloud.stacks) <= {"ship-anna"}


def test_the_time_of_a_deployment_counts_from_its_first_worker(database):
    cloud = MemoryCloud()
    deployment_id = submit(
        database, new_environment(database), lock=harbour(database), change=of_harbour(*fleet("anna"))
    )
    with database.transaction() as session:
        fence = deployments.claim(session, deployment_id, "first", 30.0)
        row = session.get_one(deployments.Deployment, deployment_id)
        row.started -= deployments.datetime.timedelta(hours=2)
    held = lease.Lease(database, deployment_id, "first", fence, seconds=30.0)
    with held:
        deployments_on(database, cloud, deployment_timeout=3600.0).run(held)
    assert "deployment_timeout" in look(database, deployment_id).result["result"]["message"]
    assert cloud.calls == []
