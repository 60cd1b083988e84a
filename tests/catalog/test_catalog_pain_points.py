"""The 38 pain points of the original (spec/api-v1 §5), and the story that says each is over.

`STORIES` leads from each to its tests, here or where the rest of its subject is told.
"""

from __future__ import annotations

import ast
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
import webob
from catalog_cloud import Client, Cloud, archive_of, multipart
from catalog_engine import finish

from catalog import config, service
from catalog.api import routing
from catalog.api.v1 import urls
from catalog.db import deployments, environments, instance_stats, statuses

HERE = "catalog/test_catalog_pain_points.py"
ENVIRONMENTS = "catalog/test_catalog_environments.py"
SERVICES = "catalog/test_catalog_services.py"
DEPLOYMENTS = "catalog/test_catalog_deployments.py"
PACKAGES = "catalog/test_catalog_packages.py"
SEARCH = "catalog/test_catalog_package_search.py"
TEMPLATES = "catalog/test_catalog_templates.py"
TRANSPORT = "catalog/test_catalog_transport.py"
PERSONAS = "catalog/test_catalog_personas.py"

# The pain point, the file of its tests, and their names.
STORIES: list[tuple[str, str, list[str]]] = [
    ("B1", ENVIRONMENTS, ["test_a_session_cannot_be_used_in_another_environment"]),
    ("B2", DEPLOYMENTS, ["test_reports_of_another_project_are_its_own"]),
    ("B2", PERSONAS, ["test_everybody_gets_the_code_of_the_table"]),
    ("B3", ENVIRONMENTS, ["test_other_keys_of_the_creation_are_echoed_but_decide_nothing"]),
    ("B3", HERE, ["test_what_the_service_decides_of_a_template_is_not_taken_from_a_body"]),
    ("B4", TEMPLATES, ["test_only_its_project_changes_a_template_public_or_not"]),
    ("B5", SERVICES, ["test_patches_need_a_session_that_may_be_edited"]),
    ("B6", HERE, ["test_a_session_that_deletes_its_environment_cannot_be_deleted"]),
    ("B7", HERE, ["test_a_deployment_is_stored_when_no_broker_takes_its_wake_up"]),
    ("B7", "engine/test_engine_worker.py", ["test_what_a_dead_worker_had_is_taken_over_when_its_lease_runs_out"]),
    ("B8", ENVIRONMENTS, ["test_of_two_sessions_deployed_at_the_same_time_one_wins"]),
    ("B9", DEPLOYMENTS, ["test_an_action_that_cannot_be_leaves_no_session_behind"]),
    ("B10", TEMPLATES, ["test_applications_of_a_template_are_edited_by_id"]),
    ("B11", HERE, ["test_a_report_belongs_to_its_deployment_and_has_its_place_in_it"]),
    ("B12", HERE, ["test_adding_a_tag_or_a_category_again_changes_nothing"]),
    ("B13", SEARCH, ["test_pages_of_a_search_follow_each_other_in_its_order"]),
    ("B14", PACKAGES, ["test_a_marker_tells_nothing_about_other_projects_packages"]),
    ("B14", HERE, ["test_a_percent_sign_in_a_search_is_one"]),
    ("B15", ENVIRONMENTS, ["test_listing_environments_takes_the_same_number_of_queries_however_many_there_are"]),
    ("B15", HERE, ["test_reads_of_an_environment_take_the_same_number_of_queries_however_much_it_has"]),
    ("B16", HERE, ["test_a_category_shows_only_packages_one_may_see"]),
    (
        "B17",
        PACKAGES,
        [
            "test_an_archive_over_the_limit_is_refused",
            "test_listing_packages_takes_the_same_number_of_queries_however_many_and_reads_no_archive",
        ],
    ),
    ("B18", HERE, ["test_an_instance_that_is_tracked_again_changes_no_other"]),
    ("B19", HERE, ["test_of_many_uploads_of_one_package_at_the_same_time_one_is_stored"]),
    ("B20", DEPLOYMENTS, ["test_reports_can_be_asked_for_one_application_and_what_is_in_it"]),
    ("B21", HERE, ["test_a_remove_needs_no_value"]),
    ("B22", HERE, ["test_a_patch_below_nothing_is_a_404_that_does_not_show_the_model"]),
    ("B23", HERE, ["test_an_application_is_put_by_its_id_and_nothing_is_posted_below_one"]),
    ("B24", HERE, ["test_an_unknown_application_is_nothing_and_of_a_template_a_404"]),
    ("B25", SERVICES, ["test_what_is_no_application_is_refused_and_poisons_nothing"]),
    ("B26", SERVICES, ["test_an_object_in_place_of_the_list_is_refused"]),
    ("B27", HERE, ["test_what_was_a_500_is_a_4xx"]),
    ("B27", "service/test_service_contract.py", ["test_the_service_keeps_to_its_document_for_members"]),
    ("B28", HERE, ["test_errors_are_pages_without_markup_of_their_own"]),
    ("B29", ENVIRONMENTS, ["test_a_rename_reaches_the_model_and_open_sessions"]),
    ("B30", HERE, ["test_a_caller_without_roles_has_none"]),
    ("B31", ENVIRONMENTS, ["test_a_bad_name_is_a_400_and_stores_nothing"]),
    ("B31", HERE, ["test_a_name_that_is_none_is_a_400_and_one_that_is_taken_a_409"]),
    ("B32", HERE, ["test_a_session_of_a_colleague_is_not_ones_own_but_may_be_deployed"]),
    ("B33", HERE, ["test_a_deletion_is_counted_once"]),
    ("B34", TRANSPORT, ["test_statistics_are_for_administrators"]),
    ("B35", SERVICES, ["test_no_application_is_lost_when_many_are_added_at_the_same_time"]),
    ("B36", HERE, ["test_what_only_sounds_like_a_secret_is_shown"]),
    ("B36", DEPLOYMENTS, ["test_secrets_in_a_deployments_model_are_masked"]),
    ("B37", HERE, ["test_an_exception_is_no_success"]),
    ("B38", SERVICES, ["test_the_status_a_list_showed_is_not_stored_when_it_comes_back"]),
]

