"""Class files as text: which scalars are expressions, where things stand, what hostile YAML meets."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl import syntax
from dsl.errors import SyntaxProblem
from dsl.syntax import Expression, Mapping


def value_of(scalar: str) -> object:
    document = syntax.load(f"key: {scalar}\n", "f.yaml")[0]
    assert isinstance(document, Mapping)
    return document["key"]


@pytest.mark.parametrize(
    "scalar",
    ["$", "$x", "foo()", "(x)", "1 + 2", "a=b", "a<b", "foo-bar", "env-1", "a/b", "10.0.0.0/8", "en_US.UTF-8",
     "v1.0-rc1", "ns:Cls", ":Cls", "a:b:c", "x -> y", '!yaql "foo"', "$.f(, 2)", "new(:Foo, a => 1).b", "not $x",
     "$o is ns:T"],
)  # fmt: skip
def test_a_plain_scalar_with_operators_is_an_expression(scalar: str) -> None:
    assert isinstance(value_of(scalar), Expression)


@pytest.mark.parametrize(
    "scalar",
    ["foo", "foo bar", "a.b", "1.2.3", "not x", "a is b", "http://x", "/etc/x", "a, b", "10%", "foo;bar", "${x}",
     "$a b", "a => b", "1e3", "1.5e3"],
)  # fmt: skip
def test_a_plain_scalar_that_is_words_or_does_not_parse_is_text(scalar: str) -> None:
    assert value_of(scalar) == scalar


@pytest.mark.parametrize("scalar", ['"$x"', "'$x'", "!!str $x", "|\n  $x\n"])
def test_quoted_scalars_are_never_expressions(scalar: str) -> None:
    assert str(value_of(scalar)).strip() == "$x"
    assert isinstance(value_of(scalar), str)


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [("yes", True), ("off", False), ("~", None), ("", None), ("010", 8), ("0x1F", 31), ("1_000", 1000),
     ("12:30:45", 45045), ("2016-01-01", datetime.date(2016, 1, 1)), ("1.5", 1.5)],
)  # fmt: skip
def test_standard_scalars_follow_yaml_1_1(scalar: str, expected: object) -> None:
    assert value_of(scalar) == expected


def test_expressions_can_be_keys_and_equal_ones_coexist() -> None:
    document = syntax.load("{$x: 1, $x : 2, =: 3}", "f.yaml")[0]
    assert isinstance(document, Mapping)
    assert [str(key) for key in document] == ["$x", "$x", "="]


def test_an_equals_sign_as_a_value_is_an_error_at_its_place() -> None:
    with pytest.raises(SyntaxProblem, match=r"^f.yaml:1:6: `=` is not valid here"):
        value_of("=")


def test_merges_keep_own_keys_and_aliases_share_one_object() -> None:
    document = syntax.load("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n", "f.yaml")[0]
    assert isinstance(document, Mapping)
    assert document["b"] == {"x": 1, "y": 3}
    assert document["c"] is document["a"]


def test_mappings_lists_and_expressions_know_where_they_stand() -> None:
    document = syntax.load("first: 1\nbody:\n  - $x:  foo()\n", "f.yaml")[0]
    assert isinstance(document, Mapping)
    assert tuple(document.key_location("body")) == ("f.yaml", 2, 1, 2, 5)
    statement = document["body"][0]
    (target,) = statement
    assert (target.location.line, target.location.column) == (3, 5)
    assert (statement[target].location.line, statement[target].location.column) == (3, 10)


def test_multi_line_plain_scalars_fold_into_one_expression() -> None:
    assert str(value_of("$a +\n  $b")) == "$a + $b"


def test_a_tagged_expression_that_does_not_parse_says_where_and_why() -> None:
    with pytest.raises(SyntaxProblem, match=r"f.yaml:1:16: the expression '1 \+' does not parse: it ends too early"):
        value_of('!yaql "1 +"')


@pytest.mark.parametrize(
    ("written", "column", "why"),
    [
        ("!yaql $a + * 3", 17, r"unexpected '\*'"),
        ("!yaql   '$a ` 3'", 18, "unexpected character '`'"),
        ("!yaql '$a.get(''x'') + * 3'", 6, r"unexpected '\*'"),  # not as written: the whole scalar is shown
        ("!yaql |\n  $a + * 3", 6, r"unexpected '\*'"),
        ("!yaql ''", 6, "it ends too early"),
    ],
)
def test_a_tagged_expression_is_wrong_at_a_character(written: str, column: int, why: str) -> None:
    with pytest.raises(SyntaxProblem, match=rf"f.yaml:1:{column}: .*{why}"):
        value_of(written)


def test_an_alias_bomb_is_counted_as_if_written_out() -> None:
    levels = "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True))
    with pytest.raises(SyntaxProblem, match="amounts to more than"):
        syntax.load("a: &a [1,1,1,1,1,1,1,1,1]\n" + levels, "f.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{" * 5000, "a: &a [*a]", "a: &a {b: *a}"])
def test_deep_and_recursive_documents_are_refused(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        syntax.load(text, "f.yaml")


@pytest.mark.parametrize(
    "text", ["((((" * 3000, "1" + "+1" * 3000, "$." + "a." * 5000, "[" * 1500 + "]" * 1500, "9" * 6000]
)
def test_deep_expressions_are_refused_without_exhausting_the_stack(text: str) -> None:
    with pytest.raises(syntax.ExpressionError):
        syntax.parse(text)


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system [id]", "a: !!python/name:os.system x", "a: !include x", "a: !!binary x"]
)
def test_foreign_tags_are_refused(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        syntax.load(text, "f.yaml")


@pytest.mark.parametrize(
    "source", [b"\xff\xfe\x00", b"a: \xff", "a: \x00", "a: \ud800", "a: *b", "? [x]\n: y", "a: 2016-13-45", "<<: 1"]
)
def test_unreadable_texts_are_located_problems(source: str | bytes) -> None:
    with pytest.raises(SyntaxProblem, match=r"^f.yaml"):
        syntax.load(source, "f.yaml")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:{}[]-, \n'\"#&*!|>%@$=<()1.\t?~\\/", max_size=60))
def test_any_text_loads_or_is_a_located_problem(text: str) -> None:
    problem: Exception | None = None
    try:
        syntax.load(text, "f.yaml")
    except SyntaxProblem as error:
        problem = error
    assert problem is None or str(problem).startswith("f.yaml")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_an_expression_error(text: str) -> None:
    problem: Exception | None = None
    try:
        syntax.parse(text)
    except syntax.ExpressionError as error:
        problem = error
    assert problem is None or str(problem)
