"""Applications and the model as a whole, edited in a session: spec/api-v1 §1.6 and §1.7."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from catalog_cloud import Client, Cloud

APP = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web", "ports": [80, 443], "tags": {"x": "y"}}
OTHER = {"?": {"id": "b2", "type": "org.example.Base"}, "name": "db", "inner": {"?": {"id": "c3", "type": "T"}}}
MODEL_PATCH = "application/env-model-json-patch"


class Editor:
    """Somebody who edits one environment in one session."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.environment_id = client.environment()["id"]
        self.session_id = client.session(self.environment_id)

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        options.setdefault("X_Configuration_Session", self.session_id)
        return self.client(method, f"/v1/environments/{self.environment_id}/{path}", body, **options)

    def patch(self, *operations: Any, status: int = 200) -> Any:
        return self("PATCH", "model/", list(operations), Content_Type=MODEL_PATCH, status=status)


@pytest.fixture
def editor(cloud: Cloud) -> Editor:
    return Editor(cloud.member)


def test_an_added_application_is_echoed_listed_with_status_and_shown_as_it_was_sent(editor: Editor) -> None:
    assert editor("POST", "services", APP).json == APP
    [listed] = editor("GET", "services").json
    assert listed == {**APP, "?": {**APP["?"], "status": "pending"}}
    assert editor("GET", "services/a1").json == APP
    assert editor("GET", "services", X_Configuration_Session=None).json == []
    assert editor("GET", "services/", X_Configuration_Session="").json == []


def test_several_applications_come_in_one_array(editor: Editor) -> None:
    assert editor("POST", "services/", [APP, OTHER]).json == [APP, OTHER]
    assert [app["name"] for app in editor("GET", "services").json] == ["web", "db"]


def test_paths_lead_by_id_by_index_and_by_key_and_stop_at_scalars(editor: Editor) -> None:
    editor("POST", "services", [APP, OTHER])
    assert editor("GET", "services//b2/").json == OTHER
    assert editor("GET", "services/1/name").json == "db"
    assert editor("GET", "services/b2/name/further/down").json == "db"
    assert editor("GET", "services/a1/ports/0").json == 80
    assert editor("GET", "services/a1/%3F/type").json == "org.example.App"
    assert editor("GET", "services/nobody").body == b""
    editor("GET", "services/nobody/name", status=404)
    editor("GET", "services/a1/color", status=404)
    editor("GET", "services/7", status=404)


def test_putting_replaces_everything_one_application_or_a_part_of_it(editor: Editor) -> None:
    editor("PUT", "services", [APP, OTHER])
    editor("PUT", "services/a1/name", "other")
    assert editor("GET", "services/a1/name").json == "other"
    editor("PUT", "services/b2", {**OTHER, "name": "by id"})
    assert editor("GET", "services/1/name").json == "by id"
    editor("PUT", "services/a1/%3F/metadata", {"graph": 1})
    assert editor("GET", "services/a1").json["?"]["metadata"] == {"graph": 1}
    assert "updated" in editor("GET", "model/").json["?"]
    assert editor("PUT", "services").json == []
    assert editor("GET", "services").json == []


def test_the_status_a_list_showed_is_not_stored_when_it_comes_back(editor: Editor) -> None:
    """`environment-apps-edit` sends back the whole list it was given (spec/api-v1 §5 B38)."""
    editor("POST", "services", APP)
    editor("PUT", "services", editor("GET", "services").json)
    assert editor("GET", "services/a1").json == APP


def test_deleting_removes_one_application_a_part_or_all(editor: Editor) -> None:
    editor("POST", "services", [APP, OTHER])
    assert editor("DELETE", "services/a1/tags/x").body == b""
    assert editor("GET", "services/a1/tags").json == {}
    editor("DELETE", "services/a1")
    editor("DELETE", "services/a1", status=404)
    assert [app["name"] for app in editor("GET", "services").json] == ["db"]
    editor("DELETE", "services")
    assert editor("GET", "services/any/path").json == []


def test_writing_needs_a_session_and_says_so_before_anything_else(editor: Editor, cloud: Cloud) -> None:
    for method, body in (("POST", APP), ("PUT", []), ("DELETE", None)):
        editor(method, "services", body, X_Configuration_Session=None, status=400)
        editor(method, "services", body, X_Configuration_Session="", status=400)
        editor(method, "services", body, X_Configuration_Session="f" * 32, status=404)
        path = f"/v1/environments/{editor.environment_id}/services"
        cloud.stranger(method, path, body, X_Configuration_Session=editor.session_id, status=403)
        cloud.reader(method, path, body, X_Configuration_Session=editor.session_id, status=403)


