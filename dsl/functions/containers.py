"""Lists, dictionaries and sets: building and changing them (spec/muranopl.md §17.3). Nothing is changed in place."""

from __future__ import annotations

import collections.abc
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dsl.functions import queries, values
from dsl.functions.limits import FunctionLimits, check_extent, check_size, quota_exceeded
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import FrozenDict, FrozenSet, MappingRule, freeze

Walk = Callable[[Any], Iterable[Any]]


def natives(limits: FunctionLimits, walk: Walk, legacy: bool) -> list[Native]:
    """The functions; `walk` gives the items of a collection or raises Unsuited."""
    collect = Collector()
    most = limits.iterators

    def key_of(value: Any) -> Any:
        return check_extent(freeze(value), limits)

    build: Callable[[Iterable[Any]], Any] = list if legacy else tuple  # in 1.0 and 1.1 lists and tuples differ

    @collect.function("list")
    def make_list(*items: Any) -> Any:
        return build(freeze(item) for item in _spread(items, most))

    @collect.method("toList")
    def to_list(collection: Any) -> Any:
        if type(collection) is tuple and not legacy:
            walk(collection)
            return collection
        return build(freeze(item) for item in walk(collection))

    @collect.function("dict")
    def make_dict(*items: Any) -> FrozenDict:
        if all(type(item) is MappingRule for item in items):
            return FrozenDict((key_of(rule.source), freeze(rule.destination)) for rule in items)
        if legacy:
            raise UNSUITED
        if len(items) != 1:
            raise UNSUITED
        pairs: dict[Any, Any] = {}
        for item in walk(items[0]):
            pair = iter(walk(item))
            key, value = next(pair, values.NO_VALUE), next(pair, values.NO_VALUE)
            if value is values.NO_VALUE:
                raise queries.stop_iteration("a pair has fewer than two items")
            pairs[key_of(key)] = freeze(value)
        return FrozenDict(check_size(pairs, limits))

    @collect.method("toDict")
    def to_dict(collection: Any, key: Any, value: Any = None) -> FrozenDict:
        result: dict[Any, Any] = {}
        for item in walk(collection):
            result[key_of(key(item))] = freeze(item if value is None else value(item))
        return FrozenDict(check_size(result, limits))

    @collect.method("get")
    def get(table: Any, key: Any, default: Any = None) -> Any:
        return _dict(table).get(key_of(key), default)

    @collect.method("keys")
    def keys(table: Any) -> Any:
        return _dict(table).keys()

    @collect.method("values")
    def dict_values(table: Any) -> Any:
        return _dict(table).values()

    @collect.method("items")
    def items_of(table: Any) -> Any:
        return _dict(table).items()

    @collect.method("containsKey")
    def contains_key(table: Any, key: Any) -> bool:
        return key_of(key) in _dict(table)

    @collect.method("containsValue")
    def contains_value(table: Any, value: Any) -> bool:
        return key_of(value) in _dict(table).values()

    @collect.method("set")
    def set_items(table: Any, *changes: Any) -> FrozenDict:
        result = dict(_dict(table))
        if len(changes) == 1 and isinstance(changes[0], dict):
            result.update(changes[0])
        elif changes and all(type(change) is MappingRule for change in changes):
            result.update((key_of(rule.source), freeze(rule.destination)) for rule in changes)
        elif len(changes) == 2:
            result[key_of(changes[0])] = freeze(changes[1])
        else:
            raise UNSUITED
        return FrozenDict(check_size(result, limits))

    @collect.method("delete")
    def delete(collection: Any, *arguments: Any) -> Any:
        if isinstance(collection, dict) and not (legacy and _is_position(arguments)):
            return _without(collection, map(key_of, arguments))
        if not _is_position(arguments):
            raise UNSUITED
        position, count = (*arguments, 1)[:2]
        return _deleted(walk(collection), position, count)

    @collect.method("deleteAll")
    def delete_all(table: Any, names: Any) -> FrozenDict:
        return _without(_dict(table), map(key_of, walk(names)))

    @collect.method("mergeWith")
    def merge_with(
        table: Any, other: Any, merge_lists: Any = None, merge_items: Any = None, max_levels: Any = 0
    ) -> FrozenDict:
        if type(max_levels) is not int:
            raise UNSUITED
        merger = _Merger(merge_lists, merge_items, limits)
        return merger.merged(_dict(table), _dict(other), max_levels)

    @collect.method("insert")
    def insert(collection: Any, position: Any, value: Any) -> tuple:
        if type(collection) is not tuple or type(position) is not int:
            raise UNSUITED
        result = list(collection)
        result.insert(position, freeze(value))
        return tuple(result)

    @collect.method("contains")
    def contains(collection: Any, value: Any) -> bool:
        return key_of(value) in walk(collection)

    @collect.both("len")
    def length(collection: Any) -> int:
        if type(collection) is str or isinstance(collection, collections.abc.Sized):
            if isinstance(collection, (str, tuple, list, dict, collections.abc.Set)):
                return len(collection)
            raise UNSUITED
        return sum(1 for _ in walk(collection))

    @collect.method("flatten")
    def flatten(collection: Any) -> Iterator[Any]:
        return values.limited(_flat(walk(collection), walk, 0), most)

    # Sets, which keep the order of insertion

    @collect.function("set")
    def make_set(*items: Any) -> FrozenSet:
        return FrozenSet(key_of(_no_view(item)) for item in _spread(items, most))

    @collect.method("toSet")
    def to_set(collection: Any) -> FrozenSet:
        return FrozenSet(map(key_of, walk(collection)))

    @collect.method("union")
    def union(left: Any, right: Any) -> FrozenSet:
        return as_set(left).union(as_set(right))

    @collect.method("intersect")
    def intersect(left: Any, right: Any) -> FrozenSet:
        return as_set(left).intersection(as_set(right))

    @collect.method("difference")
    def difference(left: Any, right: Any) -> FrozenSet:
        return as_set(left).difference(as_set(right))

    @collect.method("symmetricDifference")
    def symmetric_difference(left: Any, right: Any) -> FrozenSet:
        return as_set(left).symmetric_difference(as_set(right))

    @collect.method("add")
    def add(members: Any, *items: Any) -> FrozenSet:
        return as_set(members).union(map(key_of, items))

    @collect.method("remove")
    def remove(members: Any, *items: Any) -> FrozenSet:
        return as_set(members).difference(map(key_of, items))

    return collect.natives


