"""Which addresses a lab uses: one /16 that nothing else on this machine knows, split into networks."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.clouds.lab.state import locked, read_json, write_json

Network = ipaddress.IPv4Network
_CLAIMS = Path("/run/chandlery-lab.json")
_CLAIM_SECONDS = 300  # much longer than it takes from the choice of a range to the route that everybody sees
# Shared address space (RFC 6598) first: no company network lives there; then the far end of 10/8.
_POOLS = (ipaddress.IPv4Network("100.64.0.0/10"), ipaddress.IPv4Network("10.192.0.0/10"))


class AddressError(Exception):
    """There is no free address, or a wanted one cannot be had; the message says which and why."""


@dataclass(frozen=True)
class Range:
    """A lab's addresses. The first /24 is the lab's own, the last one has the floating addresses."""

    network: Network

    @property
    def service(self) -> str:
        """Where servers reach the service."""
        return str(self.network[1])

    @property
    def host(self) -> str:
        """The host's own address on the lab's network (root only)."""
        return str(self.network[2])

    @property
    def own(self) -> Network:
        """The /24 of the two addresses above."""
        return ipaddress.IPv4Network((self.network.network_address, 24))

    @property
    def floating(self) -> Network:
        """The external network."""
        return ipaddress.IPv4Network((int(self.network.broadcast_address) - 255, 24))

    def subnets(self) -> Iterable[Network]:
        """The /24 networks that servers can have."""
        return (net for net in self.network.subnets(new_prefix=24) if net not in (self.own, self.floating))


def range_of(directory: Path) -> Range:
    """The lab's range: chosen once, then kept in `lab.json`. Raises AddressError."""
    path = directory / "lab.json"
    with locked(directory / "lab.lock"):
        known = read_json(path)
        if known is not None:
            return Range(Network(known["range"]))
        with _claims() as claims:
            chosen = _choose([*host_networks(), *map(Network, claims)], str(directory))
            claims[str(chosen)] = time.time()
            write_json(path, {"range": str(chosen)})
    return Range(chosen)


@contextlib.contextmanager
def _claims() -> Iterator[dict[str, float]]:
    """{range: when} lately chosen by root's labs: two that begin at the same moment see no route of each other yet.

    Without root a lab's network cannot meet another one's, so nothing is claimed.
    """
    folder = _CLAIMS.parent
    if os.geteuid() != 0 or not os.access(folder, os.W_OK):
        yield {}
        return
    with locked(_CLAIMS.with_suffix(".lock")):
        known: dict[str, float] = read_json(_CLAIMS) or {}
        claims = {claim: when for claim, when in known.items() if 0 <= time.time() - when < _CLAIM_SECONDS}
        yield claims
        write_json(_CLAIMS, claims)


def host_networks() -> list[Network]:
    """Every network that this machine has an address in or a route to, but for the default route."""
    command = ["ip", "-json", "-4", "route", "show", "table", "all"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except FileNotFoundError:
        return []  # then nothing can be isolated, and no address is ever used
    found: list[Network] = []
    for route in json.loads(done.stdout or "[]") if done.returncode == 0 else []:
        destination = route.get("dst", "default")
        if destination not in ("default", "0.0.0.0/0"):
            found.append(Network(destination, strict=False))
    return found


def free_subnet(taken: Iterable[Network], within: Range, seed: str) -> Network:
    """A free /24, the same for the same seed as far as possible. Raises AddressError."""
    used = list(taken)
    candidates = list(within.subnets())
    start = int(hashlib.sha256(seed.encode()).hexdigest(), 16) % len(candidates)
    for place in range(len(candidates)):
        candidate = candidates[(start + place) % len(candidates)]
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    raise AddressError(f"all {len(candidates)} networks of {within.network} are in use; delete an environment")


def free_address(network: Network, taken: set[str], wanted: str | None = None, first: int = 2) -> str:
    """A free address of a network (.1 is the gateway), or the wanted one. Raises AddressError."""
    if wanted is not None:
        try:
            inside = ipaddress.IPv4Address(wanted) in network
        except ValueError as error:
            raise AddressError(f"{wanted!r} is not an IPv4 address") from error
        if not inside or wanted in taken:
            raise AddressError(f"{wanted} is " + ("in use" if inside else f"not in {network}"))
        return wanted
    for number in range(first, min(network.num_addresses - 1, 65536)):
        candidate = str(network[number])
        if candidate not in taken:
            return candidate
    raise AddressError(f"all addresses of {network} are in use")


def _choose(taken: list[Network], seed: str) -> Network:
    for pool in _POOLS:
        candidates = list(pool.subnets(new_prefix=16))
        start = int(hashlib.sha256(seed.encode()).hexdigest(), 16) % len(candidates)
        for place in range(len(candidates)):
            candidate = candidates[(start + place) % len(candidates)]
            if not any(candidate.overlaps(network) for network in taken):
                return candidate
    raise AddressError("this machine has routes to all of 100.64.0.0/10 and 10.192.0.0/10: no room for a lab network")
