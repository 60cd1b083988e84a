"""What one turn of a loop, one call, one query, one object costs, beside the same written in plain Python."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from measure import Row, compare

import dsl
from dsl.packages import Package
from dsl.packages.archives import MemoryFiles

PACKAGE = {
    "manifest.yaml": b'Format: "1.4"\nFullName: bench\nType: Library\n'
    b"Classes: {bench.Bench: Bench.yaml, bench.Item: Bench.yaml}\n",
    "Classes/Bench.yaml": b"""
Namespaces: {=: bench}
Name: Bench
Properties:
  p: {Contract: $.int(), Usage: InOut, Default: 1}
  items: {Contract: [$.class(Item)], Usage: InOut, Default: []}
Methods:
  count:
    Arguments: [n: {Contract: $.int()}]
    Body:
      - $i: 0
      - While: $i < $n
        Do:
          - $i: $i + 1
  arithmetic:
    Arguments: [n: {Contract: $.int()}]
    Body:
      - $x: 0
      - For: i
        In: range($n)
        Do:
          - $x: $x + $i * 2 - 1
  read:
    Arguments: [n: {Contract: $.int()}]
    Body: [{Repeat: $n, Do: [{$x: $.p}]}]
  write:
    Arguments: [n: {Contract: $.int()}]
    Body: [{Repeat: $n, Do: [{$.p: 5}]}]
  two:
    Arguments:
      - a: {Contract: $.int().notNull()}
      - b: {Contract: $.string()}
    Body: [{Return: $a}]
  callTwo:
    Arguments: [n: {Contract: $.int()}]
    Body: [{Repeat: $n, Do: [!yaql "$.two(1, abc)"]}]
  select:
    Arguments: [n: {Contract: $.int()}]
    Body:
      - $l: range($n)
      - $x: $l.where($ mod 3 = 0).select($ + 1)
  make:
    Arguments: [n: {Contract: $.int()}]
    Body: [{Repeat: $n, Do: [{$x: !yaql "new(Item, a => 1, b => text)"}]}]
---
Name: Item
Properties:
  a: {Contract: $.int().notNull()}
  b: {Contract: $.string()}
  c: {Contract: [$.string()], Default: []}
Methods:
  .init:
    Body: [{$.x: 1}]
""",
}


class Twin:
    """The same in Python."""

    def __init__(self) -> None:
        self.p = 1

    def count(self, n: int) -> None:
        i = 0
        while i < n:
            i = i + 1

    def arithmetic(self, n: int) -> None:
        x = 0
        for i in range(n):
            x = x + i * 2 - 1

    def read(self, n: int) -> None:
        for _ in range(n):
            x = self.p  # noqa: F841

    def write(self, n: int) -> None:
        for _ in range(n):
            self.p = 5

    def two(self, a: int, b: str) -> int:
        return a

    def callTwo(self, n: int) -> None:
        for _ in range(n):
            self.two(1, "abc")

    def select(self, n: int) -> None:
        items = tuple(range(n))
        x = tuple([each + 1 for each in items if each % 3 == 0])  # noqa: F841

    def make(self, n: int) -> None:
        for _ in range(n):
            x = Item(1, "text")  # noqa: F841


class Item:
    """Checks the same three values as the package's class."""

    def __init__(self, a: int, b: str | None, c: list[str] | None = None) -> None:
        if not isinstance(a, int):
            raise TypeError(f"a: an integer was expected, found {a!r}")
        if b is not None and not isinstance(b, str):
            raise TypeError(f"b: a string was expected, found {b!r}")
        if c is not None and not (isinstance(c, list) and all(isinstance(each, str) for each in c)):
            raise TypeError(f"c: a list of strings was expected, found {c!r}")
        self.a = a
        self.b = b
        self.c = [] if c is None else c
        self.init()

    def init(self) -> None:
        self.x = 1


# method of the package and of its twin, turns per round, goal (times Python), what it is
_LOOPS = (
    ("count", 50_000, 10, "While: $i < $n, $i: $i + 1"),
    ("arithmetic", 2_000, 10, "For: $x: $x + $i * 2 - 1"),
    ("read", 50_000, 10, "$x: $.p"),
    ("write", 50_000, 10, "$.p: 5 (contract int)"),
    ("callTwo", 20_000, 20, "$.two(1, abc) (two contracts)"),
    ("select", 10_000, 5, "$l.where(...).select(...) over 10,000 items"),
    ("make", 500, 20, "new(Item): 3 properties, .init"),
)
OBJECTS = 2_000


def runtime() -> dsl.Runtime:
    """Of the benchmark's package, with limits that nothing reaches."""
    library = dsl.Library([Package(MemoryFiles("bench", PACKAGE))])
    return dsl.Runtime(library, limits=dsl.Limits(steps=10**12, objects=10**9, iterators=10**6, memory=2**30))


def program() -> dsl.Program:
    """With one object, `b`."""
    return runtime().load({"Objects": {"?": {"type": "bench.Bench", "id": "b"}}})


def model(objects: int) -> dict[str, Any]:
    """An object with that many others in a list."""
    items = [
        {"?": {"type": "bench.Item", "id": f"item-{number}"}, "a": number, "b": f"text {number}", "c": ["x", "y"]}
        for number in range(objects)
    ]
    return {"Objects": {"?": {"type": "bench.Bench", "id": "b"}, "items": items}}


def rows(rounds: int) -> Iterator[Row]:
    """Every goal about running code."""
    ours, theirs = program(), Twin()
    for method, turns, goal, title in _LOOPS:
        run = functools.partial(ours.run, "b", method, [turns])
        ratio, seconds = compare(run, functools.partial(getattr(theirs, method), turns), rounds)
        yield Row(title, f"{seconds / turns * 1e9:.0f} ns", ratio, goal, "Python")
    data = model(OBJECTS)
    text = json.dumps(data)
    environment = runtime()
    ratio, seconds = compare(
        lambda: environment.load(data).dump(), lambda: json.dumps(json.loads(text)), max(3, rounds // 2)
    )
    yield Row(f"load and dump a model of {OBJECTS:,} objects", f"{seconds * 1e3:.0f} ms", ratio, 20, "json")
