"""The object model of an environment as a graph: what there is, who owns it, and what needs what.

The dashboard and the command line draw it; the model itself is too deep to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Node = dict[str, Any]

# Objects of these namespaces are plumbing of the environment, of no interest to somebody who looks at what runs.
PLUMBING = ("io.murano.system.", "io.murano.CloudRegion")


def graph(model: Mapping[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """``{"nodes": [...], "edges": [...]}`` of the applications (key ``services`` or ``applications``), in model order.

    A node is ``{"id", "type", "name", "owner", "endpoints", "addresses", "actions"}``; `owner` is the id of the object
    that contains it, or None. An edge ``{"source", "target", "property"}`` is a reference by id; owning makes no edge.
    """
    applications = (model or {}).get("services") or (model or {}).get("applications") or []
    objects = list(_objects(applications, owner=None))
    known = {node["id"] for node, _ in objects}
    edges = [
        {"source": node["id"], "target": target, "property": name}
        for node, value in objects
        for name, target in _references(value, known)
    ]
    return {"nodes": [node for node, _ in objects], "edges": edges}


def _objects(value: Any, owner: str | None) -> Iterator[tuple[Node, Mapping[str, Any]]]:
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, owner)
    elif isinstance(value, Mapping):
        header = value.get("?")
        if isinstance(header, Mapping) and isinstance(header.get("id"), str):
            if str(header.get("type", "")).startswith(PLUMBING):
                return
            yield _node(header, value, owner), value
            owner = header["id"]
        for key, item in value.items():
            if key != "?":
                yield from _objects(item, owner)


def _node(header: Mapping[str, Any], value: Mapping[str, Any], owner: str | None) -> Node:
    actions = header.get("_actions") or {}
    return {
        "id": header["id"],
        "type": str(header.get("type", "")),
        "name": value.get("name") or header.get("name") or header["id"],
        "owner": owner,
        "endpoints": [item for item in value.get("endpoints") or () if isinstance(item, Mapping) and item.get("url")],
        "addresses": [item for item in value.get("ipAddresses") or () if isinstance(item, str)],
        "actions": [
            {"id": identifier, "name": action.get("name"), "title": action.get("title") or action.get("name")}
            for identifier, action in actions.items()
            if action.get("enabled")
        ],
    }


def _references(value: Mapping[str, Any], known: set[str]) -> Iterator[tuple[str, str]]:
    """Ids of other objects among the property values of one object, also inside lists and plain mappings."""

    def inside(item: Any) -> Iterator[str]:
        if isinstance(item, str) and item in known:
            yield item
        elif isinstance(item, list):
            for element in item:
                yield from inside(element)
        elif isinstance(item, Mapping) and "?" not in item:
            for element in item.values():
                yield from inside(element)

    own = value["?"]["id"]
    for name, item in value.items():
        if name not in ("?", "name"):
            for target in dict.fromkeys(inside(item)):
                if target != own:
                    yield name, target
