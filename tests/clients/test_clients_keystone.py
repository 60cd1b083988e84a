"""The API behind keystonemiddleware and a real Keystone: whose token it is, what it lets in, and for how long."""

from __future__ import annotations

import http.server
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import clients_world
import pytest
import requests
import webob
from clients_keystone import Keystone
from clients_world import unique

from catalog import config, service
from catalog.db import base, migrations

Ask = Callable[..., webob.Response]


class Relay:
    """Stands between the service and Keystone: counts what is asked about tokens, and can cut the line."""

    def __init__(self, keystone: str) -> None:
        relay = self
        self.asked: list[str] = []
        self.cut = False
        root = keystone.removesuffix("/v3")

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                if relay.cut:
                    self.close_connection = True
                    return
                if self.command == "GET" and self.path.startswith("/v3/auth/tokens"):
                    relay.asked.append(self.headers["X-Subject-Token"])
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                got = requests.request(self.command, root + self.path, headers=headers, data=body, timeout=60)
                content = got.content.replace(root.encode(), relay.url.encode())
                self.send_response(got.status_code)
                for name, value in got.headers.items():
                    if name.lower() in ("content-type", "x-subject-token", "www-authenticate", "vary"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def relay(keystone: Keystone) -> Iterator[Relay]:
    made = Relay(keystone.url)
    yield made
    made.close()


@pytest.fixture
def serve(keystone: Keystone, relay: Relay, tmp_path: pathlib.Path) -> Iterator[Callable[..., Ask]]:
    """`serve(*lines)` starts the API with more lines of `[keystone_authtoken]`, and gives what asks it."""
    started = []

    def start(*lines: str) -> Ask:
        user = [line.replace(keystone.url, f"{relay.url}/v3") for line in clients_world.service_user(keystone)]
        url = f"sqlite:///{tmp_path}/catalog-{len(started)}.sqlite"
        path = tmp_path / f"chandlery-{len(started)}.conf"
        text = [
            "[database]",
            f"connection = {url}",
            "[identity]",
            "auth = keystone",
            *user,
            "http_connect_timeout = 30",
        ]
        path.write_text("\n".join([*text, "http_request_max_retries = 0", *lines]) + "\n")
        conf = config.load([str(path)])
        migrations.upgrade(url)
        app = service.create_app(conf, database=base.Database(url))
        started.append(app)

        def ask(method: str, path: str, token: str | None = None, body: Any = None, **headers: str) -> webob.Response:
            request = webob.Request.blank(path, method=method, accept="application/json")
            for name, value in {"X-Auth-Token": token, **headers}.items():
                if value is not None:
                    request.headers[name.replace("_", "-")] = value
            if body is not None:
                request.content_type, request.json_body = "application/json", body
            return request.get_response(app)

        return ask

    yield start
    for app in started:
        app.close()


@pytest.fixture
def somebody(keystone: Keystone) -> Callable[..., str]:
    """`somebody(role, project=)` gives a token of a new user with a role in a project."""

    def log_in(*roles: str, project: str | None = None) -> str:
        name, password, project = unique("user"), uuid.uuid4().hex, project or unique("project")
        keystone.project(project)
        keystone.user(name, password, {project: list(roles)})
        return str(keystone.session(name, password, project).get_token())

    return log_in


def test_keystone_is_asked_once_about_a_token_while_the_answer_is_kept(
    serve: Callable[..., Ask], relay: Relay, somebody: Callable[..., str]
) -> None:
    ask, token, other = serve(), somebody("member"), somebody("member")
    for _ in range(5):
        assert ask("GET", "/v1/environments", token).status_code == 200
    assert relay.asked.count(token) == 1
    assert ask("GET", "/v1/environments", other).status_code == 200
    assert relay.asked.count(other) == 1


def test_without_a_cache_a_revoked_token_is_refused_at_once(
    serve: Callable[..., Ask], relay: Relay, somebody: Callable[..., str], keystone: Keystone
) -> None:
    ask, token = serve("token_cache_time = -1"), somebody("member")
    for _ in range(2):
        assert ask("GET", "/v1/environments", token).status_code == 200
    assert relay.asked.count(token) == 2
    requests.delete(
        f"{keystone.url}/auth/tokens", headers={"X-Auth-Token": token, "X-Subject-Token": token}, timeout=60
    )
    assert ask("GET", "/v1/environments", token).status_code == 401


def test_a_missing_malformed_or_unknown_token_is_refused_and_says_where_to_log_in(
    serve: Callable[..., Ask], relay: Relay
) -> None:
    ask = serve()
    for token in (None, "", "nonsense", "gAAAAAB" + "x" * 180):
        refused = ask("GET", "/v1/environments", token)
        assert refused.status_code == 401, token
        assert f"{relay.url}/v3" in refused.headers["WWW-Authenticate"]


def test_a_token_whose_user_is_disabled_is_refused(serve: Callable[..., Ask], keystone: Keystone) -> None:
    ask = serve("token_cache_time = -1")
    name, password, project = unique("user"), uuid.uuid4().hex, unique("project")
    user = keystone.user(name, password, {project: ["member"]})
    token = keystone.session(name, password, project).get_token()
    assert ask("GET", "/v1/environments", token).status_code == 200
    keystone.disable(user)
    assert ask("GET", "/v1/environments", token).status_code == 401


def test_an_expired_token_is_refused_but_for_a_service_that_goes_on_for_its_user(
    serve: Callable[..., Ask], keystone: Keystone, somebody: Callable[..., str]
) -> None:
    """A job that takes longer than its user's token is valid goes on with it, next to the token of its service."""
    name, password, project = unique("user"), uuid.uuid4().hex, unique("project")
    keystone.user(name, password, {project: ["member", "service"]})
    brief, robot = keystone.brief_token(name, password, project), somebody("service")
    wait_until_refused(keystone.url, brief, by=robot)
    ask = serve("token_cache_time = -1", "service_token_roles = service", "service_token_roles_required = true")
    assert ask("GET", "/v1/environments", brief).status_code == 401
    assert ask("GET", "/v1/environments", brief, X_Service_Token=robot).status_code == 200
    assert ask("GET", "/v1/environments", robot, X_Service_Token=brief).status_code == 401


def wait_until_refused(keystone: str, token: str, *, by: str) -> None:
    """Until Keystone no longer knows a token that is about to expire."""
    deadline = time.monotonic() + 60
    headers = {"X-Auth-Token": by, "X-Subject-Token": token}
    while requests.get(f"{keystone}/auth/tokens", headers=headers, timeout=60).status_code != 404:
        assert time.monotonic() < deadline, "the token is still valid"
        time.sleep(0.2)


def test_tokens_without_a_project_are_refused(serve: Callable[..., Ask], keystone: Keystone) -> None:
    ask = serve()
    name, password, project = unique("user"), uuid.uuid4().hex, unique("project")
    keystone.user(name, password, {project: ["admin"]})
    unscoped = keystone.session(name, password, None, unscoped=True).get_token()
    refused = ask("GET", "/v1/environments", unscoped)
    assert refused.status_code == 401
    assert "scoped to a project" in refused.json["message"]
    delayed = serve("delay_auth_decision = true")  # what the operator says, the application still decides
    assert delayed("GET", "/v1/environments").status_code == 401
    assert delayed("GET", "/v1/environments", "nonsense").status_code == 401
    assert delayed("GET", "/v1/environments", unscoped).status_code == 401


def test_roles_of_keystone_decide(serve: Callable[..., Ask], somebody: Callable[..., str]) -> None:
    ask, project = serve(), unique("project")
    member, reader, admin = (somebody(role, project=project) for role in ("member", "reader", "admin"))
    made = ask("POST", "/v1/environments", member, {"name": "shop"})
    assert made.status_code == 200
    path = f"/v1/environments/{made.json['id']}"
    assert ask("GET", path, reader).status_code == 200
    assert ask("PUT", path, reader, {"name": "other"}).status_code == 403
    assert ask("DELETE", path, reader).status_code == 403
    assert ask("GET", "/v1/environments?all_tenants=true", member).status_code == 403
    assert ask("GET", "/v1/environments?all_tenants=true", admin).status_code == 200


def test_another_projects_environment_is_refused_and_claimed_headers_do_not_count(
    serve: Callable[..., Ask], somebody: Callable[..., str]
) -> None:
    ask, owner, stranger = serve(), somebody("member"), somebody("member")
    made = ask("POST", "/v1/environments", owner, {"name": "shop"}).json
    path = f"/v1/environments/{made['id']}"
    claims = {"X_Project_Id": made["tenant_id"], "X_Tenant_Id": made["tenant_id"], "X_Roles": "admin"}
    for headers in ({}, claims, {**claims, "X_Identity_Status": "Confirmed", "X_Is_Admin_Project": "True"}):
        assert ask("GET", path, stranger, **headers).status_code == 403
        assert ask("GET", "/v1/environments", stranger, **headers).json == {"environments": []}
    assert ask("GET", "/v1/environments", None, X_Identity_Status="Confirmed", **claims).status_code == 401


def test_a_service_s_token_beside_the_user_s_is_checked_too(
    serve: Callable[..., Ask], somebody: Callable[..., str]
) -> None:
    ask, user, robot = serve(), somebody("member"), somebody("service")
    assert ask("GET", "/v1/environments", user, X_Service_Token=robot).status_code == 200
    assert ask("GET", "/v1/environments", user, X_Service_Token="nonsense").status_code == 401
    assert ask("GET", "/v1/environments", None, X_Service_Token=robot).status_code == 401
    strict = serve("service_token_roles_required = true", "service_token_roles = service")
    assert strict("GET", "/v1/environments", user, X_Service_Token=robot).status_code == 200
    assert strict("GET", "/v1/environments", user, X_Service_Token=somebody("member")).status_code == 401


def test_when_keystone_does_not_answer_it_is_the_service_that_is_unavailable(
    serve: Callable[..., Ask], relay: Relay, somebody: Callable[..., str]
) -> None:
    ask, known, new = serve(), somebody("member"), somebody("member")
    assert ask("GET", "/v1/environments", known).status_code == 200
    relay.cut = True
    assert ask("GET", "/v1/environments", new).status_code == 503
    assert ask("GET", "/v1/environments", known).status_code == 200  # the answer is kept
    assert ask("GET", "/").status_code == 300
    relay.cut = False
    assert ask("GET", "/v1/environments", new).status_code == 200
