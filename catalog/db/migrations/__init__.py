"""Bringing a database to the tables this version of the service needs: alembic's migrations, as functions.

`upgrade(url)` makes the newest of an empty or older database, `check(url)` says whether it is. Two services that
start at the same time wait for each other.
"""

from __future__ import annotations

import contextlib
import pathlib
import threading
from collections.abc import Iterator

import alembic.command
import alembic.config
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from catalog.db.base import Database

LOCK = 7_305_105  # of PostgreSQL's advisory locks; any number nobody else uses
LOCK_NAME = "chandlery-migrations"
LOCK_SECONDS = 300
_OF_THIS_PROCESS = threading.Lock()  # alembic hands migrations their context through module variables


class WrongDatabase(Exception):
    """A database that holds something else, or comes from a newer version of the service."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrates the database to `revision`. Raises `WrongDatabase`, and SQLAlchemy's errors when it does not answer."""
    database = Database(url)
    try:
        with _OF_THIS_PROCESS, database.engine.begin() as connection, _alone(connection):
            _refuse_foreign(connection)
            config = _config()
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, revision)
    finally:
        database.dispose()


def check(url: str) -> bool:
    """Whether the database is what this version needs: nothing to upgrade, nothing newer."""
    return current(url) == head()


def current(url: str) -> str | None:
    """The revision the database is at, None for one without."""
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            return _current(connection)
    finally:
        database.dispose()


def head() -> str:
    """The newest revision there is."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(pathlib.Path(__file__).parent).replace("%", "%%"))
    return config


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_foreign(connection: sa.Connection) -> None:
    current = _current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise WrongDatabase(
            f"The database is at revision {current}, which this version does not know: it was upgraded by a newer one. "
            "Start that version, or restore a backup."
        )
    if current is None and sa.inspect(connection).has_table("environments"):
        raise WrongDatabase(
            "The database has tables but no revision: it was not made by `chandlery db upgrade`. Use an empty one."
        )


@contextlib.contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """Only one process at a time gets past here; on SQLite the transaction has the database for itself already."""
    name = connection.dialect.name
    if name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        yield
    elif name in ("mysql", "mariadb"):
        wait = {"name": LOCK_NAME, "seconds": LOCK_SECONDS}
        if connection.scalar(sa.text("SELECT GET_LOCK(:name, :seconds)"), wait) != 1:
            raise WrongDatabase(f"Another process has been migrating the database for {LOCK_SECONDS} s")
        try:
            yield
        finally:
            connection.execute(sa.text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK_NAME})
    else:
        yield
