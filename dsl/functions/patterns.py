"""Regular expressions (spec/muranopl.md §17.3), with a time limit on each use.

Python's own engine can not be interrupted, so that one short pattern could hold the host for hours; the `regex` library
accepts the same patterns and stops when told.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import regex

from dsl.errors import LimitExceeded, Thrown
from dsl.functions import scalars
from dsl.functions.limits import FunctionLimits, check_length, check_size
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import NO_VALUE, FrozenDict, limited

MAX_PATTERN = 4000  # characters
_FLAGS = (("re.IGNORECASE", regex.IGNORECASE), ("re.MULTILINE", regex.MULTILINE), ("re.DOTALL", regex.DOTALL))


class Pattern:
    """A compiled regular expression; opaque to packages."""

    __slots__ = ("_compiled", "_flags", "_seconds", "text")

    def __init__(self, text: str, flags: int, seconds: float) -> None:
        if len(text) > MAX_PATTERN:
            raise ValueError(f"a regular expression has at most {MAX_PATTERN} characters")
        self.text = text
        self._flags = flags
        self._compiled = _compiled(text, flags)
        self._seconds = seconds

    def search(self, text: str) -> Any:
        return self._timed(self._compiled.search, text)

    def find_all(self, text: str, most: int) -> list[Any]:
        """Every match. Raises CollectionTooLarge if there are more than `most`."""

        def find(source: str, timeout: float) -> list[Any]:
            return list(limited(self._compiled.finditer(source, timeout=timeout), most))

        return self._timed(find, text)

    def split(self, text: str, count: int, most: int) -> list[Any]:
        """The parts between matches. Raises CollectionTooLarge if there are more than `most`."""
        if count < 0:
            return [text]

        def divide(source: str, timeout: float) -> list[Any]:
            parts = self._compiled.splititer(source, count, timeout=timeout)
            if count:  # the iterator would go on after its last split
                parts = itertools.islice(parts, count * (self._compiled.groups + 1) + 1)
            return list(limited(parts, most))

        return self._timed(divide, text)

    def replace(self, text: str, replacement: Any, count: int, limits: FunctionLimits) -> str:
        """The text with matches replaced. Raises MemoryQuotaExceeded before the result grows too long."""
        length = len(text)
        references = replacement.count("\\") if isinstance(replacement, str) else 0

        def expanded(match: Any) -> Any:
            nonlocal length
            if not isinstance(replacement, str):
                new = replacement(match)
            elif references:
                longest = max(len(group or "") for group in (match.group(), *match.groups()))
                check_length(len(replacement) + references * longest, limits)
                new = match.expand(replacement)
            else:
                new = replacement
            length += len(new) - (match.end() - match.start())
            check_length(length, limits)
            return new

        def substitute(source: str, timeout: float) -> Any:
            return self._compiled.sub(expanded, source, count, timeout=timeout)

        return text if count < 0 else self._timed(substitute, text)

    def _timed(self, work: Any, text: str) -> Any:
        try:
            return work(text, timeout=self._seconds)
        except TimeoutError as error:
            message = f"the regular expression {self.text[:80]!r} took longer than {self._seconds} s on one text"
            raise LimitExceeded("regex_seconds", message) from error
        except regex.error as error:  # a template of a replacement that names no group
            raise Thrown("re.error", str(error)) from error
        except MemoryError as error:
            message = f"the regular expression {self.text[:80]!r} needed too much memory on one text"
            raise LimitExceeded("regex_memory", message) from error

    def __eq__(self, other: object) -> bool:
        return type(other) is Pattern and (self.text, self._flags) == (other.text, other._flags)

    def __hash__(self) -> int:
        return hash((self.text, self._flags))

    def __repr__(self) -> str:
        names = [name for name, flag in _FLAGS if self._flags & flag]
        return f"re.compile({', '.join([repr(self.text), *(['|'.join(names)] if names else [])])})"


def natives(limits: FunctionLimits) -> list[Native]:
    """The functions. Texts stand for themselves as patterns in `matches`, as in the library."""
    collect = Collector()

    @collect.function("regex", keywords="pattern ignoreCase multiLine dotAll")
    def make(pattern: Any, ignore_case: Any = False, multi_line: Any = False, dot_all: Any = False) -> Pattern:
        if type(pattern) is not str:
            raise UNSUITED
        flags = 0
        for wanted, flag in ((ignore_case, regex.IGNORECASE), (multi_line, regex.MULTILINE), (dot_all, regex.DOTALL)):
            flags |= flag if wanted and wanted is not NO_VALUE else 0
        return Pattern(pattern, flags, limits.regex_seconds)

    @collect.method("matches", keywords="regexp string")
    def matches(pattern: Any, text: Any) -> bool:
        return _pattern(pattern).search(_text(text)) is not None

    @collect.method("matches", keywords="string regexp")
    def matches_text(text: Any, pattern: Any) -> bool:
        return as_pattern(_text(pattern), limits).search(_text(text)) is not None

    @collect.method("search", keywords="regexp string selector", lazy=2)
    def search(pattern: Any, text: Any, selector: Any = None) -> Any:
        match = _pattern(pattern).search(_text(text))
        if match is None:
            return None
        return match.group() if selector is None else selector(*_groups(match))

    @collect.method("searchAll", keywords="regexp string selector", lazy=2)
    def search_all(pattern: Any, text: Any, selector: Any = None) -> Iterator[Any]:
        found = _pattern(pattern).find_all(_text(text), limits.iterators)
        return iter([match.group() if selector is None else selector(*_groups(match)) for match in found])

    @collect.method("split", keywords="regexp string maxSplit")
    def split(pattern: Any, text: Any, most: Any = 0) -> tuple:
        return tuple(_pattern(pattern).split(_text(text), _count(most), limits.iterators))

    @collect.method("split", keywords="string regexp maxSplit")
    def split_text(text: Any, pattern: Any, most: Any = 0) -> tuple:
        return split(pattern, text, most)

    @collect.method("replace", keywords="regexp string repl count")
    def replace(pattern: Any, text: Any, replacement: Any, count: Any = 0) -> str:
        result = _pattern(pattern).replace(_text(text), _text(replacement), _count(count), limits)
        return check_size(result, limits)

    @collect.method("replace", keywords="string regexp repl count")
    def replace_text(text: Any, pattern: Any, replacement: Any, count: Any = 0) -> str:
        return replace(pattern, text, replacement, count)

    @collect.method("replaceBy", keywords="regexp string repl count", lazy=2)
    def replace_by(pattern: Any, text: Any, replacement: Any, count: Any = 0) -> str:
        def substitute(match: Any) -> str:
            value = replacement(*_groups(match))
            if value is not None and type(value) is not str:
                raise Thrown(
                    "TypeError", f"a replacement has to be text, not {scalars.python_text(value, limits)[:80]}"
                )
            return value or ""

        return check_size(_pattern(pattern).replace(_text(text), substitute, _count(count), limits), limits)

    @collect.method("replaceBy", keywords="string regexp repl count", lazy=2)
    def replace_text_by(text: Any, pattern: Any, replacement: Any, count: Any = 0) -> str:
        return replace_by(pattern, text, replacement, count)

    @collect.function("escapeRegex", keywords="string")
    def escape(text: Any) -> str:
        return check_size(regex.escape(_text(text), special_only=True, literal_spaces=False), limits)

    @collect.function("isRegex", keywords="value")
    def is_regex(value: Any) -> bool:
        return type(value) is Pattern

    return collect.natives


def as_pattern(value: Any, limits: FunctionLimits) -> Pattern:
    """A pattern, or the pattern that a text is. Raises Unsuited."""
    if type(value) is Pattern:
        return value
    if type(value) is str:
        return Pattern(value, 0, limits.regex_seconds)
    raise UNSUITED


@functools.lru_cache(maxsize=500)
def _compiled(text: str, flags: int) -> Any:
    if _RECURSION.search(_SET.sub("", _ESCAPED.sub("", text))):  # it is not in Python's own, and takes memory at will
        raise Thrown("re.error", f"{text[:200]!r} is not a regular expression: patterns can not call themselves")
    try:
        return regex.compile(text, flags | regex.VERSION0)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise Thrown("re.error", f"{text[:200]!r} is not a regular expression: {error}") from error


_ESCAPED = re.compile(r"\\.", re.DOTALL)
_SET = re.compile(r"\[\^?\]?[^\]]*\]")
_RECURSION = re.compile(r"\(\?(R|[+-]?\d|&|P>)")


def _groups(match: Any) -> list[FrozenDict]:
    """What a selector sees: the whole match as `$`, its groups as `$2`, `$3` ..."""
    return [
        FrozenDict(value=match.group(number), start=match.start(number), end=match.end(number))
        for number in range(match.re.groups + 1)
    ]


def _pattern(value: Any) -> Pattern:
    if type(value) is Pattern:
        return value
    raise UNSUITED


def _count(value: Any) -> int:
    if type(value) is int:
        return value
    raise UNSUITED


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise UNSUITED
