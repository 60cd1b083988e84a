"""The arguments of an action, as people type them."""

from __future__ import annotations

import pytest

from dashboard import arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  \n\n", {}),
        ("times=3", {"times": 3}),
        ("name=north\r\nfast = true\n", {"name": "north", "fast": True}),
        ("url=http://host/?a=b", {"url": "http://host/?a=b"}),
        ('number_as_text="3"', {"number_as_text": "3"}),
        ("names=[1, 2]", {"names": [1, 2]}),
        ("empty=", {"empty": ""}),
        ("not_a_number=NaN", {"not_a_number": "NaN"}),
        ('{"a": {"b": null}}', {"a": {"b": None}}),
    ],
)
def test_lines_and_objects_are_understood(text, expected):
    assert arguments.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=1\nthree times", "line 2: expected name=value, found 'three times'"),
        ("a b=1", "line 1: expected name=value"),
        ("=1", "line 1: expected name=value"),
        ("a=1\na=2", "line 2: a is given a second time"),
        ('{"a": ', "expected a JSON object"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_neither_is_told_with_its_place(text, said):
    with pytest.raises(arguments.Mistake, match=said):
        arguments.parse(text)


def test_a_value_nested_beyond_reason_is_text():
    assert arguments.parse("a=" + "[" * 100_000)["a"].startswith("[[")
