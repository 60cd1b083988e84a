"""The state that every piece of generated code of one program shares: the budget of steps and the depth of calls."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

from dsl.errors import LimitExceeded
from dsl.runtime import watch
from dsl.runtime.limits import Limits
from dsl.runtime.objects import MuranoObject

_CHUNK = 20_000  # steps between two looks at the clock
_SECOND_CHANCES = 20  # destructors of one program that may run into a limit, and ...
_SHARE = 10  # ... the fraction of time and steps that the others then get
_PYTHON_FRAMES = 10_000  # a tenth of a MuranoPL call each; half of what an 8 MiB stack was seen to carry


def _nothing() -> None:
    return None


class LimitReached(BaseException):
    """A limit on its way out through package code, which can not catch it; the host sees LimitExceeded."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class Refused(BaseException):
    """Package code or the outside was needed where neither may be used: while a model is only checked."""


class StrayJump(BaseException):
    """A Break or Continue outside of any loop, on its way to the end of its method."""


class Machine:
    """Generated code counts `steps` down and `depth` up and down itself; everything rarer is a method here.

    `depth` and `constructing` belong to the running logical thread; threads swap them when they change places.
    """

    __slots__ = (
        "_calls",
        "_counting",
        "_end",
        "_grown",
        "_left",
        "_resident",
        "_second_chances",
        "_used",
        "alive",
        "checkpoint",
        "constructing",
        "depth",
        "forked",
        "held",
        "limits",
        "max_depth",
        "objects",
        "objects_before",
        "steps",
    )

    def __init__(self, limits: Limits) -> None:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _PYTHON_FRAMES))
        self.limits = limits
        self.max_depth = limits.recursion
        self.steps = min(_CHUNK, limits.steps)
        self._left = limits.steps - self.steps
        self._calls = 0  # of the host, inside each other
        self._used = 0.0  # seconds of processor time of the running call of the host, effects not counted ...
        self._counting: tuple[int, float] | None = None  # ... and the clock that counts on, with what it showed
        self.depth = 0
        self.constructing = 0
        self.forked = False  # whether any logical thread besides the main one exists
        self.alive = True
        self.checkpoint: Callable[[], None] = _nothing  # called now and then; may raise to end the program
        self._end: tuple[str, str] | None = None  # the limit that ended the program, and how
        self.held: Callable[[], Iterable[MuranoObject]] = tuple  # the program's objects, to measure what it holds
        self._resident = 0  # bytes of the process when the running call of the host began
        self._grown = 0  # bytes that the process had when the program was last found innocent of its growth
        self.objects = 0
        self.objects_before = 0  # the running call of the host
        self._second_chances = _SECOND_CHANCES

    def start_clock(self) -> None:
        """Begin the time that one call of the host may take."""
        self.objects_before = self.objects
        self._calls += 1
        if self._calls == 1:  # one inside another shares its time
            self._used = 0.0
            self.resume_clock()
        self._resident = self._grown = watch.resident_bytes() if self.limits.total else 0
        watch.begin(self)

    def stop_clock(self) -> None:
        """The call of the host ended."""
        self._calls -= 1
        if self._calls == 0:
            self.pause_clock()
        watch.end(self)

    def pause_clock(self) -> None:
        """The program's code stops running in the calling thread: for an effect, or for another logical thread."""
        counting, self._counting = self._counting, None
        if counting is not None:
            self._used += time.thread_time() - counting[1]

    def resume_clock(self) -> None:
        """The program's code goes on, in the calling thread. What it waits for processors is not counted."""
        if self.limits.seconds:
            self._counting = (_own_clock(), time.thread_time())

    # Looked at by the watch, from a thread of its own

    def is_late(self) -> bool:
        """Whether time is used up."""
        counting = self._counting
        if counting is None:
            return False
        clock, began = counting
        try:
            now = time.clock_gettime(clock) if clock else time.thread_time()
        except OSError:  # the thread has ended since
            return False
        return self._used + now - began > self.limits.seconds

    def has_grown(self, resident: int) -> bool:
        """Whether the process needs so much more memory that it should be looked into."""
        return 0 < self.limits.total < resident - self._resident and resident > self._grown

    def hurry(self) -> None:
        """End the running chunk of steps; what is left of it is not lost."""
        left = self.steps
        if left >= 0:
            self._left += left
            self.steps = -1

    def tick(self) -> bool:
        """Count one evaluation of a lambda; always true."""
        self.steps -= 1
        if self.steps < 0:
            self.exhausted()
        return True

    def recursive(self, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[..., Any]:
        """The function of a `def`, which may call itself; each call counts as one of a method."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.depth += 1
            try:
                if self.depth > self.max_depth:
                    self.too_deep()
                return function(*arguments, **keywords)
            finally:
                self.depth -= 1

        function = make(call)
        return call

    def charge(self, steps: int) -> None:
        """Count several steps at once."""
        self.steps -= steps
        if self.steps < 0:
            self.exhausted()

    def exhausted(self) -> None:
        """Called when `steps` is used up: take the next chunk of the budget, or end the program."""
        self.checkpoint()
        if self._end is not None:
            raise LimitReached(*self._end)
        if self.is_late():
            raise self.reached("seconds", f"the program computed for more than {self.limits.seconds} seconds")
        self._look_at_memory()
        if self._left <= 0:
            raise self.reached("steps", f"the program took more than {self.limits.steps} steps")
        self.steps = min(_CHUNK, self._left)
        self._left -= self.steps

    def _look_at_memory(self) -> None:
        resident = watch.resident_bytes() if self.limits.total else 0
        if not self.has_grown(resident):
            return
        if watch.is_to_blame(resident - self._resident, self.limits.total, self.held()):
            raise self.reached("total", f"the program holds values of more than {self.limits.total} bytes")
        self._grown = resident + self.limits.total // 4  # not looked into again before it grows further

    def refuse_calls(self) -> None:
        """From now on every call of a MuranoPL method raises Refused."""
        self.max_depth = -1

    def too_deep(self) -> NoReturn:
        if self.max_depth < 0:
            raise Refused
        raise self.reached("recursion", f"more than {self.max_depth} methods call each other")

    def count_object(self) -> None:
        self.objects += 1
        if self.objects > self.limits.objects:
            self.too_many_objects()

    def too_many_objects(self) -> NoReturn:
        raise self.reached("objects", f"the program made more than {self.limits.objects} objects")

    def second_chance(self) -> bool:
        """After a limit has ended a destructor: time and steps for the others, unless what they would need is gone."""
        if self._second_chances == 0 or self._end is None or self._end[0] not in ("steps", "seconds", "recursion"):
            return False
        self._second_chances -= 1
        self._end, self.alive = None, True
        budget = max(1, self.limits.steps // _SHARE)
        self.steps = min(_CHUNK, budget)
        self._left = budget - self.steps
        if self._counting is not None:
            self.pause_clock()
            self._used = min(self._used, self.limits.seconds * (1 - 1 / _SHARE))
            self.resume_clock()
        return True

    def reached(self, limit: str, message: str) -> LimitReached:
        """A limit ends the program: what is left of it runs no package code any more, not even a Finally."""
        self.alive = False
        self.steps, self._left = -1, 0  # other branches end at their next step
        if self._end is None:
            self._end = (limit, message)
        return LimitReached(*self._end)


def _own_clock() -> int:
    """The calling thread's clock of processor time, which other threads can read; 0 where there is no such thing."""
    make = getattr(time, "pthread_getcpuclockid", None)
    return 0 if make is None else make(threading.get_ident())


def exceeded(signal: LimitReached) -> LimitExceeded:
    """The error for the host."""
    return LimitExceeded(signal.limit, str(signal))


def innermost(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of generated code, from `frame` outwards."""
    while frame is not None and "_murano_class" not in frame.f_globals:
        frame = frame.f_back
    return frame
