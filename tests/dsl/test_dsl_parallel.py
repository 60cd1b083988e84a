"""Logical threads: one at a time, in an order that a journal can repeat."""

from __future__ import annotations

from typing import Any

import pytest
from dsl_world import Echo, Journal, World

import dsl

CLASSES = """
Namespaces: {=: t}
Name: Main
Properties:
  count: {Contract: $.int(), Usage: Runtime, Default: 0}
  log: {Contract: [$], Usage: Runtime, Default: []}
Methods:
  add:
    Arguments:
      - n: {Contract: $.int()}
    Body:
      - $before: $.count
      - $.count: $before + 1
      - :Echo.say($n)
      - $.log: $.log + list($n)
      - :Echo.say($n * 10)
      - $.log: $.log + list($n * 10)
  free:
    Body:
      - range(5).pselect(:Echo.say($))
  fan:
    Body:
      - Parallel:
          - $.a()
          - $.b()
          - $.c()
      - Return: $.log
  a:
    Body:
      - :Echo.say(a)
      - $.log: $.log + list(a1)
      - :Echo.say(a)
      - $.log: $.log + list(a2)
  b:
    Body:
      - :Echo.say(b)
      - $.log: $.log + list(b1)
      - :Echo.say(b)
      - $.log: $.log + list(b2)
  c: {Body: [{$.log: $.log + list(c1)}]}
  ids:
    Body:
      - Parallel:
          - $x: new(Item)
          - $y: new(Item)
      - Return: [id($x), id($y), id(new(Item))]
  limited:
    Body:
      - Parallel:
          - $.a()
          - $.b()
        Limit: 1
      - Return: $.log
  racing:
    Body:
      - range(20).pselect($this.bump($))
      - Return: $.count
  bump:
    Arguments:
      - n: {Contract: $.int()}
    Body:
      - $seen: $.count
      - :Echo.say($n)
      - $.count: $seen + 1
  fanOut:
    Arguments:
      - depth: {Contract: $.int()}
    Body:
      - If: $depth > 0
        Then:
          - range(2).pselect($this.fanOut($depth - 1))
      - :Echo.say($depth)
      - $.count: $.count + 1
      - Return: $.count
  crossed:
    Body:
      - $x: new(Peer)
      - $y: new(Peer)
      - Parallel:
          - $x.go($y)
          - $y.go($x)
  failing:
    Body:
      - Parallel:
          - Do:
              - :Echo.say(slow)
              - Throw: First
          - Throw: Second
---
Name: Item
---
Name: Peer
Methods:
  go:
    Arguments:
      - other: {Contract: $}
    Body:
      - :Echo.say(1)
      - If: $other != null
        Then:
          - $n: null
          - $other.go($n)
---
Name: Echo
"""


def world(recorded: Journal | None = None, delays: dict[str, float] | None = None) -> World:
    return World(CLASSES, system=Journal({"t.Echo": Echo}, recorded, delays)).load()


def test_branches_run_in_order_up_to_their_first_effect() -> None:
    system = Journal({"t.Echo": Echo}, after={"0.1.0/1": "0.1.1/2"})
    result = World(CLASSES, system=system).load().call("fan")
    assert result == ["c1", "b1", "b2", "a1", "a2"]


def test_keys_name_thread_fork_branch_and_sequence() -> None:
    one = world()
    one.call("fan")
    assert {key for key, _, _ in one.system.performed} == {"0.1.0/1", "0.1.0/2", "0.1.1/1", "0.1.1/2"}


def test_a_replay_repeats_the_recorded_order_whatever_the_timing_is() -> None:
    first = world(delays={"0.1.0/1": 0.06, "0.1.1/2": 0.03})
    expected = first.call("fan")
    again = world(recorded=first.system)
    assert again.call("fan") == expected
    assert again.system.deliveries == first.system.deliveries
    assert again.system.performed == []


@pytest.mark.parametrize("kept", range(5))
def test_a_replay_of_a_journal_that_broke_off_goes_on_from_there(kept: int) -> None:
    first = world(delays={"0.1.0/1": 0.04})
    first.call("fan")
    journal = first.system
    journal.deliveries = journal.deliveries[:kept]
    journal.outcomes = {key: journal.outcomes[key] for key in journal.deliveries}
    again = world(recorded=journal)
    result = again.call("fan")
    assert sorted(result) == ["a1", "a2", "b1", "b2", "c1"]
    assert again.system.deliveries[:kept] == journal.deliveries
    assert len(again.system.performed) == 4 - kept


def test_equal_runs_have_equal_journals() -> None:
    def journal() -> tuple[Any, Any]:
        one = world(delays={"0.1.0/1": 0.02})
        one.call("fan")
        return one.system.deliveries, sorted(one.system.performed)

    assert journal() == journal()


def test_ids_of_new_objects_are_the_same_in_a_replay() -> None:
    first = world()
    ids = first.call("ids")
    assert len(set(ids)) == 3
    assert world(recorded=first.system).call("ids") == ids


def test_an_effect_that_the_record_does_not_have_is_an_error_and_not_a_guess() -> None:
    first = world()
    first.call("fan")
    first.system.deliveries[1] = "0.1.7/1"
    with pytest.raises(dsl.NonDeterministic):
        world(recorded=first.system).call("fan")


def test_a_limit_of_one_runs_branches_one_after_the_other() -> None:
    assert world().call("limited") == ["a1", "a2", "b1", "b2"]


def test_calls_of_one_method_on_one_object_exclude_each_other() -> None:
    assert world().call("racing") == 20


def test_a_method_may_fan_out_into_itself() -> None:
    assert world().call("fanOut", 3) == 15


def test_a_deadlock_is_an_error_with_a_name() -> None:
    with pytest.raises(dsl.Thrown) as caught:
        world().call("crossed")
    assert caught.value.names == ("murano.dsl.exceptions.DslInvalidOperationError",)
    assert "deadlock" in str(caught.value.message)


def test_the_first_failure_by_position_counts_after_all_have_ended() -> None:
    with pytest.raises(dsl.Thrown) as caught:
        world().call("failing")
    assert caught.value.names == ("t.First",)


class _Ending(Journal):
    def perform(self, effect: dsl.Effect) -> object:
        if effect.key.startswith("0.1.1"):
            raise dsl.Interrupted("cancelled")
        return super().perform(effect)


def test_an_interruption_in_one_branch_ends_the_whole_program_and_runs_no_finally() -> None:
    classes = """
    Name: Main
    Methods:
      run:
        Body:
          - Try:
              - Parallel:
                  - :Echo.say(1)
                  - :Echo.say(2)
                  - :Echo.say(3)
            Catch:
              - Do: [trace(caught)]
            Finally:
              - trace(finally)
    ---
    Name: Echo
    """
    one = World(classes, system=_Ending({"t.Echo": Echo})).load()
    with pytest.raises(dsl.Interrupted):
        one.call("run")
    assert one.trace == []
    assert one.program.dump()["Objects"]["?"]["id"] == "main"


def test_what_the_host_breaks_on_is_not_for_packages_to_catch() -> None:
    class Broken(Journal):
        def perform(self, effect: dsl.Effect) -> object:
            raise OSError("no database")

    classes = """
    Name: Main
    Methods:
      run: {Body: [{Try: [!yaql ":Echo.say(1)"], Catch: {Do: [trace(caught)]}}]}
    ---
    Name: Echo
    """
    one = World(classes, system=Broken({"t.Echo": Echo})).load()
    with pytest.raises(OSError, match="no database"):
        one.call("run")
    assert one.trace == []
