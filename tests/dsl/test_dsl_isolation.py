"""Attack by attack: package code can not reach Python, the host, or what is not its own."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest
from dsl_world import World, package_of

import dsl
from dsl import functions
from dsl.compiler import compile_class
from dsl.runtime.sources import Signatures

Run = Callable[..., Any]

PYTHON_NAMES = [
    "__class__",
    "__dict__",
    "__init__",
    "cls",
    "values",
    "native",
    "owner",
    "creator",
    "program",
    "f_globals",
]


@pytest.mark.parametrize("name", PYTHON_NAMES)
def test_attributes_of_host_objects_are_not_properties(run: Run, name: str) -> None:
    for receiver in (
        "$",
        ":Main",
        "typeinfo($)",
        "typeinfo($).package",
        "'text'",
        "$a0",
        "typeinfo($).methods.first()",
    ):
        with pytest.raises(dsl.Thrown):
            run(f'- Return: !yaql "{receiver}.{name}"', 5)


@pytest.mark.parametrize(
    "name", ["__class__", "__init__", "find_method", "convert", "update", "format_map", "mro", "entry"]
)
def test_python_methods_can_not_be_called(run: Run, name: str) -> None:
    for receiver in ("$", ":Main", "typeinfo($)", "'text'", "{a => 1}", "[1]"):
        with pytest.raises(dsl.Thrown):
            run(f'- Return: !yaql "{receiver}.{name}()"')


@pytest.mark.parametrize(
    "name", ["eval", "exec", "open", "getattr", "__import__", "type_", "vars", "globals", "_S", "_freeze"]
)
def test_python_functions_can_not_be_called(run: Run, name: str) -> None:
    with pytest.raises(dsl.Thrown, match="NoFunctionRegistered"):
        run(f'- Return: !yaql "{name}($)"')
    with pytest.raises(dsl.Thrown):
        run(f"""- Return: !yaql "call('{name}', [1], {{}})" """)


@pytest.mark.parametrize("text", ["{0.__class__}", "{0[0]}", "{0.cls.globals}", "{x.__init__.__globals__}"])
def test_format_reaches_no_attributes(run: Run, text: str) -> None:
    with pytest.raises(dsl.Thrown):
        run(f"- Return: !yaql \"'{text}'.format($, 1, x => $)\"")


def test_generated_code_reaches_no_builtins() -> None:
    world = World("Name: Main\nMethods:\n  run: {Body: []}\n").load()
    cls = world.program.find_class("t.Main").cls
    assert cls.globals["__builtins__"] == {}
    assert not {"eval", "exec", "open", "getattr", "__import__", "compile"} & set(cls.globals)


def test_generated_code_names_only_attributes_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a package writes, attribute access in the code made from it is from a short list of our own."""
    seen: list[ast.Module] = []
    real = compile

    def record(source: Any, *arguments: Any, **keywords: Any) -> Any:
        seen.append(source)
        return real(source, *arguments, **keywords)

    monkeypatch.setattr("dsl.compiler.segments.compile", record, raising=False)
    declaration = package_of(
        """
        Name: Main
        Properties:
          steps: {Contract: $.int(), Default: $.f_globals.x}
        Methods:
          run:
            Arguments: [{a: {Contract: {k: $.class(Main).check($.f_code != null)}}}]
            Body:
              - $x.f_globals.y[$.cls]: $.a.b.c(d => $.e).gi_frame
              - For: __import__
                In: $.x.select($.mro.f_back)
                Do: [{$.values: 5}, {$this.cls: 6}]
              - Try: [{Throw: X, Message: $.tb_frame}]
                Catch: {As: _S, Do: [{Return: $_S.limits}]}
              - Parallel: [{$_S: 1}]
        """
    ).declaration("t.Main")
    compile_class(declaration, Signatures(functions.table("1.4"), frozenset(), False)).all_parts()
    attributes = {node.attr for module in seen for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    assert attributes <= {
        "cls",
        "values",
        "steps",
        "exhausted",
        "charge",
        "depth",
        "max_depth",
        "objects",
        "too_deep",
        "forked",
        "alive",
    }
    stored = {
        node.id
        for module in seen
        for node in ast.walk(module)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert all(name.startswith(("v_", "t_", "x_", "d_", "_x_")) for name in stored)


def test_a_class_can_not_read_or_write_what_another_class_keeps_to_itself() -> None:
    world = World(
        """
        Name: Main
        Methods:
          run: {Body: [{$o: new(Other)}, $o.keep(), {Return: $o.secret}]}
          write: {Body: [{$o: new(Other)}, {$o.open: 2}]}
        ---
        Name: Other
        Properties:
          open: {Contract: $.int(), Usage: InOut}
        Methods:
          keep: {Body: [{$.secret: 1}]}
        """
    ).load()
    with pytest.raises(dsl.Thrown, match="PropertyReadError"):
        world.call("run")
    with pytest.raises(dsl.Thrown, match="NoWriteAccessError"):
        world.call("write")


def test_only_public_methods_can_be_started_from_outside() -> None:
    world = World("Name: Main\nMethods:\n  inner: {Body: []}\n  outer: {Scope: Public, Body: []}\n").load()
    assert world.program.call("main", "outer", exposed_only=True) is None
    with pytest.raises(dsl.Thrown, match="MethodNotExposed"):
        world.program.call("main", "inner", exposed_only=True)
