"""``chandlery package store ...``, for operators, on the database itself: move archives and logos, sweep."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli import errors
from cli.call import Call

if TYPE_CHECKING:
    from catalog.db.base import Database

CONFIGURATION = "/etc/chandlery/chandlery.conf"


def register(actions: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands to those of ``chandlery package``."""
    group = actions.add_parser("store", help="where archives and logos are kept (operators): migrate, sweep")
    commands = group.add_subparsers(metavar="ACTION", required=True)
    for name, run, what in (
        ("migrate", migrate, "move all content into the store of [packages] store, while the service runs"),
        ("sweep", sweep, "remove what a killed process left in a store; say what is missing there"),
    ):
        parser = commands.add_parser(name, parents=[shared], help=what)
        parser.add_argument(
            "--config",
            action="append",
            metavar="FILE",
            help=f"the service's configuration (default: CHANDLERY_CONFIG, or {CONFIGURATION})",
        )
        parser.set_defaults(run=run)


def migrate(call: Call) -> int:
    """Move the content that is elsewhere."""
    from catalog.db import contents

    with _database(call) as database:
        moved = sum(1 for _ in contents.migrate(database))
        name = database.kept(contents.Stores).writing.name
    call.output.result({"moved": moved, "store": name}, f"Moved {moved} into the store {name}.")
    return errors.OK


def sweep(call: Call) -> int:
    """Remove unknown content. The exit code is 1 when content is missing."""
    from catalog.db import contents

    with _database(call) as database:
        removed, missing = contents.sweep(database)
    text = f"Removed {len(removed)} that no package carries; missing: {', '.join(missing) or 'none'}."
    call.output.result({"removed": removed, "missing": missing}, text)
    return errors.FAILED if missing else errors.OK


@contextlib.contextmanager
def _database(call: Call) -> Iterator[Database]:
    from oslo_config import cfg

    from catalog import config
    from catalog.db import base, content_stores, contents, tables  # noqa: F401  all tables, for foreign keys

    files = call.options.config or [os.environ.get("CHANDLERY_CONFIG", CONFIGURATION)]
    try:
        conf = config.load(files)
        database = base.Database(conf.database.connection)
        content_stores.configure(database, conf)
    except (cfg.Error, ValueError) as error:
        raise errors.CommandError(f"{', '.join(files)}: {error}") from None
    try:
        yield database
    except (contents.Unreachable, contents.Damaged) as error:
        raise errors.CommandError(str(error)) from None
    finally:
        database.dispose()
