"""Which lines of a package its tests ran.

Compiled code carries the lines of the YAML, so Python's own tracing tells. A line counts if a statement or expression
of a method's body begins on it; contracts, defaults and the test classes themselves are not counted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any
from xml.etree import ElementTree

from dsl.compiler import ClassCode


@dataclass(frozen=True)
class FileCoverage:
    """One class file: the lines that can run, and those that did. Lines are 1-based."""

    file: str
    lines: frozenset[int]
    run: frozenset[int]

    @property
    def percent(self) -> float:
        """0 to 100; 100 for a file in which nothing can run."""
        return 100.0 * len(self.run) / len(self.lines) if self.lines else 100.0

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """First and last line of each stretch that did not run; lines without code do not end a stretch."""
        ranges: list[tuple[int, int]] = []
        is_open = False
        for line in sorted(self.lines):
            if line in self.run:
                is_open = False
            elif is_open:
                ranges[-1] = (ranges[-1][0], line)
            else:
                ranges.append((line, line))
                is_open = True
        return tuple(ranges)


@dataclass(frozen=True)
class Coverage:
    """All class files of a package in which something can run, in the order of their names."""

    package: str
    files: tuple[FileCoverage, ...]

    @property
    def total(self) -> FileCoverage:
        """The sum as a file called TOTAL; its lines are numbers without a meaning of their own."""
        lines = sum(len(each.lines) for each in self.files)
        run = sum(len(each.run) for each in self.files)
        return FileCoverage("TOTAL", frozenset(range(lines)), frozenset(range(run)))

    def text(self) -> str:
        """A table: file, lines, how many ran, percent, the missing ones."""
        rows = [("File", "Lines", "Run", "%", "Missing")]
        for each in self.files:
            missing = ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in each.missing)
            rows.append((each.file, str(len(each.lines)), str(len(each.run)), str(int(each.percent)), missing))
        total = self.total
        rows.append((total.file, str(len(total.lines)), str(len(total.run)), str(int(total.percent)), ""))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = []
        for row in rows:
            figures = "  ".join(row[column].rjust(widths[column]) for column in (1, 2, 3))
            lines.append(f"{row[0].ljust(widths[0])}  {figures}  {row[4]}".rstrip())
        return "\n".join(lines)

    def cobertura(self) -> str:
        """The same as Cobertura XML, which CI systems and editors read. Branches are not measured."""
        root = ElementTree.Element("coverage", _figures(self.files), version="1", timestamp="0")
        ElementTree.SubElement(ElementTree.SubElement(root, "sources"), "source").text = "."
        group = ElementTree.SubElement(root, "packages")
        package = ElementTree.SubElement(group, "package", _rates(self.files), name=self.package)
        classes = ElementTree.SubElement(package, "classes")
        for each in self.files:
            name = each.file.rpartition("/")[2]
            cls = ElementTree.SubElement(classes, "class", _rates([each]), name=name, filename=each.file)
            ElementTree.SubElement(cls, "methods")
            lines = ElementTree.SubElement(cls, "lines")
            for line in sorted(each.lines):
                ElementTree.SubElement(lines, "line", number=str(line), hits="1" if line in each.run else "0")
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


class Recorder:
    """Notes the lines that run of some compiled classes, in this thread and in those started meanwhile."""

    def __init__(self, classes: Iterable[ClassCode]) -> None:
        self._lines: dict[str, set[int]] = {}
        self._run: dict[str, set[int]] = {}
        for each in classes:
            self._lines.setdefault(each.own.code.co_filename, set()).update(executable_lines(each))
            self._run.setdefault(each.own.code.co_filename, set())

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what runs inside. A tracer that was at work before (a debugger's) pauses and goes on afterwards."""
        before, before_in_threads = sys.gettrace(), threading.gettrace()
        sys.settrace(self._called)
        threading.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(before_in_threads)

    def coverage(self, package: str) -> Coverage:
        """What was recorded so far."""
        files = [
            FileCoverage(file, frozenset(lines), frozenset(lines & self._run[file]))
            for file, lines in sorted(self._lines.items())
            if lines
        ]
        return Coverage(package, tuple(files))

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        run = self._run.get(frame.f_code.co_filename)
        cls = frame.f_globals.get("_murano_class") if run is not None else None
        if run is None or cls is None or not _is_body(frame.f_code, cls.code):
            return None

        def at_line(frame: FrameType, event: str, argument: Any) -> Any:
            run.add(frame.f_lineno)
            return at_line

        return at_line


def executable_lines(cls: ClassCode) -> frozenset[int]:
    """The lines on which a statement or an expression of a method's body begins."""
    lines: set[int] = set()
    instructions = {place for parts in cls.all_parts() for place in parts.instructions}
    functions = [each for parts in cls.all_parts() for each in parts.code.co_consts if isinstance(each, CodeType)]
    pending = [each for each in functions if _is_body(each, cls)]
    while pending:
        code = pending.pop()
        pending.extend(each for each in code.co_consts if isinstance(each, CodeType))
        for line, _, column, _ in code.co_positions():
            # what the compiler adds on its own stands at the method's name, where no instruction of the package is
            if line is not None and column is not None and (line, column + 1) in instructions:
                lines.add(line)
    return frozenset(lines)


def _is_body(code: CodeType, cls: ClassCode) -> bool:
    return code.co_qualname.partition(".")[0] in cls.bodies


def _rates(files: Iterable[FileCoverage]) -> dict[str, str]:
    figures = _figures(files)
    return {key: figures[key] for key in ("line-rate", "branch-rate", "complexity")}


def _figures(files: Iterable[FileCoverage]) -> dict[str, str]:
    counted = list(files)
    lines, run = sum(len(each.lines) for each in counted), sum(len(each.run) for each in counted)
    return {
        "line-rate": f"{run / lines if lines else 1:.4f}",
        "branch-rate": "0",
        "complexity": "0",
        "lines-valid": str(lines),
        "lines-covered": str(run),
        "branches-valid": "0",
        "branches-covered": "0",
    }
