"""Deployments from their row to their ending, on the real language and database, and a cloud that remembers."""

from __future__ import annotations

import pytest
from engine_harbour import CORE, deployments_on, fleet, harbour, of_harbour, publish
from engine_world import MemoryCloud, finished, look, new_environment, submit, texts, wait_until

import dsl
from catalog.db import base, deployments, environments, packages, resources
from engine.clouds import ports
from engine.worker import Worker, WorkerSettings

FAST = WorkerSettings(poll=0.02, lease=2.0)


class Port:
    """A harbour, its cloud, and workers on demand."""

    def __init__(self, database):
        self.database = database
        self.cloud = MemoryCloud()
        self.lock = harbour(database)
        self.environment_id = new_environment(database)
        self._worker = None

    def submit(self, *ships, **fields):
        if ships:
            fields["change"] = of_harbour(*ships)
        return submit(self.database, self.environment_id, lock=self.lock, **fields)

    def run(self, *ships, **fields):
        deployment_id = self.submit(*ships, **fields)
        return self.end(deployment_id), deployment_id

    def end(self, deployment_id):
        self.work()
        return finished(self.database, deployment_id)

    def work(self, **settings):
        if self._worker is None:
            self._worker = Worker(self.database, deployments_on(self.database, self.cloud, **settings).run, FAST)
            self._worker.start()
        return self._worker

    def stop(self):
        if self._worker is not None:
            self._worker.stop(5)
            self._worker = None


@pytest.fixture
def port(database):
    made = Port(database)
    yield made
    made.stop()


@pytest.fixture
def any_port(any_database):
    made = Port(any_database)
    yield made
    made.stop()


def test_a_deployment_creates_reports_and_writes_back(any_port):
    seen, deployment_id = any_port.run(*fleet("anna", "berta"))
    assert seen.session_state == "deployed"
    assert seen.result["isException"] is False
    assert set(any_port.cloud.stacks) == {"ship-anna", "ship-berta"}
    said = texts(any_port.database, deployment_id)
    assert said[0] == "Action deploy is scheduled"
    assert said[-1] == "Deployment finished"
    assert sorted(said[1:-1]) == ["anna comes in", "anna is unloaded", "berta comes in", "berta is unloaded"]
    anna = seen.model["Objects"]["services"][0]
    assert anna["moored"] == "done Unload 1"
    assert anna["berth"]
    assert len(seen.model["Objects"]["log"]) == 6
    assert seen.model["ObjectsCopy"]["applications"]


def test_reports_are_visible_while_the_deployment_runs(port):
    seen_meanwhile = []
    deployment_id = port.submit(*fleet("anna"))
    port.cloud.before = lambda name, arguments: seen_meanwhile.append(texts(port.database, deployment_id)[-1])
    port.end(deployment_id)
    assert seen_meanwhile[0] == "anna comes in"


def test_an_application_that_is_taken_away_is_destroyed_first(port):
    port.run(*fleet("anna", "berta"))
    port.cloud.calls.clear()
    seen, deployment_id = port.run(*fleet("berta"))
    assert port.cloud.calls[0] == ("delete", "ship-anna")
    assert set(port.cloud.stacks) == {"ship-berta"}
    assert texts(port.database, deployment_id)[1] == "anna leaves"
    assert [ship["name"] for ship in seen.model["Objects"]["services"]] == ["berta"]


def test_an_action_gives_its_result_and_changes_the_model(port):
    port.run(*fleet("anna"))
    seen, deployment_id = port.run(kind="action", object_id="anna", method="load", args={"cargo": 7})
    assert seen.result == {"result": 7, "isException": False}
    assert seen.model["Objects"]["services"][0]["cargo"] == 7
    assert port.cloud.stacks["ship-anna"]["resources"]["hull"]["properties"]["cargo"] == 7
    assert texts(port.database, deployment_id)[0] == "Action load is scheduled"


