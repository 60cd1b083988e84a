"""Leftovers and drift: what clouds have that no environment knows, and what environments believe to have."""

from __future__ import annotations

import threading

import pytest
from engine_harbour import fleet
from engine_quay import Quay
from engine_world import PROJECT, USER, submit, wait_until

from catalog.db import environments, resources
from engine import reconciling, tags
from engine.clouds import ports

NOTHING = {"leftovers": [], "drift": [], "foreign": [], "skipped": [], "problems": []}


@pytest.fixture
def quay(database):
    return reconciled(database)


@pytest.fixture
def any_quay(any_database):
    return reconciled(any_database)


def reconciled(database):
    made = Quay(database)
    made.reconciler = reconciling.Reconciler(
        database, lambda context: made.cloud.cloud(), tags.Tags(database, ("murano",))
    )
    return made


def abandon(quay, *, receipt=True):
    """What the API does, or, without a receipt, what somebody did to the database."""
    with quay.database.transaction() as session:
        session.delete(environments.get(session, quay.environment_id))
        session.flush()
        if receipt:
            resources.end(
                session,
                environment_id=quay.environment_id,
                project_id=PROJECT,
                name="harbour",
                user_id=USER,
                how=resources.ABANDONED,
            )


def reconcile(quay, environment_id=None):
    return quay.reconciler.reconcile(PROJECT, environment_id)


def test_every_stack_says_whose_it_is(quay):
    quay.run(*fleet("anna"))
    first, installation, environment = quay.cloud.tags["ship-anna"]
    assert first == "murano"
    assert installation == tags.Tags(quay.database).installation
    assert tags.environment_of(quay.cloud.tags["ship-anna"]) == quay.environment_id
    assert all(len(tag) <= 80 and "," not in tag for tag in (installation, environment))


def test_an_installation_keeps_its_tag_and_no_other_has_it(any_database, database):
    found = set()
    threads = [
        threading.Thread(target=lambda: found.add(tags.Tags(any_database).installation)) for _ in range(4)
    ]  # processes that start at the same time
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert found == {tags.Tags(any_database).installation}


def test_where_all_is_as_it_should_be_nothing_is_found(quay):
    quay.run(*fleet("anna", "berta"))
    before = quay.states()
    assert reconcile(quay) == NOTHING
    assert quay.states() == before


def test_what_an_abandoned_environment_left_is_found_and_removed_when_that_is_wanted(any_quay):
    quay = any_quay
    quay.run(*fleet("anna"))
    abandon(quay)
    [leftover] = reconcile(quay)["leftovers"]
    stack_id = quay.cloud.ids["ship-anna"][""]
    assert (leftover["stack_id"], leftover["name"], leftover["environment_id"]) == (
        stack_id,
        "ship-anna",
        quay.environment_id,
    )
    assert leftover["environment_name"] == "harbour"
    assert "abandoned by user user-1" in leftover["reason"]
    assert quay.cloud.stacks, "nothing is removed unasked"
    assert quay.reconciler.remove(PROJECT, stack_id)["name"] == "ship-anna"
    wait_until(lambda: {row.state for row in quay.rows()} == {"gone"})
    assert quay.cloud.stacks == {}
    assert reconcile(quay) == NOTHING


def test_a_stack_whose_push_nobody_took_down_is_found_by_its_tags(quay):
    """The environment was abandoned while a worker pushed."""
    quay.run(*fleet("anna"))
    with quay.database.transaction() as session:
        session.execute(resources.sa.delete(resources.CloudResource))
    abandon(quay)
    assert quay.rows() == []
    [leftover] = reconcile(quay)["leftovers"]
    assert leftover["stack_id"] == quay.cloud.ids["ship-anna"][""]
    assert {(row.name, row.state) for row in quay.rows()} == {("ship-anna", "left"), ("hull", "left")}


def test_a_stack_of_an_environment_that_no_receipt_knows_is_left_over(quay):
    quay.run(*fleet("anna"))
    abandon(quay, receipt=False)
    [leftover] = reconcile(quay)["leftovers"]
    assert (leftover["environment_id"], leftover["environment_name"]) == (quay.environment_id, None)
    assert "no receipt" in leftover["reason"]
    quay.reconciler.remove(PROJECT, leftover["stack_id"])
    wait_until(lambda: quay.cloud.stacks == {})


def test_a_stack_of_an_environment_that_is_there_is_never_removed(quay):
    quay.run(*fleet("anna"))
    with quay.database.transaction() as session:
        session.execute(resources.sa.delete(resources.CloudResource))
    stack_id = quay.cloud.ids["ship-anna"][""]
    with pytest.raises(reconciling.NotLeftOver, match="its environment is there"):
        quay.reconciler.remove(PROJECT, stack_id)
    found = reconcile(quay)
    assert found["leftovers"] == []
    assert {(each["name"], each["state"]) for each in found["drift"]} == {("ship-anna", "there"), ("hull", "there")}
    assert {row.state for row in quay.rows()} == {"there"}
    assert quay.cloud.stacks