BROKEN: list[Any] = [
    {},
    {"name": "no header"},
    {"?": {"type": "T"}},
    {"?": {"id": "x"}},
    {"?": {"id": "", "type": "T"}},
    {"?": {"id": 5, "type": "T"}},
    {"?": {"id": "x", "type": "not a type"}},
    {"?": {"id": "x" * 256, "type": "T"}},
    {"?": {"id": "x", "type": "T" * 256}},
    {"?": {"id": "x", "type": "T"}, "deep": [{"?": {"id": "y" * 256, "type": "T"}}]},
    {"?": {"id": "x", "type": "T"}, "again": {"?": {"id": "x", "type": "T"}}},
    "text",
    7,
    ["text"],
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_application_is_refused_and_poisons_nothing(editor: Editor, body: Any) -> None:
    """An application without an id made every later read fail in the original (spec/api-v1 §5 B25, B26)."""
    editor("POST", "services", OTHER)
    editor("POST", "services", body, status=400)
    editor("PUT", "services", body if isinstance(body, list) else [body], status=400)
    assert [app["name"] for app in editor("GET", "services").json] == ["db"]


def test_an_object_in_place_of_the_list_is_refused(editor: Editor) -> None:
    editor("PUT", "services", {"a": 1}, status=400)
    editor("POST", "services/a1", APP, status=404)
    editor("POST", "services", status=400)


def test_no_application_is_lost_when_many_are_added_at_the_same_time(editor: Editor) -> None:
    """The original read and wrote the whole list without a lock (spec/api-v1 §5 B35)."""

    def add(number: int) -> None:
        editor("POST", "services", {"?": {"id": f"n{number}", "type": "T"}})

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {app["?"]["id"] for app in editor("GET", "services").json} == {f"n{number}" for number in range(12)}


def test_a_stale_write_is_a_conflict_for_who_says_what_was_read(editor: Editor) -> None:
    editor("POST", "services", APP)
    etag = editor("GET", "services").headers["ETag"]
    editor("PUT", "services/a1/name", "first", If_Match=etag)
    editor("PUT", "services/a1/name", "second", If_Match=etag, status=409)
    assert editor("GET", "services/a1/name").json == "first"


# --- the model -------------------------------------------------------------------------------------------------------


def test_a_patch_changes_the_model_of_the_session_only(editor: Editor) -> None:
    model = editor.patch({"op": "replace", "path": "/defaultNetworks/flat", "value": True}).json
    assert model["defaultNetworks"]["flat"] is True
    assert editor("GET", "model/defaultNetworks/flat").json is True
    shared = editor("GET", "model/defaultNetworks/flat", X_Configuration_Session=None)
    assert shared.body == b""
    editor.patch({"op": "replace", "path": "/?/metadata", "value": {"a": 1}})
    editor.patch({"op": "add", "path": "/services", "value": [APP]})
    editor.patch({"op": "remove", "path": "/services/0/tags"})
    assert "tags" not in editor("GET", "model//services/0").json


REFUSED: list[tuple[Any, int]] = [
    ({}, 400),
    ({"op": "add"}, 400),
    ({"op": "add", "path": "/x"}, 400),
    ({"op": "add", "path": "x", "value": 1}, 400),
    ({"op": "add", "path": "/x/", "value": 1}, 400),
    ({"op": "add", "path": "/x//y", "value": 1}, 400),
    ({"op": "add", "path": "/x~2", "value": 1}, 400),
    ({"op": "replace", "path": "/?/id", "value": "new"}, 403),
    ({"op": "replace", "path": "", "value": {}}, 403),
    ({"op": "remove", "path": "/name"}, 403),
    ({"op": "remove", "path": "/defaultNetworks/environment"}, 403),
    ({"op": "test", "path": "/regions", "value": 1}, 403),
    ({"op": "move", "path": "/regions", "from": "/name", "value": 1}, 403),
    ({"op": "replace", "path": "/name", "value": 1}, 400),
    ({"op": "replace", "path": "/region", "value": 1}, 400),
    ({"op": "replace", "path": "/defaultNetworks/flat", "value": "yes"}, 400),
    ({"op": "replace", "path": "/defaultNetworks", "value": {"flat": None}}, 400),
    ({"op": "replace", "path": "/defaultNetworks/environment", "value": {"name": "n"}}, 400),
    ({"op": "add", "path": "/services", "value": {}}, 400),
    ({"op": "add", "path": "/services", "value": [{"name": "no header"}]}, 400),
    ({"op": "remove", "path": "/nothing"}, 404),
    ({"op": "add", "path": "/no/parent", "value": 1}, 404),
    ({"op": "add", "path": "/name/below/text", "value": 1}, 404),
]


@pytest.mark.parametrize(("operation", "status"), REFUSED)
def test_a_patch_that_is_not_allowed_or_does_not_fit_changes_nothing(
    editor: Editor, operation: Any, status: int
) -> None:
    before = editor("GET", "model/").json
    editor.patch(operation, status=status)
    assert editor("GET", "model/").json == before


def test_patches_need_a_session_that_may_be_edited(editor: Editor) -> None:
    """The original patched deployed and deploying sessions, too (spec/api-v1 §5 B5)."""
    operation = [{"op": "replace", "path": "/name", "value": "x"}]
    editor("PATCH", "model/", operation, Content_Type=MODEL_PATCH, X_Configuration_Session=None, status=400)
    editor("PATCH", "model/", operation, Content_Type=MODEL_PATCH, X_Configuration_Session="f" * 32, status=404)
    editor("PATCH", "model/", operation, Content_Type="application/json", status=400)
    editor("PATCH", "model/", [], Content_Type=MODEL_PATCH, status=400)
    editor("GET", "model", status=404)
    editor("GET", "model/nothing/there", status=404)
