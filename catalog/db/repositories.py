"""What was last read from community repositories, so that an unchanged file is not transferred again."""

from __future__ import annotations

import datetime
import hashlib

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
    row = session.get(CachedFile, _key(url)) or CachedFile(key=_key(url), url=url)
    row.data, row.etag, row.last_modified, row.fetched = data, etag, last_modified, base.now()
    session.add(row)


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
