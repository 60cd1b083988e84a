"""Imports: packages with everything they require, all of it or nothing.

What is wanted comes by name from a repository, or is brought along (an archive, an offline bundle, a URL) as a
repository in front of the others. The closure is solved over what the project has and what the repositories have,
then every archive is fetched and checked, and only then one transaction stores them. A preview ends before the
storing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from sqlalchemy import orm

from catalog import dependencies, packages
from catalog.db import base, categories
from catalog.db import packages as stored
from catalog.dependencies import Available, Need
from catalog.repositories.layout import Entry
from catalog.repositories.registry import Registry, Repository
from catalog.repositories.transport import RepositoryError
from dsl.packages import Version, VersionSpec

STORED_RANKS = 4  # what is stored comes before what repositories have: own, others', then deprecated ones
BROUGHT_RANK = -1  # before everything
REPOSITORY = "repository:"  # how origins of repositories' packages begin
SKIP, ABORT, UPDATE = "s", "a", "u"


class UnknownPackage(LookupError):
    """No repository has the package that was asked for (a 404)."""


class TooMany(ValueError):
    """The closure is larger than the operator allows (a 400)."""


@dataclasses.dataclass(frozen=True)
class Brought:
    """A repository that the caller brought along, and its entries."""

    repository: Repository
    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What to import, and for whom. `may_add_categories` makes categories that are missing.

    `name` and `spec`, and what else is in `more`, have to come from a repository; with `brought`, from that one.
    """

    name: str
    project_id: str
    spec: VersionSpec
    category_names: tuple[str, ...] = ()
    is_public: bool = False
    exists: str = SKIP
    may_add_categories: bool = False
    more: tuple[tuple[str, VersionSpec], ...] = ()
    brought: Brought | None = None

    @property
    def roots(self) -> Mapping[str, VersionSpec]:
        """Everything that is wanted itself."""
        return {self.name: self.spec, **dict(self.more)}


@dataclasses.dataclass(frozen=True)
class Done:
    """What happened, or would happen, to one package of the closure; dependencies come first."""

    fqn: str
    version: str
    id: str | None
    action: str  # added, skipped, updated
    repository: str | None
    images: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "images": list(self.images)}


def import_by_name(
    database: base.Database, registry: Registry, wanted: Wanted, *, preview: bool, most: int, most_bytes: int
) -> list[Done]:
    """Imports, or says what an import would do; at most `most` packages of `most_bytes` altogether.

    Raises `UnknownPackage`, `dependencies.Unresolvable`, `TooMany`, `packages.Duplicate`,
    `packages.UnknownCategory`, `PackageError`, `catalog.repositories.transport.RepositoryError`; in each case
    nothing is stored.
    """
    chosen = _closure(database, registry, wanted)
    named = " and ".join(wanted.roots) if len(wanted.roots) < 4 else f"{len(wanted.roots)} packages"
    if len(chosen) > most:
        raise TooMany(f"{named} requires {len(chosen)} packages, more than the {most} this service imports at once")
    fetched: dict[str, packages.Opened] = {}
    brought = wanted.brought.repository if wanted.brought else None
    for _, entry in chosen:
        if entry is not None:
            fetched[entry.fqn] = registry.archive(entry, brought)
            if sum(len(opened.archive) for opened in fetched.values()) > most_bytes:
                raise TooMany(f"{named} and what it requires are larger than {most_bytes >> 20} MiB altogether")
    work = database.reading if preview else database.transaction
    with work() as session:
        _check_categories(session, wanted, create=not preview)
        done = []
        for available, entry in chosen:
            if entry is None:
                done.append(Done(available.name, str(available.version), available.origin, "skipped", None))
                continue
            done.append(_put(session, wanted, entry, fetched[entry.fqn], preview=preview))
    return done


def _closure(database: base.Database, registry: Registry, wanted: Wanted) -> list[tuple[Available, Entry | None]]:
    """The packages, dependencies first; those that are there already without an entry.

    Repositories are asked while no transaction is open: they may be slow, and they write to the cache.
    """
    source = _Source(database, registry, wanted)
    needs = [_need(registry, source, wanted, name, spec) for name, spec in wanted.roots.items()]
    where = "neither the catalog nor any repository"
    try:
        solution = dependencies.resolve(needs, source, "the catalog with its repositories")
    except dependencies.Unresolvable as failure:
        text = str(failure).replace(
            "but the catalog with its repositories has no package", f"but {where} has a package"
        )
        raise dependencies.Unresolvable(f"{text} Nothing was stored.", failure.conflict)
    ordered: dict[str, None] = {}
    for name in wanted.roots:
        _order(name, solution, ordered, set())
    pairs = [(solution[name], source.entries.get(solution[name].origin)) for name in ordered]
    return [(chosen, entry) for chosen, entry in pairs if entry is not None or chosen.name != dependencies.CORE]


