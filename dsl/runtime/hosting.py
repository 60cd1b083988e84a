"""What host code sees of a program: handles for objects, the running call, effects.

`ObjectHandle` is the only form in which a native class holds a MuranoPL object.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsl.errors import MemoryQuotaExceeded
from dsl.functions.values import NO_VALUE, FrozenDict, freeze
from dsl.packages import Package
from dsl.runtime import nesting
from dsl.runtime.classes import MuranoClass
from dsl.runtime.objects import DestroyedObject, MuranoObject, TypeReference, View, object_of

if TYPE_CHECKING:
    from dsl.runtime.effects import System
    from dsl.runtime.program import Program


@dataclass(frozen=True)
class Call:
    """One call of host code: for which program, from code of which class, on which object."""

    program: Program
    caller: MuranoClass
    this: ObjectHandle | None


_running = threading.local()


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Make `call` the running one of this thread."""
    previous = getattr(_running, "call", None)
    _running.call = call
    try:
        yield
    finally:
        _running.call = previous


def running() -> Call:
    """The running call. Raises RuntimeError outside of native methods."""
    call: Call | None = getattr(_running, "call", None)
    if call is None:
        raise RuntimeError("no MuranoPL program is calling this thread's code")
    return call


def effect(name: str, /, **arguments: object) -> Any:
    """Have the System do something, from a native method. Raises SystemFailure."""
    call = running()
    return call.program.scheduler.effect(name, arguments, call.this.id if call.this is not None else None)


def system() -> System:
    """The System of the program that called the running native method."""
    return running().program.system


def caller_package() -> Package | None:
    """The package of the code that called the running native method."""
    return running().caller.package.package


def package_of(class_name: str) -> Package | None:
    """The package of a class, looked up as the calling code would. Raises NoClassFound."""
    call = running()
    return call.program.resolve_type(call.caller, class_name, None).package.package


def new(class_name: str, /, **properties: object) -> ObjectHandle:
    """Make an object that nobody owns, from a native method."""
    call = running()
    return call.program.creation.new_handle(class_name, properties, None)


def load(model: Mapping[str, Any]) -> ObjectHandle | None:
    """Load a model (Objects, Attributes) into the running program; gives the root object."""
    call = running()
    root = call.program.creation.more(model)
    return None if root is None else ObjectHandle(call.program, root, root.cls)


class ObjectHandle:
    """A MuranoPL object in the hands of host code. Equal if the objects are the same."""

    __slots__ = ("_cls", "_object", "_program")

    def __init__(self, program: Program, object_: MuranoObject, cls: MuranoClass | None = None) -> None:
        self._program = program
        self._object = object_
        self._cls = cls or object_.cls  # the class whose attributes and private state are meant

    @property
    def id(self) -> str:
        return self._object.id

    @property
    def name(self) -> str | None:
        return self._object.name

    @property
    def type(self) -> str:
        """Full name of the object's class."""
        return self._object.cls.name

    @property
    def owner(self) -> ObjectHandle | None:
        owner = self._object.owner
        return None if owner is None else ObjectHandle(self._program, owner)

    @property
    def metadata(self) -> Any:
        return to_host(self._program, self._object.metadata)

    @property
    def destroyed(self) -> bool:
        return isinstance(self._object, DestroyedObject)

    @property
    def package(self) -> Package | None:
        """The package that has the object's class."""
        return self._object.cls.package.package

    @property
    def caller_package(self) -> Package | None:
        """The package of the code that made this object by `new`, or else of the code that is calling."""
        creator = self._object.creator
        return creator.package.package if creator is not None else caller_package()

    @property
    def system(self) -> System:
        return self._program.system

    def get(self, name: str) -> Any:
        """Value of a property. Raises Thrown if it is unknown or unset."""
        return to_host(self._program, self._program.getter(self._cls, name)(self._object))

    def set(self, name: str, value: object) -> None:
        """Set a property, whatever its usage; its contract applies."""
        self._program.set_property(self._object, self._cls, name, from_host(value))

    def call(self, method: str, /, *arguments: object, **keywords: object) -> Any:
        """Call a method of the object."""
        result = self._program.call_method(
            self._object,
            method,
            tuple(from_host(each) for each in arguments),
            {key: from_host(value) for key, value in keywords.items()},
            self._cls,
        )
        return to_host(self._program, result)

    def find_owner(self, class_name: str) -> ObjectHandle | None:
        """The nearest owner of that class or one that inherits from it."""
        for owner in self._object.owners():
            if any(cls.name == class_name for cls in owner.cls.lineage):
                return ObjectHandle(self._program, owner)
        return None

    def is_a(self, class_name: str) -> bool:
        """Whether the object's class or an ancestor of it has that full name."""
        return any(cls.name == class_name for cls in self._object.cls.lineage)

    def attribute(self, name: str, default: Any = None) -> Any:
        """A persistent attribute of the native's class."""
        value = self._program.attributes.get((self.id, self._cls.name, name))
        return default if value is None else to_host(self._program, value)

    def set_attribute(self, name: str, value: object) -> None:
        """Keep an attribute across deployments; None forgets it."""
        self._program.set_attribute(self._object, self._cls, name, from_host(value))

    def new(self, class_name: str, /, **properties: object) -> ObjectHandle:
        """Make an object owned by this one."""
        return self._program.creation.new_handle(class_name, properties, self._object)

    def load(self, model: Mapping[str, Any]) -> ObjectHandle | None:
        """Load a model into the running program; gives the root object."""
        return load(model)

    def effect(self, name: str, /, **arguments: object) -> Any:
        """Have the System do something. Raises SystemFailure."""
        return self._program.scheduler.effect(name, arguments, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectHandle) and other._object is self._object

    def __hash__(self) -> int:
        return hash(self._object)

    def __repr__(self) -> str:
        return repr(self._object)


