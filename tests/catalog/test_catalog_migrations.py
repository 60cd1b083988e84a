"""Every migration by itself, on a database that has rows, on SQLite, PostgreSQL and MariaDB: none loses any."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalog_databases
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from catalog.db import migrations
from catalog.db.base import Database

MOMENT = datetime.datetime(2026, 3, 1, 12, 30, 15)
OURS = "alembic_version"


@pytest.fixture(params=catalog_databases.KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    with catalog_databases.empty(request.param, tmp_path) as made:
        yield made


def revisions() -> list[str]:
    """All, the oldest first."""
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
    return [script.revision for script in scripts][::-1]


def test_there_is_one_line_of_revisions() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.head()]
    assert [script.down_revision for script in scripts.walk_revisions()][::-1] == [None, *revisions()[:-1]]


def test_every_step_keeps_the_rows_that_are_there(url: str) -> None:
    kept: dict[str, dict[str, Any]] = {}
    database = Database(url)
    for revision in revisions():
        migrations.upgrade(url, revision)
        assert migrations.current(url) == revision
        tables = reflected(database)
        with database.transaction() as session:
            for table in tables:
                if table.name in kept:
                    found = session.execute(sa.select(table)).mappings().all()
                    assert any(holds(row, kept[table.name]) for row in found), f"{revision}: {table.name} lost a row"
                else:
                    row = row_of(table, kept)
                    session.execute(sa.insert(table).values(**row))
                    kept[table.name] = row
        database.engine.dispose()  # MariaDB would wait for what a pooled connection still holds
    assert {"environments", "sessions", "deployments", "statuses", "packages", "contents"} <= set(kept)
    database.dispose()


def test_what_is_upgraded_step_by_step_is_what_is_upgraded_at_once(url: str, tmp_path: Path) -> None:
    for revision in revisions():
        migrations.upgrade(url, revision)
    steps = Database(url)
    assert migrations.check(url)
    fresh = Database(f"sqlite:///{tmp_path}/at-once.sqlite")
    migrations.upgrade(str(fresh.engine.url))
    assert columns(steps) == columns(fresh)
    steps.dispose()
    fresh.dispose()


def reflected(database: Database) -> list[sa.Table]:
    """The tables that are there, those others refer to first."""
    metadata = sa.MetaData()
    metadata.reflect(database.engine)
    return [table for table in metadata.sorted_tables if table.name != OURS]


def columns(database: Database) -> dict[str, set[str]]:
    """The names of the columns of each table."""
    return {table.name: {column.name for column in table.columns} for table in reflected(database)}


def row_of(table: sa.Table, made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A row with something in each column that is not made by the database, and referring to rows that were made."""
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.foreign_keys:
            (key,) = column.foreign_keys
            row[column.name] = made[key.column.table.name][key.column.name]
        elif column.server_default is None and not (column.primary_key and column.autoincrement is True):
            row[column.name] = value_of(column)
    return row


def value_of(column: sa.Column[Any]) -> Any:
    """A value of the column's type; texts are JSON, in case the column is."""
    numbers: dict[type, Any] = {bool: True, int: 1, float: 1.5, decimal.Decimal: 1.5}
    values: dict[type, Any] = {**numbers, datetime.datetime: MOMENT, bytes: b"\x00\xff bytes"}
    if column.type.python_type in values:
        return values[column.type.python_type]
    text = f'"{column.table.name} {column.name} ♥"'
    length = getattr(column.type, "length", None)
    return text if length is None or len(text.encode()) <= length else f"{column.name}"[:length]


def holds(found: Any, wanted: dict[str, Any]) -> bool:
    """Whether a row still has what was put there, in the columns that are still there."""
    return all(found[name] == value for name, value in wanted.items() if name in found)
