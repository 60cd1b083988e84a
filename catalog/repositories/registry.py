"""The configured repositories: their indexes, search over them, and what they have of a package, by priority.

The order of configuration is the order of priority. A repository without an index (the original's layout) cannot be
searched, but has its packages under their names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from catalog import packages
from catalog.db import base
from catalog.repositories import layout
from catalog.repositories.layout import Entry
from catalog.repositories.transport import Directory, NotThere, RepositoryError, Transport, Web
from dsl.packages import PackageError, VersionSpec

if TYPE_CHECKING:
    from catalog.repositories.signed import Signed

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Repository:
    """One configured repository."""

    name: str
    location: str
    transport: Transport
    signed: Signed | None = None  # the transport again, where files are believed only if they are signed


@dataclasses.dataclass(frozen=True)
class Found:
    """The answer to a search: what was found, and which repositories could not be asked, with the reason."""

    entries: Sequence[Entry]
    unavailable: Sequence[tuple[str, str]]


class Registry:
    """The repositories of a service. Threads may share it."""

    def __init__(self, conf: cfg.ConfigOpts, database: base.Database | None) -> None:
        self._options = conf.repositories
        self._limits = packages.limits_of(conf)
        self._lock = threading.Lock()
        self._indexes: dict[str, tuple[float, tuple[Entry, ...] | None]] = {}
        roots = dict(_named(text, "root") for text in self._options.root)
        named = [_named(text, "repository") for text in self._options.repository]
        self.repositories = tuple(
            _configured(name, location, roots.pop(name, None), conf, database) for name, location in named
        )
        if roots:
            raise ValueError(f"[repositories] root: expected names of repositories, found {', '.join(sorted(roots))}")

    def search(self, query: str) -> Found:
        """The newest version of every package that has all words of the query in its texts, best matches first."""
        words = query.lower().split()
        ranked: list[tuple[int, int, Entry]] = []
        unavailable: list[tuple[str, str]] = []
        seen: set[str] = set()
        for priority, repository in enumerate(self.repositories):
            try:
                entries = self.index(repository) or ()
            except RepositoryError as failure:
                unavailable.append((repository.name, str(failure)))
                continue
            for entry in newest(entries):
                score = _score(entry, words)
                if score is not None and entry.fqn not in seen:
                    seen.add(entry.fqn)
                    ranked.append((score, priority, entry))
        ranked.sort(key=lambda each: (each[0], each[1], each[2].fqn))
        return Found([entry for _, _, entry in ranked], unavailable)

    def versions(self, fqn: str) -> list[tuple[int, Entry]]:
        """Every version of a package in every repository, with the repository's priority (0 is first).

        A repository that cannot be read counts as not having it, unless it is the only one: then `RepositoryError`.
        """
        found: list[tuple[int, Entry]] = []
        failures: list[RepositoryError] = []
        for priority, repository in enumerate(self.repositories):
            try:
                entries = self.index(repository)
                if entries is None:
                    entries = self._by_name(repository, fqn)
                found.extend((priority, entry) for entry in entries if entry.fqn == fqn)
            except RepositoryError as failure:
                failures.append(failure)
        if failures and not found:
            raise failures[0]
        return found

    def archive(self, entry: Entry, brought: Repository | None = None) -> packages.Opened:
        """The package of an entry, checked to be what the index says. Raises `RepositoryError`, `PackageError`.

        `brought` is a repository that is not configured, for entries of it.
        """
        known = (*self.repositories, *((brought,) if brought else ()))
        repository = next(each for each in known if each.name == entry.repository)
        data = repository.transport.fetch(entry.archive, self._limits.archive_bytes)
        if entry.sha256 is not None and hashlib.sha256(data).hexdigest() != entry.sha256:
            raise RepositoryError(
                f"repository {repository.name}: {entry.archive}: expected the content its index lists "
                f"(SHA-256 {entry.sha256[:12]}...), found another. Nothing was stored."
            )
        opened = packages.open_archive(data, self._limits)
        if (opened.name, opened.version) != (entry.fqn, entry.version):
            raise RepositoryError(
                f"repository {repository.name}: {entry.archive}: expected {entry.fqn} {entry.version}, "
                f"found {opened.name} {opened.version}"
            )
        require = {name: spec.text for name, spec in opened.package.manifest.require.items()}
        if require != dict(entry.require):
            raise RepositoryError(
                f"repository {repository.name}: {entry.archive}: expected to require what its index lists, "
                "found other requirements"
            )
        return opened

    def index(self, repository: Repository) -> tuple[Entry, ...] | None:
        """The entries of its index, None when it has none. Raises `RepositoryError`."""
        with self._lock:
            fetched, entries = self._indexes.get(repository.name, (0.0, None))
        if fetched and time.monotonic() - fetched < self._options.refresh:
            return entries
        try:
            entries = self.read_index(repository)
        except NotThere:
            entries = None
        with self._lock:
            self._indexes[repository.name] = (time.monotonic(), entries)
        return entries

    def read_index(self, repository: Repository) -> tuple[Entry, ...]:
        """The entries of its index as it is now. Raises `RepositoryError`."""
        try:
            return layout.read_index(self.index_bytes(repository), repository.name)
        except layout.MalformedIndex as failure:
            raise RepositoryError(f"repository {repository.name}: {failure}")

    def index_bytes(self, repository: Repository) -> bytes:
        """Its index as it is written. Raises `RepositoryError`."""
        return repository.transport.fetch(layout.INDEX, self._options.index_limit * MIB)

    def bundle(self, name: str) -> list[tuple[str, VersionSpec]] | None:
        """What the first repository that has a bundle of this name lists in it. Raises `RepositoryError`."""
        if not layout.BUNDLE.fullmatch(name):
            return None
        failures: list[RepositoryError] = []
        for repository in self.repositories:
            try:
                data = repository.transport.fetch(f"bundles/{name}.bundle", self._options.index_limit * MIB)
                return layout.read_bundle(data)
            except NotThere:
                continue
            except RepositoryError as failure:
                failures.append(failure)
            except layout.MalformedIndex as failure:
                failures.append(RepositoryError(f"repository {repository.name}: bundles/{name}.bundle: {failure}"))
        if failures:
            raise failures[0]
        return None

    def _by_name(self, repository: Repository, fqn: str) -> tuple[Entry, ...]:
        """What a repository without an index has under a name: its newest version."""
        if not layout.FQN.fullmatch(fqn):
            return ()
        path = layout.archive_path(fqn)
        try:
            data = repository.transport.fetch(path, self._limits.archive_bytes)
            opened = packages.open_archive(data, self._limits)
        except NotThere:
            return ()
        except PackageError as failure:
            raise RepositoryError(f"repository {repository.name}: {path}: {failure}")
        return (entry_of(opened, path, repository.name),)


def entry_of(opened: packages.Opened, path: str, repository: str = "") -> Entry:
    """What an index says about a package."""
    manifest = opened.package.manifest
    return Entry(
        fqn=opened.name,
        version=opened.version,
        name=manifest.name,
        type=manifest.type,
        author=manifest.author or "",
        description=manifest.description or "",
        tags=tuple(manifest.tags),
        require={name: spec.text for name, spec in manifest.require.items()},
        archive=path,
        sha256=hashlib.sha256(opened.archive).hexdigest(),
        digest=opened.package.digest,
        repository=repository,
    )


def newest(entries: Sequence[Entry]) -> list[Entry]:
    """The newest version of each package."""
    best: dict[str, Entry] = {}
    for entry in entries:
        present = best.get(entry.fqn)
        if present is None or layout.Version.coerce(entry.version) > layout.Version.coerce(present.version):
            best[entry.fqn] = entry
    return list(best.values())


def _score(entry: Entry, words: Sequence[str]) -> int | None:
    """0 for a match in the name, more for weaker ones, None for none; every word has to be somewhere."""
    texts = (entry.name, entry.fqn, " ".join(entry.tags), entry.description, entry.author)
    lowered = [text.lower() for text in texts]
    worst = 0
    for word in words:
        places = [position for position, text in enumerate(lowered) if word in text]
        if not places:
            return None
        worst = max(worst, places[0])
    return worst


def _named(text: str, option: str) -> tuple[str, str]:
    name, separator, location = text.partition("=")
    if not separator or not name or not location:
        raise ValueError(f"[repositories] {option}: expected name=URL or name=/directory, found {text!r}")
    return name, location


def _configured(
    name: str, location: str, root: str | None, conf: cfg.ConfigOpts, database: base.Database | None
) -> Repository:
    options = conf.repositories
    if location.startswith(("http://", "https://")):
        transport: Transport = Web(
            location,
            database,
            timeout=options.timeout,
            total=options.total_timeout,
            allowed=options.allowed_hosts,
        )
    else:
        transport = Directory(location)
    if root is None:
        return Repository(name, location, transport)
    return signed_repository(name, location, transport, root, conf, database)


def signed_repository(
    name: str, location: str, transport: Transport, root: str, conf: cfg.ConfigOpts, database: base.Database | None
) -> Repository:
    """A repository that is believed as far as its signatures go, from the file `root` on. Raises `ValueError`."""
    from catalog.repositories import signed  # takes half a second that others do without

    try:
        with open(root, "rb") as file:
            trusted = file.read(signed.LONGEST)
    except OSError as failure:
        raise ValueError(f"[repositories] root of {name}: {root}: {failure.strerror}")
    memory = signed.InMemory() if database is None else signed.InDatabase(database, name, trusted)
    guarded = signed.Signed(name, transport, trusted, memory, refresh=conf.repositories.refresh)
    return Repository(name, location, guarded, guarded)