APP = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web"}
MODEL_PATCH = "application/env-model-json-patch"
PACKAGE_PATCH = "application/murano-packages-json-patch"


def test_every_pain_point_has_its_story() -> None:
    assert {point for point, _, _ in STORIES} == {f"B{number}" for number in range(1, 39)}
    tests = pathlib.Path(__file__).parents[1]
    for point, file, names in STORIES:
        tree = ast.parse((tests / file).read_text(encoding="utf-8"))
        there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert set(names) <= there, f"{point}: {file} has no {', '.join(set(names) - there)}"


@pytest.fixture
def editing(cloud: Cloud) -> tuple[str, str]:
    """An environment and a session of it, in which it has an application: its path, and the session's id."""
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/services", APP, X_Configuration_Session=session_id)
    return path, session_id


@pytest.fixture
def deployed(cloud: Cloud, core: None) -> str:
    """An environment that was deployed once, by the path of it."""
    cloud.member.upload(archive_of("org.example.App"))
    environment_id = cloud.member.environment("deployed")["id"]
    session_id = cloud.member.session(environment_id)
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/services", APP, X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")
    finish(cloud, environment_id, {"result": None, "isException": False})
    return path


# --- environments and their sessions ---------------------------------------------------------------------------------


def test_a_session_that_deletes_its_environment_cannot_be_deleted(cloud: Cloud, deployed: str) -> None:
    """In the original it could; the environment then looked ready while the engine tore it down (B6)."""
    cloud.member("DELETE", deployed)
    session_id = cloud.member.json("GET", deployed)["acquired_by"]
    cloud.member("DELETE", f"{deployed}/sessions/{session_id}", status=403)
    assert cloud.member.json("GET", deployed)["status"] == "deleting"


