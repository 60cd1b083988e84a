"""Deployments that are held to a plan: the worker looks before the first effect, and leaves everything as it was."""

from __future__ import annotations

import json

import pytest
from engine_harbour import CORE, HERE, deployments_on, fleet, harbour, natives, of_harbour, opened
from engine_world import (
    PROJECT,
    USER,
    MemoryCloud,
    effects_of,
    finished,
    look,
    new_environment,
    submit,
    texts,
)

import dsl
from catalog.db import deployments, environments, plans, sessions
from engine import effects, plan
from engine.lease import LeaseLost
from engine.worker import Worker, WorkerSettings


class Port:
    """A harbour in a database, with a cloud that the tests change behind its back."""

    def __init__(self, database):
        self.database = database
        self.cloud = MemoryCloud()
        self.lock = harbour(database)
        self.environment_id = new_environment(database)

    def planned(self, *ships, kind="deploy", action=None):
        """The plan of deploying these ships, kept as the API keeps it."""
        with self.database.transaction() as session:
            model = environments.get(session, self.environment_id).model
            model = of_harbour(*ships)(model) if kind == "deploy" else model
            if kind == "delete":
                model = {**model, "Objects": None}
            context = effects.Context(
                deployment_id="plan",
                environment_id=self.environment_id,
                project_id=PROJECT,
                user_id=USER,
                owner_project_id=PROJECT,
                owner_user_id=USER,
            )
            made = plan.plan(
                plan.Question(
                    library=dsl.Library([opened(CORE), opened(HERE / "harbour")]),
                    model=model,
                    action=action or (plan.deploying(self.environment_id) if kind == "deploy" else None),
                    context=context,
                    natives=natives(),
                    key=b"",
                    base=self.cloud.cloud(),
                )
            )
            plans.keep(session, self.environment_id, made["hash"], made["moment"], made["steps"])
        return {"hash": made["hash"], "moment": made["moment"]}

    def deployed(self, *ships, held=None, **asked):
        change = of_harbour(*ships) if ships else None
        deployment_id = submit(self.database, self.environment_id, lock=self.lock, change=change, plan=held, **asked)
        self.work(deployment_id)
        return deployment_id

    def work(self, deployment_id):
        worker = Worker(self.database, deployments_on(self.database, self.cloud).run, WorkerSettings(poll=0.02))
        worker.start()
        try:
            return finished(self.database, deployment_id)
        finally:
            worker.stop(5)

    def environment(self):
        with self.database.reading() as session:
            row = environments.get(session, self.environment_id)
            return row and (row.version, row.model, environments.status(session, row.id))


@pytest.fixture
def port(database):
    return Port(database)


def test_a_plan_that_still_holds_is_carried_out(port):
    held = port.planned(*fleet("anna"))
    seen = look(port.database, port.deployed(*fleet("anna"), held=held))
    assert (seen.state, seen.session_state) == ("finished", "deployed")
    assert set(port.cloud.stacks) == {"ship-anna"}


def test_a_cloud_that_moved_refuses_and_the_session_can_be_deployed_again(port):
    held = port.planned(*fleet("anna"))
    port.cloud.stacks["ship-anna"] = {"resources": {"hull": {"type": "OS::Nova::Server", "properties": {"cargo": 7}}}}
    before, calls = port.environment(), list(port.cloud.calls)
    deployment_id = port.deployed(*fleet("anna"), held=held)
    seen = look(port.database, deployment_id)
    assert seen.result["isException"]
    message = seen.result["result"]["message"]
    assert message.startswith(f"The plan {held['hash'][:12]} does not hold any more: ")
    assert "Nothing was changed" in message
    moved = json.loads(seen.result["result"]["details"])
    sides = [(each["planned"] or {}, each["now"] or {}) for each in moved["differences"]]
    assert ("create", "update") in [(planned.get("kind"), now.get("kind")) for planned, now in sides]
    assert seen.session_state == sessions.OPENED
    assert texts(port.database, deployment_id)[-1] == "Nothing was deployed"
    assert port.cloud.calls == calls
    assert effects_of(port.database, deployment_id) == {}
    assert port.environment()[:2] == before[:2]
    with port.database.transaction() as session:
        row = session.get_one(sessions.Session, session.get_one(deployments.Deployment, deployment_id).session_id)
        assert sessions.is_valid(session, row, before[0])
    again = port.deployed(*fleet("anna"), held=port.planned(*fleet("anna")))
    assert look(port.database, again).session_state == "deployed"


