"""A version's later days: deprecated, yanked, shared with some; and what that means for who has it deployed."""

from __future__ import annotations

from typing import Any

import pytest
from catalog_cloud import Client, Cloud, archive_of

from catalog.db import deployments, packages

pytestmark = pytest.mark.usefixtures("core")


def upload(client: Client, name: str = "org.example.App", **options: Any) -> str:
    package_id: str = client.upload(archive_of(name, **options)).json["id"]
    return package_id


def becomes(client: Client, package_id: str, lifecycle: str, reason: str | None = None, status: int = 200) -> Any:
    body = {"lifecycle": lifecycle} | ({} if reason is None else {"reason": reason})
    return client("PUT", f"/v1/catalog/packages/{package_id}/lifecycle", body, status=status)


def locked(client: Client, fqn: str = "org.example.App", kind: str = "org.example.App") -> dict[str, str]:
    """The versions by package that a deployment of an application would be locked to."""
    environment_id = client.environment(f"e-{fqn}-{kind}")["id"]
    session_id = client.session(environment_id)
    body = {"?": {"id": "a1", "type": kind}}
    client("POST", f"/v1/environments/{environment_id}/services", body, X_Configuration_Session=session_id)
    client("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy")
    with client.app.services.database.reading() as session:
        [deployment] = deployments.of_environment(session, environment_id)
        return {entry["fqn"]: entry["version"] for entry in deployment.lock}


def names(client: Client, query: str) -> list[tuple[str, str]]:
    listed = client.json("GET", f"/v1/catalog/packages?{query}")["packages"]
    return [(each["version"], each["lifecycle"]) for each in listed]


def test_a_deprecated_version_is_shown_with_its_reason_and_taken_last(cloud: Cloud) -> None:
    upload(cloud.member)
    newer = upload(cloud.member, version="0.2.0")
    shown = becomes(cloud.member, newer, packages.DEPRECATED, "use 0.1.0, which has no leak").json
    assert (shown["lifecycle"], shown["lifecycle_reason"]) == ("deprecated", "use 0.1.0, which has no leak")
    assert cloud.member.json("GET", f"/v1/catalog/packages/{newer}") == shown
    assert names(cloud.member, "search=example.app&order_by=created&sort_dir=desc") == [
        ("0.1.0", "active"),
        ("0.2.0", "deprecated"),
    ]
    assert locked(cloud.member)["org.example.App"] == "0.1.0"


def test_a_deprecated_version_is_used_where_there_is_no_other(cloud: Cloud) -> None:
    becomes(cloud.member, upload(cloud.member), packages.DEPRECATED)
    assert locked(cloud.member)["org.example.App"] == "0.1.0"


def test_a_yanked_version_is_for_nobody_new(cloud: Cloud) -> None:
    upload(cloud.member)
    newer = upload(cloud.member, version="0.2.0")
    becomes(cloud.member, newer, packages.YANKED, "deletes its own volume")
    assert locked(cloud.member)["org.example.App"] == "0.1.0"
    assert names(cloud.member, "catalog=true&fqn=org.example.App") == [("0.1.0", "active")]
    assert len(names(cloud.member, "catalog=true&fqn=org.example.App&include_disabled=true")) == 2
    assert len(names(cloud.member, "fqn=org.example.App")) == 2
    cloud.member("GET", f"/v1/catalog/packages/{newer}/download", Accept=None)


def test_when_every_version_is_yanked_a_deployment_is_refused_and_after_a_restore_it_is_not(cloud: Cloud) -> None:
    only = upload(cloud.member)
    becomes(cloud.member, only, packages.YANKED)
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    body = {"?": {"id": "a1", "type": "org.example.App"}}
    path = f"/v1/environments/{environment_id}"
    cloud.member("POST", f"{path}/services", body, X_Configuration_Session=session_id)
    refused = cloud.member("POST", f"{path}/sessions/{session_id}/deploy", status=400)
    assert "org.example.App" in refused.text
    shown = becomes(cloud.member, only, packages.ACTIVE, "no reason is kept with this one").json
    assert (shown["lifecycle"], shown["lifecycle_reason"]) == ("active", None)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")


