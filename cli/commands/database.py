"""``chandlery db ...``: bring the schema of a database up to date, say whether it is, remove what is over and old."""

from __future__ import annotations

import argparse
import datetime
from typing import Any

from cli import errors
from cli.call import Call


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("db", help="the database: upgrade, check, purge")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    for name, run, what in (
        ("upgrade", upgrade, "bring the schema to this version"),
        ("check", check, "exit code 1 if the schema is not this version's"),
        ("purge", purge, "remove what is over and old: deployments, journals, sessions, tokens ..."),
    ):
        parser = actions.add_parser(name, parents=[shared], help=what)
        parser.add_argument("--url", metavar="URL", help="SQLAlchemy URL (default: the data directory's SQLite file)")
        parser.set_defaults(run=run)
    parser.add_argument("--days", type=int, default=90, help="what has been over for so many days (default: 90)")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="one kind; may be repeated")
    parser.add_argument("--batch", type=int, default=500, help="rows deleted in one transaction (default: 500)")
    parser.add_argument("--dry-run", action="store_true", help="say how much it would be, and remove nothing")


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


def purge(call: Call) -> int:
    """Delete old rows, or count them."""
    from catalog.db import base, migrations
    from catalog.db import purge as purging

    options = call.options
    if options.days < 1 or options.batch < 1:
        raise errors.CommandError(f"--days {options.days} --batch {options.batch}: expected at least 1 of each.")
    if not migrations.check(_url(call)):
        raise errors.CommandError("The database is not at this version's revision.", "Run: chandlery db upgrade")
    before = base.now() - datetime.timedelta(days=options.days)
    database = base.Database(_url(call))
    try:
        if options.dry_run:
            counts = purging.count(database, before, kinds=options.only)
        else:
            counts = purging.purge(database, before, kinds=options.only, batch=options.batch)
    except ValueError as error:
        raise errors.CommandError(f"--only {error}") from None
    finally:
        database.dispose()
    said = ", ".join(f"{found} {kind}" for kind, found in counts.items())
    call.output.result(counts, f"{'Would remove' if options.dry_run else 'Removed'} {said}.")
    return errors.OK


def _url(call: Call) -> str:
    return str(call.options.url or f"sqlite:///{(call.data / 'chandlery.sqlite').absolute()}")
