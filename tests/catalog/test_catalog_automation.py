"""What automation relies on: repeated requests, conditional reads, metrics, and browsers of other origins."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import webob
from catalog_cloud import Client, Cloud, archive_of, multipart

from catalog import config, service
from catalog.api import errors
from catalog.api.v1 import environments as handlers
from catalog.db import base, idempotency
from catalog.db.idempotency import KeptAnswer

# --- Idempotency-Key -------------------------------------------------------------------------------------------------


def names(client: Client) -> list[str]:
    return sorted(each["name"] for each in client.json("GET", "/v1/environments")["environments"])


def make(client: Client, name: str, key: str, **options: Any) -> webob.Response:
    return client("POST", "/v1/environments", {"name": name}, Idempotency_Key=key, **options)


def test_a_request_that_is_repeated_is_carried_out_once_and_answered_alike(cloud: Cloud) -> None:
    first, second = make(cloud.member, "a", "k1"), make(cloud.member, "a", "k1")
    assert second.body == first.body
    assert second.content_type == first.content_type
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["X-OpenStack-Request-ID"] != first.headers["X-OpenStack-Request-ID"]
    assert names(cloud.member) == ["a"]
    make(cloud.member, "a", "k2", status=409)  # without the key it would be what it always was


def test_a_key_is_of_one_user_in_one_project_on_one_route(cloud: Cloud) -> None:
    ids = {make(client, f"e-{number}", "same").json["id"] for number, client in enumerate(clients(cloud))}
    assert len(ids) == 3
    cloud.member("POST", "/v1/templates", {"name": "t"}, Idempotency_Key="same")


def clients(cloud: Cloud) -> tuple[Client, ...]:
    return (cloud.member, cloud.colleague, cloud.stranger)


def test_another_request_under_the_same_key_is_a_422(cloud: Cloud) -> None:
    make(cloud.member, "a", "k")
    assert "another one" in make(cloud.member, "b", "k", status=422).text
    assert names(cloud.member) == ["a"]
    first, second = cloud.member.environment("x")["id"], cloud.member.environment("y")["id"]
    cloud.member("POST", f"/v1/environments/{first}/configure", Idempotency_Key="s")
    cloud.member("POST", f"/v1/environments/{second}/configure", Idempotency_Key="s", status=422)


def test_a_request_that_failed_leaves_its_key_free(cloud: Cloud) -> None:
    taken = cloud.member.environment("a")["id"]
    make(cloud.member, "a", "k", status=409)
    cloud.member("DELETE", f"/v1/environments/{taken}?abandon=true")
    make(cloud.member, "a", "k")
    assert names(cloud.member) == ["a"]


def test_while_the_first_request_runs_a_second_one_is_a_409(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    check_name = handlers.check_name

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return check_name(*arguments)

    monkeypatch.setattr(handlers, "check_name", slow)
    answers: list[webob.Response] = []
    first = threading.Thread(target=lambda: answers.append(make(cloud.member, "a", "k")))
    first.start()
    assert begun.wait(60)
    refused = make(cloud.member, "a", "k", status=409)
    assert refused.headers["Retry-After"] == "1"
    go_on.set()
    first.join(60)
    assert make(cloud.member, "a", "k").body == answers[0].body


def test_a_request_whose_process_died_may_be_sent_again_after_a_while(cloud: Cloud) -> None:
    make(cloud.member, "a", "k")
    with cloud.database.transaction() as session:
        session.execute(sa.update(KeptAnswer).values(status=None, body=None))
        session.execute(sa.text("DELETE FROM environments"))
    make(cloud.member, "a", "k", status=409)
    with cloud.database.transaction() as session:
        session.execute(sa.update(KeptAnswer).values(created=base.now() - datetime.timedelta(hours=1)))
    make(cloud.member, "a", "k")
    assert make(cloud.member, "a", "k").headers["Idempotent-Replayed"] == "true"


def test_answers_are_forgotten_after_a_day(cloud: Cloud) -> None:
    make(cloud.member, "a", "k")
    with cloud.database.transaction() as session:
        day = datetime.timedelta(hours=24)
        assert idempotency.forget(session, before=base.now() - day) == 0
        session.execute(sa.update(KeptAnswer).values(created=base.now() - day - datetime.timedelta(minutes=1)))
        assert idempotency.forget(session, before=base.now() - day) == 1


def test_an_upload_counts_by_its_parts_whatever_its_boundary(cloud: Cloud) -> None:
    body, kind = multipart([("file", ("p.zip", archive_of("org.example.App"))), ("d", '{"tags": ["x"]}')])
    ids = set()
    for boundary in (b"boundary", b"otherone"):
        answer = cloud.member(
            "POST",
            "/v1/catalog/packages",
            raw=body.replace(b"--boundary", b"--" + boundary),
            Content_Type=kind.replace("boundary=boundary", f"boundary={boundary.decode()}"),
            Idempotency_Key="k",
        )
        ids.add(answer.json["id"])
    assert len(ids) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "naïve"])
def test_a_key_that_is_none_is_a_400(cloud: Cloud, key: str) -> None:
    make(cloud.member, "a", key, status=400)
    assert names(cloud.member) == []


def test_of_many_at_once_one_is_carried_out(cloud: Cloud) -> None:
    answers: list[webob.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(make(cloud.member, "a", "k", status=None))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {answer.status_int for answer in answers} <= {200, 409}
    assert len({answer.body for answer in answers if answer.status_int == 200}) == 1
    assert names(cloud.member) == ["a"]


# --- conditional reads -----------------------------------------------------------------------------------------------


def test_what_is_known_already_is_a_304_without_a_body(cloud: Cloud) -> None:
    package = cloud.member.upload(archive_of("org.example.App")).json["id"]
    environment = cloud.member.environment("a")["id"]
    for path in (
        "/v1/environments",
        f"/v1/environments/{environment}",
        "/v1/catalog/packages",
        f"/v1/catalog/packages/{package}/download",
    ):
        etag = cloud.member("GET", path).headers["ETag"]
        for sent in (etag, f'"other", W/{etag}', "*"):
            answer = cloud.member("GET", path, If_None_Match=sent, status=304)
            assert (answer.body, answer.headers["ETag"]) == (b"", etag)
        cloud.member("GET", path, If_None_Match='"other"')


def test_a_changed_status_is_no_304_though_the_content_stayed(cloud: Cloud) -> None:
    environment = cloud.member.environment("a")["id"]
    path = f"/v1/environments/{environment}"
    etag = cloud.member("GET", path).headers["ETag"]
    cloud.member.session(environment)  # now it is "pending"
    changed = cloud.member("GET", path, If_None_Match=etag)
    assert changed.json["status"] == "pending"
    cloud.member("PUT", path, {"name": "b"}, If_Match=etag)


# --- metrics ---------------------------------------------------------------------------------------------------------


def scrape(cloud: Cloud, address: str = "127.0.0.1", *, method: str = "GET", **headers: str) -> webob.Response:
    request = webob.Request.blank("/metrics", method=method, environ={"REMOTE_ADDR": address})
    request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return request.get_response(cloud.app)


def test_metrics_count_by_route_and_state_and_name_no_tenant(cloud: Cloud) -> None:
    environment = cloud.member.environment("very-secret-name")["id"]
    cloud.member("GET", f"/v1/environments/{environment}")
    cloud.member("GET", "/v1/environments/nothing", status=404)
    cloud.member("GET", "/v1/no/such/route", status=404)
    cloud.anonymous("GET", "/v1/environments", status=401)
    session = cloud.member.session(environment)
    with cloud.database.transaction() as database:
        database.execute(
            sa.text(
                "INSERT INTO deployments (id, environment_id, project_id, user_id, kind, model, lock, state, created,"
                " updated, fence) VALUES ('d', :environment, 'p', 'u', 'deploy', '{}', '[]', 'queued',"
                " '2020-01-01 00:00:00.000000', '2020-01-01 00:00:00.000000', 0)"
            ),
            {"environment": environment},
        )
    text = scrape(cloud).text
    route = 'route="/v1/environments/{environment}"'
    for line in (
        f'chandlery_http_requests_total{{method="GET",{route},status="200"}} 1.0',
        f'chandlery_http_requests_total{{method="GET",{route},status="404"}} 1.0',
        'chandlery_http_requests_total{method="GET",route="/v1",status="404"} 1.0',
        'chandlery_http_requests_total{method="GET",route="/v1",status="401"} 1.0',
        f'chandlery_http_request_duration_seconds_count{{method="GET",{route}}} 2.0',
        'chandlery_deployments{state="queued"} 1.0',
        'chandlery_deployments{state="finished"} 0.0',
        "chandlery_environments 1.0",
    ):
        assert line in text.splitlines(), line
    waited = re.search(r"^chandlery_deployment_queue_seconds (\S+)$", text, re.MULTILINE)
    assert waited is not None
    assert float(waited[1]) > 86400
    for secret in (environment, session, "very-secret-name", cloud.member.project_id, cloud.member.user_id):
        assert secret not in text


@pytest.fixture
def overrides(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    return getattr(request, "param", {})


@pytest.mark.parametrize(
    "overrides", [{"metrics": {"token": "t0ken", "networks": ["10.1.0.0/16", "::1/128"]}}], indirect=True
)
def test_metrics_are_for_near_addresses_and_who_has_the_token(cloud: Cloud) -> None:
    def read(address: str, status: int, **headers: str) -> None:
        assert scrape(cloud, address, **headers).status_int == status

    read("10.1.2.3", 200)
    read("::ffff:10.1.2.3", 200)
    read("::1", 200)
    for far in ("127.0.0.1", "10.2.0.1", "nonsense", ""):
        read(far, 403)
    for header in ("X_Forwarded_For", "Forwarded", "X_Real_IP", "Via"):
        read("10.1.2.3", 403, **{header: "10.1.2.3"})
    read("192.0.2.1", 200, Authorization="Bearer t0ken", X_Forwarded_For="192.0.2.1")
    for wrong in ("Bearer wrong", "t0ken", "Bearer", "Bearer \xff"):
        read("192.0.2.1", 403, Authorization=wrong)
    assert scrape(cloud, "10.1.2.3", method="POST").status_int == 404


@pytest.mark.parametrize("overrides", [{"metrics": {"enabled": False}}], indirect=True)
def test_metrics_can_be_off(cloud: Cloud) -> None:
    assert scrape(cloud).status_int == 404


SEVERAL = """
import sys
from catalog import config, service
from catalog.db.base import Database
import webob
conf = config.load(overrides={"database": {"connection": sys.argv[1]}})
app = service.create_app(conf, database=Database(conf.database.connection))
for _ in range(3):
    webob.Request.blank("/v1/environments").get_response(app)
