"""``chandlery deploy`` and ``deployment ...``: carry a composition out, and see how that goes."""

from __future__ import annotations

import argparse
import time
from typing import Any

from cli import errors, plans, sessions
from cli.call import Call

STYLES = {
    "error": "bold red",
    "warning": "yellow",
    "waiting": "yellow",
    "progress": "dim",
    "stdout": "dim",
    "stderr": "dim yellow",
}


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    deploy_ = subparsers.add_parser("deploy", parents=[shared], help="deploy an environment")
    deploy_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    deploy_.add_argument("--wait", action="store_true", help="stream the reports until it has ended")
    deploy_.add_argument("--output", action="store_true", help="with --wait: also what the servers' scripts print")
    plans.add_option(deploy_)
    sessions.add_session_options(deploy_)
    deploy_.set_defaults(run=deploy)

    group = subparsers.add_parser("deployment", help="deployments: list, follow, output, cancel, retry")
    actions = group.add_subparsers(metavar="ACTION", required=True)
    list_ = actions.add_parser("list", parents=[shared], help="newest first")
    list_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    list_.set_defaults(run=show_list)
    follow_ = actions.add_parser("follow", parents=[shared], help="stream the reports of a deployment")
    follow_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    follow_.add_argument("deployment", nargs="?", metavar="ID", help="default: the newest")
    follow_.add_argument("--verbose", action="store_true", help="with what the engine does: stacks, scripts, times")
    follow_.add_argument("--output", action="store_true", help="also what the scripts in its servers print")
    follow_.set_defaults(run=follow_command)
    output_ = actions.add_parser("output", parents=[shared], help="what the scripts of a deployment have printed")
    output_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    output_.add_argument("deployment", nargs="?", metavar="ID", help="default: the newest")
    output_.set_defaults(run=show_output)
    cancel_ = actions.add_parser("cancel", parents=[shared], help="end a deployment that is under way")
    cancel_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    cancel_.add_argument("deployment", nargs="?", metavar="ID", help="default: the newest")
    cancel_.add_argument("--wait", action="store_true", help="stream the reports until it has ended")
    cancel_.set_defaults(run=cancel)
    retry_ = actions.add_parser("retry", parents=[shared], help="go on with a failed deployment, from the failed step")
    retry_.add_argument("environment", metavar="ENVIRONMENT", help="id or name")
    retry_.add_argument("deployment", nargs="?", metavar="ID", help="default: the newest")
    retry_.add_argument("--wait", action="store_true", help="stream the reports until it has ended")
    retry_.set_defaults(run=retry)


def deploy(call: Call) -> int:
    """Deploy; with --wait the exit code tells the outcome."""
    identifier = sessions.identify(call, call.options.environment)
    held = plans.wanted(call.options.plan, identifier, plans.DEPLOY)
    session = held.session if held and held.session and not sessions.is_named(call) else None
    session = session or sessions.session_of(call, identifier)
    path = f"/environments/{identifier}/sessions/{session}/deploy"
    with plans.moves_told(call.output):
        call.client.request("POST", path, body={"plan": held.hash} if held else None)
    newest = newest_deployment(call, identifier)
    if call.options.wait:
        return follow(call, identifier, newest["id"], output=call.options.output)
    call.output.result(newest, f"Deployment {newest['id']} has begun.")
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
    deployment_id = call.options.deployment or newest_deployment(call, identifier)["id"]
    return follow(call, identifier, deployment_id, verbose=call.options.verbose, output=call.options.output)


def show_output(call: Call) -> int:
    """All that is kept of what the scripts printed."""
    identifier = sessions.identify(call, call.options.environment)
    deployment_id = call.options.deployment or newest_deployment(call, identifier)["id"]
    chunks: list[dict[str, Any]] = []
    after = 0
    while True:
        path = f"/environments/{identifier}/deployments/{deployment_id}/output?after={after}&limit=1000"
        answer = call.client.request("GET", path)
        if not answer["output"]:
            break
        chunks, after = chunks + answer["output"], answer["next"]
    if call.output.format == "json":
        call.output.result(chunks, "")
    elif not chunks:
        call.output.result(chunks, "Its scripts have printed nothing that was kept.")
    for chunk in chunks if call.output.format != "json" else ():
        _say_printed(call, chunk)
    return errors.OK


def cancel(call: Call) -> int:
    """End a deployment at its next step; with --wait when it has ended, which is what was wanted."""
    identifier = sessions.identify(call, call.options.environment)
    wanted = call.options.deployment or newest_deployment(call, identifier)["id"]
    call.client.request("POST", f"/environments/{identifier}/deployments/{wanted}/cancel")
    if call.options.wait:
        follow(call, identifier, wanted)
        return errors.OK
    call.output.result({"cancelled": wanted}, f"Deployment {wanted} ends at its next step. What it has made stays.")
    return errors.OK


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


def follow(call: Call, environment_id: str, deployment_id: str, *, verbose: bool = False, output: bool = False) -> int:
    """Say every report as it happens, with `verbose` the engine's own, too, with `output` every line that a script
    prints; returns OK or FAILED by how the deployment ends.
    """
    began = time.monotonic()
    waiting = False
    path = f"/environments/{environment_id}/deployments/{deployment_id}/events"
    wanted = [name for name, is_wanted in (("progress=true", verbose), ("output=true", output)) if is_wanted]
    for event, data in call.client.events(f"{path}?{'&'.join(wanted)}" if wanted else path):
        if event == "waiting":
            if not waiting:
                call.output.say(f"  … {data['reason']}", STYLES["waiting"])
            waiting = True
        elif event == "finished":
            code = _outcome(call, data, time.monotonic() - began)
            if code != errors.OK:
                call.output.say(f"From the failed step: chandlery deployment retry {environment_id} --wait")
            return code
        elif event == "output":
            waiting = False
            _say_printed(call, data)
        elif event == "report":
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


def _say_printed(call: Call, chunk: dict[str, Any]) -> None:
    """The lines of a chunk, each with where it comes from. What would command a terminal is shown as a question mark:
    servers are not trusted.
    """
    style = STYLES[chunk["stream"]]
    for line in chunk["text"].splitlines():
        text = "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)
        call.output.say(f"  {chunk['created'][11:19]}  {chunk['entity_id'][:8]} {chunk['script']}: {text}", style)


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
            counts = call.client.request("GET", f"/environments/{environment_id}/receipt")["counts"]
            said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
            told = f"Deleted: {said} (chandlery environment receipt {environment_id})." if said else "Deleted."
            call.output.result({"deleted": environment_id, "counts": counts}, told)
            return errors.OK
        if found[environment_id]["status"] == "delete failure":
            raise errors.CommandError("The deletion failed; chandlery deployment follow tells why.", code=errors.FAILED)
        time.sleep(0.3)
    raise errors.CommandError(f"Not deleted after {patience:.0f} s.", code=errors.FAILED)