def test_a_deployment_is_stored_when_no_broker_takes_its_wake_up(
    cloud: Cloud, core: None, caplog: pytest.LogCaptureFixture
) -> None:
    """In the original the environment was "deploying" for ever after a 500 (B7). Here a worker finds the row."""
    options = {
        "database": {"connection": str(cloud.database.engine.url)},
        "messaging": {"transport_url": "rabbit://nobody@127.0.0.1:1/", "exchange": "nowhere"},
    }
    app = service.create_app(config.load(overrides=options), database=cloud.database)
    client = Client(app, cloud.member.token, cloud.member.project_id, cloud.member.user_id)
    environment_id = client.environment()["id"]
    client("POST", f"/v1/environments/{environment_id}/sessions/{client.session(environment_id)}/deploy")
    assert "no worker could be woken" in caplog.text
    with cloud.database.reading() as session:
        [waiting] = deployments.unfinished(session, environment_id)
        assert waiting.state == deployments.QUEUED
    app.services.engine.close()


def test_a_session_of_a_colleague_is_not_ones_own_but_may_be_deployed(cloud: Cloud, core: None) -> None:
    """The original said 401, which clients report as a failed login (B32)."""
    environment_id = cloud.member.environment()["id"]
    path = f"/v1/environments/{environment_id}/sessions/{cloud.member.session(environment_id)}"
    assert "another user" in cloud.colleague("GET", path, status=403).text
    cloud.colleague("DELETE", path, status=403)
    cloud.colleague("POST", f"{path}/deploy")


def test_what_was_a_500_is_a_4xx(cloud: Cloud, editing: tuple[str, str]) -> None:
    """Every 500 crashes the client of the original's dashboard (B27)."""
    path, session_id = editing
    unknown = {"X_Configuration_Session": "0" * 32}
    patch = [{"op": "replace", "path": "/name", "value": "x"}]
    cloud.member("GET", f"{path}/lastStatus", status=404, **unknown)
    cloud.member("GET", f"{path}/model/", status=404, **unknown)
    cloud.member("PATCH", f"{path}/model/", patch, Content_Type=MODEL_PATCH, status=400)
    cloud.member("PATCH", f"{path}/model/", patch, Content_Type=MODEL_PATCH, status=404, **unknown)
    cloud.member("PATCH", f"{path}/model/", patch, X_Configuration_Session=session_id, status=400)
    cloud.member("POST", "/v1/environments", {"name": 5}, status=400)
    cloud.admin("POST", "/v1/catalog/categories", status=400)
    cloud.member("GET", path, Accept="application/octet-stream", status=406)


# --- applications and models -----------------------------------------------------------------------------------------


def test_a_patch_below_nothing_is_a_404_that_does_not_show_the_model(cloud: Cloud, editing: tuple[str, str]) -> None:
    """The original answered 500 with the whole model in the message (B22)."""
    path, session_id = editing
    patch = [{"op": "add", "path": "/nowhere/at/all", "value": 1}]
    headers = {"Content_Type": MODEL_PATCH, "X_Configuration_Session": session_id}
    answer = cloud.member("PATCH", f"{path}/model/", patch, status=404, **headers)
    assert "org.example.App" not in answer.text


def test_an_application_is_put_by_its_id_and_nothing_is_posted_below_one(
    cloud: Cloud, editing: tuple[str, str]
) -> None:
    """The original took no id here, and threw away what was posted to a path with a 200 (B23)."""
    path, session_id = editing
    changed = {**APP, "name": "changed"}
    cloud.member("PUT", f"{path}/services/a1", changed, X_Configuration_Session=session_id)
    assert cloud.member.json("GET", f"{path}/services/a1", X_Configuration_Session=session_id) == changed
    cloud.member("POST", f"{path}/services/a1", APP, X_Configuration_Session=session_id, status=404)


