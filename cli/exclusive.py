"""One process per folder: a file that is locked while its process lives, and names it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from cli import errors


@contextlib.contextmanager
def holding(path: pathlib.Path, what: str, *hints: str) -> Iterator[None]:
    """Hold `path` for this process; the kernel lets go of it however the process ends.

    Raises CommandError when another process holds it: "Another `what` (process N).", with the hints.
    """
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise errors.CommandError(f"Another {what} (process {holder}).", *hints) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
