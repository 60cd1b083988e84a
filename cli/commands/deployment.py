"""``chandlery deploy``, ``plan`` and ``deployment ...``: carry a composition out, or see what that would do."""

from __future__ import annotations

import argparse
import time
from typing import Any

from cli import errors, sessions
from cli.call import Call

STYLES = {"error": "bold red", "warning": "yellow", "waiting": "yellow", "progress": "dim"}
SYMBOLS = {"create": "+", "update": "~", "delete": "-", "execute": ">", "report": " "}


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    deploy_ = subparsers.add_parser("deploy", parents=[shared], help="deploy an environment")
    deploy_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    deploy_.add_argument("--wait", action="store_true", help="stream the reports until it has ended")
    sessions.add_session_options(deploy_)
    deploy_.set_defaults(run=deploy)

    plan_ = subparsers.add_parser("plan", parents=[shared], help="what a deployment would create, change and run")
    plan_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    sessions.add_session_options(plan_)
    plan_.set_defaults(run=plan)

    group = subparsers.add_parser("deployment", help="deployments of an environment: list, follow, retry")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    list_ = actions.add_parser("list", parents=[shared], help="newest first")
    list_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    list_.set_defaults(run=show_list)
    follow_ = actions.add_parser("follow", parents=[shared], help="stream the reports of a deployment")
    follow_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    follow_.add_argument("deployment", nargs="?", metavar="ID", help="default: the newest")
    follow_.add_argument("--verbose", action="store_true", help="with what the engine does: stacks, scripts, times")
    follow_.set_defaults(run=follow_command)
    retry_ = actions.add_parser("retry", parents=[shared], help="go on with a failed deployment, from the failed step")
    retry_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    retry_.add_argument("deployment", nargs="?", metavar="ID", help="default: the newest")
    retry_.add_argument("--wait", action="store_true", help="stream the reports until it has ended")
    retry_.set_defaults(run=retry)


def deploy(call: Call) -> int:
    """Deploy; with --wait the exit code tells the outcome."""
    identifier = sessions.identify(call, call.options.environment)
    session = sessions.session_of(call, identifier)
    call.client.request("POST", f"/environments/{identifier}/sessions/{session}/deploy")
    newest = newest_deployment(call, identifier)
    if call.options.wait:
        return follow(call, identifier, newest["id"])
    call.output.result(newest, f"Deployment {newest['id']} has begun.")
    return errors.OK


def plan(call: Call) -> int:
    """Print the ordered steps."""
    identifier = sessions.identify(call, call.options.environment)
    answer = call.client.request(
        "POST", f"/environments/{identifier}/plan", session=sessions.session_of(call, identifier)
    )
    if call.output.format == "json":
        call.output.result(answer, "")
        return errors.OK
    for step in answer["steps"]:
        call.output.console.print(f"{SYMBOLS.get(step['kind'], '?')} {step['summary']}", markup=False)
    call.output.console.print(f"{len(answer['steps'])} steps, plan {answer['hash'][:12]}. Nothing was created.")
    return errors.OK


def show_list(call: Call) -> int:
    """All deployments of an environment."""
    identifier = sessions.identify(call, call.options.environment)
    found = call.client.request("GET", f"/environments/{identifier}/deployments")["deployments"]
    rows = [{**item, "method": (item.get("action") or {}).get("method", "delete")} for item in found]
    columns = {"method": "Action", "state": "State", "started": "Started", "finished": "Finished", "id": "Id"}
    call.output.rows(rows, columns, empty="Never deployed.")
    return errors.OK


def follow_command(call: Call) -> int:
    """Stream the reports."""
    identifier = sessions.identify(call, call.options.environment)
    deployment = call.options.deployment or newest_deployment(call, identifier)["id"]
    return follow(call, identifier, deployment, verbose=call.options.verbose)


def retry(call: Call) -> int:
    """Go on with a deployment that failed; with --wait the exit code tells the outcome."""
    identifier = sessions.identify(call, call.options.environment)
    failed = call.options.deployment or newest_deployment(call, identifier)["id"]
    made = call.client.request("POST", f"/environments/{identifier}/deployments/{failed}/retry")
    if call.options.wait:
        return follow(call, identifier, made["id"])
    call.output.result(made, f"Deployment {made['id']} goes on where {failed} failed.")
    return errors.OK


def newest_deployment(call: Call, environment_id: str) -> dict[str, Any]:
    """The newest deployment of the environment."""
    found = call.client.request("GET", f"/environments/{environment_id}/deployments")["deployments"]
    if not found:
        raise errors.CommandError("This environment was never deployed.", code=errors.REFUSED)
    return dict(found[0])


def follow(call: Call, environment_id: str, deployment_id: str, *, verbose: bool = False) -> int:
    """Say every report as it happens, with `verbose` the engine's own, too; returns OK or FAILED by how the deployment
    ends.
    """
    began = time.monotonic()
    waiting = False
    path = f"/environments/{environment_id}/deployments/{deployment_id}/events"
    for event, data in call.client.events(f"{path}?progress=true" if verbose else path):
        if event == "waiting":
            if not waiting:
                call.output.say(f"  … {data['reason']}", STYLES["waiting"])
            waiting = True
        elif event == "finished":
            return _outcome(call, data, time.monotonic() - began)
        else:
            waiting = False
            call.output.say(f"  {data.get('created', '')[11:19]}  {_said(data)}", STYLES.get(data["level"], ""))
    raise errors.CommandError(
        "The service ended the stream of reports before the deployment ended.", code=errors.FAILED
    )


def _said(report: dict[str, Any]) -> str:
    """The report's text; one of the engine's own says which component it is about."""
    component = report.get("component") or {}
    if report["level"] != "progress" or not component.get("name"):
        return str(report["text"])
    return f"{component['name']}: {report['text']}"


def _outcome(call: Call, data: dict[str, Any], seconds: float) -> int:
    result = data.get("result") or {}
    failed = bool(result.get("isException")) or data.get("state") == "completed_w_errors"
    reason = (result.get("result") or {}).get("message", "") if result.get("isException") else ""
    verdict = "failed" if failed else "succeeded"
    call.output.result(data, f"Deployment {verdict} after {seconds:.1f} s. {reason}".rstrip())
    return errors.FAILED if failed else errors.OK


def wait_for_deletion(call: Call, environment_id: str, patience: float = 600.0) -> int:
    """Wait until the environment is gone."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = {item["id"]: item for item in call.client.request("GET", "/environments")["environments"]}
        if environment_id not in found:
            call.output.result({"deleted": environment_id}, "Deleted.")
            return errors.OK
        if found[environment_id]["status"] == "delete failure":
            raise errors.CommandError("The deletion failed; chandlery deployment follow tells why.", code=errors.FAILED)
        time.sleep(0.3)
    raise errors.CommandError(f"Not deleted after {patience:.0f} s.", code=errors.FAILED)
