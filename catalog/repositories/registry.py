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

from oslo_config import cfg

from catalog import packages
from catalog.db import base
from catalog.repositories import layout
from catalog.repositories.layout import Entry
from catalog.repositories.transport import Directory, NotThere, RepositoryError, Transport, Web
from dsl.packages import PackageError

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Repository:
    """One configured repository."""

    name: str
    location: str
    transport: Transport


@dataclasses.dataclass(frozen=True)
class Found:
    """The answer to a search: what was found, and which repositories could not be asked, with the reason."""

    entries: Sequence[Entry]
    unavailable: Sequence[tuple[str, str]]


class Registry:
    """The repositories of a service. Threads may share it."""

    def __init__(self, conf: cfg.ConfigOpts, database: base.Database) -> None:
        self._options = conf.repositories
        self._limits = packages.limits_of(conf)
        self._lock = threading.Lock()
        self._indexes: dict[str, tuple[float, tuple[Entry, ...] | None]] = {}
        self.repositories = tuple(_configured(text, conf, database) for text in self._options.repository)

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

    def archive(self, entry: Entry) -> packages.Opened:
        """The package of an entry, checked to be what the index says. Raises `RepositoryError`, `PackageError`."""
        repository = next(each for each in self.repositories if each.name == entry.repository)
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
            data = repository.transport.fetch(layout.INDEX, self._options.index_limit * MIB)
            entries = layout.read_index(data, repository.name)
        except NotThere:
            entries = None
        except layout.MalformedIndex as failure:
            raise RepositoryError(f"repository {repository.name}: {failure}")
        with self._lock:
            self._indexes[repository.name] = (time.monotonic(), entries)
        return entries

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


def _configured(text: str, conf: cfg.ConfigOpts, database: base.Database) -> Repository:
    name, separator, location = text.partition("=")
    if not separator or not name or not location:
        raise ValueError(f"[repositories] repository: expected name=URL or name=/directory, found {text!r}")
    if location.startswith(("http://", "https://")):
        options = conf.repositories
        transport: Transport = Web(location, database, timeout=options.timeout, total=options.total_timeout)
    else:
        transport = Directory(location)
    return Repository(name, location, transport)
