"""Passwords: bcrypt hashes of them, and patience with those who guess."""

from __future__ import annotations

import base64
import collections
import hashlib
import threading
import time

import bcrypt

ROUNDS = 10  # of bcrypt: 2**10, about 50 ms per login
LONGEST = 1024  # characters of a password; more is no password
REMEMBERED = 10_000  # callers whose failures are kept in mind


def hashed(password: str) -> str:
    """The hash to store."""
    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(ROUNDS)).decode()


def matches(password: str, stored: str | None) -> bool:
    """Whether the password has this hash. Without a hash it takes as long and is False."""
    found = bcrypt.checkpw(_digest(password), (stored or _UNKNOWN).encode())
    return found and stored is not None


def _digest(password: str) -> bytes:
    """bcrypt reads 72 bytes at most, so it is given a digest of the whole."""
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


_UNKNOWN = hashed("")


class Failures:
    """How often whom failed to log in lately. In memory of one process: enough to make guessing slow."""

    def __init__(self, most: int, window: float) -> None:
        self._most = most
        self._window = window
        self._times: collections.OrderedDict[tuple[str, str], list[float]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str, address: str) -> float:
        """Seconds to wait before another try, 0 for none."""
        with self._lock:
            times = self._recent((name, address))
            return max(0.0, times[0] + self._window - time.monotonic()) if len(times) >= self._most else 0.0

    def note(self, name: str, address: str) -> None:
        """One more failure."""
        with self._lock:
            key = (name, address)
            self._times[key] = [*self._recent(key), time.monotonic()][-self._most :]
            self._times.move_to_end(key)
            while len(self._times) > REMEMBERED:
                self._times.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        """A success: the failures before it do not count."""
        with self._lock:
            self._times.pop((name, address), None)

    def _recent(self, key: tuple[str, str]) -> list[float]:
        start = time.monotonic() - self._window
        return [moment for moment in self._times.get(key, []) if moment > start]
