"""A worker in a process of its own that may be told to die: the service's classes, on the tests' Heat and agents.

Preloaded by a fork server, with the packages compiled, so that a successor is there at once. `Doom` says where it sends
itself a signal: at the n-th transaction that its program makes (journal or ending; renewals are not counted).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import multiprocessing
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import chaos_convoy
from heatclient import client as heat_client
from keystoneauth1 import session as keystone_session
from keystoneauth1 import token_endpoint
from sqlalchemy import orm

import catalog.db.tables  # noqa: F401 - relations between tables need them all
import dsl
from catalog import config
from catalog.db import base, deployments, keys
from engine import deployment, effects, lease, plan, worker
from engine.agents import http, stored
from engine.clouds import heat, services

BEFORE = "before"  # the transaction has not begun
UNCOMMITTED = "uncommitted"  # everything is written, nothing committed
COMMITTED = "committed"  # committed, and nobody was told
MOMENTS = (BEFORE, UNCOMMITTED, COMMITTED)


@dataclass(frozen=True, kw_only=True)
class Doom:
    number: int
    moment: str
    signal: int = signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a worker process needs to know; seconds where not said otherwise."""

    database: str
    heat: str
    agents: str
    secret: bytes
    log: pathlib.Path  # what it did, one JSON object a line, appended
    doom: Doom | None = None
    lease: float = 5.0
    poll: float = 2.0
    idle: float = 2.0  # after which the database server ends a transaction in which nothing happens
    haste: float = 100.0  # by which pauses between looks at Heat are shortened
    heat_timeout: float = 30.0
    concurrency: int = 8
    broker: str | None = None  # transport URL; without one, workers look by themselves
    exchange: str = ""
    clock: pathlib.Path | None = None  # a file with the seconds by which SQLite's clock is off
    once: bool = False  # ends when the first deployments it claimed have left it
    log_level: int = logging.ERROR


class _Library:
    """The packages of the convoy, opened and compiled before the fork."""

    def __init__(self) -> None:
        self._library = dsl.Library(list(chaos_convoy.opened()))
        self._lock = sorted(package.digest for package in chaos_convoy.opened())
        root = {"?": {"id": "env", "type": "convoy.Fleet"}, "name": "", "services": chaos_convoy.ships("env")}
        context = effects.Context(
            deployment_id="",
            environment_id="env",
            project_id="",
            user_id="",
            owner_project_id="",
            owner_user_id="",
        )
        for model, action in (
            ({"Objects": root}, plan.deploying("env")),
            ({"Objects": None, "ObjectsCopy": root}, None),
        ):
            question = plan.Question(
                library=self._library,
                model=model,
                action=action,
                context=context,
                natives=chaos_convoy.natives(),
                key=b"",
            )
            plan.plan(question)

    def library(self, lock: Any, pause: Any = None) -> dsl.Library:
        assert sorted(entry["digest"] for entry in lock) == self._lock
        return self._library


_store = _Library()
orm.configure_mappers()


def main(orders: Orders) -> None:
    """The process: works until it is killed, told to stop by SIGTERM, or has done what it should do `once`."""
    logging.basicConfig(level=orders.log_level)
    threading.Thread(target=_die_with_the_test, daemon=True).start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    log = _Log(orders.log)
    database = _OneAtATime(orders.database) if orders.database.startswith("sqlite") else base.Database(orders.database)
    if orders.clock is not None:  # before anything connects: connections are kept
        _set_clock(database, orders.clock)
    deployments.end_idle_transactions(database, orders.idle)
    keys.configure(database, config.load())
    worker.Lease = _lease_of(orders.doom, log, getattr(database, "mutex", threading.Lock()))  # type: ignore[misc]
    _tell_of_effects(log)
    stored.LOOK_SECONDS = 0.05
    run = deployment.Deployments(
        database,
        _store,  # type: ignore[arg-type]
        _clouds(orders, database),
        chaos_convoy.natives(),
        deployment.EngineSettings(drain=5.0, most_claims=10_000),
    ).run

    def carry(held: lease.Lease) -> None:
        log.tell("claimed", deployment=held.deployment_id, fence=held.fence)
        try:
            run(held)
            log.tell("ended", deployment=held.deployment_id, fence=held.fence)
        except BaseException as error:
            log.tell("left", deployment=held.deployment_id, fence=held.fence, why=type(error).__name__)
            raise
        finally:
            if orders.once:
                ended.set()

    settings = worker.WorkerSettings(concurrency=orders.concurrency, poll=orders.poll, lease=orders.lease)
    working = worker.Worker(database, carry, settings)
    serving = _answering(orders, working)
    working.start()
    log.tell("ready")
    ended.wait()
    if serving is not None:
        serving.stop()
        serving.wait()
    working.stop(30)
    database.dispose()


