"""What an agent or a workflow service would be asked to do, as steps: which scripts, with what, and for how long.

Ids and stamps do not count: they differ from plan to plan. The texts of scripts count and are told by size and digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from catalog.db import masking
from engine import steps


def of_plan(server: str, plan: Mapping[str, Any], timeout: float | None, *, waits: bool = True) -> steps.Step:
    """An execution plan of either format on a server. `timeout` is in seconds."""
    if str(plan.get("FormatVersion") or "1.").startswith("2."):
        scripts, files = _scripts(plan), _files(plan)
        names = [script["entry_point"] for script in scripts]
        details: dict[str, Any] = {"scripts": scripts, "files": files}
        unseen: Any = plan.get("Body")
    else:
        commands = [command for command in _list(plan.get("Commands")) if isinstance(command, Mapping)]
        names = [str(command.get("Name")) for command in commands]
        texts = [steps.Opaque("script", str(text)) for text in _list(plan.get("Scripts"))]
        details = {
            "commands": [{"name": each.get("Name"), "arguments": each.get("Arguments") or {}} for each in commands],
            "files": texts,
        }
        unseen = None
    title = str(plan.get("Name") or ", ".join(names) or "plan")
    parameters = plan.get("Parameters") or {}
    details = {
        "plan": title,
        **details,
        "parameters": masking.hidden(parameters),
        "body": str(plan.get("Body") or ""),
        "timeout": timeout,
        "waits": waits,
    }
    return steps.Step(
        kind="execute",
        target=server,
        type="script",
        summary=f"{title} on {server}" + (f" ({', '.join(names)})" if names else ""),
        details={name: value for name, value in details.items() if value not in (None, "", [], {})},
        unseen=[unseen, parameters],
    )


def of_workflow(
    region: str, name: str, inputs: Mapping[str, Any], params: Mapping[str, Any], timeout: float
) -> steps.Step:
    """A run of a workflow; with a `timeout` of 0 nobody waits for it."""
    details = {"region": region, "parameters": dict(inputs), "params": dict(params), "timeout": timeout}
    return steps.Step(
        kind="execute",
        target=name,
        type="workflow",
        summary=f"Run the workflow {name}",
        details={
            **{key: value for key, value in details.items() if value not in ("", {}, 0)},
            "waits": timeout > 0,
        },
    )


def of_definition(region: str, definition: str) -> steps.Step:
    """Workflows that are made from a definition, or replaced by it."""
    try:
        found = yaml.safe_load(definition)
    except (yaml.YAMLError, ValueError, RecursionError):
        found = None
    names = [str(name) for name in found if name != "version"] if isinstance(found, Mapping) else []
    shown = ", ".join(names) or "workflows"
    details = {"workflows": names, "definition": steps.Opaque("definition", definition), "region": region}
    return steps.Step(
        kind="create",
        target=shown,
        type="workflow",
        summary=f"Create or replace the workflow {shown}",
        details={name: value for name, value in details.items() if value not in ("", [])},
    )


def _scripts(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    scripts, files = plan.get("Scripts"), plan.get("Files")
    named = files if isinstance(files, Mapping) else {}
    told = []
    for name, script in scripts.items() if isinstance(scripts, Mapping) else ():
        if not isinstance(script, Mapping):
            continue
        one = {
            "name": str(name),
            "type": script.get("Type"),
            "entry_point": _name_of(named, script.get("EntryPoint")),
            "version": script.get("Version"),
            "files": [_name_of(named, each) for each in _list(script.get("Files"))],
            "options": script.get("Options"),
        }
        told.append({key: value for key, value in one.items() if value not in (None, "", [], {})} | {"name": str(name)})
        told[-1].setdefault("entry_point", str(name))
    return told


def _files(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = plan.get("Files")
    return list(_told_files(files)) if isinstance(files, Mapping) else []


def _told_files(files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for identity, entry in files.items():
        if not isinstance(entry, Mapping):
            continue
        name = str(entry.get("Name") or identity)
        if "URL" in entry:
            yield {"name": name, "url": str(entry["URL"])}
        else:
            yield {"name": name, "content": steps.Opaque("file", str(entry.get("Body") or ""))}


def _name_of(files: Mapping[str, Any], identity: Any) -> str:
    entry = files.get(identity) if isinstance(identity, str) else None
    return str(entry["Name"]) if isinstance(entry, Mapping) and entry.get("Name") else str(identity)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
