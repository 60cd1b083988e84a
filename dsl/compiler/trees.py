"""Questions about the yaql library's expression trees that several parts of the compiler ask."""

from __future__ import annotations

from yaql.language import expressions as tree

from dsl.compiler.scopes import Scope


def unwrapped(node: tree.Expression) -> tree.Expression:
    """The node without the parentheses around it."""
    while isinstance(node, tree.Wrap):
        node = node.expr
    return node


def is_this(node: tree.Expression, scope: Scope) -> bool:
    """Whether a node can only mean the receiver of the running method."""
    node = unwrapped(node)
    if not isinstance(node, tree.GetContextValue):
        return False
    return node.path.value == "$this" or (node.path.value == "$" and scope.dollar == scope.this)


def variables_of(node: object) -> list[str]:
    """Names of the variables an expression reads."""
    found: dict[str, None] = {}
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, tree.GetContextValue):
            label = each.path.value[1:]
            if label and label != "this" and not label.isdecimal():
                found[label] = None
        elif isinstance(each, tree.Function):
            pending.extend(each.args)
        elif isinstance(each, tree.Wrap):
            pending.append(each.expr)
        elif isinstance(each, tree.MappingRuleExpression):
            pending.extend((each.source, each.destination))
    return list(found)


def keywords_given(function: str, node: object) -> set[str]:
    """The names of keyword arguments with which an expression calls a function."""
    found: set[str] = set()
    if isinstance(node, tree.Function):
        rules = [each for each in node.args if isinstance(each, tree.MappingRuleExpression)]
        if node.name == function:
            found.update(str(rule.source.value) for rule in rules if isinstance(rule.source, tree.KeywordConstant))
        parts = [*node.args, *(rule.source for rule in rules), *(rule.destination for rule in rules)]
        found.update(*(keywords_given(function, part) for part in parts))
    elif isinstance(node, tree.Wrap):
        found |= keywords_given(function, node.expr)
    return found


def is_settled(node: tree.Expression, scope: Scope) -> bool:
    """Whether the value of an expression is certainly frozen already."""
    node = unwrapped(node)
    if isinstance(node, tree.Constant):
        return True
    if isinstance(node, tree.GetContextValue):
        return scope.is_settled(node.path.value)
    if isinstance(node, tree.UnaryOperator):
        return True
    if isinstance(node, tree.BinaryOperator):
        if node.operator in ("and", "or"):
            return all(is_settled(each, scope) for each in node.args)
        if node.operator in (".", "?."):
            own = scope.this_is_object and is_this(node.args[0], scope)
            return own and isinstance(node.args[1], tree.KeywordConstant)
        if node.operator == "+" and any(isinstance(each, tree.Constant) for each in node.args):
            return True
        if node.operator in ("+", "*"):
            return all(is_settled(each, scope) for each in node.args)
        return node.operator != "->"
    return isinstance(node, tree.Function) and node.name in ("#list", "#map")
