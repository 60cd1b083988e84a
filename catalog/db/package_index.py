"""Every package of the catalog in memory, for lists and searches: `current(session)`.

One query per request asks whether the catalog's generation (`catalog.db.packages.generation`) is still the one in
memory; only when it is not, what changed is read. So answers are those of the database at that moment, in every
process and on every database, and cost no join. An `Index` never changes: a newer one takes its place. Why not
full-text search: docs/architecture.md, "Lists and searches".
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import functools
import itertools
import operator
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.categories import Category
from catalog.db.packages import (
    ACTIVE,
    ClassDefinition,
    Package,
    PackageShare,
    Tag,
    generation,
    package_categories,
    package_tags,
)

CHUNK = 500  # ids in one query
SEPARATOR = "\0"  # between texts: no text and no word has it

FIELDS = ("name", "fqn", "description", "categories", "tags", "classes", "author", "other")  # in order of weight
ORDERS = ("name", "fqn", "created")
Derived = TypeVar("Derived")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One package version. `shown` belongs to the API, `words` to `catalog.db.package_words`: each is made once."""

    id: str
    name: str
    fqn: str
    version: str
    type: str
    description: str
    author: str
    supplier: Mapping[str, Any]
    require: Mapping[str, str]
    owner_id: str
    is_public: bool
    enabled: bool
    lifecycle: str
    lifecycle_reason: str | None
    digest: str
    created: datetime.datetime
    updated: datetime.datetime
    terms: str
    categories: tuple[str, ...]
    tags: tuple[str, ...]
    classes: tuple[str, ...]
    shares: frozenset[str]
    shown: list[bytes] = dataclasses.field(default_factory=list, repr=False)
    words: list[str] = dataclasses.field(default_factory=list, repr=False)

    def is_visible_to(self, project_id: str) -> bool:
        """Whether a project may see it: its own, public, or shared with it."""
        return self.is_public or self.owner_id == project_id or project_id in self.shares


class Index:
    """All packages of one generation. Packages are known by their place, a number from 0."""

    def __init__(self, generation: int, by_id: Mapping[str, Entry], older: Index | None = None) -> None:
        self.generation = generation
        self.entries: Sequence[Entry] = list(by_id.values())
        self.by_id = by_id
        self._orders: dict[tuple[str, ...], Order] = {}
        self._texts: dict[str, Texts] = {}
        self._derived: dict[str, Any] = {}
        self._older: dict[tuple[str, ...], list[str]] = {}  # ids as they were in order
        if older is not None:
            self._older = {**older._older, **{keys: older.ids(keys) for keys in older._orders}}

    def order(self, keys: tuple[str, ...]) -> Order:
        """The packages by these of `ORDERS`, then by id."""
        found = self._orders.get(keys)
        if found is None:
            key = operator.attrgetter(*keys, "id") if keys else operator.attrgetter("id")
            entries, places = self.entries, self.places
            nearly = dict.fromkeys(places[id] for id in self._older.pop(keys, ()) if id in places)
            nearly.update(dict.fromkeys(range(len(entries))))  # sorting is fast where little is out of order
            found = Order(sorted(nearly, key=lambda place: key(entries[place])))
            self._orders[keys] = found
        return found

    def ids(self, keys: tuple[str, ...]) -> list[str]:
        """The ids of all packages in an order."""
        entries = self.entries
        return [entries[place].id for place in self.order(keys).places]

    def texts(self, field: str) -> Texts:
        """What searches look through of one of `FIELDS`."""
        found = self._texts.get(field)
        if found is None:
            found = self._texts[field] = Texts([text_of(entry, field) for entry in self.entries])
        return found

    def derived(self, name: str, make: Callable[[], Derived]) -> Derived:
        """What `make` makes of this index, made once."""
        if name not in self._derived:
            self._derived[name] = make()
        found: Derived = self._derived[name]
        return found

    @functools.cached_property
    def tags(self) -> Mapping[str, set[int]]:
        return _places((name, place) for place, entry in enumerate(self.entries) for name in entry.tags)

    @functools.cached_property
    def categories(self) -> Mapping[str, set[int]]:
        return _places((name, place) for place, entry in enumerate(self.entries) for name in entry.categories)

    @functools.cached_property
    def classes(self) -> Mapping[str, set[int]]:
        return _places((name, place) for place, entry in enumerate(self.entries) for name in entry.classes)

    @functools.cached_property
    def fqns(self) -> Mapping[str, set[int]]:
        return _places((entry.fqn, place) for place, entry in enumerate(self.entries))

    @functools.cached_property
    def names(self) -> Mapping[str, set[int]]:
        return _places((entry.name, place) for place, entry in enumerate(self.entries))

    @functools.cached_property
    def outdated(self) -> set[int]:
        """Where versions are that are deprecated or yanked."""
        return {place for place, entry in enumerate(self.entries) if entry.lifecycle != ACTIVE}

    @functools.cached_property
    def places(self) -> Mapping[str, int]:
        """Where the package of an id is."""
        return {entry.id: place for place, entry in enumerate(self.entries)}


