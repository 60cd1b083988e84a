"""The quick parser builds the trees that the yaql library's parser builds, or leaves the expression to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yaql.language import expressions as tree

from dsl import syntax
from dsl.syntax import expressions, quick


def shape(node: object) -> object:
    """A tree as nested tuples that can be compared."""
    label = getattr(node, "name", None) or getattr(node, "value", None)
    if isinstance(node, tree.Constant):
        return (type(node).__name__, type(node.value).__name__, node.value)
    return (type(node).__name__, label, tuple(shape(child) for child in syntax.children(node)))


UNSURE = "unsure"


def quick_shape(text: str) -> object:
    try:
        tree = quick.parse(text)
    except quick.Unsure:
        return UNSURE
    return None if tree is None else shape(tree)


def library_shape(text: str) -> object:
    try:
        return shape(expressions.parse_by_library(text))
    except syntax.ExpressionError:
        return None


TYPICAL = r"""
$ | $.a.b(1, c => 2)[0].d | not a = b and c | a = not b = c | -a.b * -c + d | :a:b.c | ns:Foo.bar()[1] | -$x[0].y
a -> b -> c | (a + b) * c | [1, [2], {a => 1}] | {1 => 2, a => $} | not not a | a or b and c or d | f()
1 + 2 - 3 * 4 / 5 mod 6 | not($x) | a in [1] = b | $a?.b?.c() | 'it\'s' + "q\n" + `v\`` | f(a => b => c)
f(a => 1, b) | f(, 1) | f(1,) | a b | 1.5.2 | x.1 | $x =~ 'a' !~ b | +1 - +2 | $o is ns:T and $p is :Q
new(:T, $this, a => $.b).deploy() | a.not | __x | a.b:c | a:b:c | x[1][2] | x[] | [] | {} | a[b => 1] | - | ( | 'x | $$
"""


@pytest.mark.parametrize("text", [text.strip() for line in TYPICAL.strip().split("\n") for text in line.split(" | ")])
def test_both_parsers_agree_on_typical_expressions(text: str) -> None:
    assert quick_shape(text) in (UNSURE, library_shape(text))


def test_the_quick_parser_knows_what_packages_write() -> None:
    for text in (
        "$.a",
        "$x + 1",
        "new(ns:Foo, a => $.b)",
        "$.f($a, $b).g()",
        "$l.where($.x = 1).select($.y)",
        "not $.ok",
    ):
        assert quick.parse(text) is not None
    for text in ("http://example.org/x", "/etc/hosts", "user@host", "Hello, world!", "50%"):
        assert quick.parse(text) is None


TOKENS = """$ $x a b 1 2.5 's' f( ( ) [ ] { } , => . ?. : + - * / mod = != < >= in is not and or -> =~ true null"""


@settings(max_examples=2500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS.split()), min_size=1, max_size=9), st.sampled_from(["", " "]))
def test_both_parsers_agree_on_any_sequence_of_tokens(tokens: list[str], between: str) -> None:
    text = between.join(tokens)
    assert quick_shape(text) in (UNSURE, library_shape(text))
