"""Regular expressions (spec/muranopl.md §17.3), with a limit of processor time on each use.

Python's own engine can not be interrupted, so that one short pattern could hold the host for hours; the `regex` library
accepts the same patterns and stops when told. It counts what the whole process computes, so other threads can use up
what one was given: that one is given more, until it has had its time.
"""

from __future__ import annotations

import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import regex

from dsl.errors import LimitExceeded, Thrown
from dsl.functions import scalars
from dsl.functions.limits import FunctionLimits, check_length, check_size
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import NO_VALUE, FrozenDict, limited

MAX_PATTERN = 4000  # characters
SHORT = 0.005  # seconds of a first try, which lets no other thread in: more than almost every pattern needs
ENOUGH = 0.8  # share of its time that a pattern has to have had in one try
MOST = 4  # times its time that all its tries together may take
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
        return self._use().run(lambda allowed: self._compiled.search(text, **allowed))

    def find_all(self, text: str, most: int) -> list[Any]:
        """Every match. Raises CollectionTooLarge if there are more than `most`."""
        return self._use().run(lambda allowed: list(limited(self._compiled.finditer(text, **allowed), most)))

    def split(self, text: str, count: int, most: int) -> list[Any]:
        """The parts between matches. Raises CollectionTooLarge if there are more than `most`."""
        if count < 0:
            return [text]

        def divide(allowed: Any) -> list[Any]:
            parts = self._compiled.splititer(text, count, **allowed)
            if count:  # the iterator would go on after its last split
                parts = itertools.islice(parts, count * (self._compiled.groups + 1) + 1)
            return list(limited(parts, most))

        return self._use().run(divide)

    def replace(self, text: str, replacement: Any, count: int, limits: FunctionLimits) -> str:
        """The text with matches replaced. Raises MemoryQuotaExceeded before the result grows too long.

        A callable replacement is called once for each match, however often the search has to begin anew.
        """
        references = replacement.count("\\") if isinstance(replacement, str) else 0
        use = self._use()
        made: list[str] = []  # by a callable
        length = place = 0

        def expanded(match: Any) -> Any:
            nonlocal length, place
            if not isinstance(replacement, str):
                if place == len(made):
                    made.append(use.apart(lambda: replacement(match)))
                new = made[place]
                place += 1
            elif references:
                longest = max(len(group or "") for group in (match.group(), *match.groups()))
                check_length(len(replacement) + references * longest, limits)
                new = match.expand(replacement)
            else:
                new = replacement
            length += len(new) - (match.end() - match.start())
            check_length(length, limits)
            return new

        def substitute(allowed: Any) -> Any:
            nonlocal length, place
            length, place = len(text), 0
            return self._compiled.sub(expanded, text, count, **allowed)

        return text if count < 0 else use.run(substitute)

    def _use(self) -> _Use:
        return _Use(self.text, self._seconds)

    def __eq__(self, other: object) -> bool:
        return type(other) is Pattern and (self.text, self._flags) == (other.text, other._flags)

    def __hash__(self) -> int:
        return hash((self.text, self._flags))

    def __repr__(self) -> str:
        names = [name for name, flag in _FLAGS if self._flags & flag]
        return f"re.compile({', '.join([repr(self.text), *(['|'.join(names)] if names else [])])})"


class _Use:
    """One use of a pattern on one text, within its processor time."""

    def __init__(self, text: str, seconds: float) -> None:
        self._text = text
        self._seconds = seconds
        self._apart = 0.0
        self._failed = False

    def run(self, work: Callable[[dict[str, Any]], Any]) -> Any:
        """What `work` gives, called with the library's arguments for time and threads; it may be tried several times.

        First for a moment in which no other thread of Python runs; then beside the others; and if they took what was
        meant for this one, without them again.
        """
        spent, tries = 0.0, 0
        while True:
            began, self._apart = time.thread_time(), 0.0
            timeout = min(SHORT, self._seconds) if tries == 0 else self._seconds * max(1, tries - 1)
            try:
                return work({"timeout": timeout, "concurrent": tries == 1})
            except TimeoutError as error:
                if self._failed:
                    raise
                used = time.thread_time() - began - self._apart
                spent += used
                tries += 1
                if used >= ENOUGH * self._seconds or spent >= MOST * self._seconds:
                    raise self._exceeded() from error
            except regex.error as error:  # a template of a replacement that names no group
                raise Thrown("re.error", str(error)) from error
            except MemoryError as error:
                message = f"the regular expression {self._text[:80]!r} needed too much memory on one text"
                raise LimitExceeded("regex_memory", message) from error

    def apart(self, call: Callable[[], Any]) -> Any:
        """Runs code of the package in the middle of `work`; other limits count that."""
        began = time.thread_time()
        try:
            return call()
        except BaseException:
            self._failed = True
            raise
        finally:
            self._apart += time.thread_time() - began

    def _exceeded(self) -> LimitExceeded:
        message = f"the regular expression {self._text[:80]!r} took longer than {self._seconds} s on one text"
        return LimitExceeded("regex_seconds", message)


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
