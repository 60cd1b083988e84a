"""The watch over running programs: a thread that looks at the clock and at the process's memory for all of them.

Programs count steps, and look up when a chunk of them is used up. A step can be a call that works on half a megabyte of
text, so a chunk can take minutes; the watch ends a chunk early when time or memory are used up.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from dsl.runtime.objects import MuranoObject

if TYPE_CHECKING:
    from dsl.runtime.machine import Machine

_INTERVAL = 0.02  # seconds between two looks
_SURE = 2  # growth of so many times the limit ends a program, whoever else may have caused it
_SHARE = 8  # with less growth, the program must be found holding this fraction of the limit

_running: dict[Machine, int] = {}  # machine -> calls of the host that run inside each other
_wanted = threading.Event()
_mutex = threading.Lock()
_process = 0  # in which the thread runs; it does not survive a fork


def begin(machine: Machine) -> None:
    """A call of the host begins."""
    global _process
    with _mutex:
        _running[machine] = _running.get(machine, 0) + 1
        if _process != os.getpid():
            _process = os.getpid()
            threading.Thread(target=_watch, name="muranopl watch", daemon=True).start()
    _wanted.set()


def end(machine: Machine) -> None:
    """A call of the host ended."""
    with _mutex:
        calls = _running.pop(machine, 1) - 1
        if calls > 0:
            _running[machine] = calls


def _watch() -> None:
    while True:
        _wanted.wait()
        time.sleep(_INTERVAL)
        with _mutex:
            machines = list(_running)
            if not machines:
                _wanted.clear()
        resident = resident_bytes() if machines else 0
        for machine in machines:
            if machine.is_late() or machine.has_grown(resident):
                machine.hurry()


def resident_bytes() -> int:
    """Memory that this process occupies; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except OSError:
        return 0


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def is_to_blame(growth: int, limit: int, objects: Any) -> bool:
    """Whether the process grew by this program's doing: other threads of the host need memory, too."""
    if growth > limit * _SURE:
        return True
    return _holds(limit // _SHARE, [each.values for each in list(objects)], sys._getframe(1))


def _holds(amount: int, roots: list[Any], frame: FrameType | None) -> bool:
    """Whether the roots and the locals of running frames refer to values of at least that many bytes."""
    pending = roots
    while frame is not None:
        pending.extend(value for value in frame.f_locals.values() if type(value) in _MEASURED)
        frame = frame.f_back
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        amount -= sys.getsizeof(value, 0)
        if amount < 0:
            return True
        if isinstance(value, dict):
            pending.extend(each for each in [*value, *value.values()] if isinstance(each, _VALUES))
        elif isinstance(value, MuranoObject):
            pending.append(value.values)
        elif not isinstance(value, (str, bytes)):
            pending.extend(each for each in tuple(value) if isinstance(each, _VALUES))
    return False


_VALUES = (str, bytes, tuple, list, dict, set, frozenset, MuranoObject)
_MEASURED = frozenset({str, bytes, tuple, list, dict, set})
