"""What is where in a repository: the original's tree (spec/api-v1 §2.3), and our index of it.

index.json                 every version: digests, description, author, tags, requirements (ours)
apps/<fqn>.zip             the newest version (the original's)
apps/<fqn>.<version>.zip   each version
bundles/<name>.bundle      `{"Packages": [{"Name", "Version"?}]}` (the original's)
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsl.packages import Version, VersionSpec

INDEX = "index.json"
FORMAT = 1
FQN = re.compile(r"\w+(\.\w+)*")
ARCHIVE = re.compile(r"apps/[\w.+-]+\.zip")
BUNDLE = re.compile(r"[\w-][\w.-]{0,127}")
SHA256 = re.compile(r"[0-9a-f]{64}")
TEXTS = {"name": 255, "type": 20, "author": 255, "description": 100_000}  # longest text of each


class MalformedIndex(ValueError):
    """An index that is not one."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One version of one package in a repository. `sha256` is of the archive, None where no index says it."""

    fqn: str
    version: str
    name: str
    type: str
    author: str
    description: str
    tags: tuple[str, ...]
    require: Mapping[str, str] = dataclasses.field(hash=False)
    archive: str
    sha256: str | None
    digest: str | None
    repository: str = ""


def archive_path(fqn: str, version: str | None = None) -> str:
    """Where an archive is: of a version, or the newest."""
    return f"apps/{fqn}.zip" if version is None else f"apps/{fqn}.{version}.zip"


def read_index(data: bytes, repository: str) -> tuple[Entry, ...]:
    """The entries of an index. Raises `MalformedIndex` that names the entry and the field."""
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as failure:
        raise MalformedIndex(f"{INDEX}: expected JSON in UTF-8: {failure}")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise MalformedIndex(f'{INDEX}: expected an object with "format": {FORMAT}')
    listed = document.get("packages")
    if not isinstance(listed, list):
        raise MalformedIndex(f"{INDEX}: packages: expected an array")
    return tuple(_entry(value, position, repository) for position, value in enumerate(listed))


def read_bundle(data: bytes) -> list[tuple[str, VersionSpec]]:
    """The packages a bundle lists, with the versions that fit. Raises `MalformedIndex`."""
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as failure:
        raise MalformedIndex(f"expected JSON in UTF-8: {failure}")
    listed = document.get("Packages", document.get("packages")) if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed:
        raise MalformedIndex('expected {"Packages": [{"Name": ..., "Version": ...}]}')
    found = []
    for position, value in enumerate(listed):
        if not isinstance(value, dict):
            raise MalformedIndex(f"Packages/{position}: expected an object")
        name = value.get("Name", value.get("name"))
        name = _matching(name, FQN, 128, f"Packages/{position}/Name", "a full name such as org.example.App")
        try:
            spec = VersionSpec.parse(value.get("Version", value.get("version")) or "*")
        except ValueError as failure:
            raise MalformedIndex(f"Packages/{position}/Version: expected a version specification: {failure}")
        found.append((name, spec))
    return found


def read_bundle_names(index: bytes) -> tuple[str, ...]:
    """The names of the bundles an index lists; none where it lists no bundles."""
    listed = json.loads(index.decode("utf-8")).get("bundles")
    if not isinstance(listed, list):
        return ()
    return tuple(name for name in listed if isinstance(name, str) and BUNDLE.fullmatch(name))


def write_index(entries: Sequence[Entry], bundles: Iterable[str] = ()) -> bytes:
    """The index of these entries and names of bundles; equal ones give equal bytes."""
    packages = []
    for entry in entries:
        fields = dataclasses.asdict(entry)
        del fields["repository"]
        packages.append(fields)
    packages.sort(key=lambda fields: (fields["fqn"], Version.coerce(fields["version"])))
    document: dict[str, Any] = {"format": FORMAT, "packages": packages}
    if names := sorted(bundles):
        document["bundles"] = names
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _entry(value: Any, position: int, repository: str) -> Entry:
    where = f"{INDEX}: packages/{position}"
    if not isinstance(value, dict):
        raise MalformedIndex(f"{where}: expected an object")
    fqn = _matching(value.get("fqn"), FQN, 128, f"{where}/fqn", "a full name such as org.example.App")
    try:
        version = str(Version.coerce(value.get("version")))
        require = value.get("require") or {}
        for name, spec in require.items():
            _matching(name, FQN, 128, f"{where}/require", "full names of packages")
            VersionSpec.parse(spec)
    except (ValueError, AttributeError) as failure:
        raise MalformedIndex(f"{where}: expected a version, and requirements by package name: {failure}")
    texts = {}
    for key, longest in TEXTS.items():
        text = value.get(key) or ""
        if not isinstance(text, str) or len(text) > longest:
            raise MalformedIndex(f"{where}/{key}: expected a string of at most {longest} characters")
        texts[key] = text
    tags = value.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise MalformedIndex(f"{where}/tags: expected an array of strings")
    return Entry(
        fqn=fqn,
        version=version,
        tags=tuple(tags),
        require={name: str(spec) for name, spec in require.items()},
        archive=_matching(value.get("archive"), ARCHIVE, 300, f"{where}/archive", "a path like apps/name.zip"),
        sha256=_matching(value.get("sha256"), SHA256, 64, f"{where}/sha256", "64 hex digits"),
        digest=_matching(value.get("digest"), SHA256, 64, f"{where}/digest", "64 hex digits"),
        repository=repository,
        **texts,
    )


def _matching(value: Any, pattern: re.Pattern[str], longest: int, where: str, expected: str) -> str:
    if not isinstance(value, str) or len(value) > longest or not pattern.fullmatch(value):
        raise MalformedIndex(f"{where}: expected {expected}, found {str(value)[:80]!r}")
    return value


def write_file(path: Path, data: bytes) -> None:
    """Replaces a file in one step; an equal one stays as it is."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
