"""``chandlery package deprecate``, ``yank``, ``restore``, ``share``, ``unshare``, ``shares``."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from cli import errors
from cli.call import Call

STATES = {
    "deprecate": ("deprecated", "still to be had, after all other versions"),
    "yank": ("yanked", "for nobody new: environments that were deployed with it keep it"),
    "restore": ("active", "as if it had never been deprecated or yanked"),
}


def register(actions: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands to those of ``chandlery package``."""
    for name, (lifecycle, what) in STATES.items():
        parser = actions.add_parser(name, parents=[shared], help=f"a version: {what}")
        _name_package(parser)
        if lifecycle != "active":
            parser.add_argument("--reason", help="why, shown with the package")
        parser.set_defaults(run=change, lifecycle=lifecycle)
    for name, run, what in (
        ("share", share, "let projects use a package as if it were public"),
        ("unshare", unshare, "end that projects may use a package"),
    ):
        parser = actions.add_parser(name, parents=[shared], help=what)
        _name_package(parser)
        parser.add_argument("--project", action="append", required=True, dest="projects", metavar="ID")
        parser.set_defaults(run=run)
    parser = actions.add_parser("shares", parents=[shared], help="the projects a package is shared with")
    _name_package(parser)
    parser.set_defaults(run=list_shares)


def change(call: Call) -> int:
    """Say what becomes of a version."""
    found = identify(call)
    body = {"lifecycle": call.options.lifecycle}
    if getattr(call.options, "reason", None):
        body["reason"] = call.options.reason
    shown = call.client.request("PUT", f"/catalog/packages/{found['id']}/lifecycle", body=body)
    text = f"{shown['fully_qualified_name']} {shown['version']} is {shown['lifecycle']}."
    call.output.result(shown, text)
    return errors.OK


def share(call: Call) -> int:
    """Share with each project."""
    found = identify(call)
    done = [
        call.client.request("PUT", f"/catalog/packages/{found['id']}/shares/{quote(project, safe='')}")
        for project in call.options.projects
    ]
    call.output.rows(done, {"project_id": "Shared with", "created": "Since"}, empty="Nothing to share.")
    return errors.OK


def unshare(call: Call) -> int:
    """End the shares."""
    found = identify(call)
    for project in call.options.projects:
        call.client.request("DELETE", f"/catalog/packages/{found['id']}/shares/{quote(project, safe='')}")
    call.output.result(
        {"unshared": call.options.projects}, f"No longer shared with {', '.join(call.options.projects)}."
    )
    return errors.OK


def list_shares(call: Call) -> int:
    """The projects."""
    found = call.client.request("GET", f"/catalog/packages/{identify(call)['id']}/shares")["shares"]
    call.output.rows(found, {"project_id": "Shared with", "created": "Since"}, empty="It is shared with no project.")
    return errors.OK


def identify(call: Call) -> dict[str, Any]:
    """The one version that an id, or a full name with `--version` where there are several, means."""
    name, version = call.options.package, call.options.version
    if "." not in name:
        found: dict[str, Any] = call.client.request("GET", f"/catalog/packages/{quote(name, safe='')}")
        return found
    query = {"fqn": name, "include_disabled": "true", "limit": 100} | ({"version": version} if version else {})
    listed = call.client.request("GET", "/catalog/packages", query=query)["packages"]
    if not listed:
        raise errors.CommandError(
            f"The catalog holds no package {name}{f' {version}' if version else ''}.",
            "chandlery package list shows what is there.",
        )
    if len(listed) > 1:
        there = ", ".join(f"{each['version']} (id {each['id']})" for each in listed)
        raise errors.CommandError(f"{name} is there more than once: {there}.", "Name one by --version, or by its id.")
    return dict(listed[0])


def _name_package(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", help="id or full name")
    parser.add_argument("--version", metavar="VERSION", help="which version, where there are several")
