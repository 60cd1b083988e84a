"""The Agents port over AMQP, as murano-agent speaks it (spec/agent-protocol): plans go to a queue that the server's
agent consumes, results come back through an exchange of its own.

The row of a plan stays the truth: whoever waits for a plan empties its agent's queue of results into the rows, so a
result outlives the worker that asked for it, and one that comes twice counts once. A plan is published again only if
nobody knows that it was published; agents drop what has the stamp of a plan they had.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import sqlalchemy as sa

from catalog.db import agent_answers, agents, environments
from catalog.db.base import Database, now
from engine.agents import stored
from engine.agents.broker import Mailbox, Management
from engine.clouds import ports

LOG = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024 * 1024  # of one result: 10 MB of output may be six times as large in JSON; shortened when kept
LARGE_BYTES = 1024 * 1024  # of answers that are read one at a time: meanwhile each takes several times its size
HEARTBEAT = 30  # seconds
CONNECT_SECONDS = 10.0
SWEEP_SECONDS = 3600.0  # between two looks for environments that are gone
MOMENT = 0.002  # seconds in which the next message is there if it was waiting
REST_SECONDS = 1.0  # after a broken connection


_LARGE = threading.Lock()


class BrokerAway(ports.CloudError):
    """The broker could not be reached for as long as was allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Address:
    """Where the broker is: for the engine, and, unless the region's configuration says otherwise, for servers."""

    host: str
    port: int = 5672
    login: str = "guest"
    password: str = dataclasses.field(default="guest", repr=False)
    tls: bool = False
    insecure: bool = False
    ca_certs: str | None = None

    def connection(self, vhost: str) -> kombu.Connection:
        """Not connected yet; publishing waits until the broker has the message."""
        security: dict[str, Any] | bool = False
        if self.tls:
            security = {"cert_reqs": ssl.CERT_NONE if self.insecure else ssl.CERT_REQUIRED, "ca_certs": self.ca_certs}
        return kombu.Connection(
            hostname=self.host,
            port=self.port,
            userid=self.login,
            password=self.password,
            virtual_host=vhost,
            ssl=security,
            heartbeat=HEARTBEAT,
            connect_timeout=CONNECT_SECONDS,
            transport="pyamqp",
            transport_options={"confirm_publish": True},
        )


