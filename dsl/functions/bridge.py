"""The yaql library's own functions, called with MuranoPL values (spec/muranopl.md §17.3, §17.4).

Everything the library's standard set has is reachable here, with its overload resolution and its errors; functions in
daily use have native forms elsewhere and come here only for arguments those do not know. Nothing of the library that
touches attributes of Python objects (its "yaqlized" functions) is registered.
"""

from __future__ import annotations

import builtins
import collections.abc
import functools
from collections.abc import Callable, Iterator
from typing import Any

import yaql
from yaql import legacy as yaql_legacy
from yaql.language import contexts as yaql_contexts
from yaql.language import conventions, factory, runner, specs, yaqltypes
from yaql.language import exceptions as yaql_exceptions
from yaql.language import expressions as yaql_tree

from dsl import errors
from dsl.functions import scalars, values
from dsl.functions.limits import DEFAULT_LIMITS, FunctionLimits, check_extent
from dsl.functions.values import NO_VALUE, FrozenDict, MappingRule


class Bridge:
    """The yaql library's functions as one format sees them, under one set of limits."""

    def __init__(self, legacy: bool, limits: FunctionLimits) -> None:
        self.context = _context(legacy)
        options = {
            "yaql.limitIterators": limits.iterators,
            "yaql.memoryQuota": limits.memory,
            "yaql.iterableDicts": legacy,
            "yaql.convertTuplesToLists": False,
            "yaql.convertOutputData": False,
        }
        self._engine = factory.YaqlEngine(None, None, options, None)
        self._limit = limits.iterators

    def overloads(self, name: str, method: bool) -> list[Any]:
        """The library's definitions that a call of `name` chooses from."""
        return _overloads(self.context, name, method)

    def names(self, method: bool) -> frozenset[str]:
        """Every name the library has, without those of syntax."""
        found: set[str] = set()
        context = self.context
        while context is not None:
            found.update(name for name in context._functions if name[0].isalpha() and _overloads(context, name, method))
            context = context.parent
        return frozenset(found)

    def call(self, name: str, method: bool, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a function; of a method, the first argument is the receiver. Lazy arguments are Python callables.

        Raises Thrown for whatever goes wrong.
        """
        receiver = NO_VALUE
        if method:
            receiver, args = check_extent(args[0]), args[1:]
            _check_writable(receiver)
        prepared = tuple(_prepared(argument) for argument in args)
        named = {key: _prepared(argument) for key, argument in kwargs.items()}
        try:
            result = runner.call(name, self.context, prepared, named, self._engine, receiver)
        except errors.DslError:
            raise
        except _NoMatch as error:
            raise error.error from error
        except yaql_exceptions.NoMatchingMethodException as error:
            shown = _shortened(scalars.python_text(receiver, DEFAULT_LIMITS))  # the library's own shows the host's side
            message = f'No method "{name}" for receiver {shown} matches supplied arguments'
            raise errors.NoMatchingMethod(message) from error
        except Exception as error:
            raise translated(error) from error
        return self._adapted(result)

    def _adapted(self, result: Any) -> Any:
        """A result as a MuranoPL value; iterators stay lazy, but limited and with MuranoPL's errors."""
        kind = type(result)
        if kind in values.ATOMIC and kind is not tuple:
            return result
        if isinstance(result, collections.abc.Mapping) or kind is tuple:
            return values.deep_freeze(result)
        if isinstance(result, frozenset):
            return values.freeze(result)
        if isinstance(result, (collections.abc.Iterator, range)):
            return self._guarded(iter(result))
        return result

    def _guarded(self, items: Iterator[Any]) -> Iterator[Any]:
        try:
            for number, item in enumerate(items):
                if number >= self._limit:
                    raise values.too_large(self._limit)
                yield self._adapted(item)
        except errors.DslError:
            raise
        except Exception as error:
            raise translated(error) from error


def lazy_arguments(overloads: list[Any]) -> tuple[frozenset[int | str], int | None, bool]:
    """Of the definitions of one name: lazy positions and keywords, the position from which all further ones are lazy
    (None without one), and whether `a => b` makes a rule instead of a keyword argument."""
    lazy: set[int | str] = set()
    rest: int | None = None
    for overload in overloads:
        visible = overload.strip_hidden_parameters()
        for key, parameter in visible.parameters.items():
            if not isinstance(parameter.value_type, yaqltypes.LazyParameterType):
                continue
            if key == "*":
                rest = parameter.position if rest is None else min(rest, parameter.position)
            else:
                if parameter.position is not None:
                    lazy.add(parameter.position)
                lazy.add(parameter.alias or parameter.name)
    return frozenset(lazy), rest, any(overload.no_kwargs for overload in overloads)


def translated(error: Exception) -> errors.DslError:
    """A Python error of a function as what package code can catch: built-in names bare, others with their module."""
    if isinstance(error, errors.DslError):
        return error
    if isinstance(error, yaql_exceptions.WrappedException):
        return translated(error.wrapped)
    if isinstance(error, _NoMatch):
        return error.error
    kind = type(error)
    message = _shortened(str(error))
    if isinstance(error, yaql_exceptions.CollectionTooLargeException):
        return errors.CollectionTooLarge(message)
    if isinstance(error, yaql_exceptions.MemoryQuotaExceededException):
        return errors.MemoryQuotaExceeded(message)
    name = kind.__name__ if getattr(builtins, kind.__name__, None) is kind else f"{kind.__module__}.{kind.__name__}"
    return errors.Thrown(name, message)


class _Delayed(yaql_tree.Expression):
    """An unevaluated argument: the library evaluates it in contexts of its own, whose `$1`, `$2` ... are passed on."""

    uses_receiver = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, receiver: Any, context: Any, engine: Any) -> Any:
        arguments: list[Any] = []
        while (value := context.get_data(f"${len(arguments) + 1}", NO_VALUE)) is not NO_VALUE:
            arguments.append(FrozenDict(value) if type(value) is dict else value)
        try:
            return check_extent(self.function(*arguments))  # the library may use it as a key
        except (errors.NoMatchingMethod, errors.NoMatchingFunction) as error:
            raise _NoMatch(error) from error  # groupBy() tries again


