"""An engine process of the benchmark: the real service, on a cloud that answers at once. `worker_process.py CONFIG`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import catalog.db.tables  # noqa: F401 - relations between tables need them all
from catalog.db import base
from engine import config, service
from engine.clouds import recording


def main(path: str) -> None:
    conf = config.load([path])
    database = base.Database(conf.database.connection)
    running = service.EngineService(conf, database, lambda _context: recording.Recording().cloud())
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    service.collect_rarely()
    running.start()
    print("ready", flush=True)
    ended.wait()
    running.stop()


if __name__ == "__main__":
    main(sys.argv[1])
