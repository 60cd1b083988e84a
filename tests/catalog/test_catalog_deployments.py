"""Deployments, their reports and events, actions, and questions to the engine: spec/api-v1 §1.8 and §1.9.

A scripted engine answers on the real transport; what the engine itself does is told by its own tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from catalog_cloud import Client, Cloud, archive_of
from catalog_engine import ScriptedEngine, finish, scripted

from catalog.db import agents, base, deployments, journal, outputs, statuses

APP = {
    "?": {"id": "a1", "type": "org.example.App"},
    "name": "web",
    "db": {"?": {"id": "d1", "type": "org.example.App"}},
}
UNKNOWN = "0" * 32
MESSAGING = {"exchange": "scripted"}  # other tests of this process ask an engine that is not there, or run a real one


@pytest.fixture
def overrides() -> dict[str, dict[str, Any]]:
    return {
        "messaging": MESSAGING,
        "engine_rpc": {"check_timeout": 1, "plan_timeout": 1, "static_action_timeout": 1},
        "api": {"event_interval": 0.05, "event_streams": 2},
    }


@pytest.fixture(scope="module")
def listening() -> Iterator[ScriptedEngine]:
    """The engine's end of the in-process transport, for all tests of this module: stopping one takes a second."""
    with scripted(MESSAGING) as engine:
        yield engine


@pytest.fixture
def engine(listening: ScriptedEngine) -> ScriptedEngine:
    listening.asked.clear()
    listening.answer = None
    return listening


@pytest.fixture
def deployed(cloud: Cloud, core: None) -> tuple[str, str]:
    """An environment with one application whose first deployment is over: (environment id, deployment id)."""
    cloud.member.upload(archive_of("org.example.App"))
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/services", APP, X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")
    deployment_id = cloud.member.json("GET", f"{path}/deployments")["deployments"][0]["id"]
    with cloud.database.transaction() as work:
        statuses.add(work, deployment_id, environment_id, text="d1 is up", entity_id="d1")
    finish(cloud, environment_id, {"result": None, "isException": False})
    return environment_id, deployment_id


STATIC = {"className": "org.example.App", "methodName": "greet", "parameters": {"name": "John"}}


def test_without_an_engine_a_question_ends_in_time_and_a_deployment_waits_for_one(
    cloud: Cloud, deployed: tuple[str, str]
) -> None:
    answer = cloud.member("POST", "/v1/actions", STATIC, status=504)
    assert "did not answer within 1 s" in answer.text


# --- deployments and reports -----------------------------------------------------------------------------------------


def test_a_finished_deployment_tells_how_it_went(cloud: Cloud, deployed: tuple[str, str]) -> None:
    environment_id, deployment_id = deployed
    [shown] = cloud.member.json("GET", f"/v1/environments/{environment_id}/deployments")["deployments"]
    assert shown["state"] == "success"
    assert shown["result"] == {"result": None, "isException": False}
    assert [app["?"]["id"] for app in shown["description"]["services"]] == ["a1"]
    found = cloud.member.json("GET", f"/v1/environments/{environment_id}/deployments/{deployment_id}")["reports"]
    assert [each["text"] for each in found] == ["Action deploy is scheduled", "d1 is up", "Deployment finished"]
    assert set(found[0]) == {
        "id", "task_id", "entity_id", "entity", "level", "text", "details", "created", "updated",
        "component", "step", "effect", "duration",
    }  # fmt: skip
    assert {each["task_id"] for each in found} == {deployment_id}


def test_reports_can_be_asked_for_one_application_and_what_is_in_it(cloud: Cloud, deployed: tuple[str, str]) -> None:
    """The original answered 400 to a matching id (spec/api-v1 §5 B20)."""
    path = "/v1/environments/{}/deployments/{}".format(*deployed)
    found = cloud.member.json("GET", f"{path}?service_id=a1&service_id=x")["reports"]
    assert [each["text"] for each in found] == ["d1 is up"]
    assert cloud.member.json("GET", f"{path}?service_id=x") == {"reports": []}


