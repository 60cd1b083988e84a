"""A few servers for the stand-ins, run as a program of its own in new user, process and network namespaces.

Each node is a network namespace on one bridge, with a folder as its file tree. Commands come as JSON lines on standard
input (`{"node", "argv", "text"}`, or `{"path"}` to read from the API server), their outcomes go to standard output.
When this program ends, everything in its namespaces does.
"""

from __future__ import annotations

import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading

IMAGE = pathlib.Path(__file__).parents[2] / "engine/clouds/lab/image/usr/local"
sys.path.insert(0, str(IMAGE / "lib/chandlery-lab"))

from simulated import netlink, system  # noqa: E402 - the path comes first
from simulated.kubernetes import client  # noqa: E402 - the path comes first


def main() -> None:
    folder, *names = sys.argv[1:]
    netlink.set_up("lo")
    netlink.add_bridge("switch")
    netlink.add_address("switch", "10.9.0.1", 24)
    netlink.set_up("switch")
    nodes = {name: make_node(f"10.9.0.{number}", f"port{number}") for number, name in enumerate(names, 10)}
    print(json.dumps({name: f"10.9.0.{number}" for number, name in enumerate(names, 10)}), flush=True)
    reader = Reader(nodes["master"], os.path.join(folder, "master/etc/kubernetes/admin.conf"))
    for line in sys.stdin:
        command = json.loads(line)
        done = reader.get(command["path"]) if "path" in command else run(nodes[command["node"]], folder, command)
        print(json.dumps(done), flush=True)


class Reader(threading.Thread):
    """Reads from the API server: a thread that lives in the master's network, since starting kubectl takes time."""

    def __init__(self, pid: int, config: str) -> None:
        super().__init__(daemon=True)
        self.pid, self.config = pid, config
        self.paths: queue.Queue[str] = queue.Queue()
        self.answers: queue.Queue[dict] = queue.Queue()
        self.start()

    def get(self, path: str) -> dict:
        self.paths.put(path)
        return self.answers.get(timeout=60)

    def run(self) -> None:
        system.enter_network(self.pid)
        while True:
            path = self.paths.get()
            try:
                self.answers.put(client.Client.of_config(system.read_json(self.config) or {}).get(path))
            except (client.ApiError, client.Unreachable) as error:
                self.answers.put({"error": str(error)})


def make_node(address: str, port: str) -> int:
    ready, is_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        system.unshare_network()
        os.write(is_ready, b"1")
        while True:
            signal.pause()
    os.read(ready, 1)
    netlink.add_veth(port, "eth0", pid)
    netlink.set_up(port, "switch")
    inside(pid, lambda: configure(address))
    return pid


def configure(address: str) -> None:
    netlink.set_up("lo")
    netlink.add_address("eth0", address, 24)
    netlink.set_up("eth0")
    netlink.add_route(None, "10.9.0.1")


def inside(pid: int, action: object) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            system.enter_network(pid)
            action()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise OSError("the node's network cannot be configured")


def run(pid: int, folder: str, command: dict) -> dict:
    root = os.path.join(folder, command["node"])
    environment = {
        "PATH": f"{IMAGE / 'bin'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "CHANDLERY_LAB_ROOT": root,
        "KUBECONFIG": "/etc/kubernetes/admin.conf",
    }
    done = subprocess.run(
        command["argv"],
        input=command["text"],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: system.enter_network(pid),
        timeout=120,
    )
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


if __name__ == "__main__":
    main()
