"""The embedded identity: what clients of Keystone's v3 API do with it, and what nobody may do."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import webob
from catalog_cloud import Client, Cloud
from cheroot import wsgi
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from catalog import identity
from catalog.db import base
from catalog.db import identity as tables

TOKENS = "/identity/v3/auth/tokens"


def login(client: Client, name: str, password: Any, *, status: int = 201, scope: Any = None) -> webob.Response:
    user = {"name": name, "domain": {"name": "Default"}, "password": password}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if scope is not None:
        auth["scope"] = scope
    return client("POST", TOKENS, {"auth": auth}, status=status)


def project(name: str) -> dict[str, Any]:
    return {"project": {"name": name, "domain": {"id": "default"}}}


def test_a_login_gives_a_token_scoped_to_the_project_with_a_catalog(cloud: Cloud) -> None:
    answer = login(cloud.anonymous, "ann", "secret-ann", scope=project("one"))
    token = answer.json["token"]
    assert token["project"]["id"] == cloud.member.project_id
    assert token["user"]["name"] == "ann"
    assert [role["name"] for role in token["roles"]] == ["member"]
    endpoints = {each["type"]: each["endpoints"][0]["url"] for each in token["catalog"]}
    assert endpoints == {"identity": "http://localhost/identity/v3", "application-catalog": "http://localhost"}
    Client(cloud.app, answer.headers["X-Subject-Token"])("GET", "/v1/environments")


def test_without_a_scope_it_is_the_users_own_project(cloud: Cloud) -> None:
    token = login(cloud.anonymous, "ann", "secret-ann").json["token"]
    assert token["project"]["name"] == "one"


def test_an_unscoped_token_lists_projects_and_opens_none(cloud: Cloud) -> None:
    answer = login(cloud.anonymous, "ann", "secret-ann", scope="unscoped")
    assert "project" not in answer.json["token"]
    client = Client(cloud.app, answer.headers["X-Subject-Token"])
    assert [each["name"] for each in client.json("GET", "/identity/v3/auth/projects")["projects"]] == ["one"]
    client("GET", "/v1/environments", status=401)
    by_token = {"identity": {"methods": ["token"], "token": {"id": client.token}}, "scope": project("one")}
    scoped = cloud.anonymous("POST", TOKENS, {"auth": by_token}, status=201)
    assert scoped.json["token"]["expires_at"] == answer.json["token"]["expires_at"]


@pytest.mark.parametrize(
    ("name", "password", "scope"),
    [
        ("ann", "wrong", None),
        ("nobody", "secret-ann", None),
        ("ann", "secret-ann", {"project": {"name": "two", "domain": {"id": "default"}}}),
        ("ann", "secret-ann", {"project": {"name": "none", "domain": {"id": "default"}}}),
        ("ann", "secret-ann", {"project": {"name": "one", "domain": {"id": "other"}}}),
        ("ann", "secret-ann", {"domain": {"id": "default"}}),
        ("ann", "secret-ann", {"system": {"all": True}}),
        ("ann", "", None),
    ],
)
def test_a_login_that_is_not_right_is_a_401(cloud: Cloud, name: str, password: str, scope: Any) -> None:
    answer = login(cloud.anonymous, name, password, scope=scope, status=401)
    assert answer.json["error"]["code"] == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"auth": None},
        {"auth": {"identity": []}},
        {"auth": {"identity": {"methods": ["password"]}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": 5, "password": "x"}}}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "a", "password": "x" * 2000}}}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}},
        [],
        "text",
    ],
)
def test_a_login_that_makes_no_sense_is_a_400(cloud: Cloud, body: Any) -> None:
    cloud.anonymous("POST", TOKENS, body, status=400)


def test_too_many_failures_make_a_user_wait_and_no_other(cloud: Cloud) -> None:
    for _ in range(5):
        login(cloud.anonymous, "ann", "wrong", status=401)
    answer = login(cloud.anonymous, "ann", "secret-ann", status=429)
    assert 0 < int(answer.headers["Retry-After"]) <= 61
    login(cloud.anonymous, "bob", "secret-bob")


def test_a_token_ends_when_it_is_revoked_when_it_expires_and_when_its_user_lost_the_role(cloud: Cloud) -> None:
    texts = [login(cloud.anonymous, "ann", "secret-ann").headers["X-Subject-Token"] for _ in range(3)]
    clients = [Client(cloud.app, text) for text in texts]
    clients[0]("DELETE", TOKENS, X_Subject_Token=texts[0], status=204)
    clients[0]("GET", "/v1/environments", status=401)
    clients[1]("GET", "/v1/environments")
    with cloud.database.transaction() as work:
        for row in work.query(tables.Token).filter_by(user_id=cloud.member.user_id):
            row.expires = base.now() - datetime.timedelta(seconds=1)
    clients[1]("GET", "/v1/environments", status=401)
    fresh = Client(cloud.app, login(cloud.anonymous, "ann", "secret-ann").headers["X-Subject-Token"])
    with cloud.database.transaction() as work:
        for assignment in work.query(tables.RoleAssignment).filter_by(user_id=cloud.member.user_id):
            work.delete(assignment)
    fresh("GET", "/v1/environments", status=401)


def test_nobody_becomes_somebody_by_sending_headers(cloud: Cloud) -> None:
    claims = {
        "X_User_Id": "x",
        "X_Project_Id": cloud.stranger.project_id,
        "X_Tenant_Id": cloud.stranger.project_id,
        "X_Roles": "admin",
        "X_Identity_Status": "Confirmed",
    }
    cloud.anonymous("GET", "/v1/environments", status=401, **claims)
    cloud.member("GET", "/v1/environments?all_tenants=true", status=403, **claims)
    created = cloud.member.json("POST", "/v1/environments", {"name": "mine"}, **claims)
    assert created["tenant_id"] == cloud.member.project_id


def test_tokens_and_users_of_others_are_for_administrators(cloud: Cloud) -> None:
    cloud.member("GET", TOKENS, X_Subject_Token=cloud.member.token)
    assert cloud.member("HEAD", TOKENS, X_Subject_Token=cloud.member.token).body == b""
    cloud.member("GET", TOKENS, X_Subject_Token=cloud.stranger.token, status=403)
    cloud.member("DELETE", TOKENS, X_Subject_Token=cloud.stranger.token, status=403)
    cloud.admin("GET", TOKENS, X_Subject_Token=cloud.stranger.token)
    cloud.member("GET", TOKENS, X_Subject_Token="unknown", status=404)
    cloud.anonymous("GET", TOKENS, status=401)
    cloud.member("GET", f"/identity/v3/users/{cloud.member.user_id}")
    cloud.member("GET", f"/identity/v3/users/{cloud.stranger.user_id}", status=403)
    cloud.member("GET", f"/identity/v3/projects/{cloud.member.project_id}")
    cloud.member("GET", f"/identity/v3/projects/{cloud.stranger.project_id}", status=404)
    cloud.member("GET", "/identity/v3/nothing", status=404)


def test_a_401_says_where_to_log_in(cloud: Cloud) -> None:
    answer = cloud.anonymous("GET", "/v1/environments", status=401)
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://localhost/identity"'
    cloud.anonymous("GET", "/v1/environments", X_Auth_Token="wrong", Accept="application/json", status=401)


def test_only_digests_of_tokens_and_hashes_of_passwords_are_stored(cloud: Cloud) -> None:
    text = login(cloud.anonymous, "ann", "secret-ann").headers["X-Subject-Token"]
    content = b"".join(path.read_bytes() for path in _files(cloud))
    assert text.encode() not in content
    assert b"secret-ann" not in content


def _files(cloud: Cloud) -> Iterator[Any]:
    import pathlib

    path = pathlib.Path(cloud.database.engine.url.database or "")
    yield from path.parent.glob("catalog.sqlite*")


def test_bootstrap_makes_accounts_once_and_tells_generated_passwords_once(cloud: Cloud) -> None:
    first = identity.bootstrap(cloud.database, demo_password="given")
    assert first["demo"].password == "given"
    assert len(first["admin"].password or "") >= 20
    login(cloud.anonymous, "admin", first["admin"].password)
    second = identity.bootstrap(cloud.database)
    assert (second["admin"].user_id, second["admin"].password) == (first["admin"].user_id, None)
    login(cloud.anonymous, "demo", "given")
    identity.bootstrap(cloud.database, demo_password="new")
    login(cloud.anonymous, "demo", "given", status=401)
    login(cloud.anonymous, "demo", "new")


@pytest.fixture
def auth_url(cloud: Cloud) -> Iterator[str]:
    server = wsgi.Server(("127.0.0.1", 0), cloud.app, numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.bind_addr[1]}/identity"
    server.stop()
    thread.join()


def test_keystoneauth_discovers_logs_in_and_finds_the_catalog(cloud: Cloud, auth_url: str) -> None:
    for url in (auth_url, auth_url + "/v3"):
        names = {"user_domain_name": "Default", "project_domain_name": "Default"}
        auth = v3.Password(url, username="ann", password="secret-ann", project_name="one", **names)
        client = session.Session(auth)
        root = client.get_endpoint(service_type="application-catalog", region_name="RegionOne")
        assert root == auth_url.removesuffix("/identity")
        found = client.get(f"{root}/v1/environments", headers={"Accept": "application/json"})
        assert found.json() == {"environments": []}
        assert client.get_project_id() == cloud.member.project_id
        token = v3.Token(url, client.get_token(), project_name="one", project_domain_id="default")
        assert session.Session(token).get_project_id() == cloud.member.project_id
    wrong = v3.Password(auth_url + "/v3", username="ann", password="no", user_domain_id="default", project_id="x")
    with pytest.raises(exceptions.Unauthorized):
        session.Session(wrong).get_token()
