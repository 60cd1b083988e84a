"""Queries over collections (spec/muranopl.md §17.3). Results are lazy where the library's are: iterators."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dsl.errors import Thrown
from dsl.functions import values
from dsl.functions.limits import FunctionLimits, check_extent
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import NO_VALUE, freeze

Walk = Callable[[Any], Iterable[Any]]
Operator = Callable[[Any, Any], Any]


def natives(
    limits: FunctionLimits, walk: Walk, plus: Operator, less: Operator, greater: Operator, legacy: bool
) -> list[Native]:
    """The functions; `walk` gives the items of a collection or raises Unsuited, the others are the operators."""
    collect = Collector()
    most = limits.iterators

    @collect.method("where", "filter")
    def where(collection: Any, predicate: Any) -> Iterator[Any]:
        return filter(predicate, walk(collection))

    @collect.method("select", "map")
    def select(collection: Any, selector: Any) -> Iterator[Any]:
        return map(selector, walk(collection))

    @collect.method("selectMany")
    def select_many(collection: Any, selector: Any) -> Iterator[Any]:
        return values.limited(_many(walk(collection), selector), most)

    @collect.method("skip")
    def skip(collection: Any, count: Any) -> Iterator[Any]:
        return itertools.islice(walk(collection), _natural(count), None)

    @collect.method("take", "limit")
    def take(collection: Any, count: Any) -> Iterator[Any]:
        return itertools.islice(walk(collection), _natural(count))

    @collect.method("takeWhile")
    def take_while(collection: Any, predicate: Any) -> Iterator[Any]:
        return itertools.takewhile(predicate, walk(collection))

    @collect.method("skipWhile")
    def skip_while(collection: Any, predicate: Any) -> Iterator[Any]:
        return itertools.dropwhile(predicate, walk(collection))

    @collect.both("append")
    def append(collection: Any, *items: Any) -> Iterator[Any]:
        return values.limited(itertools.chain(walk(collection), items), most)

    @collect.both("concat")
    def concat(*collections: Any) -> Iterator[Any]:
        if not collections:
            raise UNSUITED
        return values.limited(itertools.chain.from_iterable([walk(each) for each in collections]), most)

    @collect.both("distinct")
    def distinct(collection: Any, key: Any = None) -> Iterator[Any]:
        return _distinct(walk(collection), key, limits)

    @collect.both("any")
    def any_of(collection: Any, predicate: Any = None) -> bool:
        return any(predicate is None or predicate(item) for item in walk(collection))

    @collect.both("all")
    def all_of(collection: Any, predicate: Any = None) -> bool:
        return all(item if predicate is None else predicate(item) for item in walk(collection))

    @collect.both("enumerate")
    def numbered(collection: Any, start: Any = 0) -> Iterator[Any]:
        if type(start) is not int:
            raise UNSUITED
        return map(list, enumerate(walk(collection), start))

    @collect.method("count")
    def count(collection: Any) -> int:
        return sum(1 for _ in walk(collection))

    @collect.method("sum")
    def total(collection: Any, initial: Any = NO_VALUE) -> Any:
        return _reduced(plus, walk(collection), initial)

    @collect.method("max")
    def maximum(collection: Any, initial: Any = NO_VALUE) -> Any:
        return _reduced(lambda a, b: b if greater(b, a) else a, walk(collection), initial)

    @collect.method("min")
    def minimum(collection: Any, initial: Any = NO_VALUE) -> Any:
        return _reduced(lambda a, b: a if greater(b, a) else b, walk(collection), initial)

    @collect.method("aggregate", "reduce")
    def aggregate(collection: Any, selector: Any, seed: Any = NO_VALUE) -> Any:
        return _reduced(selector, walk(collection), seed)

    @collect.method("memorize")
    def memorize(collection: Any) -> Any:
        items = walk(collection)
        return tuple([freeze(item) for item in items]) if hasattr(items, "__next__") else items

    @collect.method("first")
    def first(collection: Any, default: Any = NO_VALUE) -> Any:
        for item in walk(collection):
            return item
        return _or_stop(default)

    @collect.method("last")
    def last(collection: Any, default: Any = NO_VALUE) -> Any:
        if type(collection) is tuple:
            walk(collection)
            return collection[-1] if collection else _or_stop(default)
        found = default
        for item in walk(collection):
            found = item
        return _or_stop(found)

    @collect.method("single")
    def single(collection: Any) -> Any:
        items = iter(walk(collection))
        found = next(items, NO_VALUE)
        if found is NO_VALUE:
            raise stop_iteration("")
        if next(items, NO_VALUE) is not NO_VALUE:
            raise stop_iteration("Collection contains more than one item")
        return found

    @collect.method("indexOf")
    def index_of(collection: Any, item: Any, start: Any = 0) -> int:
        if type(collection) is str:
            if type(item) is not str or type(start) is not int:
                raise UNSUITED
            return collection.find(item, start)
        if start != 0:
            raise UNSUITED
        item = check_extent(freeze(item), limits)
        return next((number for number, each in enumerate(walk(collection)) if each == item), -1)

    @collect.method("indexWhere")
    def index_where(collection: Any, predicate: Any) -> int:
        return next((number for number, each in enumerate(walk(collection)) if predicate(each)), -1)

    @collect.method("reverse")
    def reverse(collection: Any) -> Iterator[Any]:
        return reversed(tuple(walk(collection)))

    @collect.method("zip")
    def zipped(*collections: Any) -> Iterator[Any]:
        return zip(*[walk(collection) for collection in collections], strict=False)

    @collect.method("join")
    def join(collection: Any, other: Any, predicate: Any, selector: Any) -> Iterator[Any]:
        return values.limited(_joined(walk(collection), tuple(walk(other)), predicate, selector), most)

    @collect.function("range")
    def ranged(start: Any, stop: Any = NO_VALUE, step: Any = 1) -> Iterator[int]:
        if legacy or type(start) is not int or type(step) is not int:
            raise UNSUITED  # in 1.0 and 1.1 `range(2)` starts at 2 and has no end
        if stop is NO_VALUE:
            start, stop = 0, start
        if type(stop) is not int:
            raise UNSUITED
        numbers = range(start, stop, step)
        return iter(numbers) if len(numbers[: most + 1]) <= most else values.limited(numbers, most)

    @collect.method("orderBy")
    def order_by(collection: Any, selector: Any) -> Ordered:
        return Ordered(walk(collection), ((selector, False),), less, greater)

    @collect.method("orderByDescending")
    def order_by_descending(collection: Any, selector: Any) -> Ordered:
        return Ordered(walk(collection), ((selector, True),), less, greater)

    @collect.method("thenBy")
    def then_by(collection: Any, selector: Any) -> Ordered:
        return _ordered(collection).further(selector, False)

    @collect.method("thenByDescending")
    def then_by_descending(collection: Any, selector: Any) -> Ordered:
        return _ordered(collection).further(selector, True)

    return collect.natives


class Ordered(Iterator[Any]):
    """A sorted collection that may still get further keys; sorted when it is first walked."""

    def __init__(
        self, items: Iterable[Any], keys: tuple[tuple[Any, bool], ...], less: Operator, greater: Operator
    ) -> None:
        self._items = items if isinstance(items, tuple) else tuple(items)
        self._keys = keys
        self._less = less
        self._greater = greater
        self._rest: Iterator[Any] | None = None

    def further(self, selector: Any, descending: bool) -> Ordered:
        """The same collection, with one more key for items that are equal so far."""
        return Ordered(self._items, (*self._keys, (selector, descending)), self._less, self._greater)

    def __next__(self) -> Any:
        if self._rest is None:
            self._rest = self._sorted()
        return next(self._rest)

    def _sorted(self) -> Iterator[Any]:
        def compare(left: tuple, right: tuple) -> int:
            for a, b, (_, descending) in zip(left[0], right[0], self._keys, strict=True):
                if self._less(a, b):
                    return 1 if descending else -1
                if self._greater(a, b):
                    return -1 if descending else 1
            return 0

        rows = [([freeze(selector(item)) for selector, _ in self._keys], item) for item in self._items]
        rows.sort(key=functools.cmp_to_key(compare))
        return iter([item for _, item in rows])


def stop_iteration(message: str) -> Thrown:
    """Python's StopIteration, which must not be raised as itself: it would end whatever iterator it passes through."""
    return Thrown("StopIteration", message)


