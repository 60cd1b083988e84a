"""The pod network of one node: a bridge, a network per pod on it, routes to the other nodes' pods.

Where networks cannot be made (no CAP_NET_ADMIN), pods share the node's network and this module says so.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import sys

from simulated import netlink, system

BRIDGE = "cni0"


class NodeNetwork:
    """`cidr` is the node's part of the pod network."""

    def __init__(self, cidr: str) -> None:
        self.cidr = ipaddress.ip_network(cidr)
        self.gateway = str(self.cidr.network_address + 1)
        self.taken: set[str] = set()
        self.routes: dict[str, str] = {}
        self.isolated = self.prepare()

    def prepare(self) -> bool:
        try:
            netlink.set_up("lo")
            netlink.add_bridge(BRIDGE)
            netlink.add_address(BRIDGE, self.gateway, self.cidr.prefixlen)
            netlink.set_up(BRIDGE)
        except OSError as error:
            print(f"pods share the node's network, ports of two pods may collide: {error}", file=sys.stderr, flush=True)
            return False
        try:
            with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
                file.write("1")
        except OSError as error:
            print(
                f"pods of other nodes cannot be reached: forwarding cannot be switched on: {error}",
                file=sys.stderr,
                flush=True,
            )
        return True

    def reach(self, nodes: dict[str, str]) -> None:
        """Routes to the pods of the other nodes: `{pod network: node's address}`."""
        if not self.isolated:
            return
        for cidr, gateway in self.routes.copy().items():
            if nodes.get(cidr) != gateway:
                netlink.delete_route(cidr, gateway)
                del self.routes[cidr]
        for cidr, gateway in nodes.items():
            if cidr in self.routes:
                continue
            try:
                netlink.add_route(cidr, gateway)
                self.routes[cidr] = gateway
            except OSError as error:
                print(f"pods in {cidr} cannot be reached through {gateway}: {error}", file=sys.stderr, flush=True)

    def add_pod(self, uid: str) -> PodNetwork:
        if not self.isolated:
            return PodNetwork(self, "127.0.0.1", None, None)
        address = next(str(ip) for ip in self.cidr.hosts() if str(ip) != self.gateway and str(ip) not in self.taken)
        self.taken.add(address)
        link = "veth" + uid.replace("-", "")[:10]
        try:
            return PodNetwork(self, address, self.pause(link, address), link)
        except OSError:
            self.taken.discard(address)
            raise

    def pause(self, link: str, address: str) -> int:
        """A process that does nothing but hold the pod's network."""
        ready, is_ready = os.pipe()
        go, may_go = os.pipe()
        pid = os.fork()
        if pid == 0:
            hold(address, self.cidr.prefixlen, self.gateway, is_ready, go)
        os.close(is_ready)
        os.close(go)
        try:
            if os.read(ready, 1) != b"1":
                raise OSError("the pod's network namespace cannot be made; see the kubelet's log")
            netlink.delete_link(link)
            netlink.add_veth(link, "eth0", pid)
            netlink.set_up(link, BRIDGE)
            os.write(may_go, b"1")
            if os.read(ready, 1) != b"2":
                raise OSError("the pod's network cannot be configured; see the kubelet's log")
        except OSError:
            system.end(pid, 1)
            os.waitpid(pid, 0)
            raise
        finally:
            os.close(ready)
            os.close(may_go)
        return pid


def hold(address: str, prefix: int, gateway: str, is_ready: int, go: int) -> None:
    """In the child: makes the network, waits for its link, configures it, and stays."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        system.die_with_parent()
        system.set_name("pause")
        system.unshare_network()
        os.write(is_ready, b"1")
        if os.read(go, 1) == b"1":
            netlink.set_up("lo")
            netlink.add_address("eth0", address, prefix)
            netlink.set_up("eth0")
            netlink.add_route(None, gateway)
            os.write(is_ready, b"2")
            os.closerange(3, 4096)
            while True:
                signal.pause()
    except OSError as error:
        print(f"pod network {address}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


class PodNetwork:
    """`pid` holds the network (None: the node's own is used); `listen` restricts where programs listen."""

    def __init__(self, node: NodeNetwork, address: str, pid: int | None, link: str | None) -> None:
        self.node, self.address, self.pid, self.link = node, address, pid, link
        self.listen = None

    def remove(self) -> None:
        if self.pid is not None and self.link is not None:
            netlink.delete_link(self.link)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.node.taken.discard(self.address)
