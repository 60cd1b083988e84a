"""`.init` of a class and of its ancestors, in order (spec/muranopl.md §8.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dsl.runtime.classes import Method, MuranoClass
from dsl.runtime.objects import MuranoObject

if TYPE_CHECKING:
    from dsl.runtime.program import Program

# method, names of its standard arguments, names that its KwArgs do not get (None without KwArgs)
Constructor = tuple[Method, tuple[str, ...], frozenset[str] | None]


def run(program: Program, made: MuranoObject, values: Mapping[Any, Any]) -> None:
    """Run the constructors of an object with the values it was given."""
    steps = made.cls.constructors
    if steps is None:
        steps = of(made.cls)
    machine = program.machine
    machine.constructing += 1
    try:
        for method, labels, known in steps:
            entry = method.entry
            assert entry is not None
            if known is not None:
                named = {key: each for key, each in values.items() if isinstance(key, str) and key not in known}
                entry(made, *[values.get(label, program.absent) for label in labels], named=named)
            elif labels:
                entry(made, *[values.get(label, program.absent) for label in labels])
            else:
                entry(made)
    finally:
        machine.constructing -= 1


def of(cls: MuranoClass) -> tuple[Constructor, ...]:
    """Ancestors' before the class's own, along every path of the hierarchy, the shared base of a diamond per path."""
    if cls.constructors is None:
        cls.constructors = tuple(_along(cls, set()))
    found: tuple[Constructor, ...] = cls.constructors
    return found


def _along(cls: MuranoClass, seen: set[MuranoClass]) -> Iterator[Constructor]:
    for parent in cls.parents:
        yield from _along(parent, seen)
    method = cls.methods.get(".init")
    if method is None or method.code is None:
        return
    if cls in seen:  # a second path to the same base does not see the values again (§28.17)
        yield method, (), None
        return
    seen.add(cls)
    arguments = [each.declaration for each in method.code.arguments]
    labels = tuple(each.name for each in arguments if each.usage == "Standard")
    known = None
    if any(each.usage == "KwArgs" for each in arguments):
        known = frozenset([*(each.name for each in arguments), *cls.property_names()])
    yield method, labels, known
