"""What a hostile guest can try: it reaches its own plans, and nothing else."""

from __future__ import annotations

import datetime
import gzip
import json
import pathlib
import socket
from typing import Any

import pytest
from agents_world import ENVIRONMENT, PROJECT, Guest, Service

from catalog.db import agents as table
from catalog.db import base, environments
from engine.agents import http

OTHER = "f" * 32


def enrolled(service: Service, guest: Guest, session: str = "s" * 40) -> str:
    body = {"session": table.hash_of(session)}
    assert service.post(f"{guest.id}/enrol", guest.access["token"], body).status_code == 200
    return session


def test_wrong_tokens_and_unknown_agents_get_the_same_answer(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    session = enrolled(service, guest)
    answers = [
        service.post(f"{guest.id}/poll", "wrong"),
        service.post(f"{guest.id}/poll", None),
        service.post(f"{guest.id}/poll", guest.access["token"]),  # the boot token is for enrolling only
        service.post(f"{'0' * 32}/poll", session),
        service.post(f"{'0' * 32}/enrol", session, {"session": "0" * 64}),
        service.post(f"{guest.id}/enrol", session, {"session": "0" * 64}),
        service.post(f"{guest.id}/results/x", "wrong", {"ErrorCode": 0}),
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}


def test_the_boot_token_works_once(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    enrolled(service, guest)
    answer = service.post(f"{guest.id}/enrol", guest.access["token"], {"session": table.hash_of("a thief's")})
    assert answer.status_code == 403
    assert "was used before" in answer.json()["error"]["message"]


def test_enrolment_ends_a_day_after_the_registration(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    with service.database.transaction() as session:
        session.get(table.Agent, guest.id).enrolment_ends = base.now() - datetime.timedelta(seconds=1)
    body = {"session": "0" * 64}
    assert service.post(f"{guest.id}/enrol", guest.access["token"], body).status_code == 403
    service.agents.register(ENVIRONMENT, PROJECT, "i1")
    assert service.post(f"{guest.id}/enrol", guest.access["token"], body).status_code == 200


def test_the_database_holds_no_token(service: Service, new_guest: Any, tmp_path: pathlib.Path) -> None:
    guest = new_guest().start()
    guest.value("return 1")
    service.database.dispose()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.sqlite*"))
    assert guest.id.encode() in content
    assert guest.session.encode() not in content
    assert guest.access["token"].encode() not in content


def test_registering_again_gives_the_same_access_and_others_get_others(service: Service) -> None:
    service.add_environment(OTHER, "q" * 32)
    first = service.agents.register(ENVIRONMENT, PROJECT, "i1")
    assert service.agents.register(ENVIRONMENT, PROJECT, "i1") == first
    others = [
        service.agents.register(ENVIRONMENT, PROJECT, "i2"),
        service.agents.register(OTHER, "q" * 32, "i1"),
    ]
    for name in ("agent_id", "token"):
        assert len({access[name] for access in [first, *others]}) == 3


def test_an_agent_sees_and_answers_its_own_plans_only(service: Service, new_guest: Any) -> None:
    service.add_environment(OTHER, "q" * 32)
    mine, other = new_guest("i1"), new_guest("i1", OTHER, "q" * 32)
    my_session, other_session = enrolled(service, mine), enrolled(service, other, "t" * 40)
    service.agents.send(other.id, "theirs", {"secret": 1})
    assert service.post(f"{mine.id}/poll", my_session, {"wait": 0}).status_code == 204
    assert service.post(f"{other.id}/poll", my_session, {"wait": 0}).status_code == 401
    assert service.post(f"{other.id}/poll", other_session, {"wait": 0}).json()["plan"] == {"secret": 1}
    stolen = service.post(f"{mine.id}/results/theirs", my_session, {"ErrorCode": 0, "Body": "forged"})
    missing = service.post(f"{mine.id}/results/nothing", my_session, {"ErrorCode": 0, "Body": "forged"})
    assert stolen.status_code == missing.status_code == 404
    assert stolen.text == missing.text
    assert service.post(f"{other.id}/results/theirs", other_session, {"ErrorCode": 0}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"ErrorCode": NaN}', 400, "NaN is not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"ErrorCode": 0, "Body": ' + b"[" * 80 + b"]" * 80 + b"}", 400, "nested deeper than 64 levels"),
        (b'{"ErrorCode": 0, "Body": 1e999}', 400, "larger than a number can be"),
        (b'{"ErrorCode": 0, "Body": 1' + b"0" * 5000 + b"}", 400, "not JSON"),
        (gzip.compress(b'{"ErrorCode": 0, "Body": "' + b"x" * 10_000_000 + b'"}'), 400, "not JSON"),
        (b"[]", 400, "expected a JSON object, found list"),
        (b"{}", 400, "ErrorCode: expected an integer, found null"),
        (b'{"ErrorCode": "0"}', 400, "expected an integer"),
        (b'{"ErrorCode": true}', 400, "expected an integer"),
        (b'{"ErrorCode": 99999999999999}', 400, "expected an integer"),
        (b'{"ErrorCode": 0, "Body": "' + b"x" * 5_000_000 + b'"}', 413, "at most"),
    ],
)
def test_results_that_are_none_are_refused_and_the_plan_goes_on(
    service: Service, new_guest: Any, body: bytes, status: int, message: str
) -> None:
    guest = new_guest()
    session = enrolled(service, guest)
    service.agents.send(guest.id, "plan-1", {})
    service.post(f"{guest.id}/poll", session)
    answer = service.post(f"{guest.id}/results/plan-1", session, body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]
    good = service.post(f"{guest.id}/results/plan-1", session, {"ErrorCode": 0, "Body": "\ud800\0", "more": 1})
    assert good.status_code == 200
    assert guest.run({}, "plan-1") == {"ErrorCode": 0, "Body": "\ufffd\ufffd", "SourceID": "plan-1"}


