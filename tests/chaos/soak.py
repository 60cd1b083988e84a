"""A random soak: workers are killed at random times while deployments go on, and what that cost is told.

    python tests/chaos/soak.py --kills 1000 [--seed N] [--database sqlite] [--lease 5] [--every 0.5]

Prints how long deployments stood still, how soon another worker resumed them, and how many effects were lost or done
twice (goal: none). Ends with 1 if a goal was missed. SIGTERM ends the killing early.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import chaos_convoy  # noqa: E402
import chaos_servers  # noqa: E402
import chaos_world  # noqa: E402
from chaos_guests import Mishaps  # noqa: E402
from chaos_heat import Trouble  # noqa: E402

import catalog.db.tables  # noqa: E402, F401 - all tables
from catalog import config  # noqa: E402
from catalog.db import base, keys  # noqa: E402

RESUMED = 10.0  # seconds: the goal


def main() -> int:
    chosen = _arguments()
    print(
        f"seed {chosen.seed}: {chosen.kills} kills, {chosen.workers} workers, a lease of {chosen.lease:g} s", flush=True
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        _keys(pathlib.Path(folder)),
        _database(chosen.database, pathlib.Path(folder)) as database,
        chaos_world.World(database, pathlib.Path(folder), lease=chosen.lease, poll=chosen.poll) as world,
    ):
        soak = Soak(world, chosen)
        soak.run()
        return soak.tell()


class Soak:
    """Kills one worker after the other and begins another in its place, while deployments are kept coming."""

    def __init__(self, world: chaos_world.World, chosen: argparse.Namespace) -> None:
        self._world = world
        self._chosen = chosen
        self._random = random.Random(chosen.seed)
        self._ids: list[str] = []
        self._open: set[str] = set()
        self._kills: list[tuple[int, float]] = []  # process and time
        self._told_to_end = False
        self._wrote: set[int] = set()
        self._ready: set[int] = set()
        self._log = world.log
        self._read = 0  # bytes of the workers' log
        self._began = time.monotonic()

    def run(self) -> None:
        chosen, world = self._chosen, self._world
        self._calm = self._calmly()
        world.heat.faults = Trouble(chosen.seed, 0.05)
        world.guests.mishaps = Mishaps(chosen.seed, 0.05)
        world.heat.takes = 8
        workers = [world.worker(concurrency=chosen.concurrency) for _ in range(chosen.workers)]
        signal.signal(signal.SIGTERM, lambda *_: self._enough())
        while len(self._kills) < chosen.kills and not self._told_to_end:
            self._keep_busy()
            time.sleep(self._random.expovariate(1 / chosen.every))
            busy = self._busy([worker.pid for worker in workers])
            if not busy or self._alone(workers):
                continue
            place = self._random.choice(busy)
            self._kills.append((workers[place].pid, time.monotonic()))
            os.kill(workers[place].pid, signal.SIGKILL)
            workers[place].join()
            self._busy([])  # what the dead one has told is read before its number is another one's
            self._wrote.discard(workers[place].pid)
            self._ready.discard(workers[place].pid)
            workers[place] = world.worker(concurrency=chosen.concurrency)
            if len(self._kills) % 100 == 0:
                ended = len(self._ids) - len(self._open)
                print(f"{len(self._kills)} kills, {ended} deployments ended", flush=True)
        world.wait_for_the_end(*self._open, seconds=3600.0)

    def _enough(self) -> None:
        """SIGTERM: no more kills; what there is ends, and is told."""
        self._told_to_end = True

    def tell(self) -> int:
        world = self._world
        resumed, never = self._resumptions()
        harmed = self._harmed()
        again = chaos_world.repeated(world, *self._ids)
        twice = [plan for plan, number in world.guests.ran.items() if number != 1]
        left = [ids for ids in world.heat.alive().values() if len(ids) != 1]
        effects = sum(len(world.outcomes(each)) for each in self._ids)
        lost = len(self._ids) * chaos_convoy.EFFECTS - effects
        print(f"{'kills':44} {len(self._kills)} in {time.monotonic() - self._began:.0f} s")
        print(f"{'deployments ended / as an undisturbed one':44} {len(self._ids)} / {len(self._ids) - len(harmed)}")
        print(f"{'kills that hit a running deployment':44} {len(resumed)} deployments lost their worker")
        if resumed:
            ordered = sorted(resumed)
            print(
                f"{'time to resume, median / 99 % / most':44} {statistics.median(ordered):.1f} / "
                f"{ordered[int(len(ordered) * 0.99)]:.1f} / {ordered[-1]:.1f} s   goal < {RESUMED:.0f} s"
            )
            print(f"{'downtime of all deployments together':44} {sum(resumed):.0f} s")
        print(f"{'effects / lost / with an outcome, done again':44} {effects} / {lost} / {len(again)}   goal 0")
        print(f"{'plans carried out / more than once':44} {len(world.guests.ran)} / {len(twice)}   goal 0")
        print(f"{'resources there twice':44} {len(left)}   goal 0")
        for each, error in list(harmed.items())[:5]:
            print(f"deployment {each}: {error}")
        slow = bool(resumed) and max(resumed) > RESUMED
        return int(bool(never or harmed or again or twice or left or lost or slow))

    def _calmly(self) -> chaos_world.Seen:
        deployment_id = self._world.submit(self._world.environment("calm"))
        self._world.worker(once=True).join()
        return self._world.seen(deployment_id)

    def _keep_busy(self) -> None:
        self._open = self._world.unfinished(self._open)
        while len(self._open) < self._chosen.open:
            deployment_id = self._world.submit(self._world.environment(f"soak {len(self._ids)}"))
            self._ids.append(deployment_id)
            self._open.add(deployment_id)

    def _busy(self, pids: list[int]) -> list[int]:
        """Places of workers that have written something: whoever is killed before that has proved nothing."""
        with open(self._log, encoding="utf-8") as log:
            log.seek(self._read)
            for line in iter(log.readline, ""):
                if not line.endswith("\n"):
                    break
                self._read += len(line.encode())
                entry = json.loads(line)
                if entry["what"] == "wrote":
                    self._wrote.add(entry["pid"])
                elif entry["what"] == "ready":
                    self._ready.add(entry["pid"])
        return [place for place, pid in enumerate(pids) if pid in self._wrote]

    def _alone(self, workers: list[Any]) -> bool:
        """Whether no worker but one is there: killed now, it would have no successor before another process begins,
        which on a busy machine takes longer than a lease.
        """
        return sum(worker.pid in self._ready for worker in workers) < 2

    def _resumptions(self) -> tuple[list[float], list[str]]:
        """Seconds from each kill until a successor wrote to the journal of what the killed one had; deployments that
        nobody went on with. A successor that was killed before it wrote is not one: its own kill counts.
        """
        killed = collections.defaultdict(list)  # numbers of processes come again: the next kill is a claimer's own
        for pid, at in self._kills:
            killed[pid].append(at)
        claims: dict[str, list[tuple[int, float, int]]] = collections.defaultdict(list)
        writes: dict[tuple[str, int], list[float]] = collections.defaultdict(list)  # of a process to a deployment
        over: set[tuple[str, int]] = set()
        for entry in self._world.told():
            deployment_id = entry.get("deployment", "")
            if entry["what"] == "claimed":
                claims[deployment_id].append((entry["fence"], entry["at"], entry["pid"]))
            elif entry["what"] == "wrote":
                writes[deployment_id, entry["pid"]].append(entry["at"])
            elif entry["what"] in ("ended", "left"):
                over.add((deployment_id, entry["fence"]))
        seconds, never = [], []
        for deployment_id, made in claims.items():
            made.sort()
            for (fence, at, pid), later in zip(made, [*made[1:], None], strict=True):
                died = _first(killed[pid], at)
                if died is None or (deployment_id, fence) in over:
                    continue
                wrote = None if later is None else _first(writes[deployment_id, later[2]], later[1])
                if wrote is not None:
                    seconds.append(wrote - died)
                elif later is None and not self._world.ended(deployment_id):
                    never.append(deployment_id)
        return seconds, never

    def _harmed(self) -> dict[str, str]:
        found = {}
        for each in self._ids:
            if self._world.seen(each) != self._calm:
                found[each] = json.dumps(self._world.seen(each).state)[:500]
        return found


def _first(times: list[float], since: float) -> float | None:
    return next((each for each in times if each >= since), None)


@contextlib.contextmanager
def _keys(folder: pathlib.Path) -> Iterator[None]:
    """Keys for this process and the workers, who find them by the environment."""
    os.environ["OS_SECRETS__KEY_FILE"] = str(folder / "secrets.key")
    keys.make(config.load())
    yield


@contextlib.contextmanager
def _database(kind: str, folder: pathlib.Path) -> Iterator[base.Database]:
    """A server of the soak's own, or an SQLite file."""
    if kind == "sqlite":
        database = base.Database(f"sqlite:///{folder}/catalog.sqlite")
        database.create_tables()
        keys.configure(database, config.load())
        yield database
        database.dispose()
        return
    server = chaos_servers.Postgres() if kind == "postgresql" else chaos_servers.MariaDb()
    try:
        database = base.Database(server.url)
        database.create_tables()
        keys.configure(database, config.load())
        yield database
        database.dispose()
    finally:
        server.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--database", choices=["postgresql", "mariadb", "sqlite"], default="postgresql")
    parser.add_argument("--lease", type=float, default=5.0)
    parser.add_argument("--poll", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=6)
    parser.add_argument("--open", type=int, default=12, help="deployments that are kept going")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two kills, on average")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
