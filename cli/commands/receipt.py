"""``chandlery environment receipt`` and ``reconcile``: what was made in clouds, what became of it, what is left."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from cli import errors
from cli.call import Call

PATIENCE = 900.0  # seconds that the removal of leftovers is waited for
PAUSE = 1.0

RESOURCES = {
    "state": "State",
    "type": "Type",
    "name": "Name",
    "id": "Id",
    "stack": "Stack",
    "region": "Region",
    "reason": "Reason",
}
ENDED = {"name": "Name", "how": "How", "ended": "Ended", "environment_id": "Id"}
LEFTOVERS = {
    "name": "Stack",
    "environment_name": "Environment",
    "region": "Region",
    "status": "Status",
    "reason": "Reason",
    "stack_id": "Id",
}
DRIFT = {"environment_name": "Environment", **RESOURCES}


def register(actions: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands to those of ``environment``."""
    receipt_ = actions.add_parser(
        "receipt", parents=[shared], help="every cloud resource ever made for an environment, there or gone"
    )
    receipt_.add_argument("environment", nargs="?", metavar="ENVIRONMENT", help="id or name; without: those gone")
    receipt_.add_argument("--state", choices=("there", "gone", "kept", "left"), help="only resources in this state")
    receipt_.set_defaults(run=receipt)

    reconcile_ = actions.add_parser(
        "reconcile", parents=[shared], help="find what is left over in the cloud, and what is missing there"
    )
    reconcile_.add_argument("environment", nargs="?", metavar="ENVIRONMENT", help="id or name; without: the project")
    reconcile_.add_argument("--all", action="store_true", help="all projects; for administrators")
    reconcile_.add_argument("--delete", action="store_true", help="remove the stacks that are left over")
    reconcile_.add_argument("--yes", action="store_true", help="do not ask before")
    reconcile_.set_defaults(run=reconcile)


def receipt(call: Call) -> int:
    """Print a receipt; exit code 1 when something was left."""
    wanted = call.options.environment
    if wanted is None:
        ended = call.client.request("GET", "/receipts")["receipts"]
        call.output.rows(ended, ENDED, empty="No environment of this project is gone.")
        return errors.OK
    query = {"state": call.options.state} if call.options.state else None
    found = call.client.request("GET", f"/environments/{identify(call, wanted)}/receipt", query=query)
    if call.output.format == "json":
        call.output.result(found, "")
    else:
        _print_receipt(call, found)
    return errors.FAILED if found["counts"]["left"] else errors.OK


def reconcile(call: Call) -> int:
    """Print what was found; exit code 1 when something is left over, has drifted, or could not be asked."""
    options = call.options
    if options.all and options.environment:
        raise errors.CommandError("--all is for all projects: expected no environment beside it.")
    if options.yes and not options.delete:
        raise errors.CommandError("--yes answers the question of --delete, which is not given.")
    bodies = _bodies(call)
    found = [call.client.request("POST", "/reconciliations", body=body) for body in bodies]
    leftovers = [each for one in found for each in one["leftovers"]]
    removed: list[dict[str, Any]] = []
    if options.delete and leftovers:
        _confirm(call, leftovers)
        removed, found = _remove(call, leftovers, bodies, found)
    return _tell(call, found, removed)


def identify(call: Call, environment: str) -> str:
    """The id of the environment with this id or name, of those that are there and then of those that are gone."""
    present = call.client.request("GET", "/environments")["environments"]
    gone = call.client.request("GET", "/receipts")["receipts"]
    known = [
        *((each["id"], each["name"]) for each in present),
        *((each["environment_id"], each["name"]) for each in gone),
    ]
    for names in known:
        if environment in names:
            return str(names[0])
    return environment  # perhaps the id of one that another project has: the service decides


def _bodies(call: Call) -> list[dict[str, Any]]:
    """What is asked of the service, one project at a time."""
    if call.options.all:
        return [{"tenant_id": each} for each in call.client.request("GET", "/reconciliations")["projects"]]
    if call.options.environment:
        return [{"environment_id": identify(call, call.options.environment)}]
    return [{}]


