"""Building a repository from package folders: static files that any web server serves, the same bytes every time.

Files are written before the index that lists them, each in one step, so a reader never meets half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from catalog import packages
from catalog.repositories import layout, registry
from catalog.repositories.layout import Entry
from dsl.packages import ArchiveLimits, PackageError, Problem, open_package

EVERYTHING = "all"  # the bundle that is made where none are named


def build(
    package_folders: Iterable[str | os.PathLike[str]],
    destination: str | os.PathLike[str],
    *,
    bundles: Mapping[str, Sequence[str]] | None = None,
    limits: ArchiveLimits | None = None,
) -> tuple[Entry, ...]:
    """Writes a repository of these packages (folders or archives) to `destination`; the entries of its index.

    `bundles` are lists of package names under names of their own; by default there is one, `all`. What an earlier
    build left there and this one does not have is removed. Raises `PackageError` with the problems of all packages,
    and writes nothing then.
    """
    entries, files = _collect(package_folders, limits or ArchiveLimits())
    lists = bundles or {EVERYTHING: sorted({entry.fqn for entry in entries})}
    for name, members in lists.items():
        listed = {"Packages": [{"Name": member} for member in members]}
        files[f"bundles/{name}.bundle"] = (json.dumps(listed, indent=1) + "\n").encode()
    root = Path(destination)
    for path, data in sorted(files.items()):
        layout.write_file(root / path, data)
    layout.write_file(root / layout.INDEX, layout.write_index(entries, lists))
    for folder, pattern in (("apps", "*.zip"), ("bundles", "*.bundle")):
        for present in sorted((root / folder).glob(pattern)):
            if f"{folder}/{present.name}" not in files:
                present.unlink()
    return tuple(sorted(entries, key=lambda entry: (entry.fqn, layout.Version.coerce(entry.version))))


def _collect(sources: Iterable[str | os.PathLike[str]], limits: ArchiveLimits) -> tuple[list[Entry], dict[str, bytes]]:
    entries: list[Entry] = []
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for source in sources:
        try:
            data = open_package(source, limits).archive()
            opened = packages.open_archive(data, limits, forms=True)
        except PackageError as failure:
            problems.extend(failure.problems)
            continue
        path = layout.archive_path(opened.name, opened.version)
        if path in files:
            problem = "the package is there twice"
            problems.append(Problem(str(source), None, None, problem, found=f"{opened.name} {opened.version}"))
        files[path] = data
        entries.append(registry.entry_of(opened, path))
    if problems:
        raise PackageError(problems)
    for entry in registry.newest(entries):
        files[layout.archive_path(entry.fqn)] = files[entry.archive]
    return entries, files
