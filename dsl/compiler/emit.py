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
_LOAD, _STORE = ast.Load(), ast.Store()


def const(value: object) -> ast.expr:
    """A constant that Python can hold in a code object."""
    return ast.Constant(value)  # type: ignore[arg-type]


def name(identifier: str) -> ast.expr:
    return ast.Name(identifier, _LOAD)


def store(identifier: str) -> ast.expr:
    return ast.Name(identifier, _STORE)


def call(function: str | ast.expr, *arguments: ast.expr, **keywords: ast.expr) -> ast.expr:
    target = name(function) if isinstance(function, str) else function
    return ast.Call(target, list(arguments), [ast.keyword(key, value) for key, value in keywords.items()])


def attribute(value: str | ast.expr, field: str) -> ast.expr:
    """Access to a field of one of the runtime's own objects; never used for names that a package chose."""
    return ast.Attribute(name(value) if isinstance(value, str) else value, field, _LOAD)


def item(value: ast.expr, key: ast.expr) -> ast.expr:
    return ast.Subscript(value, key, _LOAD)


def tuple_of(values: Iterable[ast.expr]) -> ast.expr:
    return ast.Tuple(list(values), _LOAD)


def dict_of(pairs: Iterable[tuple[ast.expr, ast.expr]]) -> ast.expr:
    entries = list(pairs)
    return ast.Dict([key for key, _ in entries], [value for _, value in entries])


def bind(identifier: str, value: ast.expr) -> ast.expr:
    """`(identifier := value)`"""
    return ast.NamedExpr(ast.Name(identifier, _STORE), value)


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
    place = {"lineno": line, "col_offset": column - 1, "end_lineno": end_line, "end_col_offset": end_column - 1}
    pending: list[Any] = list(nodes)
    while pending:
        node = pending.pop()
        if node is None:
            continue
        fields = node.__dict__
        if "lineno" in fields:
            continue  # an inner expression was placed before, with all below it
        kind = type(node)
        if node._attributes:
            fields.update(place)
        inside = _INSIDE.get(kind)
        for label in _inside(kind) if inside is None else inside:
            child = fields.get(label)
            if type(child) is list:
                pending.extend(child)
            elif child is not None:
                pending.append(child)


_LEAVES = frozenset(  # fields without places
    ("arg", "attr", "conversion", "ctx", "id", "is_async", "kind", "name", "names", "op", "ops", "type_comment")
)
_INSIDE: dict[type, tuple[str, ...]] = {ast.Constant: ()}


def _inside(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a kind of node that hold nodes with places."""
    return _INSIDE.setdefault(kind, tuple(label for label in kind._fields if label not in _LEAVES))
