"""`new` takes a short way where values describe no further objects; it gives what the long way gives."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from dsl_world import Journal, World

import dsl
from dsl.runtime import blueprints, creation

CLASSES = """
Name: Main
Properties:
  log: {Contract: [$], Usage: Runtime, Default: []}
Methods:
  run:
    Body:
BODY
  show:
    Arguments: [x: {Contract: $}]
    Body: [{Return: $x}]
---
Name: Item
Properties:
  number: {Contract: $.int().notNull()}
  text: {Contract: $.string(), Default: none}
  tags: {Contract: [$.string()], Default: [a]}
  flags: {Contract: {$.string(): $.bool()}, Default: {up: true}}
  sum: {Contract: $.int(), Default: $.number + $.later}
  later: {Contract: $.int(), Default: 10}
  free: {Contract: $, Usage: InOut}
Methods:
  all: {Body: [{Return: [$.number, $.text, $.tags, $.flags, $.sum, $.later, $.free]}]}
---
Name: Circle
Properties:
  a: {Contract: $.int(), Default: $.b}
  b: {Contract: $.int(), Default: $.a}
---
Name: Strict
Properties:
  small: {Contract: $.int().notNull().check($ < 10)}
  unset: {Contract: $.int().notNull(), Usage: Runtime}
  bad: {Contract: $.int().notNull(), Usage: Runtime, Default: $.small}
  wrong: {Contract: $.int().check($ > 100), Usage: Runtime, Default: 1}
Methods:
  wrong: {Body: [{Return: $.wrong}]}
---
Name: Holder
Properties:
  item: {Contract: $.class(Item)}
  items: {Contract: [$.class(Item)], Default: []}
  own: {Contract: $.class(Item).owned()}
  made: {Contract: $.class(Item), Default: {":Item": {number: 7}}}
Methods:
  all: {Body: [{Return: [$.item?.number, $.items.number, $.own?.number, $.made.number, $.made.find(Holder) = $this]}]}
---
Name: Top
Properties:
  p: {Contract: $.int(), Default: 1}
Methods:
  .init:
    Arguments: [p: {Contract: $.int(), Default: 5}]
    Body: [trace(top), trace($p), {$.p: $p}]
---
Name: Left
Extends: Top
Methods:
  .init: {Body: [trace(left), trace($.p)]}
---
Name: Right
Extends: Top
---
Name: Bottom
Extends: [Left, Right]
Properties:
  p: {Contract: $.int().notNull(), Default: 3}
Methods:
  .init:
    Arguments:
      - q: {Contract: $.int().notNull()}
      - rest: {Contract: $, Usage: KwArgs}
    Body: [trace(bottom), trace($q), trace($rest)]
---
Name: Failing
Properties:
  n: {Contract: $.int()}
Methods:
  .init:
    Body:
      - If: $.n = 1
        Then: [{Throw: broken, Message: no}]
  .destroy: {Body: [trace(destroyed)]}
