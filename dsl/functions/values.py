"""MuranoPL's values: immutable, hashable, by value (spec/muranopl.md §16).

Lists are tuples, dicts `FrozenDict`s, sets `FrozenSet`s whose order can be repeated, so that no program can see the
hashes of texts. A value of exactly one of these types holds nothing but frozen values: that is what every function
and literal keeps to, and why freezing such a value costs nothing.
"""

from __future__ import annotations

import collections.abc
import datetime
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from yaql.language import utils as yaql_utils

from dsl.errors import CollectionTooLarge

NO_VALUE = yaql_utils.NO_VALUE  # an argument that was left out: `f(, 2)`
MappingRule = yaql_utils.MappingRule  # `source => destination` between the arguments of a call


class FrozenDict(dict):
    """A dict that never changes and can be a key."""

    __slots__ = ("_hash",)

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash: int = hash(frozenset(self.items()))
            return self._hash

    def _refuse(self, *_arguments: object, **_keywords: object) -> NoReturn:
        raise TypeError("a MuranoPL dictionary can not be changed")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: dict) -> FrozenDict:
        return self

    def __reduce__(self) -> tuple[type, tuple[dict]]:
        return FrozenDict, (dict(self),)


class FrozenSet(frozenset):
    """A set that never changes and can be a key. Its order can be repeated: that of the numbers' own hashes for numbers
    (Murano's), and for all others, whose hashes differ from process to process, that in which the members came."""

    __slots__ = ("_order",)
    _order: tuple

    def __new__(cls, members: Iterable[object] = ()) -> FrozenSet:
        order = tuple(dict.fromkeys(members))
        self = super().__new__(cls, order)
        self._order = tuple(frozenset.__iter__(self)) if len(order) > 1 and _hashes_stay(order) else order
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def __repr__(self) -> str:
        return "frozenset({" + ", ".join(map(repr, self._order)) + "})" if self._order else "frozenset()"

    def union(self, *others: Iterable[object]) -> FrozenSet:
        return FrozenSet(itertools.chain(self._order, *others))

    def intersection(self, *others: Iterable[object]) -> FrozenSet:
        kept = frozenset.intersection(self, *others)
        return FrozenSet(member for member in self._order if member in kept)

    def difference(self, *others: Iterable[object]) -> FrozenSet:
        dropped = set(itertools.chain(*others))
        return FrozenSet(member for member in self._order if member not in dropped)

    def symmetric_difference(self, other: Iterable[object]) -> FrozenSet:
        theirs = FrozenSet(other)
        return self.difference(theirs).union(theirs.difference(self))

    def __reduce__(self) -> tuple[type, tuple[tuple]]:
        return FrozenSet, (self._order,)


# Iterators that only functions of this library make, over collections that were limited already
BOUNDED: frozenset[type] = frozenset(
    {map, filter, zip, itertools.takewhile, itertools.dropwhile, itertools.islice, type(iter(range(0)))}
)

ATOMIC: frozenset[type] = frozenset(
    {
        type(None), bool, int, float, str, bytes, tuple, FrozenDict, FrozenSet,
        datetime.datetime, datetime.date, datetime.timedelta,
    }
)  # fmt: skip


def freeze(value: Any) -> Any:
    """The immutable form of a value: what an expression yields, what the host hands in.

    Iterators are used up (those of the function library end at its limit); views of keys and items become sets. Objects
    and other opaque values pass through.
    """
    kind = type(value)
    if kind in ATOMIC:
        return value
    if kind is _NUMBERS:
        return tuple(value)
    if isinstance(value, str):  # a subclass of the host's
        return str(value)
    if isinstance(value, collections.abc.Mapping):
        return FrozenDict({freeze(key): freeze(item) for key, item in value.items()})
    if isinstance(value, collections.abc.Set):
        if isinstance(value, (set, frozenset)):  # their order is not reproducible
            return FrozenSet(sorted((freeze(item) for item in value), key=_sort_key))
        return FrozenSet(freeze(item) for item in value)
    if isinstance(value, (list, tuple, collections.abc.Iterator, collections.abc.ValuesView)):
        return tuple([item if type(item) in ATOMIC else freeze(item) for item in value])
    return value


def deep_freeze(value: Any) -> Any:
    """Freeze what may be a tuple of things that are not frozen, such as data of the host."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple([deep_freeze(item) for item in value])
    if isinstance(value, list):
        return tuple([deep_freeze(item) for item in value])
    if isinstance(value, collections.abc.Mapping) and type(value) is not FrozenDict:
        return FrozenDict({deep_freeze(key): deep_freeze(item) for key, item in value.items()})
    return freeze(value)


def thaw(value: Any, convert: Callable[[Any], Any] | None = None) -> Any:
    """A mutable copy for the host: dicts and lists. `convert` maps what is neither (objects, for example)."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, collections.abc.Mapping):
        return {thaw(key, convert): thaw(item, convert) for key, item in value.items()}
    if isinstance(value, (tuple, list, collections.abc.Set, collections.abc.Iterator)):
        return [thaw(item, convert) for item in value]
    return value if convert is None else convert(value)


def limited(items: Iterable[Any], limit: int) -> Iterator[Any]:
    """The items, until there are more than `limit`: then CollectionTooLarge."""
    for number, item in enumerate(items):
        if number >= limit:
            raise too_large(limit)
        yield item


def too_large(limit: int) -> CollectionTooLarge:
    """The error for a collection or iterator of more than `limit` items."""
    return CollectionTooLarge(f"Collection length exceeds {limit} elements")


_NUMBERS = type(iter(range(0)))


def _hashes_stay(members: Iterable[object]) -> bool:
    """Whether the members' hashes are the same in every process: numbers, and lists of such."""
    for member in members:
        kind = type(member)
        if kind is tuple:
            if not _hashes_stay(member):  # type: ignore[arg-type]
                return False
        elif kind is not int and kind is not float and kind is not bool:
            return False
    return True


def _sort_key(value: object) -> tuple[str, str]:
    return type(value).__name__, repr(value)
