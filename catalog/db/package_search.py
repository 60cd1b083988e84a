"""Lists of packages as clients ask for them: filters, search, order, pages, facets. spec/api-v1 §1.11, "List/search".

`find(session, query)` answers from `catalog.db.package_index`. Words are looked for in the original's fields, and a
match weighs as much as the first field it is in. Where the original would find nothing, words that are nearly there
are looked for instead (`catalog.db.package_words`).
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sqlalchemy import orm

from catalog.db import package_index, package_words
from catalog.db.package_index import FIELDS, ORDERS, Entry, Index, Order
from catalog.db.packages import YANKED

RELEVANCE = "relevance"  # an order of a search: exact names before beginnings before the rest
FACETS = ("category", "tag", "type", "author")
WALKED = 10  # an order is walked along where it has at most so many places for each that is wanted
FACET_VALUES = 100  # of each facet, the most frequent ones

Admits = Callable[[Entry], bool]


@dataclasses.dataclass(frozen=True)
class Query:
    """What is asked for. `None` and empty sequences do not restrict; `ids=()` is told from None: nothing matches."""

    project_id: str
    everything: bool = False  # an administrator's view over all projects
    include_public: bool = True
    owned: bool = False
    include_disabled: bool = False
    include_yanked: bool = True
    ids: Sequence[str] | None = None
    categories: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    class_name: str | None = None
    fqn: str | None = None
    name: str | None = None
    type: str | None = None
    version: str | None = None
    search: str | None = None
    order_by: Sequence[str] = ("name",)
    descending: bool = False
    limit: int = 20
    marker: str | None = None
    facets: bool = False


@dataclasses.dataclass(frozen=True)
class Found:
    """One page. `facets` are `{facet: {value: packages}}` over all pages, None where they were not asked for.

    `similar` says which words were looked for in place of words that are nowhere.
    """

    entries: Sequence[Entry]
    total: int | None = None
    facets: Mapping[str, Mapping[str, int]] | None = None
    similar: Mapping[str, Sequence[str]] | None = None


class UnknownMarker(LookupError):
    """The marker is no package the caller could have seen."""


def find(session: orm.Session, query: Query) -> Found:
    """One page. Raises `UnknownMarker`."""
    index = package_index.current(session)
    admits = _admits(query)
    marked = None
    if query.marker is not None:
        marked = index.places.get(query.marker)
        if marked is None or not _sees(query, index.entries[marked]):
            raise UnknownMarker(query.marker)
    words = [word.strip().lower() for word in (query.search or "").replace(";", ",").split(",") if word.strip()]
    if words:
        return _searched(index, query, admits, words, marked)
    places = _listed(index, query, admits, None if query.facets else marked)
    if query.facets:
        every = list(places)
        rank = index.order(_keys(query)).rank
        before = _passed(query, rank, marked)
        return Found(_page(index, (place for place in every if not before(place)), query), *_counted(index, every))
    return Found(_page(index, places, query))


def _searched(index: Index, query: Query, admits: Admits, words: Sequence[str], marked: int | None) -> Found:
    """A page of a search. After a marker that the search does not find comes nothing."""
    similar: dict[str, Sequence[str]] = {}
    places = _ranked(index, query, admits, words)
    first = next(places, None)
    if first is None:
        similar = {word: near for word in words if (near := package_words.near(index, word, admits))}
        places = _ranked(index, query, admits, [near for several in similar.values() for near in several])
        first = next(places, None)
    places = itertools.chain(() if first is None else (first,), places)
    every: list[int] = []
    if query.facets:
        every = list(places)
        places = iter(every)
    if marked is not None:
        places = itertools.islice(itertools.dropwhile(lambda place: place != marked, places), 1, None)
    page = _page(index, places, query)
    if not query.facets:
        return Found(page, similar=similar or None)
    total, facets = _counted(index, every)
    return Found(page, total, facets, similar or None)


def _ranked(index: Index, query: Query, admits: Admits, words: Sequence[str]) -> Iterator[int]:
    """What a search finds: for each field, in order of weight, those that no earlier field has.

    Nothing is worked out before it is asked for: a page that is full needs no more.
    """
    within, order = _narrowed(index, query), index.order(_keys(query))
    entries = index.entries
    seen: set[int] = set()
    for field in FIELDS:
        texts = index.texts(field)
        hits: set[int] = set()
        for word in words:
            hits |= texts.containing(word)
        hits -= seen
        seen |= hits
        if within is not None:
            hits &= within
        current = hits - index.outdated
        for some in (current, hits - current):
            places = _in_order(some, order, descending=query.descending)
            if RELEVANCE in query.order_by:
                places = sorted(places, key=lambda place, field=field: _distance(entries[place], field, words))  # type: ignore[misc]
            for place in places:
                if admits(entries[place]):
                    yield place


def _in_order(places: set[int], order: Order, *, descending: bool) -> Iterable[int]:
    """These places in the order: by walking along it when there are many, by sorting when there are few."""
    if len(places) * WALKED < len(order.places):
        return sorted(places, key=order.rank.__getitem__, reverse=descending)
    along = reversed(order.places) if descending else order.places
    return (place for place in along if place in places)


def _listed(index: Index, query: Query, admits: Admits, marked: int | None) -> Iterator[int]:
    """What a list without words has, after the marker."""
    order, within, entries = index.order(_keys(query)), _narrowed(index, query), index.entries
    if within is not None:
        places: Iterable[int] = sorted(within, key=order.rank.__getitem__, reverse=query.descending)
        passed = _passed(query, order.rank, marked)
        return (place for place in places if admits(entries[place]) and not passed(place))
    count = len(order.places)
    start = 0 if marked is None else order.rank[marked] + 1
    if query.descending:
        start = count - 1 if marked is None else order.rank[marked] - 1
        ranks = range(start, -1, -1)
    else:
        ranks = range(start, count)
    return (place for rank in ranks if admits(entries[place := order.places[rank]]))


def _passed(query: Query, rank: Sequence[int], marked: int | None) -> Callable[[int], bool]:
    """Whether a place is the marker's or comes before it."""
    if marked is None:
        return lambda _place: False
    limit = rank[marked]
    if query.descending:
        return lambda place: rank[place] >= limit
    return lambda place: rank[place] <= limit


