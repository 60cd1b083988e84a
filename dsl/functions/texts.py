"""Texts: the string functions in daily use (spec/muranopl.md §17.3)."""

from __future__ import annotations

import string as ascii_sets
from collections.abc import Callable, Iterable
from typing import Any

from dsl.functions import scalars
from dsl.functions.limits import FunctionLimits, check_length, check_size
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import NO_VALUE

Walk = Callable[[Any], Iterable[Any]]


def natives(limits: FunctionLimits, walk: Walk) -> list[Native]:
    """The functions; `walk` gives the items of a collection or raises Unsuited."""
    collect = Collector()

    @collect.method("toLower")
    def to_lower(text: Any) -> str:
        return _text(text).lower()

    @collect.method("toUpper")
    def to_upper(text: Any) -> str:
        return check_size(_text(text).upper(), limits)

    @collect.method("trim")
    def trim(text: Any, chars: Any = None) -> str:
        return _text(text).strip(_text_or_null(chars))

    @collect.method("trimLeft")
    def trim_left(text: Any, chars: Any = None) -> str:
        return _text(text).lstrip(_text_or_null(chars))

    @collect.method("trimRight")
    def trim_right(text: Any, chars: Any = None) -> str:
        return _text(text).rstrip(_text_or_null(chars))

    @collect.method("startsWith")
    def starts_with(text: Any, *prefixes: Any) -> bool:
        return _text(text).startswith(tuple(_text(prefix) for prefix in prefixes))

    @collect.method("endsWith")
    def ends_with(text: Any, *suffixes: Any) -> bool:
        return _text(text).endswith(tuple(_text(suffix) for suffix in suffixes))

    @collect.method("split")
    def split(text: Any, separator: Any = None, max_splits: Any = -1) -> tuple[str, ...]:
        return tuple(_text(text).split(_text_or_null(separator), _number(max_splits)))

    @collect.method("rightSplit")
    def right_split(text: Any, separator: Any = None, max_splits: Any = -1) -> tuple[str, ...]:
        return tuple(_text(text).rsplit(_text_or_null(separator), _number(max_splits)))

    @collect.method("join")
    def join(first: Any, second: Any) -> str:
        separator, items = (second, first) if type(second) is str else (first, second)
        separator = _text(separator)
        texts = [item if type(item) is str else scalars.to_text(item, limits) for item in walk(items)]
        check_length(sum(map(len, texts)) + len(separator) * max(len(texts) - 1, 0), limits)
        return separator.join(texts)

    @collect.method("replace")
    def replace(text: Any, old: Any, new: Any = NO_VALUE, count: Any = -1) -> str:
        if isinstance(old, dict):
            number = _number(-1 if new is NO_VALUE else new)
            result = _text(text)
            for key, value in old.items():
                result = _replaced(result, scalars.to_text(key, limits), scalars.to_text(value, limits), number, limits)
            return result
        return _replaced(_text(text), _text(old), _text(new), _number(count), limits)

    @collect.method("substring")
    def substring(text: Any, start: Any, length: Any = -1) -> str:
        text, start, length = _text(text), _number(start), _number(length)
        if length < 0:
            length = len(text)
        if start < 0:
            start += len(text)
        return text[start : start + length]

    @collect.method("toCharArray")
    def to_char_array(text: Any) -> tuple[str, ...]:
        check_length(8 * len(_text(text)), limits)
        return tuple(text)

    @collect.both("norm")
    def norm(text: Any, chars: Any = None) -> str | None:
        surplus = _text_or_null(chars)
        return None if text is None else _text(text).strip(surplus) or None

    @collect.both("isEmpty")
    def is_empty(text: Any, trim_spaces: Any = True, chars: Any = None) -> bool:
        surplus = _text_or_null(chars)
        if type(trim_spaces) is not bool:
            raise UNSUITED
        if text is None:
            return True
        return not (_text(text).strip(surplus) if trim_spaces else _text(text))

    @collect.function("characters", keywords=CHARACTER_NAMES)
    def characters(*sets: Any) -> tuple[str, ...]:
        """Unlike the library's, in a stable order."""
        sets = tuple(False if wanted is NO_VALUE else wanted for wanted in sets)
        if any(type(wanted) is not bool for wanted in sets) or len(sets) > len(_CHARACTERS):
            raise UNSUITED
        chosen = "".join(group for group, wanted in zip(_CHARACTERS, sets, strict=False) if wanted)
        return tuple(dict.fromkeys(chosen))

    return collect.natives


_CHARACTERS = (  # in the order of the parameters of `characters`
    ascii_sets.digits,
    ascii_sets.hexdigits,
    ascii_sets.ascii_lowercase,
    ascii_sets.ascii_uppercase,
    ascii_sets.ascii_letters,
    ascii_sets.ascii_letters,
    ascii_sets.octdigits,
    ascii_sets.punctuation,
    ascii_sets.printable,
    ascii_sets.ascii_lowercase,
    ascii_sets.ascii_uppercase,
    ascii_sets.whitespace,
)
CHARACTER_NAMES = (
    "digits hexdigits asciiLowercase asciiUppercase asciiLetters letters octdigits punctuation printable lowercase "
    "uppercase whitespace"
)


def _replaced(text: str, old: str, new: str, count: int, limits: FunctionLimits) -> str:
    if len(new) > len(old):
        times = text.count(old)
        if count >= 0:
            times = min(times, count)
        check_length(len(text) + times * (len(new) - len(old)), limits)
    return text.replace(old, new, count)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise UNSUITED


def _text_or_null(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    raise UNSUITED


def _number(value: Any) -> int:
    if type(value) is int:
        return value
    raise UNSUITED
