"""How deep and how large a value may be, everything inside it counted.

Values share their parts, so a small program can describe one that is astronomically large when it is walked, or so deep
that Python's own hashing would overrun the host's stack. Both are refused where values come into being.
"""

from __future__ import annotations

from typing import Any

from dsl.errors import MemoryQuotaExceeded
from dsl.functions.values import FrozenDict, FrozenSet

MAX_DEPTH = 100  # lists and dicts inside each other; as many as a package's YAML may have
MAX_NODES = 1_000_000  # lists, dicts and their entries, shared ones counted each time
ORDINARY = 50_000  # parts up to which a value is simply walked
MAX_VOLUME = 32 * 1024 * 1024  # bytes of what leaves the program at once, but for its model

_CONTAINERS = frozenset({tuple, FrozenDict, FrozenSet})


def checked(value: Any) -> Any:
    """The value, if it is within the limits. Raises MemoryQuotaExceeded."""
    kind = type(value)
    if kind in _CONTAINERS and not _is_ordinary(value):
        _measure(value)
    return value


def _is_ordinary(root: Any) -> bool:
    """Whether a walk of few steps finds the value within the limits: most values, and much sooner than `_measure`."""
    level, weight, depth = [root], 0, 0
    while level:
        depth += 1
        below: list[Any] = []
        for value in level:
            weight += 1 + len(value)
            if weight > ORDINARY:
                return False
            if type(value) is FrozenDict:
                below += [each for each in value.values() if type(each) in _CONTAINERS]
            below += [each for each in value if type(each) in _CONTAINERS]
        level = below
    return depth <= MAX_DEPTH


def _inner(value: Any, kind: type) -> list[Any]:
    """The containers directly inside a container."""
    if kind is FrozenDict:
        found = [each for each in value.values() if type(each) in _CONTAINERS]
        return found + [each for each in value if type(each) in _CONTAINERS]
    return [each for each in value if type(each) in _CONTAINERS]


def _measure(root: Any) -> None:
    """Depth and weight of everything below, each shared part looked at once."""
    known: dict[int, tuple[int, int]] = {}
    pending: list[tuple[Any, list[Any] | None]] = [(root, None)]
    while pending:
        value, inner = pending.pop()
        if id(value) in known:
            continue
        if inner is None:
            inner = _inner(value, type(value))
            if len(pending) > MAX_NODES:
                raise _too_large()
            pending.append((value, inner))
            pending.extend((each, None) for each in inner if id(each) not in known)
            continue
        depth = 1 + max((known[id(each)][0] for each in inner), default=0)
        weight = 1 + len(value) + sum(known[id(each)][1] for each in inner)
        check_extent(depth, weight)
        known[id(value)] = (depth, weight)


def check_extent(depth: int, weight: int) -> None:
    """Refuse a value of which this is the depth and the number of parts. Raises MemoryQuotaExceeded."""
    if depth > MAX_DEPTH:
        raise MemoryQuotaExceeded(f"a value has lists or dictionaries inside each other more than {MAX_DEPTH} deep")
    if weight > MAX_NODES:
        raise _too_large()


def check_volume(value: Any) -> None:
    """Refuse data of which the host would make too much, texts counted wherever they stand, and too large integers.

    Ten thousand references to one long text are small, and gigabytes when they are written. Raises MemoryQuotaExceeded.
    """
    room = MAX_VOLUME
    pending = [value]
    while pending:
        each = pending.pop()
        kind = type(each)
        if kind is str:
            room -= len(each)
        elif kind is int:
            check_integer(each)
        elif isinstance(each, (dict, list, tuple, frozenset)):
            room -= 8 * len(each)
            pending.extend(each)
            if isinstance(each, dict):
                pending.extend(each.values())
        if room < 0:
            raise MemoryQuotaExceeded(f"a value amounts to more than {MAX_VOLUME} bytes")


def check_integer(value: int) -> None:
    """Refuse an integer that could not be written. Raises MemoryQuotaExceeded."""
    if not -_LARGEST < value < _LARGEST:
        raise MemoryQuotaExceeded("an integer has more digits than can be stored")


_LARGEST = 10**4300  # what Python writes in decimal


def _too_large() -> MemoryQuotaExceeded:
    return MemoryQuotaExceeded(f"a value has more than {MAX_NODES} parts")