def test_an_environment_of_another_project_is_no_leftover_of_this_one(quay):
    """An administrator has deployed it from his own project."""
    quay.run(*fleet("anna"))
    with quay.database.transaction() as session:
        environments.get(session, quay.environment_id).project_id = "project-2"
    assert reconcile(quay) == NOTHING


def test_stacks_of_others_are_counted_and_left_alone(quay):
    quay.run(*fleet("anna"))
    for name, tagged in (("murano-old", ("murano",)), ("theirs", ("murano", f"{tags.INSTALLATION}other"))):
        quay.cloud.push(ports.Stack(name=name, tags=tagged), {"resources": {}}, {}, None, {})
    found = reconcile(quay)
    assert sorted(each["name"] for each in found["foreign"]) == ["murano-old", "theirs"]
    assert found["leftovers"] == []
    with pytest.raises(reconciling.NotLeftOver):
        quay.reconciler.remove(PROJECT, quay.cloud.ids["theirs"][""])
    assert reconcile(quay, quay.environment_id)["foreign"] == []


def test_what_somebody_removed_by_hand_is_drift_and_the_receipt_follows(quay):
    quay.run(*fleet("anna", "berta"))
    gone = quay.cloud.ids.pop("ship-anna")
    quay.cloud.ids["ship-berta"]["hull"] = "another"
    drift = {each["id"]: each for each in reconcile(quay)["drift"]}
    assert {key: each["state"] for key, each in drift.items() if key in (*gone.values(), "another")} == {
        gone[""]: "gone",
        gone["hull"]: "gone",
        "another": "there",
    }
    assert "nobody here has removed it" in drift[gone[""]]["reason"]
    assert len(drift) == 4
    assert reconcile(quay) == NOTHING


def test_an_environment_that_is_deployed_is_left_out(quay):
    quay.run(*fleet("anna"))
    quay.cloud.ids.clear()
    submit(quay.database, quay.environment_id, lock=quay.lock)
    found = reconcile(quay)
    assert [each["environment_id"] for each in found["skipped"]] == [quay.environment_id]
    assert found["drift"] == []
    assert {row.state for row in quay.rows()} == {"there"}


def test_a_deployment_that_came_between_look_and_receipt_wins(quay, monkeypatch):
    quay.run(*fleet("anna"))
    hull = quay.cloud.ids["ship-anna"].pop("hull")
    real = reconciling.Reconciler._written

    def late(self, project):
        quay.run(kind="action", object_id="anna", method="load", args={"cargo": 7})
        return real(self, project)

    quay.cloud.ids["ship-anna"]["hull"] = "seen by the look"
    monkeypatch.setattr(reconciling.Reconciler, "_written", late)
    assert reconcile(quay)["drift"] == []
    assert {row.physical_id: row.state for row in quay.rows() if row.name == "hull"} == {
        hull: "gone",
        "seen by the look": "there",
    }


def test_a_cloud_that_does_not_answer_is_a_problem_and_changes_no_receipt(quay):
    quay.run(*fleet("anna"))
    quay.cloud.unlisted = True
    found = reconcile(quay)
    assert ["nobody looks into stacks today" in each["reason"] for each in found["problems"]] == [True]
    assert {row.state for row in quay.rows()} == {"there"}


def test_a_leftover_that_can_not_be_removed_says_why(quay):
    quay.run(*fleet("anna"))
    abandon(quay)

    def refuse(name, arguments):
        raise ports.StackError("ship-anna", "a volume is in use", "hull")

    quay.cloud.before = refuse
    [leftover] = reconcile(quay)["leftovers"]
    quay.reconciler.remove(PROJECT, leftover["stack_id"])
    wait_until(lambda: "a volume is in use" in str(quay.states()["ship-anna/ship-anna"]))
    [again] = reconcile(quay)["leftovers"]
    assert "a volume is in use" in again["reason"]


def test_the_rights_of_who_asks_are_tried_before_those_of_environments(quay, database):
    tried = []

    def cloud(context):
        tried.append(context.trust_id)
        if context.trust_id == "borrowed":
            raise ports.CloudError("Keystone has no trust borrowed")
        return quay.cloud.cloud()

    reconciler = reconciling.Reconciler(database, cloud, tags.Tags(database, ("murano",)))
    assert reconciler.reconcile(PROJECT, trust_id="borrowed") == NOTHING
    assert tried == ["borrowed", None]
