"""Copying a repository, whole and verified, so that a service without the Internet is served from nearby."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from catalog.repositories import layout
from catalog.repositories.registry import Registry, newest
from catalog.repositories.transport import NotThere, RepositoryError

BUNDLE_LIMIT = 1 << 20


def mirror(registry: Registry, destination: Path, say: Callable[[str], None] = lambda _text: None) -> tuple[int, int]:
    """Copies the one repository of a registry: (packages, of which were fetched). `say` is told of each.

    Archives come before the index, signatures last, each file in one step: a reader never meets half a copy. What the
    source does not have any more is removed. Raises `RepositoryError`; what was copied before stays, and the index
    and signatures of the copy are still those of before.
    """
    [repository] = registry.repositories
    entries = registry.index(repository)
    if entries is None:
        raise RepositoryError(
            f"{repository.location}: expected a repository with {layout.INDEX}; of one in the original's layout "
            "nobody can tell which packages it has"
        )
    index = registry.index_bytes(repository)
    kept: set[str] = set()
    fetched = 0
    for entry in entries:
        path = destination / entry.archive
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            data = registry.archive(entry).archive
            layout.write_file(path, data)
            fetched += 1
            say(f"{entry.fqn} {entry.version}")
        kept.add(entry.archive)
    for entry in newest(entries):
        named = layout.archive_path(entry.fqn)
        layout.write_file(destination / named, (destination / entry.archive).read_bytes())
        kept.add(named)
    for name in layout.read_bundle_names(index):
        path_of = f"bundles/{name}.bundle"
        try:
            layout.write_file(destination / path_of, repository.transport.fetch(path_of, BUNDLE_LIMIT))
        except NotThere:
            continue
        kept.add(path_of)
    layout.write_file(destination / layout.INDEX, index)
    signatures = {} if repository.signed is None else repository.signed.metadata()
    for name, data in sorted(signatures.items(), key=lambda each: (each[0].endswith("timestamp.json"), each[0])):
        layout.write_file(destination / name, data)
    for folder, pattern in (("apps", "*.zip"), ("bundles", "*.bundle")):
        for present in (destination / folder).glob(pattern):
            if f"{folder}/{present.name}" not in kept:
                present.unlink()
    return len(entries), fetched
