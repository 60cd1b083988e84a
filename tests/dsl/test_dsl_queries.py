"""`where` and `select` are comprehensions where the collection allows it; nobody can tell from what they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dsl_attack import attempt, caught, expression, fails, is_stopped, package
from dsl_world import World

import dsl

Run = Callable[..., Any]

GIVEN = {
    "[1, 2, 3].where($ > 1)": [2, 3],
    "[1, 2, 3].where($ > 1).where($ < 3)": [2],
    "[1, 2, 3].where($ > 1).select($ * 2)": [4, 6],
    "[1, 2, 3].select($ * 2).where($ > 2).select($ - 1)": [3, 5],
    "[1, 2, 3].filter($ > 1).map($ * 2).sum()": 10,
    "([1, 2, 3].where($ > 1)).select($ * 2)": [4, 6],
    "[1, 2].select([$1, $2])": [[1, None], [2, None]],
    "[[1, 2], [3]].select($.where(true)).select([$])": [[[1, 2]], [[3]]],
    "[[1, 2], [3]].select($.select($ + 1).toList()).where($.len() > 1)": [[2, 3]],
    "[[1, 2], [3]].select($.where(true)).select($)": [[1, 2], [3]],
    "let(x => [1, 2].where(true)) -> [$x]": [[1, 2]],
    "range(200).where($ mod 50 = 0).select($ / 50)": [0, 1, 2, 3],
    "[1, 2, 3].skip(1).where($ > 2)": [3],
    "[2, 1].orderBy($).select($ + 1)": [2, 3],
    "set(1, 2, 2).where($ > 1)": [2],
    "{a => 1}.values().select($ + 1)": [2],
    "[{a => 1}, {a => 2}].where($.a > 1).select($.a)": [2],
    "[{a => 1}, {a => 2}].a.where($ > 1)": [2],
    "[1, null, 3].where($)": [1, 3],
    "[].select($ / 0)": [],
    "[4, 0].select(8 / $).first()": 2,
    "str([1].select($))": "<sequence>",
}


@pytest.mark.parametrize(("text", "value"), GIVEN.items(), ids=GIVEN)
def test_a_query_gives(run: Run, text: str, value: Any) -> None:
    assert run(expression(text)) == value


@pytest.mark.parametrize("text", ["{a => 1}.select($)", "null.where($)", "abc.select($)", "5.where(true)"])
def test_what_is_no_list_has_no_queries(text: str) -> None:
    fails(package(expression(text)), "NoMatchingMethod")


def test_a_lambda_fails_in_its_own_line() -> None:
    error = fails(package("- $x: [2, 1, 0]\n- Return: $x.where($ > -1).select(2 / $)"), "ZeroDivisionError")
    assert [(each.method, each.line) for each in error.stack] == [("run", 9)]


def test_lambdas_are_evaluated_item_by_item_and_only_as_far_as_needed() -> None:
    world = World(package(expression("[1, 2, 3].where(trace($) > 1).select(trace($ * 10)).first()"))).load()
    assert world.call("run") == 20
    assert world.trace == [1, 2, 20]


def test_a_lambda_that_gives_a_query_is_done_before_the_next_item() -> None:
    world = World(package(expression("[[1, 2], [3]].select($.select(trace($)))"))).load()
    assert world.call("run") == [[1, 2], [3]]
    assert world.trace == [1, 2, 3]


def test_methods_of_an_object_s_own_class_win() -> None:
    more = "  where:\n    Arguments: [x: {Contract: $}]\n    Body: [{Return: $x + 1}]\n"
    world = World(package("- $v: 5\n- Return: $.where($v)", more)).load()
    assert world.call("run") == 6


def test_extension_methods_win() -> None:
    more = """  select:
    Usage: Extension
    Arguments: [items: {Contract: [$.int()]}, x: {Contract: $}]
    Body: [{Return: [extended, $x]}]
"""
    world = World(package(expression("[list(1, 2).select(5), list(1).where(true).select(6)]"), more)).load()
    assert world.call("run") == [["extended", 5], ["extended", 6]]


ENDLESS = {
    "plain_lambdas": "$l.where($ < 0).select($ + 1)",
    "lambdas_that_call": "$l.where(len(a) < 0)",
    "a_query_of_a_query": "$l.select($ + 1).select($ + 1).where($ < 0)",
}


@pytest.mark.parametrize("query", ENDLESS.values(), ids=ENDLESS)
def test_each_item_of_a_query_counts(query: str) -> None:
    body = f"- $l: range(1000)\n- While: $this != null\n  Do:\n    - $x: {query}"
    is_stopped(package(body), "steps", limits=dsl.Limits(steps=100_000))
    once = f"- $l: range(1000)\n- Return: {query}"
    assert isinstance(attempt(package(once), limits=dsl.Limits(steps=900)), dsl.LimitExceeded)
    assert attempt(package(once), limits=dsl.Limits(steps=5_000)) == []


def test_a_query_that_ends_early_counts_little() -> None:
    body = "- $l: range(1000)\n- Repeat: 100\n  Do:\n    - $x: $l.where($ >= 0).first()\n- Return: $x"
    assert attempt(package(body), limits=dsl.Limits(steps=2_000)) == 0


def test_a_query_over_too_many_items_is_refused() -> None:
    fails(package("- $l: range(20)\n- Return: $l.where(true)"), "CollectionTooLarge", limits=dsl.Limits(iterators=10))


def test_a_query_can_not_nest_lists_for_ever() -> None:
    fails(package("- $x: [1]\n- Repeat: 1000\n  Do:\n    - $x: $x.select([$])\n    - $x: [$x]"), "MemoryQuota")


def test_a_limit_that_a_lambda_meets_can_not_be_caught() -> None:
    body = "- $l: range(1000)\n- While: $this != null\n  Do:\n    - $x: $l.where($ < 0)"
    is_stopped(package(caught(body)), "steps", limits=dsl.Limits(steps=20_000))


def test_a_lambda_sees_the_method_s_variables_and_this(run: Run) -> None:
    body = "- $n: 2\n- $f: !yaql '[1, 2, 3].where($ >= $n).select([$, $n, id($this) = main])'\n- $n: 9\n- Return: $f"
    assert run(body) == [[2, 2, True], [3, 2, True]]


def test_parallel_branches_have_queries_of_their_own() -> None:
    body = """
    - Parallel:
        - $a: range(100).where($ > 97).select($ + 1)
        - $b: range(100).where($ > 98).select($ + 2)
    - Return: [$a, $b]
    """
    assert attempt(package(body)) == [[99, 100], [101]]
