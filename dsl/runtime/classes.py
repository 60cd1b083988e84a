"""Classes, methods and properties as one program knows them, and which of several declarations counts (§10)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsl.compiler import ClassCode, MethodCode, PropertyCode
from dsl.errors import AmbiguousMethodName, AmbiguousPropertyName, InvalidInheritance
from dsl.runtime.objects import Slots, TypeReference

if TYPE_CHECKING:
    from dsl.runtime.packages import LoadedPackage

MAX_PATHS = 2_000  # through a class's hierarchy; each .init runs once per path, and diamonds double their number
WRITABLE = frozenset({"Out", "InOut", "Runtime", "Static", "Config"})
NOT_SAVED = frozenset({"Runtime", "Config", "Static"})
FROM_MODEL = frozenset({"In", "Out", "InOut", "Const"})


@dataclass(eq=False)
class Property:
    """A property as one class declares it."""

    name: str
    cls: MuranoClass
    usage: str
    code: PropertyCode
    transform: Callable[..., Any]  # (value, this, context): converts by the contract
    label: str
    names_objects: bool = True  # whether its values may name or describe objects

    def __repr__(self) -> str:
        return f"MuranoProperty({self.cls.name}.{self.name})"


@dataclass(eq=False)
class Method:
    """A method as one class declares it, in MuranoPL or by the host."""

    name: str
    cls: MuranoClass
    usage: str  # Runtime, Static, Extension, Action
    scope: str
    code: MethodCode | None  # None for methods of the host
    link: Callable[[Method], Callable[..., Any]] | None  # makes the entry; None for methods of the host
    native: Any = None  # dsl.runtime.natives.NativeMethod
    _entry: Callable[..., Any] | None = None

    @property
    def entry(self) -> Callable[..., Any] | None:
        """The function (this, *arguments), linked at the first need; None for methods of the host."""
        if self._entry is None and self.link is not None:
            self._entry = self.link(self)
        return self._entry

    @property
    def is_static(self) -> bool:
        return self.usage in ("Static", "Extension")

    @property
    def is_public(self) -> bool:
        return self.scope == "Public"

    def __repr__(self) -> str:
        return f"MuranoMethod({self.cls.name}::{self.name})"


@dataclass(eq=False)
class MuranoClass:
    """A class of one package version, linked for one program."""

    name: str
    package: LoadedPackage
    code: ClassCode
    parents: tuple[MuranoClass, ...]
    methods: dict[str, Method] = field(default_factory=dict)
    properties: dict[str, Property] = field(default_factory=dict)
    globals: dict[str, Any] = field(default_factory=dict)
    native: type | None = None
    lineage: tuple[MuranoClass, ...] = ()  # itself, then its ancestors breadth-first
    reference: TypeReference = field(init=False)
    statics: Slots = field(init=False)
    _methods: dict[str, Method | None] = field(default_factory=dict)
    _properties: dict[str, Property | None] = field(default_factory=dict)
    _declarations: dict[str, list[Property]] | None = None
    _initial: list[Property] | None = None
    types: dict[str, MuranoClass] = field(default_factory=dict)  # what names of types mean in its code
    constructors: Any = None  # dsl.runtime.constructors keeps them here

    def __post_init__(self) -> None:
        self.reference = TypeReference(self)
        self.statics = Slots()
        self.statics.cls = self
        self.paths: int = 1 + sum(parent.paths for parent in self.parents)
        if self.paths > MAX_PATHS:
            message = f"class {self.name} inherits along more than {MAX_PATHS} paths; name each base once"
            raise InvalidInheritance(message)
        self.lineage = tuple(self._breadth_first())
        above = self.parents
        self.ancestors: frozenset[MuranoClass] = frozenset(above).union(*(each.ancestors for each in above))
        self._keys: frozenset[tuple[str, str, str]] = frozenset((self.key,)).union(*(each._keys for each in above))
        self.packages: frozenset[LoadedPackage] = frozenset().union(*(each.packages for each in above))
        if self.package not in self.packages:
            self.packages |= {self.package}

    def _breadth_first(self) -> Iterator[MuranoClass]:
        if len(self.parents) == 1:
            yield self
            yield from self.parents[0].lineage
            return
        level: list[MuranoClass] = [self]
        seen: set[MuranoClass] = set()
        while level:
            following: list[MuranoClass] = []
            for cls in level:
                if cls not in seen:
                    seen.add(cls)
                    yield cls
                    following.extend(cls.parents)
            level = following

    @functools.cached_property
    def key(self) -> tuple[str, str, str]:
        """What makes a class: name and version of its package; linked anew with other parents it is the same."""
        return (self.name, self.package.name, str(self.package.version))

    @functools.cached_property
    def saved_names(self) -> tuple[str, ...]:
        """Names of the properties that are written to the model, base classes' first."""
        names = dict.fromkeys(name for cls in reversed(self.lineage) for name in cls.properties)
        found = [self.find_property(name) for name in names]
        return tuple(each.name for each in found if each is not None and each.usage not in NOT_SAVED)

    @property
    def version(self) -> Any:
        return self.package.version

    @property
    def usage(self) -> str:
        return self.code.declaration.usage

    @property
    def private_prefix(self) -> str:
        """What storage keys of this class's private properties begin with; no name of a property holds such signs."""
        return f"{self.name}/{self.version}:"

    def is_a(self, other: MuranoClass) -> bool:
        return other is self or other in self.ancestors or other.key in self._keys

    def find_method(self, name: str) -> Method | None:
        """The method a call by that name means, None if there is none. Raises AmbiguousMethodName."""
        if name not in self._methods:
            found = _most_derived([cls for cls in self.lineage if name in cls.methods])
            if len(found) > 1:
                raise AmbiguousMethodName(f'Found more than one method "{name}"')
            self._methods[name] = found[0].methods[name] if found else None
        return self._methods[name]

    def find_property(self, name: str) -> Property | None:
        """The declaration that counts, None for an undeclared name. Raises AmbiguousPropertyName."""
        if name not in self._properties:
            found = _most_derived([each.cls for each in self.declarations(name)])
            if len(found) > 1:
                raise AmbiguousPropertyName(f'Found more than one property "{name}"')
            self._properties[name] = found[0].properties[name] if found else None
        return self._properties[name]

    def property_names(self) -> list[str]:
        """Names of all declared properties, the class's own first."""
        return list(dict.fromkeys(name for cls in self.lineage for name in cls.properties))

    def initial_properties(self) -> list[Property]:
        """The declarations that give a new object its values; a constructor's argument hides a property (§28.15)."""
        if self._initial is None:
            hidden: set[Property] = set()
            for each in self.lineage:
                method = each.methods.get(".init")
                for argument in method.code.arguments if method is not None and method.code is not None else ():
                    declared = self.find_property(argument.declaration.name)
                    if declared is not None and each.is_a(declared.cls):
                        hidden.add(declared)
            found = [self.find_property(name) for name in self.property_names()]
            own = [each for each in found if each is not None and each not in hidden]
            self._initial = [each for each in own if each.usage != "Static"]
        return self._initial

    def method_names(self) -> list[str]:
        """Names of all methods, the class's own first."""
        return list(dict.fromkeys(name for cls in self.lineage for name in cls.methods))

    def declarations(self, name: str) -> list[Property]:
        """Every declaration of a property in the hierarchy, the nearest first."""
        if self._declarations is None:
            self._declarations = {}
            for cls in self.lineage:
                for label, declared in cls.properties.items():
                    self._declarations.setdefault(label, []).append(declared)
        return self._declarations.get(name, [])

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def __repr__(self) -> str:
        return f"MuranoClass({self})"


def _most_derived(declaring: list[MuranoClass]) -> list[MuranoClass]:
    """Those that no other of them inherits from; parent order never breaks a tie (§10.1)."""
    if len(declaring) < 2:
        return declaring
    return [cls for cls in declaring if not any(cls in other.ancestors for other in declaring)]
