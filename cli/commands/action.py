"""``chandlery action ...``: the day-2 verbs that packages bring with them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from cli import errors, plans, sessions
from cli.call import Call
from cli.commands import deployment


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("action", help="actions of deployed applications: list, call")
    actions = group.add_subparsers(metavar="ACTION", required=True)

    list_ = actions.add_parser("list", parents=[shared], help="what can be done with an environment's applications")
    list_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    list_.set_defaults(run=show_list)

    call_ = actions.add_parser("call", parents=[shared], help="call an action")
    call_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    call_.add_argument("action", metavar="NAME", help="id, or name if only one application has it, or APPLICATION.NAME")
    call_.add_argument(
        "-a", "--argument", action="append", default=[], metavar="KEY=VALUE", help="VALUE is JSON or text"
    )
    call_.add_argument("--wait", action="store_true", help="stream the reports until it has ended")
    plans.add_option(call_)
    call_.set_defaults(run=run)


def show_list(call: Call) -> int:
    """All actions of all objects."""
    rows = list(available(call, sessions.identify(call, call.options.environment)))
    columns = {"application": "Application", "name": "Action", "title": "Title", "id": "Id"}
    call.output.rows(rows, columns, empty="No actions. They appear when an environment is deployed.")
    return errors.OK


def run(call: Call) -> int:
    """Call one action."""
    identifier = sessions.identify(call, call.options.environment)
    action = str(chosen(list(available(call, identifier)), call.options.action)["id"])
    held = plans.wanted(call.options.plan, identifier, plans.ACTION)
    given = arguments(call.options.argument)
    return run_action(call, identifier, action, given, wait=call.options.wait, plan=held.hash if held else None)


def run_action(
    call: Call, environment_id: str, action: str, arguments: dict[str, Any], *, wait: bool, plan: str | None = None
) -> int:
    """Start the action by its id, and follow it if asked; with the hash of a plan only if that still holds."""
    path = f"/environments/{environment_id}/actions/{action}"
    with plans.moves_told(call.output):
        task = call.client.request("POST", path, body=arguments, query={"plan": plan} if plan else None)["task_id"]
    if wait:
        return deployment.follow(call, environment_id, task)
    call.output.result({"task_id": task}, f"Action {action} has begun as {task}.")
    return errors.OK


def available(call: Call, environment_id: str) -> Iterator[dict[str, Any]]:
    """``{"id", "name", "title", "application", "object_id"}`` of every enabled action in the deployed model."""
    yield from available_in(call.client.request("GET", f"/environments/{environment_id}").get("services"))


def available_in(value: Any) -> Iterator[dict[str, Any]]:
    """The same of any part of an object model."""
    if isinstance(value, list):
        for item in value:
            yield from available_in(item)
    elif isinstance(value, dict):
        header = value.get("?") or {}
        for identifier, action in (header.get("_actions") or {}).items():
            if action.get("enabled"):
                yield {
                    "id": identifier,
                    "name": action["name"],
                    "title": action.get("title") or action["name"],
                    "application": value.get("name") or header["id"],
                    "object_id": header["id"],
                }
        for key, item in value.items():
            if key != "?":
                yield from available_in(item)


def chosen(actions: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The one action of this id or name. Raises CommandError when there is none, or more."""
    names = {f"{action['application']}.{action['name']}": action for action in actions}
    found = [action for name, action in names.items() if wanted in (action["id"], action["name"], name)]
    if len(found) == 1:
        return found[0]
    choice = ", ".join(sorted(name for name, action in names.items() if not found or action in found))
    reason = f"{len(found)} applications have an action {wanted!r}" if found else f"there is no action {wanted!r}"
    raise errors.CommandError(f"{reason.capitalize()}.", "There are: " + (choice or "none yet"))


def arguments(pairs: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` of the command line as arguments by name; values are JSON where they can be read as that."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise errors.CommandError(f"Argument {pair!r}: expected KEY=VALUE.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
