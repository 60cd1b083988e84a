"""Small programs and what they give; the conformance suite has the breadth, these are the corners of the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dsl_world import World

import dsl

Run = Callable[..., Any]


def test_operators_have_the_values_inline_and_in_functions(run: Run) -> None:
    assert run("- Return: !yaql '[$a0 + 1, $a0 - 1, $a0 * 3, $a0 / 2, $a0 mod 4, -$a0]'", 7) == [8, 6, 21, 3, 3, -7]
    assert run("- Return: !yaql '[$a0 + 0.5, $a0 + $a0, $a0 * 2]'", 1.5) == [2.0, 3.0, 3.0]
    assert run("- Return: !yaql '[$a0 + b, $a0 = ab, $a0 < b]'", "a") == ["ab", False, True]


def test_true_is_not_a_number_for_operators(run: Run) -> None:
    with pytest.raises(dsl.Thrown, match="NoMatchingFunctionException"):
        run("- Return: $a0 + 1", True)


def test_products_beyond_the_machine_word_are_exact(run: Run) -> None:
    assert run("- Return: $a0 * $a0 * $a0", 10**15) == 10**45


def test_each_operand_is_evaluated_once_and_in_order(run: Run) -> None:
    world = World(
        """
        Name: Main
        Methods:
          run:
            Body:
              - Return: trace(5) * trace(2) + trace(7) - trace(1)
        """
    ).load()
    assert world.call("run") == 16
    assert world.trace == [5, 2, 7, 1]


def test_nested_lambdas_see_outer_elements_by_name(run: Run) -> None:
    body = "- Return: !yaql '[1, 2].select(let(x => $) -> [10, 20].select($ + $x))'"
    assert run(body) == [[11, 21], [12, 22]]


def test_a_lambda_called_without_argument_keeps_the_outer_dollar(run: Run) -> None:
    assert run("- Return: !yaql '[3].select(switch($ > 2 => $ * 2, true => $))'") == [6]


def test_values_are_not_shared_after_a_change_through_a_path(run: Run) -> None:
    body = """
    - $a: {list: [1, {k: v}]}
    - $b: $a
    - $b.list[1].k: w
    - Return: [$a, $b]
    """
    assert run(body) == [{"list": [1, {"k": "v"}]}, {"list": [1, {"k": "w"}]}]


def test_a_return_in_finally_wins(run: Run) -> None:
    body = """
    - Try:
        - Return: try
      Finally:
        - Return: finally
    """
    assert run(body) == "finally"


def test_break_inside_try_inside_loop_leaves_the_loop(run: Run) -> None:
    body = """
    - For: x
      In: [1, 2, 3]
      Do:
        - Try:
            - If: $x = 2
              Then: [{Break: }]
          Finally:
            - $seen: $x
    - Return: [$x, $seen]
    """
    assert run(body) == [2, 2]


def test_rethrow_after_a_nested_try_raises_the_outer_exception(run: Run) -> None:
    body = """
    - Try:
        - Throw: Outer
      Catch:
        - Do:
            - Try: [{Throw: Inner}]
              Catch: [{Do: []}]
            - Rethrow:
    """
    with pytest.raises(dsl.Thrown) as caught:
        run(body)
    assert caught.value.names == ("t.Outer",)


def test_extra_is_evaluated_when_thrown(run: Run) -> None:
    body = """
    - $z: 1
    - Try:
        - Throw: E
          Extra: {k: $z}
      Catch:
        - As: e
          Do:
            - $z: 2
            - Return: $e.extra.k
    """
    assert run(body) == 1


def test_a_property_named_like_a_python_attribute_is_only_a_property(run: Run) -> None:
    properties = "{values: {Contract: $.int(), Default: 3}, cls: {Contract: $.int(), Default: 4}}"
    assert run("- Return: !yaql '[$.values, $.cls]'", properties=properties) == [3, 4]


def test_arguments_and_variables_may_have_the_names_of_python_keywords(run: Run) -> None:
    body = """
    - $None: 1
    - $lambda: 2
    - $this_: 3
    - $t_1: 4
    - Return: !yaql '[$None, $lambda, $this_, $t_1, $.m(class => 5, self => 6)]'
    """
    classes = """\
          m:
            Arguments:
              - class: {Contract: $}
              - self: {Contract: $}
            Body: [{Return: [$class, $self]}]
    """
    world = "Name: Main\nMethods:\n  run:\n    Body:\n" + "".join(
        f"      {line.strip()}\n" for line in body.strip().splitlines()
    )
    world += classes.replace("          m:", "  m:").replace("            ", "    ")
    assert World(world).load().call("run") == [1, 2, 3, 4, [5, 6]]


def test_defaults_may_be_named_like_the_parameters_of_new(run: Run) -> None:
    classes = "---\nName: Item\nProperties:\n  template: {Contract: $.int()}\n  value: {Contract: $.int()}\n"
    assert run("- Return: new(Item, template => 4, value => 5).template", classes=classes) == 4


def test_expressions_that_mean_nothing_fail_only_when_they_run(run: Run) -> None:
    body = """
    - If: false
      Then: [{$x: 10.0.0.1/24}]
    - Return: fine
    """
    assert run(body) == "fine"
    with pytest.raises(dsl.Thrown, match="NoMatchingFunction"):
        run("- Return: 10.0.0.1/24")


def test_blocks_nest_deeper_than_python_allows() -> None:
    body = "[{$n: $n + 1}, {If: $n = 3, Then: [{Return: $n}]}]"
    for level in range(30):
        body = f"[{{For: x{level}, In: [1, 2], Do: {body}}}]"
    world = World(f"Name: Main\nMethods:\n  run: {{Body: [{{$n: 0}}, {body[1:-1]}]}}\n").load()
    assert world.call("run") == 3
