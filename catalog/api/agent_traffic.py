"""How much one agent may ask of this process: calls and bytes a minute, and calls at the same time.

Only agents that have proven who they are come here, so nobody can use up another one's share, and the table is no
longer than the agents of living servers. An agent that sends slowly holds no more threads than it may have calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

FORGET_SECONDS = 120.0  # after which a silent agent's share is full again, and need not be remembered
LOOK_CALLS = 1000  # calls between two looks for silent agents


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What an agent may do; an honest one stays far below."""

    calls: float = 1200.0  # a minute; half of them may come at once
    bytes: float = 64 * 1024 * 1024.0  # of bodies, likewise: sixteen results of the largest size
    at_once: int = 4  # calls: a poll and what a plan sends, and those that a restart left hanging


class Exceeded(Exception):
    """The agent has used up its share. `seconds` until it may call again; the message says what it was."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Traffic:
    """What the agents have used. Threads share it."""

    def __init__(self, share: Share, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._mutex = threading.Lock()
        self._used: dict[str, _Used] = {}
        self._calls = 0

    @contextlib.contextmanager
    def call(self, agent_id: str, size: int) -> Iterator[None]:
        """A call with a body of `size` bytes, as long as the block lasts. Raises `Exceeded`."""
        with self._mutex:
            self._forget_silent_ones()
            used = self._used.setdefault(agent_id, _Used(at=self._clock()))
            used.fade(self._clock(), self._share)
            if used.at_once >= self._share.at_once:
                raise Exceeded(f"{used.at_once} calls of this agent are being answered already", 1.0)
            self._check("calls", used.calls + 1, self._share.calls)
            self._check("bytes", used.bytes + size, self._share.bytes)
            used.calls += 1
            used.bytes += size
            used.at_once += 1
        try:
            yield
        finally:
            with self._mutex:
                used.at_once -= 1

    def _check(self, what: str, used: float, limit: float) -> None:
        excess = used - limit / 2
        if excess > 0:
            raise Exceeded(f"more than {limit:g} {what} a minute", max(1.0, excess / (limit / 60)))

    def _forget_silent_ones(self) -> None:
        self._calls += 1
        if self._calls % LOOK_CALLS == 0:
            silent = self._clock() - FORGET_SECONDS
            for agent_id in [name for name, used in self._used.items() if used.at < silent and not used.at_once]:
                del self._used[agent_id]


@dataclasses.dataclass
class _Used:
    at: float
    calls: float = 0.0
    bytes: float = 0.0
    at_once: int = 0

    def fade(self, now: float, share: Share) -> None:
        minutes = (now - self.at) / 60
        self.calls = max(0.0, self.calls - minutes * share.calls)
        self.bytes = max(0.0, self.bytes - minutes * share.bytes)
        self.at = now
