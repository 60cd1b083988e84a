"""The functions that code of one format sees (spec/muranopl.md §17, §18).

For each name there are native forms, tried in turn, and the yaql library behind them: for arguments that no native form
knows, for keyword arguments, and for every refusal, so that errors are the library's own.
"""

from __future__ import annotations

import collections.abc
import functools
from collections.abc import Callable, Iterable
from typing import Any

from dsl.errors import NoMatchingFunction, NoMatchingMethod
from dsl.functions import bridge, containers, encodings, operators, patterns, queries, scalars, templates, texts, values
from dsl.functions.bridge import Bridge
from dsl.functions.limits import DEFAULT_LIMITS, FunctionLimits
from dsl.functions.native import UNSUITED, Native, Unsuited
from dsl.functions.values import NO_VALUE, MappingRule


@functools.lru_cache(maxsize=64)
def table(format_version: str, limits: FunctionLimits = DEFAULT_LIMITS) -> FunctionTable:
    """The table of a MuranoPL format, `1.0` to `1.4`."""
    return FunctionTable(format_version, limits)


class Function:
    """One function, method or operator. Of a method, the receiver is the first argument.

    Arguments that `lazy` names are passed unevaluated, as Python functions of the lambda's arguments (`$` first);
    NO_VALUE stands for one that was left out. Raises Thrown, or a built-in Python error, known by its bare name.
    """

    __slots__ = ("_lazy", "_rest", "invoke", "name")

    def __init__(
        self, name: str, invoke: Callable[..., Any], lazy: frozenset[int | str] = frozenset(), rest: int | None = None
    ) -> None:
        self.name = name
        self.invoke = invoke  # the same as calling the object, a little faster
        self._lazy = lazy
        self._rest = rest

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.invoke(*args, **kwargs)

    def lazy(self, argument: int | str) -> bool:
        """Whether an argument, by position (the receiver is 0) or keyword, is passed unevaluated."""
        if argument in self._lazy:
            return True
        return self._rest is not None and (isinstance(argument, str) or argument >= self._rest)

    def __repr__(self) -> str:
        return f"<Function {self.name}>"


class FunctionTable:
    """Name -> function. Functions that need the running program (`new`, `id`, `let`, `random` ...) are not in it."""

    def __init__(self, format_version: str, limits: FunctionLimits) -> None:
        self.format_version = format_version
        self.limits = limits
        self.legacy = format_version in ("1.0", "1.1")
        self._bridge = Bridge(self.legacy, limits)
        self._functions: dict[tuple[str, bool], Function | None] = {}
        walk = _walker(limits.iterators, self.legacy)
        self._operators = operators.natives(limits, walk, self.legacy)
        self._natives: dict[tuple[str, bool], list[Native]] = {}
        for native in self._all_natives(walk):
            for name in native.names:
                if native.function or (self.legacy and name in _LEGACY_BOTH):
                    self._natives.setdefault((name, False), []).append(native)
                if native.method or (self.legacy and name in _LEGACY_BOTH):
                    self._natives.setdefault((name, True), []).append(native)

    def function(self, name: str) -> Function | None:
        """What `name(...)` calls, None if there is no such function."""
        return self._found(name, False)

    def method(self, name: str) -> Function | None:
        """What `receiver.name(...)` calls, None if there is no such method."""
        return self._found(name, True)

    def property(self, name: str) -> Function | None:
        """What `receiver.name` calls on values that are no objects, such as dates; None if there is none."""
        return self._found(f"#property#{name}", False)

    def operator(self, name: str) -> Function:
        """One of `+ - * / mod < <= > >= = != in =~ !~`, `unary -`, `unary +`, `#indexer`. Raises KeyError."""
        key = (operators.LIBRARY_NAMES[name], False)
        if key not in self._functions:
            native = self._operators[name]
            overloads = self._bridge.overloads(*key)
            refuse = self._fallback(*key) if overloads else _refusal(*key)
            lazy, rest, _ = bridge.lazy_arguments(overloads)

            def invoke(*args: Any) -> Any:
                try:
                    return native(*args)
                except Unsuited:
                    return refuse(args, {})

            self._functions[key] = Function(name, invoke, lazy, rest)
        found = self._functions[key]
        assert found is not None
        return found

    def names(self, method: bool) -> frozenset[str]:
        """Every name that can be called, for spelling hints."""
        return frozenset(name for name, kind in self._natives if kind is method) | self._bridge.names(method)

    def _found(self, name: str, method: bool) -> Function | None:
        key = (name, method)
        if key not in self._functions:
            self._functions[key] = None if name in _ELSEWHERE else self._made(name, method)
        return self._functions[key]

    def _made(self, name: str, method: bool) -> Function | None:
        if name == "format":
            return Function(name, self._format(method))
        natives = self._natives.get((name, method), [])
        overloads = self._bridge.overloads(name, method)
        if not natives and not overloads:
            return None
        lazy, rest, rules = bridge.lazy_arguments(overloads)
        fallback = self._fallback(name, method) if overloads else _refusal(name, method)
        if rules:
            fallback = _with_rules(natives, fallback)
        for native in natives:
            lazy |= native.lazy
            if native.keywords:
                fallback = _with_names(native, fallback)
        return Function(name, _dispatch(natives, fallback), lazy, rest)

    def _fallback(self, name: str, method: bool) -> Callable[[tuple, dict], Any]:
        call = self._bridge.call
        return lambda args, kwargs: call(name, method, args, kwargs)

    def _format(self, method: bool) -> Callable[..., Any]:
        limits = self.limits
        fallback = self._fallback("format", method) if method else _refusal("format", False)

        def invoke(*args: Any, **kwargs: Any) -> Any:
            if args and type(args[0]) is str and NO_VALUE not in args:
                frozen = [values.freeze(argument) for argument in args[1:]]
                named = {name: values.freeze(argument) for name, argument in kwargs.items()}
                return templates.formatted(args[0], tuple(frozen), named, limits)
            return fallback(args, kwargs)

        return invoke

    def _all_natives(self, walk: Callable[[Any], Iterable[Any]]) -> Iterable[Native]:
        plus, less, greater = (self.operator(name).invoke for name in ("+", "<", ">"))
        yield from texts.natives(self.limits, walk)
        yield from scalars.natives(self.limits, greater)
        yield from containers.natives(self.limits, walk, self.legacy)
        yield from queries.natives(self.limits, walk, plus, less, greater, self.legacy)
        yield from patterns.natives(self.limits)
        yield from templates.natives(self.limits)
        yield from encodings.natives(self.limits)


