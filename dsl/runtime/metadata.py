"""Metadata: instances of Meta classes attached to packages, types, properties, methods, arguments (§20)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsl.errors import Thrown
from dsl.functions.values import FrozenDict, freeze
from dsl.packages import Namespaces
from dsl.runtime.classes import Method, MuranoClass, Property
from dsl.runtime.objects import MuranoObject, TypeReference
from dsl.syntax import Expression

if TYPE_CHECKING:
    from dsl.runtime.packages import LoadedPackage
    from dsl.runtime.program import Program
    from dsl.runtime.reflection import Argument

SYNCHRONIZE = "io.murano.metadata.engine.Synchronize"


@dataclass(eq=False)
class Entry:
    """One attached Meta: its class, and the instance once somebody asked for it."""

    cls: MuranoClass
    values: Callable[[], Any]
    instance: MuranoObject | None = None


@dataclass(frozen=True)
class Origin:
    """A Meta instance and the class that attached it."""

    instance: MuranoObject
    cls: MuranoClass


class Metadata:
    """All metadata of one program; instances are made at the first access and kept."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._own: dict[Hashable, list[Entry]] = {}

    # Reading

    def of_class(self, cls: MuranoClass) -> tuple[MuranoObject, ...]:
        return self._instances(self._merged(cls, lambda each: self._own_of_class(each)))

    def of_property(self, declared: Property) -> tuple[MuranoObject, ...]:
        return self._instances(self._merged(declared.cls, lambda each: self._own_of_property(each, declared.name)))

    def of_method(self, declared: Method) -> tuple[MuranoObject, ...]:
        return self._instances(self._method_entries(declared))

    def of_argument(self, argument: Argument) -> tuple[MuranoObject, ...]:
        cls, declaration = argument.method.cls, argument.code.declaration
        return self._instances(self._entries((declaration,), cls, declaration.meta, "Argument"))

    def of_package(self, package: LoadedPackage) -> tuple[MuranoObject, ...]:
        key = (package, "package")
        if key not in self._own:
            entries: list[Entry] = []
            for raw in package.package.manifest.meta if package.package is not None else ():
                name, value = _named(raw)
                cls = package.find_class(Namespaces().resolve(name))
                entries.append(Entry(_meta_class(cls, "Package"), lambda value=value: freeze(value or {})))  # type: ignore[misc]
            self._own[key] = _single(entries)
        return self._instances(self._own[key])

    def origins_of_class(self, cls: MuranoClass) -> list[Origin]:
        """Instances with the classes that attached them."""
        return self._origins(cls, self._own_of_class)

    def origins_of_property(self, cls: MuranoClass, name: str) -> list[Origin]:
        return self._origins(cls, lambda each: self._own_of_property(each, name))

    def origins_of_method(self, method: Method) -> list[Origin]:
        return self._origins(method.cls, lambda each: self._own_of_method(each, method.name))

    def _origins(self, cls: MuranoClass, own: Callable[[MuranoClass], list[Entry]]) -> list[Origin]:
        return [Origin(self._instance(entry), origin) for entry, origin in self._collect(cls, own)]

    def find(self, entries: Iterable[MuranoObject], class_name: str) -> MuranoObject | None:
        """The first instance of a Meta class, by its full name, among those that `of_...` gave."""
        return next((each for each in entries if any(cls.name == class_name for cls in each.cls.lineage)), None)

    def check(self, cls: MuranoClass) -> None:
        """Everything that can be wrong with a class's metadata, found when the class is loaded."""
        declaration = cls.code.declaration
        if declaration.meta:
            self._own_of_class(cls)
        for name, declared in declaration.properties.items():
            if declared.meta:
                self._own_of_property(cls, name)
        for name, method in declaration.methods.items():
            if method.meta:
                self._own_of_method(cls, name)
            for argument in method.arguments:
                if argument.meta:
                    self._entries((argument,), cls, argument.meta, "Argument")

    # Locks

    def lock_key(self, method: Method) -> Callable[[tuple[Any, ...]], Hashable | None]:
        """By what calls of a method exclude each other (§14): object and method, unless Synchronize says otherwise."""
        settings: list[tuple[bool, tuple[str, ...]] | None] = []

        def find_settings() -> tuple[bool, tuple[str, ...]] | None:
            if not settings:
                entry = next((e for e in self._method_entries(method) if e.cls.name == SYNCHRONIZE), None)
                if entry is None:
                    settings.append(None)
                else:
                    values = self._instance(entry).values
                    settings.append((values.get("onThis", True), tuple(values.get("onArgs") or ())))
            return settings[0]

        names = [each.declaration.name for each in method.code.arguments] if method.code is not None else []

        def key(arguments: tuple[Any, ...]) -> Hashable | None:
            found = find_settings()
            this = method.cls if isinstance(arguments[0], TypeReference) else arguments[0]
            if found is None:
                return (this, method)
            on_this, on_arguments = found
            if not on_this and not on_arguments:
                return None
            values = [(name, arguments[names.index(name) + 1]) for name in on_arguments if name in names]
            chosen = FrozenDict({name: value for name, value in values if value is not None})
            return (this if on_this else None, method, chosen)

        return key

    # Collecting

    def _method_entries(self, declared: Method) -> list[Entry]:
        return self._merged(declared.cls, lambda each: self._own_of_method(each, declared.name))

    def _merged(self, cls: MuranoClass, own: Callable[[MuranoClass], list[Entry]]) -> list[Entry]:
        """Own entries, and inherited ones of ancestors; of cardinality One the own hides the inherited."""
        return [entry for entry, _ in self._collect(cls, own)]

    def _collect(self, cls: MuranoClass, own: Callable[[MuranoClass], list[Entry]]) -> list[tuple[Entry, MuranoClass]]:
        result = [(entry, cls) for entry in own(cls)]
        inherited: list[tuple[Entry, MuranoClass]] = []
        for parent in cls.parents:
            for entry, origin in self._collect(parent, own):
                if entry.cls.code.declaration.inherited and all(entry is not other for other, _ in inherited):
                    inherited.append((entry, origin))
        present = {entry.cls.name for entry, _ in result}
        seen: dict[str, Entry] = {}
        for entry, origin in inherited:
            if entry.cls.code.declaration.cardinality == "One":
                if entry.cls.name in present:
                    continue
                if entry.cls.name in seen:
                    message = f"Found more than one instance of Meta {entry.cls.name} with Cardinality One"
                    raise ValueError(message)
                seen[entry.cls.name] = entry
            result.append((entry, origin))
        return result

    def _own_of_class(self, cls: MuranoClass) -> list[Entry]:
        return self._entries((cls, "type"), cls, cls.code.declaration.meta, "Type")

    def _own_of_property(self, cls: MuranoClass, name: str) -> list[Entry]:
        declared = cls.code.declaration.properties.get(name)
        return [] if declared is None else self._entries((cls, "property", name), cls, declared.meta, "Property")

    def _own_of_method(self, cls: MuranoClass, name: str) -> list[Entry]:
        declared = cls.code.declaration.methods.get(name)
        return [] if declared is None else self._entries((cls, "method", name), cls, declared.meta, "Method")

    def _entries(self, key: Hashable, cls: MuranoClass, meta: tuple[object, ...], target: str) -> list[Entry]:
        if key not in self._own:
            self._own[key] = _single([self._entry(cls, raw, target) for raw in meta])
        return self._own[key]

    def _entry(self, cls: MuranoClass, raw: object, target: str) -> Entry:
        name, function = _named(raw)
        full_name = cls.code.declaration.namespaces.resolve(name)
        meta = _meta_class(cls.package.find_class(full_name), target)
        if function is None:
            return Entry(meta, FrozenDict)
        return Entry(meta, lambda: cls.globals[function](cls.reference))

    def _instances(self, entries: Iterable[Entry]) -> tuple[MuranoObject, ...]:
        return tuple(self._instance(entry) for entry in entries)

    def _instance(self, entry: Entry) -> MuranoObject:
        if entry.instance is None:
            entry.instance = self.program.creation.new(entry.cls, entry.values(), None, None, entry.cls)
            self.program.pinned.append(entry.instance)
        return entry.instance


def _named(raw: object) -> tuple[str, Any]:
    if isinstance(raw, (str, Expression)):
        return str(raw), None
    if isinstance(raw, dict) and len(raw) == 1:
        name, value = next(iter(raw.items()))
        return str(name), value
    raise Thrown("ValueError", "Invalid Meta: expected a class name, or a mapping with one class name as key")


def _meta_class(cls: MuranoClass, target: str) -> MuranoClass:
    declaration = cls.code.declaration
    if cls.usage != "Meta":
        raise Thrown("ValueError", f"Only Meta classes can be attached, {cls.name} is none")
    if "All" not in declaration.applies and target not in declaration.applies:
        raise Thrown("ValueError", f"Meta class {cls.name} is not applicable here: it applies to {declaration.applies}")
    return cls


def _single(entries: list[Entry]) -> list[Entry]:
    names = [entry.cls.name for entry in entries if entry.cls.code.declaration.cardinality == "One"]
    for name in names:
        if names.count(name) > 1:
            raise Thrown("ValueError", f"Found more than one instance of Meta {name} with Cardinality One")
    return entries
