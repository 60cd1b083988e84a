"""Random packages: expressions, statements and documents that are nearly right, for fuzzing (hypothesis strategies)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from dsl import functions
from dsl.runtime.functions import FUNCTIONS, METHODS

_TABLE = functions.table("1.4")
_TIME = {"sleep", "inject", "withOriginal"}  # they wait, or change what the test itself calls
FUNCTION_NAMES = sorted((_TABLE.names(method=False) | set(FUNCTIONS)) - _TIME)
METHOD_NAMES = sorted(
    _TABLE.names(method=True) | set(METHODS) | {"run", "other", "getAttr", "setAttr", "invoke", "getValue"}
)
NAMES = [
    "a",
    "b",
    "name",
    "cls",
    "p",
    "q",
    "values",
    "message",
    "methods",
    "properties",
    "package",
    "type",
    "days",
    "version",
]
OPERATORS = ["+", "-", "*", "/", "mod", "<", "<=", ">", ">=", "=", "!=", "in", "and", "or", "=~", "!~", "is", "."]

_SCALARS = st.one_of(
    st.sampled_from(
        ["null", "true", "false", "0", "1", "-1", "2.5", "''", "'x'", "abc", "[]", "{}", "$", "$this", "$x", "$1", "$0"]
    ),
    st.sampled_from(
        [":Main", "typeinfo($)", "regex('(a|b)*')", "now()", "sequence()", "99999999999999999999", "'{0}'", "1e300"]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.text(alphabet="ab{}0!:.%\\\\ $é", max_size=8).map(
        lambda text: "'" + text.replace("\\", "\\\\").replace("'", "") + "'"
    ),
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(st.one_of(inner, st.tuples(st.sampled_from(NAMES), inner).map(" => ".join)), max_size=3).map(
        ", ".join
    )
    return st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda each: f"({each[0]} {each[1]} {each[2]})"),
        st.tuples(st.sampled_from(FUNCTION_NAMES), arguments).map(lambda each: f"{each[0]}({each[1]})"),
        st.tuples(inner, st.sampled_from(METHOD_NAMES), arguments).map(lambda each: f"{each[0]}.{each[1]}({each[2]})"),
        st.tuples(inner, st.sampled_from([".", "?."]), st.sampled_from(NAMES)).map("".join),
        st.tuples(inner, inner).map(lambda each: f"{each[0]}[{each[1]}]"),
        st.lists(inner, max_size=3).map(lambda each: "[" + ", ".join(each) + "]"),
        st.tuples(inner, inner).map(lambda each: f"{{{each[0]} => {each[1]}}}"),
        st.tuples(st.sampled_from(["let(x => {})", "with({})", "def(f, {})"]), inner, inner).map(
            lambda each: f"({each[0].replace('{}', each[1])} -> {each[2]})"
        ),
        inner.map(lambda each: f"not {each}"),
        inner.map(lambda each: f"-({each})"),
        st.tuples(st.sampled_from([*FUNCTION_NAMES, *METHOD_NAMES]), inner, inner).map(
            lambda each: f"call({each[0]}, {each[1]}, {each[2]})"
        ),
    )


EXPRESSIONS = st.recursive(_SCALARS, _larger, max_leaves=12)
SOUP = st.lists(
    st.sampled_from(
        [*OPERATORS, *NAMES, "$", "(", ")", "[", "]", "{", "}", ",", "=>", "->", "?.", "'x'", "1", ":", "f(", "not"]
    ),
    max_size=25,
).map(" ".join)


class Code(str):
    """An expression, as against a text."""


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(EXPRESSIONS.map(Code), st.none(), st.booleans(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=4,
)
_TARGETS = st.one_of(
    st.sampled_from(["$x", "$y", "$.p", "$.q", "$x.a", "$x[0]", "$x.a[$y].b", "$this", "$", "$1", ":Main.s", "$.p.a"]),
    EXPRESSIONS,
).map(Code)


def _blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    block = st.lists(inner, max_size=3)
    code = EXPRESSIONS.map(Code)
    catch = st.fixed_dictionaries(
        {}, optional={"With": st.sampled_from(["X", "KeyError", ["X", "Y"]]), "As": st.just("e"), "Do": block}
    )
    return st.one_of(
        st.fixed_dictionaries({"If": code, "Then": block}, optional={"Else": block}),
        st.fixed_dictionaries({"While": code, "Do": block}),
        st.fixed_dictionaries({"For": st.sampled_from(["x", "i", "this", "None"]), "In": _VALUES, "Do": block}),
        st.fixed_dictionaries({"Repeat": st.one_of(code, st.integers(-1, 5)), "Do": block}),
        st.fixed_dictionaries(
            {"Match": st.dictionaries(st.sampled_from(NAMES), block, max_size=3), "Value": code},
            optional={"Default": block},
        ),
        st.fixed_dictionaries({"Switch": st.dictionaries(code, block, max_size=3)}, optional={"Default": block}),
        st.fixed_dictionaries({"Parallel": block}, optional={"Limit": st.one_of(code, st.integers(-1, 3))}),
        st.fixed_dictionaries(
            {"Try": block}, optional={"Catch": st.lists(catch, max_size=2), "Else": block, "Finally": block}
        ),
    )


STATEMENTS = st.recursive(
    st.one_of(
        EXPRESSIONS.map(Code),
        st.tuples(_TARGETS, _VALUES).map(lambda each: {each[0]: each[1]}),
        _VALUES.map(lambda each: {"Return": each}),
        st.sampled_from([{"Break": None}, {"Continue": None}, {"Rethrow": None}]),
        st.tuples(st.sampled_from(["X", "ns:X"]), _VALUES, _VALUES).map(
            lambda each: {"Throw": each[0], "Message": each[1], "Extra": each[2]}
        ),
        _VALUES,
    ),
    _blocks,
    max_leaves=8,
)
_CONTRACTS = st.one_of(
    st.sampled_from(
        ["$", "$.int()", "$.string().notNull()", "$.class(Main)", "$.template(Main)", "$.check($ > 0)", "$.bool()"]
    ),
    EXPRESSIONS,
).map(Code)


def written(value: Any) -> str:
    """A structure as YAML of one line."""
    if isinstance(value, Code):
        return "!yaql " + json.dumps(str(value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"? {written(key)} : {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


@st.composite
def programs(draw: Any) -> str:
    """The YAML of a class t.Main whose method `run` can be called."""
    properties = {
        name: {"Contract": draw(_CONTRACTS), "Usage": draw(st.sampled_from(["In", "Out", "Runtime", "Const"]))}
        for name in draw(st.lists(st.sampled_from(["p", "q"]), unique=True))
    }
    for each in properties.values():
        if draw(st.booleans()):
            each["Default"] = draw(_VALUES)
    body = draw(st.lists(STATEMENTS, max_size=4))
    other = draw(st.lists(STATEMENTS, max_size=2))
    arguments = [{"a": {"Contract": draw(_CONTRACTS), "Default": draw(_VALUES)}}]
    methods = {"run": {"Body": body}, "other": {"Arguments": arguments, "Body": other}}
    return f"Name: Main\nProperties: {written(properties)}\nMethods: {written(methods)}\n"


_PIECES = [
    "Name: Main\n",
    "Methods:\n",
    "  run:\n",
    "    Body:\n",
    "    - ",
    "Return: ",
    "$x: ",
    "&a ",
    "*a",
    "<<: ",
    "!yaql ",
    "!!int ",
]
_PIECES += [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "? ",
    "|\n",
    '"',
    "'",
    "---\n",
    "Extends: ",
    "Properties:\n",
    "Contract: ",
]
_PIECES += [
    "Namespaces: {=: t}\n",
    "Usage: ",
    "Meta: ",
    "Import: ",
    "1",
    "0x",
    "1:59",
    "2001-01-01",
    ".inf",
    "~",
    "%TAG ",
    "\t",
    "#",
    "é",
    "\x00",
]


@st.composite
def documents(draw: Any) -> str:
    """Nearly a class: a good one, with pieces put in, taken out and doubled, or nothing but pieces."""
    text = draw(
        st.one_of(programs(), st.just("Name: Main\nMethods:\n  run:\n    Body:\n    - Return: 1\n"), st.just(""))
    )
    for _ in range(draw(st.integers(1, 12))):
        place = draw(st.integers(0, len(text)))
        end = min(len(text), place + draw(st.integers(0, 10)))
        text = text[:place] + draw(st.sampled_from([*_PIECES, "", text[place:end] * 2])) + text[end:]
    return text