def test_an_unknown_application_is_nothing_and_of_a_template_a_404(cloud: Cloud, editing: tuple[str, str]) -> None:
    """What clients rely on has stayed (B24)."""
    path, session_id = editing
    assert cloud.member("GET", f"{path}/services/nobody", X_Configuration_Session=session_id).body == b""
    assert cloud.member.json("GET", f"{path}/services/nobody/at/all") == []
    template = cloud.member.json("POST", "/v1/templates", {"name": "t", "services": [APP]})
    cloud.member("GET", f"/v1/templates/{template['id']}/services/nobody", status=404)


def test_a_remove_needs_no_value(cloud: Cloud, editing: tuple[str, str]) -> None:
    """The original demanded one, against RFC 6902 and its own command line (B21); where there is one, it counts."""
    path, session_id = editing
    headers = {"Content_Type": MODEL_PATCH, "X_Configuration_Session": session_id}
    model = cloud.member("PATCH", f"{path}/model/", [{"op": "remove", "path": "/services/0"}], **headers).json
    assert model["services"] == []
    package = cloud.member.upload(archive_of("org.example.App"), {"tags": ["a", "b"]}).json
    where = f"/v1/catalog/packages/{package['id']}"
    one = [{"op": "remove", "path": "/tags", "value": ["a"]}]
    assert cloud.member.json("PATCH", where, one, Content_Type=PACKAGE_PATCH)["tags"] == ["b", "test"]
    every = [{"op": "remove", "path": "/tags"}]
    assert cloud.member.json("PATCH", where, every, Content_Type=PACKAGE_PATCH)["tags"] == []


def test_reads_of_an_environment_take_the_same_number_of_queries_however_much_it_has(
    cloud: Cloud, deployed: str
) -> None:
    """The original asked for the status of every application and the levels of every deployment (B15)."""
    reads = ("/services", "/lastStatus", "/deployments", "")
    few = [queries(cloud, lambda path=path: cloud.member("GET", f"{deployed}{path}")) for path in reads]
    environment_id = deployed.rpartition("/")[2]
    with cloud.database.transaction() as session:
        row = environments.get(session, environment_id)
        assert row is not None
        apps = [{**APP, "?": {**APP["?"], "id": f"app-{number}"}} for number in range(20)]  # type: ignore[dict-item]
        row.model = {**row.model, "Objects": {**row.model["Objects"], "services": apps}}
    for _ in range(3):
        cloud.member("POST", f"{deployed}/sessions/{cloud.member.session(environment_id)}/deploy")
        finish(cloud, environment_id, {"result": None, "isException": False})
    many = [queries(cloud, lambda path=path: cloud.member("GET", f"{deployed}{path}")) for path in reads]
    assert many == few


