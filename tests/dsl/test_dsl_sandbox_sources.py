"""Attack by attack: files, names and sizes that want to confuse or exhaust whoever reads and compiles a package."""

from __future__ import annotations

import json

import pytest
from dsl_attack import attempt, expression, fails, keep_secrets, package

import dsl

NAMES = [
    "__builtins__",
    "__class__",
    "__init__",
    "__debug__",
    "__import__",
    "self",
    "this",
    "None",
    "True",
    "lambda",
    "class",
    "_S",
    "_M",
    "_T",
    "_murano_class",
    "type",
    "len",
    "str",
    "Exception",
    "t_rounds",
    "t_1",
    "v_x",
    "more",
    "named",
    "value",
    "context",
    "a b",
    "x)y",
    "x=1, y",
    "é",
    "ﬁ",
    "ſ",
    "𝐱",
    "²",
    "1",
    "a\0b",
    "\u202e",
    "x\ny",
    "#",
    "$",
    "x" * 5000,
]
IDS = [ascii(name)[:20] for name in NAMES]


@pytest.mark.parametrize("name", NAMES, ids=IDS)
@pytest.mark.parametrize(
    "source",
    [
        "  run:\n    Arguments: [{NAME: {Contract: $, Default: 5}}]\n    Body: [{Return: !yaql '5'}]\n",
        "  run:\n    Body:\n    - For: NAME\n      In: [5]\n      Do: [{$x: 5}]\n    - Return: $x + 0\n",
        "  run:\n    Body:\n    - Try: [{Throw: X}]\n      Catch: {As: NAME, Do: [{Return: !yaql '5'}]}\n",
        "  run: {Body: [{Return: !yaql 'let(x => 5) -> $x'}]}\n  NAME: {Body: []}\n",
        "  run: {Body: [{Return: !yaql '{a => 5}.a'}]}\nProperties: {NAME: {Contract: $, Default: 7}}\n",
        "  run:\n    Body:\n    - Try: [{Throw: NAME}]\n      Catch: [{Do: [{Return: !yaql '5'}]}]\n",
        "  run: {Body: [{Return: !yaql '5'}]}\nMeta: [NAME]\n",
        "  run: {Body: [{Return: !yaql '5'}]}\nExtends: NAME\n",
    ],
    ids=["argument", "loop", "exception", "method", "property", "throw", "metadata", "base"],
)
def test_a_name_is_only_a_name(source: str, name: str) -> None:
    result = attempt("Name: Main\nMethods:\n" + source.replace("NAME", json.dumps(name)))
    assert result == 5 or isinstance(result, dsl.Thrown), result
    if isinstance(result, dsl.Thrown):
        assert not {"AttributeError", "NameError", "TypeError", "UnboundLocalError"} & set(result.names), result
        keep_secrets(str(result.message).replace("_.py", ""))


