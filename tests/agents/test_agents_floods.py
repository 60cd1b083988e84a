"""Agents that ask too much: each has its share, and nobody else notices."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from typing import Any

import pytest
from agents_world import ENVIRONMENT, PROJECT, Guest, Service, wait_until

from catalog.api import agents as agents_api
from catalog.api.agent_traffic import Exceeded, Share, Traffic
from catalog.db import agents as table

SESSION = "s" * 40


def enrolled(service: Service, instance_id: str, session: str = SESSION) -> str:
    access = service.agents.register(ENVIRONMENT, PROJECT, instance_id)
    body = {"session": table.hash_of(session)}
    assert service.post(f"{access['agent_id']}/enrol", access["token"], body).status_code == 200
    return str(access["agent_id"])


class Slow(io.BytesIO):
    """A body that comes to nothing until it is let go."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.go = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.go.wait(60)
        return super().read(size)


def ask(app: Any, path: str, body: io.BytesIO | None = None, session: str = SESSION, **more: str) -> tuple[int, dict]:
    found: list[tuple[int, dict[str, str]]] = []
    environ = {
        "PATH_INFO": f"/agents/v1/{path}",
        "REQUEST_METHOD": "POST",
        "HTTP_AUTHORIZATION": f"Bearer {session}",
        "CONTENT_LENGTH": str(len(body.getvalue())) if body else "0",
        "wsgi.input": body or io.BytesIO(),
        **more,
    }
    app(environ, lambda status, headers: found.append((int(status[:3]), dict(headers))))
    return found[0]


def test_an_agent_that_floods_is_put_off_and_its_neighbour_is_not(service: Service) -> None:
    loud, quiet = enrolled(service, "loud"), enrolled(service, "quiet")
    app = agents_api.agents_app(service.database, wait=0, share=Share(calls=20))
    answers = [ask(app, f"{loud}/poll") for _ in range(30)]
    assert [status for status, _ in answers[:10]] == [204] * 10
    assert answers[-1][0] == 429
    assert 1 <= int(answers[-1][1]["Retry-After"]) <= 60
    assert answers[-1][1]["Connection"] == "close"
    assert ask(app, f"{quiet}/poll")[0] == 204


def test_results_nobody_asked_for_use_up_the_senders_share_of_bytes(service: Service) -> None:
    loud = enrolled(service, "loud")
    app = agents_api.agents_app(service.database, share=Share(bytes=10_000))
    body = json.dumps({"ErrorCode": 0, "Body": "x" * 2000}).encode()
    statuses = [ask(app, f"{loud}/results/nothing", io.BytesIO(body))[0] for _ in range(5)]
    assert statuses == [404, 404, 429, 429, 429]


def test_wrong_tokens_neither_use_up_anybodys_share_nor_have_a_body_read(service: Service) -> None:
    agent_id = enrolled(service, "web")
    app = agents_api.agents_app(service.database, wait=0, share=Share(calls=4))
    for call in ("poll", "enrol", "results/x", "output/x"):
        never = Slow(b"{}")
        for _ in range(5):
            assert ask(app, f"{agent_id}/{call}", never, session="a guess")[0] == 401
    assert ask(app, f"{agent_id}/poll")[0] == 204


def test_an_agent_that_sends_slowly_holds_no_more_threads_than_its_share(service: Service) -> None:
    slow, quick = enrolled(service, "slow"), enrolled(service, "quick")
    app = agents_api.agents_app(service.database, wait=0, share=Share(at_once=2))
    bodies = [Slow(b'{"ErrorCode": 0}') for _ in range(2)]
    threads = [threading.Thread(target=ask, args=(app, f"{slow}/results/x", body)) for body in bodies]
    for thread in threads:
        thread.start()
    wait_until(lambda: slow in app._traffic._used and app._traffic._used[slow].at_once == 2)
    assert ask(app, f"{slow}/poll")[0] == 429
    assert ask(app, f"{quick}/poll")[0] == 204
    for body in bodies:
        body.go.set()
    for thread in threads:
        thread.join(60)
    assert ask(app, f"{slow}/poll")[0] == 204