def queries(cloud: Cloud, call: Callable[[], object]) -> int:
    """How many statements a call takes."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(cloud.database.engine, "before_cursor_execute", note)
    call()
    sa.event.remove(cloud.database.engine, "before_cursor_execute", note)
    return len(seen)


# --- deployments and statistics --------------------------------------------------------------------------------------


def test_a_report_belongs_to_its_deployment_and_has_its_place_in_it(cloud: Cloud, deployed: str) -> None:
    """The original gave it to whichever began last, and sorted by seconds (B11)."""
    environment_id = deployed.rpartition("/")[2]
    cloud.member("POST", f"{deployed}/sessions/{cloud.member.session(environment_id)}/deploy")
    newer, older = cloud.member.json("GET", f"{deployed}/deployments")["deployments"]
    with cloud.database.transaction() as session:
        for number in range(5):
            statuses.add(session, older["id"], environment_id, text=f"late {number}")
    texts = [each["text"] for each in cloud.member.json("GET", f"{deployed}/deployments/{older['id']}")["reports"]]
    assert texts[-5:] == [f"late {number}" for number in range(5)]
    texts = [each["text"] for each in cloud.member.json("GET", f"{deployed}/deployments/{newer['id']}")["reports"]]
    assert texts == ["Action deploy is scheduled"]


def test_an_exception_is_no_success(cloud: Cloud, deployed: str) -> None:
    """The original said "success" when there was no report of an error (B37)."""
    environment_id = deployed.rpartition("/")[2]
    cloud.member("POST", f"{deployed}/sessions/{cloud.member.session(environment_id)}/deploy")
    finish(cloud, environment_id, {"result": {"message": "no", "details": None}, "isException": True})
    newest, *_ = cloud.member.json("GET", f"{deployed}/deployments")["deployments"]
    assert newest["state"] == "completed_w_errors"
    assert cloud.member.json("GET", deployed)["status"] == "deploy failure"


def test_what_only_sounds_like_a_secret_is_shown(cloud: Cloud, core: None) -> None:
    """The original masked every key with "pass" in it (B36)."""
    cloud.member.upload(archive_of("org.example.App"))
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    app = {**APP, "bypassCache": "yes", "adminPass": "s3cret", "dbPassword": "s3cret", "apiToken": "s3cret"}
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/services", app, X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")
    [deployment] = cloud.member.json("GET", f"{path}/deployments")["deployments"]
    [shown] = deployment["description"]["services"]
    assert shown["bypassCache"] == "yes"
    assert {shown[key] for key in ("adminPass", "dbPassword", "apiToken")} == {"*** SANITIZED ***"}


def test_an_instance_that_is_tracked_again_changes_no_other(cloud: Cloud) -> None:
    """The original's condition was wrong, and changed all (B18)."""
    environment_id = cloud.member.environment()["id"]
    with cloud.database.transaction() as session:
        for instance_id, count in (("i1", 1), ("i2", 1), ("i1", 5)):
            instance_stats.track(
                session,
                environment_id=environment_id,
                instance_id=instance_id,
                instance_type=instance_stats.APPLICATION,
                type_name="org.example.App",
                type_title=None,
                unit_count=count,
                project_id=cloud.member.project_id,
            )
    found = cloud.member.json("GET", f"/v1/environments/{environment_id}/instance-statistics/raw")
    assert {each["instance_id"]: each["unit_count"] for each in found} == {"i1": 5, "i2": 1}


def test_a_deletion_is_counted_once(cloud: Cloud, deployed: str) -> None:
    """The original's deletion called its own API twice more, and counted that (B33)."""

    def counted() -> int:
        [shown] = cloud.admin.json("GET", "/v1/stats")
        return int(shown["request_count"])

    before = counted()
    cloud.member("DELETE", deployed)
    assert counted() - before == 2  # the deletion, and the first question for the count


# --- templates -------------------------------------------------------------------------------------------------------


def test_what_the_service_decides_of_a_template_is_not_taken_from_a_body(cloud: Cloud) -> None:
    """In the original a body could write any column, the owner's included (B3)."""
    claims = {"id": "mine", "tenant_id": cloud.stranger.project_id, "version": 7, "created": "2000-01-01T00:00:00"}
    made = cloud.member.json("POST", "/v1/templates", {"name": "t", **claims})
    changed = cloud.member.json("PUT", f"/v1/templates/{made['id']}", {"name": "u", **claims})
    for shown in (made, changed):
        assert shown["tenant_id"] == cloud.member.project_id
        assert all(shown[key] != claims[key] for key in claims)


@pytest.mark.parametrize("name", [5, None, ["x"], {"x": 1}, True, "", " ", "x" * 256])
def test_a_name_that_is_none_is_a_400_and_one_that_is_taken_a_409(cloud: Cloud, name: Any) -> None:
    """Both were a 500 in places (B31)."""
    cloud.member.json("POST", "/v1/templates", {"name": "taken"})
    path = f"/v1/templates/{cloud.member.json('POST', '/v1/templates', {'name': 't'})['id']}"
    cloud.member("POST", "/v1/templates", {"name": name}, status=400)
    cloud.member("PUT", path, {"name": name}, status=400)
    cloud.member("PUT", path, {"name": "taken"}, status=409)
    cloud.admin("POST", "/v1/catalog/categories", {"name": name if name != " " else ""}, status=400)


