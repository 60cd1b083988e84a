"""The files of a package, read defensively from a folder or a zip archive.

Everything is checked before anything is read: names that leave the package, links, duplicates, encrypted or strangely
packed entries, and sizes. A zip entry can not yield more than its directory declares, so the declared sizes bind.
"""

from __future__ import annotations

import copy
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from dsl.errors import PackageError, Problem


@dataclass(frozen=True)
class ArchiveLimits:
    """What a package may amount to. Defaults leave ten times the room that the largest public package needs."""

    archive_bytes: int = 64 * 2**20  # of the zip file
    total_bytes: int = 256 * 2**20  # of all files, unpacked
    file_bytes: int = 64 * 2**20  # of one file, unpacked
    entries: int = 10_000  # files and folders
    ratio: int = 200  # unpacked to packed, for entries above `ratio_from`
    ratio_from: int = 2**20  # bytes below which the ratio does not matter
    name_length: int = 500  # characters of a path


class Files(Protocol):
    """A read-only set of files by relative path with forward slashes."""

    @property
    def label(self) -> str:
        """How to call it in messages."""

    @property
    def names(self) -> tuple[str, ...]:
        """All files, sorted."""

    def read(self, name: str) -> bytes:
        """Content of a file. Raises FileNotFoundError, PackageError for a damaged or grown file."""


def open_files(source: str | os.PathLike[str] | bytes, limits: ArchiveLimits) -> Files:
    """Open a folder, a zip file or the bytes of one. Raises PackageError."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return ZipFiles("package", bytes(source), limits)
    path = Path(source)
    try:
        if path.is_dir():
            return FolderFiles(path, limits)
        size = path.stat().st_size
        if not path.is_file():
            raise _error(str(path), "it is neither a folder nor a file", fix="name a package's folder or zip file")
        if size > limits.archive_bytes:
            raise _too_large(str(path), "the archive", size, limits.archive_bytes)
        return ZipFiles(str(path), path.read_bytes(), limits)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _error(str(path), f"it can not be opened: {reason}", fix="check the path") from error


def relabelled(files: Files, label: str) -> Files:
    """The same files, called otherwise in messages."""
    result: Any = copy.copy(files)
    result.label = label
    return cast(Files, result)


class FolderFiles:
    """The files of a folder. They are read when asked for; links out of the folder are refused."""

    def __init__(self, root: Path, limits: ArchiveLimits) -> None:
        self.label = str(root)
        self._root = root
        self._limits = limits
        self._sizes = dict(sorted(self._scan()))
        _check_sizes(self.label, self._sizes.items(), limits)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._sizes)

    def read(self, name: str) -> bytes:
        if name not in self._sizes:
            raise FileNotFoundError(2, "No such file in the package", name)
        with open(f"{self._root}/{name}", "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size  # it may have grown since the folder was opened
            if size > self._limits.file_bytes:
                raise _too_large(f"{self.label}/{name}", "the file", size, self._limits.file_bytes)
            content: bytes = stream.read(size + 1)
        return content

    def _scan(self) -> Iterable[tuple[str, int]]:
        root = self._root.resolve()
        count = 0
        for folder, folders, files in os.walk(root):
            for name in [*folders, *files]:
                count += 1
                if count > self._limits.entries:
                    raise _error(self.label, "the folder has too many entries", f"at most {self._limits.entries}")
                path = Path(folder, name)
                relative = path.relative_to(root).as_posix()
                if path.is_symlink() and not path.resolve().is_relative_to(root):
                    place = f"{self.label}/{relative}"
                    raise _error(place, "the link leaves the package", found=os.readlink(path), fix="copy the file")
                if name in files:
                    information = path.stat()
                    if not stat.S_ISREG(information.st_mode):
                        raise _error(f"{self.label}/{relative}", "it is not a regular file", fix="remove it")
                    _check_name(self.label, relative, self._limits)
                    yield relative, information.st_size


class ZipFiles:
    """The files of a zip archive held in memory; entries are unpacked when asked for."""

    def __init__(self, label: str, content: bytes, limits: ArchiveLimits) -> None:
        self.label = label
        if len(content) > limits.archive_bytes:
            raise _too_large(label, "the archive", len(content), limits.archive_bytes)
        listed = _listed(content)
        if listed > limits.entries:
            raise _error(label, "the archive has too many entries", f"at most {limits.entries}", str(listed))
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, OSError, NotImplementedError) as error:
            found = "an empty file" if not content else f"{_guess(content)} ({error})"
            raise _error(label, "it is not a zip archive", "a zip file", found, "zip the package's files") from error
        self._entries = {name: self._archive.getinfo(raw) for name, raw in sorted(self._scan(limits).items())}
        _check_sizes(label, ((name, entry.file_size) for name, entry in self._entries.items()), limits)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def read(self, name: str) -> bytes:
        entry = self._entries.get(name)
        if entry is None:
            raise FileNotFoundError(2, "No such file in the package", name)
        try:
            return self._archive.read(entry)
        except Exception as error:  # zlib, lzma and bz2 each have errors of their own for damaged data
            place = f"{self.label}/{name}"
            raise _error(place, f"the archive is damaged: {error}", fix="build the archive again") from error

    def _scan(self, limits: ArchiveLimits) -> dict[str, str]:
        entries = self._archive.infolist()
        if len(entries) > limits.entries:
            raise _error(self.label, "the archive has too many entries", f"at most {limits.entries}", str(len(entries)))
        names: dict[str, str] = {}
        folders: set[str] = set()
        for entry in entries:
            name = entry.filename.removeprefix("./")
            place = f"{self.label}/{name[:200]}"
            _check_name(self.label, name.rstrip("/"), limits)
            mode = entry.external_attr >> 16
            if entry.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
                raise _error(place, f"it is {kind}", "regular files and folders", fix="put the file itself into it")
            if entry.flag_bits & 0x1:
                raise _error(place, "it is encrypted", fix="build the archive without a password")
            if entry.compress_type not in _METHODS:
                raise _error(place, "its compression method is not supported", "stored or deflated")
            if entry.is_dir():
                folders.add(name.rstrip("/"))
                continue
            if name in names:
                raise _error(place, "the archive has this file twice", fix="build the archive again")
            if entry.file_size > limits.ratio_from and entry.file_size > limits.ratio * max(entry.compress_size, 1):
                found = f"{entry.compress_size} bytes that unpack to {entry.file_size}"
                raise _error(place, "it unpacks to suspiciously much", f"at most {limits.ratio} times its size", found)
            names[name] = entry.filename
        for name in names:
            parents = {name[:index] for index, character in enumerate(name) if character == "/"}
            if not parents.isdisjoint(names) or name in folders:
                raise _error(f"{self.label}/{name}", "the archive has a file and a folder of one name")
        return names


class MemoryFiles:
    """Files given as a mapping, for packages that are made rather than read."""

    def __init__(self, label: str, content: Mapping[str, bytes]) -> None:
        self.label = label
        self._content = dict(sorted(content.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._content)

    def read(self, name: str) -> bytes:
        if name not in self._content:
            raise FileNotFoundError(2, "No such file in the package", name)
        return self._content[name]


def pack(files: Files) -> bytes:
    """Zip the files so that equal files give equal bytes: sorted, without dates, owners or modes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in files.names:
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files.read(name))
    return stream.getvalue()