print(webob.Request.blank("/metrics", environ={"REMOTE_ADDR": "127.0.0.1"}).get_response(app).text)
app.close()
"""


def test_processes_that_share_a_folder_are_added_up(cloud: Cloud, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)}
    command = [sys.executable, "-c", SEVERAL, cloud.database.url]
    texts = [subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    line = 'chandlery_http_requests_total{method="GET",route="/v1",status="401"} '
    assert [line + number in text for number, text in zip(("3.0", "6.0"), texts, strict=True)] == [True, True]


# --- other origins ---------------------------------------------------------------------------------------------------

ORIGIN = "https://portal.example.org"


def cross(cloud: Cloud, method: str, path: str = "/v1/environments", **headers: str) -> webob.Response:
    """A request as a browser sends it for a script of another origin."""
    request = webob.Request.blank(path, method=method, headers={"Origin": ORIGIN, "Accept": "application/json"})
    request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    if method != "OPTIONS":
        request.headers["X-Auth-Token"] = cloud.member.token
    return request.get_response(cloud.app)


def test_a_browser_of_another_origin_is_allowed_nothing_by_default(cloud: Cloud) -> None:
    answer = cross(cloud, "GET")
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert cross(cloud, "OPTIONS", Access_Control_Request_Method="GET").status_int == 401


@pytest.mark.parametrize("overrides", [{"cors": {"allowed_origin": [ORIGIN]}}], indirect=True)
def test_an_origin_that_is_named_may_call_with_a_token_and_without_cookies(cloud: Cloud) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-auth-token, content-type"}
    allowed = cross(cloud, "OPTIONS", **asked)
    assert allowed.status_int == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert allowed.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    answer = cross(cloud, "GET")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    refused = cross(cloud, "GET", "/v1/nothing")
    assert refused.status_int == 404
    assert refused.json["request_id"] == refused.headers["x-openstack-request-id"]
    other = cross(cloud, "GET", Origin="https://evil.example.org")
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_network_that_is_none_is_said_at_start(cloud: Cloud) -> None:
    conf = config.load(
        overrides={
            "database": {"connection": cloud.database.url},
            "metrics": {"networks": ["everywhere"]},
        }
    )
    with pytest.raises(ValueError, match="everywhere"):
        service.create_app(conf, database=cloud.database)


def test_a_request_with_a_key_is_refused_like_any_other(cloud: Cloud) -> None:
    assert issubclass(errors.Unprocessable, errors.ApiError)
    cloud.anonymous("POST", "/v1/environments", {"name": "a"}, Idempotency_Key="k", status=401)
    make(cloud.reader, "a", "k", status=403)
    with cloud.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(KeptAnswer)) == 0
