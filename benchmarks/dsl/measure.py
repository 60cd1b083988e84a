"""How the benchmarks measure: two functions in turn, medians of the processor's time, so that a busy machine is fair.

What was there before does not count for the garbage collector of either side.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table; without a goal it is there for information."""

    title: str
    measured: str  # with its unit
    ratio: float
    goal: float | None
    beside: str  # what the ratio is to
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        return self.goal is None or self.ratio <= self.goal


def compare(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float]:
    """(median of the ratios, median seconds of ours) over some rounds, after one that does not count."""
    ours(), theirs()
    gc.collect()
    gc.freeze()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    gc.unfreeze()
    return statistics.median(mine / other for mine, other in pairs), statistics.median(mine for mine, _ in pairs)


def seconds(function: Callable[[], object]) -> float:
    """Processor time of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started
