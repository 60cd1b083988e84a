"""Where a piece of a package's text stands: carried by every node, shown in every error and stack trace."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A span of a file, 1-based; the end is the position after the last character (spec/muranopl.md §3)."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def packed(line: int, column: int, end_line: int, end_column: int) -> int:
    """A span counted from 0, as libyaml has it, in one number: thousands of them cost the garbage collector nothing."""
    return (((line << 24 | column) << 24 | end_line) << 24) | end_column


def unpacked(file: str, place: int) -> Location:
    """The location of a packed span."""
    start, end = place >> 48, place & 0xFFFFFFFFFFFF
    return Location(file, (start >> 24) + 1, (start & 0xFFFFFF) + 1, (end >> 24) + 1, (end & 0xFFFFFF) + 1)


def spanning(start: int, end: int) -> int:
    """The packed span from the beginning of one to the end of another."""
    return start >> 48 << 48 | end & 0xFFFFFFFFFFFF
