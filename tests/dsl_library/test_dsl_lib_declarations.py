"""What class files declare, and what is refused with which name."""

from __future__ import annotations

import pytest

from dsl.errors import SyntaxProblem, Thrown
from dsl.packages import Namespaces, read_declarations

CLASS = """
Namespaces: {=: org.demo, std: io.murano}
Name: Wiki
Extends: std:Application
Properties:
  port: {Contract: $.int(), Default: 80}
  name: {Contract: $.string(), Usage: InOut}
Methods:
  initialize: {Body: [{$x: 1}]}
  deploy:
    Scope: Public
    Arguments:
      - first: {Contract: $}
      - rest: {Contract: $, Usage: VarArgs}
    Body: {Return: 1}
"""


def test_a_class_is_read_with_names_resolved_and_defaults_filled_in() -> None:
    (declaration,) = read_declarations(CLASS, "Wiki.yaml", "org.demo.Other")
    assert declaration.name == "org.demo.Wiki"
    assert declaration.extends == ("io.murano.Application",)
    assert declaration.properties["port"].default == 80
    assert not declaration.properties["name"].has_default
    assert list(declaration.methods) == [".init", "deploy"]
    deploy = declaration.methods["deploy"]
    assert (deploy.usage, deploy.scope) == ("Runtime", "Public")
    assert [argument.usage for argument in deploy.arguments] == ["Standard", "VarArgs"]
    assert deploy.location.line == 10


def test_several_documents_share_the_namespaces_above_them() -> None:
    text = "Namespaces: {=: a}\n---\nName: One\n---\nName: Two\nExtends: One\n---\n"
    one, two = read_declarations(text, "f.yaml", "x")
    assert (one.name, two.name, two.extends) == ("a.One", "a.Two", ("a.One",))
    assert one.extends == ("io.murano.Object",)


def test_one_class_of_a_file_may_take_its_name_from_the_manifest() -> None:
    (declaration,) = read_declarations("Properties: {}", "f.yaml", "a.B")
    assert declaration.name == "a.B"
    with pytest.raises(SyntaxProblem, match="only one class of a file may lack a Name"):
        read_declarations("Methods: {}\n---\nMethods: {}", "f.yaml", "a.B")


def test_workflow_is_an_old_name_of_methods() -> None:
    (declaration,) = read_declarations("Name: A\nWorkflow: {m: {Body: []}}", "f.yaml", "x")
    assert list(declaration.methods) == ["m"]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("Name: A\nProperties: {p: {Usage: In}}", "KeyError", "f.yaml:2:14: the property p has no Contract"),
        ("Name: A\nProperties: {p: {Contract: $, Usage: Inside}}", "murano.dsl.exceptions.DslSyntaxError",
         "unknown Usage"),
        ("Name: A\nUsage: Thing", "ValueError", "expected Class or Meta, found Thing"),
        ("Name: A\nCardinality: Two", "ValueError", "Cardinality"),
        ("Name: A\nInherited: sometimes", "ValueError", "true or false"),
        ("Name: A\nApplies: Moon", "ValueError", "Moon"),
        ("Name: A\nExtends: zzz:B", "KeyError", "Unknown namespace prefix zzz"),
        ("Name: A\nMethods: {m: {Usage: Action, Scope: Session}}", "ValueError", "can not have Scope"),
        ("Name: A\nMethods: {m: {Arguments: {a: {Contract: $}, b: {Contract: $}}}}",
         "murano.dsl.exceptions.DslSyntaxError", "one key"),
        ("Name: A\nMethods: {m: {Arguments: [a: {Contract: $, Usage: KwArgs}, b: {Contract: $}]}}",
         "murano.dsl.exceptions.DslSyntaxError", "wrong order"),
        ("Name: [unclosed", "yaml.parser.ParserError", "not valid"),
        ("just words", "SyntaxError", "must be a mapping"),
        ("Name: A\nProperties: {yes: {Contract: $}}", "SyntaxError", "quote it"),
        ("Name: A\nNamespaces: {'1x': y}", "ValueError", "not a namespace prefix"),
    ],
)  # fmt: skip
def test_invalid_declarations_are_refused_under_the_names_packages_know(text: str, name: str, message: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        read_declarations(text, "f.yaml", "x")
    assert caught.value.name == name
    assert message in str(caught.value)


def test_names_resolve_by_default_namespace_prefix_or_dots() -> None:
    namespaces = Namespaces({"=": "a.b", "n": "c", "e": ""})
    resolved = [namespaces.resolve(name) for name in ("X", ":X", "n:X", "n:sub.X", "d.X", "e:KeyError")]
    assert resolved == ["a.b.X", "a.b.X", "c.X", "c.sub.X", "d.X", "KeyError"]
    assert Namespaces().resolve("X") == "X"
    for wrong in ("=:X", "a..b", "", "x y", "n:", "é-x"):
        with pytest.raises(Thrown):
            namespaces.resolve(wrong)
