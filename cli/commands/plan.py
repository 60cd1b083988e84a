"""``chandlery plan``: what a deployment, an action or a deletion would create, change, delete and run."""

from __future__ import annotations

import argparse
from typing import Any

from cli import errors, plans, sessions
from cli.call import Call
from cli.commands import action


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommand."""
    plan_ = subparsers.add_parser("plan", parents=[shared], help="what a deployment would create, change and run")
    plan_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    sessions.add_session_options(plan_)
    kinds = plan_.add_mutually_exclusive_group()
    kinds.add_argument("--action", metavar="NAME", help="of an action of what is deployed, in place of a deployment")
    kinds.add_argument("--delete", action="store_true", help="of the deletion of the environment")
    plan_.add_argument(
        "-a",
        "--argument",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the action; VALUE is JSON or text",
    )
    plan_.add_argument("--out", metavar="FILE", help="keep it for --plan of deploy, action call, environment delete")
    plan_.add_argument("--json", dest="format", action="store_const", const="json", help="the same as -f json")
    plan_.add_argument("-v", "--verbose", action="store_true", help="with all properties, parameters and scripts")
    plan_.set_defaults(run=plan)


def plan(call: Call) -> int:
    """Print the ordered steps, and how to have exactly that done."""
    identifier = sessions.identify(call, call.options.environment)
    kind, session, body = _asked(call, identifier)
    answer = call.client.request("POST", f"/environments/{identifier}/plan", session=session, body=body)
    if call.options.out:
        plans.write(call.options.out, answer, identifier, session, kind)
    if call.output.format == "json":
        call.output.result(answer, "")
        return errors.OK
    console = call.output.console
    plans.show(console, answer, verbose=call.options.verbose)
    console.print(f"Plan {answer['hash']}", markup=False, soft_wrap=True)
    held = call.options.out or answer["hash"]
    console.print(f"Only this: {_command(call, kind, session)} --plan {held}", markup=False, soft_wrap=True)
    return errors.OK


def _asked(call: Call, identifier: str) -> tuple[str, str | None, dict[str, Any] | None]:
    """What the plan is of, the session it is asked in, and the request's body."""
    options = call.options
    if options.delete:
        return plans.DELETE, None, {"delete": True}
    if options.action:
        found = action.chosen(list(action.available(call, identifier)), options.action)
        wanted = {"object_id": found["object_id"], "method": found["name"], "args": action.arguments(options.argument)}
        return plans.ACTION, None, {"action": wanted}
    if options.argument:
        raise errors.CommandError("-a is for an action: name it with --action.")
    return plans.DEPLOY, sessions.session_of(call, identifier), None


def _command(call: Call, kind: str, session: str | None) -> str:
    environment = call.options.environment
    if kind == plans.DELETE:
        return f"chandlery environment delete {environment}"
    if kind == plans.ACTION:
        given = "".join(f" -a {pair}" for pair in call.options.argument)
        return f"chandlery action call {environment} {call.options.action}{given}"
    return f"chandlery deploy {environment}" + ("" if call.options.out else f" --session {session}")
