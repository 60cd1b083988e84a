"""The receipt: every resource that a deployment made in a cloud, by id, whatever became of deployment and worker."""

from __future__ import annotations

import pytest
from engine_harbour import fleet, publish
from engine_mortal import BEFORE, MortalDatabase, carry
from engine_quay import Quay
from engine_world import PROJECT, USER, MemoryCloud, look, texts

from catalog.db import deployments, statuses
from engine.clouds import ports


@pytest.fixture
def quay(database):
    return Quay(database)


def test_all_that_is_made_is_taken_down_by_its_id(any_database):
    quay = Quay(any_database)
    _seen, deployment_id = quay.run(*fleet("anna"))
    stack, hull = sorted(quay.rows(), key=lambda row: row.type)
    ids = quay.cloud.ids["ship-anna"]
    assert (stack.type, stack.physical_id, stack.name) == ("OS::Heat::Stack", ids[""], "ship-anna")
    assert (hull.type, hull.physical_id, hull.name, hull.stack) == (
        "OS::Nova::Server",
        ids["hull"],
        "hull",
        "ship-anna",
    )
    for row in (stack, hull):
        assert (row.state, row.reason, row.gone) == ("there", None, None)
        assert (row.environment_id, row.project_id, row.deployment_id) == (quay.environment_id, PROJECT, deployment_id)


def test_a_deleted_environment_leaves_a_receipt_of_what_is_gone(any_database):
    quay = Quay(any_database)
    quay.run(*fleet("anna", "berta"))
    made = {row.physical_id for row in quay.rows()}
    assert len(made) == 4
    quay.run(kind="delete")
    assert not quay.is_there()
    rows = quay.rows()
    assert {row.physical_id for row in rows} == made
    assert {(row.state, row.reason) for row in rows} == {("gone", None)}
    assert all(row.gone >= row.made for row in rows)
    receipt = quay.receipt()
    assert (receipt.how, receipt.user_id, receipt.project_id, receipt.name) == ("deleted", USER, PROJECT, "harbour")
    assert receipt.notes == []


def test_what_an_update_replaces_is_gone_and_the_new_one_is_there(quay):
    quay.run(*fleet("anna"))
    old = quay.cloud.ids["ship-anna"].pop("hull")
    quay.run(kind="action", object_id="anna", method="load", args={"cargo": 7})
    by_id = {row.physical_id: row.state for row in quay.rows()}
    assert by_id[old] == "gone"
    assert by_id[quay.cloud.ids["ship-anna"]["hull"]] == "there"
    assert len(by_id) == 3


class Failing(MemoryCloud):
    """Makes what it is told, and then fails."""

    def push(self, *arguments):
        super().push(*arguments)
        raise ports.StackError(arguments[0].name, "no valid host", "hull", "OS::Nova::Server")


def test_what_a_push_that_failed_has_made_is_taken_down(database):
    quay = Quay(database, Failing())
    seen, _id = quay.run(*fleet("anna"))
    assert seen.session_state == "deploy failure"
    assert quay.states() == {"ship-anna/ship-anna": [("there", None)], "ship-anna/hull": [("there", None)]}


class Replacing(MemoryCloud):
    """As Heat does with what has failed: every push makes a new hull."""

    def push(self, *arguments):
        self.ids.get(arguments[0].name, {}).pop("hull", None)
        return super().push(*arguments)


def test_what_a_worker_that_died_in_its_push_has_made_is_taken_down_by_its_successor(database):
    """Its push replaces what the dead one's made: both have been there."""
    calm = Quay(database, name="calm")
    deployment_id = calm.submit(*fleet("anna"))
    last = first_conclusion_of_a_push(database, deployment_id, calm.cloud)
    quay = Quay(database, Replacing())
    deployment_id = quay.submit(*fleet("anna"))
    quay.carry(deployment_id, last, BEFORE)
    lost = quay.cloud.ids["ship-anna"]["hull"]
    assert quay.rows() == []
    quay.carry(deployment_id)
    assert look(database, deployment_id).session_state == "deployed"
    by_id = {row.physical_id: row.state for row in quay.rows()}
    assert by_id[lost] == "gone"
    assert by_id[quay.cloud.ids["ship-anna"]["hull"]] == "there"


def first_conclusion_of_a_push(database, deployment_id, cloud):
    """The number of the transaction that follows the first push."""
    mortal = MortalDatabase(database)
    numbers = []
    cloud.before = lambda name, arguments: numbers.append((name, mortal.count + 1))
    carry(database, deployment_id, cloud, mortal)
    assert numbers[0][0] == "push"
    return numbers[0][1]