def as_set(value: Any) -> FrozenSet:
    """A set, or a view of a dictionary's keys or items, as a FrozenSet. Raises Unsuited."""
    if type(value) is FrozenSet:
        return value
    if isinstance(value, collections.abc.Set):
        return FrozenSet(value)
    raise UNSUITED


class _Merger:
    """Deep merge of dictionaries: lists are joined without duplicates, other items replaced, unless told otherwise."""

    def __init__(self, lists: Any, items: Any, limits: FunctionLimits) -> None:
        self.lists = lists or self._joined
        self.items = items or (lambda _old, new: new)
        self.limits = limits

    def merged(self, left: dict, right: dict, levels: int) -> FrozenDict:
        result: dict[Any, Any] = dict(left)
        for key, new in right.items():
            if key in left:
                new = freeze(self._merged_item(left[key], new, levels))
            result[key] = new
        return FrozenDict(result)

    def _merged_item(self, old: Any, new: Any, levels: int) -> Any:
        if levels != 1 and isinstance(new, dict):
            if not isinstance(old, dict):
                raise TypeError(f"Cannot merge {_kind(old)} with {_kind(new)}")
            return self.merged(old, new, 0 if levels == 0 else levels - 1)
        if levels != 1 and isinstance(new, (tuple, list)):
            if not isinstance(old, (tuple, list)):
                raise TypeError(f"Cannot merge {_kind(old)} with {_kind(new)}")
            return self.lists(old, new)
        return self.items(old, new)

    @staticmethod
    def _joined(old: Iterable[Any], new: Iterable[Any]) -> tuple:
        return tuple(dict.fromkeys(check_extent(item) for item in itertools.chain(old, new)))


def _kind(value: Any) -> str:
    return f"<class '{type(value).__name__}'>"


def _spread(items: Iterable[Any], most: int) -> Iterator[Any]:
    """The arguments of `list()`: iterators among them are replaced by their items."""
    for item in items:
        if hasattr(item, "__next__") and type(item) is not queries.Ordered:  # the library's sorting is no iterator
            yield from _spread(values.limited(item, most), most)
        else:
            yield item


def _no_view(item: Any) -> Any:
    """Refuse keys() and items() as members of a set: until an expression ends they can not be hashed."""
    if isinstance(item, (collections.abc.KeysView, collections.abc.ItemsView)):
        raise TypeError("a view of a dictionary can not be a member of a set")
    return item


def _flat(items: Iterable[Any], walk: Walk, depth: int) -> Iterator[Any]:
    if depth > 200:
        raise RecursionError("the collection is nested too deeply")
    for item in items:
        if is_iterable(item):
            yield from _flat(walk(item), walk, depth + 1)
        else:
            yield item


def is_iterable(value: Any) -> bool:
    """Whether a value is a list, set, view or iterator: not a text, not a dictionary."""
    return isinstance(value, collections.abc.Iterable) and not isinstance(value, (str, bytes, collections.abc.Mapping))


def _deleted(items: Iterable[Any], position: int, count: int) -> Iterator[Any]:
    for number, item in enumerate(items):
        if number < position if count < 0 else not position <= number < position + count:
            yield item


def _is_position(arguments: tuple) -> bool:
    return 1 <= len(arguments) <= 2 and all(type(argument) is int for argument in arguments)


def _without(table: dict, keys: Iterable[Any]) -> FrozenDict:
    dropped = set(keys)
    return FrozenDict((key, value) for key, value in table.items() if key not in dropped)


def _dict(value: Any) -> dict:
    if isinstance(value, dict):
        return value
    raise UNSUITED


def repeated(sequence: Any, times: int, limits: FunctionLimits) -> Any:
    """`sequence * times`, refused before it is built if it is too large."""
    if times > 1 and 0 < limits.memory < sys.getsizeof(sequence) * times:
        raise quota_exceeded(limits)
    return sequence * times
