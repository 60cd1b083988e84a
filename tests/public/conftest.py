"""The catalog with all public packages, once for all stories."""

from __future__ import annotations

import os
from pathlib import Path

import public_world
import pytest

from catalog.db import base, tables

FOLDER = os.environ.get("CHANDLERY_PUBLIC_PACKAGES")


@pytest.fixture(scope="session")
def installation(tmp_path_factory):
    if not FOLDER:
        pytest.skip("CHANDLERY_PUBLIC_PACKAGES names no folder with packages")
    workplace = tmp_path_factory.mktemp("public")
    database = base.Database(f"sqlite:///{workplace}/catalog.sqlite")
    tables.METADATA.create_all(database.engine)
    yield public_world.Installation(database, Path(FOLDER), workplace)
    database.dispose()