def test_a_cloud_that_does_not_list_fails_no_push_and_a_later_look_fills_the_receipt(quay):
    quay.cloud.unlisted = True
    seen, _id = quay.run(*fleet("anna"))
    assert seen.session_state == "deployed"
    [row] = quay.rows()
    assert (row.type, row.name, row.physical_id, row.state) == ("OS::Heat::Stack", "ship-anna", None, "there")
    assert "could not be listed" in row.reason
    assert "nobody looks into stacks today" in row.reason
    quay.cloud.unlisted = False
    quay.run(kind="action", object_id="anna", method="load", args={"cargo": 7})
    ids = quay.cloud.ids["ship-anna"]
    assert {row.physical_id: (row.state, row.reason) for row in quay.rows()} == {
        ids[""]: ("there", None),
        ids["hull"]: ("there", None),
    }
    quay.cloud.unlisted = True
    quay.run(kind="action", object_id="anna", method="load", args={"cargo": 8})
    assert {row.physical_id for row in quay.rows()} == {ids[""], ids["hull"]}
    assert "could not be listed" in quay.states()["ship-anna/ship-anna"][0][1]


def test_a_deletion_that_nobody_can_verify_says_so(quay):
    quay.run(*fleet("anna"))
    quay.cloud.unlisted = True
    quay.run(kind="delete")
    assert not quay.is_there()
    assert {row.state for row in quay.rows()} == {"left"}
    assert any("could not be listed" in row.reason for row in quay.rows())


def test_what_can_not_be_deleted_is_left_with_the_reason_until_it_can(quay):
    quay.run(*fleet("anna"))

    def refuse(name, arguments):
        if name == "delete":
            raise ports.StackError("ship-anna", "a volume is in use", "hull")

    quay.cloud.before = refuse
    seen, _id = quay.run(kind="delete")
    assert seen.session_state == "delete failure"
    assert {row.state for row in quay.rows()} == {"left"}
    assert all("a volume is in use" in row.reason for row in quay.rows())
    quay.cloud.before = None
    quay.run(kind="delete")
    assert not quay.is_there()
    assert {(row.state, row.reason) for row in quay.rows()} == {("gone", None)}


@pytest.mark.parametrize(
    ("policy", "state", "reason"),
    [("Retain", "kept", "deletion_policy: retain"), ("snapshot", "gone", "a snapshot of it was made")],
)
def test_a_resource_that_its_template_keeps_is_kept(quay, ways, policy, state, reason):
    deployed(quay, ways, "fine", deletion_policy=policy)
    quay.run(kind="delete")
    assert not quay.is_there()
    [(found, why)] = quay.states()["0-fine/hold"]
    assert found == state
    assert reason in why
    assert quay.states()["0-fine/0-fine"] == [("gone", None)]


def test_a_stack_that_nothing_deletes_is_left_and_does_not_hold_the_environment(quay, ways):
    deployed(quay, ways, "forgetful")
    quay.run(kind="delete")
    assert not quay.is_there()
    assert quay.receipt().how == "deleted"
    assert {row.state for row in quay.rows()} == {"left"}
    assert all("nothing in the environment's model led to it" in row.reason for row in quay.rows())


def test_a_stack_that_somebody_else_has_deleted_was_gone_before(quay, ways):
    deployed(quay, ways, "forgetful")
    quay.cloud.ids.clear()
    quay.run(kind="delete")
    assert {row.state for row in quay.rows()} == {"gone"}
    assert all("gone already" in row.reason for row in quay.rows())


def test_a_push_that_was_cancelled_is_looked_at_once_more(quay):
    deployment_id = quay.submit(*fleet("anna"))

    def cancel(name, arguments):
        with quay.database.transaction() as session:
            deployments.cancel(session, deployment_id)

    quay.cloud.before = cancel
    quay.carry(deployment_id)
    assert look(quay.database, deployment_id).result["result"]["message"] == "The deployment was cancelled."
    assert set(quay.states()) == {"ship-anna/ship-anna", "ship-anna/hull"}