class _NoMatch(yaql_exceptions.NoMatchingMethodException):
    """An error of a lambda in a form that the library knows."""

    def __init__(self, error: errors.DslError) -> None:
        Exception.__init__(self, str(error))
        self.error = error


def _check_writable(value: Any) -> None:
    """Refuse a receiver that the library could not write into a message in reasonable time."""
    room = 16 * DEFAULT_LIMITS.memory
    pending = [value]
    while pending:
        each = pending.pop()
        if type(each) is str:
            room -= len(each)
        elif isinstance(each, (tuple, list, dict, frozenset)):
            pending.extend(each)
            if isinstance(each, dict):
                pending.extend(each.values())
        elif isinstance(each, (collections.abc.ValuesView, collections.abc.ItemsView)):
            pending.extend(each)
        if room < 0:
            raise errors.MemoryQuotaExceeded("Expression consumed too much memory: a value has too much text")


def _prepared(argument: Any) -> Any:
    if isinstance(argument, MappingRule):
        return yaql_tree.MappingRuleExpression(_side(argument.source), _side(argument.destination))
    if callable(argument) and type(argument) is _FUNCTION:
        return _Delayed(argument)
    return check_extent(argument)


_FUNCTION = type(lambda: None)  # compiled lambdas are exactly this; host objects that can be called are values


def _side(value: Any) -> yaql_tree.Expression:
    return _Delayed(value) if type(value) is _FUNCTION else yaql_tree.Constant(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 500 else text[:497] + "..."


def _overloads(context: Any, name: str, method: bool) -> list[Any]:
    def suits(definition: Any, _context: Any) -> bool:
        return definition.is_method if method else definition.is_function

    return [definition for layer in context.collect_functions(name, suits) for definition in layer]


@functools.lru_cache(maxsize=2)
def _context(legacy: bool) -> Any:
    create = yaql_legacy.create_context if legacy else yaql.create_context
    # Regular expressions have a time limit here (dsl.functions.patterns), so the library's are left out.
    context = create(convention=conventions.CamelCaseConvention(), yaqlized=False, regex=False)
    context = context.create_child_context()
    if legacy:
        _register_legacy_functions(context)
    return context


def _register_legacy_functions(context: yaql_contexts.Context) -> None:
    """Formats 1.0 and 1.1 also have these as plain functions (spec/muranopl.md §17.2)."""
    for name in (
        "toLower",
        "toUpper",
        "trim",
        "join",
        "split",
        "startsWith",
        "endsWith",
        "matches",
        "replace",
        "flatten",
    ):
        for definition in _overloads(context, name, method=True):
            clone = definition.clone()
            clone.is_function = True
            context.register_function(clone)

    @specs.parameter("string", yaqltypes.String())
    @specs.parameter("start", int)
    @specs.parameter("length", int)
    @specs.extension_method
    def substr(string: str, start: int, length: int = -1) -> str:
        if length < 0:
            length = len(string)
        if start < 0:
            start += len(string)
        return string[start : start + length]

    @specs.parameter("collection", yaqltypes.Iterable())
    @specs.parameter("default", nullable=True)
    @specs.extension_method
    @specs.name("firstOrDefault")
    def first_or_default(collection: Any, default: Any = None) -> Any:
        return next(iter(collection), default)

    context.register_function(substr)
    context.register_function(first_or_default)
