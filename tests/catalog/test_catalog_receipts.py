"""The receipt of an environment over the API: while it is there, when it was deleted, when it was abandoned."""

from __future__ import annotations

from typing import Any

import pytest
from catalog_cloud import Cloud

from catalog.db import resources


def filled(cloud: Cloud, name: str = "e1") -> str:
    """An environment that has a stack with a server, and had another server before."""
    environment_id: str = cloud.member.environment(name)["id"]
    place = resources.Place(
        environment_id=environment_id, project_id=cloud.member.project_id, deployment_id="d1", region="R", stack="s"
    )
    stack, old, new = (
        resources.Seen(physical_id=f"{each}-id", name=each, type=kind)
        for each, kind in (("s", resources.STACK), ("old", "OS::Nova::Server"), ("new", "OS::Nova::Server"))
    )
    with cloud.database.transaction() as session:
        resources.see(session, place, [stack, old])
        resources.see(session, place, [stack, new])
    return environment_id


def receipt(cloud: Cloud, environment_id: str, query: str = "", **options: Any) -> Any:
    return cloud.member.json("GET", f"/v1/environments/{environment_id}/receipt{query}", **options)


def test_a_receipt_has_what_is_there_and_what_was(cloud: Cloud) -> None:
    environment_id = filled(cloud)
    found = receipt(cloud, environment_id)
    assert {key: found[key] for key in ("environment_id", "name", "tenant_id", "how", "ended", "user_id", "notes")} == {
        "environment_id": environment_id,
        "name": "e1",
        "tenant_id": cloud.member.project_id,
        "how": "there",
        "ended": None,
        "user_id": None,
        "notes": [],
    }
    assert found["counts"] == {"there": 2, "gone": 1, "kept": 0, "left": 0}
    by_id = {each["id"]: each for each in found["resources"]}
    assert {key: each["state"] for key, each in by_id.items()} == {"s-id": "there", "old-id": "gone", "new-id": "there"}
    new = by_id["new-id"]
    assert (new["type"], new["stack"], new["region"], new["deployment_id"]) == ("OS::Nova::Server", "s", "R", "d1")
    assert by_id["old-id"]["gone"] is not None
    [only] = receipt(cloud, environment_id, "?state=gone")["resources"]
    assert only["id"] == "old-id"
    assert receipt(cloud, environment_id, "?state=gone")["counts"] == found["counts"]
    cloud.member("GET", f"/v1/environments/{environment_id}/receipt?state=lost", status=400)


def test_what_an_abandoned_environment_has_is_left_with_who_and_when(cloud: Cloud) -> None:
    environment_id = filled(cloud)
    cloud.member("DELETE", f"/v1/environments/{environment_id}?abandon=true")
    cloud.member("GET", f"/v1/environments/{environment_id}", status=404)
    found = receipt(cloud, environment_id)
    assert (found["how"], found["user_id"], found["name"]) == ("abandoned", cloud.member.user_id, "e1")
    assert found["counts"] == {"there": 0, "gone": 1, "kept": 0, "left": 2}
    for each in found["resources"]:
        if each["state"] == "left":
            assert each["reason"] == f"abandoned by user {cloud.member.user_id} at {found['ended']}Z"


def test_an_environment_that_was_never_deployed_leaves_an_empty_receipt(cloud: Cloud) -> None:
    environment_id = cloud.member.environment("e1")["id"]
    cloud.member("DELETE", f"/v1/environments/{environment_id}")
    found = receipt(cloud, environment_id)
    assert (found["how"], found["resources"]) == ("deleted", [])


def test_the_receipt_of_an_environment_that_is_gone_is_its_projects_alone(cloud: Cloud) -> None:
    environment_id = filled(cloud)
    path = f"/v1/environments/{environment_id}/receipt"
    cloud.member("DELETE", f"/v1/environments/{environment_id}?abandon=true")
    refused = cloud.stranger("GET", path, status=403)
    assert "e1" not in refused.text
    assert cloud.reader.json("GET", path)["how"] == "abandoned"
    assert cloud.admin.json("GET", path)["how"] == "abandoned"
    cloud.member("GET", f"/v1/environments/{'0' * 32}/receipt", status=404)


def test_nobody_lists_reconciles_or_removes_what_is_another_projects(cloud: Cloud) -> None:
    environment_id = filled(cloud)
    theirs = cloud.member.project_id
    cloud.member("DELETE", f"/v1/environments/{environment_id}?abandon=true")
    [listed] = cloud.reader.json("GET", "/v1/receipts")["receipts"]
    assert (listed["environment_id"], listed["tenant_id"], listed["how"]) == (environment_id, theirs, "abandoned")
    assert cloud.stranger.json("GET", "/v1/receipts") == {"receipts": []}
    cloud.stranger("POST", "/v1/reconciliations", {"tenant_id": theirs}, status=403)
    cloud.stranger("POST", "/v1/reconciliations", {"environment_id": environment_id}, status=403)
    cloud.stranger("DELETE", f"/v1/leftovers/s-id?tenant={theirs}", status=403)
    cloud.member("GET", "/v1/reconciliations", status=403)
    assert cloud.admin.json("GET", "/v1/reconciliations") == {"projects": [theirs]}
    cloud.reader("POST", "/v1/reconciliations", {}, status=403)
    cloud.member("POST", "/v1/reconciliations", {"environment_id": "0" * 32}, status=404)
    cloud.member("POST", "/v1/reconciliations", {"environment_id": 5}, status=400)
    cloud.admin("POST", "/v1/reconciliations", {"tenant_id": " "}, status=400)


@pytest.mark.parametrize("name", ["s", "x" * 2000, "ünïcode/0/♥"])
def test_names_of_any_length_are_kept(cloud: Cloud, name: str) -> None:
    environment_id = cloud.member.environment("e1")["id"]
    place = resources.Place(environment_id=environment_id, project_id=cloud.member.project_id, stack="s")
    with cloud.database.transaction() as session:
        resources.see(session, place, [resources.Seen(physical_id="i", name=name, type="T")])
    assert receipt(cloud, environment_id)["resources"][0]["name"] == name[:1024]
