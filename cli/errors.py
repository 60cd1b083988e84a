"""What can go wrong for a person at the command line, and the exit code that tells a script about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Exit codes are part of the interface: automation branches on them.
OK = 0
FAILED = 1  # the service carried the request out, and the outcome is a failure
USAGE = 2  # the command line, a file or the environment is wrong; nothing was done
REFUSED = 3  # the service answered with an error (4xx, 5xx)
UNREACHABLE = 4  # the service did not answer


class CommandError(Exception):
    """One clear sentence for the user; `hints` are what to do about it, one line each.

    `details` is what the service's answer has beside its words.
    """

    def __init__(self, message: str, *hints: str, code: int = USAGE, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}
        self.message = message
        self.hints = hints
        self.code = code
