"""Workers: they claim deployments and run each in a thread of its own, several at a time.

Reached in process by `chandlery serve` and as the `chandlery-engine` process. A wake-up makes a worker look at once; it
also looks by itself every few seconds, so a lost message costs seconds. Stopping drains: effects in flight may end,
then the deployments are given back for another worker to go on with.
"""

from __future__ import annotations

import datetime
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import dsl
from catalog.db import base, deployments, journal
from engine import notices, outages
from engine.lease import Lease, heart_of

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How a worker behaves; seconds where not said otherwise."""

    concurrency: int = 8  # deployments at a time; they mostly wait for clouds
    poll: float = 2.0  # between two looks for work nobody announced
    lease: float = 5.0  # after a worker's death its deployments wait this long
    notices: bool = False  # whether other services are told when a deployment begins
    project_limit: int = 0  # deployments of one project that all workers together run at a time; 0: any number
    keep_journals: float = 7 * 86400.0  # after the end of a deployment, for whoever has to find out what happened


PRUNE_EVERY = 3600.0  # seconds between two removals of old journals
WARN_EVERY = 60.0  # seconds between two warnings of deployments that only a newer release understands
SILENT = 2.0  # leases' time without a renewal after which a holder counts as dead, whatever the database's clock says
SHORTEST_PAUSE = 0.05  # seconds between two looks
AT_ONCE = 8  # deployments claimed before the first of them begins: beside running programs each claim takes longer

Run = Callable[[Lease], None]


class Worker:
    """Claims and runs deployments between `start()` and `stop()`. `run` executes one under its lease."""

    def __init__(self, database: base.Database, run: Run, settings: WorkerSettings | None = None) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.settings = settings or WorkerSettings()
        self._database = database
        self._run = run
        self._running: dict[str, threading.Thread] = {}
        self._others: dict[str, tuple[tuple[int, float], float]] = {}  # their leases' signs, and since when
        self._heartbeat = heart_of(database, self.name, self.settings.lease)
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._draining = threading.Event()
        self._looking = threading.Thread(target=self._look, name="worker", daemon=True)

    def start(self) -> None:
        self._looking.start()

    def wake(self) -> None:
        """There may be work: look now."""
        self._wake.set()

    def stop(self, seconds: float | None = None) -> None:
        """Claims nothing more, lets effects in flight end, gives deployments back; waits at most `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        self._draining.set()
        self._wake.set()
        for thread in [self._looking, *self._threads()]:
            if thread.is_alive():
                thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def running(self) -> list[str]:
        """Ids of the deployments that this worker runs now."""
        with self._mutex:
            return list(self._running)

    def _threads(self) -> list[threading.Thread]:
        with self._mutex:
            return list(self._running.values())

    def _look(self) -> None:
        LOG.info("worker %s: up to %d deployments at a time", self.name, self.settings.concurrency)
        prune_at = time.monotonic() + PRUNE_EVERY
        warn_at = time.monotonic()
        while not self._draining.is_set():
            self._wake.clear()
            pause = self.settings.poll
            try:
                pause = self._claim_what_fits()
                if time.monotonic() >= prune_at:
                    self.prune()
                    prune_at = time.monotonic() + PRUNE_EVERY
                if time.monotonic() >= warn_at:
                    self._warn_of_what_is_too_new()
                    warn_at = time.monotonic() + WARN_EVERY
            except Exception as error:
                if not outages.is_outage(error):
                    LOG.exception("worker %s: looking for deployments failed", self.name)
                else:
                    LOG.warning("worker %s: the database does not answer: %s", self.name, error)
            self._wake.wait(pause)

    def _claim_what_fits(self) -> float:
        """Claims, and says in how many seconds to look again: when the first of the others' leases runs out."""
        with self._mutex:
            mine = set(self._running)
        free = self.settings.concurrency - len(mine)
        if free <= 0:
            return self.settings.poll
        with self._database.reading() as session:
            offered = deployments.claimable(session, free + len(mine), self.settings.project_limit)
            others = [each for each in deployments.held(session) if each.deployment_id not in mine]
        offers: list[tuple[str, tuple[int, float] | None]] = [
            (each, None)
            for each in offered
            if each not in mine
            # One of mine is offered when this machine was too busy to renew its lease; its next write will.
        ]
        wanted = [*offers, *self._silent(others)][:free]
        for first in range(0, len(wanted), AT_ONCE):
            if self._draining.is_set():
                break
            self._begin(wanted[first : first + AT_ONCE])
        soonest = min((each.left for each in others), default=self.settings.poll)
        return min(self.settings.poll, max(SHORTEST_PAUSE, soonest))

    def _silent(self, others: list[deployments.Held]) -> list[tuple[str, tuple[int, float]]]:
        """Leases that were not renewed for so long that their holders must be dead, though they have time left: the
        database's clock was set back.
        """
        now = time.monotonic()
        known = self._others
        self._others = {}
        for each in others:
            sign, since = known.get(each.deployment_id, (each.sign, now))
            self._others[each.deployment_id] = (each.sign, since if sign == each.sign else now)
        return [
            (deployment_id, sign)
            for deployment_id, (sign, since) in self._others.items()
            if now - since > SILENT * self.settings.lease
        ]

    def _warn_of_what_is_too_new(self) -> None:
        with self._database.reading() as session:
            number = deployments.too_new(session)
        if number:
            LOG.warning("worker %s: %d deployments wait for workers of a newer release", self.name, number)

    def _begin(self, wanted: list[tuple[str, tuple[int, float] | None]]) -> None:
        """Claims what nobody else has claimed by now, then begins it all."""
        claimed: list[Lease] = []
        try:
            for deployment_id, stale in wanted:
                held = self._claim(deployment_id, stale)
                if held is not None:
                    claimed.append(held)
        finally:
            for held in claimed:
                thread = threading.Thread(
                    target=self._carry, args=(held,), name=f"deployment-{held.deployment_id}", daemon=True
                )
                with self._mutex:
                    self._running[held.deployment_id] = thread
                thread.start()

    def _claim(self, deployment_id: str, stale: tuple[int, float] | None) -> Lease | None:
        with self._database.transaction() as session:
            fence = deployments.claim(
                session,
                deployment_id,
                self.name,
                self.settings.lease,
                project_limit=self.settings.project_limit,
                stale=stale,
            )
            if fence == 1 and self.settings.notices:
                notices.begun(session, deployment_id)
        if fence is None:
            return None
        LOG.info("deployment %s: claimed by %s with fence %d", deployment_id, self.name, fence)
        return Lease(
            self._database,
            deployment_id,
            self.name,
            fence,
            seconds=self.settings.lease,
            draining=self._draining,
            heartbeat=self._heartbeat,
        )

    def _carry(self, held: Lease) -> None:
        try:
            with held:
                self._run(held)
        except dsl.Interrupted as interruption:
            LOG.info("deployment %s: left: %s", held.deployment_id, interruption)
            self._give_back(held)
        except Exception:  # a fault of the service itself: give it back, the lease's fence counts the attempts
            LOG.exception("deployment %s: the worker failed", held.deployment_id)
            self._draining.wait(self.settings.poll)
            self._give_back(held)
        finally:
            with self._mutex:
                self._running.pop(held.deployment_id, None)
            self._wake.set()

    def _give_back(self, held: Lease) -> None:
        try:
            held.release()
        except Exception:  # not given back, it is claimed when its lease has run out
            LOG.warning("deployment %s: could not be given back", held.deployment_id, exc_info=True)

    def prune(self) -> int:
        """Removes journals past their keeping; the number of effects removed."""
        before = base.now() - datetime.timedelta(seconds=self.settings.keep_journals)
        with self._database.transaction() as session:
            return journal.prune(session, before)