def plain(value: Any) -> Any:
    """An argument without the marks of calls."""
    return None if value is NO_VALUE or type(value).__name__ == "_LiteralNull" else value


def to_host(program: Program, value: Any) -> Any:
    """A MuranoPL value as plain, mutable Python data with handles for objects."""
    value = plain(value)
    if value is None or type(value) in (str, float, bool):
        return value
    if type(value) not in (MuranoObject, DestroyedObject, View):
        nesting.check_volume(value)
    return _to_host(program, value)


def _to_host(program: Program, value: Any) -> Any:
    value = plain(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    found = object_of(value)
    if found is not None:
        return ObjectHandle(program, found)
    if isinstance(value, dict):
        return {_to_host(program, key): _to_host(program, item) for key, item in _described(value).items()}
    if isinstance(value, TypeReference):
        return value.cls.name
    if isinstance(value, (tuple, list, frozenset)) or hasattr(value, "__next__"):
        return [_to_host(program, item) for item in freeze(value)]
    return value


def _described(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """An object described as code does it, `{Class: properties, id: ...}`, with the header that models have.

    Any other dict as it is: for the host, a class is but its name, from which no description could be told.
    """
    key = next((key for key in value if isinstance(key, TypeReference)), None)
    properties = None if key is None else value[key]
    if key is None or not (properties is None or isinstance(properties, dict)):
        return value
    header = {name: item for name, item in value.items() if name is not key}
    return {"?": {**header, "type": str(key)}, **(properties or {})}


def from_host(value: Any) -> Any:
    """Plain Python data with handles as a MuranoPL value, parts it shares converted once.

    Raises `MemoryQuotaExceeded` for what is too deep or too large, shared parts counted each time, or contains itself:
    a file of a package that was read for it may be made to explode.
    """
    return _from_host(value, {}, 0)[0]


def _from_host(value: Any, known: dict[int, tuple[Any, int, int]], level: int) -> tuple[Any, int, int]:
    """The value, its depth and its weight; `known` has the containers above (`_UNFINISHED`) and those that are done."""
    if value is None or type(value) in (str, bool, float):
        return value, 0, 1
    if isinstance(value, int):
        nesting.check_integer(value)
        return value, 0, 1
    if isinstance(value, ObjectHandle):
        return value._object, 0, 1
    if isinstance(value, (MuranoObject, View)):
        return value, 0, 1
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return freeze(value), 0, 1
    found = known.get(id(value))
    if found is None:
        known[id(value)] = _UNFINISHED
        nesting.check_extent(level, 0)
        found = known[id(value)] = _container_from_host(value, known, level + 1)
    elif found is _UNFINISHED:
        raise MemoryQuotaExceeded("a value contains itself")
    return found


def _container_from_host(value: Any, known: dict[int, tuple[Any, int, int]], level: int) -> tuple[Any, int, int]:
    keys = [_from_host(key, known, level) for key in value] if isinstance(value, Mapping) else []
    items = [_from_host(item, known, level) for item in (value.values() if isinstance(value, Mapping) else value)]
    made = [each[0] for each in items]
    depth = 1 + max((each[1] for each in (*keys, *items)), default=0)
    weight = 1 + sum(each[2] for each in (*keys, *items))
    nesting.check_extent(depth, weight)
    if isinstance(value, Mapping):
        return FrozenDict(zip((each[0] for each in keys), made, strict=True)), depth, weight
    return freeze(set(made)) if isinstance(value, (set, frozenset)) else tuple(made), depth, weight


_UNFINISHED = (None, 0, 0)