# --- the catalog -----------------------------------------------------------------------------------------------------


def test_adding_a_tag_or_a_category_again_changes_nothing(cloud: Cloud) -> None:
    """It was a 500 (B12)."""
    package = cloud.member.upload(archive_of("org.example.App"), {"tags": ["a"], "categories": ["Web"]}).json
    patch = [{"op": "add", "path": "/tags", "value": ["a"]}, {"op": "add", "path": "/categories", "value": ["Web"]}]
    for _ in range(2):
        shown = cloud.member.json("PATCH", f"/v1/catalog/packages/{package['id']}", patch, Content_Type=PACKAGE_PATCH)
        assert (shown["tags"], shown["categories"]) == (["a", "test"], ["Web"])


def test_a_percent_sign_in_a_search_is_one(cloud: Cloud) -> None:
    """The original's were wildcards (B14)."""
    cloud.member.upload(archive_of("org.example.App"))
    for word in ("%25", "_rg", "o%25g"):
        assert cloud.member.json("GET", f"/v1/catalog/packages?search={word}")["packages"] == []
    assert len(cloud.member.json("GET", "/v1/catalog/packages?search=example")["packages"]) == 1


def test_a_category_shows_only_packages_one_may_see(cloud: Cloud) -> None:
    """The original listed everybody's, private ones included (B16)."""
    cloud.member.upload(archive_of("org.example.Private"), {"categories": ["Web"]})
    [web] = [
        each for each in cloud.stranger.json("GET", "/v1/catalog/categories")["categories"] if each["name"] == "Web"
    ]
    shown = cloud.stranger.json("GET", f"/v1/catalog/categories/{web['id']}")
    assert (web["package_count"], shown["package_count"], shown["packages"]) == (0, 0, [])
    assert cloud.member.json("GET", f"/v1/catalog/categories/{web['id']}")["package_count"] == 1


def test_of_many_uploads_of_one_package_at_the_same_time_one_is_stored(cloud: Cloud) -> None:
    """The original locked a row of a table for this, and gave up after five deadlocks (B19)."""
    codes: list[int] = []
    body, kind = multipart([("file", ("package.zip", archive_of("org.example.App")))])

    def upload() -> None:
        codes.append(cloud.member("POST", "/v1/catalog/packages", raw=body, status=None, Content_Type=kind).status_int)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 409, 409, 409]
    assert len(cloud.member.json("GET", "/v1/catalog/packages")["packages"]) == 1


# --- errors and callers ----------------------------------------------------------------------------------------------


def test_errors_are_pages_without_markup_of_their_own(cloud: Cloud) -> None:
    """The original's messages had `<SessionId ...>` in them, which clients strip as markup (B28)."""
    path = f"/v1/environments/{cloud.member.environment()['id']}/sessions/{'0' * 32}"
    answer = cloud.member("GET", path, status=404)
    assert answer.content_type == "text/html"
    assert f"Session {'0' * 32} is not found" in answer.text


@pytest.fixture
def unguarded(cloud: Cloud) -> Callable[[str], webob.Response]:
    """The API without its guard: called with what identity says of somebody, the roles excepted."""

    api = routing.Api(urls.ROUTES, cloud.app.services)
    claims = {"X-User-Id": "somebody", "X-Project-Id": cloud.member.project_id, "Accept": "application/json"}
    return lambda path: webob.Request.blank(path, headers=claims).get_response(api)


def test_a_caller_without_roles_has_none(cloud: Cloud, unguarded: Callable[[str], webob.Response]) -> None:
    """Without the header of the roles the original failed with a 500 (B30)."""
    cloud.member.environment("e1")
    assert [each["name"] for each in unguarded("/environments").json["environments"]] == ["e1"]
    assert unguarded("/stats").status_int == 403