# Their meaning depends on the running program or changes the meaning of variables: the compiler and the runtime have
# them. `#` functions are syntax.
_ELSEWHERE = frozenset({"let", "with", "def", "as", "unpack", "call", "random", "now", "lambda"})
# What Format 1.0 and 1.1 have both as functions and as methods (spec/muranopl.md §17.2, §17.4)
_LEGACY_BOTH = frozenset({
    "list", "bool", "int", "float", "get", "select", "where", "join", "sum", "takeWhile", "toLower", "toUpper", "trim",
    "split", "startsWith", "endsWith", "matches", "replace", "flatten",
})  # fmt: skip


def _dispatch(natives: list[Native], fallback: Callable[[tuple, dict], Any]) -> Callable[..., Any]:
    if len(natives) == 1:
        native, minimum, maximum = natives[0].call, natives[0].minimum, natives[0].maximum

        def invoke_one(*args: Any, **kwargs: Any) -> Any:
            if not kwargs and minimum <= len(args) <= maximum:
                try:
                    return native(*args)
                except Unsuited:
                    pass
            return fallback(args, kwargs)

        return invoke_one

    def invoke(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            for native in natives:
                if native.minimum <= len(args) <= native.maximum:
                    try:
                        return native.call(*args)
                    except Unsuited:
                        continue
        return fallback(args, kwargs)

    return invoke


def _with_rules(natives: list[Native], fallback: Callable[[tuple, dict], Any]) -> Callable[[tuple, dict], Any]:
    """For functions of which `a => b` is a rule: what looks like keyword arguments is made rules again."""

    def invoke(args: tuple, kwargs: dict) -> Any:
        if not kwargs:
            return fallback(args, kwargs)
        rules = (*args, *(MappingRule(key, value) for key, value in kwargs.items()))
        return _dispatch(natives, fallback)(*rules)

    return invoke


def _with_names(native: Native, fallback: Callable[[tuple, dict], Any]) -> Callable[[tuple, dict], Any]:
    """For a native function that has keyword arguments of its own."""

    def invoke(args: tuple, kwargs: dict) -> Any:
        rest = native.keywords[len(args) :]
        if kwargs and kwargs.keys() <= set(rest):
            given = [kwargs.get(name, NO_VALUE) for name in rest]
            while given and given[-1] is NO_VALUE:
                given.pop()
            try:
                if native.minimum <= len(args) + len(given):
                    return native.call(*args, *given)
            except Unsuited:
                pass
        return fallback(args, kwargs)

    return invoke


def _refusal(name: str, method: bool) -> Callable[[tuple, dict], Any]:
    def refuse(args: tuple, kwargs: dict) -> Any:
        if method:
            receiver = scalars.python_text(args[0], DEFAULT_LIMITS)[:200]
            raise NoMatchingMethod(f'No method "{name}" for receiver {receiver} matches supplied arguments')
        raise NoMatchingFunction(f'No function "{name}" matches supplied arguments')

    return refuse


def _walker(limit: int, legacy: bool) -> Callable[[Any], Iterable[Any]]:
    """A function that gives the items of a collection, at most `limit`, and raises Unsuited for what is none."""
    sized = (tuple, list, collections.abc.Set, collections.abc.ValuesView)

    def walk(collection: Any) -> Iterable[Any]:
        if type(collection) in values.BOUNDED:
            return collection
        if isinstance(collection, sized):
            if len(collection) > limit:
                raise values.too_large(limit)
            return collection
        if hasattr(collection, "__next__"):
            return values.limited(collection, limit)
        if legacy and isinstance(collection, dict):
            return collection
        raise UNSUITED

    return walk
