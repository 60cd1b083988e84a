"""Which keys a database was sealed with, and sealing what is there anew: after an upgrade, and when keys change.

`agree` holds the keys of a process against the table `sealing_keys`, so that two processes with different keys notice
before they write. `reseal` goes through all sealed columns batch by batch while the service runs; `survey` counts.
Reached by `chandlery secrets`.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import base, sealing

BATCH = 100  # rows of one transaction
CLEAR = "clear"  # in counts: stored as versions before sealed nothing


class SealingKey(base.Base):
    """A key that something in this database may be sealed with, by its id; the key itself is not here."""

    __tablename__ = "sealing_keys"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(16), primary_key=True)
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(base.Timestamp, default=base.now)


def known(database: base.Database) -> set[str]:
    """The ids of the keys that something in the database may be sealed with."""
    with database.reading() as session:
        return set(session.scalars(sa.select(SealingKey.id)))


def agree(database: base.Database, ring: sealing.Ring) -> None:
    """Makes the ring's first key known. Raises `sealing.SealError` when another one is needed that the ring lacks."""
    found = known(database)
    missing = sorted(found.difference(ring.ids))
    if missing:
        raise sealing.SealError(
            f"{ring.source}: expected the key {' and the key '.join(missing)}, with which this database is sealed; "
            f"found {', '.join(ring.ids)}. Put it there, behind the key that shall seal from now on: docs/secrets.md"
        )
    if ring.first not in found:
        try:
            with database.transaction() as session:
                session.add(SealingKey(id=ring.first))
        except sa.exc.IntegrityError:  # another process was faster
            pass


def forget(database: base.Database, key_id: str) -> None:
    """Nothing is sealed with this key any more."""
    with database.transaction() as session:
        session.execute(
            sa.delete(SealingKey).where(SealingKey.id == key_id).execution_options(synchronize_session=False)
        )


@dataclasses.dataclass(frozen=True)
class Column:
    """One sealed column of a table, and how its rows are named."""

    table: sa.Table
    column: sa.Column[Any]

    @property
    def place(self) -> str:
        return cast(sealing.Sealed, self.column.type).place

    @property
    def raw(self) -> sa.ColumnElement[Any]:
        """What is stored, sealed or not, untouched."""
        return sa.type_coerce(self.column, cast(sealing.Sealed, self.column.type).impl_instance)


def columns() -> list[Column]:
    """All sealed columns."""
    return [
        Column(table, column)
        for table in base.Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sealing.Sealed)
    ]


def survey(database: base.Database) -> dict[str, dict[str, int]]:
    """How many values each sealed column has under each key, by the key's id or `CLEAR`: `{place: {key: count}}`."""
    head = len(sealing.MARK) + 16
    counted: dict[str, dict[str, int]] = {}
    with database.reading() as session:
        for each in columns():
            begin = sa.func.substr(each.raw, 1, head)
            query = sa.select(begin, sa.func.count()).where(each.column.is_not(None)).group_by(begin)
            found = counted.setdefault(each.place, {})
            for text, number in session.execute(query):
                key = _key_of(text)
                found[key] = found.get(key, 0) + number
    return counted


def reseal(database: base.Database, batch: int = BATCH) -> Iterator[tuple[str, int]]:
    """Seals with the ring's first key what is in the clear or sealed with another key; `(place, values)` per batch.

    May be interrupted at any time and started again; the service may run. Raises `sealing.SealError` without the key
    of a value. At the end the keys that nothing is sealed with any more are forgotten by the database.
    """
    ring = sealing.ring_of(database)
    if ring is None:
        raise sealing.SealError("expected the keys of this installation, found none: see [secrets] key_file")
    for each in columns():
        yield from _reseal_column(database, ring, each, batch)
    used = {key for found in survey(database).values() for key in found}
    with database.transaction() as session:
        session.execute(
            sa.delete(SealingKey)
            .where(SealingKey.id.not_in([*used, ring.first]))
            .execution_options(synchronize_session=False)
        )


def _reseal_column(database: base.Database, ring: sealing.Ring, each: Column, batch: int) -> Iterator[tuple[str, int]]:
    keys = list(each.table.primary_key.columns)
    ready = f"{sealing.MARK}{ring.first}:"
    other = sa.func.substr(each.raw, 1, len(ready)) != (
        ready.encode() if isinstance(each.column.type, sealing.Bytes) else ready
    )
    after: tuple[Any, ...] | None = None
    while True:
        query = sa.select(*keys).where(each.column.is_not(None), other).order_by(*keys).limit(batch)
        if after is not None:
            query = query.where(sa.tuple_(*keys) > sa.tuple_(*map(sa.literal, after)))
        with database.transaction() as session:
            names = [tuple(row) for row in session.execute(query)]
            if names:
                _reseal_rows(session, each, keys, names)
        if names:
            yield each.place, len(names)
            after = names[-1]
        if len(names) < batch:
            return


def _reseal_rows(session: orm.Session, each: Column, keys: list[sa.Column[Any]], names: list[tuple[Any, ...]]) -> None:
    """Reads and writes the values under their rows' locks, so that nothing written meanwhile is lost. Nothing else of
    the rows changes, their generations and times included.
    """
    of_row = sa.and_(*(key == sa.bindparam(f"key_{position}") for position, key in enumerate(keys)))
    kept = {column.name: column for column in each.table.columns if column.onupdate is not None}
    update = sa.update(each.table).where(of_row).values({**kept, each.column.name: sa.bindparam("value")})
    locked = sa.select(*keys).where(sa.tuple_(*keys).in_(names)).order_by(*keys).with_for_update()
    for name in session.execute(locked).all():
        given = {f"key_{position}": value for position, value in enumerate(name)}
        try:
            value = session.execute(sa.select(each.column).where(of_row), given).scalar_one()
        except sealing.SealError as failure:
            raise sealing.SealError(f"row {'/'.join(map(str, name))}: {failure}") from None
        if value is not None:
            session.execute(update, {**given, "value": value})


def _key_of(text: str | bytes) -> str:
    if not sealing.is_sealed(text):
        return CLEAR
    found = text if isinstance(text, str) else text.decode("ascii", "replace")
    return found[len(sealing.MARK) :]
