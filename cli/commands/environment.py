"""``chandlery environment ...``: create, compose, look at and delete environments."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from cli import compositions, errors, output, plans, sessions
from cli.call import Call
from cli.commands import deployment, receipt

COLUMNS = {"name": "Name", "status": "Status", "version": "Version", "updated": "Updated", "id": "Id"}


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("environment", help="environments: create, compose, check, show, delete, receipt")
    actions = group.add_subparsers(metavar="ACTION", required=True)

    list_ = actions.add_parser("list", parents=[shared], help="environments of this project")
    list_.set_defaults(run=show_list)

    create_ = actions.add_parser("create", parents=[shared], help="create an empty environment")
    create_.add_argument("name")
    create_.set_defaults(run=create)

    show_ = actions.add_parser("show", parents=[shared], help="status and applications")
    show_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    show_.set_defaults(run=show)

    topology_ = actions.add_parser("topology", parents=[shared], help="what runs on what, as a tree")
    topology_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    topology_.add_argument("--session", metavar="ID", help="of a session that is not deployed yet")
    topology_.set_defaults(run=topology)

    compose_ = actions.add_parser(
        "compose", parents=[shared], help="put applications into a new session; prints the session's id"
    )
    compose_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    compose_.add_argument("services", metavar="FILE", help="YAML or JSON list of application objects")
    sessions.add_placeholder_option(compose_)
    compose_.set_defaults(run=compose)

    check_ = actions.add_parser("check", parents=[shared], help="what is missing or wrong, before anything is created")
    check_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    sessions.add_session_options(check_)
    check_.set_defaults(run=check)

    delete_ = actions.add_parser("delete", parents=[shared], help="delete an environment and all it created")
    delete_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    plans.add_option(delete_)
    delete_.add_argument("--abandon", action="store_true", help="forget it, leave its resources alone")
    delete_.add_argument("--wait", action="store_true")
    delete_.set_defaults(run=delete)

    receipt.register(actions, shared)


def show_list(call: Call) -> int:
    """All environments of the project."""
    found = call.client.request("GET", "/environments")["environments"]
    call.output.rows(found, COLUMNS, empty="No environment yet. chandlery environment create NAME makes one.")
    return errors.OK


def create(call: Call) -> int:
    """Create an empty environment."""
    created = call.client.request("POST", "/environments", body={"name": call.options.name})
    call.output.result(created, f"Created environment {created['name']} ({created['id']}).")
    return errors.OK


def show(call: Call) -> int:
    """Status and applications."""
    found = call.client.request("GET", f"/environments/{sessions.identify(call, call.options.environment)}")
    applications = [
        f"{item.get('name') or item['?']['id']} ({item['?']['type'].partition('/')[0]})"
        for item in found.get("services") or ()
    ]
    fields = {**COLUMNS, "applications": "Applications"}
    call.output.one(found if call.output.format == "json" else {**found, "applications": applications}, fields)
    return errors.OK


def topology(call: Call) -> int:
    """What runs on what."""
    identifier = sessions.identify(call, call.options.environment)
    graph = call.client.request("GET", f"/environments/{identifier}/topology", session=call.options.session)
    if call.output.format == "json":
        call.output.result(graph, "")
    else:
        call.output.console.print(output.topology_tree(graph, call.options.environment))
    return errors.OK


def compose(call: Call) -> int:
    """Open a session, replace its applications by the file's, and print the session's id."""
    identifier = sessions.identify(call, call.options.environment)
    session = sessions.open_session(
        call, identifier, compositions.read(pathlib.Path(call.options.services), call.options.set)
    )
    call.output.result(
        {"environment_id": identifier, "session_id": session},
        f"Session {session} holds the composition.\n"
        f"Next: chandlery deploy {call.options.environment} --session {session}",
    )
    return errors.OK


def check(call: Call) -> int:
    """Say every problem of the composition at its field; exit code 1 if there is one."""
    identifier = sessions.identify(call, call.options.environment)
    session = sessions.session_of(call, identifier)
    answer = call.client.request("POST", f"/environments/{identifier}/check", session=session)
    problems = answer["problems"]
    columns = {
        "object_id": "Object",
        "type": "Class",
        "path": "Field",
        "message": "Problem",
        "expected": "Expected",
        "found": "Found",
        "fix": "What to do",
    }
    call.output.rows(problems, columns, empty="Nothing is missing.")
    for note in answer.get("notes", ()):  # services of an earlier version have none
        call.output.say(f"{note['region']}: {note['message']}" if note["region"] else note["message"])
    return errors.FAILED if problems else errors.OK


def delete(call: Call) -> int:
    """Delete, and with --wait follow it to the end."""
    identifier = sessions.identify(call, call.options.environment)
    held = plans.wanted(call.options.plan, identifier, plans.DELETE)
    query = {"abandon": "true" if call.options.abandon else "false", **({"plan": held.hash} if held else {})}
    with plans.moves_told(call.output):
        call.client.request("DELETE", f"/environments/{identifier}", query=query)
    if call.options.wait and not call.options.abandon:
        return deployment.wait_for_deletion(call, identifier)
    call.output.result({"deleted": identifier}, f"Deleting {call.options.environment}.")
    return errors.OK
