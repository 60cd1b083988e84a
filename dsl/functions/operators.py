"""Operators on values, exactly as MuranoPL has them (spec/muranopl.md §16, §28).

The compiler writes the common cases inline and calls these for all others. What these do not know either goes to the
yaql library: dates and time spans, lazy collections, and every refusal.
"""

from __future__ import annotations

import collections.abc
import operator
from collections.abc import Callable, Iterable
from typing import Any

from dsl.functions import containers, patterns
from dsl.functions.limits import FunctionLimits, check_bits, check_extent, check_length, check_size, quota_exceeded
from dsl.functions.native import UNSUITED
from dsl.functions.patterns import Pattern
from dsl.functions.values import FrozenDict, FrozenSet, freeze

Walk = Callable[[Any], Iterable[Any]]

# How the yaql library calls the function behind each operator
LIBRARY_NAMES = {
    "+": "#operator_+",
    "-": "#operator_-",
    "*": "#operator_*",
    "/": "#operator_/",
    "mod": "#operator_mod",
    "<": "#operator_<",
    "<=": "#operator_<=",
    ">": "#operator_>",
    ">=": "#operator_>=",
    "=": "*equal",
    "!=": "*not_equal",
    "in": "#operator_in",
    "=~": "#operator_=~",
    "!~": "#operator_!~",
    "unary +": "#unary_operator_+",
    "unary -": "#unary_operator_-",
    "#indexer": "#indexer",
}


def natives(limits: FunctionLimits, walk: Walk, legacy: bool) -> dict[str, Callable[..., Any]]:
    """Operator -> function of its operands, which raises Unsuited for operands it does not know."""

    def key_of(value: Any) -> Any:
        return check_extent(freeze(value), limits)

    def plus(left: Any, right: Any) -> Any:
        kind, other = type(left), type(right)
        if kind in _NUMBERS and other in _NUMBERS:
            return left + right
        if kind is str and other is str:
            check_length(len(left) + len(right), limits)
            return left + right
        if kind is tuple and other is tuple:
            if 0 < limits.memory < 8 * (len(left) + len(right)):
                raise quota_exceeded(limits)
            return left + right
        if isinstance(left, dict) and isinstance(right, dict):
            return FrozenDict(check_size({**left, **right}, limits))
        if kind is FrozenSet and other is FrozenSet:
            return left.union(right)
        raise UNSUITED

    def minus(left: Any, right: Any) -> Any:
        if type(left) in _NUMBERS and type(right) in _NUMBERS:
            return left - right
        if isinstance(left, collections.abc.Set) and isinstance(right, collections.abc.Set):
            return containers.as_set(left).difference(right)
        raise UNSUITED

    def times(left: Any, right: Any) -> Any:
        kind, other = type(left), type(right)
        if kind is int and other is int:
            check_bits(left.bit_length() + right.bit_length() - 1, limits)
            return left * right
        if kind in _NUMBERS and other in _NUMBERS:
            return left * right
        if kind is int and other in (str, tuple):
            return containers.repeated(right, left, limits)
        if other is int and kind in (str, tuple):
            return containers.repeated(left, right, limits)
        raise UNSUITED

    def divide(left: Any, right: Any) -> Any:
        if type(left) is int and type(right) is int:
            return left // right
        return operator.truediv(*_numbers(left, right))

    def modulo(left: Any, right: Any) -> Any:
        return operator.mod(*_numbers(left, right))

    def equal(left: Any, right: Any) -> bool:
        return check_extent(left, limits) == right  # one side bounds how far the comparison goes

    def contains(value: Any, collection: Any) -> bool:
        if type(collection) is str:
            if type(value) is not str:
                raise UNSUITED
            return value in collection
        return key_of(value) in walk(collection)

    def matches(text: Any, pattern: Any) -> bool:
        if type(text) is not str or type(pattern) not in (str, Pattern):
            raise UNSUITED
        return patterns.as_pattern(pattern, limits).search(text) is not None

    def index(collection: Any, key: Any, *default: Any) -> Any:
        if type(key) is _FUNCTION:  # Format 1.0 and 1.1: the index is a predicate unless it is a number
            if not isinstance(collection, (tuple, list)):
                raise UNSUITED
            key = key()
            if type(key) is not int:
                raise UNSUITED
        if type(collection) is FrozenDict:
            if legacy:
                raise UNSUITED
            if default:
                return collection.get(key_of(key), *default)
            return collection[key_of(key)]
        if isinstance(collection, (tuple, list)) and type(key) is int and not default:
            return collection[key]
        raise UNSUITED

    def negative(value: Any) -> Any:
        if type(value) in _NUMBERS:
            return -value
        raise UNSUITED

    def positive(value: Any) -> Any:
        if type(value) in _NUMBERS:
            return value
        raise UNSUITED

    return {
        "+": plus,
        "-": minus,
        "*": times,
        "/": divide,
        "mod": modulo,
        "<": _ordering(operator.lt, null_first=True, equal=False),
        "<=": _ordering(operator.le, null_first=True, equal=True),
        ">": _ordering(operator.gt, null_first=False, equal=False),
        ">=": _ordering(operator.ge, null_first=False, equal=True),
        "=": equal,
        "!=": lambda left, right: not equal(left, right),
        "in": contains,
        "=~": matches,
        "!~": lambda text, pattern: not matches(text, pattern),
        "unary +": positive,
        "unary -": negative,
        "#indexer": index,
    }


def _ordering(compare: Callable[[Any, Any], bool], null_first: bool, equal: bool) -> Callable[[Any, Any], bool]:
    """An order relation: numbers with numbers, texts with texts, sets with sets; null is less than everything else."""

    def ordered(left: Any, right: Any) -> bool:
        kind, other = type(left), type(right)
        if (kind in _NUMBERS and other in _NUMBERS) or (kind is str and other is str):
            return compare(left, right)
        if left is None or right is None:
            if left is right:
                return equal
            return null_first if left is None else not null_first
        if kind is FrozenSet and other is FrozenSet:
            return compare(left, right)
        raise UNSUITED

    return ordered


def _numbers(left: Any, right: Any) -> tuple[Any, Any]:
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return left, right
    raise UNSUITED


_NUMBERS = frozenset({int, float})
_FUNCTION = type(lambda: None)
