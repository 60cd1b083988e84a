"""A whole service per test, on an embedded database of its own, with accounts in two projects."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from catalog_cloud import CORE, Accounts, Cloud, add_accounts, archive_of, cloud_of

from catalog import config, packages, service
from catalog.db import categories
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


@pytest.fixture
def cloud(tmp_path: Path, overrides: dict[str, dict[str, Any]], furnished: tuple[Path, Accounts]) -> Iterator[Cloud]:
    path, accounts = furnished
    shutil.copy(path, tmp_path / "catalog.sqlite")
    options = {"database": {"connection": f"sqlite:///{tmp_path}/catalog.sqlite"}, **overrides}
    conf = config.load(overrides=options)
    database = Database(conf.database.connection)
    app = service.create_app(conf, database=database)
    yield cloud_of(app, database, accounts)
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
