"""A method whose shape is plainly right is right for the compiler too, and can wait for its first call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl import functions
from dsl.compiler import ClassCode, compile_class
from dsl.compiler.rehearsal import is_plainly_right
from dsl.packages import ClassDeclaration, read_declarations
from dsl.runtime.sources import Signatures

SIGNATURES = Signatures(functions.table("1.4"), frozenset(), False)


def declared(body: object) -> ClassDeclaration:
    """A class with one method; `~` begins what is an expression in the YAML."""
    text = json.dumps({"Name": "t.Main", "Methods": {"run": {"Body": body}}})
    (declaration,) = read_declarations(text.replace('"~', '!yaql "'), "Main.yaml", "t.Main")
    return declaration


def code_of(body: object) -> ClassCode:
    return compile_class(declared(body), SIGNATURES)


def body_of(body: object) -> object:
    return declared(body).methods["run"].body


VALUES: st.SearchStrategy[Any] = st.sampled_from(["~$x + 1", "~f($)", "text", 1, None, [], {"a": ["~$x"]}, "~$.p"])
CONSTRUCTS = [
    "If",
    "Then",
    "Else",
    "For",
    "In",
    "Do",
    "While",
    "Repeat",
    "Return",
    "Break",
    "Continue",
    "Match",
    "Value",
]
CONSTRUCTS += [
    "Default",
    "Switch",
    "Parallel",
    "Limit",
    "Try",
    "Catch",
    "Finally",
    "Throw",
    "Message",
    "Rethrow",
    "Nothing",
]
KEYS = st.sampled_from([*CONSTRUCTS, "~$x", "~$.p", "~$.f()"])


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    block = st.one_of(st.lists(inner, max_size=3), inner, st.none())
    either = st.one_of(VALUES, block)
    return st.one_of(
        st.fixed_dictionaries({"If": either, "Then": either}, optional={"Else": either}),
        st.fixed_dictionaries({"For": st.sampled_from(["i", "~$i", 1]), "In": VALUES, "Do": either}),
        st.fixed_dictionaries({"While": VALUES, "Do": either}),
        st.fixed_dictionaries({"Repeat": VALUES, "Do": either}),
        st.dictionaries(KEYS, either, max_size=3),
    )


STATEMENTS = st.recursive(st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=2)), _larger, max_leaves=8)


@settings(max_examples=600, deadline=None)
@given(st.lists(STATEMENTS, max_size=3))
def test_what_is_plainly_right_compiles(body: list[Any]) -> None:
    if is_plainly_right(body_of(body)):
        code_of(body).all_parts()


@pytest.mark.parametrize(
    "body",
    [
        ["~$x", {"~$x": 1}, {"Return": "~$x"}],
        [{"If": "~$x", "Then": ["~$x"], "Else": [{"For": "i", "In": "~$x", "Do": ["~$i"]}]}],
        [{"While": "~$x", "Do": [{"Repeat": "~$x", "Do": [{"If": 1, "Then": None}]}]}],
    ],
)
def test_what_packages_are_made_of_is_plainly_right(body: list[Any]) -> None:
    assert is_plainly_right(body_of(body))


@pytest.mark.parametrize("depth", [3, 12, 25])
def test_deep_loops_compile_though_their_shape_is_not_plain(depth: int) -> None:
    body: Any = ["~$x"]
    for _ in range(depth):
        body = [{"While": "~$x", "Do": body}]
    assert is_plainly_right(body_of(body)) == (depth <= 10)
    code_of(body).all_parts()


def test_branches_inside_branches_are_made_when_the_class_is_loaded() -> None:
    once = {"Parallel": [{"~$a": 1}, {"~$b": "~$a"}]}
    twice = {"Parallel": [{"For": "i", "In": [1], "Do": [once, {"~$i": 2}]}, {"~$a": 2}]}
    assert len(code_of([once, twice]).all_parts()) == 2
