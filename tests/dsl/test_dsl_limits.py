"""Packages can not use up the host."""

from __future__ import annotations

import time

import pytest
from dsl_world import Journal, World

import dsl

CLASSES = """
Name: Main
Properties:
  all: {Contract: [$], Usage: Runtime, Default: []}
Methods:
  forever:
    Body:
      - Try:
          - While: $this != null
            Do: []
        Catch:
          - Do: [trace(caught)]
        Finally:
          - trace(finally)
  patient:
    Body:
      - sleep(0)
      - Parallel:
          - sleep(0)
          - sleep(0)
      - Return: 3
  parallel:
    Body:
      - Parallel:
          - $.forever()
          - $.forever()
  recursive: {Body: [!yaql "$.recursive()"]}
  mutual:
    Arguments: [{n: {Contract: $.int()}}]
    Body:
      - Return: list(1).select($this.mutual($ + 1)).first()
  many:
    Body:
      - Repeat: 100000
        Do:
          - $x: new(Main)
  wide: {Body: [{Return: !yaql "range(100000).select($)"}]}
  heavy:
    Body:
      - $s: x
      - Repeat: 40
        Do:
          - $s: $s + $s
  huge:
    Body:
      - $n: 3
      - Repeat: 60
        Do:
          - $n: $n * $n
  queries:
    Body:
      - $l: range(1000)
      - $l.select($l.select($l.select($l.select(1))))
  growing:
    Body:
      - $d: {}
      - For: i
        In: range(2000)
        Do:
          - For: j
            In: range(20)
            Do:
              - $d[$i * 20 + $j]: 1
  nested:
    Body:
      - $x: []
      - Repeat: 100000
        Do:
          - $x: [$x]
      - Return: {$x: 1}
  nestedByPath:
    Body:
      - $x: {}
      - Repeat: 100000
        Do:
          - $x.a: $x
  doubled:
    Body:
      - $x: [1]
      - Repeat: 60
        Do:
          - $x: [$x, $x]
      - Return: {$x: 1}
  deep:
    Arguments: [{n: {Contract: $.int()}}]
    Body:
      - If: $n = 0
        Then: [{Return: 0}]
      - Return: $.deep($n - 1) + 1
"""


def exceeded(method: str, **limits: float) -> dsl.LimitExceeded:
    world = World(CLASSES, limits=dsl.Limits(**limits)).load()  # type: ignore[arg-type]
    with pytest.raises(dsl.LimitExceeded) as caught:
        world.call(method)
    assert world.trace == []
    return caught.value


def test_an_endless_loop_ends_with_its_line() -> None:
    error = exceeded("forever", steps=100_000)
    assert error.limit == "steps"
    assert [(frame.method, frame.type) for frame in error.stack] == [("forever", "t.Main")]
    assert "All.yaml" in error.formatted()


def test_processor_time_ends_a_loop_too() -> None:
    assert exceeded("forever", seconds=0.2).limit == "seconds"


def test_what_a_program_waits_for_effects_and_other_programs_is_not_counted() -> None:
    """The processor time of effects is not either; parallel branches count together, one baton after the other."""

    class Working(Journal):
        def perform(self, effect: dsl.Effect) -> object:
            if effect.name == "sleep":
                ends = time.thread_time() + 0.11
                while time.thread_time() < ends:  # it computes, and the others wait
                    pass
            return super().perform(effect)

    world = World(CLASSES, limits=dsl.Limits(seconds=0.1), system=Working()).load()
    assert world.call("patient") == 3
    world = World(CLASSES, limits=dsl.Limits(seconds=0.2), system=Working()).load()
    with pytest.raises(dsl.LimitExceeded) as caught:
        world.call("parallel")
    assert caught.value.limit == "seconds"


def test_queries_inside_queries_are_loops_too() -> None:
    assert exceeded("queries", steps=100_000).limit == "steps"


def test_a_system_can_end_a_program_that_makes_no_effects() -> None:
    class Cancelling(Journal):
        asked = 0

        def checkpoint(self) -> None:
            self.asked += 1
            if self.asked == 3:
                raise dsl.Interrupted("cancelled")

    world = World(CLASSES, system=Cancelling()).load()
    with pytest.raises(dsl.Interrupted, match="cancelled"):
        world.call("forever")
    assert world.trace == []


def test_endless_recursion_ends() -> None:
    error = exceeded("recursive")
    assert error.limit == "recursion"
    assert len(error.stack) > 100


def test_recursion_through_lambdas_ends() -> None:
    world = World(CLASSES).load()
    with pytest.raises(dsl.LimitExceeded) as caught:
        world.call("mutual", 1)
    assert caught.value.limit == "recursion"


def test_recursion_within_the_limit_works() -> None:
    assert World(CLASSES).load().call("deep", 350) == 350


def test_the_number_of_objects_is_limited() -> None:
    assert exceeded("many", objects=500).limit == "objects"


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("wide", "CollectionTooLarge"),
        ("heavy", "MemoryQuota"),
        ("growing", "MemoryQuota"),
        ("nested", "MemoryQuota"),
        ("nestedByPath", "MemoryQuota"),
        ("doubled", "MemoryQuota"),
        ("huge", "MemoryQuota"),
    ],
)
def test_large_values_are_errors_that_packages_can_catch(method: str, name: str) -> None:
    with pytest.raises(dsl.Thrown, match=name):
        World(CLASSES).load().call(method)


def test_a_model_can_not_grow_without_end_by_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsl.runtime.serialization.MAX_PARTS", 50_000)
    classes = """
    Name: Main
    Properties:
      items: {Contract: [$.class(Item)], Usage: Out}
    Methods:
      run:
        Body:
          - $x: list(1)
          - Repeat: 10
            Do: [{$x: [$x, $x]}]
          - $.items: range(100).select(new(Item, $this, v => $x))
    ---
    Name: Item
    Properties: {v: {Contract: $}}
    """
    world = World(classes).load()
    world.call("run")
    with pytest.raises(dsl.Thrown, match="more than 50000 parts"):
        world.program.dump()
