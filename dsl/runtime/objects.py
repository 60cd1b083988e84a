"""What programs hold besides plain values: objects, views of objects, type references.

Package code never sees attributes of these Python objects. It reaches them by the property getters and method tables
that linking hands to generated code, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dsl.errors import UninitializedPropertyAccess

if TYPE_CHECKING:
    from dsl.runtime.classes import MuranoClass


class StaticKey:
    """In place of a storage key: the property has one value per class, not per object."""

    __slots__ = ("read",)

    def __init__(self, read: Any) -> None:
        self.read = read


class Slots(dict):
    """Values of an object's properties by storage key; an unset one is MuranoPL's error, not Python's."""

    __slots__ = ("cls",)
    cls: MuranoClass  # set by whoever makes them: a constructor of their own would cost as much as the rest

    def __missing__(self, key: object) -> object:
        if isinstance(key, StaticKey):
            return key.read()
        raise uninitialized(key, self.cls)


def uninitialized(key: object, cls: MuranoClass) -> UninitializedPropertyAccess:
    """The error for reading a property that has no value yet; a private key names its class itself."""
    owner, _, label = str(key).rpartition(":")
    type_name = owner.partition("/")[0] or cls.name
    return UninitializedPropertyAccess(
        f'Access to uninitialized property "{label}" in class "{type_name}" is forbidden'
    )


class MuranoObject:
    """An object of a MuranoPL class. Equal only to itself."""

    __slots__ = (
        "__weakref__",
        "birth",  # the how-manieth object of the program it is
        "cls",
        "creator",  # the class whose code made the object by `new`; None for objects of the model
        "dependencies",  # [(subscriber id, handler or None)]: who wants to know of the destruction
        "id",
        "metadata",
        "name",
        "native",  # the host object behind it, per native class: {MuranoClass: object}
        "owner",
        "values",
    )

    def __init__(
        self,
        cls: MuranoClass,
        object_id: str,
        owner: MuranoObject | None,
        name: str | None = None,
        creator: MuranoClass | None = None,
        birth: int = 0,
    ) -> None:
        self.cls = cls
        self.id = object_id
        self.owner = owner
        self.name = name
        self.metadata: object = None
        self.values = values = Slots()
        values.cls = cls
        self.native: Mapping[MuranoClass, Any] = _NONE  # most objects have none: the empty one is shared
        self.creator = creator
        self.birth = birth
        self.dependencies: tuple[tuple[str, str | None], ...] = ()

    def owners(self) -> list[MuranoObject]:
        """The owner, its owner and so on; stops at a circle."""
        result: list[MuranoObject] = []
        seen = {id(self)}
        owner = self.owner
        while owner is not None and id(owner) not in seen:
            seen.add(id(owner))
            result.append(owner)
            owner = owner.owner
        return result

    @property
    def is_destroyed(self) -> bool:
        return isinstance(self, DestroyedObject)

    def __repr__(self) -> str:
        return f"<{self.cls} {self.id}>"


_NONE: Mapping[Any, Any] = MappingProxyType({})


class DestroyedObject(MuranoObject):
    """What an object becomes by its destruction: its properties can be read, its methods not be called (§8.3)."""

    __slots__ = ()


class View:
    """An object seen as one of its ancestors: methods are looked up from there (§10.3). Equal only to itself."""

    __slots__ = ("cls", "object")

    def __init__(self, object_: MuranoObject, cls: MuranoClass) -> None:
        self.object = object_
        self.cls = cls

    def __repr__(self) -> str:
        return f"<{self.object!r} as {self.cls}>"


class TypeReference:
    """A class as a value of the language (§4.2). There is one per class and program."""

    __slots__ = ("cls",)

    def __init__(self, cls: MuranoClass) -> None:
        self.cls = cls

    def __str__(self) -> str:
        return f"{self.cls.name}/{self.cls.version}@{self.cls.package.name}"

    def __repr__(self) -> str:
        return f"*{self.cls!r}"


class Unresolved:
    """The place of an object that the model names but that is not loaded yet."""

    __slots__ = ("id",)

    def __init__(self, object_id: str) -> None:
        self.id = object_id


OBJECTS = frozenset({MuranoObject, DestroyedObject, View})


def object_of(value: object) -> MuranoObject | None:
    """The object behind a value: the object itself or what a view shows; None for anything else."""
    if isinstance(value, MuranoObject):
        return value
    return value.object if isinstance(value, View) else None
