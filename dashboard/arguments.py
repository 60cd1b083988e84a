"""The arguments of an action as a person types them: lines of ``name=value``, or one JSON object."""

from __future__ import annotations

import json
import re
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Mistake(ValueError):
    """What was typed is not arguments; the message names the line, what was expected and what was found."""


def parse(text: str) -> dict[str, Any]:
    """The arguments by name, ``{}`` for an empty text.

    A value that is JSON (``3``, ``true``, ``null``, ``[1, 2]``, ``"3"``) is taken as such, any other one as text.
    Raises Mistake.
    """
    if text.lstrip().startswith("{"):
        return _object(text)
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, separator, value = (part.strip() for part in line.partition("="))
        if not separator or not NAME.fullmatch(name):
            raise Mistake(f"Arguments, line {number}: expected name=value, found {line.strip()[:80]!r}.")
        if name in found:
            raise Mistake(f"Arguments, line {number}: {name} is given a second time. Give it once.")
        found[name] = _value(value)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_number)
    except ValueError as failure:
        raise Mistake(f"Arguments: expected a JSON object, or lines of name=value: {failure}.") from None
    except RecursionError:
        raise Mistake("Arguments: the JSON object is nested too deeply.") from None
    return dict(found)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(name: str) -> Any:
    """Python's JSON knows NaN and Infinity, JSON does not."""
    raise ValueError(f"{name} is no JSON value")
