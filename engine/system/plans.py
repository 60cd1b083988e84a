"""From a plan template to the plan that an agent gets (spec/agent-protocol §3): pure, ids come from outside."""

from __future__ import annotations

import base64
import copy
import uuid
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit


class Scripts(Protocol):
    """Where a plan's files come from: the Resources object the package handed to the agent."""

    def text(self, path: str) -> str:
        """Text of `Resources/<path>`, line ends normalised."""

    def base64(self, path: str) -> str:
        """Base64 of the bytes of `Resources/<path>`, without line breaks."""


def build_plan(template: object, scripts: Scripts, plan_id: str, stamp: Callable[[], int]) -> dict[str, object]:
    """The plan to send. Raises ValueError for a template that is no plan, what `scripts` raises for missing files."""
    if not isinstance(template, Mapping):
        raise ValueError(f"an execution plan is a dictionary, found {type(template).__name__}")
    plan = copy.deepcopy(dict(template))
    if str(plan.get("FormatVersion") or "1.0").startswith("1."):
        return _build_v1(plan, scripts, stamp)
    return _build_v2(plan, scripts, plan_id, stamp)


def _build_v1(plan: dict[str, object], scripts: Scripts, stamp: Callable[[], int]) -> dict[str, object]:
    names = plan.get("Scripts") or []
    if not isinstance(names, list):
        raise ValueError(f"Scripts of a version 1 plan is a list of file names, found {type(names).__name__}")
    plan["Scripts"] = [scripts.base64(f"scripts/{name}") for name in names]
    plan["Stamp"] = stamp()
    return plan


def _build_v2(plan: dict[str, object], scripts: Scripts, plan_id: str, stamp: Callable[[], int]) -> dict[str, object]:
    files = plan.get("Files") or {}
    if not isinstance(files, dict):
        raise ValueError(f"Files of a plan is a dictionary, found {type(files).__name__}")
    entries = plan.get("Scripts") or {}
    if not isinstance(entries, dict):
        raise ValueError(f"Scripts of a version 2 plan is a dictionary, found {type(entries).__name__}")
    shelf = _Files(files, scripts, plan_id)
    for name, script in entries.items():
        _place_files(name, script, shelf)
    plan["Scripts"] = entries
    plan["Files"] = shelf.entries
    plan["ID"] = plan_id
    plan["Stamp"] = stamp()
    plan.setdefault("Action", "Execute")
    return plan


def _place_files(name: str, script: object, shelf: _Files) -> None:
    if not isinstance(script, dict) or "EntryPoint" not in script:
        raise ValueError(f"script '{name}' of the plan has no EntryPoint")
    # Chef and Puppet name a recipe or class there, not a file.
    if script.get("Type") == "Application":
        script["EntryPoint"] = shelf.place(script["EntryPoint"])
    files = script.get("Files") or []
    if not isinstance(files, list):
        raise ValueError(f"Files of script '{name}' is a list of file names, found {type(files).__name__}")
    script["Files"] = [shelf.place(reference) for reference in files]


class _Files:
    """The plan's file entries {id: entry}; a file that several scripts name is there once."""

    def __init__(self, inline: dict[str, object], scripts: Scripts, plan_id: str) -> None:
        self.entries: dict[str, object] = dict(inline)
        self._scripts = scripts
        self._plan_id = plan_id
        self._ids = {entry["Name"]: key for key, entry in inline.items() if isinstance(entry, dict) and "Name" in entry}

    def place(self, reference: object) -> str:
        """Id of the file that `reference` means, loaded if it is not there yet."""
        name, path = _name_and_path(reference)
        known = self._ids.get(name)
        if known is not None:
            return str(known)
        # Ids only have to be unique within the plan; a derived one is the same when the deployment is replayed.
        file_id = uuid.uuid5(uuid.UUID(self._plan_id), name).hex
        self.entries[file_id] = self._entry(name, path)
        self._ids[name] = file_id
        return file_id

    def _entry(self, name: str, path: str) -> dict[str, object]:
        if _is_url(path):
            return {"Name": name, "URL": path, "Type": "Downloadable"}
        inner = _within_brackets(path)
        if inner is not None:
            return {"Name": name, "BodyType": "Base64", "Body": self._scripts.base64(f"scripts/{inner}") + "\n"}
        return {"Name": name, "BodyType": "Text", "Body": self._scripts.text(f"scripts/{path}")}


def _name_and_path(reference: object) -> tuple[str, str]:
    if isinstance(reference, Mapping):
        if len(reference) != 1:
            raise ValueError(f"a file of a plan is a name or {{name: file}}, found {dict(reference)!r}")
        name, path = next(iter(reference.items()))
        return str(name), str(path)
    path = str(reference)
    if _is_url(path):
        return path.rstrip("/").rsplit("/", 1)[-1], path
    return _within_brackets(path) or path, path


def _within_brackets(path: str) -> str | None:
    return path[1:-1] if path.startswith("<") and path.endswith(">") else None


def _is_url(path: str) -> bool:
    try:
        parts = urlsplit(path)
    except ValueError:  # an unbalanced bracket in a file name
        return False
    return bool(parts.scheme and parts.netloc)


def encode(content: bytes) -> str:
    """Base64 text without line breaks."""
    return base64.b64encode(content).decode("ascii")
