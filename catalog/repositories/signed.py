"""A repository that is believed only as far as its signatures go: TUF's client workflow over any transport.

`Signed(inner, ...)` is itself a transport. The operator gives the root; everything else is verified by python-tuf
against it: who signed, whether it is still valid (frozen), whether it is older than what was seen before (rolled
back), and every file against its length and digest. What was seen is in the database, so all processes remember it.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from catalog.db import base, repositories
from catalog.repositories.signing import FOLDER
from catalog.repositories.transport import NotThere, RepositoryError, TooLong, Transport

CONFIG = UpdaterConfig(prefix_targets_with_hash=False, max_root_rotations=64)
LONGEST = CONFIG.targets_max_length
BASE = "https://repository.invalid/"  # metadata are fetched by path; the fetcher takes this off again
HISTORY = "root_history"


class Memory(Protocol):
    """What was verified before, by file name: the newest timestamp, snapshot and targets, and all roots."""

    def recall(self) -> Mapping[str, bytes]: ...

    def remember(self, files: Mapping[str, bytes], version: int) -> None: ...


class Signed:
    """A repository with the root that an operator trusts. Threads may share it.

    Raises `ValueError` for a root that is none.
    """

    def __init__(self, name: str, inner: Transport, root: bytes, memory: Memory, *, refresh: float) -> None:
        self._name = name
        self._inner = inner
        self._root = root
        self._memory = memory
        self._refresh = refresh
        self._lock = threading.Lock()
        self._verified: tuple[float, Updater] | None = None
        try:
            Metadata[Root].from_bytes(root)
        except exceptions.RepositoryError as failure:
            raise ValueError(f"root of repository {name}: expected TUF root metadata (root.json): {failure}")
        except Exception as failure:  # what the library makes of hostile JSON
            raise ValueError(f"root of repository {name}: expected TUF root metadata (root.json): {failure!r}")

    def fetch(self, path: str, limit: int) -> bytes:
        """The content of a file that its publisher has signed. Raises `NotThere`, `RepositoryError`."""
        info = self._target(path, anew=False)
        try:
            return self._checked(path, info, limit)
        except _Different:  # published since the signatures were read
            try:
                return self._checked(path, self._target(path, anew=True), limit)
            except _Different as failure:
                raise RepositoryError(
                    f"repository {self._name}: {path}: expected the content that its publisher signed, found another "
                    f"({failure}): it was tampered with, or is just being published. Nothing was stored."
                )

    def metadata(self) -> Mapping[str, bytes]:
        """The signed metadata that were verified last, by their path in the repository; for copies of it."""
        self._updater(anew=True)
        files = dict(self._memory.recall())
        found: dict[str, bytes] = {}
        for name, data in files.items():
            if name.startswith(f"{HISTORY}/"):
                found[f"{FOLDER}/{name.removeprefix(HISTORY + '/')}"] = data
            elif name == "timestamp.json":
                found[f"{FOLDER}/{name}"] = data
            else:
                version = Metadata.from_bytes(data).signed.version
                found[f"{FOLDER}/{version}.{name}"] = data
        newest = max((name for name in found if name.endswith(".root.json")), key=lambda name: _number(name))
        return {**found, f"{FOLDER}/root.json": found[newest]}

    def remember_copy(self, folder: Path) -> None:
        """Takes the metadata of a copy for those that were seen before: nothing older is believed."""
        newest: dict[str, Path] = {}
        for path in folder.glob("*.json"):
            number, _, role = path.name.removesuffix(".json").rpartition(".")
            if path.name == "timestamp.json":
                newest[path.name] = path
            elif number.isdigit() and role == "root":
                newest[f"{HISTORY}/{path.name}"] = path
            elif number.isdigit():
                name = f"{role}.json"
                newest[name] = max(newest.get(name, path), path, key=lambda each: _number(each.name))
        self._memory.remember({name: path.read_bytes() for name, path in newest.items()}, 0)

    def _checked(self, path: str, info: TargetFile | None, limit: int) -> bytes:
        if info is None:
            raise NotThere(f"repository {self._name}: {path}: its publisher has signed no such file")
        if info.length > limit:
            raise RepositoryError(f"repository {self._name}: {path}: expected at most {limit} bytes, found more")
        try:
            data = self._inner.fetch(path, info.length)
            info.verify_length_and_hashes(data)
        except exceptions.LengthOrHashMismatchError as failure:
            raise _Different(str(failure)[:200])
        except TooLong:
            raise _Different(f"more than {info.length} bytes")
        return data

    def _target(self, path: str, *, anew: bool) -> TargetFile | None:
        updater = self._updater(anew=anew)
        with self._lock:
            try:
                return updater.get_targetinfo(path)
            except (exceptions.RepositoryError, exceptions.DownloadError, OSError) as failure:  # lists that lists name
                raise RepositoryError(
                    f"repository {self._name}: {path}: expected it in the one list of signed files, found that list "
                    f"refers to others, which is not supported: {str(failure)[:200]}"
                )

    def _updater(self, *, anew: bool) -> Updater:
        with self._lock:
            if self._verified is not None and not anew and time.monotonic() - self._verified[0] < self._refresh:
                return self._verified[1]
            updater = self._verify()
            self._verified = (time.monotonic(), updater)
            return updater

    def _verify(self) -> Updater:
        """Follows the chain from the trusted root to the list of files. Raises `RepositoryError`."""
        with tempfile.TemporaryDirectory(prefix="chandlery-tuf-") as folder:
            for name, data in self._memory.recall().items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            fetcher = _Fetcher(self._inner)
            try:
                updater = Updater(folder, f"{BASE}{FOLDER}/", fetcher=fetcher, config=CONFIG, bootstrap=self._root)
                updater.refresh()
            except exceptions.DownloadError as failure:
                raise fetcher.failure or self._refused(failure)
            except exceptions.RepositoryError as failure:
                raise self._refused(failure)
            kept = [Path(folder, f"{role}.json") for role in ("timestamp", "snapshot", "targets")]
            kept += sorted(Path(folder, HISTORY).iterdir())
            files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}
        self._memory.remember(files, Metadata[Timestamp].from_bytes(files["timestamp.json"]).signed.version)
        return updater

    def _refused(self, failure: Exception) -> RepositoryError:
        start = f"repository {self._name}: it is configured as signed, and was refused: "
        end = f" ({failure}). Nothing was stored."
        for kind, reason in _REASONS:
            if isinstance(failure, kind):
                return RepositoryError(f"{start}{reason}{end}"[:1000])
        return RepositoryError(f"{start}its signed metadata are not what they should be{end}"[:1000])


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (
        exceptions.ExpiredMetadataError,
        "its signatures have run out, so newer ones may be kept from us; its publisher has to sign it again",
    ),
    (exceptions.BadVersionNumberError, "it offers older metadata than it did before (rolled back)"),
    (exceptions.UnsignedMetadataError, "its metadata are not signed by the keys that the configured root trusts"),
    (exceptions.DownloadHTTPError, "it has no signatures; sign it with chandlery repository sign"),
    (exceptions.DownloadLengthMismatchError, "its metadata are larger than they may be"),
)


class _Different(Exception):
    """A file is not the one that was signed."""


class _Fetcher(FetcherInterface):
    """Lets python-tuf fetch metadata through our transport, with all its limits. `failure` is why that failed."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.failure: RepositoryError | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix(BASE)
        try:
            return iter([self._inner.fetch(path, LONGEST)])
        except NotThere:
            raise exceptions.DownloadHTTPError(f"there is no {path}", 404)
        except RepositoryError as failure:
            self.failure = failure
            raise


class InDatabase:
    """A memory that all processes share. What is older than what another process saw is not kept."""

    def __init__(self, database: base.Database, name: str, root: bytes) -> None:
        self._database = database
        self._name = name
        self._key = hashlib.sha256(name.encode() + b"\0" + root).hexdigest()

    def recall(self) -> Mapping[str, bytes]:
        with self._database.reading() as session:
            files = repositories.trusted(session, self._key)
        return {name: text.encode() for name, text in files.items()}

    def remember(self, files: Mapping[str, bytes], version: int) -> None:
        texts = {name: data.decode() for name, data in files.items()}
        if {name: text.encode() for name, text in texts.items()} == dict(self.recall()):
            return
        with contextlib.suppress(sa.exc.IntegrityError), self._database.transaction() as session:
            # another process that was first has remembered the same or newer
            repositories.trust(session, self._key, self._name, texts, version)


class InMemory:
    """A memory for one run of a command; `files` are what a copy made before has."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self._files = dict(files or {})

    def recall(self) -> Mapping[str, bytes]:
        return self._files

    def remember(self, files: Mapping[str, bytes], version: int) -> None:
        self._files = dict(files)


def _number(name: str) -> int:
    return int(name.rpartition("/")[2].partition(".")[0])