def test_only_public_methods_are_actions(port):
    port.run(*fleet("anna"))
    seen, _id = port.run(kind="action", method="hidden")
    assert seen.result["isException"] is True
    assert seen.session_state == "deploy failure"
    assert "hidden" in seen.result["result"]["message"]


def test_an_exception_of_a_package_ends_in_failure_with_its_own_lines(port):
    port.run(*fleet("anna"))
    seen, deployment_id = port.run(kind="action", method="explode")
    assert seen.session_state == "deploy failure"
    assert seen.result["result"]["message"] == "The powder room is on fire"
    assert "harbour.TooMuchPowder" in seen.result["result"]["details"]
    assert "Environment.yaml" in seen.result["result"]["details"]
    assert texts(port.database, deployment_id)[1:] == [
        "Lighting the fuse",
        "The powder room is on fire",
        "Deployment finished with errors",
    ]
    assert [ship["name"] for ship in seen.model["Objects"]["services"]] == ["anna"]


def test_a_stack_that_fails_names_the_resource_and_keeps_the_partial_state(port):
    def refuse(name, arguments):
        if arguments.get("stack") == "ship-berta":
            raise ports.StackError("ship-berta", "no valid host was found", "hull", "OS::Nova::Server")

    port.cloud.before = refuse
    seen, _id = port.run(*fleet("anna", "berta"))
    assert seen.session_state == "deploy failure"
    assert "resource 'hull' (OS::Nova::Server): no valid host" in seen.result["result"]["message"]
    anna, berta = seen.model["Objects"]["services"]
    assert anna["moored"]
    assert berta["berth"]


def test_a_model_that_does_not_load_destroys_nothing_and_says_what_is_wrong(port):
    port.run(*fleet("anna"))
    port.cloud.calls.clear()
    seen, _id = port.run({"?": {"type": "harbour.Ship", "id": "x"}, "name": "x", "cargo": "a lot"})
    assert seen.session_state == "deploy failure"
    assert port.cloud.calls == []
    assert set(port.cloud.stacks) == {"ship-anna"}
    assert "cargo" in seen.result["result"]["message"]
    assert seen.model["Objects"]["services"][0]["name"] == "x"
    assert seen.model["ObjectsCopy"]["applications"][0]["name"] == "anna"
    seen, _id = port.run(*fleet("anna"))
    assert seen.session_state == "deployed"


def test_an_unknown_class_is_named(port):
    seen, _id = port.run({"?": {"type": "harbour.Submarine", "id": "x"}, "name": "x"})
    assert seen.session_state == "deploy failure"
    assert "harbour.Submarine" in seen.result["result"]["message"]


def test_a_package_that_left_the_catalog_is_named(port):
    with port.database.transaction() as session:
        session.execute(
            deployments.sa.delete(packages.Package).where(packages.Package.fully_qualified_name == "harbour")
        )
    seen, _id = port.run(*fleet("anna"))
    assert seen.session_state == "deploy failure"
    assert "package harbour 0.1.0" in seen.result["result"]["message"]
    assert "import it again" in seen.result["result"]["message"]


def test_deleting_an_environment_removes_its_stacks_and_then_itself(any_port):
    any_port.run(*fleet("anna", "berta"))
    any_port.run(kind="delete")
    wait_until(lambda: any_port.cloud.calls[-1] == ("forget", any_port.environment_id))
    assert any_port.cloud.stacks == {}
    with any_port.database.reading() as session:
        assert environments.get(session, any_port.environment_id) is None


class Trust:
    """A trust that is given back, or can not be."""

    def __init__(self, error=None):
        self.given_back = 0
        self._error = error

    def give_back(self):
        self.given_back += 1
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, ports.CloudError("trust t could not be removed: Keystone is away")])
def test_a_deleted_environment_gives_its_trust_back_and_goes_even_if_that_fails(port, error):
    port.cloud.trust = Trust(error)
    port.run(*fleet("anna"))
    assert port.cloud.trust.given_back == 0
    port.run(kind="delete")
    wait_until(lambda: port.cloud.trust.given_back == 1)
    with port.database.reading() as session:
        assert environments.get(session, port.environment_id) is None