def _die_with_the_test() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Log:
    """Appended to by several processes; a line is written at once or not at all."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def tell(self, what: str, **more: Any) -> None:
        entry = {"what": what, "pid": os.getpid(), "at": time.monotonic(), "wall": base.now().isoformat(), **more}
        os.write(self._file, json.dumps(entry).encode() + b"\n")


class _OneAtATime(base.Database):
    """SQLite has one lock for all writers: a process that is stopped must not hold it, or everybody waits."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.mutex = threading.Lock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[orm.Session]:
        with self.mutex, super().transaction() as session:
            yield session


def _lease_of(doom: Doom | None, log: _Log, mutex: Any) -> type[lease.Lease]:
    """A lease whose n-th transaction is fatal."""
    numbers = itertools.count(1)

    class Doomed(lease.Lease):
        def write(self, work: Callable[..., Any]) -> Any:
            number = next(numbers)
            with mutex:
                meet(number, BEFORE)

            def last(session: Any) -> Any:
                result = work(session)
                session.flush()
                meet(number, UNCOMMITTED)
                return result

            result = super().write(last)
            with mutex:
                meet(number, COMMITTED)
            log.tell("wrote", number=number, deployment=self.deployment_id)
            return result

    def meet(number: int, moment: str) -> None:
        if doom is not None and (doom.number, doom.moment) == (number, moment):
            log.tell("doomed", number=number, moment=moment)
            signal.pthread_kill(threading.get_ident(), doom.signal)  # this thread does nothing more before it stops

    return Doomed


def _tell_of_effects(log: _Log) -> None:
    """Notes every effect that is really carried out, before it is."""
    perform, rows = effects.Performer.perform, effects.Performer.rows

    def told_perform(self: effects.Performer, effect: dsl.Effect) -> Any:
        log.tell("performs", deployment=self.context.deployment_id, key=effect.key, name=effect.name)
        return perform(self, effect)

    def told_rows(self: effects.Performer, effect: dsl.Effect) -> Any:
        log.tell("performs", deployment=self.context.deployment_id, key=effect.key, name=effect.name)
        return rows(self, effect)

    effects.Performer.perform = told_perform  # type: ignore[method-assign]
    effects.Performer.rows = told_rows  # type: ignore[method-assign]


def _clouds(orders: Orders, database: base.Database) -> deployment.Clouds:
    agents = http.HttpAgents(database=database, url=orders.agents, secret=orders.secret)

    def cloud(context: effects.Context) -> services.Cloud:
        keystone = keystone_session.Session(token_endpoint.Token(orders.heat, "token"), timeout=orders.heat_timeout)
        orchestration = heat.HeatOrchestration(
            lambda _region: heat_client.Client("1", session=keystone),
            pause=lambda seconds: time.sleep(seconds / orders.haste),
            check=context.check,
        )
        return services.Cloud(orchestration=orchestration, agents=agents)

    return cloud


def _answering(orders: Orders, working: worker.Worker) -> Any:
    """The RPC server, on a real broker."""
    if orders.broker is None:
        return None
    from engine import check, reconciling, rpc, tags
    from engine import config as engine_config

    messaging = {"transport_url": orders.broker, "exchange": orders.exchange}
    conf = engine_config.load(overrides={"messaging": messaging})
    database = base.Database(orders.database)
    keys.configure(database, conf)
    endpoint = rpc.Endpoint(
        _store,  # type: ignore[arg-type]
        _clouds(orders, database),
        chaos_convoy.natives(),
        deployment.EngineSettings(),
        working.wake,
        check.Providers(database),
        reconciling.Reconciler(database, _clouds(orders, database), tags.Tags(database)),
    )
    server = rpc.server(conf, endpoint)
    server.start()
    return server


def _set_clock(database: base.Database, path: pathlib.Path) -> None:
    """SQLite's clock, off by as many seconds as the file says at the moment."""
    from sqlalchemy import event

    def julianday(_now: str) -> float:
        offset = 0.0
        with contextlib.suppress(OSError, ValueError):
            offset = float(path.read_text())
        return (time.time() + offset) / 86400.0 + 2440587.5

    event.listen(
        database.engine, "connect", lambda connection, _record: connection.create_function("julianday", 1, julianday)
    )
