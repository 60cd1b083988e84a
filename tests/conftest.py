"""What all tests share: keys. Every process of a test finds them where `[secrets] key_file` says, by the environment,
and a database that a test makes without a configuration has them, too: no test leaves secrets unsealed.
"""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import tempfile

import sqlalchemy as sa

from catalog import config
from catalog.db import keys, sealing

VARIABLE = "OS_SECRETS__KEY_FILE"  # oslo.config's name for the option in the environment

if VARIABLE not in os.environ:  # workers of pytest-xdist have it from their controller
    _folder = tempfile.mkdtemp(prefix="chandlery-test-keys-")
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    os.environ[VARIABLE] = str(pathlib.Path(_folder, "secrets.key"))
    keys.make(config.load())

RING = keys.ring_of(config.load())


@sa.event.listens_for(sa.Engine, "engine_connect")
def _keys_for(connection: sa.Connection) -> None:
    if sealing.ring_of(connection.engine) is None:
        sealing.use(connection.engine, RING)