def test_the_first_result_stays(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    session = enrolled(service, guest)
    service.agents.send(guest.id, "plan-1", {})
    early = service.post(f"{guest.id}/results/plan-1", session, {"ErrorCode": 0, "Body": "early"})
    assert early.status_code == 409
    service.post(f"{guest.id}/poll", session)
    for body in ("first", "second"):
        assert service.post(f"{guest.id}/results/plan-1", session, {"ErrorCode": 0, "Body": body}).status_code == 200
    assert guest.run({}, "plan-1")["Body"] == "first"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/{'0' * 32}/poll", 405),
        ("POST", "/", 404),
        ("POST", f"/{'0' * 32}", 404),
        ("POST", f"/{'0' * 31}Z/poll", 404),
        ("POST", f"/{'0' * 32}/results/", 404),
        ("POST", f"/{'0' * 32}/results/a/b", 404),
        ("POST", f"/../agents/v1/{'0' * 32}/poll", 404),
    ],
)
def test_other_paths_and_methods(service: Service, method: str, path: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = f"{method} /agents/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_a_deleted_environment_takes_its_agents_and_plans_along(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    session = enrolled(service, guest)
    service.agents.send(guest.id, "plan-1", {})
    with service.database.transaction() as transaction:
        transaction.delete(transaction.get(environments.Environment, ENVIRONMENT))
    assert service.post(f"{guest.id}/poll", session).status_code == 401
    with pytest.raises(http.UnknownAgent):
        guest.run({}, "plan-1")
    with service.database.reading() as transaction:
        assert transaction.get(table.AgentPlan, "plan-1") is None


def test_old_plans_are_forgotten_when_the_server_is_registered_again(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    session = enrolled(service, guest)
    for plan_id in ("old", "new", "waiting"):
        service.agents.send(guest.id, plan_id, {})
        if plan_id != "waiting":
            service.post(f"{guest.id}/poll", session)
            service.post(f"{guest.id}/results/{plan_id}", session, {"ErrorCode": 0})
    with service.database.transaction() as transaction:
        for plan_id in ("old", "waiting"):
            transaction.get(table.AgentPlan, plan_id).created = base.now() - datetime.timedelta(days=8)
    service.agents.register(ENVIRONMENT, PROJECT, "i1")
    with service.database.reading() as transaction:
        assert [transaction.get(table.AgentPlan, plan_id) is None for plan_id in ("old", "new", "waiting")] == [
            True,
            False,
            False,
        ]


def test_a_short_secret_is_refused(service: Service) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes, found 5"):
        http.HttpAgents(database=service.database, url="http://x", secret=b"short")


def test_the_token_of_another_service_secret_differs(service: Service) -> None:
    other = http.HttpAgents(database=service.database, url="http://x", secret=b"another secret of 32 bytes......")
    ours, theirs = (port.register(ENVIRONMENT, PROJECT, "i1") for port in (service.agents, other))
    assert json.dumps(ours) != json.dumps(theirs)
    assert ours["token"] != theirs["token"]