class Order:
    """Places in an order, and the rank each has in it."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = places
        self.rank = [0] * len(places)
        for rank, place in enumerate(places):
            self.rank[place] = rank


class Texts:
    """One lower-case text per place, joined, so that one pass of a fast search finds all that contain a word."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._joined = SEPARATOR.join(texts)
        lengths = (len(text) + 1 for text in texts[:-1])
        self._starts = list(itertools.accumulate(lengths, initial=0)) if texts else []
        self._found: dict[str, frozenset[int]] = {}

    def containing(self, word: str) -> frozenset[int]:
        """The places whose text contains the word, which is in lower case."""
        found = self._found.get(word)
        if found is None:
            if len(self._found) >= 256:
                self._found.clear()
            found = self._found[word] = frozenset(self._look_for(word))
        return found

    def _look_for(self, word: str) -> Iterable[int]:
        joined, starts = self._joined, self._starts
        position = joined.find(word)
        while position >= 0:
            place = bisect.bisect_right(starts, position) - 1
            yield place
            if place + 1 == len(starts):
                return
            position = joined.find(word, starts[place + 1])


def text_of(entry: Entry, field: str) -> str:
    """What one of `FIELDS` says of a package, in lower case; several values with a line's end between them."""
    if field == "other":
        return "\n".join((entry.id, entry.type.lower(), entry.owner_id.lower(), entry.terms))
    value = getattr(entry, field)
    return "\n".join(value).lower() if isinstance(value, tuple) else str(value).lower()


def entry_of(package: Package) -> Entry:
    """The entry of a package at hand, who it is shared with left out."""
    tags, classes = [tag.name for tag in package.tags], [each.name for each in package.class_definitions]
    shelves = [category.name for category in package.categories]
    values = [getattr(package, column.key) for column in COLUMNS]
    return _entry(values, "", shelves, tags, classes, ())


# --- keeping up with the database ------------------------------------------------------------------------------------

COLUMNS: tuple[orm.InstrumentedAttribute[Any], ...] = (
    Package.id,
    Package.name,
    Package.fully_qualified_name,
    Package.version,
    Package.type,
    Package.description,
    Package.author,
    Package.supplier,
    Package.require,
    Package.owner_id,
    Package.is_public,
    Package.enabled,
    Package.lifecycle,
    Package.lifecycle_reason,
    Package.digest,
    Package.created,
    Package.updated,
)


class Keeper:
    """Keeps the index of one database. Threads share it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._index: Index | None = None

    def current(self, session: orm.Session) -> Index:
        """The index as of now."""
        now = generation(session)
        index = self._index
        if index is not None and index.generation == now:
            return index
        with self._mutex:
            index = self._index
            if index is None or index.generation < now:
                index = self._index = _newer(session, now, index)
            return index


def current(session: orm.Session) -> Index:
    """The index of the session's database, as of now."""
    keeper: Keeper = session.info["database"].kept(Keeper)
    return keeper.current(session)


def _newer(session: orm.Session, now: int, index: Index | None) -> Index:
    if index is None:
        return Index(now, {entry.id: entry for entry in _read(session, sa.true())})
    by_id = dict(index.by_id)
    by_id.update({entry.id: entry for entry in _read(session, Package.changed > index.generation)})
    if session.scalar(sa.select(sa.func.count()).select_from(Package)) != len(by_id):
        present = set(session.scalars(sa.select(Package.id)))
        by_id = {id: entry for id, entry in by_id.items() if id in present}
        missing = sorted(present - set(by_id))
        for start in range(0, len(missing), CHUNK):
            some = Package.id.in_(missing[start : start + CHUNK])
            by_id.update({entry.id: entry for entry in _read(session, some)})
    return Index(now, by_id, index)


def _read(session: orm.Session, where: sa.ColumnElement[bool]) -> list[Entry]:
    rows = session.connection().execute(sa.select(*COLUMNS, Package.terms).where(where)).all()
    if not rows:
        return []
    if len(rows) <= CHUNK:
        where = Package.id.in_([row.id for row in rows])
    shelves = _names(session, where, package_categories, Category)
    tags = _names(session, where, package_tags, Tag)
    defined = sa.select(ClassDefinition.package_id, ClassDefinition.name).join(Package).where(where)
    classes = _grouped(session.connection().execute(defined))
    shared = sa.select(PackageShare.package_id, PackageShare.project_id).join(Package).where(where)
    projects = _grouped(session.connection().execute(shared))
    found = []
    for row in rows:
        of = row[0]
        lists = (shelves.get(of, ()), tags.get(of, ()), classes.get(of, ()), projects.get(of, ()))
        found.append(_entry(row, row[-1] or "", *lists))
    return found


def _entry(
    values: Sequence[Any],
    terms: str,
    shelves: Collection[str],
    tags: Collection[str],
    classes: Collection[str],
    projects: Collection[str],
) -> Entry:
    arguments: list[Any] = list(values[: len(COLUMNS)])
    arguments += [terms, tuple(sorted(shelves)), tuple(sorted(tags)), tuple(sorted(classes)), frozenset(projects)]
    return Entry(*arguments)


def _names(
    session: orm.Session, where: sa.ColumnElement[bool], links: sa.Table, named: type[Category] | type[Tag]
) -> dict[str, list[str]]:
    """Of each package, the names of its tags or categories."""
    package_id, named_id = links.c
    query = sa.select(package_id, named.name).join(named, named.id == named_id)
    query = query.join(Package, Package.id == package_id).where(where)
    return _grouped(session.connection().execute(query))


def _grouped(pairs: Iterable[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _places(pairs: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for name, place in pairs:
        found.setdefault(name, set()).add(place)
    return found
