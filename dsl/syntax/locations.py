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


POINT = (1 << 48) - 1  # a point in one number: line << 24 | column, counted from 0


def unpacked(file: str, place: int) -> Location:
    """The location of a span in one number: begin << 48 | end. Thousands of them cost the garbage collector nothing."""
    begin, end = place >> 48, place & POINT
    numbers = ((begin >> 24) + 1, (begin & 0xFFFFFF) + 1, (end >> 24) + 1, (end & 0xFFFFFF) + 1)
    return tuple.__new__(Location, (file, *numbers))  # Location(...) takes twice the time
