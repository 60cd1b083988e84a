"""Trusts of environments behind keystonemiddleware and a real Keystone: who can lend, and when it ends."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import clients_world
import pytest
import webob
from clients_keystone import Keystone
from clients_world import unique

import packages
from catalog import config, service, trusts
from catalog import packages as catalog_packages
from catalog.db import base, deployments, environments, migrations, sessions

Ask = Callable[..., webob.Response]


@pytest.fixture
def app(keystone: Keystone, tmp_path: pathlib.Path) -> Iterator[service.Service]:
    """The API of one configuration file, with the core library."""
    user = clients_world.service_user(keystone)
    login = [line for line in user if line.partition(" ")[0] in ("auth_url", "username", "password")]
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    text = ["[database]", f"connection = {url}", "[identity]", "auth = keystone", *user, "token_cache_time = -1"]
    path = tmp_path / "chandlery.conf"
    path.write_text("\n".join([*text, "[murano_auth]", *login]) + "\n")
    migrations.upgrade(url)
    database = base.Database(url)
    catalog_packages.import_archives(database, packages.core_library(), owner_id="p", is_public=True, exists="u")
    made = service.create_app(config.load([str(path)]), database=database)
    yield made
    made.close()


@pytest.fixture
def ask(app: service.Service) -> Ask:
    def asked(method: str, path: str, token: str, body: Any = None) -> webob.Response:
        request = webob.Request.blank(path, method=method, accept="application/json")
        request.headers["X-Auth-Token"] = token
        if body is not None:
            request.content_type, request.json_body = "application/json", body
        return request.get_response(app)

    return asked


@pytest.fixture
def member(keystone: Keystone) -> Any:
    """A session of a new user who is a member of a new project."""
    name, password, project = unique("user"), uuid.uuid4().hex, unique("project")
    keystone.project(project)
    keystone.user(name, password, {project: ["member"]})
    return keystone.session(name, password, project)


@pytest.fixture
def deploy(app: service.Service, ask: Ask) -> Callable[..., webob.Response]:
    """`deploy(path, token)` deploys the environment of a path, and has the deployment over at once."""

    def deployed(path: str, token: str) -> webob.Response:
        opened = ask("POST", f"{path}/configure", token).json["id"]
        answer = ask("POST", f"{path}/sessions/{opened}/deploy", token)
        with app.services.database.transaction() as work:
            for row in deployments.unfinished(work, path.rpartition("/")[2]):
                row.state = deployments.FINISHED
                found = sessions.get(work, row.session_id or "")
                assert found is not None
                found.state = sessions.DEPLOYED
        return answer

    return deployed


def kept(app: service.Service, path: str) -> str | None:
    with app.services.database.reading() as work:
        environment = environments.get(work, path.rpartition("/")[2])
        assert environment is not None
        return trusts.trust_of(environment.model)


def given(keystone: Keystone, member: Any) -> dict[str, dict[str, Any]]:
    """The trusts that a user has given, by id."""
    found = member.get(f"{keystone.url}/OS-TRUST/trusts?trustor_user_id={member.get_user_id()}").json()["trusts"]
    return {each["id"]: each for each in found}


def test_a_trust_lives_as_long_as_its_environment_and_is_replaced_when_it_is_revoked(
    app: service.Service, ask: Ask, deploy: Callable[..., webob.Response], keystone: Keystone, member: Any
) -> None:
    token = str(member.get_token())
    path = f"/v1/environments/{ask('POST', '/v1/environments', token, {'name': 'shop'}).json['id']}"
    assert deploy(path, token).status_code == 200
    [(first, trust)] = given(keystone, member).items()
    assert first == kept(app, path)
    assert trust["project_id"] == member.get_project_id()
    assert trust["impersonation"]
    assert trust["redelegation_count"] > 0  # Heat makes one of its own of it
    assert deploy(path, token).status_code == 200
    assert set(given(keystone, member)) == {first}

    member.delete(f"{keystone.url}/OS-TRUST/trusts/{first}")
    assert deploy(path, token).status_code == 200
    assert kept(app, path) != first
    assert set(given(keystone, member)) == {kept(app, path)}

    assert ask("DELETE", f"{path}?abandon=true", token).status_code == 200
    assert given(keystone, member) == {}


def test_an_application_credential_can_lend_nothing_and_nothing_is_deployed(
    app: service.Service, ask: Ask, deploy: Callable[..., webob.Response], keystone: Keystone, member: Any
) -> None:
    token = str(member.get_token())
    path = f"/v1/environments/{ask('POST', '/v1/environments', token, {'name': 'shop'}).json['id']}"
    url = f"{keystone.url}/users/{member.get_user_id()}/application_credentials"
    made = member.post(url, json={"application_credential": {"name": "robot"}}).json()["application_credential"]
    methods = {"methods": ["application_credential"]}
    how = {"application_credential": {"id": made["id"], "secret": made["secret"]}}
    logged_in = member.post(
        f"{keystone.url}/auth/tokens", json={"auth": {"identity": {**methods, **how}}}, authenticated=False
    )
    refused = deploy(path, logged_in.headers["X-Subject-Token"])
    assert refused.status_code == 403
    assert "Log in with a password" in refused.json["message"]
    assert ask("GET", f"{path}/deployments", token).json == {"deployments": []}
    assert (kept(app, path), given(keystone, member)) == (None, {})
