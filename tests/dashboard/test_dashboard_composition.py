"""An environment's graph as the pages show it."""

from __future__ import annotations

import datetime

from dashboard import composition, rendering


def node(identifier: str, *actions: str, owner: str | None = None, scopes: tuple[str, ...] = ()) -> dict:
    return {
        "id": identifier,
        "type": "org.example.Thing",
        "name": f"the {identifier}",
        "owner": owner,
        "endpoints": [{"scope": scope, "url": "http://x"} for scope in scopes],
        "addresses": [],
        "actions": [{"id": f"{identifier}_{name}", "name": name, "title": name.title()} for name in actions],
    }


GRAPH = {
    "nodes": [
        node("a", "deploy", "b", "c", "d", "e", scopes=("public", "internal", "local")),
        node("inner", "look", owner="a"),
        node("innermost", "look", owner="inner"),
        node("orphan", owner="gone"),
    ],
    "edges": [
        {"source": "orphan", "target": "a", "property": "host"},
        {"source": "orphan", "target": "gone", "property": "host"},
    ],
}


def test_an_application_shows_three_buttons_and_knows_all_its_actions():
    first, orphan = composition.applications(GRAPH)
    assert [action["name"] for action in first.buttons] == ["b", "c", "d"]
    assert [(name, len(actions)) for name, actions in first.groups] == [
        ("the a", 4),
        ("the inner", 1),
        ("the innermost", 1),
    ]
    assert first.count == 6
    assert orphan.count == 0


def test_endpoints_for_everybody_are_apart_from_the_others():
    first = composition.applications(GRAPH)[0]
    assert [item["scope"] for item in first.endpoints("public")] == ["public"]
    assert [item["scope"] for item in first.endpoints()] == ["internal", "local"]


def test_what_has_lost_its_owner_stays_in_the_tree():
    first, orphan = composition.tree(GRAPH)
    assert first.children[0].children[0].node["id"] == "innermost"
    assert orphan.needs == [("host", "the a")]


def test_deployments_are_named_as_their_actions_are():
    actions = [
        None,
        {"object_id": "environment", "method": "deploy"},
        {"object_id": "a", "method": "b"},
        {"object_id": "a", "method": "removed"},
        {"object_id": "gone", "method": "look"},
    ]
    found = composition.named([{"id": "1", "action": action} for action in actions], GRAPH)
    assert [each["task"] for each in found] == ["Delete", "Deploy", "B: the a", "removed: the a", "look"]


def test_times_are_told_in_one_unit():
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    said = [
        rendering.ago((now - datetime.timedelta(seconds=seconds)).isoformat(timespec="seconds"))
        for seconds in (5, 70, 5 * 3600 + 3500, 2 * 86400)
    ]
    assert said == ["just now", "1 minute ago", "5 hours ago", "2 days ago"]
    assert rendering.ago(None) == ""


def test_durations_are_told_in_two_units():
    began = "2026-01-01T10:00:00"
    ends = ["2026-01-01T10:00:00", "2026-01-01T10:00:48", "2026-01-01T10:03:05", "2026-01-01T12:10:59"]
    assert [rendering.duration(began, end) for end in ends] == ["under 1 s", "48 s", "3 min 5 s", "2 h 10 min"]
    assert rendering.duration(began, None) == ""


def test_hard_wrapped_paragraphs_flow_and_lists_stay():
    assert rendering.unwrapped("one\ntwo\n\nthree:\n- four\n- five\n") == "one two\n\nthree:\n- four\n- five\n"
