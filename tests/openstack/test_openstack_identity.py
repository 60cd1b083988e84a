"""The API behind a real Keystone: who gets in, whose project it is, and what roles allow."""

from __future__ import annotations

import types

import pytest
import webob
from openstack_accounts import login

from catalog import config, service
from catalog.db import base
from catalog.identity import middleware

keystone = pytest.mark.openstack


@pytest.fixture(scope="module")
def middleman(accounts):
    """The service's own user, who may ask Keystone about tokens."""
    account = accounts.user()
    accounts.grant(account.id, accounts.project_named("service")["id"], "service")
    return account


@pytest.fixture(scope="module")
def api(auth_url, middleman, tmp_path_factory):
    """`api(method, path, token, body, **headers)` asks the API, which knows Keystone by its configuration file."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "chandlery.conf").write_text(
        f"[database]\nconnection = sqlite:///{folder}/catalog.sqlite\n"
        "[identity]\nauth = keystone\n"
        f"[keystone_authtoken]\nauth_type = password\nauth_url = {auth_url}\nwww_authenticate_uri = {auth_url}\n"
        f"username = {middleman.name}\npassword = {middleman.password}\nproject_name = service\n"
        "user_domain_name = Default\nproject_domain_name = Default\n"
        "token_cache_time = -1\n"  # else a revoked token is good for some minutes more
        f"[oslo_policy]\npolicy_file = {folder}/policy.yaml\n"
    )
    (folder / "policy.yaml").write_text('"list_deployments_all_environments": "rule:admin_api"\n')
    conf = config.load([str(folder / "chandlery.conf")])
    database = base.Database(conf.database.connection)
    app = service.create_app(conf, database=database)
    database.create_tables()

    def ask(method, path, token=None, body=None, **headers):
        request = webob.Request.blank(path, method=method, accept="application/json")
        if token is not None:
            request.headers["X-Auth-Token"] = token
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value
        if body is not None:
            request.content_type, request.json_body = "application/json", body
        return request.get_response(app)

    yield ask
    app.close()


@pytest.fixture
def somebody(auth_url, accounts):
    """`somebody(project, *roles)`: the session of a new user with these roles in a project."""

    def make(project, *roles):
        account = accounts.user()
        for role in roles:
            accounts.grant(account.id, project["id"], role)
        return login(auth_url, account.name, account.password, project["name"])

    return make


def create(api, session, name):
    return api("POST", "/v1/environments", session.get_token(), {"name": name})


def created(api, session, name):
    answer = create(api, session, name)
    assert answer.status_code == 200, answer.text
    return answer.json


@keystone
def test_a_token_is_let_in_and_its_project_is_the_tenant(api, user, name):
    made = created(api, user, name)
    assert made["tenant_id"] == user.get_project_id()
    listed = api("GET", "/v1/environments", user.get_token()).json["environments"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert api("DELETE", f"/v1/environments/{made['id']}?abandon=true", user.get_token()).status_code == 200


@keystone
@pytest.mark.parametrize("token", [None, "", "wrong", "gAAAAAB" + "x" * 200, "é"])
def test_without_a_token_that_keystone_knows_nobody_gets_in(api, auth_url, token):
    answer = api("GET", "/v1/environments", token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{auth_url}"'


@keystone
def test_what_a_client_says_about_itself_does_not_count(api, user, accounts):
    claims = {"X_Identity_Status": "Confirmed", "X_Project_Id": "p", "X_User_Id": "u", "X_Roles": "admin"}
    assert api("GET", "/v1/environments", None, **claims).status_code == 401
    assert api("GET", "/v1/environments?all_tenants=true", user.get_token(), **claims).status_code == 403


@keystone
def test_a_token_without_a_project_is_refused(api, user, auth_url):
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": user.get_token()}}, "scope": "unscoped"}}
    unscoped = user.post(f"{auth_url}/auth/tokens", json=body, authenticated=False).headers["X-Subject-Token"]
    answer = api("GET", "/v1/environments", unscoped)
    assert answer.status_code == 401
    assert "scoped to a project" in answer.json["message"]


@keystone
def test_a_token_that_was_revoked_is_refused(api, somebody, accounts, auth_url):
    session = somebody(accounts.project(), "member")
    token = session.get_token()
    assert api("GET", "/v1/environments", token).status_code == 200
    session.delete(f"{auth_url}/auth/tokens", headers={"X-Subject-Token": token})
    assert api("GET", "/v1/environments", token).status_code == 401


@keystone
def test_a_reader_reads_and_changes_nothing(api, somebody, accounts, name):
    project = accounts.project()
    member, reader = somebody(project, "member"), somebody(project, "reader")
    made = created(api, member, name)
    path = f"/v1/environments/{made['id']}"
    assert api("GET", path, reader.get_token()).json["name"] == name
    assert create(api, reader, name + "-2").status_code == 403
    assert api("POST", f"{path}/configure", reader.get_token()).status_code == 403
    assert api("DELETE", path, reader.get_token()).status_code == 403
    assert api("POST", f"{path}/configure", member.get_token()).status_code == 200


@keystone
def test_a_member_of_another_project_sees_nothing_and_an_administrator_everything(api, somebody, accounts, name):
    owner, stranger = somebody(accounts.project(), "member"), somebody(accounts.project(), "member")
    admin = somebody(accounts.project(), "admin")
    made = created(api, owner, name)
    path = f"/v1/environments/{made['id']}"
    assert api("GET", path, stranger.get_token()).status_code == 403
    assert api("GET", "/v1/environments", stranger.get_token()).json["environments"] == []
    assert api("GET", "/v1/environments?all_tenants=true", stranger.get_token()).status_code == 403
    seen = api("GET", "/v1/environments?all_tenants=true", admin.get_token()).json["environments"]
    assert made["id"] in {each["id"] for each in seen}
    assert api("GET", path, admin.get_token()).status_code == 200


@keystone
def test_the_operators_policy_file_counts(api, user, somebody, accounts):
    assert api("GET", "/v1/deployments", user.get_token()).status_code == 403
    admin = somebody(accounts.project(), "admin")
    assert api("GET", "/v1/deployments", admin.get_token()).json == {"deployments": []}


@keystone
def test_the_version_document_needs_no_token_and_the_embedded_identity_is_not_there(api):
    assert api("GET", "/").status_code == 300
    assert "token" not in api("POST", "/identity/v3/auth/tokens", body={"auth": {}}).json


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_X_IDENTITY_STATUS": "Invalid", "HTTP_X_PROJECT_ID": "p"},  # delay_auth_decision = true
        {"HTTP_X_IDENTITY_STATUS": "Confirmed"},
        {"HTTP_X_IDENTITY_STATUS": "Confirmed", "HTTP_X_PROJECT_ID": ""},
    ],
)
def test_behind_keystones_middleware_only_the_confirmed_with_a_project_pass(headers):
    conf = types.SimpleNamespace(keystone_authtoken=types.SimpleNamespace(www_authenticate_uri="http://k/v3"))
    guarded = middleware.InProject(webob.Response(text="inside"), conf)
    answer = webob.Request.blank("/", environ=headers).get_response(guarded)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Keystone uri="http://k/v3"')
    confirmed = {"HTTP_X_IDENTITY_STATUS": "Confirmed", "HTTP_X_PROJECT_ID": "p"}
    assert webob.Request.blank("/", environ=confirmed).get_response(guarded).text == "inside"