"""

BODIES = {
    "given": "new(Item, number => 1, text => x, tags => [1, 2], free => {a => [1]}).all()",
    "given_in_a_dict": "new(Item, {number => 2, text => null}).all()",
    "given_lazily": "new(Item, number => 1, tags => [1, 2].select(str($))).all()",
    "converted": "new(Item, number => '3', flags => {x => 1}).all()",
    "a_value_for_what_others_need": "new(Item, number => 1, later => 2).all()",
    "required_but_missing": "new(Item)",
    "of_another_type": "new(Item, number => abc)",
    "a_wrong_list": "new(Item, number => 1, tags => [[1]])",
    "null_where_none_may_be": "new(Item, number => null)",
    "defaults_in_a_circle": "new(Circle)",
    "a_circle_that_is_broken": "new(Circle, a => 1)",
    "a_check": "new(Strict, small => 9)",
    "a_check_that_fails": "new(Strict, small => 10)",
    "what_the_class_does_not_have": "new(Item, number => 1, nothing => 1, '?' => 2).all()",
    "owner_and_name": "let(x => new(Item, $this, title, number => 1)) -> [name($x), $x.find(Main) = $this]",
    "owner_alone": "let(x => new(Item, $this, number => 1)) -> [name($x), $x.find(Main) = $this]",
    "an_object": "new(Holder, item => new(Item, number => 1), items => [new(Item, number => 2)]).all()",
    "a_description": "new(Holder, item => {':Item' => {number => 4}}).all()",
    "descriptions": "new(Holder, items => [{':Item' => {number => 4}}, new(Item, number => 5)]).all()",
    "an_id": "let(x => new(Item, number => 6)) -> new(Holder, made => null, items => [id($x)]).items.number",
    "an_unknown_id": "new(Holder, item => nobody)",
    "one_item_for_a_list": "new(Holder, items => new(Item, number => 3)).all()",
    "not_owned": "new(Holder, own => new(Item, number => 3))",
    "of_another_class": "new(Holder, item => $this)",
    "constructors": "new(Bottom, p => 8, q => 9, other => 10).p",
    "a_constructor_without_its_argument": "new(Bottom, p => 8)",
    "a_constructor_that_fails": "new(Failing, n => 1)",
    "a_constructor_that_does_not": "new(Failing, n => 2).n",
    "a_runtime_default_that_its_contract_refuses": "new(Strict, small => 1).wrong()",
    "of_no_class": "new(Nothing, a => 1)",
    "of_a_type": "new(:Item, number => 1).all()",
    "of_nothing": "new()",
    "of_a_dict": "new({':Item' => {number => 5}}).all()",
}


class SameIds(Journal):
    """Two programs give their objects the same ids."""

    def perform(self, effect: dsl.Effect) -> object:
        return "0" * 32 if effect.name == "random.id" else super().perform(effect)


def outcome(text: str) -> Any:
    """(what came of it, what was traced, objects left in the store)"""
    body = textwrap.indent('- Return: !yaql "' + text.replace('"', '\\"') + '"', "      ")
    source = CLASSES.replace("BODY", body)
    world = World(source, system=SameIds({})).load()
    try:
        result: Any = world.call("run")
    except dsl.Thrown as error:
        result = (error.names, str(error.message), [(frame.method, frame.line) for frame in error.stack])
    return result, world.trace, [str(each.cls) for each in world.program.store.values()]


@pytest.mark.parametrize("text", BODIES.values(), ids=BODIES)
def test_both_ways_give_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = outcome(text)

    class Never(blueprints.Blueprint):
        def suits(self, values: Any) -> bool:
            return False

    monkeypatch.setattr(creation, "Blueprint", Never)
    monkeypatch.setattr(Never, "is_plain", property(lambda self: False, lambda self, value: None), raising=False)
    assert short == outcome(text)


def test_an_object_has_its_values_defaults_and_constructors() -> None:
    assert outcome(BODIES["given"])[0] == [1, "x", ["1", "2"], {"up": True}, 11, 10, {"a": [1]}]
    assert outcome(BODIES["constructors"]) == (
        5,
        ["top", 8, "left", 8, "top", 5, "bottom", 9, {"other": 10}],
        ["t.Main/0.0.0", "t.Bottom/0.0.0"],
    )


def test_an_object_whose_constructor_fails_is_gone() -> None:
    result, trace, left = outcome(BODIES["a_constructor_that_fails"])
    assert result[0][0].endswith("broken")
    assert trace == []
    assert left == ["t.Main/0.0.0"]


def test_a_required_property_is_named() -> None:
    result, _, _ = outcome(BODIES["required_but_missing"])
    assert "t.Item.number" in result[1]


def test_a_value_of_the_configuration_comes_before_the_default() -> None:
    source = CLASSES.replace("BODY", '      - Return: !yaql "new(Item, number => 1).all()"')
    world = World(source)
    world.runtime.configuration = lambda name, version: {"text": "configured"} if name == "t.Item" else None
    assert world.load().call("run")[1] == "configured"


def test_ids_are_the_same_in_every_run_of_the_same_journal() -> None:
    source = CLASSES.replace("BODY", '      - Return: !yaql "range(3).select(id(new(Item, number => $)))"')
    world = World(source).load()
    ids = world.call("run")
    assert len(set(ids)) == 3
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)
    again = World(source, system=Journal(recorded=world.system))
    assert again.load().call("run") == ids
