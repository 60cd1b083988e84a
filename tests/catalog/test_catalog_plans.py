"""Plans, and what is held to them: a scripted engine says what would happen, and changes its mind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from catalog_cloud import Cloud, archive_of
from catalog_engine import ScriptedEngine, finish, scripted

from catalog.db import deployments, plans, sessions

MESSAGING = {"exchange": "plans"}
ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def overrides() -> dict[str, dict[str, Any]]:
    return {"messaging": MESSAGING, "engine_rpc": {"plan_timeout": 2}}


@pytest.fixture(scope="module")
def listening() -> Iterator[ScriptedEngine]:
    with scripted(MESSAGING) as engine:
        yield engine


@pytest.fixture
def engine(listening: ScriptedEngine) -> ScriptedEngine:
    listening.asked.clear()
    listening.answer = answer()
    return listening


@pytest.fixture
def environment(cloud: Cloud, core: None) -> str:
    cloud.member.upload(archive_of("org.example.App"))
    return str(cloud.member.environment()["id"])


@pytest.fixture
def session(cloud: Cloud, environment: str) -> str:
    opened = cloud.member.session(environment)
    app = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web"}
    cloud.member("POST", f"/v1/environments/{environment}/services", app, X_Configuration_Session=opened)
    return str(opened)


def step(flavor: str = "small", digest: str = "d1") -> dict[str, Any]:
    return {
        "kind": "create",
        "target": "vm-a1",
        "type": "OS::Nova::Server",
        "summary": f"Create the server a1 ({flavor})",
        "details": {},
        "digest": digest,
    }


def answer(plan_hash: str = ONE, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": list(steps) or [step()], "hash": plan_hash, "moment": 1_700_000_000.5}


def deploy(cloud: Cloud, environment: str, session: str, plan_hash: Any, status: int = 200) -> Any:
    path = f"/v1/environments/{environment}/sessions/{session}/deploy"
    return cloud.member("POST", path, {"plan": plan_hash}, status=status, Accept="application/json")


def planned(cloud: Cloud, environment: str, session: str | None = None, body: Any = None) -> Any:
    headers = {"X_Configuration_Session": session} if session else {}
    return cloud.member.json("POST", f"/v1/environments/{environment}/plan", body or {}, **headers)


def submitted(cloud: Cloud, environment: str) -> list[Any]:
    with cloud.database.reading() as work:
        return [(row.kind, row.plan) for row in deployments.of_environment(work, environment)]


def test_a_plan_is_the_engines_and_its_moment_is_ours(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    counts = {"create": 1, "update": 0, "delete": 0, "execute": 0}
    assert planned(cloud, environment, session) == {"steps": [step()], "counts": counts, "hash": ONE}
    _, asked = engine.asked[-1]
    assert asked["action"] == {"object_id": environment, "method": "deploy", "args": {}}
    assert asked["environment_id"] == environment
    assert [app["?"]["id"] for app in asked["model"]["Objects"]["services"]] == ["a1"]
    assert asked["seconds"] < 2
    with cloud.database.reading() as work:
        kept = plans.get(work, environment, ONE)
        assert kept is not None
        assert (kept.moment, kept.steps) == (1_700_000_000.5, [step()])


def test_a_deployment_without_a_plan_asks_nobody(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    """Murano's clients send no body; an empty object and a null mean the same."""
    path = f"/v1/environments/{environment}/sessions/{session}/deploy"
    cloud.member("POST", path)
    assert engine.asked == []
    assert submitted(cloud, environment) == [("deploy", None)]
    finish(cloud, environment, {"result": None, "isException": False})
    other = cloud.member.session(environment)
    deploy(cloud, environment, other, None)
    assert engine.asked == []


