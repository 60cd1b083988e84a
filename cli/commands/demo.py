"""``chandlery demo``: the main job, end to end, on this machine; ends at Ctrl-C, or after the proof with ``--exit``."""

from __future__ import annotations

import argparse
import pathlib
import shutil
import signal
from typing import TYPE_CHECKING, Any

from cli import errors, exclusive, static_files

if TYPE_CHECKING:
    from cli.call import Call
    from cli.demo import process, story


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = subparsers.add_parser("demo", parents=[shared], help="the main job, end to end, on this machine")
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument("--exit", action="store_true", help="end with the proof and clean up")
    parser.set_defaults(run=run)


def run(call: Call) -> int:
    """Tell the story. Exit code 0 only if every step held."""
    from cli.demo import narration, process, story

    data = pathlib.Path(call.options.data or "var/demo").absolute()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    narrator = narration.Narrator(call.output.console)
    data.mkdir(parents=True, exist_ok=True)
    elsewhere = "Stop it, or give this one a folder and a port of its own: make demo DATA=var/demo2 PORT=8083"
    with exclusive.holding(data / "lock", f"demonstration runs in {data}", elsewhere):
        begin_afresh(data)
        repository = data / "repository"
        repository.mkdir()
        with static_files.serving(repository) as url:
            service = process.ServiceProcess(data / "service", call.options.port, url)
            told = story.Story(call, narrator, service)
            try:
                held = _tell(told, narrator, repository, tear_down=call.options.exit)
                if held and not call.options.exit:
                    _stay(call, service)
            finally:
                service.stop()
                clean_up(data / "service")
    verdict = "Every step held" if held else "The story broke off"
    call.output.console.print(f"\n{verdict}: {narrator.steps} steps in {narrator.elapsed():.1f} s.", style="bold")
    for failure in narrator.failures:
        call.output.console.print(f"  {failure}", markup=False)
    if not held:
        call.output.console.print(f"The service's log: {service.log}", markup=False)
    return errors.OK if held else errors.FAILED


def _tell(told: story.Story, narrator: Any, repository: pathlib.Path, *, tear_down: bool) -> bool:
    from cli.demo import narration

    steps = [
        lambda: told.build_repository(repository),
        told.start_service,
        told.search,
        told.import_by_name,
        told.compose,
        told.refuse_what_lacks,
        told.plan,
        told.deploy,
        told.prove,
        told.scale_and_heal,
    ]
    try:
        for step in [*steps, told.tear_down] if tear_down else steps:
            step()
    except narration.StepFailed:
        return False
    return not narrator.failures


def _stay(call: Call, service: process.ServiceProcess) -> None:
    from cli import client

    account = client.Credentials.from_file(service.data / client.CREDENTIALS_FILE)
    console = call.output.console
    console.print(f"\nThe dashboard is at {service.url}/dashboard/", style="bold")
    console.print(
        f"  user {account.username}, password {account.password}, project {account.project_name}", markup=False
    )
    console.print(f"The command line sees it with --data {service.data}:", markup=False)
    console.print(f"  chandlery environment topology monitoring --data {service.data}", markup=False)
    console.print("Ctrl-C ends the service and removes what it made.")
    static_files.wait()


def begin_afresh(data: pathlib.Path) -> None:
    """Remove what an earlier demonstration left, also one that was killed."""
    clean_up(data / "service")
    shutil.rmtree(data / "repository", ignore_errors=True)


def clean_up(service_data: pathlib.Path) -> None:
    """Remove the lab's servers and the service's data; the log of the service stays."""
    from engine.clouds import lab

    if (service_data / "lab").exists():
        lab.LabOrchestration(service_data / "lab").cleanup()
    for path in service_data.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()
