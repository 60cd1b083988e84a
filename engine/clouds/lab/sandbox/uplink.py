"""The one-way link between the host's network and a lab's: the host may connect to servers, servers never to the host.

A stateless packet filter on the lab's end does it: towards the host pass only TCP segments that answer (ACK or RST
set), ICMP answers, and ARP. Where the kernel cannot filter so, there is no link, and the service forwards instead.
"""

from __future__ import annotations

import os

from engine.clouds.lab.sandbox import syscalls
from engine.clouds.lab.sandbox.iproute import NetworkError, ip_batch, run_in_namespace

INSIDE = "uplink"

# Classic BPF: (instruction, operand, label if true, label if false); a lone string is a label. Offsets count from the
# Ethernet header: 12 protocol, 14 IP header, 20 fragment offset, 23 IP protocol; TCP flags at 13, ICMP type at 0.
_LOAD_HALF, _LOAD_BYTE, _LOAD_BYTE_X, _LOAD_HEADER_LENGTH, _IF_EQUAL, _IF_SET, _RETURN = 40, 48, 80, 177, 21, 69, 6
_PASS, _DROP = 0, 2
_FILTER: tuple[str | tuple[int, int, str, str], ...] = (
    (_LOAD_HALF, 12, "", ""),
    (_IF_EQUAL, 0x0806, "pass", ""),
    (_IF_EQUAL, 0x0800, "", "drop"),
    (_LOAD_HALF, 20, "", ""),
    (_IF_SET, 0x1FFF, "drop", ""),
    (_LOAD_HEADER_LENGTH, 14, "", ""),
    (_LOAD_BYTE, 23, "", ""),
    (_IF_EQUAL, 6, "tcp", ""),
    (_IF_EQUAL, 1, "icmp", "drop"),
    "tcp",
    (_LOAD_BYTE_X, 14 + 13, "", ""),
    (_IF_SET, 0x14, "pass", "drop"),
    "icmp",
    (_LOAD_BYTE_X, 14, "", ""),
    (_IF_EQUAL, 0, "pass", ""),
    (_IF_EQUAL, 3, "pass", "drop"),
    "drop",
    (_RETURN, _DROP, "", ""),
    "pass",
    (_RETURN, _PASS, "", ""),
)


def connect(host_network: int, link: str, host_address: str, lab_address: str, routes: list[str]) -> dict:
    """Make the link (idempotent), route `routes` to the lab's end of it; gives {"link": name | None, "reason"}."""
    with _Host(host_network) as host:
        try:
            _link(host.pid, link)
            _filter()
            up = [f"address replace {host_address}/32 dev {link}", f"link set {link} up"]
            ways = [f"route replace {route} via {lab_address} dev {link} onlink src {host_address}" for route in routes]
            ip_batch(up + ways, namespace_of=host.pid)
            ip_batch([f"route replace {host_address}/32 dev {INSIDE}"])
        except (NetworkError, FileNotFoundError) as error:
            ip_batch([f"link delete {link}"], namespace_of=host.pid, ignore_errors=True)
            return {"link": None, "reason": f"this machine cannot link the lab's network and filter it ({error})"}
    return {"link": link, "reason": ""}


def _link(host: int, link: str) -> None:
    if f" {INSIDE}@" not in run_in_namespace(["ip", "-oneline", "link", "show"]):
        # One of this name on the host is the end of a lab that is just being taken down by the kernel.
        ip_batch([f"link delete {link}"], namespace_of=host, ignore_errors=True)
        ip_batch([f"link add name {link} type veth peer name {INSIDE} netns {os.getpid()}"], namespace_of=host)


def _filter() -> None:
    """Before the link is up: there is no moment without the filter."""
    run_in_namespace(["tc", "qdisc", "replace", "dev", INSIDE, "clsact"])
    run_in_namespace(["tc", "filter", "replace", "dev", INSIDE, "egress", "protocol", "all", "prio", "1", "handle", "1",
                      "bpf", "direct-action", "bytecode", bytecode()])  # fmt: skip
    ip_batch([f"link set {INSIDE} up"])


def bytecode() -> str:
    """The filter as `tc` takes it: count, then "code jump-if-true jump-if-false operand"."""
    labels: dict[str, int] = {}
    instructions: list[tuple[int, int, str, str]] = []
    for line in _FILTER:
        if isinstance(line, str):
            labels[line] = len(instructions)
        else:
            instructions.append(line)
    rows = []
    for place, (code, operand, yes, no) in enumerate(instructions):
        jumps = [labels[label] - place - 1 if label else 0 for label in (yes, no)]
        rows.append(f"{code} {jumps[0]} {jumps[1]} {operand}")
    return f"{len(rows)}," + ",".join(rows)


class _Host:
    """A child process in the host's network namespace, for `ip` to name it by."""

    def __init__(self, network: int) -> None:
        self.network = network
        self.pid = 0
        self._hold = -1

    def __enter__(self) -> _Host:
        ready, told = os.pipe()
        wait, self._hold = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._hold)
            syscalls.setns(self.network, syscalls.CLONE_NEWNET)
            os.write(told, b"1")
            os.read(wait, 1)
            os._exit(0)
        os.close(told)
        os.close(wait)
        os.read(ready, 1)
        os.close(ready)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._hold)
        os.waitpid(self.pid, 0)
