"""Environments by name, and the sessions that commands open to compose, check, plan and deploy them."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from cli import compositions, errors
from cli.call import Call


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """The two ways to say what is meant: a session, or a file with the applications (default: what is deployed)."""
    parser.add_argument("--session", metavar="ID", help="a session made by 'environment compose'")
    parser.add_argument("--services", metavar="FILE", help="YAML or JSON list of application objects")
    add_placeholder_option(parser)


def add_placeholder_option(parser: argparse.ArgumentParser) -> None:
    """Values for the placeholders of the services file: passwords do not belong into files."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="fills {KEY} in FILE")


def session_of(call: Call, environment_id: str) -> str:
    """The session the options name, or a new one."""
    if call.options.session:
        return str(call.options.session)
    file, settings = call.options.services, call.options.set
    services = compositions.read(pathlib.Path(file), settings) if file else None
    return open_session(call, environment_id, services)


def is_named(call: Call) -> bool:
    """Whether the options say which session or which applications are meant."""
    return bool(call.options.session or call.options.services)


def open_session(call: Call, environment_id: str, services: list[Any] | None) -> str:
    """A new session of the environment, with `services` put into it unless they are None."""
    session = str(call.client.request("POST", f"/environments/{environment_id}/configure")["id"])
    if services is not None:
        call.client.request("PUT", f"/environments/{environment_id}/services", body=services, session=session)
    return session


def identify(call: Call, environment: str) -> str:
    """The id of the environment with this id or name. Raises CommandError when there is none."""
    found = call.client.request("GET", "/environments")["environments"]
    for item in found:
        if environment in (item["id"], item["name"]):
            return str(item["id"])
    raise errors.CommandError(
        f"No environment {environment!r} in this project.",
        "There are: " + (", ".join(sorted(item["name"] for item in found)) or "none"),
        code=errors.REFUSED,
    )
