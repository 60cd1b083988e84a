"""``chandlery repository ...``: build a community repository, serve one, and see what configured ones offer."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

from cli import errors
from cli.call import Call


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("repository", help="community repositories: build, serve, list, search")
    actions = group.add_subparsers(metavar="ACTION", required=True)

    build_ = actions.add_parser("build", parents=[shared], help="build a repository from package sources")
    build_.add_argument("sources", nargs="+", metavar="SOURCE", help="package folder, or a folder that holds some")
    build_.add_argument("-o", "--output", required=True, metavar="DIR")
    build_.set_defaults(run=build)

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
    except packages.PackageError as error:
        raise errors.CommandError(
            f"{len(error.problems)} problems in the packages; nothing was built.", *map(str, error.problems)
        ) from None
    built = [{"fqn": entry.fqn, "version": str(entry.version), "archive": entry.archive} for entry in entries]
    call.output.result(built, f"Built {len(built)} packages into {call.options.output}.")
    return errors.OK


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
        found, {"name": "Name", "url": "URL", "packages": "Packages"}, empty="No repository is configured."
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
