"""Content: archives and logos under the SHA-256 of themselves, each kept once, in the store the operator chose.

The table says what there is and which store has it (`catalog.db.content_stores`); the bytes are in the table itself
with the store `database`. What a transaction stores is gone when it fails, and what it removes is gone when it
succeeds: `Database.transaction` ends with `settle`. Only a process that is killed in between leaves content nobody
knows of, which `sweep` removes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import logging
from collections.abc import Iterator, Mapping
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base

LOG = logging.getLogger(__name__)

DATABASE = "database"
TOUCHED = "catalog.db.contents.touched"  # in a session's `info`: (store, digest) that may be left without an owner
ATTEMPTS = 5  # to remove content from a store
GRACE = 3600  # seconds; younger content without a row may belong to a transaction that is under way


class Damaged(Exception):
    """A store gave other bytes than were put there, or none."""


class Unreachable(Exception):
    """A store does not answer now."""


class Store(Protocol):
    """Where content is. Every method may be repeated, and raises `Unreachable` when the store does not answer."""

    @property
    def name(self) -> str:
        """As in `[packages] store`, and in the rows of the content it has."""

    def inline(self, data: bytes) -> bytes:
        """What the row in the database keeps of it."""

    def put(self, digest: str, data: bytes) -> None:
        """Keeps what the row does not: all of it or nothing, safe against a crash of the machine when it returns."""

    def get(self, digest: str, inline: bytes) -> bytes | None:
        """The content, None when it is not there."""

    def delete(self, digest: str) -> None:
        """Removes it; what is not there is removed already."""

    def listed(self) -> Iterator[tuple[str, float]]:
        """All it has beside the rows: digests, and how many seconds ago each was put."""


class InDatabase:
    """The rows themselves."""

    name = DATABASE

    def inline(self, data: bytes) -> bytes:
        return data

    def put(self, digest: str, data: bytes) -> None:
        pass  # the row has it

    def get(self, digest: str, inline: bytes) -> bytes | None:
        return inline

    def delete(self, digest: str) -> None:
        pass  # it went with its row

    def listed(self) -> Iterator[tuple[str, float]]:
        return iter(())


@dataclasses.dataclass(frozen=True)
class Stores:
    """The stores of an installation: new content goes to `writing`, old content is read where it is."""

    writing: Store = dataclasses.field(default_factory=InDatabase)
    others: tuple[Store, ...] = ()

    @functools.cached_property
    def by_name(self) -> Mapping[str, Store]:
        return {store.name: store for store in (InDatabase(), *self.others, self.writing)}

    def named(self, name: str) -> Store:
        """The store of this name. Raises `Damaged` for one that is not configured."""
        if name not in self.by_name:
            raise Damaged(
                f"Content is in the store {name!r}: expected its options in [packages], found none. "
                "Configure it in every process of the service."
            )
        return self.by_name[name]


class Content(base.Base):
    """Bytes under the SHA-256 of themselves. `data` is empty where another store than the database has them."""

    __tablename__ = "contents"

    digest: orm.Mapped[str] = orm.mapped_column(sa.String(64), primary_key=True)
    size: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    store: orm.Mapped[str] = orm.mapped_column(sa.String(16), default=DATABASE, server_default=DATABASE)
    data: orm.Mapped[bytes] = orm.mapped_column(base.Blob, deferred=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


def use(database: base.Database, stores: Stores) -> None:
    """Gives a database the stores of its installation; without it all content is in the database."""
    database.keep(stores)
    if settle not in database.settlers:
        database.settlers.append(settle)


def read(session: orm.Session, digest: str) -> bytes:
    """The content under a digest. Raises `LookupError` for an unknown one, `Damaged`, `Unreachable`."""
    row = session.execute(sa.select(Content.store, Content.data).where(Content.digest == digest)).one_or_none()
    if row is None:
        raise LookupError(f"content {digest}: expected it in the database, found no such row")
    store = _stores(session).named(row.store)
    data = store.get(digest, row.data)
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        found = "nothing" if data is None else f"{len(data)} other bytes"
        raise Damaged(
            f"content {digest}: expected it in the store {store.name!r}, found {found}. Restore it from a backup, "
            "or delete the package and upload it again."
        )
    return data


def store(session: orm.Session, data: bytes) -> str:
    """Keeps `data`, once; its SHA-256 in hex. Raises `Unreachable`.

    The row comes first: its lock makes others wait who store or remove the same content.
    """
    digest = hashlib.sha256(data).hexdigest()
    if session.connection().scalar(_KNOWN, {"digest": digest}) is None:
        writing = _stores(session).writing
        session.add(Content(digest=digest, size=len(data), store=writing.name, data=writing.inline(data)))
        session.flush()
        _touch(session, writing.name, digest)
        writing.put(digest, data)
    return digest


_KNOWN = sa.select(Content.digest).where(Content.digest == sa.bindparam("digest"))


def remove(session: orm.Session, digest: str) -> None:
    """Removes content that nothing carries any more; the bytes go when the transaction has succeeded."""
    name = session.scalar(sa.select(Content.store).where(Content.digest == digest))
    if name is not None:
        session.execute(sa.delete(Content).where(Content.digest == digest))
        _touch(session, name, digest)


def sweep(database: base.Database, grace: float = GRACE) -> tuple[list[str], list[str]]:
    """Removes content without a row from the stores: (digests removed, digests whose content is missing)."""
    stores = database.kept(Stores)
    with database.reading() as session:
        rows = session.execute(sa.select(Content.digest, Content.store)).all()
    known = {(store, digest) for digest, store in rows}
    removed, present = [], set()
    for each in stores.by_name.values():
        for digest, age in each.listed():
            present.add((each.name, digest))
            if (each.name, digest) not in known and age >= grace and _remove_orphan(database, each, digest):
                removed.append(digest)
    missing = [digest for store, digest in sorted(known - present) if store != DATABASE]
    return removed, missing


def migrate(database: base.Database) -> Iterator[str]:
    """Moves all content that is elsewhere into the store for new content: yields each digest once it is moved."""
    writing = database.kept(Stores).writing
    with database.reading() as session:
        query = sa.select(Content.digest).where(Content.store != writing.name).order_by(Content.digest)
        digests = session.scalars(query).all()
    for digest in digests:
        with database.transaction() as session:
            row = session.get(Content, digest, with_for_update=True)
            if row is None or row.store == writing.name:
                continue  # removed or moved meanwhile
            data = read(session, digest)
            _touch(session, row.store, digest)
            _touch(session, writing.name, digest)
            row.store, row.data = writing.name, writing.inline(data)
            session.flush()
            writing.put(digest, data)
        yield digest


def settle(database: base.Database, session: orm.Session) -> None:
    """After a transaction, however it ended: removes what it left in a store without a row."""
    for name, digest in session.info.pop(TOUCHED, ()):
        try:
            _remove_orphan(database, database.kept(Stores).named(name), digest)
        except (Unreachable, Damaged, sa.exc.SQLAlchemyError) as failure:
            LOG.warning("store %s: content %s stays for `chandlery package store sweep`: %s", name, digest, failure)


class _Done(Exception):
    """Ends a transaction without keeping anything of it."""


def _remove_orphan(database: base.Database, store: Store, digest: str) -> bool:
    """Deletes content from a store unless a row says that it is there. Whether it did.

    Meanwhile a row of ours, which is never committed, makes others wait who are about to store the same.
    """
    if store.name == DATABASE:
        return False
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(sa.exc.OperationalError):  # a deadlock with others who want the same content
            return _remove_alone(database, store, digest)
    return _remove_alone(database, store, digest)


def _remove_alone(database: base.Database, store: Store, digest: str) -> bool:
    try:
        with database.transaction() as session:
            row = session.get(Content, digest, with_for_update=True)
            if row is not None and row.store == store.name:
                return False
            if row is None:
                session.add(Content(digest=digest, size=0, store=store.name, data=b""))
                session.flush()
            store.delete(digest)
            raise _Done
    except _Done:
        return True
    except sa.exc.IntegrityError:  # somebody stored it just now
        return False


def _touch(session: orm.Session, store: str, digest: str) -> None:
    if store != DATABASE:
        session.info.setdefault(TOUCHED, set()).add((store, digest))


def _stores(session: orm.Session) -> Stores:
    database: base.Database = session.info["database"]
    return database.kept(Stores)