def _confirm(call: Call, leftovers: Sequence[dict[str, Any]]) -> None:
    """Names what will be removed, and goes on only when that is wanted."""
    names = [
        f"{each['name']} ({each['stack_id']}) of {each['environment_name'] or 'an unknown environment'}"
        for each in leftovers
    ]
    call.output.say("These stacks will be removed with all that they have:")
    for name in names:
        call.output.say(f"  {name}")
    if call.options.yes:
        return
    if not sys.stdin.isatty():
        raise errors.CommandError(
            "Removing stacks needs an answer, and there is nobody to ask.",
            "Add --yes to remove the stacks named above.",
        )
    call.output.say("Remove them? Type yes:")
    if sys.stdin.readline().strip().lower() != "yes":
        raise errors.CommandError("Nothing was removed.", code=errors.FAILED)


def _remove(
    call: Call, leftovers: Sequence[dict[str, Any]], bodies: Sequence[dict[str, Any]], found: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Has leftovers removed and waits; those that are gone, and what is found then."""
    owners = {each["stack_id"]: one["tenant_id"] for one in found for each in one["leftovers"]}
    first = {one["tenant_id"]: one for one in found}
    for each in leftovers:
        query = {"tenant": owners[each["stack_id"]]}
        call.client.request("DELETE", f"/leftovers/{each['stack_id']}", query=query)
    deadline = time.monotonic() + PATIENCE
    while True:
        time.sleep(PAUSE)
        again = [call.client.request("POST", "/reconciliations", body=body) for body in bodies]
        there = {each["stack_id"]: each for one in again for each in one["leftovers"]}
        waiting = [each for each in leftovers if _is_removed_still(each, there.get(each["stack_id"]))]
        if not waiting or time.monotonic() > deadline:
            gone = [each for each in leftovers if each["stack_id"] not in there]
            return gone, [{**one, "drift": first[one["tenant_id"]]["drift"]} for one in again]


def _is_removed_still(before: dict[str, Any], now: dict[str, Any] | None) -> bool:
    """Whether a removal goes on: the stack is there, has not failed, and no receipt says why it stays."""
    return now is not None and "FAILED" not in (now["status"] or "") and now["reason"] == before["reason"]


def _tell(call: Call, found: Sequence[dict[str, Any]], removed: Sequence[dict[str, Any]]) -> int:
    whole: dict[str, Any] = {
        key: [{"tenant_id": one["tenant_id"], **each} for one in found for each in one[key]]
        for key in ("leftovers", "drift", "foreign", "skipped", "problems")
    }
    whole["removed"] = list(removed)
    if call.output.format == "json":
        call.output.result(whole, "")
    else:
        _print_findings(call, whole)
    return errors.FAILED if whole["leftovers"] or whole["drift"] or whole["problems"] else errors.OK


def _print_findings(call: Call, whole: dict[str, Any]) -> None:
    for each in whole["removed"]:
        call.output.say(f"Removed {each['name']} ({each['stack_id']}).")
    if whole["leftovers"]:
        call.output.say("Left over in the cloud:", "bold")
        call.output.rows(whole["leftovers"], LEFTOVERS, empty="")
    if whole["drift"]:
        call.output.say("Otherwise than the receipts had it (they follow now):", "bold")
        call.output.rows(whole["drift"], DRIFT, empty="")
    for each in whole["problems"]:
        call.output.say(f"Could not be asked: {each['stack'] or 'the project'}: {each['reason']}", "yellow")
    for each in whole["skipped"]:
        call.output.say(f"Not looked at: {each['environment_name']}: {each['reason']}", "yellow")
    if whole["foreign"]:
        call.output.say(
            f"{len(whole['foreign'])} stacks have our tag and are not this installation's; they are left alone."
        )
    if not (whole["leftovers"] or whole["drift"] or whole["problems"]):
        call.output.say("Nothing is left over, and everything is where it should be.")


def _print_receipt(call: Call, found: dict[str, Any]) -> None:
    ended = f", {found['how']} at {found['ended']} by user {found['user_id']}" if found["ended"] else ""
    counts = ", ".join(f"{number} {state}" for state, number in found["counts"].items() if number) or "nothing was made"
    call.output.say(f"{found['name']} ({found['environment_id']}){ended}: {counts}.")
    call.output.rows(found["resources"], RESOURCES, empty="No resource.")
    for note in found["notes"]:
        call.output.say(f"{note['object_id'] or ''}: {note['message']}", "yellow")
