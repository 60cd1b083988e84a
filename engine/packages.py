"""The packages of a deployment: exactly those of its lock, from the catalog's store, kept open between deployments.

A lock names packages by id and digest. What is opened is kept by digest, so a package is read and parsed once per
process however many deployments use it; compiled classes live and go with their package's library.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dsl
from catalog.db import base
from catalog.db import packages as stored
from engine import outages

LOG = logging.getLogger(__name__)

LIBRARIES = 16  # combinations of packages kept ready
PACKAGES = 200  # opened packages kept

Lock = Sequence[Mapping[str, Any]]  # [{"fqn", "version", "package_id", "digest"}]


class PackageMissing(Exception):
    """A package that a lock names is not in the catalog any more, or is another one now."""


class PackageStore:
    """Opens libraries by lock. Threads may share it. `cache` is a folder that keeps compiled classes, if any."""

    def __init__(self, database: base.Database, cache: str | None = None) -> None:
        self._database = database
        self._cache = cache
        self._mutex = threading.Lock()
        self._packages: OrderedDict[str, Any] = OrderedDict()
        self._libraries: OrderedDict[tuple[str, ...], dsl.Library] = OrderedDict()

    def library(self, lock: Lock, pause: Callable[[float], None] = time.sleep) -> dsl.Library:
        """The library of exactly the packages that the lock names. Raises `PackageMissing`, `dsl.PackageError`, and
        what `pause(seconds)` raises while a store of packages does not answer.
        """
        digests = tuple(sorted(str(entry["digest"]) for entry in lock))
        return self._kept(
            self._libraries,
            digests,
            LIBRARIES,
            lambda: dsl.Library([self._package(entry, pause) for entry in lock], cache=self._cache),
        )

    def _package(self, entry: Mapping[str, Any], pause: Callable[[float], None]) -> Any:
        return self._kept(self._packages, str(entry["digest"]), PACKAGES, lambda: self._open(entry, pause))

    def _open(self, entry: Mapping[str, Any], pause: Callable[[float], None]) -> Any:
        name = f"package {entry['fqn']} {entry['version']} (id {entry['package_id']})"
        try:
            content = outages.patiently(lambda: self._content(entry["package_id"]), what=name, pause=pause)
        except LookupError:
            raise PackageMissing(
                f"{name}: expected in the catalog, as when the deployment was submitted, found it deleted; import it "
                f"again and deploy again"
            )
        package = dsl.packages.open_package(content)
        if package.digest != entry["digest"]:
            raise PackageMissing(
                f"{name}: expected content {entry['digest'][:12]}, as when the deployment was submitted, found "
                f"{package.digest[:12]}; deploy again to use the new content"
            )
        return package

    def _content(self, package_id: str) -> bytes:
        with self._database.reading() as session:
            return stored.content(session, package_id)

    def _kept(self, cache: OrderedDict[Any, Any], key: Any, limit: int, make: Callable[[], Any]) -> Any:
        with self._mutex:
            if key in cache:
                cache.move_to_end(key)
                return cache[key]
        value = make()
        with self._mutex:
            value = cache.setdefault(key, value)
            cache.move_to_end(key)
            while len(cache) > limit:
                cache.popitem(last=False)
        return value
