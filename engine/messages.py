"""What arrives over the broker, held against the shapes that calls have, before anything is done with it.

Anybody who can write to the broker can send anything: another release of the API, an operator's script, a mistake.
Such a message is refused with the argument's name; nothing else happens.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_TEXT = 255  # characters of an id or a name
MOST_LOCKED = 10_000  # packages of one lock


class Malformed(Exception):
    """A message that is no call of this release; the text says what is wrong with it."""


def checked(refused: Callable[[Malformed], Exception]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For calls of an endpoint: raises `refused(...)` for arguments that do not have the shapes of `SHAPES`."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(*positional: Any, **named: Any) -> Any:
            try:
                check(method.__name__, signature, positional, named)
            except Malformed as malformed:
                raise refused(malformed) from malformed
            return method(*positional, **named)

        return call

    return decorate


def check(name: str, signature: inspect.Signature, positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raises `Malformed`."""
    try:
        given = signature.bind(*positional, **named).arguments
    except TypeError as error:
        raise Malformed(f"call {name}: {error}") from error
    for argument, value in given.items():
        shape = SHAPES.get(argument)
        optional = signature.parameters[argument].default is None or argument == "action"
        if shape is None or (value is None and optional):
            continue
        expected = shape(value)
        if expected is not None:
            raise Malformed(f"call {name}: {argument}: expected {expected}, found {_shown(value)}")


def _text(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= LONGEST_TEXT and "\0" not in value:
        return None
    return f"text of at most {LONGEST_TEXT} characters"


def _mapping(value: Any) -> str | None:
    return None if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) else "a mapping"


def _number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"


def _lock(value: Any) -> str | None:
    fine = isinstance(value, list | tuple) and len(value) <= MOST_LOCKED and all(_is_locked(each) for each in value)
    return None if fine else f"a list of at most {MOST_LOCKED} packages, each with {', '.join(_LOCKED)}"


def _is_locked(entry: Any) -> bool:
    return isinstance(entry, Mapping) and all(_text(entry.get(name)) is None for name in _LOCKED)


def _names(value: Any) -> str | None:
    fine = isinstance(value, list | tuple) and all(_text(each) is None for each in value)
    return None if fine else "a list of names"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"


_LOCKED = ("fqn", "version", "package_id", "digest")

# By the arguments' names, which mean the same in every call: what is wrong with a value, None if nothing is.
SHAPES: Mapping[str, Callable[[Any], str | None]] = {
    "action": _mapping,
    "class_name": _text,
    "class_version": _text,
    "deployment_id": _text,
    "environment_id": _text,
    "lock": _lock,
    "method_name": _text,
    "method_names": _names,
    "model": _mapping,
    "moment": _number,
    "package_name": _text,
    "parameters": _mapping,
    "project_id": _text,
    "seconds": _number,
    "stack_id": _text,
    "trust_id": _text,
    "user_id": _text,
}
