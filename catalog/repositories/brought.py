"""Packages that a caller brings along: a file, or what a URL answers, seen as a repository in front of the others.

Either may be a package, an offline bundle, or a list of names (`*.bundle`) that are then taken from the repositories.
"""

from __future__ import annotations

import dataclasses
import io
import urllib.parse
from collections.abc import Sequence
from typing import IO

from oslo_config import cfg

from catalog import packages
from catalog.db import base
from catalog.imports import Brought
from catalog.repositories import layout, offline, registry
from catalog.repositories.registry import MIB, Registry, Repository
from catalog.repositories.transport import NotThere, Refused, RepositoryError, TooLong, Web
from dsl.packages import VersionSpec

ANY = VersionSpec.parse("*")


@dataclasses.dataclass(frozen=True)
class Parcel:
    """What was brought: the packages that are wanted, and where they are; None for names only."""

    roots: Sequence[tuple[str, VersionSpec]]
    brought: Brought | None


def from_file(file: IO[bytes], name: str, conf: cfg.ConfigOpts, database: base.Database) -> Parcel:
    """What is in a file that can be sought in. Raises `RepositoryError`, `PackageError`."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start[:2] != b"PK":
        if start[:1] not in (b"{", b" ", b"\n", b"\r", b"\t", b"\xef"):
            raise RepositoryError(f"{name}: expected a package, an offline bundle or a list of packages, found neither")
        return Parcel(_list(file.read(MIB + 1), name), None)
    if offline.is_bundle(file):
        return _bundle(file, name, conf, database)
    limits = packages.limits_of(conf)
    data = file.read(limits.archive_bytes + 1)
    opened = packages.open_archive(data, limits)
    path = layout.archive_path(opened.name, opened.version)
    repository = Repository(name, name, _One(path, data))
    return Parcel([(opened.name, ANY)], Brought(repository, (registry.entry_of(opened, path, name),)))


def from_url(url: str, conf: cfg.ConfigOpts, database: base.Database) -> Parcel:
    """What a URL answers that somebody has sent: fetched from public addresses and allowed hosts only."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and not (parts.username or parts.password)
    except ValueError:
        known = None
    if not known:
        raise Refused(f"{url[:200]}: expected a URL like https://example.org/package.zip, without a password")
    options = conf.repositories
    web = Web(
        url,
        None,
        timeout=options.timeout,
        total=options.total_timeout,
        allowed=options.allowed_hosts,
        trusts_url=False,
    )
    data = web.fetch("", options.bundle_limit * MIB)
    return from_file(io.BytesIO(data), urllib.parse.urlunsplit(parts._replace(query="", fragment="")), conf, database)


def _list(data: bytes, name: str) -> list[tuple[str, VersionSpec]]:
    if len(data) > MIB:
        raise RepositoryError(f"{name}: expected a list of packages of at most 1 MiB, found more")
    try:
        return layout.read_bundle(data)
    except layout.MalformedIndex as failure:
        raise RepositoryError(f"{name}: {failure}")


def _bundle(file: IO[bytes], name: str, conf: cfg.ConfigOpts, database: base.Database) -> Parcel:
    bundle = offline.Bundle(file, name)
    root = conf.repositories.bundle_root
    if root:
        repository = registry.signed_repository("offline bundle", name, bundle, root, conf, database)
        repository = dataclasses.replace(repository, name=name)
    else:
        repository = Repository(name, name, bundle)
    entries = Registry(conf, None).read_index(repository)
    return Parcel(bundle.wanted(), Brought(repository, tuple(each for each in entries if bundle.has(each.archive))))


class _One:
    """The transport of one archive."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._data = data

    def fetch(self, path: str, limit: int) -> bytes:
        if path != self._path:
            raise NotThere(f"{path}: there is no such file")
        if len(self._data) > limit:
            raise TooLong(f"{path}: expected at most {limit} bytes, found more")
        return self._data