def test_a_deployment_is_held_to_the_plan_that_was_seen(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    planned(cloud, environment, session)
    deploy(cloud, environment, session, ONE)
    assert engine.asked[-1][1]["moment"] == 1_700_000_000.5
    assert submitted(cloud, environment) == [("deploy", {"hash": ONE, "moment": 1_700_000_000.5})]


def test_a_plan_that_does_not_hold_any_more_is_a_conflict_that_says_what_moved(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    planned(cloud, environment, session)
    engine.answer = answer(OTHER, step("large", "d2"))
    refused = deploy(cloud, environment, session, ONE, status=409)
    assert "planned was: Create the server a1 (small); now it is: Create the server a1 (large)" in refused.text
    found = refused.json["plan"]
    assert (found["planned"], found["now"], found["left_out"]) == (ONE, OTHER, 0)
    assert found["differences"] == [{"planned": step(), "now": step("large", "d2"), "hidden": False}]
    assert submitted(cloud, environment) == []
    with cloud.database.reading() as work:
        row = sessions.get(work, session)
        assert row is not None
        assert row.state == sessions.OPENED
    deploy(cloud, environment, session, OTHER)


def test_a_secret_that_moved_is_told_without_telling_it(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    planned(cloud, environment, session)
    engine.answer = answer(OTHER, step("small", "d2"))
    refused = deploy(cloud, environment, session, ONE, status=409)
    assert "a secret or another part that is not shown differs in: Create the server a1" in refused.text
    assert refused.json["plan"]["differences"][0]["hidden"] is True


def test_steps_that_came_and_went_are_told_and_many_are_counted(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    planned(cloud, environment, session)
    more = [{**step(digest=f"n{number}"), "target": f"vm-{number}"} for number in range(12)]
    engine.answer = answer(OTHER, *more)
    found = deploy(cloud, environment, session, ONE, status=409).json["plan"]
    assert [each["planned"] for each in found["differences"]] == [None] * plans.DIFFERENCES
    assert found["left_out"] == 3


def test_a_plan_that_is_not_kept_can_still_hold(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    refused = deploy(cloud, environment, session, OTHER, status=409)
    assert "what differs is not known" in refused.text
    deploy(cloud, environment, session, ONE)


@pytest.mark.parametrize("value", ["", "1", "x" * 64, 7, ["1" * 64], {"hash": ONE}])
def test_what_is_no_hash_of_a_plan_is_refused(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine, value: Any
) -> None:
    refused = deploy(cloud, environment, session, value, status=400)
    assert "64 hexadecimal digits" in refused.text
    assert submitted(cloud, environment) == []


def test_a_misspelt_key_does_not_deploy(cloud: Cloud, environment: str, session: str, engine: ScriptedEngine) -> None:
    path = f"/v1/environments/{environment}/sessions/{session}/deploy"
    cloud.member("POST", path, {"Plan": ONE}, status=400)
    cloud.member("POST", path, [ONE], status=400)
    assert submitted(cloud, environment) == []


def test_a_session_that_is_changed_while_its_plan_is_compared_is_not_deployed(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(cloud, environment, session)
    compare = cloud.app.services.engine.plan

    def edit() -> None:
        app = {"?": {"id": "a2", "type": "org.example.App"}, "name": "late"}
        cloud.member("POST", f"/v1/environments/{environment}/services", app, X_Configuration_Session=session)

    def edited_meanwhile(**arguments: Any) -> Any:
        other = threading.Thread(target=edit)
        other.start()
        other.join()
        return compare(**arguments)

    monkeypatch.setattr(cloud.app.services.engine, "plan", edited_meanwhile)
    assert "was changed while" in deploy(cloud, environment, session, ONE, status=409).text
    assert submitted(cloud, environment) == []


def test_an_engine_that_gives_up_or_is_silent_holds_nothing(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    planned(cloud, environment, session)
    engine.answer = type("PlanUnfinished", (Exception,), {})("the plan was not there after 100 s")
    refused = deploy(cloud, environment, session, ONE, status=504)
    assert "the plan was not there after 100 s" in refused.text
    assert submitted(cloud, environment) == []


def test_actions_and_deletions_have_plans_and_are_held_to_them(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    path = f"/v1/environments/{environment}"
    cloud.member("POST", f"{path}/sessions/{session}/deploy")
    finish(cloud, environment, {"result": None, "isException": False})
    action = {"object_id": "a1", "method": "scaleUp", "args": {"by": 2}}
    assert planned(cloud, environment, body={"action": action})["hash"] == ONE
    assert engine.asked[-1][1]["action"] == action
    engine.answer = answer(OTHER)
    cloud.member("POST", f"{path}/actions/a1_scaleUp?plan={ONE}", {"by": 2}, status=409)
    engine.answer = answer(ONE)
    cloud.member("POST", f"{path}/actions/a1_scaleUp?plan={ONE}", {"by": 2})
    assert engine.asked[-1][1]["action"] == action
    assert submitted(cloud, environment)[0] == ("action", {"hash": ONE, "moment": 1_700_000_000.5})
    finish(cloud, environment, {"result": None, "isException": False})
    planned(cloud, environment, body={"delete": True})
    assert engine.asked[-1][1]["model"]["Objects"] is None
    assert engine.asked[-1][1]["action"] is None
    engine.answer = answer(OTHER)
    cloud.member("DELETE", f"{path}?plan={ONE}", status=409)
    engine.answer = answer(ONE)
    cloud.member("DELETE", f"{path}?plan={ONE}")
    assert submitted(cloud, environment)[0][0] == "delete"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"delete": False}, 400),
        ({"delete": True, "action": {"object_id": "a1", "method": "x"}}, 400),
        ({"deletion": True}, 400),
        ({"action": {"object_id": "a1"}}, 400),
        ({"action": {"object_id": "a1", "method": ""}}, 400),
        ({"action": {"object_id": "a1", "method": "x", "args": []}}, 400),
        ({"action": {"object_id": "a1", "method": "x", "arguments": {}}}, 400),
        ({"action": {"object_id": "nobody", "method": "x"}}, 404),
        ([], 400),
    ],
)
def test_a_question_nobody_can_answer_is_refused(
    cloud: Cloud, environment: str, engine: ScriptedEngine, body: Any, status: int
) -> None:
    cloud.member("POST", f"/v1/environments/{environment}/plan", body, status=status)
    assert engine.asked == []


def test_plans_of_another_project_are_its_own(
    cloud: Cloud, environment: str, session: str, engine: ScriptedEngine
) -> None:
    for body in ({}, {"delete": True}, {"action": {"object_id": "a1", "method": "x"}}):
        cloud.stranger("POST", f"/v1/environments/{environment}/plan", body, status=403)
    assert engine.asked == []
