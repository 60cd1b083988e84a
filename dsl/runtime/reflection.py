"""Reflection: types, properties, methods, arguments, packages, versions as values (spec/muranopl.md §19).

The runtime's own records are the reflection objects; this file says which of their parts package code can see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsl.compiler import ArgumentCode
from dsl.errors import NoFunctionRegistered, NoMatchingFunction, NoMatchingMethod, NoPropertyFound, Thrown
from dsl.packages import Version
from dsl.runtime.classes import Method, MuranoClass, Property
from dsl.runtime.objects import MuranoObject, object_of
from dsl.runtime.packages import LoadedPackage

if TYPE_CHECKING:
    from dsl.runtime.program import Program


@dataclass(frozen=True, eq=False)
class Argument:
    """An argument of a method."""

    code: ArgumentCode
    method: Method

    @property
    def name(self) -> str:
        return self.code.declaration.name


def read(program: Program, receiver: Any, name: str) -> tuple[bool, Any]:
    """(whether the receiver is a reflection object, value of its property). Raises NoMatchingFunction."""
    for kind, table in _READERS.items():
        if isinstance(receiver, kind):
            reader = table.get(name)
            if reader is None:
                if name in NAMES:
                    raise NoMatchingFunction(f'No function "#property#{name}" matches supplied arguments')
                raise NoFunctionRegistered(f'Unknown function "#property#{name}"')
            return True, reader(program, receiver)
    return False, None


def method(program: Program, cls: MuranoClass, receiver: Any, name: str) -> Callable[..., Any] | None:
    """`receiver.name(...)` where the receiver is a reflection object."""
    if isinstance(receiver, Property) and name in ("getValue", "setValue"):
        count = 1 if name == "getValue" else 2

        def access(*arguments: Any) -> Any:
            if len(arguments) != count or not _is_target(arguments[0]):
                raise _mismatch(receiver, name)
            reach = _get_value if count == 1 else _set_value
            return reach(program, cls, receiver, *arguments)

        return access
    if isinstance(receiver, Method) and name == "invoke":

        def invoke(*arguments: Any, **named: Any) -> Any:
            if not arguments or not _is_target(arguments[0]):
                raise _mismatch(receiver, name)
            return _invoke(program, cls, receiver, arguments[0], arguments[1:], named)

        return invoke
    return None


def _is_target(value: Any) -> bool:
    return value is None or object_of(value) is not None


def _mismatch(receiver: Property | Method, name: str) -> NoMatchingMethod:
    return NoMatchingMethod(f'No method "{name}" for receiver {receiver} matches supplied arguments')


def _target(declared: Property | Method, target: Any, static: bool) -> Any:
    """The object or type that a reflected access is made on."""
    if static:
        return declared.cls.reference
    found = object_of(target)
    if found is None:
        raise Thrown("Exception", "A class instance is required")
    if not found.cls.is_a(declared.cls):
        raise Thrown("Exception", "'this' must be of compatible type")
    return target


def _get_value(program: Program, cls: MuranoClass, declared: Property, target: Any) -> Any:
    _check_static(declared, target)
    return program.getter(cls, declared.name)(_target(declared, target, declared.usage == "Static"))


def _check_static(declared: Property, target: Any) -> None:
    if target is None and declared.usage != "Static":
        raise NoPropertyFound(f'Property "{declared.name}" is not static: an object is needed')


def _set_value(program: Program, cls: MuranoClass, declared: Property, target: Any, value: Any) -> None:
    _check_static(declared, target)
    program.setter(cls, declared.name)(_target(declared, target, declared.usage == "Static"), value)


def _invoke(
    program: Program, cls: MuranoClass, declared: Method, target: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    receiver = _target(declared, target, declared.is_static)
    if not declared.is_static and not isinstance(object_of(receiver), MuranoObject):
        raise NoMatchingMethod(f'No method "{declared.name}" matches supplied arguments')
    return program.linker.dispatch_of(cls).call(receiver, declared, given, named)


def _methods(program: Program, cls: MuranoClass) -> tuple[Method, ...]:
    found: list[Method] = []
    for name in cls.method_names():
        if name.startswith((".", "__")):
            continue
        for each in cls.lineage:
            if name in each.methods and not any(each in other.cls.ancestors for other in found if other.name == name):
                found.append(each.methods[name])
    return tuple(found)


def _properties(program: Program, cls: MuranoClass) -> tuple[Property, ...]:
    found: list[Property] = []
    for name in cls.property_names():
        for each in cls.declarations(name):
            if not any(each.cls in other.cls.ancestors for other in found if other.name == name):
                found.append(each)
    return tuple(found)


def _of_meta(reader: Callable[[MuranoClass], Any], label: str) -> Callable[[Program, MuranoClass], Any]:
    def read_(program: Program, cls: MuranoClass) -> Any:
        if cls.usage != "Meta":
            raise NoMatchingFunction(f'No function "#property#{label}" matches supplied arguments')
        return reader(cls)

    return read_


def _targets(cls: MuranoClass) -> tuple[str, ...]:
    applies = cls.code.declaration.applies
    return ("Argument", "Method", "Package", "Property", "Type") if "All" in applies else tuple(sorted(applies))


def _arguments(program: Program, each: Method) -> tuple[Argument, ...] | None:
    return None if each.code is None else tuple(Argument(code, each) for code in each.code.arguments)


def _types(program: Program, package: LoadedPackage) -> tuple[MuranoClass, ...]:
    return tuple(package.find_class(name, search_requirements=False) for name in package.class_names)


_READERS: dict[type, dict[str, Callable[[Any, Any], Any]]] = {
    MuranoClass: {
        "name": lambda program, cls: cls.name,
        "version": lambda program, cls: cls.version,
        "usage": lambda program, cls: cls.usage,
        "package": lambda program, cls: cls.package,
        "type": lambda program, cls: cls.reference,
        "methods": _methods,
        "properties": _properties,
        "ancestors": lambda program, cls: cls.lineage[1:],
        "meta": lambda program, cls: program.metadata.of_class(cls),
        "cardinality": _of_meta(lambda cls: cls.code.declaration.cardinality, "cardinality"),
        "inherited": _of_meta(lambda cls: cls.code.declaration.inherited, "inherited"),
        "targets": _of_meta(_targets, "targets"),
    },
    Property: {
        "name": lambda program, each: each.name,
        "usage": lambda program, each: each.usage,
        "hasDefault": lambda program, each: each.code.declaration.has_default,
        "declaringType": lambda program, each: each.cls,
        "meta": lambda program, each: program.metadata.of_property(each),
    },
    Method: {
        "name": lambda program, each: each.name,
        "arguments": _arguments,
        "declaringType": lambda program, each: each.cls,
        "meta": lambda program, each: program.metadata.of_method(each),
    },
    Argument: {
        "name": lambda program, each: each.name,
        "usage": lambda program, each: each.code.declaration.usage,
        "hasDefault": lambda program, each: each.code.declaration.has_default,
        "declaringMethod": lambda program, each: each.method,
        "meta": lambda program, each: program.metadata.of_argument(each),
    },
    LoadedPackage: {
        "name": lambda program, package: package.name,
        "version": lambda program, package: package.version,
        "types": _types,
        "meta": lambda program, package: program.metadata.of_package(package),
    },
    Version: {
        "major": lambda program, version: version.major,
        "minor": lambda program, version: version.minor,
        "patch": lambda program, version: version.patch,
        "prerelease": lambda program, version: tuple(version.prerelease),
        "build": lambda program, version: tuple(version.build),
    },
}
NAMES = frozenset(name for table in _READERS.values() for name in table)
