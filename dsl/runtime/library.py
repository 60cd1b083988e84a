"""The packages a runtime works with."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from dsl.packages import Package, open_package
from dsl.runtime.cache import CodeCache, from_environment


class Library:
    """Packages from folders, zip files, bytes of zip files, or opened already.

    Several versions of one package may be there. Of two of one version the first counts. `cache` is a folder of our own
    for compiled classes, which the next process then need not compile again; without it, the environment variable
    MURANOPL_CACHE may name one. Raises PackageError.
    """

    def __init__(
        self,
        sources: Iterable[str | os.PathLike[str] | bytes | Package],
        *,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.cache = CodeCache(cache) if cache is not None else from_environment()
        self.packages: tuple[Package, ...] = tuple(
            source if isinstance(source, Package) else open_package(source) for source in sources
        )

    def schema(
        self,
        class_name: str,
        method: str | None = None,
        *,
        version: str | None = None,
        package: str | None = None,
    ) -> dict[str, Any]:
        """JSON schema of what describes an object of a class, or of a method's arguments (spec/muranopl.md §22).

        Raises Thrown for a class or method that is not there.
        """
        import dsl.runtime.schema as schemas  # it needs a program, and a program needs a library

        return schemas.schema(self, class_name, method, version, package)

    def schemas(
        self,
        class_name: str,
        methods: Iterable[str] | None = None,
        *,
        version: str | None = None,
        package: str | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The class's schema under the empty name, and its model builders' under theirs (spec/muranopl.md §22)."""
        import dsl.runtime.schema as schemas

        return schemas.schemas(self, class_name, methods, version, package)
