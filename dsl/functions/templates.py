"""Texts with places to fill in: `format` and `bind` (spec/muranopl.md §17.2).

`format` follows Python's `str.format` in everything but attribute and index access: a place is `{}`, `{0}` or `{name}`,
with an optional conversion and format specification. So no package can reach into a host's object through a template.
"""

from __future__ import annotations

import datetime
import re
import string
from typing import Any

from dsl.functions import scalars
from dsl.functions.limits import FunctionLimits, check_length
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import FrozenDict, freeze


def natives(limits: FunctionLimits) -> list[Native]:
    """`bind`; `format` takes keyword arguments and is made by the table."""
    collect = Collector()

    @collect.both("bind")
    def bind(template: Any, mapping: Any) -> Any:
        if not isinstance(mapping, dict):
            raise UNSUITED
        return _bound(template, mapping, limits)

    return collect.natives


def formatted(template: str, arguments: tuple, keywords: dict[str, Any], limits: FunctionLimits) -> str:
    """Fill in a template. Raises IndexError, KeyError, ValueError or TypeError where `str.format` does."""
    return _Formatter(arguments, keywords, limits).filled(template, nested=False)


class _Formatter:
    def __init__(self, arguments: tuple, keywords: dict[str, Any], limits: FunctionLimits) -> None:
        self.arguments = arguments
        self.keywords = keywords
        self.limits = limits
        self.automatic = 0  # places of the form {} so far
        self.manual = False  # whether a place of the form {0} was met

    def filled(self, template: str, nested: bool) -> str:
        parts: list[str] = []
        length = 0
        for literal, field, specification, conversion in string.Formatter().parse(template):
            parts.append(literal)
            length += len(literal)
            if field is not None:
                value = self.value(field)
                if specification and "{" in specification:
                    if nested:
                        raise ValueError("Max string recursion exceeded")
                    specification = self.filled(specification, nested=True)
                parts.append(self.text(value, specification or "", conversion))
                length += len(parts[-1])
            check_length(length, self.limits)
        return "".join(parts)

    def value(self, field: str) -> Any:
        if not field:
            if self.manual:
                raise ValueError("cannot switch from manual field specification to automatic field numbering")
            self.automatic += 1
            return self.positional(self.automatic - 1)
        if field.isdecimal():
            if self.automatic:
                raise ValueError("cannot switch from automatic field numbering to manual field specification")
            self.manual = True
            return self.positional(int(field[:9]))
        if not field.isidentifier():
            message = (
                f"{{{field[:80]}}} is not a place: only {{}}, {{0}} and {{name}} are, without attributes and indexes"
            )
            raise ValueError(message)
        return self.keywords[field]

    def positional(self, index: int) -> Any:
        if index >= len(self.arguments):
            raise IndexError(f"Replacement index {index} out of range for positional args tuple")
        return self.arguments[index]

    def text(self, value: Any, specification: str, conversion: str | None) -> str:
        if conversion in ("r", "a"):
            text = scalars.python_text((value,), self.limits)[1:-2]  # inside a collection values are quoted
            value = ascii(text)[1:-1] if conversion == "a" else text
        elif conversion == "s":
            value = scalars.python_text(value, self.limits)
        elif conversion is not None:
            raise ValueError(f"Unknown conversion specifier {conversion!r}")
        if not specification:
            return scalars.python_text(value, self.limits)
        for number in _NUMBERS.findall(specification):
            check_length(int(number[:12]), self.limits)
        if isinstance(value, (str, int, float, datetime.datetime, datetime.date)):
            return format(value, specification)
        raise TypeError(f"unsupported format string passed to {type(value).__name__}.__format__")


_NUMBERS = re.compile(r"\d+")
_PLACE = re.compile(r"\{(\w+?)\}")


def _bound(template: Any, mapping: dict, limits: FunctionLimits) -> Any:
    if isinstance(template, dict):
        return FrozenDict(
            (_bound(key, mapping, limits), _bound(value, mapping, limits)) for key, value in template.items()
        )
    if isinstance(template, (tuple, list)):
        return tuple([_bound(item, mapping, limits) for item in template])
    if type(template) is not str or not template.startswith("$"):
        return freeze(template)
    rest = template[1:]
    if _PLACE.search(rest):
        return _filled(rest, mapping, limits)
    value = mapping[rest]
    return template if value is None else value


def _filled(template: str, mapping: dict, limits: FunctionLimits) -> str:
    length = len(template)

    def text(match: re.Match[str]) -> str:
        nonlocal length
        found = scalars.python_text(mapping.get(match.group(1)), limits)
        length += len(found)
        check_length(length, limits)
        return found

    return _PLACE.sub(text, template)
