"""Which installation of the service a database belongs to: an id made once, by which it knows its own in shared clouds.

All its processes share the database, so they share the id; it stands in the tags of stacks.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db.base import Base, Database, Identifier, new_id

_KEY = "installation"


class Installation(Base):
    """The one row."""

    __tablename__ = "installation"

    key: orm.Mapped[str] = orm.mapped_column(sa.String(16), primary_key=True)
    id: orm.Mapped[str] = orm.mapped_column(Identifier)


def id_of(database: Database) -> str:
    """The id, made now if there is none."""
    with database.reading() as session:
        row = session.get(Installation, _KEY)
    if row is not None:
        return row.id
    made = new_id()
    try:
        with database.transaction() as session:
            session.add(Installation(key=_KEY, id=made))
    except sa.exc.IntegrityError:  # another process was quicker
        return id_of(database)
    return made
