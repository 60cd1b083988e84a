"""`template()` contracts: a description is checked like an object and stays a description (spec/muranopl.md §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.errors import ContractViolation
from dsl.functions.values import freeze
from dsl.runtime.classes import MuranoClass
from dsl.runtime.loading import Loader
from dsl.runtime.objects import object_of
from dsl.runtime.serialization import Serializer
from dsl.runtime.steps import Wanted

if TYPE_CHECKING:
    from dsl.runtime.program import Program


def make(
    program: Program,
    value: Any,
    this: Any,
    wanted: Wanted,
    cls: MuranoClass,
    excluded: tuple[Any, ...],
    keep_ids: bool,
) -> Any:
    """The complete description, with `?` holding the type itself. Raises ContractViolation.

    `keep_ids`: the description is part of a model, whose ids stay; those in code are replaced.
    """
    paths = tuple(tuple(str(path).split(".")) for path in excluded)
    found = object_of(value)
    if found is None:
        loader = Loader(program, keep_ids=False, dry=True)
        loader.excluded = paths
        loader.keeps_described_ids = keep_ids
        found = loader.load(value, object_of(this), wanted.default, cls)
    if not wanted.accepts(found.cls, cls):
        raise ContractViolation(
            f"Object of type {found.cls!r} is not compatible with requested type {wanted.cls!r}",
            f"a description of a {wanted.cls}",
            f"one of a {found.cls}",
        )
    serializer = Serializer(program, "Mixed", actions=False, references=True)
    return freeze(serializer.template_of(found, paths))
