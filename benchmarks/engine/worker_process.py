"""An engine process of the benchmark: the real service, on a cloud that answers at once. `worker_process.py CONFIG`.

At its end it prints the seconds of processor time that the cloud took since SIGUSR1, which are not the engine's.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import catalog.db.tables  # noqa: F401 - relations between tables need them all
from catalog.db import base
from engine import config, service
from engine.clouds import recording


class TimedCloud(recording.Recording):
    """A recording that knows how much processor time its calls took, in all threads and deployments together."""

    spent = 0.0
    _mutex = threading.Lock()
    _inside = threading.local()


def _timed(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def timed(*arguments: Any, **named: Any) -> Any:
        if getattr(TimedCloud._inside, "calls", False):  # one that another one makes is in that one's time
            return call(*arguments, **named)
        TimedCloud._inside.calls = True
        began = time.thread_time()
        try:
            return call(*arguments, **named)
        finally:
            TimedCloud._inside.calls = False
            with TimedCloud._mutex:
                TimedCloud.spent += time.thread_time() - began

    return timed


for _name, _call in vars(recording.Recording).items():
    if callable(_call) and not _name.startswith("_"):
        setattr(TimedCloud, _name, _timed(_call))


def main(path: str) -> None:
    conf = config.load([path])
    database = base.Database(conf.database.connection)
    running = service.EngineService(conf, database, lambda _context: TimedCloud().cloud())
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGUSR1, lambda *_: setattr(TimedCloud, "spent", 0.0))
    service.collect_rarely()
    running.start()
    print("ready", flush=True)
    ended.wait()
    running.stop()
    print(TimedCloud.spent, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
