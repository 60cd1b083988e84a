"""What reading packages costs, beside PyYAML's C loader on the same files.

The core library, and the public packages below the folder that CHANDLERY_PUBLIC_PACKAGES names. What is measured
begins with opened packages and ends with classes that are ready to be linked: YAML, expressions, every check that a
class's load makes, contracts and defaults compiled; bodies of methods follow at their first call.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from measure import Row, compare

import dsl
import packages
from dsl import functions
from dsl.compiler import ClassCode, compile_class
from dsl.packages import Package, open_package
from dsl.runtime.cache import CodeCache
from dsl.runtime.sources import Signatures
from dsl.syntax import documents

CORE = "io.murano"


def rows(rounds: int) -> Iterator[Row]:
    """Every goal about reading and compiling."""
    folders = _folders()
    texts = _class_files(folders)
    tables = {version: functions.table(version) for version in ("1.0", "1.1", "1.2", "1.3", "1.4")}
    fresh: list[list[Package]] = [_opened(folders) for _ in range(2 * rounds + 2)]
    signatures = {key: Signatures(table, frozenset(), key[1]) for key, table in _sights(tables)}

    def compiled() -> list[ClassCode]:
        documents.forget()  # what an expression means is remembered from file to file
        result: list[ClassCode] = []
        for package in fresh.pop():
            sight = signatures[package.format_version, package.full_name == CORE]
            for name in package.class_names:
                try:
                    result.append(compile_class(package.declaration(name), sight))
                except (dsl.SyntaxProblem, KeyError):  # some public packages are broken
                    continue
        return result

    def read_by_yaml() -> None:
        for text in texts:
            list(yaml.load_all(text, Loader=_Loader))

    size = f"{sum(map(len, texts)) / 1000:.0f} kB"
    ratio, seconds = compare(compiled, read_by_yaml, rounds)
    classes = compiled()
    title = f"parse, check, compile {len(classes)} classes ({size})"
    yield Row(title, f"{seconds * 1e3:.0f} ms", ratio, 3, "PyYAML (C)")
    ratio, seconds = compare(lambda: [each.all_parts() for each in compiled()], read_by_yaml, max(1, rounds - 3))
    yield Row("  the same with the body of every method", f"{seconds * 1e3:.0f} ms", ratio, None, "PyYAML (C)")
    with tempfile.TemporaryDirectory() as folder:
        cache = CodeCache(folder)
        for number, code in enumerate(classes):
            cache.put((number,), code)

        def from_cache() -> None:
            found = [cache.get((number,)) for number in range(len(classes))]
            if None in found:
                raise SystemExit("a class is missing in the compile cache")

        ratio, seconds = compare(from_cache, read_by_yaml, rounds * 2)
        yield Row("  the same classes from the compile cache", f"{seconds * 1e3:.0f} ms", ratio, 0.3, "PyYAML (C)")


def _sights(tables: dict[str, Any]) -> list[tuple[tuple[str, bool], Any]]:
    return [((version, is_core), table) for version, table in tables.items() for is_core in (False, True)]


def _folders() -> list[Path]:
    public = os.environ.get("CHANDLERY_PUBLIC_PACKAGES")
    files = sorted(Path(public).rglob("manifest.yaml")) if public else []
    found = [path.parent for path in files if "meta" not in path.parts]  # another core library is not read
    return [*packages.core_library(), *found]


def _opened(folders: list[Path]) -> list[Package]:
    result: list[Package] = []
    for folder in folders:
        try:
            result.append(open_package(folder))
        except dsl.PackageError:  # a manifest.yaml of something else
            continue
    return result


def _class_files(folders: list[Path]) -> list[bytes]:
    texts: list[bytes] = []
    for package in _opened(folders):
        for file in dict.fromkeys(package.manifest.classes.values()):
            if f"Classes/{file}" in package.names:
                texts.append(package.read(f"Classes/{file}"))
    return [text for text in texts if _is_yaml(text)]


def _is_yaml(text: bytes) -> bool:
    try:
        list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError:
        return False
    return True


class _Loader(yaml.CSafeLoader):
    """PyYAML's C loader, with the one tag of MuranoPL."""


_Loader.add_constructor("!yaql", lambda loader, node: node.value)
