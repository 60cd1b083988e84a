"""A whole service per test, on an embedded database of its own, with accounts in two projects."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalog_databases
import pytest
from catalog_cloud import CORE, Accounts, Cloud, add_accounts, archive_of, cloud_of

from catalog import config, packages, service
from catalog.db import categories, migrations
from catalog.db.base import Database


@pytest.fixture
def overrides() -> dict[str, dict[str, Any]]:
    """Options of the service under test; a test module overrides this fixture to change some."""
    return {}


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Accounts]:
    """A database with tables, categories and accounts; each test gets a copy, which is faster than a new one."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.sqlite"
    database = Database(f"sqlite:///{path}")
    database.create_tables()
    with database.transaction() as session:
        categories.seed(session)
    accounts = add_accounts(database)
    database.dispose()
    return path, accounts


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The database on the server that `CHANDLERY_TEST_DATABASE` names (postgresql, mariadb); None for SQLite."""
    kind = os.environ.get("CHANDLERY_TEST_DATABASE", "sqlite")
    if kind == "sqlite":
        yield None
        return
    with catalog_databases.empty(kind, tmp_path_factory.mktemp("server")) as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture
def database_url(tmp_path: Path, furnished: tuple[Path, Accounts], server_url: str | None) -> str:
    """The URL of a database with what `furnished` has, and nothing else."""
    path, _accounts = furnished
    if server_url is None:
        shutil.copy(path, tmp_path / "catalog.sqlite")
        return f"sqlite:///{tmp_path}/catalog.sqlite"
    catalog_databases.refill(server_url, f"sqlite:///{path}")
    return server_url


@pytest.fixture
def cloud(overrides: dict[str, dict[str, Any]], furnished: tuple[Path, Accounts], database_url: str) -> Iterator[Cloud]:
    conf = config.load(overrides={"database": {"connection": database_url}, **overrides})
    database = Database(conf.database.connection)
    app = service.create_app(conf, database=database)
    yield cloud_of(app, database, furnished[1])
    app.close()


@pytest.fixture
def core(cloud: Cloud) -> None:
    """The core library as the service's administrator imports it; here only the names of its classes matter."""
    packages.import_archives(
        cloud.database,
        [archive_of("io.murano", version="0.0.1", classes=CORE, Type="Library")],
        owner_id=cloud.admin.project_id,
        is_public=True,
    )
