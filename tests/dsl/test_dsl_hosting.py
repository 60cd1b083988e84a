"""Host classes, effects, attributes, and what becomes of objects at the end."""

from __future__ import annotations

from typing import Any

import pytest
from dsl_world import Journal, World

import dsl


@dsl.native
class Counter:
    """A host class with state, a static method and one that is both."""

    def __init__(self, this: dsl.ObjectHandle, start: int, step_size: int = 1) -> None:
        self.this = this
        self.value = start
        self.step = step_size

    @dsl.method
    def count_up(self, times: int = 1) -> dict[str, Any]:
        self.value += self.step * times
        return {"value": self.value, "list": [self.value]}

    @dsl.method(name="who")
    def describe(self) -> list[Any]:
        owner = self.this.owner
        return [self.this.id, self.this.type, owner.id if owner is not None else None, self.this.get("label")]

    @dsl.method
    def ask(self, question: str) -> Any:
        return self.this.effect("echo", value=question)

    @dsl.method
    def remember(self, value: Any) -> Any:
        self.this.set_attribute("memory", value)
        self.this.set("label", "written")
        return [self.this.attribute("memory"), self.this.call("hello", "you"), self.this.find_owner("t.Main")]

    @dsl.method(static=True)
    def package_name() -> str:
        package = dsl.caller_package()
        assert package is not None
        return package.full_name

    @dsl.method(static=True, instance=True)
    def either(self: Any, x: int) -> list[Any]:
        return [self is not None, x]

    @dsl.method
    def fail(self) -> None:
        raise dsl.SystemFailure("com.example.CloudError", "no quota", {"code": 413})

    def hidden(self) -> None:
        raise AssertionError("not a method of the language")


CLASSES = """
Name: Main
Properties:
  counter: {Contract: $.class(Counter)}
Methods:
  up: {Body: [!yaql "$.counter.countUp()", {Return: !yaql "$.counter.countUp(times => 3)"}]}
  who: {Body: [{Return: !yaql "$.counter.who()"}]}
  ask: {Body: [{Return: !yaql "$.counter.ask(why)"}]}
  remember: {Body: [{Return: !yaql "$.counter.remember({a => 1})"}]}
  both: {Body: [{Return: !yaql "[:Counter.either(1), $.counter.either(2), :Counter.packageName()]"}]}
  hidden: {Body: [!yaql "$.counter.hidden()"]}
  tooMany: {Body: [!yaql "$.counter.countUp(1, 2, 3)"]}
  caught:
    Body:
      - Try:
          - $.counter.fail()
        Catch:
          - With: com.example.CloudError
            As: e
            Do:
              - Return: [$e.message, $e.extra]
---
Name: Counter
Properties:
  start: {Contract: $.int().notNull()}
  stepSize: {Contract: $.int(), Default: 2}
  label: {Contract: $.string()}
Methods:
  hello:
    Arguments: [{to: {Contract: $.string()}}]
    Body: [{Return: hello}]
"""
MODEL = {
    "?": {"type": "t.Main", "id": "main"},
    "counter": {"?": {"type": "t.Counter", "id": "c"}, "start": 10, "label": "mine"},
}


@pytest.fixture
def world() -> World:
    from dsl_world import Echo

    return World(CLASSES, system=Journal({"t.Counter": Counter, "t.Echo": Echo})).load(MODEL)


def test_arguments_of_the_constructor_come_from_properties_of_the_same_names(world: World) -> None:
    assert world.call("up") == {"value": 18, "list": [18]}


def test_the_handle_shows_the_object_behind_the_host_object(world: World) -> None:
    assert world.call("who") == ["c", "t.Counter", "main", "mine"]


def test_effects_carry_their_object_and_place(world: World) -> None:
    seen: list[dsl.Effect] = []
    perform = world.system.perform
    world.system.perform = lambda effect: (seen.append(effect), perform(effect))[1]
    assert world.call("ask") == "why"
    (effect,) = seen
    assert (effect.key.partition("/")[0], effect.name, effect.object_id) == ("0", "echo", "c")
    assert effect.location == "t/Classes/All.yaml:10:16" or str(effect.location).startswith("t/Classes/All.yaml:")


