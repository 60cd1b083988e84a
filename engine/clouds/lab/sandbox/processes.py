"""Processes known by pid and start time, so that a pid used again by another process is never mistaken."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of a process; 0 when there is none (or only its zombie is left)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, start: int) -> bool:
    """Whether this very process runs."""
    return pid > 0 and start > 0 and start_time(pid) == start


def kill(pid: int, start: int, wait: float = 5.0, number: signal.Signals = signal.SIGKILL) -> bool:
    """Signal exactly this process and wait for its end; False when it still lives after `wait` seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return not alive(pid, start)
    try:
        if not alive(pid, start):
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + wait
    while alive(pid, start):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
