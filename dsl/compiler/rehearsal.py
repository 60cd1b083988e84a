"""What is wrong with a method's statements, found when its class is loaded although its code is made later.

Most methods are known to be right by their shape. The statements of all others are compiled by the same compiler as
ever, with nothing in place of the expressions: those can not be wrong any more once they are parsed. A method of a
shape that Python might refuse is made at once instead.
"""

from __future__ import annotations

import ast

from dsl.compiler import emit
from dsl.compiler.expressions import ExpressionCompiler
from dsl.compiler.scopes import Scope
from dsl.compiler.statements import Place, StatementCompiler
from dsl.compiler.unit import Unit
from dsl.packages import MethodDeclaration
from dsl.syntax import Expression, Location, Mapping

_DEEP = 4  # blocks inside each other, of Python's twenty; a Try with Catch and Finally takes four
_LOOPS = 10  # inside each other, where there is nothing but loops and conditions
_LONG = 1000  # characters of an expression; a tree deep enough for Python's parser to refuse has more


def rehearse(declaration: MethodDeclaration, unit: Unit, expressions: ExpressionCompiler) -> bool:
    """Whether the method can wait to be made until its first call. Raises SyntaxProblem for what is wrong with it."""
    if is_plainly_right(declaration.body):
        return True
    stage = _Stage(unit.type_name, unit.file)
    statements = _Statements(_Silent(stage, expressions.signatures))
    statements.block(declaration.body, Place(Scope("this", "this")), declaration.location)
    return not (stage.unusual or statements.deepest > _DEEP)


def is_plainly_right(body: object, loops: int = 0) -> bool:
    """Whether a block is nothing but calls, assignments, conditions and loops, all well formed. No says nothing."""
    if isinstance(body, list):
        return all(_is_plain_statement(each, loops) for each in body)
    return body is None or _is_plain_statement(body, loops)


def _is_plain_statement(statement: object, loops: int) -> bool:
    if isinstance(statement, Expression):
        return len(statement.text) <= _LONG
    if not isinstance(statement, Mapping):
        return False
    if len(statement) == 1:
        for key, value in statement.items():
            if isinstance(key, Expression):
                return len(key.text) <= _LONG and _is_plain_value(value)
            return key == "Return" and _is_plain_value(value)
    keyword = _PLAIN.get(frozenset(statement))
    if keyword == "If":
        blocks = (statement["Then"], statement.get("Else"))
        return _is_plain_value(statement["If"]) and all(is_plainly_right(each, loops) for each in blocks)
    if keyword is None or loops >= _LOOPS or not is_plainly_right(statement["Do"], loops + 1):
        return False
    if keyword == "For":
        return isinstance(statement["For"], str) and _is_plain_value(statement["In"])
    return isinstance(statement[keyword], Expression) and _is_plain_value(statement[keyword])


_PLAIN = {
    frozenset({"If", "Then"}): "If",
    frozenset({"If", "Then", "Else"}): "If",
    frozenset({"For", "In", "Do"}): "For",
    frozenset({"While", "Do"}): "While",
    frozenset({"Repeat", "Do"}): "Repeat",
}


def _is_plain_value(value: object) -> bool:
    """Whether no expression in a structure is of unusual length."""
    if isinstance(value, Expression):
        return len(value.text) <= _LONG
    if not value or not isinstance(value, (dict, list)):
        return True
    pending: list[object] = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, Expression):
            if len(each.text) > _LONG:
                return False
        elif isinstance(each, dict):
            pending.extend(each.keys())
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
    return True


class _Stage(Unit):
    """Takes everything and keeps nothing."""

    unusual = False

    def place(self, location: Location, instruction: str, *nodes: ast.AST) -> None:
        return None


class _Silent(ExpressionCompiler):
    unit: _Stage

    def structure(self, value: object, scope: Scope) -> ast.expr:
        if not _is_plain_value(value):
            self.unit.unusual = True
        return emit.NONE

    def settled(self, node: object, scope: Scope) -> ast.expr:
        return emit.NONE

    def expression(self, node: object, scope: Scope) -> ast.expr:
        return emit.NONE


class _Statements(StatementCompiler):
    def __init__(self, expressions: _Silent) -> None:
        super().__init__(expressions)
        self.stage = expressions.unit
        self.deepest = 0
        self._depth = 0

    def _branch_function(self, identifier: str, statement: object, place: Place, where: Location) -> ast.stmt:
        if place.in_branch:  # functions inside functions that share variables: Python has to check them
            self.stage.unusual = True
        return super()._branch_function(identifier, statement, place, where)

    def block(self, body: object, place: Place, location: Location) -> list[ast.stmt]:
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        try:
            return super().block(body, place, location)
        finally:
            self._depth -= 1
