"""An environment's graph as a page shows it: its applications with all they can do, and the tree of what is in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

SHOWN_ACTIONS = 3  # buttons of an application; the others wait behind its disclosure


@dataclasses.dataclass(frozen=True)
class Application:
    """A top-level object; `groups` are all actions of it and of what is in it, as ``(object name, actions)``."""

    node: Mapping[str, Any]
    groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]

    @property
    def buttons(self) -> Sequence[Mapping[str, Any]]:
        """The application's own first actions."""
        return _actions(self.node)[:SHOWN_ACTIONS]

    @property
    def count(self) -> int:
        """How many actions there are altogether."""
        return sum(len(actions) for _, actions in self.groups)

    def endpoints(self, scope: str | None = None) -> list[Mapping[str, Any]]:
        """Those for everybody (`scope` "public"), or with None all others."""
        found = self.node["endpoints"]
        if scope is None:
            return [item for item in found if item.get("scope") != "public"]
        return [item for item in found if item.get("scope") == scope]


@dataclasses.dataclass(frozen=True)
class Branch:
    """A node, what it refers to as ``(property, name of the other)``, and what it owns."""

    node: Mapping[str, Any]
    needs: Sequence[tuple[str, str]]
    children: Sequence[Branch]


def applications(graph: Mapping[str, Any]) -> list[Application]:
    """The top-level objects of ``GET topology``, in its order."""
    found = []
    for branch in tree(graph):
        nodes = _flat(branch)
        groups = [(str(node["name"]), _actions(node)) for node in nodes if _actions(node)]
        found.append(Application(branch.node, groups))
    return found


def tree(graph: Mapping[str, Any]) -> list[Branch]:
    """The nodes of ``GET topology`` under their owners; one whose owner is not there is at the top."""
    nodes = graph["nodes"]
    names = {node["id"]: str(node["name"]) for node in nodes}
    owned: dict[str | None, list[Mapping[str, Any]]] = {}
    for node in nodes:
        owned.setdefault(node["owner"] if node["owner"] in names else None, []).append(node)
    needs: dict[str, list[tuple[str, str]]] = {}
    for edge in graph["edges"]:
        if edge["target"] in names:
            needs.setdefault(edge["source"], []).append((edge["property"], names[edge["target"]]))

    def branch(node: Mapping[str, Any]) -> Branch:
        children = [branch(child) for child in owned.get(node["id"], ())]
        return Branch(node, needs.get(node["id"], []), children)

    return [branch(node) for node in owned.get(None, ())]


def named(deployments: Sequence[Mapping[str, Any]], graph: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The deployments of the API, each with a `task`: what it does, in the words of the actions that are there now."""
    names = {node["id"]: str(node["name"]) for node in graph["nodes"]}
    titles = {(node["id"], action["name"]): action["title"] for node in graph["nodes"] for action in node["actions"]}

    def task(action: Mapping[str, Any] | None) -> str:
        if not action:
            return "Delete"
        target, method = action.get("object_id"), str(action.get("method"))
        if target not in names:  # the environment itself, or what is gone
            return "Deploy" if method == "deploy" else method
        return f"{titles.get((target, method), method)}: {names[target]}"

    return [{**deployment, "task": task(deployment["action"])} for deployment in deployments]


def _flat(branch: Branch) -> list[Mapping[str, Any]]:
    found = [branch.node]
    for child in branch.children:
        found.extend(_flat(child))
    return found


def _actions(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Its actions; deploying is what the page's own button does."""
    return [action for action in node["actions"] if action["name"] != "deploy"]
