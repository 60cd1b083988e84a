"""How results reach the reader: tables and words for people, JSON for machines (``-f json``)."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text
import rich.tree


@dataclasses.dataclass(frozen=True)
class Output:
    """Where and how to write. As JSON, only one document goes to standard output, and progress to standard error."""

    format: str
    console: rich.console.Console
    progress: rich.console.Console

    @classmethod
    def of(cls, output_format: str) -> Output:
        """The output of a process: colours only on a terminal, whole lines in a pipe."""
        width = None if sys.stdout.isatty() else 200
        console = rich.console.Console(width=width, highlight=False, soft_wrap=not sys.stdout.isatty())
        errors = rich.console.Console(stderr=True, highlight=False, width=width)
        return cls(output_format, console, errors if output_format == "json" else console)

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
        """A list of things: `columns` maps a key of each row to its heading, `empty` is said when there are none."""
        if self.format == "json":
            self._json(list(rows))
        elif not rows:
            self.console.print(empty)
        else:
            table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
            for heading in columns.values():
                table.add_column(heading, overflow="fold")
            for row in rows:
                table.add_row(*(_plain(row.get(key)) for key in columns))
            self.console.print(table)

    def one(self, thing: Mapping[str, Any], fields: Mapping[str, str]) -> None:
        """One thing: `fields` maps its keys to their labels; empty ones are left out for people."""
        if self.format == "json":
            self._json(thing)
            return
        table = rich.table.Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for key, label in fields.items():
            if thing.get(key) not in (None, "", [], {}):
                table.add_row(label, _plain(thing[key]))
        self.console.print(table)

    def result(self, document: Any, text: str) -> None:
        """An outcome: a document for machines, a sentence for people."""
        if self.format == "json":
            self._json(document)
        else:
            self.console.print(text, markup=False)

    def say(self, text: str, style: str = "") -> None:
        """Progress, while something is going on."""
        self.progress.print(rich.text.Text(text, style=style))

    def _json(self, document: Any) -> None:
        print(json.dumps(document, indent=2, ensure_ascii=False))


def topology_tree(graph: Mapping[str, Any], title: str) -> rich.tree.Tree:
    """The answer of ``GET .../topology`` as a tree: a thing stands under its owner, or the first thing it needs."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    needs: dict[str, list[tuple[str, str]]] = {}
    for edge in graph["edges"]:
        needs.setdefault(edge["source"], []).append((edge["property"], edge["target"]))
    parents = {
        identifier: node["owner"] or next((target for _, target in needs.get(identifier, [])), None)
        for identifier, node in nodes.items()
    }
    tree = rich.tree.Tree(rich.text.Text(title, style="bold"))
    branches: dict[str, rich.tree.Tree] = {}

    def branch(identifier: str, above: frozenset[str]) -> rich.tree.Tree:
        if identifier not in branches:
            parent = parents.get(identifier)
            inside = (
                tree
                if parent is None or parent not in nodes or parent in above
                else branch(parent, above | {identifier})
            )
            others = [(name, target) for name, target in needs.get(identifier, []) if target != parent]
            branches[identifier] = inside.add(_node_label(nodes[identifier], others, nodes))
        return branches[identifier]

    for identifier in nodes:
        branch(identifier, frozenset())
    return tree


def _node_label(node: Mapping[str, Any], needs: Sequence[tuple[str, str]], nodes: Mapping[str, Any]) -> rich.text.Text:
    label = rich.text.Text(node.get("name") or node["id"], style="bold")
    label.append(f"  {node['type'].partition('/')[0]}", style="dim")
    for name, target in needs:
        label.append(f"  {name} → {nodes[target].get('name') or target}", style="cyan")
    for endpoint in node.get("endpoints", ()):
        label.append(f"  {endpoint.get('url')}", style="green")
    for address in node.get("addresses", ()):
        label.append(f"  {address}", style="dim")
    return label


def _plain(value: Any) -> rich.text.Text:
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif value is None:
        text = ""
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(str(item) for item in value)
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key} {item}".strip() for key, item in value.items())
    else:
        text = str(value)
    return rich.text.Text(text)
