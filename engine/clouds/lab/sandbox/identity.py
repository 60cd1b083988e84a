"""Whom a server's users are outside of it: a block of ids that belong to nobody else, where root can give some."""

from __future__ import annotations

import os
from pathlib import Path

# systemd's range for containers ends here; ids below the start may be given to real users in /etc/subuid.
_LOWEST, _HIGHEST = 65536 * 15260, 1879048191
_BLOCK = 65536
_FEWEST = 2048


def owns_machine() -> bool:
    """Whether root here is the machine's root, not that of a user namespace."""
    return os.geteuid() == 0 and _ranges()[0][2] == 4294967295


def has_users_to_give() -> bool:
    """Whether this process is root, of the machine or of a container, and has enough user ids for servers."""
    return os.geteuid() == 0 and max(count for _, _, count in _ranges()) >= _FEWEST


def choose(seed: str) -> tuple[int, int]:
    """(first, count) of host user ids that stand for a lab's users, none of them a real user's.

    A different block per seed (the lab's directory); in a container with few ids, the upper half of what it has.
    """
    ranges = _ranges()
    blocks = (_HIGHEST - _LOWEST) // _BLOCK
    place = sum(byte * 31**power for power, byte in enumerate(seed.encode()[-64:]))
    first = _LOWEST + _BLOCK * (place % blocks)
    if any(start <= first and first + _BLOCK <= start + count for start, _, count in ranges):
        return first, _BLOCK
    start, _, count = max(ranges, key=lambda row: row[2])
    return start + count // 2, count - count // 2


def _ranges() -> list[tuple[int, int, int]]:
    rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return [(int(start), int(outside), int(count)) for start, outside, count in rows]
