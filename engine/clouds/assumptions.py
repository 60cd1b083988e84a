"""What a plan assumes where a real cloud would answer: addresses, ids, the results of scripts.

Always the same for the same question, so that two plans of one model are equal. Addresses are from the ranges set aside
for documentation, scripts are assumed to succeed and to say nothing.
"""

from __future__ import annotations

import ast
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any


class Assumptions:
    """What a template's outputs would plausibly be. Knows the functions and attributes packages use for outputs."""

    def __init__(self, stack: str, template: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._stack = stack
        self._resources = section(template, "resources")
        self._defaults = section(template, "parameters")
        self._parameters = parameters

    def value(self, expression: Any) -> Any:
        """The expression with Heat's functions replaced by assumed values."""
        if isinstance(expression, list):
            return [self.value(item) for item in expression]
        if not isinstance(expression, dict):
            return expression
        if len(expression) == 1:
            ((function, argument),) = expression.items()
            if function == "get_resource":
                return stable_id(self._stack, str(argument))
            if function == "get_param":
                return self._parameter(argument)
            if function == "get_attr" and isinstance(argument, list) and argument:
                return self._attribute(argument)
            if function == "str_replace" and isinstance(argument, dict):
                return self._replaced(argument)
            if function == "list_join" and isinstance(argument, list) and len(argument) == 2:
                return str(argument[0]).join(str(item) for item in self.value(argument[1]))
        return {key: self.value(item) for key, item in expression.items()}

    def _parameter(self, argument: Any) -> Any:
        name = argument[0] if isinstance(argument, list) and argument else argument
        return self._parameters.get(name, (self._defaults.get(name) or {}).get("default"))

    def _replaced(self, argument: Mapping[str, Any]) -> str:
        text = str(self.value(argument.get("template", "")))
        for key, replacement in (argument.get("params") or {}).items():
            text = text.replace(str(key), str(self.value(replacement)))
        return text

    def _attribute(self, path: Sequence[Any]) -> Any:
        resource, attribute, rest = str(path[0]), str(path[1]) if len(path) > 1 else "", list(path[2:])
        address = address_of(f"{self._stack}/{resource}")
        if attribute in ("networks", "addresses"):
            found: Any = [address]
            if attribute == "addresses":
                found = [{"addr": address, "version": 4, "OS-EXT-IPS:type": "fixed"}]
            if not rest:
                return {"network": found}
            return _followed(found, rest[1:])
        if attribute == "fixed_ips":
            return _followed([{"ip_address": address, "subnet_id": stable_id(resource, "subnet")}], rest)
        if attribute in ("floating_ip_address", "ip"):
            return address_of(f"{self._stack}/{resource}", public=True)
        if attribute == "first_address":
            return address
        if attribute == "cidr":
            properties = self._resources.get(resource, {}).get("properties") or {}
            return self.value(properties.get("cidr")) or "192.0.2.0/24"
        if attribute in ("attachments_list", "attachments"):
            return []
        if attribute in ("deploy_stdout", "deploy_stderr"):
            return ""
        return f"{attribute} of {resource}"


def address_of(of: str, *, public: bool = False) -> str:
    """An address from the ranges set aside for documentation (RFC 5737): always the same for the same resource."""
    number = int(hashlib.sha256(of.encode()).hexdigest(), 16) % 253 + 1
    return f"203.0.113.{number}" if public else f"192.0.2.{number}"


def result_of(body: str, scripts: Mapping[str, Any]) -> Any:
    """A value of the shape the plan's body returns: empty texts and lists where scripts would have said something."""
    try:
        indented = "\n".join("    " + line for line in body.expandtabs(4).splitlines())
        function = _parsed(f"def plan():\n{indented}\n    pass").body[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    if not returned:
        return None
    assigned = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return _shape(returned[-1], assigned, frozenset(scripts), depth=8)


def _shape(node: ast.expr | None, assigned: Mapping[str, ast.expr], scripts: frozenset[str], depth: int) -> Any:
    if node is None or depth == 0:
        return None if node is None else ""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | float | bool | None) else ""
    if isinstance(node, ast.Name) and node.id in assigned:
        return _shape(assigned[node.id], assigned, scripts, depth - 1)
    if isinstance(node, ast.Dict):
        return {
            str(key.value): _shape(value, assigned, scripts, depth - 1)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        }
    if isinstance(node, ast.List | ast.ListComp | ast.Tuple):
        return []
    if isinstance(node, ast.DictComp):
        return {}
    if isinstance(node, ast.Compare | ast.BoolOp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in scripts:
            return {"exitCode": 0, "stdout": "", "stderr": ""}
        return {"int": 0, "len": 0, "float": 0.0, "bool": True, "list": [], "sorted": [], "dict": {}}.get(
            node.func.id, ""
        )
    return ""


def section(template: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """A section of a template, without what is no mapping in it."""
    found = template.get(name) or {}
    return {key: value for key, value in found.items() if isinstance(value, dict)}


def _followed(value: Any, path: Sequence[Any]) -> Any:
    for key in path:
        if isinstance(value, list) and str(key).isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return None
    return value


def stable_id(*parts: str) -> str:
    """32 hex digits, the same for the same parts."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)).hex


def _parsed(source: str) -> ast.Module:
    """`ast.parse`, which threads that compile can disturb before Python 3.11.8: it says so, and is asked again."""
    for _try in range(9):
        try:
            return ast.parse(source)
        except (
            SystemError
        ):  # "AST constructor recursion depth mismatch", https://github.com/python/cpython/issues/106905
            continue
    return ast.parse(source)
