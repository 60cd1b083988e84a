"""The parts of a class that hold expressions, for checks that look at all of them."""

from __future__ import annotations

from collections.abc import Iterator

from dsl.packages.declarations import ClassDeclaration, MethodDeclaration, PropertyDeclaration
from dsl.syntax import Expression, Mapping, Sequence


def structures_of(declaration: ClassDeclaration) -> Iterator[object]:
    """Contracts, defaults, bodies and metadata of a class."""
    yield from declaration.meta
    members: list[PropertyDeclaration | MethodDeclaration] = [
        *declaration.properties.values(),
        *declaration.methods.values(),
    ]
    for member in members:
        yield from member.meta
        if isinstance(member, PropertyDeclaration):
            yield member.contract
            yield member.default
        else:
            yield member.body
            for argument in member.arguments:
                yield argument.contract
                yield argument.default
                yield from argument.meta


def expressions_of(structure: object) -> Iterator[Expression]:
    """All expressions of a structure, each once: aliases are not followed a second time."""
    pending: list[object] = [structure]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        if isinstance(item, Expression):
            yield item
        elif isinstance(item, (Mapping, Sequence)) and id(item) not in seen:
            seen.add(id(item))
            if isinstance(item, Mapping):
                pending.extend(item.keys())
                # names of exceptions are texts, however they are written: no class has to exist (§13)
                pending.extend(value for key, value in item.items() if key != "With")
            else:
                pending.extend(item)
