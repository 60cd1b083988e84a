"""What a JSON schema can say of a `check()`: bounds, choices and patterns, joined by `and` (spec/muranopl.md §22)."""

from __future__ import annotations

from typing import Any

from yaql.language import expressions as tree

from dsl.compiler.trees import unwrapped


def constrain(schema: dict[str, Any], predicate: object) -> None:
    """Add to a schema what a predicate says in a form that schemas know; anything else is left out."""
    if not isinstance(predicate, tree.Expression):
        return
    node = unwrapped(predicate)
    if isinstance(node, tree.BinaryOperator):
        left, right = (unwrapped(each) for each in node.args)
        if node.operator == "and":
            constrain(schema, left)
            constrain(schema, right)
        elif node.operator in _MIRRORED and _is_value(left):
            _bound(schema, node.operator, _constant(right))
        elif node.operator in _MIRRORED and _is_value(right):
            _bound(schema, _MIRRORED[node.operator], _constant(left))
        elif node.operator == "in" and _is_value(left):
            _choice(schema, right)
        elif node.operator == "." and _is_value(left):
            _pattern(schema, right)


_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}


def _is_value(node: tree.Expression) -> bool:
    return isinstance(node, tree.GetContextValue) and node.path.value == "$"


def _constant(node: tree.Expression) -> Any:
    """The value of a number, with or without a sign; None of anything else."""
    if isinstance(node, tree.UnaryOperator) and node.operator == "-":
        number = _constant(unwrapped(node.args[0]))
        return -number if isinstance(number, (int, float)) else None
    return node.value if isinstance(node, tree.Constant) else None


def _bound(schema: dict[str, Any], operator: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    label = "minimum" if operator.startswith(">") else "maximum"
    schema[label] = value
    schema["exclusive" + label.capitalize()] = not operator.endswith("=")


def _choice(schema: dict[str, Any], node: tree.Expression) -> None:
    is_list = isinstance(node, tree.ListExpression) or (isinstance(node, tree.Function) and node.name == "list")
    if is_list:
        items = [unwrapped(each) for each in node.args]
        if all(isinstance(each, tree.Constant) for each in items):
            schema["enum"] = [each.value for each in items]


def _pattern(schema: dict[str, Any], node: tree.Expression) -> None:
    if isinstance(node, tree.Function) and node.name == "matches" and len(node.args) == 1:
        pattern = unwrapped(node.args[0])
        if isinstance(pattern, tree.Constant) and isinstance(pattern.value, str):
            schema["pattern"] = pattern.value