def _need(registry: Registry, source: _Source, wanted: Wanted, name: str, spec: VersionSpec) -> Need:
    offered = [each for each in source.offered(name) if wanted.brought is None or each.rank == BROUGHT_RANK]
    if not offered:
        configured = ", ".join(repository.name for repository in registry.repositories) or "none is configured"
        raise UnknownPackage(f"No repository has a package {name} (repositories: {configured})")
    return Need(name, spec, ("the import",), frozenset(each.origin for each in offered))


def _order(name: str, solution: Mapping[str, Available], ordered: dict[str, None], path: set[str]) -> None:
    """Adds a package after what it requires; where packages require each other, in the order they are met."""
    if name in ordered or name in path:
        return
    path.add(name)
    for need in dependencies.requirements(solution[name]):
        _order(need.name, solution, ordered, path)
    ordered[name] = None


class _Source:
    """What the caller brought, what the project has, then what the repositories have.

    With `update`, repositories come before what the project has.
    """

    def __init__(self, database: base.Database, registry: Registry, wanted: Wanted) -> None:
        self._database = database
        self._registry = registry
        self._wanted = wanted
        self._known: dict[str, list[Available]] = {}
        self._offered: dict[str, list[Available]] = {}
        self.entries: dict[str, Entry] = {}

    def versions(self, name: str) -> Sequence[Available]:
        if name not in self._known:
            self._known[name] = [*self._stored(name), *self.offered(name)]
        return self._known[name]

    def offered(self, name: str) -> list[Available]:
        """What was brought and what the repositories have of a package."""
        if name not in self._offered:
            brought = self._wanted.brought
            # The core is the service's own: it is not replaced along with something else.
            may_come = name != dependencies.CORE or set(self._wanted.roots) == {name}
            entries = brought.entries if brought and may_come else ()
            found = [(BROUGHT_RANK, each) for each in entries if each.fqn == name]
            base_rank = 0 if self._wanted.exists == UPDATE else STORED_RANKS
            ranked = [*found, *((base_rank + rank, entry) for rank, entry in self._of_repositories(name))]
            self._offered[name] = [self._available(entry, rank) for rank, entry in ranked]
        return self._offered[name]

    def _of_repositories(self, name: str) -> list[tuple[int, Entry]]:
        """A repository that does not answer is no obstacle for what is there without it."""
        try:
            return self._registry.versions(name)
        except RepositoryError:
            brought = self._wanted.brought
            if self._stored(name) or (brought and any(each.fqn == name for each in brought.entries)):
                return []
            raise

    def _available(self, entry: Entry, rank: int) -> Available:
        origin = f"{REPOSITORY}{entry.repository}/{entry.archive}"
        self.entries[origin] = entry
        require = {each: VersionSpec.parse(spec) for each, spec in entry.require.items()}
        return Available(entry.fqn, Version.coerce(entry.version), require, origin, rank)

    def _stored(self, name: str) -> list[Available]:
        """A public package shall not rest on private ones, so for a public import only public ones count."""
        with self._database.reading() as session:
            found = dependencies.Stored(session, self._wanted.project_id)
            present = [
                each for each in found.versions(name) if not self._wanted.is_public or found.rows[each.origin].is_public
            ]
        if self._wanted.exists != UPDATE:
            return present
        behind = len(self._registry.repositories)
        return [dataclasses.replace(each, rank=each.rank + behind) for each in present]


def _put(session: orm.Session, wanted: Wanted, entry: Entry, opened: packages.Opened, *, preview: bool) -> Done:
    images = _images(opened)
    if preview:
        present = stored.owned(session, wanted.project_id, opened.name, opened.version)
        action = "added"
        if present:
            if wanted.exists == ABORT:
                raise packages.Duplicate(f"Package {opened.name} {opened.version} already exists in this project")
            same = wanted.exists == SKIP or present[0].digest == opened.package.digest
            action = "skipped" if same else "updated"
        else:
            packages.refuse_duplicates(session, opened, owner_id=wanted.project_id, is_public=wanted.is_public)
        return Done(opened.name, opened.version, present[0].id if present else None, action, entry.repository, images)
    row, action = packages.put(
        session,
        opened,
        wanted.exists,
        owner_id=wanted.project_id,
        is_public=wanted.is_public,
        category_names=wanted.category_names,
    )
    return Done(opened.name, opened.version, row.id, action, entry.repository, images)


def _check_categories(session: orm.Session, wanted: Wanted, *, create: bool) -> None:
    present = categories.named(session, wanted.category_names)
    for name in wanted.category_names:
        if name in present:
            continue
        if not wanted.may_add_categories:
            raise packages.UnknownCategory(
                f"Category {name!r} doesn't exist. Ask an administrator for it, or leave it out. Nothing was stored."
            )
        if create:
            categories.add(session, name)


def _images(opened: packages.Opened) -> tuple[str, ...]:
    """The names of the images a package says it needs, in `images.lst`; a broken list names none."""
    if "images.lst" not in opened.package.names:
        return ()
    try:
        document = yaml.safe_load(opened.package.read("images.lst"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        return ()
    listed = document.get("Images") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return ()
    names = [image.get("Name") for image in listed[:100] if isinstance(image, dict)]
    return tuple(name for name in names if isinstance(name, str))
