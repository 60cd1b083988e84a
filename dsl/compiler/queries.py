"""`where(...)` and `select(...)` written out as Python's own comprehensions (spec/muranopl.md §17.3).

A call of a lambda for each item costs more than what most lambdas do. Where the items come from a list or another query
of the function library, and the lambdas hold no further lambdas, the code goes round inside one comprehension; any
other receiver (an object, a value that an extension method takes) gets the ordinary call, which stands beside it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yaql.language import expressions as tree

from dsl.compiler import emit
from dsl.compiler.scopes import Scope
from dsl.compiler.trees import is_settled, unwrapped

if TYPE_CHECKING:
    from dsl.compiler.expressions import ExpressionCompiler, Signatures

_FILTERS = frozenset({"where", "filter"})
_MAPPINGS = frozenset({"select", "map"})
_LARGEST = 60  # nodes of a lambda's tree: it is compiled twice
_SEARCHES = frozenset({"=~", "!~"})  # operators that may take as long as a call


@dataclass(frozen=True)
class Query:
    """`collection.where(predicate).where(predicate).select(selector)`"""

    collection: tree.Expression
    steps: tuple[tuple[str, tree.Expression], ...]  # function, its lambda; only the last may be a mapping
    calls: bool  # a lambda calls something, so each evaluation is counted by itself


def found(node: tree.Expression, signatures: Signatures) -> Query | None:
    """The query that a tree is, the longest that one comprehension can do; None if it is something else."""
    steps: list[tuple[str, tree.Expression]] = []
    calls = False
    node = unwrapped(node)
    while isinstance(node, tree.BinaryOperator) and node.operator == ".":
        left, right = node.args
        if not isinstance(right, tree.Function) or len(right.args) != 1 or not right.uses_receiver:
            break
        if right.name not in _FILTERS and (right.name not in _MAPPINGS or steps):
            break
        body, lazy = right.args[0], signatures.method(right.name)
        if not isinstance(body, tree.Expression) or lazy is None or not lazy(1):
            break
        weight = _weight(body, signatures)
        if weight is None:
            break
        calls = calls or weight
        steps.insert(0, (right.name, body))
        node = unwrapped(left)
    return Query(node, tuple(steps), calls) if steps else None


def _weight(body: tree.Expression, signatures: Signatures) -> bool | None:
    """Whether a lambda's body calls something; None if it can not stand inside a comprehension."""
    calls = False
    pending: list[object] = [body]
    seen = 0
    while pending:
        node = pending.pop()
        seen += 1
        if seen > _LARGEST:
            return None
        if isinstance(node, tree.GetContextValue):
            continue
        if isinstance(node, tree.Wrap):
            pending.append(node.expr)
        elif isinstance(node, tree.MappingRuleExpression):
            pending.extend((node.source, node.destination))
        elif isinstance(node, (tree.BinaryOperator, tree.UnaryOperator)):
            if node.operator == "->":
                return None
            calls = calls or node.operator in _SEARCHES
            pending.extend(node.args)
        elif isinstance(node, tree.Function):
            if node.name not in ("#list", "#map", "#indexer"):
                calls = True
            if _takes_lambdas(node, signatures):
                return None
            pending.extend(node.args)
    return calls


def _takes_lambdas(node: tree.Function, signatures: Signatures) -> bool:
    if node.name in ("#list", "#map"):
        return False
    if node.name == "#indexer":
        lazy = signatures.operator("#indexer")
    elif node.uses_receiver:
        lazy = signatures.method(node.name)
    else:
        lazy = signatures.function(node.name)
    if lazy is None:
        return node.name in ("inject", "def", "let", "with")
    named = [each.source.value for each in node.args if _is_named(each)]
    return any(lazy(each) for each in [*range(len(node.args) + 1), *named])


def _is_named(node: object) -> bool:
    return isinstance(node, tree.MappingRuleExpression) and isinstance(node.source, tree.KeywordConstant)


def as_list(compiler: ExpressionCompiler, query: Query, scope: Scope) -> ast.expr:
    """The query's result as a frozen list."""

    def listed(item: ast.expr, generator: ast.comprehension, settled: bool) -> ast.expr:
        if not settled:
            temporary = compiler.unit.temporary()
            simple = emit.compare(emit.type_of(emit.bind(temporary, item)), ast.In(), emit.name("_A"))
            item = emit.if_else(simple, emit.name(temporary), emit.call("_frozen", emit.name(temporary)))
        return emit.call("_listed", ast.ListComp(item, [generator]))

    return _either(compiler, query, scope, listed, lambda value: emit.call("_freeze", value))


def as_iterator(compiler: ExpressionCompiler, query: Query, scope: Scope) -> ast.expr:
    """The query's result as what it is in the middle of an expression, lazy."""

    def lazy(item: ast.expr, generator: ast.comprehension, settled: bool) -> ast.expr:
        return emit.call("_islice", ast.GeneratorExp(item, [generator]), emit.const(None))

    return _either(compiler, query, scope, lazy, lambda value: value)


def _either(
    compiler: ExpressionCompiler,
    query: Query,
    scope: Scope,
    fast: Callable[[ast.expr, ast.comprehension, bool], ast.expr],
    slow: Callable[[ast.expr], ast.expr],
) -> ast.expr:
    """The comprehension if the collection allows it, else the calls."""
    receiver, items = compiler.unit.temporary(), compiler.unit.temporary()
    weight = 0 if query.calls else len(query.steps)
    source = compiler.unit.site("query", weight, *(name for name, _ in query.steps))
    collection = emit.bind(receiver, compiler.expression(query.collection, scope))
    suited = emit.compare(emit.bind(items, emit.call(source, collection)), ast.IsNot(), emit.const(None))
    called: ast.expr = emit.name(receiver)
    for name, body in query.steps:
        called = emit.call(emit.item(emit.name("_L"), emit.const(name)), called, compiler.closure(body, scope))
    return emit.if_else(suited, fast(*_comprehension(compiler, query, scope, items)), slow(called))


def _comprehension(
    compiler: ExpressionCompiler, query: Query, scope: Scope, items: str
) -> tuple[ast.expr, ast.comprehension, bool]:
    """(item, generator, whether the item is frozen certainly)"""
    each = compiler.unit.fresh("d")
    inner = scope.inside_lambda(each, None)
    conditions: list[ast.expr] = []
    item, settled = emit.name(each), False
    for name, body in query.steps:
        value = compiler.expression(body, inner)
        if name in _MAPPINGS:
            item, settled = value, is_settled(body, inner)
            if query.calls:  # as in a lambda: each evaluation counts
                item = emit.if_else(emit.call("_tick"), item, emit.const(None))
            continue
        if query.calls:
            conditions.append(emit.call("_tick"))
        conditions.append(value)
    generator = ast.comprehension(emit.store(each), emit.name(items), conditions, 0)
    return item, generator, settled