def test_attributes_and_properties_written_by_the_host_are_in_the_model(world: World) -> None:
    result = world.call("remember")
    assert result[:2] == [{"a": 1}, "hello"]
    model = world.program.dump()
    assert model["Attributes"] == [["c", "t.Counter", "memory", {"a": 1}]]
    assert model["Objects"]["counter"]["label"] == "written"


def test_static_methods_know_the_package_of_the_calling_code(world: World) -> None:
    assert world.call("both") == [[False, 1], [True, 2], "t"]


def test_failures_of_the_system_can_be_caught_by_their_names(world: World) -> None:
    assert world.call("caught") == ["no quota", {"code": 413}]


def test_what_is_not_marked_is_not_a_method(world: World) -> None:
    with pytest.raises(dsl.Thrown, match="NoMatchingMethod"):  # the caller has a method of that name, the receiver none
        world.call("hidden")


def test_wrong_arguments_of_a_host_method_are_refused(world: World) -> None:
    with pytest.raises(dsl.Thrown, match="ArgumentException"):
        world.call("tooMany")


def test_a_destructor_that_fails_is_reported_and_stops_nothing() -> None:
    classes = """
    Name: Main
    Properties: {items: {Contract: [$.class(Item)]}}
    Methods:
      .destroy: {Body: [trace(main)]}
    ---
    Name: Item
    Methods:
      .destroy: {Body: [{Throw: Broken}]}
    """
    copy = {"?": {"type": "t.Main", "id": "m"}, "items": [{"?": {"type": "t.Item", "id": "i"}}]}
    one = World(classes).load({"Objects": None, "ObjectsCopy": copy})
    one.program.collect()
    assert one.trace == ["main"]
    [failed] = one.program.swallowed
    assert (failed.object_id, failed.type, failed.what) == ("i", "t.Item", ".destroy")
    assert failed.error.names == ("t.Broken",)


def test_destructors_that_fail_or_run_into_limits_stop_the_destruction_of_nobody_else() -> None:
    classes = """
    Namespaces: {=: t, sys: io.murano.system}
    Name: Main
    Properties: {items: {Contract: [$.class(Item)]}}
    Methods:
      .init:
        Body:
          - For: each
            In: $.items
            Do: [!yaql "sys:GC.subscribeDestruction($each, $, onItem)"]
      onItem:
        Arguments: [{item: {Contract: $}}]
        Body:
          - If: $item.way = handler
            Then: [{While: !yaql "true", Do: []}]
      .destroy: {Body: [trace(main)]}
    ---
    Name: Item
    Properties: {way: {Contract: $.string()}}
    Methods:
      again: {Body: [!yaql "$.again()"]}
      .destroy:
        Body:
          - Match:
              loop: [{While: !yaql "true", Do: []}]
              deep: [!yaql "$.again()"]
              broken: [{Throw: Broken}]
            Value: $.way
            Default: [trace($.way)]
    """
    ways = ["loop", "broken", "deep", "handler", "loop", "one", "broken", "two"]
    items = [{"?": {"type": "t.Item", "id": f"{n}-{way}"}, "way": way} for n, way in enumerate(ways)]
    copy = {"?": {"type": "t.Main", "id": "m"}, "items": items}
    one = World(classes, limits=dsl.Limits(steps=200_000)).load({"Objects": None, "ObjectsCopy": copy})
    one.program.collect()
    assert sorted(one.trace) == ["handler", "main", "one", "two"]
    failed = sorted((each.object_id, each.what, each.error.names[0]) for each in one.program.swallowed)
    limit = "dsl.LimitExceeded"
    assert failed == [
        ("0-loop", ".destroy", limit),
        ("1-broken", ".destroy", "t.Broken"),
        ("2-deep", ".destroy", limit),
        ("4-loop", ".destroy", limit),
        ("6-broken", ".destroy", "t.Broken"),
        ("m", "onItem", limit),
    ]
    assert all("t.Item" in each.error.formatted() for each in one.program.swallowed if each.what == ".destroy")


