"""Models come from tenants: whatever they hold, the answer is an error that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from dsl_world import World

import dsl

CLASSES = "Name: Main\nProperties: {p: {Contract: $}}\n"


def header(**values: Any) -> dict[str, Any]:
    return {"Objects": {"?": {"type": "t.Main", "id": "m", **values}}}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"Objects": 5}, "a dictionary was expected"),
        ({"Objects": [1]}, "a dictionary was expected"),
        ({"Objects": {"p": 1}}, "no type information"),
        ({"Objects": {"t:Main": {}}}, "no type information"),
        ({"Objects": {"?": 5}}, "must be a dictionary"),
        (header(type=5), "5 is not the type of an object"),
        (header(type="t.Main/^^"), "not a version condition"),
        (header(type="t.Main@zz"), 'Package "zz"'),
        (header(classVersion="7"), "is not found"),
        ({"Objects": {**header()["Objects"], "p": nested(600)}}, "more than 100 deep"),
        ({"Objects": None, "Attributes": [1]}, "a row of Attributes"),
        ({**header(), "SystemData": {"Packages": {"t": ["x"]}}}, "SystemData.Packages"),
        ({**header(), "SystemData": {"Packages": 5}}, "SystemData.Packages"),
    ],
)
def test_broken_models_are_refused_with_a_reason(model: Any, message: str) -> None:
    with pytest.raises(dsl.Thrown, match=message):
        World(CLASSES).runtime.load(model)


@pytest.mark.parametrize(
    "values",
    [{"id": 5}, {"dependencies": {"onDestruction": [5, {"subscriber": 1}]}}, {"metadata": {"a": [1]}}, {"name": 7}],
)
def test_odd_headers_are_read_as_far_as_they_make_sense(values: Any) -> None:
    program = World(CLASSES).runtime.load(header(**values))
    assert World(CLASSES).runtime.load(program.dump()).dump()["Objects"] == program.dump()["Objects"]


def test_versions_in_the_model_are_preferred() -> None:
    model = {**header(), "SystemData": {"Packages": {"t": ["0.0.0"], "gone": ["1.0.0"]}}}
    assert World(CLASSES).runtime.load(model).dump()["Objects"]["?"]["type"] == "t.Main/0.0.0@t"
