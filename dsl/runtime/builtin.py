"""Host classes that belong to the language itself: Object, Exception, StackTrace, GC (§13, §17.1, §8.3)."""

from __future__ import annotations

from typing import Any

from dsl.errors import InvalidArgument
from dsl.functions.values import freeze
from dsl.runtime import natives
from dsl.runtime.classes import MuranoClass
from dsl.runtime.exceptions import NativeException
from dsl.runtime.hosting import Call
from dsl.runtime.objects import MuranoObject, TypeReference, object_of


@natives.native
class Object:
    """Persistent attributes, kept per object and class of the code that sets them."""

    @natives.raw(name="getAttr")
    def get_attr(call: Call, receiver: Any, name: str, default: Any = None, owner: Any = None) -> Any:
        cls = _owner(call, owner)
        value = call.program.attributes.get((_object(receiver).id, cls.name, name))
        return default if value is None else value

    @natives.raw(name="setAttr")
    def set_attr(call: Call, receiver: Any, name: str, value: Any, owner: Any = None) -> None:
        cls = _owner(call, owner)
        call.program.set_attribute(_object(receiver), cls, name, freeze(value))


@natives.native
class Exception_:
    """What `Catch: As:` binds."""

    @natives.raw(name="toString")
    def to_string(call: Call, receiver: Any) -> str:
        native = _object(receiver).values.get("nativeException")
        return native.error.formatted() if isinstance(native, NativeException) else ""


@natives.native
class StackTrace:
    """The MuranoPL frames of an exception."""

    @natives.raw(name="toString")
    def to_string(call: Call, receiver: Any, prefix: str = "") -> str:
        lines: list[str] = []
        for frame in _object(receiver).values.get("frames") or ():
            file, start, _ = frame["location"]
            place = f'{prefix}File "{file}", line {start[0]}:{start[1]}'
            lines.append(f"{place} in method {frame['methodName']} of type {frame['typeName']}")
            lines.append(f"{prefix}    {frame['instruction']}")
        return "\n".join(lines)


@natives.native
class GC:
    """Destruction of objects that nothing refers to, and who wants to know of it."""

    @natives.raw(name="collect", static=True)
    def collect(call: Call, receiver: Any) -> None:
        call.program.lifecycle.collect()

    @natives.raw(name="subscribeDestruction", static=True)
    def subscribe(call: Call, receiver: Any, publisher: Any, subscriber: Any, handler: Any = None) -> None:
        call.program.lifecycle.subscribe(_object(publisher), _object(subscriber), _handler(handler))

    @natives.raw(name="unsubscribeDestruction", static=True)
    def unsubscribe(call: Call, receiver: Any, publisher: Any, subscriber: Any, handler: Any = None) -> None:
        call.program.lifecycle.unsubscribe(_object(publisher), _object(subscriber), _handler(handler))

    @natives.raw(name="isDoomed", static=True)
    def is_doomed(call: Call, receiver: Any, object: Any) -> bool:
        return call.program.lifecycle.is_doomed(_object(object))

    @natives.raw(name="isDestroyed", static=True)
    def is_destroyed(call: Call, receiver: Any, object: Any) -> bool:
        return _object(object).is_destroyed


def _handler(name: Any) -> str | None:
    if name is not None and type(name) is not str:
        raise InvalidArgument(f"Invalid argument handler: a name was expected, found {type(name).__name__}")
    return name


def _owner(call: Call, owner: Any) -> MuranoClass:
    if owner is None:
        return call.caller
    if not isinstance(owner, (str, TypeReference)):
        raise InvalidArgument(f"Invalid argument owner: a type was expected, found {type(owner).__name__}")
    return call.program.resolve_type(call.caller, owner, None)


def _object(value: Any) -> MuranoObject:
    found = object_of(value)
    if found is None:
        text = "a type" if isinstance(value, TypeReference) else type(value).__name__
        raise InvalidArgument(f"Invalid argument: an object was expected, found {text}")
    return found


BUILTIN: dict[str, type] = {
    "io.murano.Object": Object,
    "io.murano.Exception": Exception_,
    "io.murano.StackTrace": StackTrace,
    "io.murano.system.GC": GC,
}


# Declarations of the above for libraries whose io.murano does not have them.
DECLARATIONS = """
Name: io.murano.Exception
Properties:
  name: {Contract: $.string(), Usage: Runtime}
  message: {Contract: $.string(), Usage: Runtime}
  stackTrace: {Contract: $, Usage: Runtime}
  extra: {Contract: {}, Usage: Runtime}
  nativeException: {Contract: $, Usage: Runtime}
  cause: {Contract: $, Usage: Runtime}
---
Name: io.murano.StackTrace
Properties:
  frames: {Contract: [$], Usage: Runtime}
"""
