"""What every answer has, and how errors look: spec/api-v1 §1.1. Existing clients crash on errors in another form."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import webob
from catalog_cloud import Client, Cloud
from cheroot import wsgi

from catalog import config, service
from catalog.api import errors
from catalog.db.base import Database

UNKNOWN = "/v1/environments/" + "0" * 32


def test_anything_but_v1_gets_the_version_document_without_a_token(cloud: Cloud) -> None:
    for path in ("/", "/v2/environments", "/v1x", "/anything"):
        for method in ("GET", "POST", "DELETE"):
            answer = cloud.anonymous(method, path, status=300)
            assert answer.json == {
                "versions": [
                    {
                        "id": "v1.0",
                        "status": "CURRENT",
                        "links": [{"rel": "self", "href": "http://localhost/v1/"}],
                    }
                ]
            }


def test_doubled_slashes_before_and_after_the_version_do_not_matter(cloud: Cloud) -> None:
    for path in ("//v1/environments", "/v1//environments", "///v1///environments"):
        cloud.member("GET", path)


def test_unknown_paths_and_wrong_methods_are_both_not_found(cloud: Cloud) -> None:
    for method, path in (
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/environments/"),
        ("GET", "/v1/nothing"),
        ("PATCH", "/v1/environments"),
        ("HEAD", "/v1/environments"),
        ("PUT", "/v1/catalog/packages"),
        ("OPTIONS", "/v1/environments"),
    ):
        cloud.member(method, path, status=404)
    cloud.anonymous("GET", "/v1", status=401)


def test_every_answer_carries_a_request_id(cloud: Cloud) -> None:
    pattern = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    answers = [
        cloud.member("GET", "/v1/environments"),
        cloud.anonymous("GET", "/", status=300),
        cloud.anonymous("GET", "/v1/environments", status=401),
        cloud.member("GET", UNKNOWN, status=404),
        cloud.anonymous("GET", "/healthcheck"),
    ]
    ids = [answer.headers["x-openstack-request-id"] for answer in answers]
    assert all(pattern.fullmatch(each) for each in ids)
    assert len(set(ids)) == len(ids)


def test_errors_have_the_form_the_client_asks_for(cloud: Cloud) -> None:
    page = cloud.member("GET", UNKNOWN, status=404)
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "<h1>404 Not Found</h1>" in page.text
    found = cloud.member("GET", UNKNOWN, Accept="application/json", status=404).json
    assert (found["code"], found["title"]) == ("404 Not Found", "Not Found")
    assert "not found" in found["message"]
    text = cloud.member("GET", UNKNOWN, Accept=None, status=404)
    assert text.content_type == "text/plain"
    assert text.text.startswith("404 Not Found\n\n")


def test_what_a_client_sent_is_no_markup_in_the_answer(cloud: Cloud) -> None:
    answer = cloud.member("GET", "/v1/environments/%3Cscript%3Ealert(1)%3C%2Fscript%3E/nothing", status=404)
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("application/*;q=0.5", 200),
        (None, 200),
        ("text/html", 406),
        ("text/plain", 406),
        ("application/octet-stream", 406),
        ("not an accept header", 200),
    ],
)
def test_json_is_answered_to_whom_accepts_it(cloud: Cloud, accept: Any, status: int) -> None:
    cloud.member("GET", "/v1/environments", Accept=accept, status=status)


def test_a_path_that_ends_in_json_says_what_is_accepted(cloud: Cloud) -> None:
    answer = cloud.member("GET", "/v1/environments/nothing.json", Accept="text/html", status=404)
    assert answer.content_type == "text/html"
    cloud.member("GET", "/v1/environments/nothing", Accept="text/html", status=406)


BODIES: list[tuple[str, str, bytes, str | None, int]] = [
    ("POST", "/v1/environments", b"{", "application/json", 400),
    ("POST", "/v1/environments", b"", "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "x"}', None, 400),
    ("POST", "/v1/environments", b'{"name": "x"}', "text/plain", 415),
    ("POST", "/v1/environments", b"<name/>", "application/xml", 400),
    ("POST", "/v1/environments", b"[1]", "application/json", 400),
    ("POST", "/v1/environments", b'"name"', "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "\xff"}', "application/json", 400),
    ("POST", "/v1/environments", b'{"name": NaN}', "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "x", "n": 1e999}', "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "x", "s": "\\ud800"}', "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "x", "s\\u0000": 1}', "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "x", "a": ' + b"[" * 300 + b"]" * 300 + b"}", "application/json", 400),
    ("POST", "/v1/environments", b"[" * 500_000, "application/json", 400),
    ("POST", "/v1/environments", b'{"name": "' + b"x" * (4 << 20) + b'"}', "application/json", 413),
    ("DELETE", UNKNOWN, b"{}", "application/json", 400),
    ("DELETE", UNKNOWN, b"", "application/json", 404),
    ("DELETE", UNKNOWN, b"", "multipart/form-data", 404),
    ("POST", f"{UNKNOWN}/configure", b"", "multipart/form-data", 404),
    ("POST", f"{UNKNOWN}/configure", b"null", "application/json", 400),
    ("GET", "/v1/environments", b"", "application/json", 200),
    ("GET", "/v1/environments", b"x", "text/plain", 415),
]


@pytest.mark.parametrize(("method", "path", "body", "kind", "status"), BODIES)
def test_a_body_that_is_not_what_the_call_takes_is_refused(
    cloud: Cloud, method: str, path: str, body: bytes, kind: str | None, status: int
) -> None:
    cloud.member(method, path, raw=body, Content_Type=kind, status=status)
    assert cloud.member.json("GET", "/v1/environments") == {"environments": []}


def test_a_multipart_type_without_a_body_is_no_matter_under_an_idempotency_key(cloud: Cloud) -> None:
    """Generated requests found a 500 here: the body that was not there was taken apart once more."""
    headers = {"Content_Type": "multipart/form-data", "Idempotency_Key": "one"}
    cloud.member("POST", f"{UNKNOWN}/configure", status=404, **headers)


def test_a_body_shorter_than_announced_is_a_400(cloud: Cloud) -> None:
    cloud.member(
        "POST",
        "/v1/environments",
        raw=b'{"name": "x"}',
        Content_Type="application/json",
        Content_Length="99",
        status=400,
    )


@pytest.mark.parametrize(
    "path",
    ["/v1/environments/%ff%fe", "/v1/catalog/packages?name=%ff", "/v1/environments/%00", "/v1/environments?tenant=%00"],
)
def test_bytes_that_are_no_text_are_a_4xx(cloud: Cloud, path: str) -> None:
    cloud.member("GET", path, status=400)


def test_a_failure_inside_is_a_500_that_tells_nothing_but_the_request_id(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_arguments: object) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr("catalog.db.environments.list_of", explode)
    answer = cloud.member("GET", "/v1/environments", status=500)
    assert "secret" not in answer.text
    assert answer.headers["x-openstack-request-id"] in answer.text
    assert answer.content_type == "text/html"


def test_a_database_that_is_gone_is_a_503_and_fails_the_healthcheck(cloud: Cloud) -> None:
    assert cloud.anonymous("GET", "/healthcheck").text == "OK"
    broken = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    app = service.create_app(cloud.app.services.config, database=broken)
    client = Client(app, "some-token")
    client("GET", "/healthcheck", status=503)
    client("GET", "/v1/environments", status=503)
    app.close()


def test_a_browser_at_the_root_goes_to_the_dashboard_and_a_client_does_not(cloud: Cloud) -> None:
    def dashboard(environ: dict[str, Any], start_response: Any) -> Any:
        return webob.Response(text=f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}")(environ, start_response)

    app = service.create_app(cloud.app.services.config, database=cloud.database, mounts={"/dashboard": dashboard})
    client = Client(app)
    browser = {"Accept": "text/html,*/*", "User_Agent": "Mozilla/5.0"}
    redirect = client("GET", "/", status=302, **browser)
    assert redirect.headers["Location"].endswith("/dashboard/")
    assert client("GET", "/dashboard/catalog", **browser).text == "/dashboard|/catalog"
    client("GET", "/", status=300)
    client("GET", "/", Accept="text/html", User_Agent="curl/8", status=300)
    cloud.anonymous("GET", "/", status=300, **browser)


def test_errors_of_all_kinds_have_a_status_of_their_own() -> None:
    kinds = errors.ApiError.__subclasses__()
    assert len({kind.status for kind in kinds}) == len(kinds)
    for kind in kinds:
        answer = errors.response(kind("why <b>"), "application/json", "req-1")
        assert json.loads(answer.body)["message"] == "why <b>"
        assert answer.status_int == kind.status.value


def test_no_part_of_the_catalog_loads_eventlet() -> None:
    assert "eventlet" not in sys.modules


def test_a_wrong_configuration_is_said_at_start(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="expected a file"):
        Database("sqlite://")
    options = {
        "database": {"connection": f"sqlite:///{tmp_path}/c.sqlite"},
        "repositories": {"repository": ["nonsense"]},
    }
    with pytest.raises(ValueError, match="name=URL"):
        service.create_app(config.load(overrides=options))


def test_statistics_are_for_administrators(cloud: Cloud) -> None:
    cloud.member("GET", "/v1/stats", status=403)
    [stats] = cloud.admin.json("GET", "/v1/stats")
    assert stats["request_count"] >= 1
    assert json.loads(stats["requests_per_tenant"])[cloud.member.project_id] >= 1


def test_a_body_in_chunks_is_taken_up_to_the_limit(cloud: Cloud) -> None:
    server = wsgi.Server(("127.0.0.1", 0), cloud.app, numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()

    def post(chunks: Iterator[bytes]) -> int:
        connection = http.client.HTTPConnection(*server.bind_addr, timeout=10)
        headers = {"X-Auth-Token": cloud.member.token or "", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/environments", chunks, headers, encode_chunked=True)
            return connection.getresponse().status
        except (BrokenPipeError, ConnectionResetError):  # the service stopped listening to more
            return 413
        finally:
            connection.close()

    assert post(iter([b'{"name": ', b'"chunked"}'])) == 200
    assert post(itertools.repeat(b"x" * (1 << 20), 8)) == 413
    server.stop()
    thread.join()
    assert [each["name"] for each in cloud.member.json("GET", "/v1/environments")["environments"]] == ["chunked"]
