"""``chandlery secrets ...``, for operators, on the database itself: keys, what they have sealed, sealing it anew."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli import client, errors
from cli.call import Call

if TYPE_CHECKING:
    from oslo_config import cfg

    from catalog.db.base import Database


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("secrets", help="what is sealed in the database: new-key, status, seal, forget-key")
    commands = group.add_subparsers(metavar="ACTION", required=True)
    for name, run, what in (
        ("new-key", new_key, "make a key: the first of the key file, or one of the key manager that is configured"),
        ("status", status, "count what is sealed with which key, and what is in the clear"),
        ("seal", seal, "seal what is in the clear or sealed with an older key; the service may run"),
        ("forget-key", forget_key, "remove a key that nothing is sealed with from the key file"),
    ):
        parser = commands.add_parser(name, parents=[shared], help=what)
        parser.add_argument(
            "--config",
            action="append",
            metavar="FILE",
            help="the service's configuration (default: CHANDLERY_CONFIG, else the data directory)",
        )
        if run is forget_key:
            parser.add_argument("key", metavar="ID", help="the key's id, as status shows it")
        parser.set_defaults(run=run)


def new_key(call: Call) -> int:
    """Make a key and say what makes it the one that seals."""
    from catalog.db import keys

    conf = _configuration(call)
    try:
        made = keys.make(conf)
    except ValueError as error:
        raise errors.CommandError(str(error)) from None
    if keys.is_file(conf):
        then = (
            f"It comes first in {conf.secrets.key_file}. Copy the file to all hosts of the service, restart its "
            "processes, then: chandlery secrets seal"
        )
    else:
        then = f"Put its id first into the option: [secrets] key_ids = {','.join([made, *conf.secrets.key_ids])}"
    call.output.result({"id": made}, f"Made the key {made}. {then}")
    return errors.OK


def status(call: Call) -> int:
    """Show the counts. The exit code is 1 when there is something to seal."""
    from catalog.db import resealing, sealing

    with _database(call) as database:
        ring = sealing.ring_of(database)
        assert ring is not None
        counted = resealing.survey(database)
    rows = [
        {"column": place, "key": key, "values": number}
        for place, found in counted.items()
        for key, number in sorted(found.items())
    ]
    open_ends = any(row["key"] != ring.first for row in rows)
    text = "There is something to seal: chandlery secrets seal" if open_ends else "All is sealed with the first key."
    call.output.rows(rows, {"column": "Column", "key": "Key", "values": "Values"}, empty="There are no values.")
    call.output.say(f"Keys, the first one seals: {', '.join(ring.ids)}. {text}")
    return errors.FAILED if open_ends else errors.OK


def seal(call: Call) -> int:
    """Seal with the first key."""
    from catalog.db import resealing, sealing

    counts: dict[str, int] = {}
    with _database(call) as database:
        try:
            for place, number in resealing.reseal(database):
                counts[place] = counts.get(place, 0) + number
        except sealing.SealError as error:
            raise errors.CommandError(str(error), code=errors.FAILED) from None
    said = ", ".join(f"{number} of {place}" for place, number in counts.items()) or "nothing, all was sealed"
    call.output.result(counts, f"Sealed {said}.")
    return errors.OK


def forget_key(call: Call) -> int:
    """Remove an old key from the file."""
    from catalog.db import keys, resealing, sealing

    conf = _configuration(call)
    if not keys.is_file(conf):
        raise errors.CommandError(
            f"[key_manager] backend = {conf.key_manager.backend} keeps the keys.",
            "Take the id out of [secrets] key_ids, restart the service, then delete the key there.",
        )
    key = call.options.key
    with _database(call) as database:
        ring = sealing.ring_of(database)
        assert ring is not None
        if key not in ring.ids:
            raise errors.CommandError(f"{ring.source} has no key {key}.", f"It has {', '.join(ring.ids)}.")
        if key == ring.first:
            raise errors.CommandError(f"The key {key} is the one that seals.", "Make another one first: new-key")
        used = [place for place, found in resealing.survey(database).items() if key in found]
        if used:
            raise errors.CommandError(
                f"The key {key} has sealed values of {', '.join(used)}.",
                "Seal them anew first: seal",
                code=errors.FAILED,
            )
        resealing.forget(database, key)
    keys.manager(conf).delete(None, key)
    call.output.result({"id": key}, f"Removed the key {key} from {conf.secrets.key_file}.")
    return errors.OK


@contextlib.contextmanager
def _database(call: Call) -> Iterator[Database]:
    """The database with its keys."""
    import sqlalchemy as sa

    from catalog.db import base, keys, tables  # noqa: F401  all tables: their sealed columns

    conf = _configuration(call)
    try:
        database = base.Database(conf.database.connection)
        keys.configure(database, conf)
    except ValueError as error:
        raise errors.CommandError(str(error)) from None
    try:
        yield database
    except sa.exc.DBAPIError as error:
        raise errors.CommandError(f"The database does not do it: {error.orig}", code=errors.UNREACHABLE) from None
    finally:
        database.dispose()


def _configuration(call: Call) -> cfg.ConfigOpts:
    from oslo_config import cfg

    from catalog import config

    named = os.environ.get("CHANDLERY_CONFIG")
    files = call.options.config or ([named] if named else [])
    of_directory = {
        "database": {"connection": f"sqlite:///{(call.data / client.DATABASE_FILE).absolute()}"},
        "secrets": {"key_file": str((call.data / client.KEY_FILE).absolute())},
    }
    try:
        return config.load(files, {} if files else of_directory)
    except cfg.Error as error:
        raise errors.CommandError(f"{', '.join(files)}: {error}") from None
