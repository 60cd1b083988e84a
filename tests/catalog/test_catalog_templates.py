"""Environment templates, as spec/api-v1 §1.10 tells them."""

from __future__ import annotations

from typing import Any

import pytest
from catalog_cloud import Client, Cloud

APP = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web"}
UNKNOWN = "/v1/templates/" + "0" * 32


def created(client: Client, name: str = "t1", **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.json("POST", "/v1/templates", {"name": name, **body})
    return answer


def names(client: Client, query: str = "") -> list[str]:
    return [each["name"] for each in client.json("GET", f"/v1/templates{query}")["templates"]]


def test_a_template_is_created_shown_and_listed(cloud: Cloud) -> None:
    template = created(cloud.member, description_text="d", services=[APP])
    assert set(template) == {
        "id", "name", "tenant_id", "version", "description_text", "is_public", "created", "updated", "services",
    }  # fmt: skip
    assert cloud.member.json("GET", f"/v1/templates/{template['id']}") == template
    [listed] = cloud.member.json("GET", "/v1/templates")["templates"]
    assert listed == {key: value for key, value in template.items() if key != "services"}
    bare = created(cloud.member, "bare")
    assert cloud.member.json("GET", f"/v1/templates/{bare['id']}")["services"] == []


def test_lists_show_public_private_or_both(cloud: Cloud) -> None:
    created(cloud.member, "mine")
    created(cloud.member, "shared", is_public=True)
    created(cloud.stranger, "theirs")
    assert names(cloud.member) == ["mine", "shared"]
    assert names(cloud.stranger) == ["shared", "theirs"]
    assert names(cloud.member, "?is_public=True") == ["shared"]
    assert names(cloud.member, "?is_public=False") == ["mine"]
    assert names(cloud.member, "?is_public=") == ["mine", "shared"]


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": " "}, {"name": "x" * 256}, {"name": 5}, {"name": "x", "is_public": "yes"}]
)
def test_a_bad_template_is_a_400(cloud: Cloud, body: Any) -> None:
    cloud.member("POST", "/v1/templates", body, status=400)
    cloud.member("POST", "/v1/templates", {"name": "x", "services": [{"no": "header"}]}, status=400)
    assert names(cloud.member) == []


def test_a_name_is_taken_once_per_project(cloud: Cloud) -> None:
    created(cloud.member)
    cloud.member("POST", "/v1/templates", {"name": "t1"}, status=409)
    other = created(cloud.member, "t2")
    cloud.member("PUT", f"/v1/templates/{other['id']}", {"name": "t1"}, status=409)
    created(cloud.stranger)


def test_only_its_project_changes_a_template_public_or_not(cloud: Cloud) -> None:
    """In the original anybody could rename or delete a public template (spec/api-v1 §5 B4)."""
    public, private = created(cloud.member, "p", is_public=True), created(cloud.member, "q")
    for template in (public, private):
        path = f"/v1/templates/{template['id']}"
        cloud.stranger("PUT", path, {"name": "stolen"}, status=403)
        cloud.stranger("DELETE", path, status=403)
        cloud.stranger("POST", f"{path}/services", APP, status=403)
        cloud.stranger("GET", f"{path}/services", status=403)
    cloud.stranger("GET", f"/v1/templates/{public['id']}")
    cloud.stranger("GET", f"/v1/templates/{private['id']}", status=403)
    renamed = cloud.member.json("PUT", f"/v1/templates/{public['id']}", {"name": "new", "tenant_id": "x", "id": "y"})
    assert (renamed["name"], renamed["tenant_id"], renamed["id"]) == ("new", cloud.member.project_id, public["id"])
    assert cloud.member("DELETE", f"/v1/templates/{public['id']}").body == b""
    cloud.member("DELETE", f"/v1/templates/{public['id']}", status=404)
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        cloud.member(method, UNKNOWN, body, status=404)


def test_public_templates_are_cloned_private_ones_not_even_by_their_owner(cloud: Cloud) -> None:
    public = created(cloud.member, "p", is_public=True, services=[APP])
    private = created(cloud.member, "q")
    copied = cloud.stranger.json("POST", f"/v1/templates/{public['id']}/clone", {"name": "copy"})
    assert (copied["tenant_id"], copied["is_public"]) == (cloud.stranger.project_id, False)
    assert copied["services"] == [APP]
    cloud.member("POST", f"/v1/templates/{private['id']}/clone", {"name": "copy"}, status=403)
    cloud.stranger("POST", f"/v1/templates/{public['id']}/clone", {"name": "copy"}, status=409)
    cloud.stranger("POST", f"/v1/templates/{public['id']}/clone", {"name": ""}, status=400)
    cloud.stranger("POST", f"{UNKNOWN}/clone", {"name": "x"}, status=404)


def test_an_environment_from_a_template_has_the_applications_in_a_session(cloud: Cloud) -> None:
    template = created(cloud.member, services=[APP])
    path = f"/v1/templates/{template['id']}/create-environment"
    made = cloud.member.json("POST", path, {"name": "e1", "region": "R"})
    assert set(made) == {"environment_id", "session_id"}
    services = f"/v1/environments/{made['environment_id']}/services"
    assert cloud.member.json("GET", f"{services}/a1", X_Configuration_Session=made["session_id"]) == APP
    assert cloud.member.json("GET", services) == []
    cloud.member("POST", path, {"name": "e1"}, status=409)
    cloud.member("POST", path, {"name": ""}, status=400)
    cloud.stranger("POST", path, {"name": "e2"}, status=403)


def test_applications_of_a_template_are_edited_by_id(cloud: Cloud) -> None:
    template = created(cloud.member)
    path = f"/v1/templates/{template['id']}/services"
    other = {"?": {"id": "b2", "type": "org.example.App"}, "name": "db"}
    assert cloud.member.json("GET", f"{path}/anything") == []
    assert cloud.member.json("POST", path, APP) == APP
    assert cloud.member.json("POST", path, [other]) == [other]
    assert cloud.member.json("POST", path, {}) == {}
    assert cloud.member.json("GET", path) == [APP, other]
    cloud.member("PUT", f"{path}/b2", {**other, "name": "new"})
    assert cloud.member.json("GET", f"{path}/b2/name") == "new"
    assert cloud.member.json("GET", f"{path}/a1") == APP
    for missing in ("nobody", "a1/nothing"):
        cloud.member("GET", f"{path}/{missing}", status=404)
    cloud.member("PUT", f"{path}/nobody", other, status=404)
    cloud.member("PUT", f"{path}/b2", {"no": "header"}, status=400)
    left = cloud.member.json("DELETE", f"{path}/a1")
    assert [app["name"] for app in left["services"]] == ["new"]
    assert (left["id"], left["name"]) == (template["id"], "t1")
    cloud.member("DELETE", f"{path}/a1", status=404)
    cloud.member("POST", path, status=400)
    cloud.member("POST", f"{path}/", APP, status=404)
    cloud.reader("POST", path, APP, status=403)
