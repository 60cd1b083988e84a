"""``chandlery lab ...``: look into the servers of the embedded lab cloud of the service on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cli import errors
from cli.call import Call

if TYPE_CHECKING:
    from engine.clouds import lab as lab_cloud


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser("lab", help="the embedded lab cloud: list, exec, console, cleanup, isolation")
    actions = group.add_subparsers(metavar="ACTION", required=True)

    list_ = actions.add_parser("list", parents=[shared], help="its servers")
    list_.set_defaults(run=show_list)

    exec_ = actions.add_parser("exec", parents=[shared], help="run a command in a server, as root of that server")
    exec_.add_argument("server", metavar="SERVER", help="id or name")
    exec_.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    exec_.set_defaults(run=execute)

    console_ = actions.add_parser("console", parents=[shared], help="what a server printed while it booted")
    console_.add_argument("server", metavar="SERVER", help="id or name")
    console_.set_defaults(run=console)

    forward_ = actions.add_parser(
        "forward", parents=[shared], help="reach an endpoint of a server from this machine, until Ctrl-C"
    )
    forward_.add_argument("url", metavar="URL", help="as an application reports it")
    forward_.set_defaults(run=forward)

    cleanup_ = actions.add_parser("cleanup", parents=[shared], help="remove all servers and networks of this lab")
    cleanup_.set_defaults(run=cleanup)

    isolation_ = actions.add_parser("isolation", parents=[shared], help="how well this machine can isolate servers")
    isolation_.set_defaults(run=isolation)


def lab(call: Call) -> lab_cloud.LabOrchestration:
    """The lab of the data directory."""
    from engine.clouds import lab as lab_cloud

    return lab_cloud.LabOrchestration(call.data / "lab")


def show_list(call: Call) -> int:
    """All servers."""
    rows = [
        {"name": server.name, "state": server.state, "addresses": list(server.addresses), "id": server.id}
        for server in lab(call).servers()
    ]
    columns = {"name": "Server", "state": "State", "addresses": "Addresses", "id": "Id"}
    call.output.rows(rows, columns, empty="No server in this lab.")
    return errors.OK


def execute(call: Call) -> int:
    """Run a command; its output and exit code become ours."""
    argv = call.options.argv[1:] if call.options.argv[:1] == ["--"] else call.options.argv
    if not argv:
        raise errors.CommandError("Which command? Example: chandlery lab exec kube-1 -- kubectl get pods")
    finished = lab(call).exec(call.options.server, argv)
    call.output.console.out(finished.stdout, end="", highlight=False)
    call.output.say(finished.stderr.rstrip(), "dim") if finished.stderr.strip() else None
    return int(finished.returncode)


def console(call: Call) -> int:
    """The boot's output."""
    call.output.console.out(lab(call).console(call.options.server), highlight=False)
    return errors.OK


def forward(call: Call) -> int:
    """Print the URL that works from here; without root that is one of this process, for as long as it runs."""
    from cli import static_files

    told = call.options.url
    reachable = lab(call).reachable(told)
    call.output.result({"url": told, "reachable": reachable}, reachable)
    if reachable != told:
        call.output.say("(Ctrl-C ends)")
        static_files.wait()
    return errors.OK


def cleanup(call: Call) -> int:
    """Remove everything, also what a crash left."""
    lab(call).cleanup()
    call.output.result({"cleaned": str(call.data)}, f"The lab in {call.data} is empty.")
    return errors.OK


def isolation(call: Call) -> int:
    """Which level, and what is missing for the full one."""
    from engine.clouds import lab as lab_cloud

    found = lab_cloud.isolation()
    call.output.one({"level": found.level, "missing": list(found.missing)}, {"level": "Level", "missing": "Missing"})
    return errors.OK