def test_a_destructor_that_uses_up_all_time_leaves_some_for_the_others() -> None:
    classes = """
    Name: Main
    Properties: {items: {Contract: [$.class(Item)]}}
    Methods:
      .destroy: {Body: [trace(main)]}
    ---
    Name: Item
    Methods:
      .destroy: {Body: [{While: !yaql "true", Do: []}]}
    """
    copy = {"?": {"type": "t.Main", "id": "m"}, "items": [{"?": {"type": "t.Item", "id": f"i{n}"}} for n in range(3)]}
    one = World(classes, limits=dsl.Limits(steps=10**9, seconds=0.2)).load({"Objects": None, "ObjectsCopy": copy})
    one.program.collect()
    assert one.trace == ["main"]
    assert ["seconds" in each.error.formatted() for each in one.program.swallowed] == [True] * 3


def test_destructors_that_all_run_into_a_limit_end_in_the_end() -> None:
    """No program gets a second chance for ever: the host's time is bounded."""
    classes = """
    Name: Main
    Properties: {items: {Contract: [$.class(Item)]}}
    ---
    Name: Item
    Methods:
      .destroy: {Body: [{While: !yaql "true", Do: []}]}
    """
    copy = {"?": {"type": "t.Main", "id": "m"}, "items": [{"?": {"type": "t.Item", "id": f"i{n}"}} for n in range(40)]}
    one = World(classes, limits=dsl.Limits(steps=50_000)).load({"Objects": None, "ObjectsCopy": copy})
    with pytest.raises(dsl.LimitExceeded):
        one.program.collect()
    assert len(one.program.swallowed) == 20


def test_a_subscriber_outlives_its_publisher_even_if_the_publisher_owns_it() -> None:
    classes = """
    Namespaces: {=: t, sys: io.murano.system}
    Name: Main
    Properties: {stack: {Contract: $.class(Stack)}}
    Methods:
      .init: {Body: [!yaql "sys:GC.subscribeDestruction($, $.stack)"]}
      .destroy: {Body: [!yaql "$.stack.delete()"]}
    ---
    Name: Stack
    Methods:
      delete: {Body: [trace(deleted)]}
      .destroy: {Body: [trace(stack)]}
    """
    copy = {"?": {"type": "t.Main", "id": "m"}, "stack": {"?": {"type": "t.Stack", "id": "s"}}}
    one = World(classes).load({"Objects": None, "ObjectsCopy": copy})
    one.program.collect()
    assert one.trace == ["deleted", "stack"]
    assert one.program.swallowed == []


def test_what_others_call_in_their_destructors_goes_last() -> None:
    """The deepest are destroyed first over the whole batch: a helper of the root serves objects three levels down."""
    classes = """
    Name: Main
    Properties:
      notifier: {Contract: $.class(Notifier)}
      apps: {Contract: [$.class(App)]}
    Methods:
      .destroy: {Body: [trace(main)]}
    ---
    Name: Notifier
    Methods:
      untrack: {Arguments: [{o: {Contract: $}}], Body: [trace(id($o))]}
      .destroy: {Body: [trace(notifier)]}
    ---
    Name: App
    Properties: {instance: {Contract: $.class(Instance)}}
    Methods:
      .destroy: {Body: [trace(app)]}
    ---
    Name: Instance
    Methods:
      .destroy: {Body: [!yaql "$.find(Main).notifier.untrack($)"]}
    """
    apps = [
        {"?": {"type": "t.App", "id": f"a{n}"}, "instance": {"?": {"type": "t.Instance", "id": f"i{n}"}}}
        for n in (1, 2)
    ]
    copy = {"?": {"type": "t.Main", "id": "m"}, "notifier": {"?": {"type": "t.Notifier", "id": "n"}}, "apps": apps}
    one = World(classes).load({"Objects": None, "ObjectsCopy": copy})
    one.program.collect()
    assert one.program.swallowed == []
    assert one.trace == ["i1", "i2", "notifier", "app", "app", "main"]


