"""``chandlery bundle ...``: several packages at once, by the name of a list or in one file for where no network is."""

from __future__ import annotations

import argparse
import os
import pathlib
import tempfile
from typing import Any

from cli import errors, imports
from cli.call import Call
from cli.commands import repository


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("bundle", help="several packages at once: import, save, load")
    actions = group.add_subparsers(metavar="ACTION", required=True)

    import_ = actions.add_parser("import", parents=[shared], help="import all packages of a list")
    import_.add_argument("names", nargs="+", metavar="NAME|FILE|URL", help="bundle of a repository, or a .bundle file")
    imports.add_options(import_)
    import_.set_defaults(run=import_bundles)

    save_ = actions.add_parser("save", parents=[shared], help="packages with all they require, in one file")
    save_.add_argument("names", nargs="+", metavar="PACKAGE", help="full name, or name@version-range")
    save_.add_argument("--repository", required=True, metavar="URL|DIR", help="where they are taken from")
    save_.add_argument("--root", metavar="FILE", help="the root.json its signatures have to be verified from")
    save_.add_argument("-o", "--output", required=True, metavar="FILE")
    save_.set_defaults(run=save)

    load_ = actions.add_parser("load", parents=[shared], help="import a file that bundle save has made")
    load_.add_argument("file", metavar="FILE")
    imports.add_options(load_)
    load_.set_defaults(run=load)


def import_bundles(call: Call) -> int:
    """A list is a file, a URL, or a name that a configured repository knows."""
    done: list[dict[str, Any]] = []
    for name in call.options.names:
        if pathlib.Path(name).is_file():
            done += imports.from_path(call, pathlib.Path(name))
        elif "://" in name:
            done += imports.from_url(call, name)
        else:
            done += imports.named(call, {"bundle": name.removesuffix(".bundle")})
    imports.show(call, done)
    return errors.OK


def save(call: Call) -> int:
    """Resolve, fetch, check and pack; the same packages give the same bytes. Needs no service."""
    from catalog import dependencies
    from catalog.repositories import offline
    from catalog.repositories.transport import RepositoryError
    from dsl import packages

    options = call.options
    target = pathlib.Path(options.output)
    try:
        wanted = []
        for text in options.names:
            name, _, spec = text.partition("@")
            wanted.append((name, packages.VersionSpec.parse(spec or "*")))
        registry = repository.one_repository(options.repository, options.root)
        folder = target.absolute().parent
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".new", delete=False) as draft:
            try:
                entries = offline.save(registry, wanted, draft)
                draft.flush()
                os.chmod(draft.name, 0o644)
                os.replace(draft.name, target)
            except BaseException:
                os.unlink(draft.name)
                raise
    except (RepositoryError, dependencies.Unresolvable, ValueError, OSError) as error:
        raise errors.CommandError(str(error), code=errors.FAILED) from None
    except packages.PackageError as error:
        raise errors.CommandError("A package is broken.", *map(str, error.problems), code=errors.FAILED) from None
    packed = [{"fqn": entry.fqn, "version": entry.version} for entry in entries]
    call.output.result(
        {"file": str(target), "packages": packed},
        f"{target} has {len(packed)} packages ({target.stat().st_size} bytes). Import it with: chandlery bundle load",
    )
    return errors.OK


def load(call: Call) -> int:
    """Import the packages the file was made for, and what they require, from it."""
    path = pathlib.Path(call.options.file)
    if not path.is_file():
        raise errors.CommandError(f"{path}: expected a file that chandlery bundle save has made, found none.")
    imports.show(call, imports.from_path(call, path))
    return errors.OK
