"""How long the all-in-one service takes to start, and what it holds while idle.

Beside it, in the same run, stands a bare Python that imports the libraries the service is built on: no start can be
faster than that. Medians of several starts; the first one, which makes the database and the accounts, is told apart.
"""

from __future__ import annotations

import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from cli.demo import process

STARTS = 5
IDLE_SECONDS = 5
LIBRARIES = (
    "import alembic, cheroot.wsgi, jinja2, oslo_config.cfg, oslo_messaging, oslo_policy.policy, pecan, sqlalchemy, yaql"
)


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        service = process.ServiceProcess(pathlib.Path(folder) / "data", free_port(), "http://127.0.0.1:9")
        first, starts, resident = None, [], []
        for _ in range(STARTS + 1):
            seconds = service.start()
            if first is None:
                first = seconds
            else:
                starts.append(seconds)
            time.sleep(IDLE_SECONDS)
            resident.append(service.memory_mib())
            service.stop()
    libraries = [imports() for _ in range(STARTS)]
    start, bare = statistics.median(starts), statistics.median(libraries)
    print(f"{'first start (database, accounts, core library)':48} {first:6.2f} s")
    print(f"{'start, median of ' + str(STARTS):48} {start:6.2f} s   goal < 3 s")
    print(f"{'  only importing its libraries':48} {bare:6.2f} s   ratio {start / bare:.1f}")
    print(f"{'resident after ' + str(IDLE_SECONDS) + ' s idle':48} {statistics.median(resident):6.0f} MiB < 150 MB")


def imports() -> float:
    """Seconds for a fresh Python to import the libraries."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
    return time.perf_counter() - began


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
