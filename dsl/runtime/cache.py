"""Compiled classes in a folder, for the next process that needs the same ones.

What is in the folder is code and is run, so it must be ours: the folder and each file in it have to belong to this
process's user and be writable by nobody else, or they are not looked at. Names are digests of everything that decides
the code (the package, this compiler, this Python), so nothing is ever out of date; what is damaged is made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import logging
import os
import stat
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import dsl.compiler
from dsl.compiler import ClassCode, stored
from dsl.syntax.collection import without_collections

LOG = logging.getLogger(__name__)

_MAGIC = b"muranopl-code-2\n"
_DIGEST = hashlib.sha256().digest_size
_LARGEST = 64 * 2**20  # bytes of one file; a class of 60,000 characters takes half a million


class CodeCache:
    """A folder of compiled classes. Any number of processes and threads may share it; it may be emptied at any time.

    A folder that is not there is made. One that others could write to is not used, with a warning: it is only a cache.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.usable = self._prepared()

    def _prepared(self) -> bool:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(self.folder)
        except OSError as error:
            LOG.warning("compiled classes are not kept in %s: %s", self.folder, error.strerror)
            return False
        if not stat.S_ISDIR(found.st_mode) or not _is_ours(found):
            message = "compiled classes are not kept in %s: expected a folder of user %s that nobody else can write to"
            LOG.warning(message, self.folder, os.geteuid())
            return False
        return True

    def get(self, key: tuple[object, ...]) -> ClassCode | None:
        """The class that was put there under the key; None if there is none that can be trusted and read."""
        if not self.usable:
            return None
        content = self._read(self._path(key))
        if content is None:
            return None
        try:
            with without_collections():
                return stored.loaded(content)
        except Exception as error:  # whatever is in the file, it is only a cache
            LOG.debug("a compiled class in %s can not be used: %r", self.folder, error)
            return None

    def put(self, key: tuple[object, ...], code: ClassCode) -> None:
        """Keep a class. Methods that were not made yet are made. A folder that can not be written to is no error."""
        if not self.usable:
            return
        content = stored.dumped(code)
        path = Path(self._path(key))
        temporary = ""
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent)  # 0600; renamed when whole
            with open(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)
        except OSError as error:
            LOG.debug("a compiled class was not kept in %s: %s", self.folder, error)
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _path(self, key: tuple[object, ...]) -> str:
        digest = _beginning(fingerprint()).copy()
        digest.update(json.dumps(key).encode("utf-8", "surrogatepass"))
        name = digest.hexdigest()
        return f"{self.folder}/{name[:2]}/{name[2:]}"

    def _read(self, path: str) -> memoryview | None:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or not _is_ours(found) or found.st_size > _LARGEST:
                LOG.warning("the compiled class %s is not used: it could have been written by others", path)
                return None
            content = memoryview(os.read(handle, found.st_size))
        except OSError as error:
            LOG.debug("the compiled class %s can not be read: %s", path, error)
            return None
        finally:
            os.close(handle)
        begin = len(_MAGIC) + _DIGEST
        if content[: len(_MAGIC)] != _MAGIC or hashlib.sha256(content[begin:]).digest() != content[len(_MAGIC) : begin]:
            LOG.debug("the compiled class %s is damaged", path)
            return None
        return content[begin:]


def from_environment() -> CodeCache | None:
    """The cache that the environment variable MURANOPL_CACHE names, if it is set."""
    folder = os.environ.get("MURANOPL_CACHE")
    return CodeCache(folder) if folder else None


@functools.lru_cache(maxsize=1)
def fingerprint() -> tuple[str, ...]:
    """What, besides the class, decides its code: every stage before the runtime, its libraries, Python."""
    root = Path(dsl.compiler.__file__).parent.parent
    digest = hashlib.sha256()
    for stage in ("syntax", "packages", "functions", "compiler"):
        for file in sorted((root / stage).glob("*.py")):
            digest.update(file.read_bytes())
    versions = [metadata.version(name) for name in ("yaql", "PyYAML")]
    return (digest.hexdigest(), sys.version, importlib.util.MAGIC_NUMBER.hex(), *versions)


@functools.lru_cache(maxsize=1)
def _beginning(fingerprint: tuple[str, ...]) -> Any:
    """A digest that has seen the fingerprint."""
    return hashlib.sha256(json.dumps(fingerprint).encode())


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
