"""Looks after one podman container: `python3 -m simulated.supervisor FOLDER`. Starts it, again when it ends, and
carries its ports.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time

from simulated import containers, system
from simulated.kubernetes import proxy

BACKOFF_FIRST, BACKOFF_LIMIT = 0.1, 5.0
STEADY_SECONDS = 10
STOP_SECONDS = 2


def main() -> None:
    folder = sys.argv[1]
    record = system.read_json(os.path.join(folder, "container.json"))
    assert record is not None
    container = containers.Container(
        name=record["Name"],
        image=record["Image"],
        folder=folder,
        environment=record["Environment"],
        arguments=tuple(record["Arguments"]),
        mounts=tuple(tuple(mount) for mount in record["Mounts"]),
        address=record["Address"],
    )
    publish(record)
    pid, restarts, backoff = 0, 0, BACKOFF_FIRST

    def leave(_number: int, _frame: object) -> None:
        if pid:
            system.end(pid, STOP_SECONDS)
        save(folder, "exited", 0, restarts, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    while True:
        begun = time.monotonic()
        pid = containers.start(container)
        save(folder, "running", pid, restarts, 0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid, code = 0, code if code >= 0 else 128 - code
        if record["Restart"] == "no" or (record["Restart"] == "on-failure" and code == 0):
            save(folder, "exited", 0, restarts, code)
            os._exit(0)
        backoff = BACKOFF_FIRST if time.monotonic() - begun > STEADY_SECONDS else backoff
        save(folder, "restarting", 0, restarts, code)
        time.sleep(backoff)
        restarts, backoff = restarts + 1, min(backoff * 2, BACKOFF_LIMIT)


def save(folder: str, status: str, pid: int, restarts: int, code: int) -> None:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    state = {"Status": status, "Pid": pid, "RestartCount": restarts, "ExitCode": code, "StartedAt": started}
    system.write_json(os.path.join(folder, "state.json"), state)


def publish(record: dict) -> None:
    """The same proxy as that of services."""
    carrier = proxy.Proxy(shares_ports=True)
    carrier.start()
    wanted = {
        (port["host_ip"], port["host_port"]): [(record["Address"], port["container_port"])] for port in record["Ports"]
    }
    asyncio.run_coroutine_threadsafe(carrier.follow(wanted), carrier.loop).result(10)
    if len(carrier.servers) != len(wanted):
        sys.exit(f"the published ports of {record['Name']} cannot be used")
    threading.current_thread().name = record["Name"]


if __name__ == "__main__":
    main()
