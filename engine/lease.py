"""The right to run one deployment, and the only door through which its worker writes to the database.

A lease has an owner, an expiry and a fencing number (docs/architecture.md, "durable execution"). Every write renews it
and locks the deployment's row in the same transaction, so a worker that lost it writes nothing. A heartbeat renews it
when nothing was written for a while, and learns of cancellation. What ends the program is raised as `dsl.Interrupted`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy import orm

import dsl
from catalog.db import base, deployments
from engine import outages, renewal

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")

RENEWALS = 4  # in the time of one lease
WRITERS = 4  # transactions of programs at once in one process; more take turns at the interpreter, not at the database
_turns = threading.BoundedSemaphore(WRITERS)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LeaseLost(dsl.Interrupted):
    """Another worker has the deployment, or it was abandoned: stop at once, write nothing."""


class Cancelled(dsl.Interrupted):
    """A user asked for the end of the deployment."""


class TimeOver(dsl.Interrupted):
    """The deployment has taken as long as one may."""


class Draining(dsl.Interrupted):
    """The worker is about to stop: another one goes on with the deployment."""


class Lease:
    """A claimed deployment. Use as a context manager: renewal runs inside the block."""

    def __init__(
        self,
        database: base.Database,
        deployment_id: str,
        owner: str,
        fence: int,
        *,
        seconds: float,
        draining: threading.Event | None = None,
        heartbeat: renewal.Heartbeat | None = None,
    ) -> None:
        self.database = database
        self.deployment_id = deployment_id
        self.owner = owner
        self.fence = fence
        self.seconds = seconds
        self.draining = draining or threading.Event()
        self._renewed = _clock()
        self._interruption: dsl.Interrupted | None = None
        self._interrupted = threading.Event()
        self._watchers: set[Callable[[], None]] = set()
        self._mutex = threading.Lock()
        self._ended = threading.Event()
        self._limit: tuple[float, TimeOver] | None = None
        self._heartbeat = heartbeat or heart_of(database, owner, seconds)

    def __enter__(self) -> Lease:
        self._heartbeat.add(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def end(self) -> None:
        """Renews it no more: the deployment has ended, or was left."""
        self._ended.set()
        self._heartbeat.remove(self)

    def write(self, work: Callable[[orm.Session], Result]) -> Result:
        """Runs `work` in a transaction that is committed only while the lease is held; outages are waited out.

        `work` may be run again after a lost connection, so it finds what an earlier try wrote. Raises `LeaseLost`.
        """

        def transaction() -> Result:
            began = _clock()
            with _turns, self.database.transaction() as session:
                state = deployments.hold(session, self.deployment_id, self.owner, self.fence, self.seconds)
                if state is None:
                    raise LeaseLost(f"deployment {self.deployment_id}: the lease with fence {self.fence} is lost")
                result = work(session)
            self._renewed = max(self._renewed, began)
            self._saw(state)
            return result

        try:
            return outages.patiently(transaction, what=f"deployment {self.deployment_id}", pause=self.pause)
        except LeaseLost as lost:
            self.interrupt(lost)
            raise

    def read(self, work: Callable[[orm.Session], Result]) -> Result:
        """Runs `work` in a reading transaction; outages are waited out."""

        def transaction() -> Result:
            with self.database.reading() as session:
                return work(session)

        return outages.patiently(transaction, what=f"deployment {self.deployment_id}", pause=self.pause)

    def release(self) -> None:
        """Gives the deployment back, unfinished, for another worker to claim at once."""
        with self.database.transaction() as session:
            deployments.release(session, self.deployment_id, self.owner, self.fence)

    def check(self) -> None:
        """Raises what interrupts the program, if anything does: to be called before every effect.

        A process that slept, or whose database was away, for longer than its lease asks whether it still has it.
        """
        self._look_at_the_time()
        if self._interruption is not None:
            raise self._interruption
        if self.draining.is_set():
            raise Draining(f"deployment {self.deployment_id}: the worker stops")
        if self.age() >= self.seconds:
            self.write(lambda _session: None)
            if self._interruption is not None:
                raise self._interruption

    def limit(self, seconds: float, reason: TimeOver) -> None:
        """Ends the program with `reason` in so many seconds, as if it was cancelled then."""
        self._limit = (_clock() + seconds, reason)

    def age(self) -> float:
        """Seconds since it was renewed."""
        return _clock() - self._renewed

    def renewed(self, state: str | None, age: float) -> None:
        """The heartbeat renewed it `age` seconds ago and found the deployment in this state, None: held by another."""
        if self._ended.is_set():
            return
        if state is None:
            lost = LeaseLost(f"deployment {self.deployment_id}: the lease with fence {self.fence} is lost")
            LOG.warning("%s", lost)
            self.interrupt(lost)
            return
        self._renewed = max(self._renewed, _clock() - age)
        self._saw(state)

    @property
    def interruption(self) -> dsl.Interrupted | None:
        """What has ended the program, None while nothing has."""
        return self._interruption

    def interrupt(self, reason: dsl.Interrupted) -> None:
        """Ends the program with `reason`, unless something else has ended it already."""
        with self._mutex:
            if self._interruption is not None:
                return
            self._interruption = reason
            watchers = list(self._watchers)
        self._interrupted.set()
        for watcher in watchers:
            watcher()

    @contextlib.contextmanager
    def watched(self, on_interruption: Callable[[], None]) -> Iterator[None]:
        """Calls `on_interruption` when the program is interrupted while the block runs (at once, if it was before)."""
        with self._mutex:
            self._watchers.add(on_interruption)
        try:
            if self._interrupted.is_set():
                on_interruption()
            yield
        finally:
            with self._mutex:
                self._watchers.discard(on_interruption)

    def _saw(self, state: str) -> None:
        if state == deployments.CANCELLING and not self._ended.is_set():
            self.interrupt(Cancelled("The deployment was cancelled."))
        self._look_at_the_time()

    def _look_at_the_time(self) -> None:
        if self._limit is not None and _clock() >= self._limit[0] and not self._ended.is_set():
            self.interrupt(self._limit[1])

    def pause(self, seconds: float) -> None:
        """Waits while the database is away; raises what makes waiting vain."""
        if isinstance(self._interruption, LeaseLost):
            raise self._interruption
        if self.draining.wait(seconds):
            raise Draining(f"deployment {self.deployment_id}: the worker stops during a database outage")


def heart_of(database: base.Database, owner: str, seconds: float) -> renewal.Heartbeat:
    """The heartbeat of a worker whose leases last so long."""
    return renewal.Heartbeat(database, owner, seconds=seconds, pause=seconds / RENEWALS, clock=_clock)


def _clock() -> float:
    """Seconds that also pass while the process is stopped or the machine asleep, and that nobody can set."""
    return time.clock_gettime(_CLOCK)
