"""The client against a real HTTP server: logins, refusals, and event streams that break off."""

from __future__ import annotations

import contextlib
import json
import threading

import pytest
from cheroot import wsgi

from cli import client, errors, main


@contextlib.contextmanager
def served(application):
    server = wsgi.Server(("127.0.0.1", 0), application)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()


class Service:
    """Speaks just enough of identity v3 to log anybody in who knows the password, and has one scripted route."""

    def __init__(self, route):
        self.route = route
        self.url = ""

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/identity/v3"):
            return self.identity(environ, start_response)
        return self.route(environ, start_response)

    def identity(self, environ, start_response):
        if environ["REQUEST_METHOD"] != "POST":
            body = {"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": self.auth_url}]}}
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(body).encode()]
        asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        if asked["auth"]["identity"]["password"]["user"]["password"] != "right":
            start_response("401 Unauthorized", [("Content-Type", "application/json")])
            return [b'{"error": {"message": "no", "code": 401}}']
        endpoint = {"interface": "public", "url": self.url, "region": "r", "region_id": "r", "id": "e"}
        token = {
            "methods": ["password"],
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "demo", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p", "name": "demo", "domain": {"id": "default", "name": "Default"}},
            "catalog": [{"type": "application-catalog", "name": "chandlery", "id": "s", "endpoints": [endpoint]}],
        }
        start_response("201 Created", [("Content-Type", "application/json"), ("X-Subject-Token", "t")])
        return [json.dumps({"token": token}).encode()]

    @property
    def auth_url(self):
        return f"{self.url}/identity/v3"


@contextlib.contextmanager
def logged_in(route, password="right"):
    service = Service(route)
    with served(service) as url:
        service.url = url
        yield client.Client(
            client.Credentials(auth_url=service.auth_url, username="demo", password=password, project_name="demo")
        )


def answer(status, body, content_type="application/json"):
    def route(environ, start_response):
        start_response(status, [("Content-Type", content_type), ("x-openstack-request-id", "req-1")])
        return [body]

    return route


def test_an_answer_is_decoded():
    with logged_in(answer("200 OK", b'{"environments": []}')) as caller:
        assert caller.request("GET", "/environments") == {"environments": []}


def test_an_empty_answer_is_nothing():
    with logged_in(answer("200 OK", b"")) as caller:
        assert caller.request("DELETE", "/environments/e") is None


def test_a_refusal_has_the_services_words_and_the_request_id():
    body = b'{"message": "name is taken<br /><br />", "code": "409 Conflict", "title": "Conflict"}'
    with logged_in(answer("409 Conflict", body)) as caller, pytest.raises(errors.CommandError) as refused:
        caller.request("POST", "/environments", body={"name": "a"})
    assert "name is taken" in refused.value.message
    assert "HTTP 409, req-1" in refused.value.message
    assert refused.value.code == errors.REFUSED


def test_a_wrong_password_is_said_in_one_sentence():
    with logged_in(answer("200 OK", b"{}"), password="wrong") as caller, pytest.raises(errors.CommandError) as refused:
        caller.request("GET", "/environments")
    assert "does not accept the password of user 'demo' in project 'demo'" in refused.value.message


def test_a_service_that_is_not_there_is_unreachable():
    nobody = client.Credentials(
        auth_url="http://127.0.0.1:9/identity/v3", username="demo", password="x", project_name="demo"
    )
    with pytest.raises(errors.CommandError) as refused:
        client.Client(nobody).request("GET", "/environments")
    assert refused.value.code == errors.UNREACHABLE


def test_a_stream_that_breaks_off_resumes_after_the_last_event():
    asked = []

    def route(environ, start_response):
        last = environ.get("HTTP_LAST_EVENT_ID")
        asked.append(last)
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        if last is None:
            return [b'id: 1\nevent: report\ndata: {"text": "one"}\n\nid: 2\nevent: rep']
        return [b'id: 2\nevent: report\ndata: {"text": "two"}\n\nevent: finished\ndata: {"state": "success"}\n\n']

    with logged_in(route) as caller:
        told = [(event, data) for event, data in caller.events("/e") if event != "waiting"]
    assert told == [("report", {"text": "one"}), ("report", {"text": "two"}), ("finished", {"state": "success"})]
    assert asked == [None, "1"]


def test_credentials_of_a_half_set_environment_name_what_lacks(tmp_path):
    with pytest.raises(errors.CommandError, match="OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME is not"):
        client.Credentials.from_environment({"OS_AUTH_URL": "http://x"}, tmp_path)


def test_without_any_credentials_the_way_out_is_told(tmp_path):
    with pytest.raises(errors.CommandError) as refused:
        client.Credentials.from_environment({}, tmp_path)
    assert "chandlery serve" in refused.value.hints[0]


def test_a_broken_credentials_file_is_named(tmp_path):
    (tmp_path / client.CREDENTIALS_FILE).write_text("{")
    with pytest.raises(errors.CommandError, match=r"credentials\.json: not a credentials file"):
        client.Credentials.from_environment({}, tmp_path)


def test_what_scripts_print_is_shown_and_can_not_command_the_terminal(capsys, monkeypatch):
    asked = []
    printed = {
        "number": 1,
        "entity_id": "0123456789abcdef",
        "plan_id": "p",
        "plan": "Install",
        "script": "run",
        "stream": "stderr",
        "text": "one\n\x1b]0;owned\x07 two\ttabs\n",
        "created": "2026-01-01T12:13:14",
    }
    report = {"created": "2026-01-01T12:13:14", "text": "deployed", "level": "info"}
    finished = {"id": "d", "state": "success", "result": {"result": None, "isException": False}}

    def route(environ, start_response):
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        asked.append(f"{path}?{query}")
        if path.endswith("/events"):
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            told = [("report", report), ("output", printed), ("a-later-kind", {}), ("finished", finished)]
            return [f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode() for kind, data in told]
        start_response("200 OK", [("Content-Type", "application/json")])
        if path.endswith("/output"):
            return [json.dumps({"output": [printed] if "after=0&" in query else [], "next": 1}).encode()]
        return [b'{"environments": [{"id": "e", "name": "web"}]}']

    with logged_in(route) as caller:
        given = caller.credentials
        for name in ("auth_url", "username", "password", "project_name"):
            monkeypatch.setenv(f"OS_{name.upper()}", getattr(given, name))
        for command in (["follow", "--output"], ["output"]):
            assert main.main(["deployment", *command, "web", "d"]) == errors.OK
            shown = capsys.readouterr().out
            assert ("12:13:14  deployed" in shown) is (command[0] == "follow")
            assert "12:13:14  01234567 run: one" in shown
            assert "?]0;owned? two" in shown
            assert "\x1b" not in shown
    assert "/v1/environments/e/deployments/d/events?output=true" in asked
    assert asked[-1] == "/v1/environments/e/deployments/d/output?after=1&limit=1000"
