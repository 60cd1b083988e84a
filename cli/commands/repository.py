"""``chandlery repository ...``: build a community repository, serve one, and see what configured ones offer."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
from typing import Any

from cli import errors
from cli.call import Call


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("repository", help="community repositories: build, sign, mirror, serve, list, search")
    actions = group.add_subparsers(metavar="ACTION", required=True)

    build_ = actions.add_parser("build", parents=[shared], help="build a repository from package sources")
    build_.add_argument("sources", nargs="+", metavar="SOURCE", help="package folder, or a folder that holds some")
    build_.add_argument("-o", "--output", required=True, metavar="DIR")
    build_.add_argument("--sign", metavar="KEYS", help="folder of keys (repository key): sign it, too")
    _signing_options(build_)
    build_.set_defaults(run=build)

    key_ = actions.add_parser("key", parents=[shared], help="make the keys a repository is signed with")
    key_.add_argument("folder", metavar="KEYS")
    key_.set_defaults(run=make_keys)

    sign_ = actions.add_parser("sign", parents=[shared], help="sign a built repository, or sign it anew in time")
    sign_.add_argument("directory", metavar="DIR")
    sign_.add_argument("--keys", required=True, metavar="KEYS", help="folder of keys (repository key)")
    _signing_options(sign_)
    sign_.set_defaults(run=sign)

    mirror_ = actions.add_parser("mirror", parents=[shared], help="copy a repository, whole and verified")
    mirror_.add_argument("source", metavar="URL|DIR")
    mirror_.add_argument("output", metavar="DIR")
    mirror_.add_argument("--root", metavar="FILE", help="the root.json its signatures have to be verified from")
    mirror_.set_defaults(run=mirror)

    serve_ = actions.add_parser("serve", parents=[shared], help="serve a built repository over HTTP")
    serve_.add_argument("directory", metavar="DIR")
    serve_.add_argument("--host", default="127.0.0.1")
    serve_.add_argument("--port", type=int, default=8099)
    serve_.set_defaults(run=serve)

    list_ = actions.add_parser("list", parents=[shared], help="repositories the service is configured with")
    list_.set_defaults(run=show_list)

    search_ = actions.add_parser("search", parents=[shared], help="search packages in the configured repositories")
    search_.add_argument("query", nargs="?", default="")
    search_.set_defaults(run=search)


def build(call: Call) -> int:
    """Build the static files; refuses with every problem of every package, and writes nothing then."""
    from catalog.repositories import build as builder
    from dsl import packages

    sources = [pathlib.Path(source) for source in call.options.sources]
    try:
        entries = builder.build(package_folders(sources), call.options.output, bundles=bundles(sources) or None)
        if call.options.sign:
            _sign(call, pathlib.Path(call.options.output), call.options.sign)
    except packages.PackageError as error:
        raise errors.CommandError(
            f"{len(error.problems)} problems in the packages; nothing was built.", *map(str, error.problems)
        ) from None
    built = [{"fqn": entry.fqn, "version": str(entry.version), "archive": entry.archive} for entry in entries]
    call.output.result(built, f"Built {len(built)} packages into {call.options.output}.")
    return errors.OK


def make_keys(call: Call) -> int:
    """One key for each role; those that are there stay. ``CHANDLERY_KEY_PASSWORD`` encrypts them."""
    from catalog.repositories import signing

    folder = pathlib.Path(call.options.folder)
    try:
        made = signing.make_keys(folder, _password())
    except signing.SigningError as error:
        raise errors.CommandError(str(error)) from None
    call.output.result(
        {"folder": str(folder), "keys": made},
        f"Keys for {', '.join(made)} are in {folder}. Who has them can publish in your name: keep root.pem offline.",
    )
    return errors.OK


def sign(call: Call) -> int:
    """Sign what is there; what has more than half of its time left, and is the same, stays."""
    written = _sign(call, pathlib.Path(call.options.directory), call.options.keys)
    said = f"Signed {call.options.directory}: {', '.join(written)}." if written else "The signatures are still good."
    call.output.result({"written": written}, said)
    return errors.OK


def mirror(call: Call) -> int:
    """Copy archives, bundles, index and signatures; what is there already and the same is not fetched again."""
    from catalog.repositories import mirror as mirroring
    from catalog.repositories.transport import RepositoryError
    from dsl import packages

    options = call.options
    destination = pathlib.Path(options.output)
    try:
        registry = one_repository(options.source, options.root, seen=destination / "metadata")
        copied, fetched = mirroring.mirror(registry, destination, call.output.say)
    except (RepositoryError, ValueError) as error:
        raise errors.CommandError(str(error), code=errors.FAILED) from None
    except packages.PackageError as error:
        raise errors.CommandError("A package is broken.", *map(str, error.problems), code=errors.FAILED) from None
    call.output.result(
        {"packages": copied, "fetched": fetched, "directory": str(destination)},
        f"{destination} has all {copied} packages of {options.source}; {fetched} were fetched.",
    )
    return errors.OK


def one_repository(source: str, root: str | None, *, seen: pathlib.Path | None = None) -> Any:
    """A registry of one repository, and of the signatures in `seen` as those that were verified before."""
    from catalog import config
    from catalog.repositories.registry import Registry

    options: dict[str, Any] = {"repository": [f"source={source}"], "refresh": 3600}
    if root:
        options["root"] = [f"source={root}"]
    registry = Registry(config.load(overrides={"repositories": options}), None)
    signed = registry.repositories[0].signed
    if signed is not None and seen is not None and seen.is_dir():
        signed.remember_copy(seen)
    return registry


def _signing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--valid",
        action="append",
        default=[],
        metavar="ROLE=DAYS",
        help="how long a role's signatures are valid (root=365 targets=90 snapshot=30 timestamp=7)",
    )


def _sign(call: Call, directory: pathlib.Path, keys: str) -> list[str]:
    from catalog.repositories import signing

    days = {}
    for text in call.options.valid:
        role, _, number = text.partition("=")
        if role not in signing.ROLES or not number.isdigit() or not 0 < int(number) < 10_000:
            raise errors.CommandError(
                f"--valid: expected one of {', '.join(signing.ROLES)} as ROLE=DAYS, found {text!r}."
            )
        days[role] = int(number)
    try:
        return signing.sign(directory, signing.Keys.of(pathlib.Path(keys), _password()), days=days)
    except signing.SigningError as error:
        raise errors.CommandError(str(error)) from None


def _password() -> bytes | None:
    return os.environ.get("CHANDLERY_KEY_PASSWORD", "").encode() or None


def package_folders(sources: list[pathlib.Path]) -> list[pathlib.Path]:
    """Every folder with a manifest at or below the sources, sorted; not below another package."""
    found: list[pathlib.Path] = []
    for source in sources:
        if not source.is_dir():
            raise errors.CommandError(f"{source}: expected a folder with package sources, found none.")
        manifests = sorted(path.parent for path in source.rglob("manifest.yaml"))
        found += [folder for folder in manifests if not any(other in folder.parents for other in manifests)]
    if not found:
        raise errors.CommandError(f"No manifest.yaml at or below {', '.join(map(str, sources))}: no package to build.")
    return sorted(set(found))


def bundles(sources: list[pathlib.Path]) -> dict[str, list[str]]:
    """Package names by bundle, from ``bundles/*.bundle`` of the sources: ``{"Packages": [{"Name": ...}]}``."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for source in sources for path in source.glob("bundles/*.bundle")):
        try:
            found[path.stem] = [entry["Name"] for entry in json.loads(path.read_text(encoding="utf-8"))["Packages"]]
        except (ValueError, KeyError, TypeError) as error:
            raise errors.CommandError(
                f'{path}: expected {{"Packages": [{{"Name": ...}}]}}, found something else ({error!r}).'
            ) from None
    return found


def serve(call: Call) -> int:
    """Serve the files until interrupted."""
    from cli import static_files

    with static_files.serving(pathlib.Path(call.options.directory), call.options.host, call.options.port) as url:
        call.output.result({"url": url}, f"Serving {call.options.directory} at {url} (Ctrl-C ends)")
        static_files.wait()
    return errors.OK


def show_list(call: Call) -> int:
    """The configured repositories, in the order in which they are asked."""
    found = call.client.request("GET", "/catalog/repositories")["repositories"]
    call.output.rows(
        found, {"name": "Name", "location": "Location", "signed": "Signed"}, empty="No repository is configured."
    )
    return errors.OK


def search(call: Call) -> int:
    """Packages of the configured repositories that match the words."""
    query = {"query": call.options.query}
    found = call.client.request("GET", "/catalog/repositories/search", query=query)["packages"]
    columns = {
        "fqn": "Package",
        "version": "Version",
        "name": "Name",
        "author": "Author",
        "description": "Description",
        "require": "Depends on",
        "imported": "Imported",
    }
    call.output.rows(found, columns, empty=f"No package matches {call.options.query!r}.")
    return errors.OK
