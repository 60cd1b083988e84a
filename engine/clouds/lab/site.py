"""The lab's machine room, one per data directory: folders, stored objects, the keeper, the network, running servers.

Resource drivers (resources/) work on a Site; the Orchestration port is in orchestration.py.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.clouds.lab import addressing
from engine.clouds.lab.addressing import Range
from engine.clouds.lab.isolation_level import Isolation, isolation
from engine.clouds.lab.keeper import Keeper, KeeperError
from engine.clouds.lab.sandbox import cgroups, processes
from engine.clouds.lab.sandbox.launch import LOCK
from engine.clouds.lab.sandbox.rootfs import SYSTEM_FOLDERS
from engine.clouds.lab.state import ObjectStore, StackStore, locked, read_json, sweep
from engine.clouds.ports import CloudError

IMAGE = Path(__file__).with_name("image")
AGENT_PORT = 8082
ROUTER_ID = "00000000-0000-4000-8000-00000000000a"
OWN_NETWORK_ID = "00000000-0000-4000-8000-00000000000f"
OWN_SUBNET_ID = "00000000-0000-4000-8000-000000000010"
EXTERNAL_NETWORK_ID = "00000000-0000-4000-8000-00000000000b"
EXTERNAL_SUBNET_ID = "00000000-0000-4000-8000-00000000000c"
SHARED_NETWORK_ID = "00000000-0000-4000-8000-00000000000d"
SHARED_SUBNET_ID = "00000000-0000-4000-8000-00000000000e"

# What one server may take of this machine (names of the resource module). A core limit of 1, unlike 0, also keeps
# crashes from a core_pattern that pipes them to a program of the host.
LIMITS = {"RLIMIT_NPROC": 2048, "RLIMIT_NOFILE": 65536, "RLIMIT_CORE": 1, "RLIMIT_MEMLOCK": 8 * 1024 * 1024}

# Memory by flavor in MiB, after the names every OpenStack demonstration uses; other flavors get the default.
FLAVORS = {"m1.tiny": 512, "m1.small": 2048, "m1.medium": 4096, "m1.large": 8192, "m1.xlarge": 16384}
DEFAULT_MEMORY = 2048

_FOLDERS = ("stacks", "objects", "servers", "volumes", "base", "signals")
_FILES = ("lab.json", "lab.lock", "open.lock", "keeper.json", "keeper.sock", "keeper.lock", "keeper.log")

_log = logging.getLogger(__name__)


class Site:
    """One data directory and all that runs for it."""

    router_name = "murano-default-router"
    external_network_name = "ext-net"

    def __init__(self, directory: Path, level: Isolation | None = None) -> None:
        self.directory = directory.resolve()
        if self.directory.parts[1:2] and self.directory.parts[1] in SYSTEM_FOLDERS:
            raise CloudError(
                f"the lab cannot keep its data in {self.directory}: its servers show /{self.directory.parts[1]}; "
                "choose a data directory elsewhere, such as below /var/lib"
            )
        for name in ("", *_FOLDERS):
            (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.isolation = level or isolation()
        self.stacks = StackStore(self.directory / "stacks")
        self.objects = ObjectStore(self.directory / "objects")
        self.keeper = Keeper(self.directory)
        self.isolated = self.isolation.level != "none"
        self.uplink_reason = "not started"
        self._opening = threading.Lock()
        self._base: dict[str, Any] | None = None

    @property
    def group(self) -> str:
        """The name of the lab's control group."""
        return "chandlery-lab-" + hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]

    @property
    def uplink_link(self) -> str:
        """The host's end of the link to the lab (root only)."""
        return "chl" + hashlib.sha256(str(self.directory).encode()).hexdigest()[:10]

    @property
    def range(self) -> Range:
        """The lab's addresses, chosen at the first use."""
        return addressing.range_of(self.directory)

    def open(self) -> None:
        """Have the keeper, the network and all servers that should run; quick when they are there already."""
        if not self.isolated:
            return
        with self._opening, locked(self.directory / "open.lock"):
            fresh = self.keeper.ensure()
            if fresh:
                self._clear_after_lost_keeper()
            if fresh or self.uplink_reason == "not started":
                for name in _FOLDERS:
                    sweep(self.directory / name)
                self._raise_network()
                self._raise_servers()

    # Network

    def ip(self, *commands: str, ignore_errors: bool = False, pid: int | None = None) -> None:
        """`ip` commands in the lab's network (or in that of a server's process)."""
        if self.isolated:
            self.keeper.ask("ip", commands=list(commands), ignore_errors=ignore_errors, pid=pid)

    def bridge_of(self, network_id: str) -> str:
        """The bridge of a network."""
        return "b" + hashlib.sha256(network_id.encode()).hexdigest()[:12]

    def raise_bridge(self, network_id: str) -> None:
        """Have the bridge of a network."""
        bridge = self.bridge_of(network_id)
        self.ip(f"link add name {bridge} type bridge", ignore_errors=True)
        self.ip(f"link set {bridge} up")

    def raise_gateway(self, subnet: dict[str, Any]) -> None:
        """Have the gateway's address on the bridge, and the host's way to the subnet."""
        self.raise_bridge(subnet["network_id"])
        length = subnet["cidr"].partition("/")[2]
        self.ip(f"address replace {subnet['gateway_ip']}/{length} dev {self.bridge_of(subnet['network_id'])}")
        if not addressing.Network(subnet["cidr"]).subnet_of(self.range.network):
            self._raise_uplink()

    def shared_network(self) -> str:
        """The network of servers that name none; made at the first use."""
        with self.objects.lock():
            if self.objects.get(SHARED_SUBNET_ID) is None:
                cidr = addressing.free_subnet(self.used_networks(), self.range, SHARED_NETWORK_ID)
                self.objects.put(SHARED_NETWORK_ID, "net", name="lab", stack=None)
                self.objects.put(
                    SHARED_SUBNET_ID, "subnet", name="lab", stack=None, network_id=SHARED_NETWORK_ID,
                    cidr=str(cidr), gateway_ip=str(cidr[1]), dns_nameservers=[],
                )  # fmt: skip
        subnet = self.objects.get(SHARED_SUBNET_ID)
        assert subnet is not None
        self.raise_gateway(subnet)
        return SHARED_NETWORK_ID

    def used_networks(self) -> list[addressing.Network]:
        """All networks of the lab."""
        return [addressing.Network(subnet["cidr"]) for subnet in self.objects.all("subnet")]

    def used_addresses(self) -> set[str]:
        """All addresses that ports, gateways and floating addresses have."""
        used = {subnet["gateway_ip"] for subnet in self.objects.all("subnet")}
        for port in self.objects.all("port"):
            used |= {fixed["ip_address"] for fixed in port["fixed_ips"]}
        return used | {item["floating_ip_address"] for item in self.objects.all("floatingip")}

    def _raise_network(self) -> None:
        self.ip(f"address replace {self.range.service}/32 dev lo")
        for subnet in self.objects.all("subnet"):
            self.raise_gateway(subnet)
        self._raise_uplink()

    def _raise_uplink(self) -> None:
        if not self.isolated:
            return
        link = self.uplink_link
        others = self._foreign_networks(link)
        wanted = [self.range.network, *self.used_networks()]
        routes = [str(network) for network in wanted if not any(network.overlaps(other) for other in others)]
        if str(self.range.network) not in routes:
            self.uplink_reason = f"this machine has meanwhile another route to {self.range.network}"
            return
        answer, _ = self.keeper.ask(
            "uplink", link=link, routes=routes, host_address=self.range.host, lab_address=self.range.service
        )
        self.uplink_reason = answer["reason"]
        self.routed = [addressing.Network(route) for route in routes] if answer["link"] else []

    routed: list[addressing.Network] = []

    def _foreign_networks(self, link: str) -> list[addressing.Network]:
        own = {str(network) for network in [self.range.network, *self.used_networks()]}
        if Path("/sys/class/net", link).exists():
            return [network for network in addressing.host_networks() if str(network) not in own
                    and not network.subnet_of(self.range.network)]  # fmt: skip
        return addressing.host_networks()

    def floating_addresses_of(self, server: dict[str, Any]) -> list[str]:
        """The floating addresses of a server's ports."""
        ports = {nic["port_id"] for nic in server["nics"]}
        return [item["floating_ip_address"] for item in self.objects.all("floatingip") if item["port_id"] in ports]

    # Servers

    def server_directory(self, identity: str) -> Path:
        """Where a server's tree, boot data, console and pid are."""
        return self.directory / "servers" / identity

    def process_of(self, identity: str) -> tuple[int, int]:
        """(pid, start time) of a server's first process when it runs, else (0, 0)."""
        run = read_json(self.server_directory(identity) / "run.json")
        if run is None or not processes.alive(run["pid"], run["start"]):
            return 0, 0
        return run["pid"], run["start"]

    def start_server(self, server: dict[str, Any]) -> None:
        """Have a server run; nothing happens when it does."""
        identity = server["id"]
        if not self.isolated or self.process_of(identity)[0]:
            return
        nics = [{key: nic[key] for key in ("link", "name", "mac", "addresses", "gateway")} for nic in server["nics"]]
        for nic, described in zip(server["nics"], nics, strict=True):
            described["bridge"] = self.bridge_of(nic["network_id"])
        launch = {
            "id": identity, "hostname": server["hostname"], "directory": str(self.server_directory(identity)),
            "base": self.base(), "nics": nics, "limits": LIMITS, "volumes": self._volumes_of(identity),
            "group": self.group, "memory": FLAVORS.get(server.get("flavor") or "", DEFAULT_MEMORY) * 1024 * 1024,
            "extra_addresses": [f"{address}/32" for address in self.floating_addresses_of(server)],
        }  # fmt: skip
        self.keeper.ask("launch", launch=launch)
        for item in self.objects.all("floatingip"):  # one may have been made while the server was starting
            self.raise_floating(item)

    def raise_floating(self, item: dict[str, Any]) -> None:
        """Have a floating address lead to its port, and the port's server answer to it."""
        if not item.get("port_id"):
            return
        address, fixed = item["floating_ip_address"], item["fixed_ip_address"]
        self.ip(f"route replace {address}/32 via {fixed}", ignore_errors=True)
        port = self.objects.get(item["port_id"])
        pid, _ = self.process_of(port["device_id"]) if port and port.get("device_id") else (0, 0)
        if pid:
            self.ip(f"address replace {address}/32 dev lo", pid=pid)

    def attach_volume(self, server_id: str, volume_id: str, mountpoint: str) -> None:
        """Show a volume's folder in a running server (one that starts later finds it there)."""
        pid, start = self.process_of(server_id)
        if pid and not self._mounted(pid, mountpoint):
            source = str(self.directory / "volumes" / volume_id)
            self.keeper.ask("mount", pid=pid, start=start, source=source, target=mountpoint)

    def detach_volume(self, server_id: str, mountpoint: str) -> None:
        """Take a volume's folder away from a running server."""
        pid, start = self.process_of(server_id)
        if pid and self.keeper.running():
            try:
                self.keeper.ask("unmount", pid=pid, start=start, target=mountpoint)
            except KeeperError:
                if processes.alive(pid, start):  # else it died just now, and its mounts with it
                    raise

    def _mounted(self, pid: int, mountpoint: str) -> bool:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        return any(line.split()[4] == mountpoint for line in lines)

    def stop_server(self, identity: str) -> None:
        """Kill a server with all its processes; raises KeeperError when the kernel does not let go of it."""
        directory = self.server_directory(identity)
        if not directory.is_dir():
            return
        with locked(directory / LOCK):
            run = read_json(directory / "run.json")
            if run and not processes.kill(run["pid"], run["start"]):
                raise KeeperError(f"process {run['pid']} of server {identity} does not end; try again")
        if os.geteuid() == 0:
            cgroups.release(self.group, identity)

    def base(self) -> dict[str, Any]:
        """The servers' common lower tree, built when the image or the interpreter changed."""
        if self._base is None:
            interpreter = os.path.realpath(sys.executable)
            digest = _digest_of([IMAGE, Path(__file__).with_name("sandbox")], interpreter, self.isolation.level)
            with locked(self.directory / "base" / "lock"):
                self._base, _ = self.keeper.ask(
                    "base", digest=digest, image=str(IMAGE), interpreter=interpreter, prefix=sys.base_prefix
                )
        return self._base

    def _volumes_of(self, identity: str) -> list[tuple[str, str]]:
        attached = [item for item in self.objects.all("attachment") if item["server_id"] == identity]
        return [(str(self.directory / "volumes" / item["volume_id"]), item["mountpoint"]) for item in attached]

    def _clear_after_lost_keeper(self) -> None:
        """The network died with the last keeper: servers that still run are cut off, so they boot again."""
        for server in self.objects.all("server"):
            self.stop_server(server["id"])

    def _raise_servers(self) -> None:
        servers = [server for server in self.objects.all("server") if server["status"] == "ACTIVE"]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            starting = {server["name"]: pool.submit(self.start_server, server) for server in servers}
        for name, done in starting.items():
            # The others and the service go on; the next push of its stack tries again and tells its owner.
            if isinstance(error := done.exception(), (KeeperError, OSError)):
                _log.error("lab server %s does not start: %s", name, error)
            else:
                done.result()
        for item in self.objects.all("floatingip"):
            self.raise_floating(item)

    # Removal

    def cleanup(self) -> None:
        """End every process of the lab and delete its directory, whatever state it is in."""
        for path in sorted((self.directory / "servers").glob("*")):
            self.stop_server(path.name)
        self.keeper.stop()
        if os.geteuid() == 0:
            cgroups.release(self.group)
        for name in (*_FOLDERS, *_FILES):
            remove_tree(self.directory / name)
        with contextlib.suppress(OSError):
            self.directory.rmdir()  # stays when somebody keeps other things in it


def remove_tree(path: Path) -> None:
    """Delete a tree; folders that a server made unreadable are made readable first."""

    def again(function: Callable[..., object], name: str, error: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(os.path.dirname(name), stat.S_IRWXU)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, stat.S_IRWXU)
                shutil.rmtree(name, onerror=again) if function is not os.rmdir else os.rmdir(name)
            else:
                os.unlink(name)

    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, onerror=again)


def _digest_of(folders: list[Path], *more: str) -> str:
    found = hashlib.sha256(json.dumps(more).encode())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(folder)}\0{path.stat().st_mode & 0o111}\0".encode())
                found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:24]
