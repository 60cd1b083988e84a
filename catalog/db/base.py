"""What every table shares: the declarative base, column types, and the database as one object.

Reached as `Database(url)`. `transaction()` is for work that writes, `reading()` for work that only reads; both hand
out a SQLAlchemy session that commits when the block ends and rolls back when it raises. SQLite, PostgreSQL and
MariaDB/MySQL.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import random
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable

SQLITE_BUSY_SECONDS = 30  # how long a writer waits for another process's write before giving up
POOL_SIZE = 10  # connections kept open per process
POOL_OVERFLOW = 40  # more of them under load, closed again afterwards
LARGEST = 64 * 1024 * 1024  # bytes of JSON that one column takes, where the server does not set a lower limit
OF_PACKET = 0.7  # of what MariaDB takes in one statement: values are sealed, which makes them a third longer
PING_AFTER = 1.0  # seconds that a connection lay idle, after which the server is asked whether it still knows it


Kept = TypeVar("Kept")


class Base(orm.DeclarativeBase):
    """The declarative base of all tables; the naming convention lets migrations drop what they did not name."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value kept as compact text, key order included (object models are shown as they were sent).

    Python `None` is SQL NULL. Replace the value to change it: mutation in place is not noticed.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.LONGTEXT())
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        return json.loads(value)


Timestamp = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")  # naive UTC, microseconds kept
LongText = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
Blob = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
Identifier = sa.String(36)  # ids the service makes: 32 hex digits; room for dashed ones that came from elsewhere


def new_id() -> str:
    """A fresh id: 32 lower-case hex digits (spec/api-v1 §1.1)."""
    return uuid.uuid4().hex


def now() -> datetime.datetime:
    """The time as it is stored: UTC without a zone."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Database:
    """One database: `url` is an SQLAlchemy URL whose SQLite form names a file.

    Raises `ValueError` for an in-memory SQLite URL: threads and processes could not share it.
    """

    def __init__(self, url: str, *, echo: bool = False) -> None:
        parsed = sa.make_url(url)
        self.url = url
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW, "echo": echo}
        options["hide_parameters"] = True  # what a statement was given would stand in errors, and so in logs
        if self.is_sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise ValueError(
                    f"database {url!r}: expected a file, as in sqlite:////var/lib/chandlery/catalog.sqlite"
                )
            options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
        else:
            options["pool_recycle"] = 3600
            options["isolation_level"] = "READ COMMITTED"
        self.engine = sa.create_engine(parsed, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            _check_idle_connections(self.engine)
        reading: dict[str, Any] = {"reads_only": True}
        if self.engine.dialect.name == "postgresql":
            # READ COMMITTED shows every statement what is committed then, so a transaction adds two round trips alone
            reading["isolation_level"] = "AUTOCOMMIT"
        reads_only = self.engine.execution_options(**reading)
        self._writing = orm.sessionmaker(self.engine, expire_on_commit=False, info={"database": self})
        self._reading = orm.sessionmaker(reads_only, expire_on_commit=False, info={"database": self})
        self._kept: dict[type, Any] = {}
        self.settlers: list[Callable[[Database, orm.Session], None]] = []  # called when a transaction has ended

    @contextlib.contextmanager
    def transaction(self) -> Iterator[orm.Session]:
        """A session that may write. On SQLite it takes the write lock first, so cannot fail half-way for want of it."""
        session = self._writing()
        try:
            with session, session.begin():
                yield session
        finally:
            for settle in self.settlers:
                settle(self, session)

    def keep(self, value: object) -> None:
        """Keeps something of the process's with the database, under its type: see `kept`."""
        self._kept[type(value)] = value

    def kept(self, kind: Callable[[], Kept]) -> Kept:
        """What is kept under this type; what the type makes without arguments, when nothing was."""
        found: Kept = self._kept.get(kind) or self._kept.setdefault(kind, kind())  # type: ignore[call-overload]
        return found

    @contextlib.contextmanager
    def reading(self) -> Iterator[orm.Session]:
        """A session for reading one consistent state; never waits for a writer on SQLite."""
        with self._reading.begin() as session:
            yield session

    @functools.cached_property
    def largest(self) -> int:
        """Bytes of JSON that one value may have: a longer one would break the connection, again and again."""
        if self.engine.dialect.name not in ("mysql", "mariadb"):
            return LARGEST
        with self.engine.connect() as connection:
            packet = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        return min(LARGEST, int(packet * OF_PACKET))

    def create_tables(self) -> None:
        """Creates every table known to `Base`, without migrations: for tests. See `migrations.upgrade`."""
        Base.metadata.create_all(self.engine)

    def dispose(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver shall not begin transactions by itself: _begin_sqlite does
    connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_SECONDS * 1000}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")  # a crash of the machine may lose commits, never the database
    connection.execute("PRAGMA foreign_keys=ON")


def _use_wal(connection: Any) -> None:
    """Write-ahead logging, so that readers and the writer do not block each other.

    Of several that change a new file to it at the same time SQLite refuses some at once, whatever the busy timeout.
    """
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  # so that they do not meet again


def _begin_sqlite(connection: sa.Connection) -> None:
    reads_only = connection.get_execution_options().get("reads_only")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _check_idle_connections(engine: sa.Engine) -> None:
    """Asks the server whether it still knows a connection that lay idle; if not, the pool makes new ones.

    SQLAlchemy's own `pool_pre_ping` asks each time, which is a quarter of what a short transaction costs.
    """
    dialect = engine.dialect

    def remember_use(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    def check(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info["used"] < PING_AFTER:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            if dialect.is_disconnect(error, connection, None):
                raise sa.exc.InvalidatePoolError from error
            raise

    event.listen(engine, "connect", remember_use)
    event.listen(engine, "checkin", remember_use)
    event.listen(engine, "checkout", check)


@compiles(CreateTable, "mysql", "mariadb")
def _create_table_in_unicode(element: CreateTable, compiler: Any, **options: Any) -> str:
    """MariaDB/MySQL compare names as the other databases do: every character, case, accent and final blank counts."""
    statement: str = compiler.visit_create_table(element, **options)
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    return f"{statement.rstrip()} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {collation}"