def _page(index: Index, places: Iterable[int], query: Query) -> list[Entry]:
    return [index.entries[place] for place in itertools.islice(places, query.limit)]


def _keys(query: Query) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for key in query.order_by if key in ORDERS))


def _distance(entry: Entry, field: str, words: Sequence[str]) -> int:
    """How near the best value is to a word: 0 the same, 1 begins with it, 2 has a word that does, 3 contains it."""
    best = 3
    for value in package_index.text_of(entry, field).split("\n"):
        for word in words:
            position = value.find(word)
            if value == word:
                return 0
            if position == 0:
                best = 1
            elif position > 0 and not value[position - 1].isalnum():
                best = min(best, 2)
    return best


# --- filters ---------------------------------------------------------------------------------------------------------


def _sees(query: Query, entry: Entry) -> bool:
    if query.owned:
        return entry.owner_id == query.project_id
    if query.everything or entry.owner_id == query.project_id:
        return True
    return entry.is_visible_to(query.project_id) and (query.include_public or not entry.is_public)


def _admits(query: Query) -> Admits:
    """The conditions that are looked at package by package."""

    include_disabled, include_yanked = query.include_disabled, query.include_yanked
    wanted_type, wanted_version = query.type, query.version
    everybodys = query.include_public and not query.owned

    def admits(entry: Entry) -> bool:
        if not (entry.enabled or include_disabled):
            return False
        if entry.lifecycle == YANKED and not include_yanked:
            return False
        if wanted_type is not None and entry.type != wanted_type:
            return False
        if wanted_version is not None and entry.version != wanted_version:
            return False
        return (everybodys and entry.is_public) or _sees(query, entry)

    return admits


def _narrowed(index: Index, query: Query) -> set[int] | None:
    """The places that the filters by value leave, None for all."""
    sets: list[set[int]] = []
    if query.ids is not None:
        sets.append({index.places[id] for id in query.ids if id in index.places})
    if query.categories is not None:
        sets.append(_any_of(index.categories, query.categories))
    if query.tags is not None:
        sets.append(_any_of(index.tags, query.tags))
    for places, value in (("classes", query.class_name), ("fqns", query.fqn), ("names", query.name)):
        if value is not None:
            sets.append(getattr(index, places).get(value, set()))
    return set.intersection(*sets) if sets else None


def _any_of(places: Mapping[str, set[int]], values: Sequence[str]) -> set[int]:
    return set[int]().union(*(places.get(value, set()) for value in values))


def _counted(index: Index, places: Sequence[int]) -> tuple[int, Mapping[str, Mapping[str, int]]]:
    """How many packages there are, and of these with each category, tag, type and author."""
    entries = [index.entries[place] for place in places]
    shelves, tags = operator.attrgetter("categories"), operator.attrgetter("tags")
    counts = (
        collections.Counter(itertools.chain.from_iterable(map(shelves, entries))),
        collections.Counter(itertools.chain.from_iterable(map(tags, entries))),
        collections.Counter(map(operator.attrgetter("type"), entries)),
        collections.Counter(map(operator.attrgetter("author"), entries)),
    )
    listed = {}
    for facet, counter in zip(FACETS, counts, strict=True):
        frequent = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
        listed[facet] = dict(frequent[:FACET_VALUES])
    return len(entries), listed
