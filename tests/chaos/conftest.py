"""Databases of chaos tests, and which of them are for every day: those marked `chaos` run by `tox -e chaos` only."""

from __future__ import annotations

import os
import random

import chaos_world
import pytest
import sqlalchemy as sa

import catalog.db.tables  # noqa: F401 - all tables
from catalog.db import base

SEED = int(os.environ.get("CHANDLERY_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
SERVERS = {
    "postgresql": os.environ.get("CHANDLERY_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1/postgres"),
    "mariadb": os.environ.get(
        "CHANDLERY_TEST_MARIADB", "mysql+pymysql://root@localhost/mysql?unix_socket=/run/mysqld/mysqld.sock"
    ),
}


def pytest_report_header(config):
    return f"chaos: CHANDLERY_CHAOS_SEED={SEED} chooses the same moments again"


def pytest_collection_modifyitems(config, items):
    if "chaos" in (config.option.markexpr or ""):
        return
    left = [item for item in items if item.get_closest_marker("chaos")]
    items[:] = [item for item in items if not item.get_closest_marker("chaos")]
    config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="module")
def seed():
    return SEED


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory):
    found = base.Database(f"sqlite:///{tmp_path_factory.mktemp('chaos')}/catalog.sqlite")
    found.create_tables()
    yield found
    found.dispose()


@pytest.fixture(scope="module")
def postgresql():
    yield from _on_server("postgresql", " WITH (FORCE)")


@pytest.fixture(scope="module")
def mariadb():
    yield from _on_server("mariadb", "")


@pytest.fixture(scope="module")
def world(sqlite, tmp_path_factory):
    """One for the tests of a module; each has environments of its own in it."""
    with chaos_world.World(sqlite, tmp_path_factory.mktemp("world")) as found:
        yield found


def _on_server(kind, force):
    server = sa.make_url(SERVERS[kind])
    name = f"chandlery_chaos_{base.new_id()[:12]}"
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
