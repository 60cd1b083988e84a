"""Where a piece of a package's text stands: carried by every node, shown in every error and stack trace."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Location(NamedTuple):
    """A span of a file, 1-based; the end is the position after the last character (spec/muranopl.md §3)."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Mark(Protocol):
    """A point of a text, counted from 0, as the YAML parser makes it."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


Place = tuple[Mark, Mark]  # of the first character, and of the position after the last one


class _Beginning:
    line = column = 0


NOWHERE: Place = (_Beginning(), _Beginning())


def located(file: str, start: Mark, end: Mark) -> Location:
    """The location between two marks; they are kept instead, because most are never asked for."""
    numbers = (file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)
    return tuple.__new__(Location, numbers)  # Location(...) takes twice the time
