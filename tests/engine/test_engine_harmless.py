"""What fails before it can begin destroys nothing: each such failure on an environment that runs, and the cloud then.

In each the composition also takes a ship away, which a deployment that gets through would destroy.
"""

from __future__ import annotations

import copy

import pytest
from engine_harbour import deployments_on, fleet, harbour, of_harbour
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, look, new_environment, submit

from catalog.db import contents, deployments, environments
from engine import lease, packages
from engine.clouds import ports

ANNA, BERTA = fleet("anna", "berta")


class Port:
    """A harbour with two ships in it, one of which is about to go."""

    def __init__(self, database):
        self.database = database
        self.cloud = MemoryCloud()
        self.lock = harbour(database)
        self.environment_id = new_environment(database)
        first = self.submit(ANNA, BERTA)
        assert carry(database, first, self.cloud, MortalDatabase(database))
        assert look(database, first).session_state == "deployed"
        self.runner = deployments_on(database, self.cloud)

    def submit(self, *ships, **fields):
        given = {"lock": self.lock, **fields}
        return submit(self.database, self.environment_id, change=of_harbour(*ships), **given)

    def run(self, deployment_id):
        with self.database.transaction() as session:
            fence = deployments.claim(session, deployment_id, "worker", 600.0)
        with lease.Lease(self.database, deployment_id, "worker", fence, seconds=600.0) as held:
            self.runner.run(held)
        return look(self.database, deployment_id)

    def known(self):
        """The ids of the ships that a next deployment would know of, and destroy if they are composed no more."""
        with self.database.reading() as session:
            model = environments.get(session, self.environment_id).model
        return {ship["?"]["id"] for ship in model["ObjectsCopy"]["applications"]}


@pytest.fixture
def port(database):
    return Port(database)


def refuses(port, message, monkeypatch):
    def refused(_context):
        raise ports.CloudError(message)

    monkeypatch.setattr(port.runner, "_clouds", refused)
    return port.submit(BERTA)


def a_model_that_does_not_load(port, monkeypatch):
    return port.submit({**BERTA, "cargo": "a lot"})


def a_class_that_is_not_there(port, monkeypatch):
    return port.submit(BERTA, {"?": {"type": "harbour.Submarine", "id": "x"}, "name": "x"})


def a_package_that_is_gone(port, monkeypatch):
    return port.submit(BERTA, lock=[*port.lock[:1], {**port.lock[1], "package_id": "0" * 32, "digest": "0" * 64}])


def a_package_with_other_content(port, monkeypatch):
    return port.submit(BERTA, lock=[{**entry, "digest": "0" * 64} for entry in port.lock])


def a_store_that_gives_nonsense(port, monkeypatch):
    monkeypatch.setattr(packages.PackageStore, "_content", lambda *_: b"no archive")
    monkeypatch.setattr(port.runner, "_store", packages.PackageStore(port.database))
    return port.submit(BERTA)


def a_trust_that_is_refused(port, monkeypatch):
    return refuses(port, "Keystone refuses the trust t1: it was deleted", monkeypatch)


def a_cloud_that_does_not_answer(port, monkeypatch):
    def away(name, arguments):
        raise ports.CloudError("no access to Heat: connection refused")

    port.cloud.before = away
    return port.submit(BERTA)


def a_plan_that_does_not_hold(port, monkeypatch):
    return port.submit(BERTA, plan={"hash": "0" * 64, "moment": None})


def a_cancel_before_it_began(port, monkeypatch):
    deployment_id = port.submit(BERTA)
    with port.database.transaction() as session:
        deployments.cancel(session, deployment_id)
    return deployment_id


def workers_that_die(port, monkeypatch):
    deployment_id = port.submit(BERTA)
    with port.database.transaction() as session:
        session.get_one(deployments.Deployment, deployment_id).fence = 100
    return deployment_id


def a_fault_of_ours(port, monkeypatch):
    monkeypatch.setattr(port.runner, "runtime", lambda *_: 1 / 0)
    return port.submit(BERTA)


FAILURES = {
    a_model_that_does_not_load: "cargo",
    a_class_that_is_not_there: "harbour.Submarine",
    a_package_that_is_gone: "package harbour",
    a_package_with_other_content: "package",
    a_store_that_gives_nonsense: "",
    a_trust_that_is_refused: "Keystone refuses the trust t1",
    a_cloud_that_does_not_answer: "no access to Heat",
    a_plan_that_does_not_hold: "Nothing was changed",
    a_cancel_before_it_began: "cancelled before it began",
    workers_that_die: "taken up 100 times",
    a_fault_of_ours: "Internal error: ZeroDivisionError",
}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: each.__name__)
def test_nothing_is_destroyed_by(port, monkeypatch, failure):
    before, calls = copy.deepcopy(port.cloud.stacks), list(port.cloud.calls)
    deployment_id = failure(port, monkeypatch)
    seen = port.run(deployment_id)
    assert seen.result["isException"]
    assert FAILURES[failure] in seen.result["result"]["message"]
    assert port.cloud.stacks == before
    assert port.cloud.calls == calls, "the cloud was asked to change something"
    if failure is not a_cloud_that_does_not_answer:  # whose destructors have run, for nothing; the failure says so
        assert port.known() == {"anna", "berta"}
    monkeypatch.undo()
    port.cloud.before = None
    port.runner = deployments_on(port.database, port.cloud)
    again = port.run(port.submit(BERTA))
    assert again.session_state == "deployed", again.result


def test_a_store_that_is_away_is_waited_for_and_destroys_nothing(port, monkeypatch):
    """... by the deployment that then goes on as if nothing had been."""
    real, left = packages.PackageStore._content, [2]

    def content(store, package_id):
        left[0] -= 1
        if left[0] >= 0:
            raise contents.Unreachable("the store is away")
        assert port.cloud.stacks.keys() == {"ship-anna", "ship-berta"}
        return real(store, package_id)

    monkeypatch.setattr(packages.PackageStore, "_content", content)
    monkeypatch.setattr(port.runner, "_store", packages.PackageStore(port.database))
    assert port.run(port.submit(BERTA)).session_state == "deployed"
    assert set(port.cloud.stacks) == {"ship-berta"}