def test_a_template_is_saved_with_the_name_of_its_type() -> None:
    classes = """
    Name: Main
    Properties:
      template: {Contract: $.template(Item)}
      copies: {Contract: [$.class(Item)], Usage: Out}
    Methods:
      make: {Body: [{$.copies: !yaql "list(new($.template, $this))"}, {Return: $.copies.first().n}]}
    ---
    Name: Item
    Properties: {n: {Contract: $.int(), Default: 7}}
    """
    one = World(classes).load({"?": {"type": "t.Main", "id": "m"}, "template": {"?": {"type": "t.Item"}}})
    assert one.program.call("m", "make") == 7
    saved = one.program.dump()["Objects"]["template"]
    assert (saved["?"]["type"], saved["n"]) == ("t.Item/0.0.0@t", 7)


GARBAGE = """
Namespaces: {=: t, sys: io.murano.system}
Name: Main
Methods:
  sweep: {Body: [!yaql "sys:GC.collect()", {Return: 1}]}
  make: {Body: [{Return: new(Item)}]}
  argument: {Body: [{Return: !yaql "$.both(new(Item), $.sweep())"}]}
  receiver: {Body: [{Return: !yaql "new(Item).sweepAndTell($)"}]}
  list: {Body: [{Return: !yaql "[$.make(), $.sweep()].first().alive()"}]}
  query: {Body: [{Return: !yaql "list(new(Item), $.make()).select($.sweepAndTell($this)).last()"}]}
  both:
    Arguments: [{a: {Contract: $}}, {b: {Contract: $}}]
    Body: [{Return: !yaql "$a.alive()"}]
  dropped:
    Body:
      - $x: $.make()
      - $x: new(Item)
      - $x: null
      - sys:GC.collect()
---
Name: Item
Methods:
  alive: {Body: [{Return: true}]}
  sweepAndTell: {Arguments: [{m: {Contract: $}}], Body: [!yaql "$m.sweep()", {Return: !yaql "$.alive()"}]}
  .destroy: {Body: [trace(destroyed)]}
"""


@pytest.mark.parametrize("method", ["argument", "receiver", "list", "query"])
def test_a_collection_spares_what_an_unfinished_expression_holds(method: str) -> None:
    one = World(GARBAGE).load()
    assert one.call(method) is True
    assert one.trace == []
    one.program.collect()
    assert set(one.trace) == {"destroyed"}


def test_a_collection_destroys_what_was_dropped() -> None:
    one = World(GARBAGE).load()
    one.call("dropped")
    assert one.trace == ["destroyed", "destroyed"]


def test_excluded_paths_of_a_template_lead_to_one_place_each() -> None:
    classes = """
    Name: Main
    Properties:
      template:
        Contract: $.template(Item, excludeProperties => [n, 'child.m'])
    ---
    Name: Item
    Properties:
      n: {Contract: $.int().notNull()}
      m: {Contract: $.int().notNull()}
      child: {Contract: $.class(Item)}
    """
    child = {"?": {"type": "t.Item"}, "n": 1}
    template = {"?": {"type": "t.Item"}, "m": 1, "child": child}
    one = World(classes).load({"?": {"type": "t.Main", "id": "m"}, "template": template})
    saved = one.program.dump()["Objects"]["template"]
    assert sorted(saved) == ["?", "child", "m"]
    assert sorted(saved["child"]) == ["?", "child", "n"]
    with pytest.raises(dsl.Thrown, match=r"t.Item.n\] null value violates"):
        World(classes).load(
            {"?": {"type": "t.Main", "id": "m"}, "template": {**template, "child": {"?": {"type": "t.Item"}}}}
        )


def test_finalize_gives_a_model_that_loads_to_the_same(world: World) -> None:
    world.call("remember")
    model = world.program.finalize()
    again = World(CLASSES, system=world.system).load(model)
    assert again.program.dump() == model
