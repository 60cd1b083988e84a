"""The guest agents' API, `/agents/v1/{agent_id}/...`: enrol, poll for a plan, send its output, hand in its result.

A WSGI application of its own: its callers are servers of tenants, not users, so it knows no Keystone token and no
policy. An agent sees its own plans and nothing else; a wrong token and an unknown agent get the same answer. A waiting
poll holds one thread of the web server: only so many may wait, the others are asked to come back a little later. The
protocol is told in docs/agents.md; bodies are read by `agent_bodies`, shares are kept by `agent_traffic`.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from catalog.api import agent_bodies
from catalog.api.agent_bodies import Environ, Refusal
from catalog.api.agent_traffic import Exceeded, Share, Traffic
from catalog.db import agents, outputs
from catalog.db.base import Database, now

LOG = logging.getLogger(__name__)

WAIT_SECONDS = 25.0  # longest wait of a poll
LOOK_SECONDS = 0.5  # how often a waiting poll looks at the database: plans queued by other processes
UNAWAITED_SECONDS = 3600.0  # how long a plan may run that nobody waits for (any more)
WAITERS = 24  # polls that may wait at the same time in this process
BUSY_RETRY = 2  # seconds after which the others shall come back
TWIN_RETRY = 30  # seconds after which a server with another one's identity may ask again

# How large a body may be: that of a result is the agent's own limit and some air.
BODIES = {"poll": 64 * 1024, "enrol": 64 * 1024, "output": 1024 * 1024, "results": 4 * 1024 * 1024 + 64 * 1024}

PATH = re.compile(r"(?:/agents/v1)?/([0-9a-f]{32})/(poll|enrol|(?:results|output)/([A-Za-z0-9._-]{1,128}))")
BEARER = re.compile(r"Bearer ([A-Za-z0-9._~+/=-]{1,512})")
STATUS = {
    200: "200 OK",
    204: "204 No Content",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    408: "408 Request Timeout",
    409: "409 Conflict",
    410: "410 Gone",
    411: "411 Length Required",
    413: "413 Content Too Large",
    429: "429 Too Many Requests",
}

Respond = Callable[[str, list[tuple[str, str]]], Any]


def agents_app(
    database: Database, *, wait: float = WAIT_SECONDS, waiters: int = WAITERS, share: Share | None = None
) -> AgentsApp:
    """The WSGI application; mounted at `/agents/v1`, with or without that prefix in PATH_INFO.

    `wait` bounds a poll in seconds, `waiters` how many polls of this process may wait at once; the web server needs
    more threads than that. `share` is what one agent may ask of this process.
    """
    return AgentsApp(database, wait, waiters, Traffic(share or Share()))


class AgentsApp:
    """`close()` ends waiting polls at once, so that a service can stop without waiting for them."""

    def __init__(self, database: Database, wait: float, waiters: int, traffic: Traffic) -> None:
        self._database = database
        self._wait = wait
        self._slots = threading.BoundedSemaphore(waiters)
        self._traffic = traffic
        self._newest: dict[str, object] = {}  # of each agent, the poll that waits: a newer one ends it
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
            known = "poll, .../enrol, .../output/{plan id} and .../results/{plan id}"
            raise Refusal(404, f"there is only /agents/v1/{{agent id}}/{known}")
        if environ["REQUEST_METHOD"] != "POST":
            raise Refusal(405, "expected POST", [("Allow", "POST")])
        agent_id, path, plan_id = match.groups()
        call, token = path.partition("/")[0], bearer(environ)
        with self._database.reading() as session:  # nothing is read of who has not proven who it is
            known_by = agents.may_enrol if call == "enrol" else agents.authenticate
            if known_by(session, agent_id, token) is None:
                raise wrong_token()
        size = agent_bodies.length(environ, BODIES[call])
        try:
            with self._traffic.call(agent_id, size):
                body = agent_bodies.read(environ, size)
                if call == "enrol":
                    return self._enrol(agent_id, token, body)
                if call == "poll":
                    return self._poll(agent_id, token, body)
                return (
                    self._output(agent_id, plan_id, body) if call == "output" else self._result(agent_id, plan_id, body)
                )
        except Exceeded as excess:
            pause = str(math.ceil(excess.seconds))
            raise Refusal(
                429, f"{excess}; come back in {pause} s", [("Retry-After", pause), ("Connection", "close")]
            ) from None

    def _enrol(self, agent_id: str, token: str, body: Mapping[str, Any]) -> Answer:
        session_hash = agent_bodies.session_hash(dict(body))
        with self._database.transaction() as session:
            outcome = agents.enrol(session, agent_id, token, session_hash)
        if outcome == agents.WRONG_TOKEN:
            raise wrong_token()
        if outcome == agents.ENROLMENT_CLOSED:
            raise Refusal(
                403, "the boot token was used before; deploy the environment again to open the enrolment of this server"
            )
        if outcome == agents.STILL_ALIVE:
            raise Refusal(
                403,
                f"the agent of this server is alive; another one can enrol {agents.ALIVE_SECONDS} s after it is gone",
            )
        return 200, [], {}

    def _poll(self, agent_id: str, token: str, body: dict[str, Any]) -> Answer:
        """The next plan; 204 after the wait; 204 with Retry-After when too many wait already."""
        self._recognise(agent_id, agent_bodies.version(body), agent_bodies.boot(body))
        wait = agent_bodies.wait(body, self._wait)
        topic, me = f"agent/{agent_id}", object()
        self._newest[agent_id] = me
        agents.signals.give(topic)  # a server that restarted polls beside the poll of its former life
        delivery = self._delivery(agent_id)
        if delivery is not None:
            return 200, [], delivery
        if not self._slots.acquire(blocking=False):
            return 204, [("Retry-After", str(BUSY_RETRY))], None
        agents.signals.enter(topic)
        try:
            return self._wait_for_plan(agent_id, token, topic, me, time.monotonic() + wait)
        finally:
            agents.signals.leave(topic)
            self._slots.release()
            if self._newest.get(agent_id) is me:
                self._newest.pop(agent_id, None)

    def _wait_for_plan(self, agent_id: str, token: str, topic: str, me: object, deadline: float) -> Answer:
        while self._newest.get(agent_id) is me:
            count = agents.signals.count(topic)
            delivery = self._delivery(agent_id)
            if delivery is not None:
                with self._database.reading() as session:  # another server may have enrolled while we waited
                    if agents.authenticate(session, agent_id, token) is None:
                        raise wrong_token()
                return 200, [], delivery
            left = deadline - time.monotonic()
            if left <= 0 or self._closed.is_set():
                break
            agents.signals.wait(topic, count, min(left, LOOK_SECONDS))
        return 204, [], None

    def _recognise(self, agent_id: str, version: str | None, boot: str | None) -> None:
        """Notes that the agent lives. Refuses a server that has the secret of another one which lives, too."""
        with self._database.reading() as session:
            agent = session.get(agents.Agent, agent_id)
            if agent is None:
                raise wrong_token()
            is_news = agent.version != version or agents.is_another_boot(agent, boot)
            if not is_news and agents.was_seen(agent, agents.SEEN_SECONDS):
                return
        with self._database.transaction() as session:
            agent = session.get(agents.Agent, agent_id, with_for_update=True)
            if agent is None:
                raise wrong_token()
            found = agents.recognise(agent, boot)
            if found == agents.CURRENT:
                agents.saw(session, agent, version)
        if found == agents.CURRENT:
            return
        if found == agents.DISCOVERED:
            LOG.warning("agent %s: two servers have its secret; the one that came later is refused", agent_id)
            with self._database.transaction() as session:
                agents.report_twin(session, agent_id)
            return
        if found == agents.DOUBTFUL:
            raise Refusal(409, "this boot of the server is over", [("Retry-After", str(BUSY_RETRY))])
        raise Refusal(
            409,
            "another server has this agent's secret and was there before: this one was made from a copy of its disk. "
            "Remove the folder of its agent (/var/lib/chandlery-agent), or give it boot data of its own",
            [("Retry-After", str(TWIN_RETRY))],
        )

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

    def _output(self, agent_id: str, plan_id: str, body: dict[str, Any]) -> Answer:
        """Takes what a plan printed; `{"next"}` is from where the agent shall go on."""
        piece = agent_bodies.piece(body)
        with self._database.transaction() as session:
            plan = session.get(agents.AgentPlan, plan_id)
            refuse_unless_sent(plan, agent_id)
            place = outputs.add(session, plan, piece) if plan is not None else None
        if place is None:
            raise Refusal(410, "nobody wants to see the output of this plan")
        return 200, [], {"next": place}

    def _result(self, agent_id: str, plan_id: str, body: dict[str, Any]) -> Answer:
        result = agent_bodies.result(body)
        with self._database.transaction() as session:
            before = agents.finish(session, agent_id, plan_id, result)
            if before == agents.SENT:
                outputs.end(session, session.get_one(agents.AgentPlan, plan_id))
        refuse_unless(before if before != agents.DONE else agents.SENT)
        agents.signals.give(f"plan/{plan_id}")
        return 200, [], {}


Answer = tuple[int, list[tuple[str, str]], dict[str, Any] | None]


def refuse_unless_sent(plan: agents.AgentPlan | None, agent_id: str) -> None:
    """Refuses what is said about a plan that is not on its way with this agent."""
    refuse_unless(None if plan is None or plan.agent_id != agent_id else plan.state)


def refuse_unless(state: str | None) -> None:
    """Refuses for every state of a plan but `sent`; None is that of a plan that is not this agent's."""
    if state is None:
        raise Refusal(404, "there is no such plan for this agent")
    if state == agents.QUEUED:
        raise Refusal(409, "this plan was not sent yet")
    if state != agents.SENT:
        raise Refusal(410, "nobody waits for this plan any more")


def wrong_token() -> Refusal:
    """The one answer to unknown agents and wrong tokens; their bodies are not read."""
    headers = [("WWW-Authenticate", 'Bearer realm="chandlery agents"'), ("Connection", "close")]
    return Refusal(401, "no agent with this id and token", headers)


def bearer(environ: Environ) -> str:
    """The token."""
    match = BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        raise wrong_token()
    return match.group(1)
