"""The short way of `new`: what it takes to make an object of one class, worked out once (spec/muranopl.md §7, §8.1).

A `Loader` is needed where values describe further objects, or name them by their ids. All other calls of `new` follow a
blueprint, with the same steps in the same order: the object, its properties, its host objects, its constructors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dsl.compiler import contracts as tree
from dsl.errors import CircularExpressionDependencies, ContractViolation, Thrown, UninitializedPropertyAccess
from dsl.runtime import constructors, natives, properties
from dsl.runtime.classes import FROM_MODEL, MuranoClass, Property
from dsl.runtime.objects import OBJECTS, MuranoObject
from dsl.runtime.steps import OWNED, VALIDATING

if TYPE_CHECKING:
    from dsl.runtime.program import Program

_UNKNOWN = object()  # in place of a value that only making the object can tell
_OBJECTS = OBJECTS | {type(None)}

# name, whether `new` may give it, exact type that needs no conversion, value if none is given, declaration
Part = tuple[str, bool, type | None, Any, Property]


class Blueprint:
    """How objects of one class are made in one program."""

    def __init__(self, program: Program, cls: MuranoClass) -> None:
        self.cls = cls
        self._program = program
        self._parts: list[Part] = []
        self._delicate: list[tuple[str, bool, bool]] = []  # name, whether only null is plain, whether a default is not
        for declared in cls.initial_properties():
            self._add(declared)
        self._has_constructors = bool(constructors.of(cls))
        self.is_plain = not self._delicate  # no value could need a Loader
        self._natives = [each for each in cls.lineage if each.native is not None and natives.has_instances(each.native)]

    def _add(self, declared: Property) -> None:
        name, is_given = declared.name, declared.usage in FROM_MODEL
        constant = self._constant(declared)
        if declared.names_objects:
            only_null = _finds_objects(declared.code.contract)
            self._delicate.append((name, only_null, constant is _UNKNOWN and declared.code.default is not None))
        configured = self._program.configured(declared.cls, name)
        if is_given or declared.usage != "Runtime" or declared.code.default is not None or configured is not None:
            kind = properties.exact_type(self.cls, declared)
            self._parts.append((name, is_given, kind, constant, declared))

    def _constant(self, declared: Property) -> Any:
        """The value that objects get without being given one, if it is always the same; else _UNKNOWN."""
        configured = self._program.configured(declared.cls, declared.name)
        if configured is not None:
            value = configured
        elif declared.code.default is None:
            value = None
        elif declared.code.is_constant:
            value = declared.cls.globals[declared.code.default](None)
        else:
            return _UNKNOWN
        declarations = self.cls.declarations(declared.name)
        if declared.names_objects and value not in (None, ()):
            return _UNKNOWN
        if not all(_depends_on_value_alone(each.code.contract) for each in declarations):
            return _UNKNOWN
        try:
            value = properties.convert(declared, value, None, OWNED)
            for other in declarations:
                if other is not declared:
                    properties.convert(other, value, None, VALIDATING)
        except (Thrown, ValueError):
            return _UNKNOWN  # it is to be raised when an object is made
        return value

    def suits(self, values: Mapping[Any, Any]) -> bool:
        """Whether an object with these values can be made without a Loader."""
        for name, only_null, has_default in self._delicate:
            if name in values:
                value = values[name]
                if only_null and value is not None:
                    return False
                if type(value) not in _OBJECTS and not (type(value) is tuple and _OBJECTS.issuperset(map(type, value))):
                    return False
            elif has_default:
                return False
        return True

    def make(
        self, values: Mapping[Any, Any], owner: MuranoObject | None, name: str | None, creator: MuranoClass | None
    ) -> MuranoObject:
        """An object with these frozen values, constructed."""
        program = self._program
        machine = program.machine
        machine.objects += 1
        if machine.objects > machine.limits.objects:
            machine.too_many_objects()
        made = MuranoObject(self.cls, program.scheduler.random_id(), owner, name, creator, machine.objects)
        program.store[made.id] = made
        slots = made.values
        waiting: list[Part] = []
        for part in self._parts:
            label, is_given, kind, constant, _ = part
            if is_given and label in values:
                value = values[label]
                if type(value) is kind:
                    slots[label] = value
                    continue
            elif constant is not _UNKNOWN:
                slots[label] = constant
                continue
            if not self._set(made, part, values):
                waiting.append(part)
        while waiting:
            still = [part for part in waiting if not self._set(made, part, values)]
            if len(still) == len(waiting):
                names = ", ".join(part[0] for part in still)
                raise CircularExpressionDependencies(f"the defaults of {names} of {self.cls} need each other")
            waiting = still
        try:
            if type(made) is MuranoObject:  # no default has destroyed it
                for cls in self._natives:
                    program.natives.construct(made, cls, values)
                if self._has_constructors:
                    constructors.run(program, made, values)
        except BaseException:
            program.store.pop(made.id, None)
            raise
        return made

    def _set(self, made: MuranoObject, part: Part, values: Mapping[Any, Any]) -> bool:
        """Give a property its first value. False if its default needs a property that has none yet."""
        label, is_given, _, _, declared = part
        if is_given and label in values:
            raw = values[label]
        else:
            raw = self._program.configured(declared.cls, label)
            if raw is None and declared.code.default is not None:
                try:
                    raw = declared.cls.globals[declared.code.default](made)
                except UninitializedPropertyAccess:
                    return False
        try:
            made.values[label] = properties.convert_all(declared, raw, made, OWNED)
        except ContractViolation:
            if declared.usage != "Runtime":
                raise
        return True


def _finds_objects(contract: tree.Contract) -> bool:
    """Whether a contract may make or look up objects from values that are objects already."""
    return any(isinstance(each, tree.Computed) or each == "template" for each in _pieces(contract))


def _depends_on_value_alone(contract: tree.Contract) -> bool:
    """Whether a contract gives the same for the same value, for any object."""
    return not any(isinstance(each, tree.Computed) or each in ("template", "check") for each in _pieces(contract))


def _pieces(contract: tree.Contract) -> Iterator[tree.Contract | str]:
    """The contracts inside a contract, and the names of their steps."""
    yield contract
    if isinstance(contract, tree.Chain):
        yield from (step.name for step in contract.steps)
    elif isinstance(contract, tree.ListContract):
        for each in contract.items:
            yield from _pieces(each)
    elif isinstance(contract, tree.DictContract):
        for each in [*(inner for _, inner in contract.fixed), *(contract.rest or ())]:
            yield from _pieces(each)
