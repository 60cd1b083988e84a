"""What functions may consume (spec/muranopl.md §16), and the checks they make before they allocate."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from dsl.errors import MemoryQuotaExceeded
from dsl.functions.values import FrozenDict, FrozenSet


@dataclass(frozen=True)
class FunctionLimits:
    """Limits of the function library. Packages meet the first two as exceptions they can catch."""

    iterators: int = 2000  # items of a collection that a function walks, or of a lazy result
    memory: int = 512 * 1024  # bytes of any one argument or result, not counting what it refers to
    bits: int = 14_000  # of one integer: about as many as Python writes in decimal, so that any can be saved
    regex_seconds: float = 0.5  # of processor time, of one regular expression on one text
    extent: int = 1_000_000  # items of a value that is compared, hashed or written, shared parts counted each time


DEFAULT_LIMITS = FunctionLimits()


def check_size(value: Any, limits: FunctionLimits) -> Any:
    """The value, if it is small enough. Raises MemoryQuotaExceeded."""
    if limits.memory > 0 and sys.getsizeof(value, 0) > limits.memory:
        raise quota_exceeded(limits)
    return value


def check_length(characters: int, limits: FunctionLimits) -> None:
    """Refuse a text before it is built. Raises MemoryQuotaExceeded."""
    if 0 < limits.memory < characters + 49:  # 49: what an empty text takes
        raise quota_exceeded(limits)


def check_bits(bits: float, limits: FunctionLimits) -> None:
    """Refuse an integer before it is computed. Raises MemoryQuotaExceeded."""
    if bits > limits.bits:
        raise MemoryQuotaExceeded(f"Expression consumed too much memory: an integer has more than {limits.bits} bits")


def quota_exceeded(limits: FunctionLimits) -> MemoryQuotaExceeded:
    """The error for a value of more than `limits.memory` bytes."""
    return MemoryQuotaExceeded(f"Expression consumed too much memory: a value has more than {limits.memory} bytes")


def check_extent(value: Any, limits: FunctionLimits = DEFAULT_LIMITS) -> Any:
    """The value, if walking all of it takes reasonable time. Raises MemoryQuotaExceeded.

    `$x: [$x, $x]`, sixty times, is a small value of 2**60 items: Python would compare or hash it for ever.
    """
    if type(value) not in _CONTAINERS:
        return value
    room = limits.extent
    pending = [value]
    while pending:
        container = pending.pop()
        room -= len(container)
        if room < 0:
            raise MemoryQuotaExceeded(
                f"Expression consumed too much memory: a value has more than {limits.extent} items"
            )
        for item in container.values() if type(container) is FrozenDict else container:
            if type(item) in _CONTAINERS:
                pending.append(item)
    return value


_CONTAINERS = frozenset({tuple, FrozenDict, FrozenSet})
