"""The object model on its way between catalog and engine (spec/engine-flow §2, §3).

The catalog keeps an environment's applications under `services`, the language knows them as `applications`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Model = Mapping[str, Any]


def for_engine(model: Model, environment_id: str) -> dict[str, Any]:
    """The model as the language loads it: `applications`, and the environment's own id on the root object."""
    root = _renamed(model.get("Objects"), "services", "applications")
    if root is not None:
        root["?"] = {**root.get("?", {}), "id": environment_id}
    loaded: dict[str, Any] = {"Objects": root, "Attributes": model.get("Attributes") or []}
    if model.get("ObjectsCopy") is not None:
        loaded["ObjectsCopy"] = _renamed(model["ObjectsCopy"], "services", "applications")
    return loaded


def for_catalog(submitted: Model, stored: Model, lock: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The model to keep: what the program left, in the envelope that was submitted, with the versions it ran with."""
    versions: dict[str, list[str]] = {}
    for entry in lock:
        versions.setdefault(entry["fqn"], []).append(entry["version"])
    return {
        **submitted,
        "Objects": _renamed(stored.get("Objects"), "applications", "services"),
        "ObjectsCopy": stored.get("ObjectsCopy"),
        "Attributes": stored.get("Attributes") or [],
        "SystemData": {**(submitted.get("SystemData") or {}), "Packages": versions},
    }


def environment_id_of(model: Model) -> str:
    """The id of the model's root object, or of the one that was there before; "" if there is none."""
    for part in ("Objects", "ObjectsCopy"):
        root = model.get(part)
        if isinstance(root, dict):
            return str((root.get("?") or {}).get("id") or "")
    return ""


def trust_of(model: Model) -> str | None:
    """The Keystone trust that the environment is worked on with."""
    return (model.get("SystemData") or {}).get("TrustId")


def is_empty(model: Model) -> bool:
    """Whether nothing is left that would need an engine."""
    return model.get("Objects") is None and model.get("ObjectsCopy") is None


def ids(value: Any) -> set[str]:
    """The ids of all objects in a part of a model."""
    found: set[str] = set()
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending.extend(each)
        elif isinstance(each, dict):
            header = each.get("?")
            if isinstance(header, dict) and isinstance(header.get("id"), str):
                found.add(header["id"])
            pending.extend(content for key, content in each.items() if key != "?")
    return found


def _renamed(root: Any, old: str, new: str) -> dict[str, Any] | None:
    if not isinstance(root, dict):
        return None
    return {new if key == old else key: value for key, value in root.items() if not (key == old and new in root)}
