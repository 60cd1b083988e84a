"""Links, addresses and routes through rtnetlink: what `ip` does, for servers that have no `ip`.

All calls are idempotent: what is there already is fine. They raise OSError with the kernel's reason.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

NLM_REQUEST_ACK, NLM_CREATE_EXCL, NLM_CREATE_REPLACE = 0x5, 0x600, 0x500
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 17, 20, 21, 24, 25
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID = 3, 10, 18, 19
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 4, 0, 1
NLMSG_ERROR = 2
IFF_UP = 1


def add_bridge(name: str) -> None:
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    request(RTM_NEWLINK, NLM_CREATE_EXCL, link() + attribute(IFLA_IFNAME, name.encode() + b"\0") + info, {errno.EEXIST})


def add_veth(name: str, peer: str, peer_pid: int) -> None:
    """A pair: `name` here, `peer` in the network of process `peer_pid`."""
    peer_link = (
        link() + attribute(IFLA_IFNAME, peer.encode() + b"\0") + attribute(IFLA_NET_NS_PID, struct.pack("I", peer_pid))
    )
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer_link))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth") + data)
    request(RTM_NEWLINK, NLM_CREATE_EXCL, link() + attribute(IFLA_IFNAME, name.encode() + b"\0") + info, set())


def delete_link(name: str) -> None:
    if name in (known for _index, known in socket.if_nameindex()):
        request(RTM_DELLINK, 0, link(socket.if_nametoindex(name)), {errno.ENODEV})


def set_up(name: str, master: str | None = None) -> None:
    payload = link(socket.if_nametoindex(name), IFF_UP)
    if master is not None:
        payload += attribute(IFLA_MASTER, struct.pack("I", socket.if_nametoindex(master)))
    request(RTM_NEWLINK, 0, payload, set())


def add_address(name: str, address: str, prefix: int) -> None:
    request(RTM_NEWADDR, NLM_CREATE_REPLACE, interface_address(name, address, prefix), {errno.EEXIST})


def delete_address(name: str, address: str, prefix: int) -> None:
    request(RTM_DELADDR, 0, interface_address(name, address, prefix), {errno.EADDRNOTAVAIL})


def add_route(network: str | None, gateway: str) -> None:
    """`network` as `10.244.1.0/24`; None is the default route."""
    request(RTM_NEWROUTE, NLM_CREATE_REPLACE, route(network, gateway), {errno.EEXIST})


def delete_route(network: str, gateway: str) -> None:
    request(RTM_DELROUTE, 0, route(network, gateway), {errno.ESRCH})


def interface_address(name: str, address: str, prefix: int) -> bytes:
    packed = socket.inet_aton(address)
    head = struct.pack("BBBBI", socket.AF_INET, prefix, 0, 0, socket.if_nametoindex(name))
    return head + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)


def route(network: str | None, gateway: str) -> bytes:
    destination, _slash, length = (network or "0.0.0.0/0").partition("/")
    kind = (socket.AF_INET, int(length), 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    payload = struct.pack("BBBBBBBBI", *kind) + attribute(RTA_GATEWAY, socket.inet_aton(gateway))
    return payload + (attribute(RTA_DST, socket.inet_aton(destination)) if network else b"")


def link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def request(kind: int, flags: int, payload: bytes, accepted: set[int]) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack("IHHII", len(payload) + 16, kind, NLM_REQUEST_ACK | flags, 1, 0) + payload)
        answer = netlink.recv(65536)
    number = -struct.unpack_from("i", answer, 16)[0]
    if struct.unpack_from("H", answer, 4)[0] == NLMSG_ERROR and number and number not in accepted:
        raise OSError(number, f"the network cannot be set up: {os.strerror(number)}")