def test_reports_of_another_project_are_its_own(cloud: Cloud, deployed: tuple[str, str]) -> None:
    """The original checked no project here (spec/api-v1 §5 B2)."""
    environment_id, deployment_id = deployed
    own = cloud.stranger.environment()["id"]
    for tail in ("", "/events"):
        cloud.stranger("GET", f"/v1/environments/{environment_id}/deployments/{deployment_id}{tail}", status=403)
        cloud.stranger("GET", f"/v1/environments/{own}/deployments/{deployment_id}{tail}", status=400)
        cloud.stranger("GET", f"/v1/environments/{own}/deployments/{UNKNOWN}{tail}", status=404)
    cloud.stranger("GET", f"/v1/environments/{environment_id}/instance-statistics/raw", status=403)
    assert cloud.stranger.json("GET", "/v1/deployments") == {"deployments": []}


def test_the_last_status_of_an_application_is_the_newest_of_anything_in_it(
    cloud: Cloud, deployed: tuple[str, str]
) -> None:
    last = cloud.member.json("GET", f"/v1/environments/{deployed[0]}/lastStatus")["lastStatuses"]
    assert set(last) == {"a1"}
    assert (last["a1"]["text"], last["a1"]["entity_id"]) == ("d1 is up", "d1")


def test_secrets_in_a_deployments_model_are_masked(cloud: Cloud, core: None) -> None:
    cloud.member.upload(archive_of("org.example.App"))
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    app = {**APP, "dbPassword": "hidden-1", "inner": {"authToken": "hidden-2", "passCount": 3}}
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/services", app, X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")
    text = cloud.member("GET", f"{path}/deployments").text
    assert "hidden" not in text
    assert text.count("*** SANITIZED ***") == 2
    assert '"passCount": 3' in text


# --- events ----------------------------------------------------------------------------------------------------------


def events(client: Client, path: str, **headers: str) -> list[tuple[str, str, Any]]:
    """All events of a stream that ends: (id, type, data)."""
    found = []
    for block in client("GET", path, **headers).text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


def test_events_are_the_reports_and_end_with_the_result(cloud: Cloud, deployed: tuple[str, str]) -> None:
    path = "/v1/environments/{}/deployments/{}/events".format(*deployed)
    found = events(cloud.member, path, Accept="text/event-stream")
    assert [kind for _, kind, _ in found] == ["report", "report", "report", "finished"]
    assert [identifier for identifier, _, _ in found] == ["1", "2", "3", "3"]
    assert found[-1][2]["state"] == "success"
    resumed = events(cloud.member, path, Last_Event_ID="2")
    assert [data.get("text") for _, _, data in resumed] == ["Deployment finished", None]
    assert len(events(cloud.member, path, Last_Event_ID="nonsense")) == 4


def test_what_the_engine_says_of_its_own_work_is_told_to_who_asks(cloud: Cloud, deployed: tuple[str, str]) -> None:
    environment_id, deployment_id = deployed
    component = {"id": "a1", "name": "app", "class": "org.example.App"}
    about = statuses.About(
        component=component, step="push stack s", effect_key="0/3", effect_name="heat.push", duration=1.5
    )
    with cloud.database.transaction() as work:
        statuses.add_progress(
            work, deployment_id, environment_id, text="Stack s: failed", entity_id="a1", details=None, about=about
        )
    path = f"/v1/environments/{environment_id}/deployments/{deployment_id}"
    assert len(cloud.member.json("GET", path)["reports"]) == 3
    told = cloud.member.json("GET", f"{path}?progress=true")["reports"][-1]
    assert (told["level"], told["text"], told["component"]) == ("progress", "Stack s: failed", component)
    assert (told["step"], told["duration"]) == ("push stack s", 1.5)
    assert told["effect"] == {"key": "0/3", "name": "heat.push"}
    assert [kind for _, kind, _ in events(cloud.member, f"{path}/events")] == ["report"] * 3 + ["finished"]
    assert events(cloud.member, f"{path}/events?progress=true")[3][2] == told
    assert (
        cloud.member.json("GET", f"/v1/environments/{environment_id}/deployments")["deployments"][0]["state"]
        == "success"
    )


