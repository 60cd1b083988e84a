"""The guest agents' API, `/agents/v1/{agent_id}/...`: enrol, poll for a plan, hand in a result (docs/agents.md).

A WSGI application of its own: its callers are servers of tenants, not users, so it knows no Keystone token and no
policy. An agent sees its own plans and nothing else; a wrong token and an unknown agent get the same answer. A waiting
poll holds one thread of the web server: only so many may wait, the others are asked to come back a little later.
"""

from __future__ import annotations

import datetime
import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from catalog.db import agents
from catalog.db.base import Database, now

WAIT_SECONDS = 25.0  # longest wait of a poll
LOOK_SECONDS = 0.5  # how often a waiting poll looks at the database: plans queued by other processes
UNAWAITED_SECONDS = 3600.0  # how long a plan may run that nobody waits for (any more)
WAITERS = 24  # polls that may wait at the same time in this process
BUSY_RETRY = 2  # seconds after which the others shall come back
SMALL_BODY = 64 * 1024  # bytes of a poll or an enrolment
RESULT_BODY = 4 * 1024 * 1024 + 64 * 1024  # bytes of a result: the agent's own limit and some air

PATH = re.compile(r"(?:/agents/v1)?/([0-9a-f]{32})/(poll|enrol|results/([A-Za-z0-9._-]{1,128}))")
BEARER = re.compile(r"Bearer ([A-Za-z0-9._~+/=-]{1,512})")
SHA256 = re.compile(r"[0-9a-f]{64}")
STATUS = {
    200: "200 OK",
    204: "204 No Content",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    410: "410 Gone",
    411: "411 Length Required",
    413: "413 Content Too Large",
}

Environ = dict[str, Any]
Respond = Callable[[str, list[tuple[str, str]]], Any]


def agents_app(database: Database, *, wait: float = WAIT_SECONDS, waiters: int = WAITERS) -> AgentsApp:
    """The WSGI application; mounted at `/agents/v1`, with or without that prefix in PATH_INFO.

    `wait` bounds a poll in seconds, `waiters` how many polls of this process may wait at once; the web server needs
    more threads than that.
    """
    return AgentsApp(database, wait, waiters)


