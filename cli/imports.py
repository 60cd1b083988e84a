"""Imports as the command line asks for them: by name, from a file, from a URL; several commands share this."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import requests

from cli import errors
from cli.call import Call

# How a preview says what the import itself reports as done.
PREVIEWED = {"added": "would be added", "updated": "would be updated", "skipped": "is there"}
DOWNLOAD_LIMIT = 64 << 20  # bytes of what is fetched from a URL
DOWNLOAD_SECONDS = 60  # of silence after which a download is given up


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options every kind of import has."""
    parser.add_argument("--category", action="append", default=[], dest="categories")
    parser.add_argument("--public", action="store_true", help="for all projects (needs the right to publish)")
    parser.add_argument(
        "--exists-action", choices=("s", "a", "u"), default="s", help="if it is there: skip, abort or update"
    )
    parser.add_argument(
        "--preview", action="store_true", help="say what would be imported and from where; import nothing"
    )


def named(call: Call, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Import by `name` (and `version`) or `bundle`, from the repositories of the service."""
    body = {**wanted, **_options(call)}
    return _told(call, call.client.request("POST", "/catalog/imports", body=body)["packages"])


def from_path(call: Call, path: pathlib.Path) -> list[dict[str, Any]]:
    """Import a package's zip file or folder, an offline bundle, or a list of packages."""
    from dsl import packages

    if not path.is_dir():
        with path.open("rb") as file:
            return _sent(call, path.name, file)
    try:
        package = packages.open_package(path)
    except packages.PackageError as error:
        raise errors.CommandError(f"{path} is not a package that can be imported.", *map(str, error.problems)) from None
    return _sent(call, f"{package.manifest.full_name}.zip", package.archive())


def from_url(call: Call, url: str) -> list[dict[str, Any]]:
    """The same for what a URL answers. It is fetched here, with the reach of whoever calls the command."""
    data = bytearray()
    try:
        with requests.get(url, stream=True, timeout=DOWNLOAD_SECONDS) as response:
            response.raise_for_status()
            for chunk in response.iter_content(1 << 16):
                data += chunk
                if len(data) > DOWNLOAD_LIMIT:
                    raise errors.CommandError(f"{url}: expected at most {DOWNLOAD_LIMIT >> 20} MiB, found more.")
    except requests.RequestException as error:
        raise errors.CommandError(f"{url}: {error}", code=errors.UNREACHABLE) from None
    return _sent(call, url.partition("?")[0].rpartition("/")[2] or "download", bytes(data))


def show(call: Call, done: list[dict[str, Any]]) -> None:
    """What was done, or would be."""
    columns = {
        "fqn": "Package",
        "version": "Version",
        "action": "Action",
        "repository": "From",
        "images": "Images needed",
        "id": "Id",
    }
    call.output.rows(done, columns, empty="Nothing to import.")


def _sent(call: Call, name: str, content: Any) -> list[dict[str, Any]]:
    files = {
        "options": (None, json.dumps(_options(call)), "application/json"),
        "file": (name, content, "application/octet-stream"),
    }
    return _told(call, call.client.request("POST", "/catalog/imports/file", files=files)["packages"])


def _options(call: Call) -> dict[str, Any]:
    options = call.options
    return {
        "categories": options.categories,
        "is_public": options.public,
        "exists_action": options.exists_action,
        "preview": options.preview,
    }


def _told(call: Call, done: list[dict[str, Any]]) -> list[dict[str, Any]]:
    words = PREVIEWED if call.options.preview else {}
    return [{**each, "action": words.get(each["action"], each["action"])} for each in done]
