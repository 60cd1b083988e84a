"""Small words for building Python syntax trees, so that the compiler's own files read as what they emit.

Nodes get their place in the package's YAML from `at`: the innermost expression or statement wins, so Python's
tracebacks, profilers and coverage tools point into the package's own lines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

from dsl.syntax import Location

NONE = ast.Constant(None)
_PLACELESS = (ast.Load, ast.Store)


def const(value: object) -> ast.expr:
    """A constant that Python can hold in a code object."""
    return ast.Constant(value)  # type: ignore[arg-type]


def name(identifier: str) -> ast.expr:
    return ast.Name(identifier, ast.Load())


def store(identifier: str) -> ast.expr:
    return ast.Name(identifier, ast.Store())


def call(function: str | ast.expr, *arguments: ast.expr, **keywords: ast.expr) -> ast.expr:
    target = name(function) if isinstance(function, str) else function
    return ast.Call(target, list(arguments), [ast.keyword(key, value) for key, value in keywords.items()])


def attribute(value: str | ast.expr, field: str) -> ast.expr:
    """Access to a field of one of the runtime's own objects; never used for names that a package chose."""
    return ast.Attribute(name(value) if isinstance(value, str) else value, field, ast.Load())


def item(value: ast.expr, key: ast.expr) -> ast.expr:
    return ast.Subscript(value, key, ast.Load())


def tuple_of(values: Iterable[ast.expr]) -> ast.expr:
    return ast.Tuple(list(values), ast.Load())


def dict_of(pairs: Iterable[tuple[ast.expr, ast.expr]]) -> ast.expr:
    entries = list(pairs)
    return ast.Dict([key for key, _ in entries], [value for _, value in entries])


def bind(identifier: str, value: ast.expr) -> ast.expr:
    """`(identifier := value)`"""
    return ast.NamedExpr(ast.Name(identifier, ast.Store()), value)


def is_(left: ast.expr, right: ast.expr) -> ast.expr:
    return ast.Compare(left, [ast.Is()], [right])


def type_of(value: ast.expr) -> ast.expr:
    return call("type", value)


def if_else(test: ast.expr, value: ast.expr, otherwise: ast.expr) -> ast.expr:
    return ast.IfExp(test, value, otherwise)


def binary(left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.expr:
    return ast.BinOp(left, operator, right)


def compare(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.expr:
    return ast.Compare(left, [operator], [right])


def function_of(parameters: Sequence[str], value: ast.expr) -> ast.expr:
    """`lambda parameters: value`"""
    return ast.Lambda(parameters_of(parameters), value)


def parameters_of(names: Sequence[str], defaults: Sequence[ast.expr] = (), rest: str | None = None) -> ast.arguments:
    return ast.arguments(
        posonlyargs=[],
        args=[ast.arg(each) for each in names],
        vararg=ast.arg(rest) if rest else None,
        kwonlyargs=[],
        kw_defaults=[],
        kwarg=None,
        defaults=list(defaults),
    )


def define(identifier: str, parameters: ast.arguments, body: list[ast.stmt]) -> ast.stmt:
    return ast.FunctionDef(
        name=identifier, args=parameters, body=body or [ast.Pass()], decorator_list=[], returns=None, type_comment=None
    )


def assign(identifier: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([store(identifier)], value)


def when(test: ast.expr, then: list[ast.stmt], otherwise: list[ast.stmt] | None = None) -> ast.stmt:
    return ast.If(test, then or [ast.Pass()], otherwise or [])


def at(location: Location, *nodes: ast.AST) -> None:
    """Give every node that has no place yet the place `location`."""
    _, line, column, end_line, end_column = location
    column, end_column = column - 1, end_column - 1
    pending: list[object] = list(nodes)
    while pending:
        node: Any = pending.pop()
        if node._attributes:
            if hasattr(node, "lineno"):
                continue  # an inner expression was placed before, with all below it
            node.lineno, node.col_offset, node.end_lineno, node.end_col_offset = line, column, end_line, end_column
        for label in node._fields:
            child = getattr(node, label, None)
            if type(child) is list:
                pending.extend([each for each in child if isinstance(each, ast.AST)])
            elif isinstance(child, ast.AST) and type(child) not in _PLACELESS:
                pending.append(child)
