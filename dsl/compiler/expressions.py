"""Expressions: from the yaql library's tree to a Python expression tree.

Variables become locals, operators inline type tests with a call as the slow path, method calls a lookup in the table of
the receiver's class. Arguments that a function wants unevaluated become closures that can also be called without an
argument, then `$` keeps the meaning it has outside.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Protocol

from yaql.language import expressions as tree
from yaql.language import utils as yaql_utils

from dsl.compiler import emit, operators, queries
from dsl.compiler.scopes import Scope, python_name
from dsl.compiler.trees import is_settled, is_this, keywords_given, unwrapped, variables_of
from dsl.compiler.unit import Unit, is_constant
from dsl.syntax import Expression, Mapping, Sequence

Lazy = Callable[[int | str], bool]


class Signatures(Protocol):
    """Which arguments of the visible functions stay unevaluated. None: there is no such function."""

    def function(self, name: str) -> Lazy | None: ...

    def method(self, name: str) -> Lazy | None: ...

    def operator(self, name: str) -> Lazy | None: ...

    def has_function(self, name: str) -> bool: ...


class ExpressionCompiler:
    """Compiles expressions and structures of one class."""

    def __init__(self, unit: Unit, signatures: Signatures) -> None:
        self.unit = unit
        self.signatures = signatures

    def structure(self, value: object, scope: Scope) -> ast.expr:
        """A scalar, expression, or mapping or list with expressions inside, as a frozen value."""
        if isinstance(value, Expression):
            result = self.settled(value.tree, scope)
            if value.location is not None:
                self.unit.place(value.location, value.text, result)
            return result
        if is_constant(value):
            return self.unit.constant(value)
        if isinstance(value, Mapping):
            pairs = [(self.structure(key, scope), self.structure(item, scope)) for key, item in value.items()]
            return emit.call("_nested", emit.call("_FrozenDict", emit.dict_of(pairs)))
        assert isinstance(value, Sequence)
        return emit.call("_nested", emit.tuple_of(self.structure(item, scope) for item in value))

    def settled(self, node: tree.Expression, scope: Scope) -> ast.expr:
        """The value of an expression at its end: iterators materialised, collections frozen."""
        query = queries.found(node, self.signatures)
        if query is not None:
            return queries.as_list(self, query, scope)
        value = self.expression(node, scope)
        if is_settled(node, scope):
            return value
        temporary = self.unit.temporary()
        atomic = emit.compare(emit.type_of(emit.bind(temporary, value)), ast.In(), emit.name("_A"))
        return emit.if_else(atomic, emit.name(temporary), emit.call("_freeze", emit.name(temporary)))

    def expression(self, node: tree.Expression, scope: Scope) -> ast.expr:
        """The value of a (sub)expression, possibly lazy."""
        if isinstance(node, tree.Wrap):
            return self.expression(node.expr, scope)
        if isinstance(node, tree.Constant):
            return emit.const(node.value)
        if isinstance(node, tree.GetContextValue):
            return scope.value(node.path.value)
        if isinstance(node, tree.MappingRuleExpression):
            return self.failure("=>")
        if isinstance(node, (tree.BinaryOperator, tree.UnaryOperator)):
            return self._operator(node, scope)
        assert isinstance(node, tree.Function)
        if node.name == "#list":
            items = [self.settled(item, scope) for item in node.args]
            plain = all(isinstance(item, ast.Constant) for item in items)
            return emit.tuple_of(items) if plain else emit.call("_nested", emit.tuple_of(items))
        if node.name == "#map":
            return self._map(node, scope)
        if node.name == "#indexer":
            return self._index(node, scope)
        return self.function_call(node, scope)

    def closure(self, node: tree.Expression, scope: Scope, keywords: Iterable[str] = ()) -> ast.expr:
        """`lambda d=$, *rest: value`: an argument that the called function evaluates when and as often as it likes.

        `keywords` are variables that a call may set; otherwise they are what they are outside.
        """
        dollar, rest = self.unit.fresh("d"), self.unit.fresh("r")
        inner = scope.inside_lambda(dollar, rest).with_variables({each: _KEYWORD + each for each in keywords})
        parameters = emit.parameters_of([dollar], [emit.name(scope.dollar)], rest)
        parameters.kwonlyargs = [ast.arg(_KEYWORD + each) for each in keywords]
        parameters.kw_defaults = [scope.value(f"${each}") for each in keywords]
        # each evaluation counts: queries inside queries are loops too
        counted = emit.if_else(emit.call("_tick"), self.expression(node, inner), emit.const(None))
        return ast.Lambda(parameters, counted)

    def failure(self, function: str) -> ast.expr:
        """What an expression that parses but means nothing does when it runs, as packages know it (`10.0.0.1/24`)."""
        return emit.call(self.unit.site("mismatched", function))

    # Calls

    def function_call(self, node: tree.Function, scope: Scope) -> ast.expr:
        """`f(a, b => c)`"""
        if node.name in scope.functions:
            arguments, keywords = self._arguments(node.args, scope, None, 0)
            named = [ast.keyword(f"{_KEYWORD}{keyword.arg}", keyword.value) for keyword in keywords]
            return ast.Call(emit.name(scope.functions[node.name]), arguments, named)
        if not self.signatures.has_function(node.name):
            return emit.call(self.unit.site("function", node.name))  # fails before its arguments are evaluated
        lazy = self.signatures.function(node.name)
        if node.name == "inject" and len(node.args) == 3:
            lazy = _third
        arguments, keywords = self._arguments(node.args, scope, lazy, 0)
        target = self.unit.site("function", node.name)
        return ast.Call(target, arguments, keywords)

    def method_call(self, receiver: ast.expr, node: tree.Function, scope: Scope) -> ast.expr:
        """`receiver.m(a, b => c)`"""
        lazy = self.signatures.method(node.name)
        if lazy is None and any(_is_rule(each) for each in node.args):
            node = tree.Function(node.name)  # no method of a class takes `expression => x`: fails without evaluating it
        arguments, keywords = self._arguments(node.args, scope, lazy, 1, "_null")
        label = emit.const(node.name)
        if keywords:
            pairs = [(emit.const(keyword.arg), keyword.value) for keyword in keywords]
            return emit.call(emit.item(emit.name("_K"), label), receiver, emit.tuple_of(arguments), emit.dict_of(pairs))
        if any(isinstance(argument, ast.Lambda) for argument in arguments):
            return emit.call(emit.item(emit.name("_L"), label), receiver, *arguments)
        temporary = self.unit.temporary()
        is_object = emit.is_(emit.type_of(emit.bind(temporary, receiver)), emit.name("_Object"))
        own = emit.item(emit.name("_T"), emit.attribute(temporary, "cls"))
        table = emit.if_else(is_object, own, emit.name("_F"))
        return emit.call(emit.item(table, label), emit.name(temporary), *arguments)

    def _arguments(
        self, nodes: Iterable[object], scope: Scope, lazy: Lazy | None, first: int, null: str | None = None
    ) -> tuple[list[ast.expr], list[ast.keyword]]:
        positional: list[ast.expr] = []
        keywords: dict[str, ast.expr] = {}
        for node in nodes:
            if isinstance(node, tree.MappingRuleExpression):
                source = node.source
                if isinstance(source, tree.KeywordConstant):
                    delayed = lazy is not None and lazy(source.value)
                    keywords[source.value] = self._argument(node.destination, scope, delayed, null)
                else:
                    positional.append(self._rule(node, scope, lazy is not None and lazy(first + len(positional))))
            else:
                delayed = lazy is not None and lazy(first + len(positional))
                positional.append(self._argument(node, scope, delayed, null))
        return positional, [ast.keyword(key, value) for key, value in keywords.items()]

    def _argument(self, node: object, scope: Scope, delayed: bool, null: str | None) -> ast.expr:
        if node is yaql_utils.NO_VALUE:
            return emit.name("_M")
        assert isinstance(node, tree.Expression)
        if delayed:
            return self.closure(node, scope)
        if null is not None and type(node) is tree.Constant and node.value is None:
            return emit.name(null)
        return self.expression(node, scope)

    def _rule(self, node: tree.MappingRuleExpression, scope: Scope, delayed: bool) -> ast.expr:
        side = self.closure if delayed else self.expression
        return emit.call("_MappingRule", side(node.source, scope), side(node.destination, scope))

    # Operators

    def _operator(self, node: tree.BinaryOperator | tree.UnaryOperator, scope: Scope) -> ast.expr:
        if isinstance(node, tree.UnaryOperator):
            if node.operator == ":":
                return self._type(":", node.args[0])
            operand = self.expression(node.args[0], scope)
            if node.operator == "not":
                return ast.UnaryOp(ast.Not(), operand)
            return operators.sign(self.unit, node.operator, operand)
        left, right = node.args
        query = queries.found(node, self.signatures) if node.operator == "." else None
        if query is not None:
            return queries.as_iterator(self, query, scope)
        if node.operator in (".", "?."):
            return self._member(left, right, scope, node.operator == "?.")
        if node.operator == ":":
            return self._type(":", right, left)
        if node.operator == "->":
            return self._in_context(left, right, scope)
        if node.operator in ("and", "or"):
            operator = ast.And() if node.operator == "and" else ast.Or()
            return ast.BoolOp(operator, [self.expression(left, scope), self.expression(right, scope)])
        if node.operator == "is":
            return emit.call(
                self.unit.site("function", "is"), self.expression(left, scope), self.expression(right, scope)
            )
        return operators.binary(self.unit, node, self.expression(left, scope), self.expression(right, scope))

    def _member(self, left: tree.Expression, right: object, scope: Scope, safe: bool) -> ast.expr:
        receiver = self.expression(left, scope)
        if safe:
            temporary = self.unit.temporary()
            member = self.member(emit.name(temporary), right, scope)
            return emit.if_else(emit.is_(emit.bind(temporary, receiver), emit.const(None)), emit.const(None), member)
        if scope.this_is_object and isinstance(right, tree.KeywordConstant) and is_this(left, scope):
            return emit.item(emit.attribute(scope.this, "values"), self.unit.site("key", right.value))
        return self.member(receiver, right, scope)

    def member(self, receiver: ast.expr, right: object, scope: Scope) -> ast.expr:
        """`receiver.name` or `receiver.method(...)`"""
        if isinstance(right, tree.KeywordConstant):
            return emit.call(self.unit.site("get", right.value), receiver)
        if isinstance(right, tree.Function) and right.uses_receiver:
            return self.method_call(receiver, right, scope)
        return self.failure("#operator_.")

    def _type(self, colon: str, right: object, left: object = None) -> ast.expr:
        if not isinstance(right, tree.KeywordConstant) or not (left is None or isinstance(left, tree.KeywordConstant)):
            return self.failure("#operator_:")
        prefix = left.value if isinstance(left, tree.KeywordConstant) else ""
        return emit.call(self.unit.site("type", f"{prefix}{colon}{right.value}"))

    def _index(self, node: tree.Function, scope: Scope) -> ast.expr:
        lazy = self.signatures.operator("#indexer")
        arguments, keywords = self._arguments(node.args[1:], scope, lazy, 1)
        receiver = self.expression(node.args[0], scope)
        return ast.Call(self.unit.site("operator", "#indexer"), [receiver, *arguments], keywords)

    def _map(self, node: tree.Function, scope: Scope) -> ast.expr:
        pairs: list[tuple[ast.expr, ast.expr]] = []
        for rule in node.args:
            if not isinstance(rule, tree.MappingRuleExpression):
                return self.failure("#map")
            pairs.append((self.settled(rule.source, scope), self.settled(rule.destination, scope)))
        return emit.call("_nested", emit.call("_FrozenDict", emit.dict_of(pairs)))

    # `let(x => 1) -> $x`

    def _in_context(self, left: tree.Expression, right: tree.Expression, scope: Scope) -> ast.expr:
        left = unwrapped(left)
        receiver: tree.Expression | None = None
        if isinstance(left, tree.BinaryOperator) and left.operator == ".":
            receiver, member = left.args
            left = member
        if not isinstance(left, tree.Function):
            return self.failure("#operator_->")
        if left.name in ("let", "with") and receiver is None:
            return self._let(left, right, scope)
        if left.name == "def" and receiver is None:
            return self._def(left, right, scope)
        if left.name == "unpack" and receiver is not None:
            return self._unpack(receiver, left, right, scope)
        if left.name == "as" and receiver is not None:
            return self._as(receiver, left, right, scope)
        if left.name == "withOriginal" and receiver is None:
            return self._with_original(left, right, scope)
        return self.failure("#operator_->")

    def _let(self, left: tree.Function, right: tree.Expression, scope: Scope) -> ast.expr:
        positional, keywords = self._arguments(left.args, scope, None, 0)
        numbered = tuple(self.unit.fresh("n") for _ in positional)
        named = {keyword.arg or "": self.unit.fresh("n") for keyword in keywords}
        inner = scope.with_numbered(numbered) if numbered else scope
        body = self.expression(right, inner.with_variables(named))
        values = [*positional, *(keyword.value for keyword in keywords)]
        return emit.call(emit.function_of([*numbered, *named.values()], body), *values)

    def _def(self, left: tree.Function, right: tree.Expression, scope: Scope) -> ast.expr:
        if len(left.args) != 2 or not isinstance(left.args[0], tree.Constant):
            return self.failure("def")
        label, function = str(left.args[0].value), left.args[1]
        identifier = self.unit.fresh("f")
        inner = scope.with_function(label, identifier)
        named = sorted(keywords_given(label, function) | keywords_given(label, right))
        calls_itself = emit.call("_recursive", emit.function_of([identifier], self.closure(function, inner, named)))
        return emit.call(emit.function_of([identifier], self.expression(right, inner)), calls_itself)

    def _unpack(self, receiver: tree.Expression, left: tree.Function, right: tree.Expression, scope: Scope) -> ast.expr:
        if not all(isinstance(each, tree.Constant) for each in left.args):
            return self.failure("unpack")
        values = emit.call("_unpack", self.expression(receiver, scope), emit.const(len(left.args)))
        if left.args:
            names = [self.unit.fresh("n") for _ in left.args]
            variables = {str(each.value): name for each, name in zip(left.args, names, strict=True)}
            body = self.expression(right, scope.with_variables(variables))
            return ast.Call(emit.function_of(names, body), [ast.Starred(values, ast.Load())], [])
        dollar, rest = self.unit.fresh("d"), self.unit.fresh("r")
        body = self.expression(right, scope.inside_lambda(dollar, rest))
        function = ast.Lambda(emit.parameters_of([dollar], [emit.name(scope.dollar)], rest), body)
        return ast.Call(function, [ast.Starred(values, ast.Load())], [])

    def _as(self, receiver: tree.Expression, left: tree.Function, right: tree.Expression, scope: Scope) -> ast.expr:
        value = self.unit.fresh("d")
        inner = scope.inside_lambda(value, self.unit.fresh("r"))
        named: dict[str, str] = {}
        values: list[ast.expr] = []
        for rule in left.args:
            if not isinstance(rule, tree.MappingRuleExpression) or not isinstance(rule.destination, tree.Constant):
                return self.failure("as")
            named[str(rule.destination.value)] = self.unit.fresh("n")
            source = emit.function_of([value, inner.rest or "r"], self.expression(rule.source, inner))
            values.append(emit.call(source, self.expression(receiver, scope), emit.tuple_of(())))
        body = self.expression(right, scope.with_variables(named))
        return emit.call(emit.function_of(list(named.values()), body), *values)

    def _with_original(self, left: tree.Function, right: tree.Expression, scope: Scope) -> ast.expr:
        """Each value is taken in the scope of whoever calls the mocked method: its locals come from its frame."""
        named: dict[str, str] = {}
        values: list[ast.expr] = []
        for rule in left.args:
            if not isinstance(rule, tree.MappingRuleExpression) or not isinstance(rule.source, tree.KeywordConstant):
                return self.failure("withOriginal")
            named[rule.source.value] = self.unit.fresh("n")
            caller = self.unit.fresh("d")
            variables = {name: self.unit.fresh("n") for name in variables_of(rule.destination)}
            inner = Scope(caller, caller, variables)
            function = emit.function_of([caller, *variables.values()], self.expression(rule.destination, inner))
            names = emit.tuple_of(emit.const(python_name(each)) for each in variables)
            values.append(emit.call(self.unit.site("function", "withOriginal"), function, names))
        body = self.expression(right, scope.with_variables(named))
        return emit.call(emit.function_of(list(named.values()), body), *values)


def _is_rule(node: object) -> bool:
    return isinstance(node, tree.MappingRuleExpression) and not isinstance(node.source, tree.KeywordConstant)


_KEYWORD = "k_"  # before the names of keyword arguments of functions that `def` makes


def _third(position: int | str) -> bool:
    return position == 2
