"""Operators: inline code for the types that programs use, a call of the exact semantics for all others (§16, §17)."""

from __future__ import annotations

import ast

from yaql.language import expressions as tree

from dsl.compiler import emit
from dsl.compiler.unit import Unit

_ARITHMETIC: dict[str, ast.operator] = {"+": ast.Add(), "-": ast.Sub(), "/": ast.FloorDiv(), "mod": ast.Mod()}
_ORDER: dict[str, ast.cmpop] = {"<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE()}
_EQUALITY: dict[str, ast.cmpop] = {"=": ast.Eq(), "!=": ast.NotEq()}


def binary(unit: Unit, node: tree.BinaryOperator, left: ast.expr, right: ast.expr) -> ast.expr:
    """`left op right` for the operators that are functions of two values."""
    operator = node.operator
    slow = unit.site("operator", operator)
    if operator in _ARITHMETIC:
        return _both(unit, "int", left, right, lambda a, b: emit.binary(a, _ARITHMETIC[operator], b), slow)
    if operator == "*":
        return _both(unit, "int", left, right, lambda a, b: _product(unit, a, b, slow), slow)
    if operator in _ORDER:
        return _both(unit, "int", left, right, lambda a, b: emit.compare(a, _ORDER[operator], b), slow)
    if operator in _EQUALITY:
        return _equality(unit, operator, left, right, slow)
    return emit.call(slow, left, right)


_SMALL = 2**62  # products beyond this go through the function that looks at their size


def _product(unit: Unit, left: ast.expr, right: ast.expr, slow: ast.expr) -> ast.expr:
    """`left * right`, as long as it stays small."""
    product = unit.temporary()
    value = emit.bind(product, emit.binary(left, ast.Mult(), right))
    small = ast.Compare(emit.const(-_SMALL), [ast.Lt(), ast.Lt()], [value, emit.const(_SMALL)])
    return emit.if_else(small, emit.name(product), emit.call(slow, _again(left), _again(right)))


def _again(value: ast.expr) -> ast.expr:
    """The same variable or constant as a node of its own."""
    return emit.name(value.id) if isinstance(value, ast.Name) else value


def sign(unit: Unit, operator: str, operand: ast.expr) -> ast.expr:
    """`-x`, `+x`"""
    if isinstance(operand, ast.Constant) and type(operand.value) in (int, float):
        return emit.const(-operand.value if operator == "-" else operand.value)  # type: ignore[operator]
    return emit.call(unit.site("operator", "unary " + operator), operand)


def _both(unit: Unit, kind: str, left: ast.expr, right: ast.expr, fast, slow: ast.expr) -> ast.expr:  # type: ignore[no-untyped-def]
    """`fast` if both operands have exactly the type `kind`, else a call; each operand is evaluated once, in order."""
    test_left, use_left = _operand(unit, left, kind)
    test_right, use_right = _operand(unit, right, kind)
    if test_left is False or test_right is False:
        return emit.call(slow, left, right)
    if test_left is True and test_right is True:
        return emit.call(slow, left, right)
    if test_left is True:
        test = emit.is_(test_right, emit.name(kind))
    elif test_right is True:
        test = emit.is_(test_left, emit.name(kind))
    elif isinstance(left, ast.Name) and isinstance(right, ast.Name):
        test = ast.BoolOp(ast.And(), [emit.is_(test_left, emit.name(kind)), emit.is_(test_right, emit.name(kind))])
    else:  # `type(a) is type(b)` first: both operands are evaluated whatever they are
        same = emit.is_(test_left, test_right)
        test = ast.BoolOp(ast.And(), [same, emit.is_(emit.type_of(use_right()), emit.name(kind))])
    return emit.if_else(test, fast(use_left(), use_right()), emit.call(slow, use_left(), use_right()))


def _operand(unit: Unit, value: ast.expr, kind: str):  # type: ignore[no-untyped-def]
    """(expression of the operand's type or whether a constant is of that type, maker of further uses)"""
    if isinstance(value, ast.Constant):
        constant = value.value
        return type(constant).__name__ == kind, lambda: emit.const(constant)
    if isinstance(value, ast.Name):
        identifier = value.id
        return emit.type_of(emit.name(identifier)), lambda: emit.name(identifier)
    temporary = unit.temporary()
    return emit.type_of(emit.bind(temporary, value)), lambda: emit.name(temporary)


def _equality(unit: Unit, operator: str, left: ast.expr, right: ast.expr, slow: ast.expr) -> ast.expr:
    comparison = _EQUALITY[operator]
    for constant, other in ((right, left), (left, right)):
        if isinstance(constant, ast.Constant):
            if constant.value is None:
                return emit.compare(other, ast.Is() if operator == "=" else ast.IsNot(), emit.const(None))
            if type(constant.value) in (str, int, bool, float):
                return emit.compare(left, comparison, right)
    test, use_left = _operand(unit, left, "")
    if test is False:
        return emit.call(slow, left, right)
    atomic = emit.compare(test, ast.In(), emit.name("_A"))
    # the right side must be evaluated after the left one and only once, so it stands in both branches' only arm taken
    if isinstance(right, ast.Name):
        return emit.if_else(
            atomic, emit.compare(use_left(), comparison, emit.name(right.id)), emit.call(slow, use_left(), right)
        )
    return emit.call(slow, left, right)