def test_a_body_that_takes_too_long_is_not_waited_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_id = enrolled(service, "web")
    monkeypatch.setattr("catalog.api.agent_bodies.BODY_SECONDS", -1)
    assert ask(agents_api.agents_app(service.database), f"{agent_id}/results/x", io.BytesIO(b"{}"))[0] == 408


def test_a_body_that_breaks_off_is_an_error_of_its_sender(service: Service) -> None:
    agent_id = enrolled(service, "web")
    app = agents_api.agents_app(service.database)
    assert ask(app, f"{agent_id}/results/x", io.BytesIO(b"{}"), CONTENT_LENGTH="10")[0] == 400
    for length in ("", "-1", "x", "1e3", "²", "9" * 30):
        assert ask(app, f"{agent_id}/results/x", CONTENT_LENGTH=length)[0] == 411
    assert ask(app, f"{agent_id}/results/x", CONTENT_LENGTH="104857600")[0] == 413


def test_the_newest_poll_of_an_agent_ends_its_older_one(service: Service) -> None:
    """A server that crashed left a poll behind; many polls of one agent must not take all places."""
    agent_id = enrolled(service, "web")
    app = agents_api.agents_app(service.database, wait=60, waiters=1)
    first = threading.Thread(target=ask, args=(app, f"{agent_id}/poll"))
    first.start()
    wait_until(lambda: agent_id in app._newest)
    ask(app, f"{agent_id}/poll", io.BytesIO(b'{"wait": 0}'))
    first.join(30)
    assert not first.is_alive()


def test_nothing_can_be_put_into_the_answers_headers(service: Service) -> None:
    agent_id = enrolled(service, "web")
    for target in (f"/agents/v1/{agent_id}/results/x%0d%0aSet-Cookie:%20a=b", f"/agents/v1/{agent_id}%0d%0aX: y/poll"):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            answer = connection.makefile("rb").read()
        assert answer.split()[1] in (b"400", b"404")
        assert b"Set-Cookie" not in answer.split(b"\r\n\r\n")[0]
    odd = {"wait": 0, "version": "1\r\nX: y\0", "boot": "no\r\nhex"}
    assert service.post(f"{agent_id}/poll", SESSION, odd).status_code == 204
    with service.database.reading() as session:
        assert session.get(table.Agent, agent_id).version == "1\r\nX: y\ufffd"


def test_a_share_fills_again_with_time_and_silent_agents_are_forgotten() -> None:
    now = [0.0]
    traffic = Traffic(Share(calls=60, bytes=600), clock=lambda: now[0])

    def call(agent: str, size: int = 0) -> float | None:
        try:
            with traffic.call(agent, size):
                return None
        except Exceeded as excess:
            return excess.seconds

    assert [call("a") for _ in range(31)] == [None] * 30 + [1.0]
    now[0] = 2.5
    assert [call("a") for _ in range(3)] == [None, None, 1.0]
    assert call("b", 300) is None
    assert call("b", 300) == pytest.approx(30)
    now[0] = 1000.0
    for number in range(1000):
        call(f"c{number}")
    assert "a" not in traffic._used


def test_a_guest_that_is_put_off_comes_back_with_its_result(service: Service, new_guest: Any) -> None:
    guest: Guest = new_guest().start()
    guest.value("return 1")
    service.app._traffic = Traffic(Share(calls=6))  # three at once, then one every ten seconds
    clock = [time.monotonic()]
    service.app._traffic._clock = lambda: clock[0]
    service.agents.send(guest.id, "plan-1", {"FormatVersion": "2.0.0", "Body": "return 'kept'"})
    agent = f"{guest.id}/poll"
    wait_until(lambda: service.post(agent, guest.session, {"wait": 0}).status_code == 429)
    clock[0] += 600
    assert guest.run({"FormatVersion": "2.0.0", "Body": "return 'kept'"}, "plan-1")["Body"] == "kept"