def test_a_deletion_that_fails_keeps_the_trust_for_the_next_try(port):
    port.cloud.trust = Trust()
    port.run(*fleet("anna"))

    def broken(name, arguments):
        if name == "delete":
            raise ports.StackError("ship-anna", "stuck")

    port.cloud.before = broken
    seen, _id = port.run(kind="delete")
    assert seen.session_state == "delete failure"
    assert port.cloud.trust.given_back == 0


def test_a_stack_that_can_not_be_deleted_is_no_silent_success(port):
    """Destructors swallow errors (spec/engine-flow §5); an environment that vanishes would leave its stack behind."""
    port.run(*fleet("anna"))

    def refuse(name, arguments):
        if name == "delete":
            raise ports.StackError("ship-anna", "a volume is in use", "hull")

    port.cloud.before = refuse
    seen, deployment_id = port.run(kind="delete")
    assert seen.session_state == "delete failure"
    assert "a volume is in use" in str(texts(port.database, deployment_id))
    port.cloud.before = None
    port.run(kind="delete")
    assert port.cloud.stacks == {}
    with port.database.reading() as session:
        assert environments.get(session, port.environment_id) is None


WHARF = """
Namespaces: {=: wharf, std: io.murano}
Name: Wharf
Extends: std:Application
Properties:
  hoist:
    Contract: $.class(Hoist).notNull()
Methods:
  .destroy:
    Body:
      - STATEMENT
---
Name: Hoist
Methods:
  stop:
"""


def demolish(port, folder, statement):
    """The end of deleting an environment with a wharf whose destructor is this statement."""
    (folder / "Classes").mkdir(parents=True)
    (folder / "Classes" / "Wharf.yaml").write_text(WHARF.replace("STATEMENT", statement))
    names = "{wharf.Wharf: Wharf.yaml, wharf.Hoist: Wharf.yaml}"
    (folder / "manifest.yaml").write_text(f"Format: 1.4\nType: Library\nFullName: wharf\nClasses: {names}\n")
    port.lock = publish(port.database, CORE, folder)
    wharf = {"?": {"type": "wharf.Wharf", "id": "wharf"}, "hoist": {"?": {"type": "wharf.Hoist", "id": "hoist"}}}
    change = lambda model: {**model, "Objects": {**model["Objects"], "services": [wharf]}}  # noqa: E731
    assert port.run(change=change)[0].session_state == "deployed"
    return port.run(kind="delete")


def test_what_a_destructor_wants_of_an_object_that_is_gone_already_is_no_failure(port, tmp_path):
    """Container applications ask their server to remove the container; it goes first, and everything with it."""
    seen, _id = demolish(port, tmp_path / "wharf", "$.hoist.stop()")
    assert seen.session_state is None
    with port.database.reading() as session:
        assert environments.get(session, port.environment_id) is None


def test_a_destructor_that_fails_for_another_reason_is_told_in_the_receipt(port, tmp_path):
    seen, _id = demolish(port, tmp_path / "wharf", "$.unknown()")
    assert seen.session_state is None
    with port.database.reading() as session:
        assert environments.get(session, port.environment_id) is None
        [note] = resources.receipt(session, port.environment_id).notes
    assert note["object_id"] == "wharf"
    assert "class wharf.Wharf could not be destroyed" in note["message"]
    assert "wharf/Classes/Wharf.yaml" in note["details"]


def test_cancelling_stops_at_the_next_effect_and_keeps_what_was_reached(port):
    deployment_id = port.submit(*fleet("anna"))

    def cancel(name, arguments):
        with port.database.transaction() as session:
            assert deployments.cancel(session, deployment_id)

    port.cloud.before = cancel
    seen = port.end(deployment_id)
    port.cloud.before = None
    assert seen.session_state == "deploy failure"
    assert seen.result["result"]["message"] == "The deployment was cancelled."
    assert port.cloud.executed == {}
    berth = seen.model["Objects"]["services"][0]["berth"]
    seen, _id = port.run(kind="action", method="deploy")
    assert seen.session_state == "deployed"
    assert seen.model["Objects"]["services"][0]["berth"] == berth


