"""What is wrong with a method's statements, found when its class is loaded although its code is made later.

The statements are compiled by the same compiler as ever, with nothing in place of the expressions: those can not be
wrong any more once they are parsed. A method of a shape that Python might refuse is made at once instead.
"""

from __future__ import annotations

import ast

from dsl.compiler import emit
from dsl.compiler.expressions import ExpressionCompiler
from dsl.compiler.scopes import Scope
from dsl.compiler.statements import Place, StatementCompiler
from dsl.compiler.unit import Unit
from dsl.packages import MethodDeclaration
from dsl.syntax import Expression, Location

_DEEP = 4  # blocks inside each other, of Python's twenty; a Try with Catch and Finally takes four
_LONG = 1000  # characters of an expression; a tree deep enough for Python's parser to refuse has more


def rehearse(declaration: MethodDeclaration, unit: Unit, expressions: ExpressionCompiler) -> bool:
    """Whether the method can wait to be made until its first call. Raises SyntaxProblem for what is wrong with it."""
    if declaration.body is None:
        return True
    stage = _Stage(unit.type_name, unit.file)
    statements = _Statements(_Silent(stage, expressions.signatures))
    statements.block(declaration.body, Place(Scope("this", "this")), declaration.location)
    return not (stage.unusual or statements.deepest > _DEEP)


class _Stage(Unit):
    """Takes everything and keeps nothing."""

    unusual = False

    def fresh(self, prefix: str) -> str:
        if prefix == "branch":  # the functions of Parallel share variables with the method: Python checks those
            self.unusual = True
        return super().fresh(prefix)

    def place(self, location: Location, instruction: str, *nodes: ast.AST) -> None:
        return None


class _Silent(ExpressionCompiler):
    unit: _Stage

    def structure(self, value: object, scope: Scope) -> ast.expr:
        if isinstance(value, Expression):
            if len(value.text) > _LONG:
                self.unit.unusual = True
        elif isinstance(value, (dict, list)) and value:
            pending: list[object] = [value]
            while pending:
                each = pending.pop()
                if isinstance(each, dict):
                    pending.extend(each.keys())
                    pending.extend(each.values())
                elif isinstance(each, list):
                    pending.extend(each)
                elif isinstance(each, Expression) and len(each.text) > _LONG:
                    self.unit.unusual = True
        return emit.NONE

    def settled(self, node: object, scope: Scope) -> ast.expr:
        return emit.NONE

    def expression(self, node: object, scope: Scope) -> ast.expr:
        return emit.NONE


class _Statements(StatementCompiler):
    def __init__(self, expressions: ExpressionCompiler) -> None:
        super().__init__(expressions)
        self.deepest = 0
        self._depth = 0

    def block(self, body: object, place: Place, location: Location) -> list[ast.stmt]:
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        try:
            return super().block(body, place, location)
        finally:
            self._depth -= 1