_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _listed(content: bytes) -> int:
    """About how many entries the archive lists, told from its bytes: reading a long list takes time and memory."""
    end = content.rfind(b"PK\x05\x06")
    if end < 0:
        return 0
    size = int.from_bytes(content[end + 12 : end + 16], "little")
    return content.count(b"PK\x01\x02", max(0, end - size), end)


def _check_name(label: str, name: str, limits: ArchiveLimits) -> None:
    shown = f"{label}/{name[:200]}"
    if len(name) > limits.name_length:
        raise _error(shown, "the path is too long", f"at most {limits.name_length} characters", str(len(name)))
    if name.startswith("/") or name[1:2] == ":":
        raise _error(shown, "the path is absolute", "a path inside the package", name[:200], "build the archive again")
    if "\\" in name or any(ord(character) < 32 for character in name):
        raise _error(shown, "the path has a backslash or control character", found=repr(name[:200]), fix="rename it")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise _error(shown, "the path leaves the package", "a path inside the package", name[:200], "build it again")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _error(repr(shown), "the name is not valid UTF-8", fix="rename it") from error


def _check_sizes(label: str, sizes: Iterable[tuple[str, int]], limits: ArchiveLimits) -> None:
    total = 0
    for name, size in sizes:
        if size > limits.file_bytes:
            raise _too_large(f"{label}/{name}", "the file", size, limits.file_bytes)
        total += size
        if total > limits.total_bytes:
            raise _too_large(label, "the package unpacked", total, limits.total_bytes)


def _guess(content: bytes) -> str:
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    return "something else"


_SIGNATURES = (
    (b"PK", "a damaged zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
)


def _too_large(place: str, what: str, size: int, limit: int) -> PackageError:
    return _error(place, f"{what} is too large", f"at most {limit} bytes", f"{size}", "leave out what is not needed")


def _error(
    place: str, message: str, expected: str | None = None, found: str | None = None, fix: str | None = None
) -> PackageError:
    return PackageError([Problem(place, None, None, message, expected, found, fix)])
