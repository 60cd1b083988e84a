"""kubectl's JSONPath templates: `{.a.b}`, `{.items[*].name}`, `[0]`, `[?(@.type=="Ready")]`, `{range ...}{end}`,
`{"\\n"}`.
"""

from __future__ import annotations

import json
import re


class PathError(Exception):
    """The template cannot be read."""


TOKEN = re.compile(
    r"""\.?\[\?\(@(?P<test>[^)=!<>]*?)\s*(?:(?P<sign>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[\w.-]+))?\s*\)\]|\.?\[(?P<index>\*|-?\d+|'[^']*'|"[^"]*")\]|\.(?P<name>(?:\\.|[\w/-])+|\*)"""
)


def render(template: str, value: object) -> str:
    """The text; values that are not there give nothing."""
    text, rest = body(re.findall(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[^{]+", template), value)
    if rest:
        raise PathError(f"unexpected {rest[0]} in the JSONPath template")
    return text


def body(parts: list[str], value: object) -> tuple[str, list[str]]:
    text = ""
    while parts:
        part, parts = parts[0], parts[1:]
        if not part.startswith("{"):
            text += part
            continue
        expression = part[1:-1].strip()
        if expression == "end":
            return text, ["{end}", *parts]
        if expression.startswith("range "):
            after: list[str] = []
            for item in find(expression[len("range ") :], value) or [None]:
                piece, after = body(parts, item)
                text += piece if item is not None else ""
            parts = after[1:]
        elif expression[:1] in ('"', "'"):
            text += expression[1:-1].replace("\\n", "\n").replace("\\t", "\t")
        else:
            text += " ".join(show(found) for found in find(expression, value))
    return text, []


def find(path: str, value: object) -> list[object]:
    found: list[object] = [value]
    path = re.sub(r"^[$@]", "", path.strip())
    if path and path[0] not in ".[":
        path = "." + path
    at = 0
    while at < len(path):
        match = TOKEN.match(path, at)
        if match is None:
            if path[at:] == ".":
                break
            raise PathError(f"the JSONPath {path!r} cannot be read from {path[at:]!r} on")
        at = match.end()
        found = [step for item in found for step in steps(item, match)]
    return found


def steps(item: object, match: re.Match[str]) -> list[object]:
    if match["test"] is not None:
        return [entry for entry in item if holds(entry, match)] if isinstance(item, list) else []
    key = match["name"] or match["index"]
    if key == "*":
        return list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list) else []
    if isinstance(item, list) and re.fullmatch(r"-?\d+", key):
        return [item[int(key)]] if -len(item) <= int(key) < len(item) else []
    key = re.sub(r"\\(.)", r"\1", key.strip("'\""))
    return [item[key]] if isinstance(item, dict) and key in item else []


def holds(entry: object, match: re.Match[str]) -> bool:
    found = find(match["test"], entry)
    if match["sign"] is None:
        return bool(found)
    same = bool(found) and show(found[0]) == match["value"].strip("'\"")
    return same == (match["sign"] == "==")


def show(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))
