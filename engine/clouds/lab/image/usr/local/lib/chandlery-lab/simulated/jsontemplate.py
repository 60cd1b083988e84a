"""`--format '{{.State.Status}}'`: Go templates as far as scripts use them with podman."""

from __future__ import annotations

import json
import re


def render(template: str, item: dict) -> str:
    """`{{.A.B}}`, `{{json .A}}`, `{{index .A 0}}`-free; unknown fields show as `<no value>`."""
    return re.sub(
        r"\{\{\s*(json\s+)?(\.[\w.]*)\s*\}\}",
        lambda match: shown(item, match[2], bool(match[1])),
        template.replace("\\n", "\n").replace("\\t", "\t"),
    )


def shown(item: object, path: str, as_json: bool) -> str:
    for name in path.split("."):
        if name:
            item = item.get(name) if isinstance(item, dict) else None
    if as_json or isinstance(item, (dict, list)):
        return json.dumps(item)
    return "<no value>" if item is None else str(item).lower() if isinstance(item, bool) else str(item)
