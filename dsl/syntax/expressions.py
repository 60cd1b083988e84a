"""Expressions: YAQL with MuranoPL's operators, parsed by the yaql library's own parser.

The grammar (spec/muranopl.md §3) differs from stock YAQL by `is`, by `:` (binary and prefix, tightest of all) and by
`=>`, which makes keyword arguments in every format. It is built once, at the first parse, and parsed trees are shared
between equal texts: nothing in a tree may be changed.
"""

from __future__ import annotations

import collections.abc  # noqa: F401  (yaql uses it without importing it)
import copy
import functools
from typing import Any

from yaql.language import exceptions as yaql_exceptions
from yaql.language import expressions as yaql_tree
from yaql.language import factory as yaql_factory

from dsl.errors import Problem, SyntaxProblem
from dsl.syntax import quick
from dsl.syntax.locations import Location, unpacked

_GRAMMAR = "yaql.language.exceptions.YaqlGrammarException"
_LEXICAL = "yaql.language.exceptions.YaqlLexicalException"
MAX_LENGTH = 20_000  # characters of one expression; the longest in public packages has under 700
MAX_NESTING = 200  # brackets and operators inside each other; deeper trees would exhaust Python's stack later


class Expression:
    """One expression of a package. Equal only to itself, so that two equal texts can be two keys of one mapping."""

    __slots__ = ("_file", "place", "text", "tree")

    def __init__(self, text: str, tree: yaql_tree.Expression, file: str, place: int) -> None:
        self.text = text
        self.tree = tree
        self._file = file
        self.place = place  # packed, as in dsl.syntax.locations

    @property
    def location(self) -> Location:
        """Where the expression stands."""
        return unpacked(self._file, self.place)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __str__(self) -> str:
        return self.text


class ExpressionError(ValueError):
    """A text that is not an expression; `position` is the offset of what is wrong, None if it is the whole."""

    def __init__(self, message: str, position: int | None, name: str = _GRAMMAR) -> None:
        super().__init__(message)
        self.position = position
        self.name = name


def parse(text: str) -> yaql_tree.Expression:
    """Parse one expression into the yaql library's tree. Raises ExpressionError, and nothing else, for any text."""
    tree = parse_if_any(text)
    if tree is not None:
        return tree
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"it has {len(text)} characters, the limit is {MAX_LENGTH}", None)
    return parse_by_library(text)


def parse_if_any(text: str) -> yaql_tree.Expression | None:
    """The tree of an expression, None for a text that is none."""
    if len(text) > MAX_LENGTH:
        return None
    try:
        return quick.parse(text)
    except quick.Unsure:
        pass
    try:
        return parse_by_library(text)
    except ExpressionError:
        return None


def parse_expression(text: str, file: str, place: int = 0, indent: int | None = None) -> Expression:
    """Parse a text standing at a packed place of a file. Raises SyntaxProblem.

    `indent` is the number of columns from that place to the text's first character, if the text stands there as it is.
    """
    try:
        return Expression(text, parse(text), file, place)
    except ExpressionError as error:
        location = unpacked(file, place)
        inside = 0 if indent is None or error.position is None else indent + error.position
        raise SyntaxProblem(
            Problem(
                location.file,
                location.line,
                location.column + inside,
                f"the expression {_shortened(text)} does not parse: {error}",
                fix="correct the expression, or quote it if it is meant as text",
            ),
            error.name,
        ) from error


def parse_by_library(text: str) -> yaql_tree.Expression:
    """Parse with the yaql library's parser, which defines what an expression is. Raises ExpressionError."""
    lexer, parser = _grammar()
    try:
        tree = parser.parse(text, lexer=copy.copy(lexer))
    except yaql_exceptions.YaqlLexicalException as error:
        raise ExpressionError(f"unexpected character {text[error.position]!r}", error.position, _LEXICAL)
    except yaql_exceptions.YaqlGrammarException as error:
        if error.position is None:
            raise ExpressionError("it ends too early", len(text))
        raise ExpressionError(f"unexpected {str(error.value)!r}", error.position)
    except (UnicodeDecodeError, ValueError) as error:  # \x, \u and \N escapes, integers beyond Python's digit limit
        raise ExpressionError(str(error), None)
    if tree is None:
        raise ExpressionError("it is empty", None)
    if _depth(tree) > MAX_NESTING:
        raise ExpressionError(f"it is nested more than {MAX_NESTING} levels deep", None)
    return tree


def _depth(tree: object) -> int:
    """Depth of a tree, counted with a work list: a hostile tree must not exhaust the stack here either."""
    deepest = 0
    pending: list[tuple[object, int]] = [(tree, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        pending.extend((child, level + 1) for child in children(node))
    return deepest


def children(node: object) -> tuple[object, ...]:
    """The direct subexpressions of a node of the yaql library's tree."""
    if isinstance(node, yaql_tree.Function):
        return node.args
    if isinstance(node, yaql_tree.Wrap):
        return (node.expr,)
    if isinstance(node, yaql_tree.MappingRuleExpression):
        return (node.source, node.destination)
    return ()


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


# Tightest first; a None separates precedence groups. The third item renames the function behind an operator.
_LEFT = yaql_factory.OperatorType.BINARY_LEFT_ASSOCIATIVE
_RIGHT = yaql_factory.OperatorType.BINARY_RIGHT_ASSOCIATIVE
_PREFIX = yaql_factory.OperatorType.PREFIX_UNARY
_OPERATORS: tuple[tuple[str, ...], ...] = (
    (":", _PREFIX), (":", _LEFT), (),
    (".", _LEFT), ("?.", _LEFT), (),
    ("[]", _LEFT), ("{}", _LEFT), (),
    ("+", _PREFIX), ("-", _PREFIX), (),
    ("=~", _LEFT), ("!~", _LEFT), (),
    ("*", _LEFT), ("/", _LEFT), ("mod", _LEFT), (),
    ("+", _LEFT), ("-", _LEFT), (),
    (">", _LEFT), ("<", _LEFT), (">=", _LEFT), ("<=", _LEFT),
    ("!=", _LEFT, "not_equal"), ("=", _LEFT, "equal"), ("in", _LEFT), ("is", _LEFT), (),
    ("not", _PREFIX), (),
    ("and", _LEFT), (),
    ("or", _LEFT), (),
    ("->", _RIGHT),
)  # fmt: skip


class _MuranoFactory(yaql_factory.YaqlFactory):
    def _standard_operators(self) -> list[tuple[str, ...]]:
        return list(_OPERATORS)


@functools.lru_cache(maxsize=1)
def _grammar() -> tuple[Any, Any]:
    engine = _MuranoFactory(keyword_operator="=>").create()
    return engine.lexer, engine.parser