def test_what_is_cancelled_in_the_queue_never_begins(port):
    deployment_id = port.submit(*fleet("anna"))
    with port.database.transaction() as session:
        deployments.cancel(session, deployment_id)
    seen = port.end(deployment_id)
    assert "cancelled before it began" in seen.result["result"]["message"]
    assert port.cloud.calls == []


def test_an_environment_abandoned_while_it_deploys_is_left_alone(port):
    deployment_id = port.submit(*fleet("anna"))

    def abandon(name, arguments):
        with port.database.transaction() as session:
            session.delete(environments.get(session, port.environment_id))

    port.cloud.before = abandon
    worker = port.work()
    wait_until(lambda: look(port.database, deployment_id).state is None and not worker.running())
    assert [call[0] for call in port.cloud.calls] == ["push"]


def test_a_deployment_that_kills_its_workers_fails_in_the_end(port):
    deployment_id = port.submit(*fleet("anna"))
    with port.database.transaction() as session:
        session.get(deployments.Deployment, deployment_id).fence = 3
    port.work(most_claims=3)
    seen = finished(port.database, deployment_id)
    assert "taken up 3 times" in seen.result["result"]["message"]
    assert seen.session_state == "deploy failure"


def test_a_fault_of_the_service_is_a_failure_with_a_reason(port, monkeypatch):
    deployment_id = port.submit(*fleet("anna"))
    runner = deployments_on(port.database, port.cloud)
    monkeypatch.setattr(runner, "library", lambda *_: 1 / 0)
    worker = Worker(port.database, runner.run, FAST)
    worker.start()
    seen = finished(port.database, deployment_id)
    worker.stop(5)
    assert seen.session_state == "deploy failure"
    assert "Internal error: ZeroDivisionError" in seen.result["result"]["message"]


def test_the_time_of_a_deployment_is_kept(port):
    before = base.now()
    _seen, deployment_id = port.run(*fleet("anna"))
    with port.database.reading() as session:
        row = session.get(deployments.Deployment, deployment_id)
        assert before <= row.started <= row.finished <= base.now()
        assert row.owner is None


def test_a_package_that_never_ends_is_stopped_by_the_number_of_its_effects(port):
    port.work(most_effects=10)
    seen, _id = port.run(*fleet("anna", "berta"))
    assert seen.session_state == "deploy failure"
    assert "has had 10 effects" in seen.result["result"]["message"]


def test_a_package_that_computes_for_ever_is_stopped(port):
    port.work(limits=dsl.Limits(steps=200))
    seen, _id = port.run(*fleet("anna"), method="spin")
    assert seen.session_state == "deploy failure"
    assert "steps" in seen.result["result"]["details"]
    assert [ship["name"] for ship in seen.model["Objects"]["services"]] == ["anna"]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"harbour.Lighthouse-0.1.json": '{"name": "Pharos"}', "harbour.Lighthouse.yaml": "name: other"}, "Pharos"),
        ({"harbour.Lighthouse.yaml": "name: Eddystone"}, "Eddystone"),
        ({"harbour.Lighthouse-1.yaml": "name: of another version"}, None),
    ],
)
def test_operators_configure_classes_by_files(port, tmp_path, files, name):
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    port.work(class_configs=str(tmp_path))
    seen, _id = port.run(*fleet("anna"), method="lighthouse")
    assert seen.result == {"result": name, "isException": False}


def test_a_broken_class_configuration_is_named(port, tmp_path):
    (tmp_path / "harbour.Lighthouse.yaml").write_text("[1, 2]")
    port.work(class_configs=str(tmp_path))
    seen, _id = port.run(*fleet("anna"), method="lighthouse")
    assert "harbour.Lighthouse.yaml: expected a mapping" in seen.result["result"]["message"]
