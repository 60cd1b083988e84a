"""The service proxy of a node: listens on cluster addresses, node ports and those external addresses the node has; TCP,
in user space.

The simulated API server also listens to its cluster address through this.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import sys
import threading
from collections.abc import Iterable

from simulated import netlink

BLOCK = 65536
CONNECT_SECONDS = 3

Key = tuple[str, int]


class Proxy:
    """A thread with an event loop; `become` tells it what to listen to."""

    def __init__(self, shares_ports: bool = False) -> None:
        self.shares_ports = shares_ports  # with programs that listen on one loopback address: the kernel prefers those
        self.loop = asyncio.new_event_loop()
        self.targets: dict[Key, list[Key]] = {}
        self.turns = itertools.count()
        self.servers: dict[Key, asyncio.Server] = {}
        self.complained: set[Key] = set()
        self.cluster_addresses: set[str] = set()
        self.has_said: str | None = None

    def start(self) -> None:
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def become(self, services: list[dict], endpoints: list[dict], node_address: str) -> None:
        """Follows the objects; called by the kubelet after every change."""
        wanted = dict(listeners(services, endpoints))
        self.have_addresses(
            {
                service["spec"]["clusterIP"]
                for service in services
                if service["spec"].get("clusterIP") not in (None, "None")
            }
        )
        asyncio.run_coroutine_threadsafe(self.follow(wanted), self.loop).result(10)

    def have_addresses(self, wanted: set[str]) -> None:
        try:
            for address in wanted - self.cluster_addresses:
                netlink.add_address("lo", address, 32)
            for address in self.cluster_addresses - wanted:
                netlink.delete_address("lo", address, 32)
            self.cluster_addresses = wanted
        except OSError as error:
            if self.has_said != str(error):
                print(f"cluster addresses of services do not work on this node: {error}", file=sys.stderr, flush=True)
                self.has_said = str(error)

    async def follow(self, wanted: dict[Key, list[Key]]) -> None:
        self.targets = wanted
        for key in [key for key in self.servers if key not in wanted]:
            self.servers.pop(key).close()
        for key in wanted:
            if key not in self.servers:
                await self.listen(key)

    async def listen(self, key: Key) -> None:
        try:
            serve = functools.partial(self.serve, key)
            self.servers[key] = await asyncio.start_server(serve, *key, reuse_port=self.shares_ports or None)
        except OSError as error:
            if (
                error.errno != errno.EADDRNOTAVAIL and key not in self.complained
            ):  # an address of another node is no error
                print(f"service address {key[0]}:{key[1]} cannot be used: {error}", file=sys.stderr, flush=True)
                self.complained.add(key)

    async def serve(self, key: Key, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: to the next ready pod in turn; a pod that does not answer is passed over."""
        targets = self.targets.get(key, [])
        first = next(self.turns)
        for number in range(len(targets)):
            try:
                there = await asyncio.wait_for(
                    asyncio.open_connection(*targets[(first + number) % len(targets)]), CONNECT_SECONDS
                )
            except (TimeoutError, OSError):
                continue
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
            break
        writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        return
    writer.close()


def listeners(services: list[dict], endpoints: list[dict]) -> Iterable[tuple[Key, list[Key]]]:
    """Where to listen, and to which pods it leads."""
    subsets = {(item["metadata"]["namespace"], item["metadata"]["name"]): item.get("subsets", []) for item in endpoints}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        if "selector" not in spec:
            continue
        for port in spec.get("ports", []):
            if port.get("protocol", "TCP") != "TCP":
                continue
            targets = list(targets_of(subsets.get((metadata["namespace"], metadata["name"]), []), port))
            if spec.get("clusterIP") not in (None, "None"):
                yield (spec["clusterIP"], port["port"]), targets
            if port.get("nodePort"):
                yield ("0.0.0.0", port["nodePort"]), targets  # noqa: S104 - what a node port is
            for address in spec.get("externalIPs", []):
                yield (address, port["port"]), targets


def targets_of(subsets: list[dict], port: dict) -> Iterable[Key]:
    for subset in subsets:
        for target in subset.get("ports", []):
            if target.get("name") == port.get("name"):
                for address in subset.get("addresses", []):
                    yield address["ip"], target["port"]
