"""Databases of the three kinds for tests: SQLite in a file, PostgreSQL and MariaDB where they answer."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from catalog.db.base import Database
from catalog.db.tables import METADATA

SERVERS = {
    "postgresql": os.environ.get("CHANDLERY_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "mariadb": os.environ.get("CHANDLERY_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
KINDS = ("sqlite", *SERVERS)


@contextlib.contextmanager
def empty(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of the test's own; skips where the server does not answer."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/catalog.sqlite"
        return
    server = sa.make_url(SERVERS[kind])
    name = f"chandlery_{uuid.uuid4().hex[:12]}"
    try:
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 10})
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except (sa.exc.OperationalError, ImportError) as failure:
        pytest.skip(f"{kind} does not answer at {server.host}:{server.port}: {str(failure)[:80]}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
    engine.dispose()


def refill(url: str, like: str) -> None:
    """Leaves in a database exactly the rows that another one with the same tables has."""
    target, source = Database(url), Database(like)
    with source.reading() as read, target.transaction() as session:
        for table in reversed(METADATA.sorted_tables):
            session.execute(sa.delete(table))
        for table in METADATA.sorted_tables:
            rows = [dict(row) for row in read.execute(sa.select(table)).mappings()]
            if rows:
                session.execute(sa.insert(table), rows)
    for each in (target, source):
        each.dispose()
