"""The heartbeat of a worker: its leases are renewed together, in one small transaction.

One thread for all, which lives while there are leases: beside many busy programs, a thread for each lease would wait
for the interpreter longer than the lease lasts. Leases that were written through lately are left alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from catalog.db import base, deployments

LOG = logging.getLogger(__name__)


class Renewable(Protocol):
    """A lease as its heartbeat sees it."""

    deployment_id: str
    fence: int

    def age(self) -> float:
        """Seconds since it was renewed."""

    def renewed(self, state: str | None, age: float) -> None:
        """It was renewed `age` seconds ago, the deployment's state being this; None: it is lost."""


class Heartbeat:
    """Renews the leases of `owner` every `pause` seconds to last `seconds`. Threads may share it."""

    def __init__(
        self, database: base.Database, owner: str, *, seconds: float, pause: float, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._owner = owner
        self._seconds = seconds
        self._pause = pause
        self._clock = clock
        self._leases: dict[str, Renewable] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, lease: Renewable) -> None:
        with self._changed:
            self._leases[lease.deployment_id] = lease
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()

    def remove(self, lease: Renewable) -> None:
        with self._changed:
            if self._leases.get(lease.deployment_id) is lease:
                del self._leases[lease.deployment_id]
            self._changed.notify_all()

    def _beat(self) -> None:
        pause = self._pause
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._leases, pause)
                if not self._leases:
                    self._thread = None
                    return
                leases = list(self._leases.values())
            due = [each for each in leases if each.age() >= self._pause]
            try:
                if due:
                    self._renew(due)
                pause = max(0.0, self._pause - max((each.age() for each in leases), default=0.0))
            except Exception as error:  # must not end renewals: without them leases are lost for sure
                LOG.warning("worker %s: leases could not be renewed: %s", self._owner, error)
            pause = min(max(pause, self._pause / 4), self._pause)

    def _renew(self, due: list[Renewable]) -> None:
        began = self._clock()
        with self._database.transaction() as session:
            states = deployments.hold_all(
                session, self._owner, {each.deployment_id: each.fence for each in due}, self._seconds
            )
        for each in due:
            each.renewed(states[each.deployment_id], self._clock() - began)
