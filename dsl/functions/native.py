"""How functions written here are declared: names, kind, and the arguments they know how to handle."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Unsuited(Exception):
    """Raised by a native function for arguments it does not know: the yaql library then decides, or refuses them."""


UNSUITED = Unsuited()


@dataclass(frozen=True)
class Native:
    """A function written here. `method` and `function` say how it can be called; methods get the receiver first."""

    names: tuple[str, ...]
    call: Callable[..., Any]
    function: bool
    method: bool
    minimum: int
    maximum: int
    keywords: tuple[str, ...] = ()  # names by which its arguments can be given; those of the library's, if empty
    lazy: frozenset[int | str] = frozenset()  # arguments passed unevaluated, where the library does not say so


class Collector:
    """Collects the native functions of a module: `@collect.method("where", "filter")`.

    `keywords` and `lazy` are for functions that the yaql library does not have; it knows them for its own.
    """

    def __init__(self) -> None:
        self.natives: list[Native] = []

    def function(self, *names: str, keywords: str = "", lazy: int | None = None) -> Decorator:
        """Callable as `name(x)` only."""
        return self._collector(names, True, False, tuple(keywords.split()), lazy)

    def method(self, *names: str, keywords: str = "", lazy: int | None = None) -> Decorator:
        """Callable as `x.name()` only."""
        return self._collector(names, False, True, tuple(keywords.split()), lazy)

    def both(self, *names: str, keywords: str = "", lazy: int | None = None) -> Decorator:
        """Callable as `name(x)` and as `x.name()`."""
        return self._collector(names, True, True, tuple(keywords.split()), lazy)

    def _collector(
        self, names: tuple[str, ...], function: bool, method: bool, keywords: tuple[str, ...], lazy: int | None
    ) -> Decorator:
        delayed: frozenset[int | str] = frozenset() if lazy is None else frozenset((lazy, keywords[lazy]))

        def collect(call: Callable[..., Any]) -> Callable[..., Any]:
            minimum, maximum = _arity(call)
            self.natives.append(Native(names, call, function, method, minimum, maximum, keywords, delayed))
            return call

        return collect


def _arity(call: Callable[..., Any]) -> tuple[int, int]:
    parameters = inspect.signature(call).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        maximum = 10_000
    else:
        maximum = len(parameters)
    named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    return sum(1 for parameter in named if parameter.default is parameter.empty), maximum