DEEP = {
    "brackets": "(" * 3000 + "1" + ")" * 3000,
    "sums": "1 + " * 3000 + "1",
    "negations": "not " * 3000 + "true",
    "signs": "-" * 3000 + "1",
    "lists": "[" * 3000 + "]" * 3000,
    "calls": "list(" * 3000 + ")" * 3000,
    "members": "$x" + ".a" * 3000,
    "indexes": "$x" + "[0]" * 3000,
    "lambdas": "list(1)" + ".select(list(1)" * 900 + ")" * 900,
    "contexts": "let(x => 1) -> " * 900 + "$x",
    "dictionaries": "{a => " * 900 + "1" + "}" * 900,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_a_deep_expression_is_refused_where_it_stands(text: str) -> None:
    assert "All.yaml:" in str(fails(package(expression(text)), "YaqlGrammarException").message)


@pytest.mark.parametrize("level", [180, 95])
def test_an_expression_as_deep_as_allowed_compiles(level: int) -> None:
    for text in (
        "1 * " * level + "1",
        "let(x => 1) -> " * level + "$x",
        "1" + " = ($x" * (level // 2) + ")" * (level // 2),
    ):
        assert not isinstance(attempt(package(expression(text))), dsl.DslError)


LARGE = {
    "statements": package("- $x: $x + 1\n" * 20_000),
    "an_alias_compiled_again_and_again": package(
        "- &a [" + ", ".join(["!yaql '$x + $y'"] * 100) + "]\n" + "- Return: [" + ", ".join(["*a"] * 300) + "]\n"
    ),
    "blocks": package(
        "".join("  " * i + "- If: $x\n" + "  " * i + "  Then:\n" for i in range(60)) + "  " * 61 + "- $x\n"
    ),
    "lists": package("- Return: " + "[" * 5000 + "]" * 5000),
}


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_too_much_code_is_refused_with_its_line(source: str) -> None:
    assert "All.yaml:" in str(fails(source, "SyntaxError").message)


LAUGHS = "- $a: &a [" + ", ".join(["lol"] * 10) + "]\n"
LAUGHS += "".join(f"- $a: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9))
MERGES = "- $a: &a {x: 1}\n"
MERGES += "".join(f"- $a: &{chr(98 + i)} {{<<: [{', '.join(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(20))
WIDE = "- $a: &a {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}\n- $a: {<<: [" + ", ".join(["*a"] * 400) + "]}\n"
RECURSIVE = "- $a: &a [*a]\n"


@pytest.mark.parametrize(
    "body", [LAUGHS, MERGES, WIDE, RECURSIVE], ids=["laughs", "merges", "wide_merges", "recursive"]
)
def test_an_alias_bomb_is_defused_where_it_stands(body: str) -> None:
    assert "All.yaml:" in str(fails(package(body), "SyntaxError").message)


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['x']",
        "!!python/name:os.system",
        "!!python/object/new:type [x]",
        "!other x",
        "!!js/function x",
    ],
)
def test_tags_make_no_objects(value: str) -> None:
    fails(package(f"- Return: {value}"), "")


CLASSES = {
    "itself": "Name: Main\nExtends: Main\nMethods: {run: {Body: []}}\n",
    "a_circle": "Name: Main\nExtends: B\nMethods: {run: {Body: []}}\n---\nName: B\nExtends: Main\n",
    "diamonds_on_diamonds": "".join(
        f"Name: C{i}\nExtends: [{', '.join(f'C{j}' for j in range(max(0, i - 2), i))}]\n---\n" for i in range(60)
    )
    + "Name: Main\nExtends: C59\nMethods: {run: {Body: []}}\n",
}


@pytest.mark.parametrize("name", CLASSES)
def test_hierarchies_without_end_are_refused(name: str) -> None:
    fails(CLASSES[name], "InvalidInheritance" if name == "diamonds_on_diamonds" else "NoClassFound")


@pytest.mark.parametrize(
    "line",
    [
        "Methods: [1]",
        "Methods: {run: 5}",
        "Methods: {run: {Body: 5}}",
        "Methods: {run: {Body: {a: 1}}}",
        "Methods: {1: {}}",
        "Methods: {run: {Arguments: [[x]]}}",
        "Methods: {run: {Arguments: {x: {}}}}",
        "Methods: {run: {Usage: [1]}}",
        "Properties: 5",
        "Properties: {a: 5}",
        "Properties: {a: {Contract: {$.int(): 1, $.string(): 2}}}",
        "Usage: [1]",
        "Properties: {a: {Contract: $.int(5)}}",
        "Properties: {a: {Contract: $.class()}}",
        "Properties: {a: {Usage: x}}",
        "Extends: [[Main]]",
        "Extends: {a: 1}",
        "Import: 5",
        "Meta: {a: 1, b: 2}",
        "Namespaces: {a: [1]}",
        "{}",
        "5",
        "- 1",
    ],
)
def test_a_class_that_is_none_is_an_error_and_nothing_else(line: str) -> None:
    result = attempt(f"Name: Main\n{line}\n")
    assert isinstance(result, dsl.DslError), result
    keep_secrets(str(result))