class AgentsApp:
    """`close()` ends waiting polls at once, so that a service can stop without waiting for them."""

    def __init__(self, database: Database, wait: float, waiters: int) -> None:
        self._database = database
        self._wait = wait
        self._slots = threading.BoundedSemaphore(waiters)
        self._closed = threading.Event()

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        try:
            status, headers, content = self._answer(environ)
        except Refusal as refusal:
            status, headers, content = (
                refusal.status,
                refusal.headers,
                {"error": {"code": refusal.status, "message": str(refusal)}},
            )
        body = b"" if content is None else json.dumps(content).encode()
        if content is not None:
            headers = [*headers, ("Content-Type", "application/json")]
        respond(STATUS[status], [*headers, ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
        return [body]

    def close(self) -> None:
        """Lets waiting polls answer now, and later ones at once."""
        self._closed.set()
        agents.signals.give_all()

    def _answer(self, environ: Environ) -> Answer:
        match = PATH.fullmatch(environ.get("PATH_INFO", ""))
        if match is None:
            raise Refusal(404, "there is only /agents/v1/{agent id}/poll, .../enrol and .../results/{plan id}")
        if environ["REQUEST_METHOD"] != "POST":
            raise Refusal(405, "expected POST", [("Allow", "POST")])
        agent_id, call, plan_id = match.groups()
        token = bearer(environ)
        if call == "enrol":
            return self._enrol(agent_id, token, read_json(environ, SMALL_BODY))
        self._authenticate(agent_id, token)
        if call == "poll":
            return self._poll(agent_id, token, read_json(environ, SMALL_BODY))
        return self._result(agent_id, plan_id, read_json(environ, RESULT_BODY))

    def _authenticate(self, agent_id: str, token: str) -> None:
        with self._database.reading() as session:
            if agents.authenticate(session, agent_id, token) is None:
                raise wrong_token()

    def _enrol(self, agent_id: str, token: str, body: dict[str, Any]) -> Answer:
        session_hash = body.get("session")
        if not isinstance(session_hash, str) or SHA256.fullmatch(session_hash) is None:
            raise Refusal(400, "session: expected the SHA-256 of the session token, 64 lower-case hex digits")
        with self._database.transaction() as session:
            outcome = agents.enrol(session, agent_id, token, session_hash)
        if outcome == agents.WRONG_TOKEN:
            raise wrong_token()
        if outcome == agents.ENROLMENT_CLOSED:
            raise Refusal(
                403, "the boot token was used before; deploy the environment again to open the enrolment of this server"
            )
        return 200, [], {}

    def _poll(self, agent_id: str, token: str, body: dict[str, Any]) -> Answer:
        """The next plan; 204 after the wait; 204 with Retry-After when too many wait already."""
        version = body.get("version")
        self._remember(agent_id, version[:32] if isinstance(version, str) else None)
        asked = body.get("wait", self._wait)
        wait = min(float(asked), self._wait) if isinstance(asked, (int, float)) and asked >= 0 else 0.0
        delivery = self._delivery(agent_id)
        if delivery is not None:
            return 200, [], delivery
        if not self._slots.acquire(blocking=False):
            return 204, [("Retry-After", str(BUSY_RETRY))], None
        topic = f"agent/{agent_id}"
        agents.signals.enter(topic)
        try:
            return self._wait_for_plan(agent_id, token, topic, time.monotonic() + wait)
        finally:
            agents.signals.leave(topic)
            self._slots.release()

    def _wait_for_plan(self, agent_id: str, token: str, topic: str, deadline: float) -> Answer:
        while True:
            count = agents.signals.count(topic)
            delivery = self._delivery(agent_id)
            if delivery is not None:
                self._authenticate(agent_id, token)  # another server may have enrolled while we waited
                return 200, [], delivery
            left = deadline - time.monotonic()
            if left <= 0 or self._closed.is_set():
                return 204, [], None
            agents.signals.wait(topic, count, min(left, LOOK_SECONDS))

    def _remember(self, agent_id: str, version: str | None) -> None:
        with self._database.reading() as session:
            agent = session.get(agents.Agent, agent_id)
            seen = agent.seen if agent is not None and agent.version == version else None
            if seen is not None and now() - seen < datetime.timedelta(seconds=agents.SEEN_SECONDS):
                return
        with self._database.transaction() as session:
            agent = session.get(agents.Agent, agent_id)
            if agent is not None:
                agents.saw(session, agent, version)

    def _delivery(self, agent_id: str) -> dict[str, Any] | None:
        with self._database.reading() as session:
            if agents.next_plan(session, agent_id) is None:
                return None
        with self._database.transaction() as session:
            row = agents.next_plan(session, agent_id)
            if row is None:
                return None
            if row.state == agents.QUEUED:
                row.state, row.sent = agents.SENT, now()
            left = (row.deadline - now()).total_seconds() if row.deadline is not None else 0.0
            return {"id": row.id, "plan": row.plan, "timeout": left if left > 0 else UNAWAITED_SECONDS}

    def _result(self, agent_id: str, plan_id: str, body: dict[str, Any]) -> Answer:
        result = checked_result(body)
        with self._database.transaction() as session:
            before = agents.finish(session, agent_id, plan_id, result)
        if before is None:
            raise Refusal(404, "there is no such plan for this agent")
        if before == agents.QUEUED:
            raise Refusal(409, "this plan was not sent yet")
        if before == agents.WITHDRAWN:
            raise Refusal(410, "nobody waits for this plan any more")
        agents.signals.give(f"plan/{plan_id}")
        return 200, [], {}


Answer = tuple[int, list[tuple[str, str]], dict[str, Any] | None]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, headers: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []


def wrong_token() -> Refusal:
    return Refusal(401, "no agent with this id and token", [("WWW-Authenticate", 'Bearer realm="chandlery agents"')])


def bearer(environ: Environ) -> str:
    match = BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        raise wrong_token()
    return match.group(1)


def read_json(environ: Environ, limit: int) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        raise Refusal(411, "a Content-Length is needed")
    if int(length) > limit:
        raise Refusal(413, f"the body has {length} bytes; at most {limit} are taken", [("Connection", "close")])
    content = environ["wsgi.input"].read(int(length))
    try:
        value = json.loads(content or b"{}", parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}")
    if not isinstance(value, dict):
        raise Refusal(400, f"expected a JSON object, found {type(value).__name__}")
    return value


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def checked_result(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result message (spec/agent-protocol §6) and no others; of an agent of format 1 its two."""
    if isinstance(body.get("IsException"), bool):
        return {"IsException": body["IsException"], "Result": body.get("Result")}
    code = body.get("ErrorCode")
    if not isinstance(code, int) or isinstance(code, bool) or not -(2**31) <= code < 2**31:
        raise Refusal(400, f"ErrorCode: expected an integer, found {json.dumps(code)[:100]}")
    text_fields = ("FormatVersion", "ID", "SourceID", "Action", "Time")
    result = {name: str(body[name])[:255] for name in text_fields if body.get(name) is not None}
    return {**result, "ErrorCode": code, "Body": body.get("Body")}