def test_events_come_as_they_happen(cloud: Cloud, core: None) -> None:
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    path = f"/v1/environments/{environment_id}"
    cloud.member("PUT", f"{path}/services", [], X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")
    deployment_id = cloud.member.json("GET", f"{path}/deployments")["deployments"][0]["id"]
    stream = iter(cloud.member("GET", f"{path}/deployments/{deployment_id}/events").app_iter)
    assert next(stream).startswith(b":")
    assert b"Action deploy is scheduled" in next(stream)
    finish(cloud, environment_id, {"result": None, "isException": False})
    assert b"Deployment finished" in next(stream)
    assert b"event: finished" in next(stream)
    assert next(stream, None) is None


def test_only_so_many_streams_are_open_and_closed_ones_make_room(cloud: Cloud, deployed: tuple[str, str]) -> None:
    path = "/v1/environments/{}/deployments/{}/events".format(*deployed)
    first, _second = (cloud.member("GET", path).app_iter for _ in range(2))
    cloud.member("GET", path, status=503)
    first.close()
    first.close()
    third = cloud.member("GET", path).app_iter
    cloud.member("GET", path, status=503)
    third.close()


def print_lines(cloud: Cloud, deployment_id: str, *lines: str) -> None:
    """As a server's agent does."""
    with cloud.database.transaction() as session:
        plan = session.get(agents.AgentPlan, "p1")
        if plan is None:
            environment_id = session.get(deployments.Deployment, deployment_id).environment_id
            of = {"environment_id": environment_id, "project_id": cloud.member.project_id, "instance_id": "vm"}
            agents.register(session, agent_id="a" * 32, token_hash="0" * 64, **of)
            session.flush()
            plan = agents.queue(session, agent_id="a" * 32, plan_id="p1", plan={"Name": "Install"}, timeout=None)
            outputs.watch(
                session,
                deployment_id=deployment_id,
                agent_id="a" * 32,
                entity_id="vm",
                plan_id="p1",
                plan=plan.plan,
            )
            session.flush()
        place = outputs.add(session, plan, outputs.Piece(begin=0, end=0, texts=[]))
        for line in lines:
            place = outputs.add(
                session, plan, outputs.Piece(begin=place, end=place + 1, texts=[("run", "stdout", line)])
            )


def test_what_scripts_print_is_read_piece_by_piece(cloud: Cloud, deployed: tuple[str, str]) -> None:
    path = "/v1/environments/{}/deployments/{}/output".format(*deployed)
    assert cloud.member.json("GET", path) == {"output": [], "next": 0}
    print_lines(cloud, deployed[1], "one\n", "two\n", "password=x\n")
    first = cloud.member.json("GET", f"{path}?limit=2")
    assert [chunk["text"] for chunk in first["output"]] == ["one\n", "two\n"]
    assert {name: first["output"][0][name] for name in ("entity_id", "plan", "plan_id", "script", "stream")} == {
        "entity_id": "vm",
        "plan": "Install",
        "plan_id": "p1",
        "script": "run",
        "stream": "stdout",
    }
    rest = cloud.member.json("GET", f"{path}?after={first['next']}")
    assert [chunk["text"] for chunk in rest["output"]] == ["password=*** SANITIZED ***\n"]
    assert cloud.member.json("GET", f"{path}?after={rest['next']}") == {"output": [], "next": 3}
    for wrong in ("after=-1", "after=x", "limit=1.5", "after=99999999999", "after=²"):
        cloud.member("GET", f"{path}?{wrong}", status=400)
    cloud.stranger("GET", path, status=403)


def test_events_have_the_output_for_those_who_ask_for_it(cloud: Cloud, deployed: tuple[str, str]) -> None:
    path = "/v1/environments/{}/deployments/{}/events".format(*deployed)
    print_lines(cloud, deployed[1], *(f"{number}\n" for number in range(120)))
    assert [kind for _, kind, _ in events(cloud.member, path)] == ["report", "report", "report", "finished"]
    found = events(cloud.member, f"{path}?output=true")
    assert [kind for _, kind, _ in found] == ["report"] * 3 + ["output"] * 120 + ["finished"]
    assert "".join(data["text"] for _, kind, data in found if kind == "output").split() == [
        str(number) for number in range(120)
    ]
    assert [found[number][0] for number in (0, 2, 3, 122, 123)] == ["1.0", "3.0", "3.1", "3.120", "3.120"]
    resumed = events(cloud.member, f"{path}?output=true", Last_Event_ID="3.118")
    assert [data.get("text") for _, _, data in resumed] == ["118\n", "119\n", None]


# --- actions ---------------------------------------------------------------------------------------------------------


def test_an_action_is_a_deployment_of_one_method(
    cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine
) -> None:
    environment_id, _ = deployed
    path = f"/v1/environments/{environment_id}"
    task_id = cloud.member.json("POST", f"{path}/actions/a1_scaleUp", {"by": 2})["task_id"]
    assert engine.was_woken_for(task_id)
    assert cloud.member.json("GET", path)["status"] == "deploying"
    assert cloud.member.json("GET", f"{path}/actions/{task_id}") == {}
    newest = cloud.member.json("GET", f"{path}/deployments")["deployments"][0]
    assert newest["action"] == {"object_id": "a1", "method": "scaleUp", "args": {"by": 2}}
    cloud.member("POST", f"{path}/actions/a1_scaleUp", {}, status=403)
    finish(cloud, environment_id, {"result": [1], "isException": False})
    assert cloud.member.json("GET", f"{path}/actions/{task_id}") == {"result": [1], "isException": False}
    other = cloud.member.environment("other")["id"]
    cloud.member("GET", f"/v1/environments/{other}/actions/{task_id}", status=404)


def test_an_action_that_cannot_be_leaves_no_session_behind(cloud: Cloud, deployed: tuple[str, str]) -> None:
    """The original left one open, so that the environment looked changed (spec/api-v1 §5 B9)."""
    path = f"/v1/environments/{deployed[0]}"
    cloud.member("POST", f"{path}/actions/a1_nothing", {}, status=404)
    cloud.member("POST", f"{path}/actions/a1_off", {}, status=400)
    cloud.member("POST", f"{path}/actions/a1_scaleUp", status=400)
    cloud.member("POST", f"{path}/actions/a1_scaleUp", [], status=400)
    cloud.reader("POST", f"{path}/actions/a1_scaleUp", {}, status=403)
    cloud.stranger("POST", f"{path}/actions/a1_scaleUp", {}, status=403)
    assert cloud.member.json("GET", path)["status"] == "ready"


def test_a_running_deployment_can_be_cancelled_and_a_finished_one_not(
    cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine
) -> None:
    environment_id, done = deployed
    path = f"/v1/environments/{environment_id}"
    task_id = cloud.member.json("POST", f"{path}/actions/a1_scaleUp", {})["task_id"]
    cloud.reader("POST", f"{path}/deployments/{task_id}/cancel", status=403)
    cloud.member("POST", f"{path}/deployments/{task_id}/cancel")
    with cloud.database.reading() as work:
        row = work.get(deployments.Deployment, task_id)
        assert row is not None
        assert row.state == deployments.CANCELLING
    cloud.member("POST", f"{path}/deployments/{done}/cancel", status=409)


FAILURE = {"places": ["0.1.0/4"], "effects": 1, "refused": None, "stacks": []}
FAILED = {"result": {"message": "no valid host", "details": None}, "isException": True}


@pytest.fixture
def failed(cloud: Cloud, deployed: tuple[str, str]) -> tuple[str, str]:
    """An environment whose last deployment has failed: (environment id, deployment id)."""
    environment_id, _ = deployed
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/sessions/{cloud.member.session(environment_id)}/deploy")
    deployment_id = cloud.member.json("GET", f"{path}/deployments")["deployments"][0]["id"]
    finish(cloud, environment_id, FAILED)
    with cloud.database.transaction() as work:
        work.get_one(deployments.Deployment, deployment_id).failure = FAILURE
        effect = {"deployment_id": deployment_id, "key": "0.1.0/4", "name": "heat.push", "digest": "0" * 64}
        work.add(journal.JournalEntry(**effect, arguments={}, started=base.now(), finished=base.now()))
    return environment_id, deployment_id


def test_a_failed_deployment_is_retried_as_a_deployment_of_the_same(
    cloud: Cloud, failed: tuple[str, str], engine: ScriptedEngine
) -> None:
    environment_id, deployment_id = failed
    path = f"/v1/environments/{environment_id}"
    assert cloud.member.json("GET", path)["status"] == "deploy failure"
    cloud.reader("POST", f"{path}/deployments/{deployment_id}/retry", status=403)
    cloud.stranger("POST", f"{path}/deployments/{deployment_id}/retry", status=403)
    made = cloud.member.json("POST", f"{path}/deployments/{deployment_id}/retry")
    assert engine.was_woken_for(made["id"])
    assert made["retry_of"] == deployment_id
    first, second = cloud.member.json("GET", f"{path}/deployments")["deployments"][:2]
    assert (first["id"], first["state"]) == (made["id"], "running")
    assert (first["action"], first["description"]) == (second["action"], second["description"])
    assert "retry_of" not in second
    assert cloud.member.json("GET", path)["status"] == "deploying"
    cloud.member("POST", f"{path}/deployments/{deployment_id}/retry", status=403)
    version = cloud.member.json("GET", path)["version"]
    finish(cloud, environment_id, {"result": None, "isException": False})
    shown = cloud.member.json("GET", path)
    assert (shown["status"], shown["version"]) == ("ready", version + 1)


def test_a_retry_is_refused_with_the_reason(cloud: Cloud, failed: tuple[str, str], engine: ScriptedEngine) -> None:
    environment_id, deployment_id = failed
    path = f"/v1/environments/{environment_id}"

    def refused() -> str:
        return cloud.member("POST", f"{path}/deployments/{deployment_id}/retry", status=409).text

    def changed(**fields: Any) -> None:
        with cloud.database.transaction() as work:
            for name, value in fields.items():
                setattr(work.get_one(deployments.Deployment, deployment_id), name, value)

    changed(result={"result": None, "isException": False})
    assert "it succeeded" in refused()
    changed(result=FAILED, failure=None)
    assert "before this service could" in refused()
    changed(failure={**FAILURE, "refused": "The packages changed"})
    assert "The packages changed. Deploy the environment instead." in refused()
    changed(failure={**FAILURE, "effects": 2})
    assert "journal has been removed" in refused()
    changed(failure=FAILURE)
    with cloud.database.reading() as work:
        lock = work.get_one(deployments.Deployment, deployment_id).lock
    changed(lock=[{**entry, "digest": "0" * 64} for entry in lock])
    assert "a package that it ran with was changed or removed" in refused()
    changed(lock=lock)
    cloud.member("PUT", path, {"name": "another"})
    assert "the environment's model was changed since" in refused()
    assert cloud.member.json("GET", path)["status"] == "deploy failure"
    cloud.member("POST", f"{path}/sessions/{cloud.member.session(environment_id)}/deploy")
    finish(cloud, environment_id, FAILED)
    newest = cloud.member.json("GET", f"{path}/deployments")["deployments"][0]["id"]
    assert f"deployment {newest} ran after it" in refused()


# --- questions to the engine -----------------------------------------------------------------------------------------


def test_a_static_action_is_answered_at_once(cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine) -> None:
    engine.answer = "Hello, John"
    assert cloud.member("POST", "/v1/actions", STATIC).body == b'"Hello, John"'
    name, arguments = engine.asked[-1]
    assert name == "static_action"
    assert (arguments["class_name"], arguments["class_version"]) == ("org.example.App", "=0")
    assert [entry["fqn"] for entry in arguments["lock"]] == ["io.murano", "org.example.App"]
    engine.answer = None
    assert cloud.member("POST", "/v1/actions", STATIC).body == b""


class NoMethodFound(Exception):
    pass


class ContractViolation(Exception):
    pass


class NoMatchingMethodException(Exception):
    pass


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (NoMethodFound("greet"), 404),
        (NoMatchingMethodException("arguments"), 400),
        (ContractViolation("name"), 400),
        (ValueError("x"), 400),
        (OSError("disk"), 503),
    ],
)
def test_what_the_engine_raises_becomes_the_originals_status(
    cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine, failure: Exception, status: int
) -> None:
    engine.answer = failure
    cloud.member("POST", "/v1/actions", STATIC, status=status)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"className": ""}, 400),
        ({"methodName": None}, 400),
        ({"classVersion": "aaa"}, 400),
        ({"parameters": []}, 400),
        ({"className": "org.example.Nothing"}, 404),
        ({"packageName": "org.example.Nothing"}, 404),
        ({"classVersion": ">=5"}, 404),
    ],
)
def test_a_static_action_of_nothing_never_reaches_the_engine(
    cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine, changes: dict[str, Any], status: int
) -> None:
    cloud.member("POST", "/v1/actions", {**STATIC, **changes}, status=status)
    assert engine.asked == []


