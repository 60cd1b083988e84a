"""What was last read from community repositories: files that may be unchanged, and signatures that were verified."""

from __future__ import annotations

import datetime
import hashlib
import re

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base


class CachedFile(base.Base):
    """The last answer to one URL with the validators (`ETag`, `Last-Modified`) it came with."""

    __tablename__ = "repository_cache"

    key: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    url: orm.Mapped[str] = orm.mapped_column(base.LongText)
    etag: orm.Mapped[str | None] = orm.mapped_column(sa.String(255))
    last_modified: orm.Mapped[str | None] = orm.mapped_column(sa.String(64))
    data: orm.Mapped[bytes] = orm.mapped_column(base.Blob)
    fetched: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


def get(session: orm.Session, url: str) -> CachedFile | None:
    """The last answer to the URL, or None."""
    return session.get(CachedFile, _key(url))


def put(session: orm.Session, url: str, data: bytes, *, etag: str | None, last_modified: str | None) -> None:
    """Keeps an answer, in place of the one before."""
    row = session.get(CachedFile, _key(url)) or CachedFile(key=_key(url), url=_without_password(url))
    row.data, row.etag, row.last_modified, row.fetched = data, etag, last_modified, base.now()
    session.add(row)


class Trusted(base.Base):
    """The signed metadata of one repository that were verified last, `{file name: text}`; nothing older is believed."""

    __tablename__ = "repository_trust"

    key: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    repository: orm.Mapped[str] = orm.mapped_column(sa.String(255))
    version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    files: orm.Mapped[dict[str, str]] = orm.mapped_column(base.Json)
    updated: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now, onupdate=base.now)


def trusted(session: orm.Session, key: str) -> dict[str, str]:
    """The metadata that were verified last; none at first."""
    row = session.get(Trusted, key)
    return {} if row is None else row.files


def trust(session: orm.Session, key: str, repository: str, files: dict[str, str], version: int) -> None:
    """Keeps metadata whose timestamp has this version, unless newer ones are there already."""
    row = session.scalars(sa.select(Trusted).where(Trusted.key == key).with_for_update()).one_or_none()
    if row is None:
        session.add(Trusted(key=key, repository=repository, version=version, files=files))
    elif row.version <= version:
        row.version, row.files = version, files


def _without_password(url: str) -> str:
    """The address as people may read it; the file is found by its key."""
    return re.sub(r"(?<=://)[^/@]*@", "", url, count=1)


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
