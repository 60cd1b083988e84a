"""What a story of a package is, and how what ran is compared with what the story says."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import public_cloud
import public_world

Ran = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Story:
    """One package from its form to its end. The application under test has the id `app`.

    `ran` says for each server what its agent ran, in order. A line has pieces that are told in this order, with ` .. `
    between them; addresses are written as `<server>` and `<server public>`.
    """

    compose: Callable[[Callable[..., dict[str, Any]]], list[dict[str, Any]]]  # of the forms that it is given
    ran: Ran = field(default_factory=dict)
    leaves_out: bool = False  # whether more may have run than is said
    says: Sequence[str] = ()  # reports, whole
    answers: Mapping[str, object] = field(default_factory=dict)  # of agents, by the name of the plan
    protocol: str = "http"
    again: Ran = field(default_factory=dict)  # what runs when nothing was changed and it is deployed again
    fails: Sequence[str] = ()  # pieces of the error's trace, where the package is broken
    fails_again: Sequence[str] = ()
    then: Callable[[public_world.Environment], None] | None = None  # its actions and changes
    removed: Ran = field(default_factory=dict)  # what runs when `app` is taken away
    doomed: Sequence[str] = ()  # classes whose destructor asks servers that are gone already


def does(
    environment: public_world.Environment,
    deployment: Callable[[], public_world.Outcome],
    ran: Ran = {},  # noqa: B006 - nobody changes it
    says: Sequence[str] = (),
) -> public_world.Outcome:
    """Runs a deployment that has to succeed, and holds what it did against what the story says."""
    since = len(environment.cloud.events)
    outcome = deployment()
    assert (outcome.state, outcome.errors) == ("deployed", ()), outcome.result
    compare(environment.cloud, since, ran)
    assert set(says) <= set(outcome.reports), outcome.reports
    return outcome


def compare(cloud: public_cloud.ScriptedCloud, since: int, expected: Ran, *, leaves_out: bool = False) -> None:
    """Holds what agents ran after the first `since` events against what a story says."""
    executions = [event for event in cloud.events[since:] if isinstance(event, public_cloud.Execution)]
    for execution in executions:
        assert not re.search(r"%[A-Z][A-Z_-]{2,}%", execution.command), f"{execution.command} has an open place"
    for server in {*expected, *(execution.server for execution in executions)}:
        lines = [cloud.named(told(execution)) for execution in executions if execution.server == server]
        wanted = list(expected.get(server, ()))
        if leaves_out:
            remaining = iter(lines)
            for line in wanted:
                assert any(_fits(line, each) for each in remaining), f"{server}: {line!r}, in this order, in {lines}"
        else:
            assert len(lines) == len(wanted), f"{server}: {wanted}, found {[line[:120] for line in lines]}"
            for line, found in zip(wanted, lines, strict=True):
                assert _fits(line, found), f"{server}: expected {line!r}, found {found!r}"


def told(execution: public_cloud.Execution) -> str:
    """An execution in one text: name, scripts, parameters, and the command or file of the core library's own plans."""
    parts = [execution.name, f"[{' '.join(execution.scripts)}]", json.dumps(execution.parameters), execution.command]
    if execution.name.startswith("Put a file"):
        (content,) = [each["Body"] for each in execution.plan["Files"].values() if each.get("BodyType") == "Base64"]
        parts.append(base64.b64decode(content).decode())
    return "\n".join(parts)


def _fits(line: str, found: str) -> bool:
    position = 0
    for piece in line.split(" .. "):
        position = found.find(piece, position)
        if position < 0:
            return False
        position += len(piece)
    return True
