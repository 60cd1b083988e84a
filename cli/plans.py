"""Plans on the command line: shown to people, kept in files, and given along with what is held to them."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import rich.console
import rich.text

from cli import errors
from cli.output import Output

DEPLOY, ACTION, DELETE = "deployment", "action", "deletion"  # what a plan is of

SYMBOLS = {"create": "+", "update": "~", "delete": "-", "execute": ">", "report": "·"}
STYLES = {"create": "green", "update": "yellow", "delete": "red", "execute": "cyan", "report": "dim"}
COUNTED = {"create": "to create", "update": "to change", "delete": "to delete", "execute": "to run"}
WARNINGS = {"replace": "bold red", "rebuild": "bold red", "unknown": "magenta", "resize": "yellow"}
SHORT = 60  # characters of a value on a line of its own
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Held:
    """A plan that something is held to. `session` is where it was made, if that is known."""

    hash: str
    session: str | None = None


def add_option(parser: argparse.ArgumentParser) -> None:
    """``--plan``: only as planned."""
    parser.add_argument(
        "--plan", metavar="FILE|HASH", help="only if this plan still holds: a file of 'plan --out', or a plan's hash"
    )


def wanted(given: str | None, environment_id: str, kind: str) -> Held | None:
    """What ``--plan`` names. Raises CommandError for a file that is none, or of another environment or kind."""
    if given is None:
        return None
    if _HASH.fullmatch(given):
        return Held(given)
    try:
        kept = json.loads(pathlib.Path(given).read_text(encoding="utf-8"))
        held = Held(kept["hash"], kept.get("session"))
        of, about = kept["environment"], kept["of"]
    except FileNotFoundError:
        raise errors.CommandError(
            f"--plan {given}: there is no such file, and it is no hash of a plan (64 hexadecimal digits).",
            "chandlery plan ENVIRONMENT --out FILE makes one.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.CommandError(
            f"--plan {given}: expected a file of 'plan --out', found another ({error!r})."
        ) from None
    if of != environment_id:
        raise errors.CommandError(f"--plan {given}: it is a plan of environment {of}, not of {environment_id}.")
    if about != kind:
        raise errors.CommandError(
            f"--plan {given}: expected the plan of {_article(kind)}, found that of {_article(about)}."
        )
    return held


def write(path: str, answer: Mapping[str, Any], environment_id: str, session: str | None, kind: str) -> None:
    """Keeps a plan in a file, readable by its user only. Raises CommandError."""
    document = {"environment": environment_id, "session": session, "of": kind, **answer}
    try:
        file = pathlib.Path(path)
        file.touch(mode=0o600)
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise errors.CommandError(f"--out {path}: it cannot be written: {error.strerror or error}.") from None


@contextlib.contextmanager
def moves_told(output: Output) -> Iterator[None]:
    """Shows what differs when the service refuses because a plan does not hold any more."""
    try:
        yield
    except errors.CommandError as error:
        moved = error.details.get("plan")
        if isinstance(moved, Mapping) and output.format == "json":
            output.result({"plan": moved}, "")
        elif isinstance(moved, Mapping):
            show_moved(output.console, moved)
        raise


def show(console: rich.console.Console, answer: Mapping[str, Any], *, verbose: bool = False) -> None:
    """The steps, one after the other, under what they belong to."""
    heading = None
    for step in answer["steps"]:
        belongs = _belongs(step)
        if belongs != heading and belongs is not None:
            console.print(rich.text.Text(f"\n{belongs}", style="bold"))
        heading = belongs or heading
        show_step(console, step, verbose=verbose)
    if not answer["steps"]:
        console.print("Nothing would happen.")
        return
    counts = [f"{answer['counts'][kind]} {words}" for kind, words in COUNTED.items()]
    effects = [step["details"].get("effect") for step in answer["steps"]]
    replaced = sum(effect in ("replace", "rebuild") for effect in effects)
    console.print()
    if replaced:
        console.print(rich.text.Text(f"{replaced} of what changes is made anew.", style="bold red"))
    console.print(f"{', '.join(counts)}. Nothing was changed.", markup=False)


def show_step(
    console: rich.console.Console, step: Mapping[str, Any], *, verbose: bool = False, indent: str = "  "
) -> None:
    """One step with its changes; with `verbose` all that is known of it."""
    kind, details = step["kind"], step.get("details") or {}
    style = "bold red" if kind == "report" and step["type"] == "error" else STYLES.get(kind, "")
    _line(console, f"{indent}{SYMBOLS.get(kind, '?')} ", step["summary"], style)
    below = indent + "    "
    for change in details.get("changes") or ():
        console.print(_change(change, below), soft_wrap=True)
    if details.get("changes_left_out"):
        _line(console, below, f"and {details['changes_left_out']} more changes", "dim")
    if details.get("unknown"):
        _line(console, below, f"not known: {details['unknown']}", "magenta")
    if details.get("affects"):
        _line(console, below, f"and with it: {', '.join(details['affects'])}", "red")
    if kind == "delete" and details.get("goes_with") and step["type"] != "OS::Heat::Stack":
        _line(console, below, f"with {', '.join(details['goes_with'])}", "red")
    if kind == "execute" and details.get("parameters"):
        given = ", ".join(f"{name}={_short(value)}" for name, value in details["parameters"].items())
        _line(console, below, given, "dim")
    if verbose:
        told = ("changes", "changed", "changes_left_out", "stack", "plan", "effect", "affects", "unknown")
        for name, value in details.items():
            if name not in told:
                for line in _block(name, value):
                    _line(console, below, line, "dim")


def show_moved(console: rich.console.Console, moved: Mapping[str, Any]) -> None:
    """What was planned and what it would be now, step by step."""
    for difference in moved["differences"]:
        for side, words in (("planned", "planned"), ("now", "now    ")):
            step = difference[side]
            if step is None:
                _line(console, f"{words} ", "nothing", "dim")
            else:
                show_step(console, step, indent=f"{words} ")
        if difference["hidden"]:
            _line(
                console,
                "        ",
                "They differ in what is not shown: a secret, a script, or what was shortened.",
                "magenta",
            )
    if moved["left_out"]:
        console.print(f"and {moved['left_out']} more")


def _article(word: object) -> str:
    return f"an {word}" if word == ACTION else f"a {word}"


def _belongs(step: Mapping[str, Any]) -> str | None:
    """The heading a step stands under; None for what stands wherever it comes."""
    if step["kind"] == "report":
        return None
    if step["kind"] == "execute":
        return f"Scripts on {step['target']}" if step["type"] == "script" else "Workflows"
    stack = step["details"].get("stack")
    return f"Stack {stack}" if stack else "Beside the stacks"


def _change(change: Mapping[str, Any], indent: str) -> rich.text.Text:
    line = rich.text.Text(f"{indent}{change['path'].removeprefix('properties.')}: ")
    line.append(_short(change["before"], 160) if "before" in change else "nothing", style="red")
    line.append(" -> ", style="dim")
    line.append(_short(change["after"], 160) if "after" in change else "nothing", style="green")
    if change.get("effect") in WARNINGS:
        line.append(f"  [{change['effect']}]", style=WARNINGS[change["effect"]])
    if change.get("note"):
        line.append(f"  ({change['note']})", style="magenta")
    return line


def _line(console: rich.console.Console, indent: str, text: str, style: str) -> None:
    console.print(rich.text.Text(indent + text, style=style), soft_wrap=True)


def _short(value: Any, longest: int = SHORT) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", "\\n")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _block(name: str, value: Any, indent: str = "") -> Iterator[str]:
    """A value as indented lines, as in YAML."""
    if isinstance(value, Mapping) and value:
        yield f"{indent}{name}:"
        for key, item in value.items():
            yield from _block(key, item, indent + "  ")
    elif isinstance(value, list) and value:
        yield f"{indent}{name}:"
        for item in value:
            yield from _block("-", item, indent + "  ")
    elif isinstance(value, str) and "\n" in value:
        yield f"{indent}{name}: |"
        yield from (f"{indent}  {line}" for line in value.splitlines())
    else:
        yield f"{indent}{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
