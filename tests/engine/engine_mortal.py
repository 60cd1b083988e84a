"""A worker that dies at a chosen boundary: before or after any one of its transactions.

Between two transactions nothing durable happens but calls of the cloud, so these boundaries are all the places where a
death makes a difference. A program, too: `engine_mortal.py URL DEPLOYMENT CLOUD N WHEN SIGNAL` does it to its process.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from engine_harbour import deployments_on
from engine_world import MemoryCloud

import dsl
from catalog import config
from catalog.db import base, deployments, keys
from engine import lease

LOST = 3  # exit status of a process that found its lease lost
BEFORE = "before"  # the transaction is rolled back
AFTER = "after"  # the transaction is committed, and nobody was told


class Killed(BaseException):
    """The worker is dead; nothing of it runs any more."""


class MortalDatabase:
    """A database whose user dies at the `last`-th transaction. `die` is how; 0 means never."""

    def __init__(
        self, database: base.Database, last: int = 0, when: str = AFTER, die: Callable[[], None] | None = None
    ) -> None:
        self.database = database
        self.largest = database.largest
        self.count = 0
        self.dead = False
        self._last = last
        self._when = when
        self._die = die or self._fall
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def transaction(self):
        with self._mutex:  # one at a time, so that no other thread of the dead worker is half-way in one
            self._alive()
            self.count += 1
            fatal = self.count == self._last
            with self.database.transaction() as session:
                yield session
                if fatal and self._when == BEFORE:
                    self._die()
            if fatal:
                self._die()

    @contextlib.contextmanager
    def reading(self):
        self._alive()
        with self.database.reading() as session:
            yield session

    def _fall(self) -> None:
        self.dead = True
        raise Killed

    def _alive(self) -> None:
        if self.dead:
            raise Killed


def carry(
    database: base.Database, deployment_id: str, cloud: MemoryCloud, mortal: MortalDatabase, **settings: Any
) -> bool:
    """One worker takes the deployment up, as after its predecessor's lease ran out. Whether it lived to the end."""
    with database.transaction() as session:
        session.execute(deployments.sa.update(deployments.Deployment).values(lease_expires=0.0))
    with database.transaction() as session:
        fence = deployments.claim(session, deployment_id, "mortal", 600.0)
    assert fence is not None
    held = lease.Lease(mortal, deployment_id, "mortal", fence, seconds=600.0)
    try:
        with held:
            deployments_on(database, cloud, **settings).run(held)
    except lease.LeaseLost:
        return False
    except (Killed, dsl.Interrupted):
        assert mortal.dead
    return not mortal.dead


class KeptCloud(MemoryCloud):
    """A cloud whose memory is a file, for workers in processes of their own."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            kept = json.loads(path.read_text())
            self.stacks, self.results = kept["stacks"], kept["results"]
            self.ids = kept["ids"]
            self.executed.update(kept["executed"])
            self.calls = [tuple(call) for call in kept["calls"]]

    def push(self, *arguments):
        return self._kept(super().push, *arguments)

    def run(self, *arguments):
        return self._kept(super().run, *arguments)

    def delete(self, *arguments):
        return self._kept(super().delete, *arguments)

    def _kept(self, call, *arguments):
        result = call(*arguments)
        with self.mutex:
            kept = {
                "stacks": self.stacks,
                "results": self.results,
                "ids": self.ids,
                "executed": self.executed,
                "calls": self.calls,
            }
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(kept))
            draft.replace(self._path)
        return result


def main(url: str, deployment_id: str, cloud_file: str, last: str, when: str, number: str) -> None:
    database = base.Database(url)
    keys.configure(database, config.load())

    def die() -> None:  # the thread that sends the signal does nothing more before it is there
        signal.pthread_kill(threading.get_ident(), signal.Signals[number])

    mortal = MortalDatabase(database, int(last), when, die)
    lived = carry(database, deployment_id, KeptCloud(pathlib.Path(cloud_file)), mortal)
    sys.exit(0 if lived else LOST)


if __name__ == "__main__":
    main(*sys.argv[1:])
