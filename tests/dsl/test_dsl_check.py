"""`Runtime.check` finds everything that contracts refuse, and runs nothing."""

from __future__ import annotations

from typing import Any

from dsl_world import World

import dsl

CLASSES = """
Name: Main
Properties:
  name: {Contract: $.string().notNull()}
  database: {Contract: $.class(Database).notNull()}
  hosts: {Contract: [$.class(Host)]}
  networks: {Contract: [{name: $.string().notNull(), ports: [$.int()]}]}
  computed: {Contract: $.string(), Default: $.compute()}
  derived: {Contract: $.string(), Default: $.computed.toUpper()}
  checked: {Contract: $.int().check($this.judge($))}
  template: {Contract: $.template(Host)}
Methods:
  compute: {Body: [trace(ran)]}
  judge: {Arguments: [{v: {Contract: $}}], Body: [trace(ran)]}
  .init: {Body: [trace(ran)]}
---
Name: Database
Properties:
  size:
    Contract: $.int().check($ > 0, "at least one")
    Default: 1
Methods:
  .init:
    Arguments:
      - password: {Contract: $.string().notNull()}
---
Name: Host
Properties:
  image: {Contract: $.string().notNull()}
---
Name: Big
Extends: Host
---
Name: Loop
Properties:
  a: {Contract: $.int(), Default: $.b}
  b: {Contract: $.int(), Default: $.a}
"""


def check(root: dict[str, Any]) -> list[dsl.Violation]:
    world = World(CLASSES)
    violations = world.runtime.check({"Objects": root})
    assert world.trace == []
    return list(violations)


def main(**values: Any) -> dict[str, Any]:
    return {"?": {"type": "t.Main", "id": "m"}, **values}


def database(**values: Any) -> dict[str, Any]:
    return {"?": {"type": "t.Database", "id": "db"}, "password": "x", **values}


def host(object_id: str, **values: Any) -> dict[str, Any]:
    return {"?": {"type": "t.Host", "id": object_id}, "image": "i", **values}


def where(violations: list[dsl.Violation]) -> list[tuple[str | None, str]]:
    return [(each.object_id, each.path) for each in violations]


def test_a_good_model_has_no_violations() -> None:
    assert check(main(name="x", database=database(), hosts=[host("h")], networks=[{"name": "n", "ports": [1]}])) == []


def test_every_missing_property_is_named_with_what_belongs_there() -> None:
    first, second = check(main())
    assert (first.object_id, first.type, first.path, first.message) == ("m", "t.Main", "name", "name is required")
    assert first.expected == "a text"
    assert first.found == "nothing"
    assert second.path == "database"
    assert second.expected == "an object of Database"
    assert second.fix == "set database to an object of Database"


def test_violations_inside_lists_and_dicts_have_paths() -> None:
    networks = [{"ports": [1, "a", "b"]}, 5]
    found = check(main(name="x", database=database(), networks=networks))
    assert where(found) == [
        ("m", "networks[0].name"),
        ("m", "networks[0].ports[1]"),
        ("m", "networks[0].ports[2]"),
        ("m", "networks[1]"),
    ]


def test_objects_of_wrong_unknown_and_right_classes_are_told_apart() -> None:
    hosts = [host("h"), {"?": {"type": "t.Big", "id": "b"}}, database(), {"?": {"type": "q.None", "id": "q"}}]
    found = check(main(name="x", database="db2", hosts=hosts))
    assert where(found) == [("b", "image"), ("m", "hosts[2]"), ("m", "hosts[3]"), ("m", "database")]
    assert found[1].expected == "an object of t.Host/0.0.0"
    assert found[1].found == "an object of t.Database/0.0.0"
    assert "q.None" in found[2].message
    assert "import the package" in str(found[2].fix)


def test_an_unknown_id_is_found_wherever_it_stands() -> None:
    found = check(main(name="x", database=database(), hosts=["nobody", "h", host("h")]))
    assert where(found) == [("m", "hosts[0]")]
    assert '"nobody"' in found[0].message
    assert "describe the object there" in str(found[0].fix)


def test_constructor_arguments_are_checked_too() -> None:
    found = check(main(name="x", database={"?": {"type": "t.Database", "id": "db"}, "size": 0}))
    assert where(found) == [("db", "size"), ("db", "password")]
    assert found[0].message == "at least one"


def test_a_template_is_checked_like_the_object_it_describes() -> None:
    found = check(main(name="x", database=database(), template={"?": {"type": "t.Host"}}))
    assert [each.path for each in found] == ["template"]
    assert "t.Host.image" in found[0].message


def test_defaults_that_need_each_other_are_a_circle() -> None:
    (found,) = check({"?": {"type": "t.Loop", "id": "l"}})
    assert found.path == "a"
    assert "need each other" in found.message


def test_an_unknown_root_class_is_one_violation() -> None:
    (found,) = check({"?": {"type": "q.None", "id": "r"}})
    assert (found.object_id, found.type, found.path) == ("r", "q.None", "")


def test_an_empty_model_is_fine() -> None:
    assert World(CLASSES).runtime.check({"Objects": None}) == ()
    assert World(CLASSES).runtime.check({}) == ()
