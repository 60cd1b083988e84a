"""A quick parser for the expressions that packages are made of.

The yaql library's parser is table-driven and takes most of the time a package needs to load. This one builds the same
trees by precedence climbing, and knows most texts that are no expressions. Whatever it is not sure about, such as
left-out arguments, it leaves to the library's parser, whose word is final.
"""

from __future__ import annotations

import re
from typing import Any

from yaql.language import expressions as tree
from yaql.language.lexer import decode_escapes

_MAX_DEPTH = 60  # calls of the parser inside each other; the library's needs no stack


def parse(text: str) -> tree.Expression | None:
    """The tree of an expression, None for what is none. Raises Unsure if the library's parser has to decide."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    parser = _Parser(tokens)
    try:
        result = parser.value(_LOOSEST, 0)
    except _Wrong:
        return None
    return result if parser.kind == _END else None


class Unsure(Exception):
    """The text may or may not be an expression."""


class _Wrong(Exception):
    pass


_UNSURE = Unsure()
_WRONG = _Wrong()

# Kinds of tokens besides the operators, which are their own
_END, _CONSTANT, _WORD, _VARIABLE, _CALL = "end", "constant", "word", "variable", "call"

_LOOSEST = 12
# operator -> how loosely it binds; see the table in dsl.syntax.expressions
_BINARY = {
    ":": 1, ".": 2, "?.": 2, "=~": 5, "!~": 5, "*": 6, "/": 6, "mod": 6, "+": 7, "-": 7,
    ">": 8, "<": 8, ">=": 8, "<=": 8, "!=": 8, "=": 8, "in": 8, "is": 8, "and": 10, "or": 11, "->": 12,
}  # fmt: skip
_INDEX = 3
_PREFIX = {":": 1, "+": 4, "-": 4, "not": 9}
_ALIASES = {"!=": "not_equal", "=": "equal"}
_WORD_OPERATORS = frozenset({"mod", "in", "is", "not", "and", "or"})
_WORD_CONSTANTS = {"true": True, "false": False, "null": None}

# In the order of the library's lexer, with its very patterns
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<variable>\$\w*)
    | (?P<number>\b\d+(?:\.?\d+)?\b)
    | (?P<call>\b[^\W\d]\w*\()
    | (?P<word>(?!__)\b[^\W\d]\w*\b)
    | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<verbatim>`(?:[^`\\]|\\.)*`)
    | (?P<operator>\?\.|=~|!~|>=|<=|!=|->|=>|[\[\](){},.:+\-*/><=])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


def _tokens(text: str) -> list[tuple[str, Any]] | None:
    result: list[tuple[str, Any]] = []
    position = 0
    match = _TOKEN.match
    while True:
        found = match(text, position)
        if found is None:
            return None
        kind = found.lastgroup
        if kind == "end":
            result.append((_END, None))
            return result
        value = found.group(kind or 0)
        position = found.end()
        if kind == "operator":
            result.append((value, value))
        elif kind == "variable":
            result.append((_VARIABLE, value))
        elif kind == "word":
            if value in _WORD_OPERATORS:
                result.append((value, value))
            elif value in _WORD_CONSTANTS:
                result.append((_CONSTANT, _WORD_CONSTANTS[value]))
            else:
                result.append((_WORD, value))
        elif kind == "call":
            result.append((_CALL, value[:-1]))
        elif kind == "number":
            if len(value) > 300:
                raise _UNSURE
            result.append((_CONSTANT, float(value) if "." in value else int(value)))
        elif "\\" not in value:
            result.append((_CONSTANT, value[1:-1]))
        elif kind == "verbatim":
            result.append((_CONSTANT, value[1:-1].replace("\\`", "`")))
        else:
            try:
                result.append((_CONSTANT, decode_escapes(value[1:-1])))
            except ValueError as error:
                raise _UNSURE from error


class _Parser:
    """Reads tokens one after the other; `kind` and `text` are those of the next one."""

    __slots__ = ("_next", "_tokens", "kind", "text")

    def __init__(self, tokens: list[tuple[str, Any]]) -> None:
        self._tokens = tokens
        self._next = 1
        self.kind, self.text = tokens[0]

    def advance(self) -> None:
        self.kind, self.text = self._tokens[self._next]
        self._next += 1

    def value(self, loosest: int, depth: int) -> tree.Expression:
        """A value whose operators bind no looser than `loosest`."""
        if depth > _MAX_DEPTH:
            raise _UNSURE
        left = self.operand(depth)
        for _ in range(_MAX_DEPTH):
            operator = self.kind
            if operator == "[":
                if loosest < _INDEX:
                    return left
                self.advance()
                left = tree.IndexExpression(left, *self.arguments("]", depth))
                continue
            level = _BINARY.get(operator)
            if level is None or level > loosest:
                return left
            self.advance()
            right = self.value(level if operator == "->" else level - 1, depth + 1)
            left = tree.BinaryOperator(operator, left, right, _ALIASES.get(operator))
        raise _UNSURE

    def operand(self, depth: int) -> tree.Expression:
        """A constant, variable, call, literal, bracketed value, or a prefix operator with what belongs to it."""
        kind, text = self.kind, self.text
        if kind == _END:
            raise _WRONG
        self.advance()
        if kind == _VARIABLE:
            return tree.GetContextValue(tree.Constant(text))
        if kind == _WORD:
            return tree.KeywordConstant(text)
        if kind == _CALL:
            return tree.Function(text, *self.arguments(")", depth))
        if kind == _CONSTANT:
            return tree.Constant(text)
        if kind == "(":
            inner = self.value(_LOOSEST, depth + 1)
            if self.kind != ")":
                raise _WRONG
            self.advance()
            return tree.Wrap(inner)
        if kind == "[":
            return tree.ListExpression(*self.arguments("]", depth))
        if kind == "{":
            return tree.MapExpression(*self.arguments("}", depth))
        level = _PREFIX.get(kind)
        if level is None:  # around a comma, an argument may have been left out
            raise _UNSURE if kind in ",)]}" else _WRONG
        return tree.UnaryOperator(kind, self.value(level - 1, depth + 1), None)

    def arguments(self, closing: str, depth: int) -> list[tree.Expression]:
        """Values, then `a => b` pairs, up to the closing bracket."""
        result: list[tree.Expression] = []
        if self.kind == closing:
            self.advance()
            return result
        named = False
        while True:
            argument = self.value(_LOOSEST, depth + 1)
            if self.kind == "=>":
                self.advance()
                argument = tree.MappingRuleExpression(argument, self.value(_LOOSEST, depth + 1))
                named = True
            elif named:
                raise _UNSURE
            result.append(argument)
            if self.kind == closing:
                self.advance()
                return result
            if self.kind != ",":
                raise _WRONG
            self.advance()
