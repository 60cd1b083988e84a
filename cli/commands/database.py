"""``chandlery db ...``: bring the schema of a database up to date, or say whether it is."""

from __future__ import annotations

import argparse
from typing import Any

from cli import errors
from cli.call import Call


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("db", help="the database: upgrade, check")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    for name, run, what in (
        ("upgrade", upgrade, "bring the schema to this version"),
        ("check", check, "exit code 1 if the schema is not this version's"),
    ):
        parser = actions.add_parser(name, parents=[shared], help=what)
        parser.add_argument("--url", metavar="URL", help="SQLAlchemy URL (default: the data directory's SQLite file)")
        parser.set_defaults(run=run)


def upgrade(call: Call) -> int:
    """Run the missing migrations."""
    from catalog.db import migrations

    migrations.upgrade(_url(call))
    call.output.result({"revision": migrations.head()}, f"The database is at revision {migrations.head()}.")
    return errors.OK


def check(call: Call) -> int:
    """Compare the database's revision with ours."""
    from catalog.db import migrations

    current, wanted = migrations.current(_url(call)), migrations.head()
    good = current == wanted
    text = f"The database is at revision {current or 'none'}" + ("." if good else f"; this version needs {wanted}.")
    call.output.result({"current": current, "head": wanted}, text)
    return errors.OK if good else errors.FAILED


def _url(call: Call) -> str:
    return str(call.options.url or f"sqlite:///{(call.data / 'chandlery.sqlite').absolute()}")