def test_the_rest_is_destroyed_whatever_destructors_fail_with(quay, ways):
    """One that throws, one that never ends, one whose agent is dead: all is told, and everything else goes."""
    deployed(quay, ways, "broken", "loop", "agent", "fine", "broken")
    assert set(quay.cloud.stacks) == {"0-broken", "1-loop", "2-agent", "3-fine", "4-broken"}

    def dead(name, arguments):
        if name == "run":
            raise ports.AgentTimeout("agent: no result within 60 s")

    quay.cloud.before = dead
    quay.run(kind="delete")
    assert not quay.is_there()
    assert quay.cloud.stacks == {}
    assert {row.state for row in quay.rows()} == {"gone"}
    notes = {note["object_id"]: note for note in quay.receipt().notes}
    assert set(notes) == {"0-broken", "1-loop", "2-agent", "4-broken"}
    assert all("class ways.Item" in note["message"] and ".destroy" in note["message"] for note in notes.values())
    assert all("ways/Classes/Ways.yaml" in note["details"] for note in notes.values())
    assert "no result within 60 s" in notes["2-agent"]["message"]
    assert "steps" in notes["1-loop"]["message"]


def test_what_fails_in_the_destructor_of_an_application_that_is_taken_away_is_told_in_the_next_deployment(quay, ways):
    deployed(quay, ways, "broken", "loop", "fine")
    seen, deployment_id = quay.run(change=lambda model: {**model, "Objects": {**model["Objects"], "services": []}})
    assert seen.session_state == "deployed"
    assert quay.cloud.stacks == {}
    with quay.database.reading() as session:
        told = [row for row in statuses.of_deployment(session, deployment_id) if row.level == "warning"]
    assert {row.entity_id for row in told} == {"0-broken", "1-loop"}
    assert texts(quay.database, deployment_id)[-1] == "Deployment finished with warnings"


def test_a_destructor_whose_failure_leaves_something_in_the_cloud_is_an_error(quay, ways):
    deployed(quay, ways, "early", "broken", "fine")
    seen, deployment_id = quay.run(kind="delete")
    assert seen.session_state == "delete failure"
    assert set(quay.cloud.stacks) == {"0-early"}
    with quay.database.reading() as session:
        told = {row.entity_id: row.level for row in statuses.of_deployment(session, deployment_id)}
    assert (told["0-early"], told["1-broken"]) == ("error", "error")
    assert quay.states()["0-early/0-early"] == [("there", None)]
    assert quay.states()["1-broken/1-broken"] == [("gone", None)]


WAYS = """
Namespaces: {=: ways, std: io.murano, sys: io.murano.system, harbour: harbour}
Name: Item
Extends: std:Application
Properties:
  way: {Contract: $.string()}
  template: {Contract: {}}
Methods:
  deploy:
    Body:
      - $stack: new(sys:HeatStack, name => id($this))
      - $stack.setTemplate($.template)
      - $stack.push()
  .destroy:
    Body:
      - If: $.way = early
        Then: [{Throw: Broken, Message: before it came to the stack}]
      - $stack: new(sys:HeatStack, name => id($this))
      - If: $.way != forgetful
        Then: [!yaql "$stack.delete()"]
      - Match:
          broken: [{Throw: Broken, Message: as ever}]
          loop: [{While: !yaql "true", Do: []}]
          agent: [!yaql "new(harbour:Crane).run(id($this), unload)"]
        Value: $.way
"""


@pytest.fixture(scope="session")
def ways(tmp_path_factory):
    """A package whose application makes one stack, and takes leave of it in one of several ways."""
    folder = tmp_path_factory.mktemp("package") / "ways"
    (folder / "Classes").mkdir(parents=True)
    (folder / "Classes" / "Ways.yaml").write_text(WAYS)
    manifest = "Format: 1.4\nType: Library\nFullName: ways\nClasses: {ways.Item: Ways.yaml}\nRequire: {harbour: }\n"
    (folder / "manifest.yaml").write_text(manifest)
    return folder


def deployed(quay, ways, *names, **resource):
    """An environment with an item for each way, whose stack holds one resource."""
    template = {
        "heat_template_version": "2013-05-23",
        "resources": {"hold": {"type": "OS::Cinder::Volume", **resource}},
    }
    items = [
        {"?": {"type": "ways.Item", "id": f"{number}-{way}"}, "way": way, "template": template}
        for number, way in enumerate(names)
    ]
    quay.lock = [*quay.lock, *publish(quay.database, ways)]
    seen, _id = quay.run(change=lambda model: {**model, "Objects": {**model["Objects"], "services": items}})
    assert seen.session_state == "deployed", seen.result
    assert len(quay.cloud.stacks) == len(names)
