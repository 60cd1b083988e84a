"""Databases for the engine's tests: SQLite always, PostgreSQL and MariaDB where a server answers."""

from __future__ import annotations

import os
import shutil
import uuid

import pytest
import sqlalchemy as sa

from catalog.db import (
    base,
    deployments,
    environments,
    instance_stats,
    journal,
    packages,
    sessions,
    statuses,
)

TABLES = (deployments, environments, instance_stats, journal, packages, sessions, statuses)

SERVERS = {
    "postgresql": os.environ.get("CHANDLERY_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1/postgres"),
    "mariadb": os.environ.get(
        "CHANDLERY_TEST_MARIADB", "mysql+pymysql://root@localhost/mysql?unix_socket=/run/mysqld/mysqld.sock"
    ),
}


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """An SQLite file with all tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "catalog.sqlite"
    made = base.Database(f"sqlite:///{path}")
    made.create_tables()
    made.dispose()  # the last connection writes the log into the file
    return path


@pytest.fixture
def database(tmp_path, empty_file):
    """SQLite in a file."""
    shutil.copy(empty_file, tmp_path / "catalog.sqlite")
    found = base.Database(f"sqlite:///{tmp_path}/catalog.sqlite")
    yield found
    found.dispose()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def any_database(request):
    """Each kind of database in turn, empty."""
    if request.param == "sqlite":
        yield request.getfixturevalue("database")
        return
    found = request.getfixturevalue(request.param)
    yield found
    with found.engine.begin() as connection:
        for table in reversed(base.Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture(scope="session")
def postgresql():
    """A database of the session on the PostgreSQL server, if one answers."""
    yield from _on_server("postgresql", " WITH (FORCE)")


@pytest.fixture(scope="session")
def mariadb():
    """A database of the session on the MariaDB server, if one answers."""
    yield from _on_server("mariadb", "")


def _on_server(kind, force):
    server = sa.make_url(SERVERS[kind])
    name = f"chandlery_test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except (sa.exc.DBAPIError, ModuleNotFoundError) as error:
        admin.dispose()
        pytest.skip(f"no {kind} server at {server}: {error}")
    found = base.Database(server.set(database=name).render_as_string(hide_password=False))
    try:
        found.create_tables()
        yield found
    finally:
        found.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
        admin.dispose()