def test_a_check_gives_the_engines_problems_and_its_own(
    cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine
) -> None:
    path = f"/v1/environments/{deployed[0]}"
    problem = {
        "object_id": "a1",
        "type": "org.example.App",
        "path": "db",
        "message": "is missing",
        "expected": "an org.example.Db",
        "found": "null",
        "fix": None,
    }
    note = {"region": None, "message": "Not looked at: flavors (no answer within 15 s)"}
    engine.answer = {"problems": [problem], "notes": [note]}
    assert cloud.member.json("POST", f"{path}/check") == engine.answer
    _, arguments = engine.asked[-1]
    assert arguments["model"]["Objects"]["?"]["id"] == deployed[0]
    session_id = cloud.member.session(deployed[0])
    unknown = {"?": {"id": "x", "type": "org.example.Unknown"}}
    cloud.member("POST", f"{path}/services", unknown, X_Configuration_Session=session_id)
    [found] = cloud.member.json("POST", f"{path}/check", X_Configuration_Session=session_id)["problems"]
    assert "org.example.Unknown" in found["message"]
    cloud.stranger("POST", f"{path}/check", status=403)


def test_schemas_are_the_engines(cloud: Cloud, deployed: tuple[str, str], engine: ScriptedEngine) -> None:
    engine.answer = {"": {"type": "object"}}
    assert cloud.member.json("GET", "/v1/schemas/org.example.App/one,two?packageName=org.example.App") == engine.answer
    assert engine.asked[-1][1]["method_names"] == ["one", "two"]
    cloud.member("GET", "/v1/schemas/org.example.Nothing", status=404)
    cloud.member("GET", "/v1/schemas/org.example.App?classVersion=x", status=400)


def test_the_topology_is_a_graph_of_the_applications(cloud: Cloud, deployed: tuple[str, str]) -> None:
    graph = cloud.member.json("GET", f"/v1/environments/{deployed[0]}/topology")
    assert {node["id"] for node in graph["nodes"]} == {"a1", "d1"}
    cloud.stranger("GET", f"/v1/environments/{deployed[0]}/topology", status=403)
