"""Left sides of assignments (spec/muranopl.md §12).

A variable alone is a Python assignment, a property of the receiver one call of its setter. Everything longer is a path
that the runtime walks, copying what it changes.
"""

from __future__ import annotations

import ast

from yaql.language import expressions as tree

from dsl.compiler import emit
from dsl.compiler.expressions import ExpressionCompiler
from dsl.compiler.scopes import Scope, python_name
from dsl.compiler.trees import unwrapped
from dsl.syntax import Expression

Steps = list[tuple[str, ast.expr]]


def root_variable(target: tree.Expression) -> str | None:
    """The variable that an assignment to `target` may rebind; None if there is none."""
    root, _ = _path(unwrapped(target))
    if isinstance(root, tree.GetContextValue):
        label = root.path.value[1:]
        if label and label != "this":
            return str(label)
    return None


def plain_variable(target: tree.Expression) -> str | None:
    """The variable if the target is nothing but one."""
    root, nodes = _path(unwrapped(target))
    label = root_variable(target)
    return label if label is not None and not nodes and not label.isdecimal() and root is not None else None


def assignment(compiler: ExpressionCompiler, target: Expression, value: str, scope: Scope) -> list[ast.stmt]:
    """Store the local `value` in `target`. What can not be a target raises when it runs, as packages expect."""
    root, nodes = _path(unwrapped(target.tree))
    if isinstance(root, tree.GetContextValue):
        path = root.path.value
        if path in ("$", "$this"):
            return _property(compiler, nodes, value, scope, path)
        return _variable(compiler, path[1:], nodes, value, scope)
    if _is_type(root):
        if not nodes:
            return [emit_raise(compiler, "InvalidLhsTarget", f'Invalid assignment target "{target.text}"')]
        return [_walk(compiler, _type(compiler, root, scope), nodes, value, scope)]
    if isinstance(root, tree.BinaryOperator) and root.operator in (".", "?."):
        if root.operator == "?.":
            return [emit_raise(compiler, "NoFunctionRegistered", 'Unknown function "#operator_?."')]
        message = f'No function "#operator_{root.operator}" matches supplied arguments'
        return [emit_raise(compiler, "NoMatchingFunction", message)]
    if isinstance(root, tree.Function):
        return [emit_raise(compiler, "NoFunctionRegistered", f'Unknown function "{root.name}"')]
    return [emit_raise(compiler, "InvalidLhsTarget", f'Invalid assignment target "{target.text}"')]


def emit_raise(compiler: ExpressionCompiler, error: str, message: str) -> ast.stmt:
    """`raise <error>(message)`"""
    return ast.Raise(emit.call(compiler.unit.site("error", error), emit.const(message)), None)


def _property(compiler: ExpressionCompiler, nodes: list[object], value: str, scope: Scope, path: str) -> list[ast.stmt]:
    this = emit.name(scope.this)
    if not nodes:
        return [emit_raise(compiler, "ValueError", f"Cannot assign to {path}")]
    if len(nodes) == 1 and isinstance(nodes[0], tree.KeywordConstant):
        if scope.this_is_object:
            setters = emit.item(compiler.unit.site("setters", nodes[0].value), emit.attribute(scope.this, "cls"))
            return [ast.Expr(emit.call(setters, this, emit.name(value)))]
        return [ast.Expr(emit.call(compiler.unit.site("set", nodes[0].value), this, emit.name(value)))]
    return [_walk(compiler, this, nodes, value, scope)]


def _variable(
    compiler: ExpressionCompiler, label: str, nodes: list[object], value: str, scope: Scope
) -> list[ast.stmt]:
    if label.isdecimal():
        return [emit_raise(compiler, "ValueError", f"Cannot assign to ${label}")]
    local = scope.variables.get(label, python_name(label))
    call = _call(compiler, emit.name(local), nodes, value, scope)
    return [emit.assign(local, call)]


def _walk(compiler: ExpressionCompiler, root: ast.expr, nodes: list[object], value: str, scope: Scope) -> ast.stmt:
    return ast.Expr(_call(compiler, root, nodes, value, scope))


def _call(compiler: ExpressionCompiler, root: ast.expr, nodes: list[object], value: str, scope: Scope) -> ast.expr:
    steps: list[ast.expr] = []
    for node in nodes:
        if isinstance(node, tree.KeywordConstant):
            steps.append(emit.tuple_of((emit.const("."), emit.const(node.value))))
        else:
            assert isinstance(node, tree.Expression)
            steps.append(emit.tuple_of((emit.const("[]"), compiler.settled(node, scope))))
    return emit.call(compiler.unit.site("assign"), root, emit.tuple_of(steps), emit.name(value))


def _path(node: tree.Expression) -> tuple[tree.Expression, list[object]]:
    """(root, steps): a step is a KeywordConstant (a name) or any other expression (an index)."""
    steps: list[object] = []
    while True:
        if isinstance(node, tree.BinaryOperator) and node.operator == ".":
            left, right = node.args
            if not isinstance(right, tree.KeywordConstant):
                return node, []
            steps.insert(0, right)
            node = unwrapped(left)
        elif isinstance(node, tree.Function) and node.name == "#indexer" and len(node.args) == 2:
            index = node.args[1]
            steps.insert(0, tree.Wrap(index) if isinstance(index, tree.KeywordConstant) else index)
            node = unwrapped(node.args[0])
        else:
            return node, steps


def _type(compiler: ExpressionCompiler, root: tree.Expression, scope: Scope) -> ast.expr:
    """`:T`, `ns:T`, or `type(name)`, which takes no object here."""
    if isinstance(root, (tree.BinaryOperator, tree.UnaryOperator)):
        return compiler.expression(root, scope)
    assert isinstance(root, tree.Function)
    arguments = [compiler.expression(each, scope) for each in root.args]
    return emit.call(compiler.unit.site("function", "#type"), *arguments)


def _is_type(node: tree.Expression) -> bool:
    if isinstance(node, (tree.BinaryOperator, tree.UnaryOperator)):
        return bool(node.operator == ":")
    return isinstance(node, tree.Function) and node.name == "type"
