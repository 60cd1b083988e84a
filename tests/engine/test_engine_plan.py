"""Plans of the harbour: what would be created, changed and deleted, over the cloud as it is."""

from __future__ import annotations

import json

from engine_harbour import CORE, HERE, deployments_on, fleet, harbour, natives, of_harbour, opened
from engine_world import MemoryCloud, finished, look, new_environment, submit

import dsl
from engine import effects, plan
from engine.worker import Worker, WorkerSettings


def question(model, cloud=None, environment_id="the-harbour", key=b"key", action=None, deadline=None):
    context = effects.Context(
        deployment_id="plan",
        environment_id=environment_id,
        project_id="p",
        user_id="u",
        owner_project_id="p",
        owner_user_id="u",
    )
    return plan.Question(
        library=dsl.Library([opened(CORE), opened(HERE / "harbour")]),
        model=model,
        action=None if model.get("Objects") is None else action or plan.deploying(environment_id),
        context=context,
        natives=natives(),
        key=key,
        base=cloud and cloud.cloud(),
        moment=1_700_000_000.0,
        deadline=deadline,
    )


def planned(model, cloud=None, environment_id="the-harbour", key=b"key", action=None):
    return plan.plan(question(model, cloud, environment_id, key, action))


def composed(*ships):
    root = {"?": {"type": "harbour.Environment", "id": "the-harbour"}, "name": "harbour", "services": list(ships)}
    return {"Objects": root, "Attributes": []}


def told(answer):
    return [(step["kind"], step["target"]) for step in answer["steps"]]


def deployed(database, cloud, *ships):
    """A harbour with these ships, deployed on the cloud: its environment's id and model."""
    environment_id = new_environment(database)
    deployment_id = submit(database, environment_id, lock=harbour(database), change=of_harbour(*ships))
    worker = Worker(database, deployments_on(database, cloud).run, WorkerSettings(poll=0.02))
    worker.start()
    finished(database, deployment_id)
    worker.stop(5)
    return environment_id, look(database, deployment_id).model


def test_a_first_deployment_reports_creates_and_executes():
    answer = planned(composed(*fleet("anna")))
    assert told(answer) == [
        ("report", "anna"),
        ("create", "ship-anna"),
        ("create", "hull"),
        ("execute", "anna"),
        ("report", "anna"),
    ]
    assert answer["steps"][2]["details"] == {"stack": "ship-anna", "properties": {"cargo": 1}}
    assert answer["steps"][3]["summary"] == "Unload 1 on anna"


def test_what_is_deployed_already_shows_as_a_change_and_the_cloud_is_left_alone(database):
    cloud = MemoryCloud()
    environment_id, model = deployed(database, cloud, *fleet("anna"))
    before = list(cloud.calls)
    heavier = json.loads(json.dumps(model).replace('"cargo": 1', '"cargo": 9'))
    answer = planned(heavier, cloud, environment_id)
    assert ("update", "hull") in told(answer)
    assert not any(kind == "create" for kind, _target in told(answer))
    assert [step["summary"] for step in answer["steps"] if step["kind"] == "update"] == [
        "Update the server hull: cargo"
    ]
    assert cloud.calls == before


def test_taking_an_application_away_shows_its_deletion_first(database):
    cloud = MemoryCloud()
    environment_id, model = deployed(database, cloud, *fleet("anna", "berta"))
    model["Objects"]["services"] = model["Objects"]["services"][1:]
    answer = planned(model, cloud, environment_id)
    assert told(answer)[:3] == [("report", "anna"), ("delete", "hull"), ("delete", "ship-anna")]
    assert set(cloud.stacks) == {"ship-anna", "ship-berta"}


def test_deleting_the_environment_deletes_everything_and_creates_nothing(database):
    cloud = MemoryCloud()
    environment_id, model = deployed(database, cloud, *fleet("anna", "berta"))
    answer = planned({**model, "Objects": None}, cloud, environment_id)
    deleted = {target for kind, target in told(answer) if kind == "delete"}
    assert deleted == {"hull", "ship-anna", "ship-berta"}
    assert {kind for kind, _target in told(answer)} == {"report", "delete"}
    assert set(cloud.stacks) == {"ship-anna", "ship-berta"}


def test_a_plan_that_can_not_go_on_says_so_and_keeps_what_it_has():
    cloud = MemoryCloud()
    cloud.current = lambda stack: 1 / 0
    answer = planned(composed(*fleet("anna")), cloud)
    assert told(answer)[0] == ("report", "anna")
    assert answer["steps"][-1]["type"] == "error"
    assert answer["steps"][-1]["summary"].startswith("The plan ends here")


def test_a_secret_that_is_not_shown_changes_the_hash():
    plans = []
    for secret in ("s3cret-one", "s3cret-two"):
        ship = {**fleet("anna")[0], "name": secret}
        plans.append(planned({**composed(ship), "Attributes": [["anna", "x", "y", {"password": secret}]]}))
    assert plans[0]["hash"] != plans[1]["hash"]
    assert "s3cret" not in json.dumps(plans)
    shown = [[{**step, "digest": ""} for step in each["steps"]] for each in plans]
    assert shown[0] == shown[1]


def test_another_key_gives_another_hash_of_the_same_plan():
    one, two = (planned(composed(*fleet("anna")), key=key) for key in (b"one", b"two"))
    assert one["hash"] != two["hash"]
    assert planned(composed(*fleet("anna")), key=b"one") == one


def test_an_action_has_a_plan_and_what_is_not_exposed_has_none(database):
    cloud = MemoryCloud()
    environment_id, model = deployed(database, cloud, *fleet("anna"))
    action = {"object_id": "anna", "method": "load", "args": {"cargo": 5}}
    answer = planned(model, cloud, environment_id, action=action)
    (step,) = [step for step in answer["steps"] if step["kind"] == "update"]
    assert step["details"]["changes"] == [{"path": "properties.cargo", "before": 1, "after": 5, "effect": "unknown"}]
    hidden = planned(model, cloud, environment_id, action={"object_id": environment_id, "method": "hidden", "args": {}})
    assert hidden["steps"][-1]["summary"].startswith("The plan ends here")
