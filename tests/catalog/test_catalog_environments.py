"""Environments and their sessions, as spec/api-v1 §1.4 and §1.5 tell them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_cloud import Cloud, archive_of

from catalog.db import deployments, environments, sessions, statuses

APP = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web"}
UNKNOWN = "0" * 32


def test_a_new_environment_has_no_status_and_is_ready_when_shown(cloud: Cloud) -> None:
    created = cloud.member.environment("e1")
    assert set(created) == {"id", "name", "tenant_id", "version", "description_text", "created", "updated"}
    shown = cloud.member.json("GET", f"/v1/environments/{created['id']}")
    assert shown == {**created, "status": "ready", "acquired_by": None, "services": []}


def test_other_keys_of_the_creation_are_echoed_but_decide_nothing(cloud: Cloud) -> None:
    created = cloud.member.environment("e1", region="R", id="mine", version=7, tenant_id="theirs", color="red")
    assert created["color"] == "red"
    assert created["region"] == "R"
    assert (created["version"], created["tenant_id"]) == (0, cloud.member.project_id)
    assert created["id"] != "mine"


def test_the_default_network_is_named_after_the_environment(cloud: Cloud) -> None:
    environment_id = cloud.member.environment("e1")["id"]
    model = cloud.member.json("GET", f"/v1/environments/{environment_id}/model/")
    assert model["?"]["type"] == "io.murano.Environment"
    assert model["defaultNetworks"]["environment"]["name"] == "e1-network"
    assert model["defaultNetworks"]["flat"] is None
    name = cloud.member("GET", f"/v1/environments/{environment_id}/model/defaultNetworks/environment/name")
    assert name.body == b'"e1-network"'


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, 5, None, ["a"], "a\x00b"])
def test_a_bad_name_is_a_400_and_stores_nothing(cloud: Cloud, name: Any) -> None:
    cloud.member("POST", "/v1/environments", {"name": name}, status=400)
    assert cloud.member.json("GET", "/v1/environments") == {"environments": []}


def test_a_name_is_taken_once_per_project(cloud: Cloud) -> None:
    cloud.member.environment("$yaql ♥ unicode")
    cloud.member("POST", "/v1/environments", {"name": "$yaql ♥ unicode"}, status=409)
    cloud.stranger.environment("$yaql ♥ unicode")


def test_a_rename_reaches_the_model_and_open_sessions(cloud: Cloud) -> None:
    environment_id = cloud.member.environment("old")["id"]
    session_id = cloud.member.session(environment_id)
    renamed = cloud.member.json("PUT", f"/v1/environments/{environment_id}", {"name": "new"})
    assert renamed["name"] == "new"
    path = f"/v1/environments/{environment_id}/model/name"
    assert cloud.member.json("GET", path) == "new"
    assert cloud.member.json("GET", path, X_Configuration_Session=session_id) == "new"
    cloud.member.environment("taken")
    cloud.member("PUT", f"/v1/environments/{environment_id}", {"name": "taken"}, status=409)
    cloud.member("PUT", f"/v1/environments/{environment_id}", {}, status=404)


def test_another_projects_environment_is_forbidden_except_to_administrators(cloud: Cloud) -> None:
    environment_id = cloud.member.environment()["id"]
    cloud.stranger("GET", f"/v1/environments/{environment_id}", status=403)
    cloud.stranger("PUT", f"/v1/environments/{environment_id}", {"name": "x"}, status=403)
    cloud.stranger("DELETE", f"/v1/environments/{environment_id}", status=403)
    cloud.stranger("POST", f"/v1/environments/{environment_id}/configure", status=403)
    cloud.admin("GET", f"/v1/environments/{environment_id}")
    cloud.member("GET", f"/v1/environments/{UNKNOWN}", status=404)


def test_a_list_shows_the_own_project_and_everything_only_to_administrators(cloud: Cloud) -> None:
    cloud.member.environment("mine")
    cloud.stranger.environment("theirs")

    def names(client: Any, query: str = "", status: int = 200) -> list[str]:
        answer = client("GET", f"/v1/environments{query}", status=status)
        return [each["name"] for each in answer.json["environments"]] if status == 200 else []

    assert names(cloud.member, "?all_tenants=False") == ["mine"]
    assert names(cloud.admin) == []
    assert names(cloud.admin, "?all_tenants=TRUE") == ["mine", "theirs"]
    assert names(cloud.admin, f"?tenant={cloud.stranger.project_id}") == ["theirs"]
    names(cloud.member, "?all_tenants=true", status=403)
    names(cloud.member, f"?tenant={cloud.stranger.project_id}", status=403)


def test_an_environment_that_was_never_deployed_is_deleted_at_once(cloud: Cloud) -> None:
    environment_id = cloud.member.environment()["id"]
    answer = cloud.member("DELETE", f"/v1/environments/{environment_id}?abandon=False")
    assert (answer.body, answer.content_type) == (b"", "application/json")
    cloud.member("GET", f"/v1/environments/{environment_id}", status=404)
    cloud.member("DELETE", f"/v1/environments/{environment_id}", status=404)


def test_deleting_a_deployed_environment_is_the_engines_work(cloud: Cloud, core: None) -> None:
    environment_id = cloud.member.environment()["id"]
    with cloud.database.transaction() as session:
        row = environments.get(session, environment_id)
        assert row is not None
        row.model = {**row.model, "ObjectsCopy": row.model["Objects"]}
    cloud.member("DELETE", f"/v1/environments/{environment_id}")
    assert cloud.member.json("GET", f"/v1/environments/{environment_id}")["status"] == "deleting"
    cloud.member("DELETE", f"/v1/environments/{environment_id}", status=403)
    [deployment] = cloud.member.json("GET", f"/v1/environments/{environment_id}/deployments")["deployments"]
    assert deployment["action"] is None
    assert deployment["description"] == {"services": []}
    path = f"/v1/environments/{environment_id}/deployments/{deployment['id']}"
    assert [each["text"] for each in cloud.member.json("GET", path)["reports"]] == ["Action None is scheduled"]
    cloud.member("DELETE", f"/v1/environments/{environment_id}?abandon=true")
    cloud.member("GET", f"/v1/environments/{environment_id}", status=404)
    with cloud.database.reading() as session:
        for table in (sessions.Session, deployments.Deployment, statuses.Status):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0


# --- sessions --------------------------------------------------------------------------------------------------------


def test_opening_a_session_makes_the_environment_pending(cloud: Cloud) -> None:
    environment_id = cloud.member.environment()["id"]
    opened = cloud.member.json("POST", f"/v1/environments/{environment_id}/configure")
    assert set(opened) == {"id", "environment_id", "user_id", "state", "version", "created", "updated"}
    assert (opened["state"], opened["version"], opened["user_id"]) == ("opened", 0, cloud.member.user_id)
    path = f"/v1/environments/{environment_id}/sessions/{opened['id']}"
    assert cloud.member.json("GET", path) == opened
    assert cloud.member.json("GET", "/v1/environments")["environments"][0]["status"] == "pending"
    assert cloud.member("DELETE", path).body == b""
    cloud.member("DELETE", path, status=404)
    assert cloud.member.json("GET", f"/v1/environments/{environment_id}")["status"] == "ready"


def test_the_order_of_a_sessions_checks_is_the_originals(cloud: Cloud) -> None:
    first, second = cloud.member.environment("a")["id"], cloud.member.environment("b")["id"]
    session_id = cloud.member.session(first)
    cloud.member("GET", f"/v1/environments/None/sessions/{session_id}", status=400)
    cloud.member("GET", f"/v1/environments/{second}/sessions/{session_id}", status=400)
    cloud.member("GET", f"/v1/environments/None/sessions/{UNKNOWN}", status=404)
    cloud.stranger("GET", f"/v1/environments/{first}/sessions/{session_id}", status=403)
    cloud.stranger("POST", f"/v1/environments/{first}/sessions/{session_id}/deploy", status=403)
    cloud.colleague("GET", f"/v1/environments/{first}/sessions/{session_id}", status=403)
    cloud.colleague("DELETE", f"/v1/environments/{first}/sessions/{session_id}", status=403)
    cloud.member("POST", f"/v1/environments/{UNKNOWN}/configure", status=404)


def test_a_session_cannot_be_used_in_another_environment(cloud: Cloud) -> None:
    """The original let any session be read and written through any environment (spec/api-v1 §5 B1)."""
    mine, theirs = cloud.member.environment()["id"], cloud.stranger.environment()["id"]
    session_id = cloud.member.session(mine)
    for path in ("", "/services", "/lastStatus", "/model/"):
        cloud.stranger("GET", f"/v1/environments/{theirs}{path}", X_Configuration_Session=session_id, status=400)
    for method, body in (("POST", APP), ("PUT", []), ("DELETE", None)):
        path = f"/v1/environments/{theirs}/services"
        cloud.stranger(method, path, body, X_Configuration_Session=session_id, status=400)
    for path in ("", "/services", "/lastStatus", "/model/"):
        cloud.member("GET", f"/v1/environments/{mine}{path}", X_Configuration_Session=UNKNOWN, status=404)


def test_deploying_takes_the_environment_and_wakes_the_engine(cloud: Cloud, core: None) -> None:
    environment_id = cloud.member.environment()["id"]
    session_id, other = cloud.member.session(environment_id), cloud.member.session(environment_id)
    answer = cloud.colleague("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy")
    assert answer.body == b""
    shown = cloud.member.json("GET", f"/v1/environments/{environment_id}")
    assert (shown["status"], shown["acquired_by"]) == ("deploying", session_id)
    [deployment] = cloud.member.json("GET", "/v1/deployments")["deployments"]
    assert deployment["state"] == "running"
    assert deployment["action"] == {"object_id": environment_id, "method": "deploy", "args": {}}
    assert deployment["description"]["?"]["id"] == environment_id
    with cloud.database.reading() as session:
        row = session.get(deployments.Deployment, deployment["id"])
        assert row is not None
        assert [(entry["fqn"], entry["version"]) for entry in row.lock] == [("io.murano", "0.0.1")]
        assert row.project_id == cloud.member.project_id
    base = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{base}/configure", status=403)
    cloud.member("POST", f"{base}/sessions/{other}/deploy", status=403)
    cloud.member("POST", f"{base}/sessions/{session_id}/deploy", status=403)
    cloud.member("DELETE", f"{base}/sessions/{session_id}", status=403)
    cloud.member("POST", f"{base}/services", APP, X_Configuration_Session=session_id, status=403)
    cloud.member("DELETE", base, status=403)


def test_a_deployed_session_is_invalid_and_the_environment_shown_instead(cloud: Cloud, core: None) -> None:
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    cloud.member("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy")
    finish(cloud, environment_id, session_id)
    cloud.member("GET", f"/v1/environments/{environment_id}/sessions/{session_id}", status=403)
    cloud.member("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy", status=403)
    shown = cloud.member.json("GET", f"/v1/environments/{environment_id}", X_Configuration_Session=session_id)
    assert (shown["status"], shown["version"]) == ("ready", 1)
    cloud.member("DELETE", f"/v1/environments/{environment_id}/sessions/{session_id}")


def finish(cloud: Cloud, environment_id: str, session_id: str, state: str = "deployed") -> None:
    """What the engine writes at the end of a deployment."""
    with cloud.database.transaction() as session:
        environment, row = environments.get(session, environment_id), sessions.get(session, session_id)
        assert environment is not None
        assert row is not None
        environment.model = {**row.model, "ObjectsCopy": row.model["Objects"]}
        environment.version += 1
        row.state = state
        for deployment in deployments.unfinished(session, environment_id):
            deployment.state = deployments.FINISHED
            deployment.result = {"result": None, "isException": state != "deployed"}


def test_what_cannot_be_deployed_is_said_at_once_and_changes_nothing(cloud: Cloud, core: None) -> None:
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    cloud.member("POST", f"/v1/environments/{environment_id}/services", APP, X_Configuration_Session=session_id)
    answer = cloud.member("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy", status=400)
    assert "type org.example.App in the model is defined by no package" in answer.text
    assert cloud.member.json("GET", f"/v1/environments/{environment_id}/sessions/{session_id}")["state"] == "opened"
    assert cloud.member.json("GET", "/v1/deployments") == {"deployments": []}


@pytest.mark.parametrize("version", [{"a": 1}, [1], 5, "nonsense", ">=9"])
def test_a_version_that_is_none_or_nowhere_is_a_400(cloud: Cloud, core: None, version: Any) -> None:
    cloud.member.upload(archive_of("org.example.App"))
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    app = {"?": {"id": "a1", "type": "org.example.App", "classVersion": version}}
    cloud.member("POST", f"/v1/environments/{environment_id}/services", app, X_Configuration_Session=session_id)
    answer = cloud.member("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy", status=400)
    assert "org.example.App" in answer.text


def test_of_two_sessions_deployed_at_the_same_time_one_wins(cloud: Cloud, core: None) -> None:
    """The original had nothing between the check and the commit (spec/api-v1 §5 B8)."""
    environment_id = cloud.member.environment()["id"]
    ids = [cloud.member.session(environment_id) for _ in range(4)]
    codes: list[int] = []

    def deploy(session_id: str) -> None:
        path = f"/v1/environments/{environment_id}/sessions/{session_id}/deploy"
        codes.append(cloud.member("POST", path, status=None).status_int)

    threads = [threading.Thread(target=deploy, args=(each,)) for each in [*ids, *ids]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [403] * 7
    assert len(cloud.member.json("GET", "/v1/deployments")["deployments"]) == 1


STATUS_STORIES = [
    ([], "ready"),
    (["opened"], "pending"),
    (["deployed"], "ready"),
    (["opened", "deployed"], "pending"),
    (["deployed", "opened"], "ready"),
    (["opened", "deploy failure"], "deploy failure"),
    (["deployed", "deploy failure"], "ready"),
    (["opened", "deploying", "deployed"], "deploying"),
    (["deleting", "opened"], "deleting"),
    (["opened", "delete failure"], "delete failure"),
]


@pytest.mark.parametrize(("states", "status"), STATUS_STORIES)
def test_the_status_follows_from_the_sessions_newest_first(states: list[str], status: str) -> None:
    assert environments.status_of(states) == status


def test_a_reader_reads_and_changes_nothing(cloud: Cloud) -> None:
    environment_id = cloud.member.environment()["id"]
    cloud.reader("GET", f"/v1/environments/{environment_id}")
    cloud.reader("POST", "/v1/environments", {"name": "x"}, status=403)
    cloud.reader("POST", f"/v1/environments/{environment_id}/configure", status=403)
    cloud.reader("DELETE", f"/v1/environments/{environment_id}", status=403)


def test_listing_environments_takes_the_same_number_of_queries_however_many_there_are(cloud: Cloud) -> None:
    """The original read every session's whole model (spec/api-v1 §5 B15)."""

    def queries() -> int:
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        sa.event.listen(cloud.database.engine, "before_cursor_execute", note)
        cloud.member("GET", "/v1/environments")
        sa.event.remove(cloud.database.engine, "before_cursor_execute", note)
        assert not any("model" in statement for statement in seen)
        return len(seen)

    cloud.member.session(cloud.member.environment("first")["id"])
    one = queries()
    for number in range(5):
        cloud.member.session(cloud.member.environment(f"e{number}")["id"])
    assert queries() == one
