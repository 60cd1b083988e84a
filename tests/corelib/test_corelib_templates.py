"""HeatStack's own merge rules (spec/core-library §9.1)."""

from __future__ import annotations

import time

import pytest

from engine.system.templates import merge_templates


def test_dictionaries_merge_recursively_and_leave_their_sources_alone():
    base = {"resources": {"a": {"type": "T", "properties": {"x": 1}}}}
    update = {"resources": {"a": {"properties": {"y": 2}}, "b": {"type": "U"}}}

    merged = merge_templates(base, update)

    assert merged == {"resources": {"a": {"type": "T", "properties": {"x": 1, "y": 2}}, "b": {"type": "U"}}}
    assert base == {"resources": {"a": {"type": "T", "properties": {"x": 1}}}}


def test_lists_concatenate_without_duplicates_in_order():
    assert merge_templates({"l": [1, 2]}, {"l": [2, 3, 1]}) == {"l": [1, 2, 3]}
    assert merge_templates({"l": [{"a": 1}]}, {"l": [{"a": 1}, {"b": 2}]}) == {"l": [{"a": 1}, {"b": 2}]}


def test_of_two_scalars_of_a_type_the_second_wins():
    assert merge_templates({"s": "old", "n": 1, "b": True}, {"s": "new", "n": 2, "b": False}) == {
        "s": "new",
        "n": 2,
        "b": False,
    }


def test_of_a_text_and_a_null_the_first_is_kept():
    assert merge_templates({"k": None}, {"k": "text"}) == {"k": None}
    assert merge_templates({"k": "text"}, {"k": None}) == {"k": "text"}


def test_what_does_not_go_together_names_its_place():
    with pytest.raises(TypeError, match="/resources/a: dict is there, str is to be merged in"):
        merge_templates({"resources": {"a": {}}}, {"resources": {"a": "x"}})
    with pytest.raises(TypeError, match="/n: int is there, str"):
        merge_templates({"n": 1}, {"n": "1"})


def test_long_lists_merge_in_no_time():
    started = time.process_time()
    merged = merge_templates({"l": [{"n": n} for n in range(20_000)]}, {"l": [{"n": n} for n in range(10_000, 30_000)]})
    assert merged["l"] == [{"n": n} for n in range(30_000)]
    assert time.process_time() - started < 20