def _ordered(value: Any) -> Ordered:
    if type(value) is Ordered:
        return value
    raise UNSUITED


def _many(items: Iterable[Any], selector: Any) -> Iterator[Any]:
    for item in items:
        inner = selector(item)
        if isinstance(inner, (str, bytes, dict)) or not hasattr(type(inner), "__iter__"):
            yield inner
        else:
            yield from inner


def _distinct(items: Iterable[Any], key: Any, limits: FunctionLimits) -> Iterator[Any]:
    seen: set[Any] = set()
    for item in items:
        mark = check_extent(freeze(item if key is None else key(item)), limits)
        if mark not in seen:
            seen.add(mark)
            yield item


def _joined(items: Iterable[Any], others: tuple, predicate: Any, selector: Any) -> Iterator[Any]:
    for item in items:
        for other in others:
            if predicate(item, other):
                yield selector(item, other)


def _reduced(function: Any, items: Iterable[Any], initial: Any) -> Any:
    if initial is NO_VALUE:
        return functools.reduce(function, items)
    return functools.reduce(function, items, initial)


def _or_stop(value: Any) -> Any:
    if value is NO_VALUE:
        raise stop_iteration("")
    return value


def _natural(count: Any) -> int:
    if type(count) is not int:
        raise UNSUITED
    if count < 0:
        raise ValueError("the number of items must not be negative")
    return count