def test_a_package_that_is_gone_refuses(port):
    held = port.planned(*fleet("anna"))
    port.lock = [{**entry, "package_id": "gone"} for entry in port.lock]
    seen = look(port.database, port.deployed(*fleet("anna"), held=held))
    assert seen.session_state == sessions.OPENED
    assert port.cloud.calls == []


def test_a_deployment_that_has_begun_goes_on_though_its_own_work_differs_from_the_plan(port):
    held = port.planned(*fleet("anna"))
    deployment_id = submit(
        port.database, port.environment_id, lock=port.lock, change=of_harbour(*fleet("anna")), plan=held
    )

    def die(name, _arguments):
        if name == "run":
            port.cloud.before = None
            raise LeaseLost("the worker loses its lease")

    port.cloud.before = die
    seen = port.work(deployment_id)
    assert seen.session_state == "deployed"
    assert set(port.cloud.stacks) == {"ship-anna"}


def test_a_deployment_cancelled_before_its_plan_was_compared_leaves_everything(port):
    held = port.planned(*fleet("anna"))
    deployment_id = submit(
        port.database, port.environment_id, lock=port.lock, change=of_harbour(*fleet("anna")), plan=held
    )

    def cancel(stack):
        with port.database.transaction() as session:
            deployments.cancel(session, deployment_id)
        return None

    port.cloud.current = cancel
    seen = port.work(deployment_id)
    assert seen.state == "finished"
    assert "cancelled" in seen.result["result"]["message"]
    assert port.cloud.calls == []


def test_a_deletion_that_is_refused_leaves_the_environment_and_no_session(port):
    port.deployed(*fleet("anna", "berta"))
    held = port.planned(kind="delete")
    port.cloud.stacks["ship-berta"]["resources"]["new"] = {"type": "OS::Cinder::Volume"}
    version, model, status = port.environment()
    deployment_id = port.deployed(kind="delete", held=held)
    assert "new is: Delete the volume new" in look(port.database, deployment_id).result["result"]["message"]
    assert port.environment() == (version, model, status)
    assert set(port.cloud.stacks) == {"ship-anna", "ship-berta"}
    port.deployed(kind="delete", held=port.planned(kind="delete"))
    assert port.cloud.stacks == {}
    assert port.environment() is None


def test_an_action_is_held_to_its_plan_too(port):
    port.deployed(*fleet("anna"))
    action = {"object_id": "anna", "method": "load", "args": {"cargo": 5}}
    held = port.planned(kind="action", action=action)
    port.deployed(kind="action", held=held, object_id="anna", method="load", args={"cargo": 6})
    assert port.cloud.stacks["ship-anna"]["resources"]["hull"]["properties"]["cargo"] == 1
    assert port.environment()[2] == environments.READY
    port.deployed(kind="action", held=held, object_id="anna", method="load", args={"cargo": 5})
    assert port.cloud.stacks["ship-anna"]["resources"]["hull"]["properties"]["cargo"] == 5


def test_of_a_plan_that_is_not_kept_is_said_that_what_differs_is_not_known(port):
    seen = look(port.database, port.deployed(*fleet("anna"), held={"hash": "0" * 64, "moment": 1.0}))
    assert "what differs is not known" in seen.result["result"]["message"]


def test_the_newest_plans_of_an_environment_are_kept(port):
    with port.database.transaction() as session:
        for number in range(plans.KEPT + 5):
            plans.keep(session, port.environment_id, f"{number:064d}", 1.0, [])
    with port.database.reading() as session:
        kept = [number for number in range(plans.KEPT + 5) if plans.get(session, port.environment_id, f"{number:064d}")]
    assert kept == list(range(5, plans.KEPT + 5))


def test_the_key_of_an_installation_stays_the_same(port):
    first = plans.key(port.database)
    assert len(first) == 32
    assert plans.key(port.database) == first
