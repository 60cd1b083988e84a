"""Offline bundles: packages with all they require in one zip file, which is a small repository in itself.

`save(...)` writes one from a repository, `Bundle(file, ...)` reads one. A bundle of a signed repository carries the
signatures; what is in one is read only as far as it is asked for, within limits.

index.json, apps/<fqn>.<version>.zip, metadata/   as in a repository
bundle.json                                       `{"format": 1, "packages": [{"name", "version"}]}`: what was wanted
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import IO

from catalog import dependencies
from catalog.dependencies import Available, Need
from catalog.repositories import layout
from catalog.repositories.layout import Entry
from catalog.repositories.registry import Registry
from catalog.repositories.transport import NotThere, RepositoryError, TooLong
from dsl.packages import Version, VersionSpec

CONTENTS = "bundle.json"
CONTENTS_LIMIT = 1 << 20
DIRECTORY_LIMIT = 4 << 20  # bytes of a bundle's list of files
FILES_LIMIT = 10_000
END = struct.Struct("<4s4H2LH")  # of a zip's central directory


class Bundle:
    """The transport of a bundle's files. Raises `RepositoryError` for what is no bundle."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name = name
        _check_directory(file, name)
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as failure:
            raise RepositoryError(f"{name}: expected an offline bundle, found a damaged zip file: {failure}")
        names = [entry.filename for entry in self._archive.infolist()]
        if len(set(names)) != len(names):
            raise RepositoryError(f"{name}: expected each file once, found some twice")

    def fetch(self, path: str, limit: int) -> bytes:
        """The content of a file, as `catalog.repositories.transport.Transport`."""
        try:
            entry = self._archive.getinfo(path)
        except KeyError:
            raise NotThere(f"{self._name}: {path}: there is no such file")
        if entry.file_size > limit:
            raise TooLong(f"{self._name}: {path}: expected at most {limit} bytes, found {entry.file_size}")
        try:
            with self._archive.open(entry) as file:
                data = file.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError) as failure:
            raise RepositoryError(f"{self._name}: {path}: expected a whole file, found a damaged one: {failure}")
        if len(data) > limit:
            raise TooLong(f"{self._name}: {path}: expected at most {limit} bytes, found more")
        return data

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._archive.NameToInfo

    def wanted(self) -> list[tuple[str, VersionSpec]]:
        """What the bundle was made for. Raises `RepositoryError`."""
        data = self.fetch(CONTENTS, CONTENTS_LIMIT)
        try:
            return layout.read_bundle(data)
        except layout.MalformedIndex as failure:
            raise RepositoryError(f"{self._name}: {CONTENTS}: {failure}")


def is_bundle(data: IO[bytes]) -> bool:
    """Whether a zip file is a bundle rather than a package."""
    try:
        _check_directory(data, "file")
        with zipfile.ZipFile(data) as archive:
            return CONTENTS in archive.NameToInfo and layout.INDEX in archive.NameToInfo
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RepositoryError):
        return False
    finally:
        data.seek(0)


def save(registry: Registry, wanted: Sequence[tuple[str, VersionSpec]], target: IO[bytes]) -> list[Entry]:
    """Writes the packages and all they require to one file: the entries in it. The same input gives the same bytes.

    Every archive is checked as for an import. Raises `dependencies.Unresolvable`, `RepositoryError`, `PackageError`.
    """
    source = _Offered(registry)
    needs = [Need(name, spec, ("the bundle",)) for name, spec in wanted]
    where = "the repository"
    solution = dependencies.resolve(needs, source, where)
    del solution[dependencies.CORE]  # every service has its own
    chosen = [source.entries[each.origin] for _, each in sorted(solution.items())]
    [repository, *others] = registry.repositories
    if others:
        raise ValueError("a bundle is made from one repository")
    metadata: Mapping[str, bytes] = {}
    index = layout.write_index(chosen)
    if repository.signed is not None:
        metadata = repository.signed.metadata()
        index = registry.index_bytes(repository)
    roots = [{"name": name, "version": str(solution[name].version)} for name, _ in wanted]
    contents = json.dumps({"format": layout.FORMAT, "packages": roots}, indent=1) + "\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        files = {CONTENTS: contents.encode(), layout.INDEX: index, **dict(sorted(metadata.items()))}
        for path, data in files.items():
            _add(archive, path, data)
        for entry in chosen:
            _add(archive, entry.archive, registry.archive(entry).archive)
    return chosen


class _Offered:
    """What one repository has, and a core library: every service has one of its own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.entries: dict[str, Entry] = {}

    def versions(self, name: str) -> Sequence[Available]:
        found = []
        for _, entry in self._registry.versions(name):
            require = {each: VersionSpec.parse(spec) for each, spec in entry.require.items()}
            self.entries[entry.archive] = entry
            found.append(Available(name, Version.coerce(entry.version), require, entry.archive))
        if name == dependencies.CORE and not found:
            found.append(Available(name, Version.coerce("0.0.0"), {}, "the service"))
        return found


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, data)


def _check_directory(file: IO[bytes], name: str) -> None:
    """Refuses a list of files that would take more memory than the bundle is worth, before it is read."""
    size = file.seek(0, 2)
    file.seek(max(0, size - END.size - 0xFFFF))
    tail = file.read()
    file.seek(0)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < END.size:
        raise RepositoryError(f"{name}: expected an offline bundle, found no zip file")
    _, _, _, _, number, length, _, _ = END.unpack_from(tail, place)
    if number > FILES_LIMIT or length > DIRECTORY_LIMIT:
        raise RepositoryError(
            f"{name}: expected at most {FILES_LIMIT} files, found {number} (or a longer list of them)"
        )
