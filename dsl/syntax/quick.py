"""A quick parser for the expressions that packages are made of.

The yaql library's parser is table-driven and takes most of the time a package needs to load. This one builds the same
trees by precedence climbing, and knows most texts that are no expressions. Whatever it is not sure about, such as
left-out arguments, it leaves to the library's parser, whose word is final.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from yaql.language import expressions as tree
from yaql.language.lexer import decode_escapes

_MAX_DEPTH = 60  # calls of the parser inside each other; the library's needs no stack
_MAX_TOKENS = 200  # of one expression, whose tree can not be deeper then than `expressions.MAX_NESTING`
_MAX_KNOWN = 10_000  # tokens that are remembered, and
_MAX_REMEMBERED = 60  # the characters of one


def parse(text: str) -> tree.Expression | None:
    """The tree of an expression, None for what is none. Raises Unsure if the library's parser has to decide."""
    words = _WORDS.findall(text)
    if words.index("") != len(words) - 1:  # a place where no token begins, before the end
        return None
    if len(words) > _MAX_TOKENS:
        raise _UNSURE
    tokens: list[_Token] = []
    for word in words:
        tokens.append(_KNOWN.get(word) or _token(word))
    parser = _Parser(iter(tokens).__next__)
    try:
        result = parser.value(0)
    except _Wrong:
        return None
    return result if parser.kind == _END else None


class Unsure(Exception):
    """The text may or may not be an expression."""


class _Wrong(Exception):
    pass


_UNSURE = Unsure()
_WRONG = _Wrong()

_Token = tuple[str, Any, int]  # kind, value (the tree of an operand), how loosely it binds as an operator

# Kinds of tokens besides the operators, which are their own
_END, _OPERAND, _CALL = "end", "operand", "call"

_LOOSEST = 12
_NEVER = 99
# operator -> how loosely it binds; see the table in dsl.syntax.expressions
_BINARY = {
    ":": 1, ".": 2, "?.": 2, "[": 3, "=~": 5, "!~": 5, "*": 6, "/": 6, "mod": 6, "+": 7, "-": 7,
    ">": 8, "<": 8, ">=": 8, "<=": 8, "!=": 8, "=": 8, "in": 8, "is": 8, "and": 10, "or": 11, "->": 12,
}  # fmt: skip
_PREFIX = {":": 1, "+": 4, "-": 4, "not": 9}
_ALIASES = {"!=": "not_equal", "=": "equal"}
_WORD_CONSTANTS = {"true": True, "false": False, "null": None}

# Tokens in the order of the library's lexer, with its very patterns; nothing where none of them begins
_WORDS = re.compile(
    r"""[ \t\r\n]*(
      \$\w*
    | \b\d+(?:\.?\d+)?\b
    | \b[^\W\d]\w*\(
    | (?!__)\b[^\W\d]\w*\b
    | '(?:[^'\\]|\\.)*'
    | "(?:[^"\\]|\\.)*"
    | `(?:[^`\\]|\\.)*`
    | \?\. | =~ | !~ | >= | <= | != | -> | => | [\[\](){},.:+\-*/><=]
    | )""",
    re.VERBOSE,
)


def _token(word: str) -> _Token:
    """What a token means; trees of operands are shared by all expressions, as nothing changes them."""
    token = _made(word)
    if len(word) <= _MAX_REMEMBERED and len(_KNOWN) < _MAX_KNOWN:
        _KNOWN[word] = token
    return token