class Sweeps:
    """When it is time again to look for what is gone."""

    def __init__(self, seconds: float = SWEEP_SECONDS) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def due(self) -> bool:
        """Whether the time has come; the next is then a while away."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._seconds
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class AmqpAgents:
    """`secret` (>= 16 bytes, the same in all processes) derives the servers' passwords; `installation` keeps several
    services on one broker apart; `sign(queue, body)` gives the signature of a plan, None for none.
    """

    database: Database
    address: Address
    management: Management
    secret: bytes
    installation: str = "chandlery"
    sign: Callable[[str, str], bytes | None] = lambda queue, body: None
    sweeps: Sweeps = dataclasses.field(default_factory=Sweeps)

    def __post_init__(self) -> None:
        stored.checked_secret(self.secret)

    def register(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """What a server's boot data must say: `{"protocol": "amqp", "agent_id", "broker": {"login", "password",
        "virtual_host", "result_exchange", "result_routing_key"}}`. Idempotent: the same answer each time.

        :raises engine.agents.broker.BrokerError: the broker does not let the agent in.
        """
        access = self.access(environment_id, project_id, instance_id)
        password = str(access["broker"]["password"])
        stored.register(self.database, environment_id, project_id, instance_id, password)
        if self.sweeps.due():
            self.forget_what_is_gone()
        self.management.admit(self._mailbox(str(access["agent_id"]), environment_id, instance_id), password)
        return access

    def access(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        """What `register` would answer; the broker is told nothing."""
        agent_id = stored.agent_id_of(environment_id, project_id, instance_id)
        password = hmac.new(self.secret, b"broker password of agent " + agent_id.encode(), hashlib.sha256).hexdigest()
        mailbox = self._mailbox(agent_id, environment_id, instance_id)
        return {
            "protocol": "amqp",
            "agent_id": agent_id,
            "broker": {
                "login": mailbox.user,
                "password": password,
                "virtual_host": mailbox.vhost,
                "result_exchange": mailbox.exchange,
                "result_routing_key": mailbox.results,
            },
        }

    def agent_id(self, environment_id: str, project_id: str, instance_id: str) -> str:
        """The id that `register` gives; registers nothing."""
        return stored.agent_id_of(environment_id, project_id, instance_id)

    def run(
        self,
        agent_id: str,
        plan_id: str,
        plan: dict[str, Any],
        timeout: float,
        check: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Has the plan executed and gives its result message, also of plans that failed.

        `check` is called every quarter of a second; what it raises ends the wait, and the plan stays for a later `run`.
        A broker that is away is waited for.

        :raises AgentTimeout: no result within `timeout` seconds.
        :raises UnknownAgent: `register` was not called.
        :raises agents.PlanConflict: the plan id was used for something else.
        """
        deadline = time.monotonic() + stored.queue(self.database, agent_id, plan_id, plan, timeout)
        with self._correspondence(agent_id) as post:
            result = stored.wait(
                self.database, plan_id, deadline, check, lambda _count, seconds: post.exchange(plan_id, seconds)
            )
            if result is None:
                result = stored.withdraw(self.database, agent_id, plan_id, timeout, post.why_no_answer)
        return stored.with_source(result, plan, plan_id)

    def send(self, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float | None = None) -> None:
        """Publishes the plan and does not wait for its result. Idempotent by `plan_id`.

        :raises BrokerAway: it could not be published within a minute; a repeated call tries again.
        """
        stored.queue(self.database, agent_id, plan_id, plan, timeout)
        ends = time.monotonic() + 60.0
        with self._correspondence(agent_id) as post:
            while not post.published(plan_id):
                if time.monotonic() > ends:
                    raise BrokerAway(f"plan {plan_id}: the agents' broker {self.address.host} does not take it")
                time.sleep(REST_SECONDS)

    def forget(self, environment_id: str) -> None:
        """Takes back what the environment's servers may do on the broker. Raises BrokerError.

        An environment that was abandoned is forgotten within an hour in which others deploy servers.
        """
        self.management.dismiss(self._vhost(environment_id))

    def forget_what_is_gone(self) -> list[str]:
        """`forget` for every environment that is no more; the virtual hosts removed. Raises BrokerError."""
        prefix = self._vhost("")
        with self.database.reading() as session:
            known = set(session.scalars(sa.select(environments.Environment.id)))
        gone = [vhost for vhost in self.management.vhosts(prefix) if vhost.removeprefix(prefix) not in known]
        for vhost in gone:
            self.management.dismiss(vhost)
        return gone

    def _vhost(self, environment_id: str) -> str:
        return f"{self.installation}-env-{environment_id}"

    def _mailbox(self, agent_id: str, environment_id: str, instance_id: str) -> Mailbox:
        return Mailbox(
            vhost=self._vhost(environment_id),
            user=f"{self.installation}-agent-{agent_id}",
            plans=f"e{environment_id}-h{instance_id}".lower(),
            exchange=f"answers-{agent_id}",
            results=f"results-{agent_id}",
        )

    @contextlib.contextmanager
    def _correspondence(self, agent_id: str) -> Iterator[_Correspondence]:
        with self.database.reading() as session:
            agent = session.get(agents.Agent, agent_id)
            if agent is None:
                raise stored.UnknownAgent(f"agent {agent_id} is not registered: its environment is gone")
            mailbox = self._mailbox(agent_id, agent.environment_id, agent.instance_id)
        post = _Correspondence(self.database, self.address, mailbox, agent_id, self.sign)
        try:
            yield post
        finally:
            post.close()


class _Correspondence:
    """One connection to an agent's queues, made again when it breaks."""

    def __init__(
        self,
        database: Database,
        address: Address,
        mailbox: Mailbox,
        agent_id: str,
        sign: Callable[[str, str], bytes | None],
    ) -> None:
        self._database = database
        self._mailbox = mailbox
        self._agent_id = agent_id
        self._sign = sign
        self._connection = address.connection(mailbox.vhost)
        self._consumer: kombu.Consumer | None = None
        self._troubled = False
        self._mine: set[str] = set()  # plans that are known to be published
        self._useless = 0  # messages that were no result of a plan somebody waits for

    def exchange(self, plan_id: str, seconds: float) -> None:
        """Publishes the plan if that is not known to have happened, and takes in results for at most `seconds`."""
        if not self.published(plan_id):
            time.sleep(seconds)
            return
        with self._broker():
            self._consume()
            ends = time.monotonic() + seconds
            with contextlib.suppress(TimeoutError):
                self._connection.drain_events(timeout=seconds)
                while time.monotonic() < ends:  # of many the row need not be looked at between each two
                    self._connection.drain_events(timeout=MOMENT)
            self._connection.heartbeat_check()

    def published(self, plan_id: str) -> bool:
        """Whether the plan is with the broker, or was; tries to bring it there."""
        if plan_id in self._mine:
            return True
        with self._database.reading() as session:
            row = session.get(agents.AgentPlan, plan_id)
            if row is None or row.state != agents.QUEUED:
                self._mine.add(plan_id)
                return True
            plan, left = row.plan, None if row.deadline is None else (row.deadline - now()).total_seconds()
        done = False
        with self._broker():
            self._publish(plan_id, plan, left)
            done = True
        if done:
            with self._database.transaction() as session:
                agents.sent(session, plan_id)
            self._mine.add(plan_id)
        return done

    def why_no_answer(self, agent: agents.Agent | None, plan: agents.AgentPlan | None) -> str:
        """What is known about an agent that gave no result."""
        if plan is not None and plan.sent is None:
            return "the plan could not be given to the broker; see the engine's log"
        heard = "" if agent is None or agent.seen is None else f"; it last answered {stored.elapsed(agent.seen)} ago"
        with self._broker():
            queue = self._connection.default_channel.queue_declare(self._mailbox.plans, passive=True)
            where = "look at the server's boot log, and at /var/log/murano-agent.log there"
            if not queue.consumer_count:
                return f"it is not connected to the broker{heard}; {where}"
            if queue.message_count:
                return f"it has not taken the plan{heard}; {where}"
        return f"it took the plan and has not sent a result{heard}"

    def close(self) -> None:
        if self._useless:
            LOG.warning("agent %s sent %d messages that answer no plan", self._agent_id, self._useless)
        with contextlib.suppress(Exception):  # whatever it is, nothing is kept here that could be lost
            self._connection.release()

    def _publish(self, plan_id: str, plan: dict[str, Any], seconds: float | None) -> None:
        body = json.dumps(plan, ensure_ascii=False)
        producer = kombu.Producer(self._connection.default_channel)
        producer.publish(
            body.encode(),
            routing_key=self._mailbox.plans,
            content_type="text/plain",
            content_encoding="utf-8",
            delivery_mode="persistent",
            message_id=_message_id(plan_id, plan),
            headers={"signature": self._sign(self._mailbox.plans, body)},
            expiration=None if seconds is None else max(seconds, 1.0),  # nothing runs that nobody waits for
        )

    def _consume(self) -> None:
        if self._consumer is None:
            queue = kombu.Queue(self._mailbox.results, no_declare=True)
            self._consumer = kombu.Consumer(
                self._connection.default_channel, [queue], on_message=self._take, prefetch_count=1, auto_declare=False
            )
            self._consumer.consume()

    def _take(self, message: kombu.Message) -> None:
        """The result into its plan's row, then away with the message: what is no result of this agent helps nobody."""
        with _LARGE if len(message.body or b"") > LARGE_BYTES else contextlib.nullcontext():
            answer = _read(message)
            plan_id = None if answer is None else self._plan_of(answer, message)
            result = None if answer is None or plan_id is None else _result(answer, plan_id)
        if result is None or plan_id is None:
            self._useless += 1
        else:
            with self._database.transaction() as session:
                agents.sent(session, plan_id)  # an answer may be quicker than the note that it was sent
                agents.finish(session, self._agent_id, plan_id, result)
                agents.saw(session, session.get_one(agents.Agent, self._agent_id), "murano-agent")
            agents.signals.give(stored.topic_of(plan_id))
        message.ack()

    def _plan_of(self, result: dict[str, Any], message: kombu.Message) -> str | None:
        """The open plan that the agent means: it knows plans by their own ids, which packages may choose."""
        source = str(result.get("SourceID") or message.properties.get("message_id") or "")
        with self._database.reading() as session:
            for row in agents.open_plans(session, self._agent_id):
                if _message_id(row.id, row.plan) == source:
                    return row.id
        return None

    @contextlib.contextmanager
    def _broker(self) -> Iterator[None]:
        """Outages of the broker end what is inside, and the connection; the next use makes a new one."""
        try:
            yield
            self._troubled = False
        except (*self._connection.recoverable_connection_errors, *self._connection.recoverable_channel_errors) as error:
            if not self._troubled:
                LOG.warning("the agents' broker %s: %s; trying again", self._connection.hostname, error)
            self._troubled = True
            self._consumer = None
            with contextlib.suppress(Exception):  # it is broken already
                self._connection.collect()
            time.sleep(REST_SECONDS)


def _message_id(plan_id: str, plan: dict[str, Any]) -> str:
    return str(plan.get("ID") or plan_id)


def _read(message: kombu.Message) -> dict[str, Any] | None:
    """The message as an object. What is none is an error of the plan that the message names, None if it names none."""
    body = message.body or b""
    body = body if isinstance(body, bytes) else str(body).encode()
    try:
        if len(body) > MOST_BYTES:
            raise agent_answers.Unusable(f"it has {len(body)} bytes; at most {MOST_BYTES} are taken")
        return agent_answers.read(body)
    except agent_answers.Unusable as error:
        source = message.properties.get("message_id")
        if source is None:
            return None
        return agent_answers.error_result(str(source), f"the agent's answer can not be used: {error}")


def _result(message: dict[str, Any], source: str) -> dict[str, Any]:
    """The result in it; an error where there is none, so that whoever waits for the plan hears of it."""
    try:
        return agent_answers.checked_result(message)
    except agent_answers.Unusable as error:
        return agent_answers.error_result(source, f"the agent's answer can not be used: {error}")
