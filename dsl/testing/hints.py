"""What an author is told beside the error that a test ended with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import dsl
from dsl.errors import LimitExceeded, Problem, Thrown
from dsl.packages import Package
from dsl.testing.checking import check


class Hints:
    """Hints for the failures of one package's tests; the package is checked at the first failure only."""

    def __init__(self, package: Package, packages: Iterable[Package], system: Callable[[], dsl.System]) -> None:
        self._package = package
        self._others = [other for other in packages if other is not package]
        self._system = system
        self._problems: list[Problem] | None = None

    def of(self, error: Thrown | LimitExceeded) -> Iterator[str]:
        """Lines to read below the stack: what a check says of the line that failed, what the error means there."""
        if not error.stack:
            return
        frame = error.stack[-1]
        for problem in self._checked():
            if problem.file == frame.file and problem.line is not None and frame.line <= problem.line <= frame.end_line:
                yield "Hint: " + "; ".join(part for part in (problem.message, problem.fix) if part)
        meaning = _meaning(str(error.message))
        if meaning is not None:
            yield f"Hint: {meaning}"

    def _checked(self) -> list[Problem]:
        if self._problems is None:
            self._problems = check(self._package, self._others, self._system().natives)
        return self._problems


def _meaning(message: str) -> str | None:
    """What a message that Murano's packages know word by word stands for."""
    if found := re.fullmatch(r'Unknown function "#property#(.+)"', message):
        return (
            f"what stands before .{found[1]} is null, or a value without properties; ?.{found[1]} gives null for null"
        )
    if re.search(r"receiver None\b", message):
        return "what stands before the call is null; ?. instead of . gives null for null"
    if found := re.match(r'No function "#operator_(.+)" matches', message):
        return f"{found[1]} does not take values of these types: one may be null, or a text where a number is meant"
    return None
