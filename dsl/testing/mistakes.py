"""Names inside a class that are probably misspelt, and texts that were probably meant as expressions.

Only what is spelled like a name that is there is reported: MuranoPL lets objects get properties at any time.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

from yaql.language import expressions as tree

from dsl import syntax
from dsl.errors import Problem, SyntaxProblem, Thrown
from dsl.packages import ClassDeclaration, MethodDeclaration, Package, spelling
from dsl.packages.structures import expressions_of
from dsl.runtime.natives import methods_of
from dsl.syntax import Expression, Sequence
from dsl.syntax import Mapping as Block

_NOT_QUITE = re.compile(r"\$(?!\d)[\w.]*\w[^\S\n]*[-+*/=<>(.\[][^\n]*")  # begins as an expression does

_QUOTES = ("'", '"', "|", ">")


@dataclass(frozen=True)
class Surroundings:
    """What is known of the classes at hand."""

    classes: Mapping[str, ClassDeclaration]
    arguments: Mapping[str, frozenset[str] | None]  # of all methods of a name; None if one takes any

    @classmethod
    def of(cls, packages: Iterable[Package], natives: Mapping[str, type], language: Iterable[str]) -> Surroundings:
        classes: dict[str, ClassDeclaration] = {}
        for package in packages:
            for name in package.class_names:
                try:
                    classes.setdefault(name, package.declaration(name))
                except (SyntaxProblem, KeyError):
                    continue  # said elsewhere
            for name, (_, found) in package.unlisted().items():
                if isinstance(found, ClassDeclaration):
                    classes.setdefault(name, found)
        arguments: dict[str, frozenset[str] | None] = dict.fromkeys(language)
        for declaration in classes.values():
            for method in declaration.methods.values():
                known = {each.name for each in method.arguments}
                takes_any = any(each.usage == "KwArgs" for each in method.arguments)
                _add(arguments, method.name, None if takes_any else known)
        for native in natives.values():
            for name, host in methods_of(native).items():
                kinds = {each.kind for each in host.signature.parameters.values()}
                takes_any = host.options.raw or inspect.Parameter.VAR_KEYWORD in kinds
                _add(arguments, name, None if takes_any else set(host.parameters))
        return cls(classes, arguments)

    def check(self, declaration: ClassDeclaration, lines: list[str]) -> Iterator[Problem]:
        """Problems of a class; `lines` are those of its file."""
        properties = self._properties(declaration)
        for method in declaration.methods.values():
            for expression in expressions_of(method.body):
                yield from self._check_arguments(expression)
                yield from self._check_new(expression, declaration)
                if properties is not None and method.usage in ("Runtime", "Action"):
                    yield from _check_properties(expression, properties)
            yield from _check_texts(method, lines)

    def _properties(self, declaration: ClassDeclaration) -> frozenset[str] | None:
        """Properties that objects of the class can have, declared or set; None if a parent is not at hand."""
        found: set[str] = set()
        pending, seen = [declaration.name], set()
        while pending:
            name = pending.pop()
            each = declaration if name == declaration.name else self.classes.get(name)
            if each is None:
                if name != "io.murano.Object":
                    return None
                continue
            if name not in seen:
                seen.add(name)
                pending.extend(each.extends)
                found.update(each.properties)
                found.update(name for method in each.methods.values() for name in _set_in(method.body))
        return frozenset(found)

    def _check_arguments(self, expression: Expression) -> Iterator[Problem]:
        for node in _nodes(expression.tree):
            if not (isinstance(node, tree.BinaryOperator) and node.operator in (".", "?.")):
                continue
            call = node.args[1]
            known = self.arguments.get(call.name) if isinstance(call, tree.Function) else None
            for argument in call.args if known is not None else ():
                if isinstance(argument, tree.MappingRuleExpression) and _is_word(argument.source):
                    name = str(argument.source.value)
                    meant = spelling.close_to(name, sorted(known or ())) if name not in (known or ()) else None
                    if meant is not None:
                        yield _problem(expression, name, f"the method {call.name} has no argument {name}", meant)

    def _check_new(self, expression: Expression, declaration: ClassDeclaration) -> Iterator[Problem]:
        """What `new` is given for a property that the class has not goes to `.init`, or nowhere."""
        for node in _nodes(expression.tree):
            if not (isinstance(node, tree.Function) and node.name == "new" and node.args):
                continue
            try:
                made = self.classes.get(declaration.namespaces.resolve(_class_text(node.args[0]) or ""))
            except Thrown:
                continue  # said elsewhere
            known = self._properties(made) if made is not None else None
            if made is None or known is None:
                continue
            for argument in node.args[1:]:
                if isinstance(argument, tree.MappingRuleExpression) and _is_word(argument.source):
                    name = str(argument.source.value)
                    taken = known | (self.arguments.get(".init") or set())
                    meant = spelling.close_to(name, sorted(known)) if name not in taken else None
                    if meant is not None:
                        found = _problem(expression, name, f"the class {made.name} has no property {name}", meant)
                        yield replace(found, level="warning")


def _class_text(node: object) -> str | None:
    """`Foo`, `ns:Foo` or `:Foo` as it is written."""
    if _is_word(node):
        return str(node.value)
    if isinstance(node, tree.UnaryOperator) and node.operator == ":" and _is_word(node.args[0]):
        return f":{node.args[0].value}"
    if isinstance(node, tree.BinaryOperator) and node.operator == ":" and all(map(_is_word, node.args)):
        return f"{node.args[0].value}:{node.args[1].value}"
    return None


def _add(arguments: dict[str, frozenset[str] | None], name: str, more: set[str] | None) -> None:
    known = arguments.get(name, frozenset())
    arguments[name] = None if known is None or more is None else known | more


def _set_in(body: object) -> Iterator[str]:
    """Properties of `$` that statements of a body set."""
    pending = [body]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            for key in each:
                if isinstance(key, Expression):
                    yield from (name for name, _ in _members_of_this(key.tree))
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)


def _check_properties(expression: Expression, known: frozenset[str]) -> Iterator[Problem]:
    for name, _ in _members_of_this(expression.tree):
        meant = spelling.close_to(name, sorted(known)) if name not in known else None
        if meant is not None:
            yield _problem(expression, name, f"the class has no property {name}", meant)


def _members_of_this(root: object) -> Iterator[tuple[str, object]]:
    """`$this.name` anywhere, `$.name` outside the arguments of calls, in which `$` may be an item."""
    pending = [(root, False)]
    while pending:
        node, in_call = pending.pop()
        inner = in_call or (
            isinstance(node, tree.Function) and not isinstance(node, tree.BinaryOperator | tree.UnaryOperator)
        )
        pending.extend((child, inner) for child in syntax.children(node))
        if isinstance(node, tree.BinaryOperator) and node.operator == "." and _is_word(node.args[1]):
            receiver = node.args[0]
            if isinstance(receiver, tree.GetContextValue):
                path = receiver.path.value
                if path == "$this" or (path == "$" and not in_call):
                    yield str(node.args[1].value), node


def _check_texts(method: MethodDeclaration, lines: list[str]) -> Iterator[Problem]:
    """Values in statements that begin as expressions do, and are texts because they do not parse."""
    pending: list[object] = [method.body]
    seen: set[int] = set()
    while pending:
        block = pending.pop()
        if not isinstance(block, (Block, Sequence)) or id(block) in seen:
            continue
        seen.add(id(block))
        pending.extend(block.values() if isinstance(block, Block) else block)
        if not isinstance(block, Block):
            continue
        for key, text in block.items():
            if isinstance(text, str) and _NOT_QUITE.fullmatch(text):
                try:
                    syntax.parse(text)
                except syntax.ExpressionError as error:
                    place = block.value_location(key)
                    line = lines[place.line - 1] if place.line <= len(lines) else ""
                    if line[place.column - 1 : place.column] in _QUOTES:
                        continue  # it was meant as a text
                    message = f"{text[:80]!r} does not parse as an expression and is a text: {error}"
                    fix = "correct it, or put it in quotes if it is a text"
                    yield Problem(place.file, place.line, place.column, message, fix=fix, level="warning")


def _nodes(root: object) -> Iterator[object]:
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(syntax.children(node))


def _is_word(node: object) -> TypeGuard[tree.KeywordConstant]:
    return isinstance(node, tree.KeywordConstant)


def _problem(expression: Expression, name: str, message: str, meant: str) -> Problem:
    place = expression.location
    column = place.column
    match = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression.text)
    if match and place.line == place.end_line and place.end_column - column == len(expression.text):
        column += match.start()
    return Problem(place.file, place.line, column, message, found=expression.text[:80], fix=f"did you mean {meant}?")