def test_an_environment_keeps_a_version_it_was_deployed_with_although_it_is_yanked(cloud: Cloud) -> None:
    only = upload(cloud.member)
    environment_id = cloud.member.environment()["id"]
    session_id = cloud.member.session(environment_id)
    path, body = f"/v1/environments/{environment_id}", {"?": {"id": "a1", "type": "org.example.App"}}
    cloud.member("POST", f"{path}/services", body, X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")
    becomes(cloud.member, only, packages.YANKED)
    with cloud.database.reading() as session:
        held = deployments.locked_packages(session, environment_id)
        assert only in held
        assert [row.id for row in packages.defining(session, cloud.member.project_id, ["org.example.App"])] == []
        kept = packages.defining(session, cloud.member.project_id, ["org.example.App"], held)
        assert [row.id for row in kept] == [only]


def test_only_who_owns_a_version_says_what_becomes_of_it(cloud: Cloud) -> None:
    package_id = upload(cloud.member)
    public = cloud.admin.upload(archive_of("org.public.App"), {"is_public": True}).json["id"]
    becomes(cloud.stranger, package_id, packages.YANKED, status=403)
    becomes(cloud.reader, package_id, packages.YANKED, status=403)
    becomes(cloud.member, public, packages.YANKED, status=403)
    becomes(cloud.member, "0" * 32, packages.YANKED, status=404)
    becomes(cloud.admin, package_id, packages.DEPRECATED)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"lifecycle": "gone"},
        {"lifecycle": 5},
        {"lifecycle": "yanked", "reason": 5},
        {"lifecycle": "yanked", "reason": "x" * 1001},
        {"lifecycle": "yanked", "why": "x"},
        ["yanked"],
    ],
)
def test_a_lifecycle_that_makes_no_sense_is_a_400(cloud: Cloud, body: Any) -> None:
    package_id = upload(cloud.member)
    cloud.member("PUT", f"/v1/catalog/packages/{package_id}/lifecycle", body, status=400)


# --- shares ----------------------------------------------------------------------------------------------------------


def share(client: Client, package_id: str, project_id: str, *, method: str = "PUT", status: int = 200) -> Any:
    return client(method, f"/v1/catalog/packages/{package_id}/shares/{project_id}", status=status)


def test_a_shared_package_is_seen_and_used_by_that_project_and_by_no_other(cloud: Cloud) -> None:
    package_id = upload(cloud.admin)
    path = f"/v1/catalog/packages/{package_id}"
    share(cloud.admin, package_id, cloud.member.project_id)
    assert cloud.member.json("GET", path)["id"] == package_id
    for query in ("", "?catalog=true", "?search=app", "?class_name=org.example.App", f"?id={package_id}"):
        assert package_id in [
            each["id"] for each in cloud.member.json("GET", f"/v1/catalog/packages{query}")["packages"]
        ]
        listed = cloud.stranger.json("GET", f"/v1/catalog/packages{query}")["packages"]
        assert package_id not in [each["id"] for each in listed]
    assert cloud.member.json("GET", "/v1/catalog/packages?owned=true")["packages"] == []
    cloud.member("GET", f"{path}/download", Accept=None)
    for part in ("", "/ui", "/logo", "/download", "/dependencies", "/shares"):
        cloud.stranger("GET", f"{path}{part}", Accept=None, status=403)
    assert locked(cloud.member)["org.example.App"] == "0.1.0"


def test_a_project_that_a_package_is_shared_with_may_not_change_it_nor_learn_with_whom_else(cloud: Cloud) -> None:
    package_id = upload(cloud.admin)
    share(cloud.admin, package_id, cloud.member.project_id)
    path = f"/v1/catalog/packages/{package_id}"
    cloud.member("GET", f"{path}/shares", status=403)
    share(cloud.member, package_id, cloud.stranger.project_id, status=403)
    becomes(cloud.member, package_id, packages.YANKED, status=403)
    cloud.member("DELETE", path, status=403)
    assert cloud.stranger.project_id not in cloud.member("GET", path).text


def test_shares_are_listed_repeated_and_ended(cloud: Cloud) -> None:
    package_id = upload(cloud.member)
    path = f"/v1/catalog/packages/{package_id}/shares"
    first = share(cloud.member, package_id, cloud.stranger.project_id).json
    assert share(cloud.member, package_id, cloud.stranger.project_id).json == first
    assert cloud.colleague.json("GET", path) == {"shares": [first]}
    assert first["project_id"] == cloud.stranger.project_id
    assert share(cloud.member, package_id, cloud.stranger.project_id, method="DELETE").body == b""
    share(cloud.member, package_id, cloud.stranger.project_id, method="DELETE", status=404)
    cloud.stranger("GET", f"/v1/catalog/packages/{package_id}", status=403)
    share(cloud.member, package_id, cloud.member.project_id, status=400)
    share(cloud.member, package_id, "p" * 65, status=400)
    share(cloud.reader, package_id, cloud.stranger.project_id, status=403)
    share(cloud.member, "0" * 32, cloud.stranger.project_id, status=404)


def test_a_share_goes_with_its_package(cloud: Cloud) -> None:
    package_id = upload(cloud.member)
    share(cloud.member, package_id, cloud.stranger.project_id)
    cloud.member("DELETE", f"/v1/catalog/packages/{package_id}")
    with cloud.database.reading() as session:
        assert packages.shares(session, package_id) == []
