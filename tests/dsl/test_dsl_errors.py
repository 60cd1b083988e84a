"""Errors name the package's own lines, in MuranoPL's stack and in Python's."""

from __future__ import annotations

import traceback

import pytest
from dsl_world import World

import dsl

CLASSES = """
Name: Main
Methods:
  outer:
    Body:
      - $x: 1
      - $.inner($x)
  inner:
    Arguments:
      - v: {Contract: $.int()}
    Body:
      - If: $v = 1
        Then:
          - Throw: Deep
            Message: here
  native:
    Body:
      - $d: {a: 1}
      - Return: list(1).select($d.b)
  branch:
    Body:
      - Parallel:
          - sleep(0)
          - Do:
              - $.inner(1)
  contract:
    Body:
      - $.inner(words)
  caught:
    Body:
      - Try:
          - $.outer()
        Catch:
          - As: e
            Do:
              - Return: $e.stackTrace.toString()
"""


def failure(method: str) -> dsl.Thrown:
    world = World(CLASSES).load()
    with pytest.raises(dsl.Thrown) as caught:
        world.call(method)
    return caught.value


def places(error: dsl.Thrown) -> list[tuple[str, int]]:
    return [(frame.method, frame.line) for frame in error.stack or ()]


def test_the_stack_has_one_frame_per_method_outermost_first() -> None:
    error = failure("outer")
    assert places(error) == [("outer", 8), ("inner", 15)]
    assert error.stack is not None
    assert error.stack[0].instruction == "$.inner($x)"
    assert error.stack[0].file == "t/Classes/All.yaml"
    assert error.from_code


def test_python_errors_get_names_and_the_place_of_the_statement() -> None:
    error = failure("native")
    assert error.names == ("KeyError",)
    assert places(error) == [("native", 20)]


def test_a_branch_tells_where_it_stood_inside_parallel() -> None:
    assert places(failure("branch")) == [("branch", 26), ("inner", 15)]


def test_a_refused_argument_belongs_to_the_caller() -> None:
    error = failure("contract")
    assert places(error) == [("contract", 29)]
    assert error.message == "[t.Main::inner(v)] Value 'words' violates int() contract"


def test_an_error_outside_of_any_method_has_no_stack() -> None:
    world = World(CLASSES).load()
    with pytest.raises(dsl.Thrown) as caught:
        world.program.call("main", "inner", "words")
    assert caught.value.stack == ()
    assert not caught.value.from_code


def test_package_code_sees_the_same_stack() -> None:
    text = World(CLASSES).load().call("caught")
    assert text.startswith('File "t/Classes/All.yaml", line 33:13 in method caught of type t.Main\n    $.outer()\n')
    assert text.index("in method outer") < text.index("in method inner")


def test_formatted_errors_read_like_deployment_results() -> None:
    text = failure("outer").formatted()
    assert text.startswith("t.Deep: here\nTraceback (most recent call last):\n")
    assert '  File "t/Classes/All.yaml", line 8:9 in method outer of type t.Main\n      $.inner($x)' in text


def test_python_tracebacks_point_into_the_yaml() -> None:
    error = failure("outer")
    lines = {(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)}
    assert ("t/Classes/All.yaml", 8) in lines
    assert ("t/Classes/All.yaml", 15) in lines


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("[{While: true, Do: []}]", 5),
        ("[foo]", 5),
        ("[{If: $x, Then: [], Extra: 1}]", 5),
        ("[{For: $x, In: [], Do: []}]", 5),
    ],
)
def test_a_broken_statement_is_found_when_the_class_is_loaded(body: str, line: int) -> None:
    with pytest.raises(dsl.Thrown, match=rf"All\.yaml:{line}:"):
        World(f"Name: Main\nMethods:\n  run:\n    Body: {body}\n").load()