def _made(word: str) -> _Token:
    first = word[0]
    if first == "$":
        return _OPERAND, tree.GetContextValue(tree.Constant(word)), _NEVER
    if first == "`":
        return _OPERAND, tree.Constant(word[1:-1].replace("\\`", "`")), _NEVER
    if first in "'\"":
        try:
            return _OPERAND, tree.Constant(decode_escapes(word[1:-1]) if "\\" in word else word[1:-1]), _NEVER
        except ValueError as error:
            raise _UNSURE from error
    if first.isdecimal():
        if len(word) > 300:
            raise _UNSURE
        return _OPERAND, tree.Constant(float(word) if "." in word else int(word)), _NEVER
    if word in _WORD_CONSTANTS:
        return _OPERAND, tree.Constant(_WORD_CONSTANTS[word]), _NEVER
    if word[-1] == "(" and len(word) > 1:
        return _CALL, word[:-1], _NEVER
    return _OPERAND, tree.KeywordConstant(word), _NEVER


_KNOWN: dict[str, _Token] = {
    **{each: (each, each, _NEVER) for each in ("=>", "]", "(", ")", "{", "}", ",", "not")},
    **{operator: (operator, operator, level) for operator, level in _BINARY.items()},
    "": (_END, None, _NEVER),
}


class _Parser:
    """Reads tokens one after the other; `kind`, `content` and `level` are those of the next one."""

    __slots__ = ("_next", "content", "kind", "level")

    def __init__(self, following: Callable[[], _Token]) -> None:
        self._next = following
        self.kind, self.content, self.level = following()

    def value(self, depth: int) -> tree.Expression:
        """A value with whatever operators."""
        left = self.operand(depth)
        return self.operators(left, _LOOSEST, depth) if self.level <= _LOOSEST else left

    def operators(self, left: tree.Expression, loosest: int, depth: int) -> tree.Expression:
        """A value that begins with `left`, and whose operators bind no looser than `loosest`."""
        while self.level <= loosest:
            operator, level = self.kind, self.level
            self.kind, self.content, self.level = self._next()
            if operator == "[":
                left = tree.IndexExpression(left, *self.arguments("]", depth))
                continue
            tightest = level if operator == "->" else level - 1
            right = self.operand(depth + 1)
            if self.level <= tightest:
                right = self.operators(right, tightest, depth + 1)
            left = tree.BinaryOperator(operator, left, right, _ALIASES.get(operator))
        return left

    def operand(self, depth: int) -> tree.Expression:
        """A constant, variable, call, literal, bracketed value, or a prefix operator with what belongs to it."""
        kind, content = self.kind, self.content
        if kind == _END:
            raise _WRONG
        self.kind, self.content, self.level = self._next()
        if kind == _OPERAND:
            operand: tree.Expression = content
            return operand
        if depth > _MAX_DEPTH:
            raise _UNSURE
        if kind == _CALL:
            return tree.Function(content, *self.arguments(")", depth))
        if kind == "(":
            inner = self.value(depth + 1)
            if self.kind != ")":
                raise _WRONG
            self.kind, self.content, self.level = self._next()
            return tree.Wrap(inner)
        if kind == "[":
            return tree.ListExpression(*self.arguments("]", depth))
        if kind == "{":
            return tree.MapExpression(*self.arguments("}", depth))
        level = _PREFIX.get(kind)
        if level is None:  # around a comma, an argument may have been left out
            raise _UNSURE if kind in ",)]}" else _WRONG
        right = self.operand(depth + 1)
        if self.level < level:
            right = self.operators(right, level - 1, depth + 1)
        return tree.UnaryOperator(kind, right, None)

    def arguments(self, closing: str, depth: int) -> list[tree.Expression]:
        """Values, then `a => b` pairs, up to the closing bracket."""
        result: list[tree.Expression] = []
        if self.kind == closing:
            self.kind, self.content, self.level = self._next()
            return result
        named = False
        while True:
            argument = self.value(depth + 1)
            if self.kind == "=>":
                self.kind, self.content, self.level = self._next()
                argument = tree.MappingRuleExpression(argument, self.value(depth + 1))
                named = True
            elif named:
                raise _UNSURE
            result.append(argument)
            kind = self.kind
            if kind == _END:
                raise _WRONG
            self.kind, self.content, self.level = self._next()
            if kind == closing:
                return result
            if kind != ",":
                raise _WRONG
