"""Classes that the host writes in Python (spec/muranopl.md §25): `@native` classes with `@method`s.

A native overlays the MuranoPL class of its name. Its methods see plain lists and dicts and, for objects,
`ObjectHandle`s; what they give back is frozen again.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dsl.errors import InvalidArgument, UninitializedPropertyAccess
from dsl.functions.values import NO_VALUE, freeze
from dsl.runtime import hosting
from dsl.runtime.classes import Method, MuranoClass
from dsl.runtime.hosting import ObjectHandle
from dsl.runtime.machine import Refused
from dsl.runtime.objects import MuranoObject

if TYPE_CHECKING:
    from dsl.runtime.program import Program

T = TypeVar("T")


@dataclass(frozen=True)
class MethodOptions:
    """What `@method` was told."""

    name: str | None
    static: bool
    instance: bool
    raw: bool


@dataclass(frozen=True)
class NativeMethod:
    """A method of the host: the function, and how to call it."""

    name: str
    function: Callable[..., Any]
    options: MethodOptions
    signature: inspect.Signature
    parameters: Mapping[str, str] = field(default_factory=dict)  # camelCase -> Python name


def native(cls: type[T]) -> type[T]:
    """Mark a class as implementation of a MuranoPL class; it is registered under its name in `System.natives`."""
    cls.__murano_methods__ = _methods(cls)  # type: ignore[attr-defined]
    return cls


def method(
    function: Callable[..., Any] | None = None, *, name: str | None = None, static: bool = False, instance: bool = False
) -> Any:
    """Show a method to MuranoPL, in camelCase or as `name`.

    `static=True`: called on the type, the function has no `self`. With `instance=True` as well it is called both ways,
    and gets the native instance, or None, as first argument.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__murano__ = MethodOptions(name, static, instance, False)  # type: ignore[attr-defined]
        return staticmethod(function) if static else function

    return mark if function is None else mark(function)


def raw(*, name: str, static: bool = False) -> Any:
    """A method of the language itself: gets (call, receiver, *arguments) with MuranoPL values."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__murano__ = MethodOptions(name, static, False, True)  # type: ignore[attr-defined]
        return staticmethod(function)

    return mark


def _methods(cls: type) -> dict[str, NativeMethod]:
    found: dict[str, NativeMethod] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            function = value.__func__ if isinstance(value, staticmethod) else value
            options = getattr(function, "__murano__", None)
            if options is None:
                continue
            label = options.name or camel_case(attribute)
            signature = inspect.signature(function)
            names = {camel_case(each): each for each in signature.parameters}
            found[label] = NativeMethod(label, function, options, signature, names)
    return found


def camel_case(name: str) -> str:
    """`region_name` -> `regionName`; a trailing underscore is dropped."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name.rstrip("_"))


def methods_of(cls: type) -> Mapping[str, NativeMethod]:
    """The methods of a native class by their MuranoPL names."""
    found: Mapping[str, NativeMethod] = cls.__dict__.get("__murano_methods__") or _methods(cls)
    return found


class Natives:
    """Native instances and calls of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def construct(self, object_: MuranoObject, cls: MuranoClass, given: Mapping[Any, Any]) -> None:
        """Make the host object behind an object; arguments come from properties, or values, of the same names."""
        host = cls.native
        assert host is not None
        if not has_instances(host):
            return
        parameters = _constructor_of(host)
        if parameters is None:
            object_.native = {**object_.native, cls: host()}
            return
        if self.program.machine.max_depth < 0:
            raise Refused
        arguments: dict[str, Any] = {}
        handle = ObjectHandle(self.program, object_, cls)
        for name, parameter in parameters:
            label = camel_case(name)
            if name == "this":
                arguments[name] = handle
            elif cls.find_property(label) is not None:
                try:
                    arguments[name] = hosting.to_host(self.program, object_.values[label])
                except UninitializedPropertyAccess:
                    if parameter.default is parameter.empty:
                        arguments[name] = None
            elif label in given:
                arguments[name] = hosting.to_host(self.program, given[label])
            elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
                arguments[name] = None
        machine = self.program.machine
        machine.constructing += 1
        try:
            with hosting.calling(hosting.Call(self.program, object_.creator or cls, handle)):
                object_.native = {**object_.native, cls: host(**arguments)}
        finally:
            machine.constructing -= 1

    def call(self, method: Method, caller: MuranoClass) -> Callable[..., Any]:
        """callable(receiver, *arguments, **keywords) for a method of the host in code of `caller`."""
        implementation: NativeMethod = method.native
        options = implementation.options
        program = self.program
        if options.raw:
            return self._raw(method, caller)

        def invoke(receiver: Any, *arguments: Any, **keywords: Any) -> Any:
            this = receiver if isinstance(receiver, MuranoObject) else None
            host = this.native.get(method.cls) if this is not None else None
            handle = ObjectHandle(program, this, method.cls) if this is not None else None
            given = [hosting.to_host(program, each) for each in arguments]
            while given and arguments[len(given) - 1] is NO_VALUE:
                given.pop()
            named = {
                implementation.parameters.get(key, key): hosting.to_host(program, value)
                for key, value in keywords.items()
            }
            if options.static:
                first = [host] if options.instance else []
            elif host is None:
                raise ValueError(f"{method} cannot be called on receiver {receiver!r}")
            else:
                first = [host]
            try:
                bound = implementation.signature.bind(*first, *given, **named)
            except TypeError as error:
                raise _refused(method, error) from None
            with hosting.calling(hosting.Call(program, caller, handle)):
                return hosting.from_host(implementation.function(*bound.args, **bound.kwargs))

        def locked(receiver: Any, *arguments: Any, **keywords: Any) -> Any:
            if program.machine.max_depth < 0:
                raise Refused
            if options.static or not program.machine.forked:
                return invoke(receiver, *arguments, **keywords)  # a static has no state that a lock could guard
            return program.scheduler.locked((receiver, method), lambda: invoke(receiver, *arguments, **keywords), ())

        return locked

    def _raw(self, method: Method, caller: MuranoClass) -> Callable[..., Any]:
        implementation: NativeMethod = method.native
        program = self.program

        def invoke(receiver: Any, *arguments: Any, **keywords: Any) -> Any:
            call = hosting.Call(program, caller, None)
            try:
                named = {key: hosting.plain(value) for key, value in keywords.items()}
                bound = implementation.signature.bind(call, receiver, *map(hosting.plain, arguments), **named)
            except TypeError as error:
                raise _refused(method, error) from None
            return freeze(implementation.function(*bound.args, **bound.kwargs))

        return invoke


def _refused(method: Method, error: TypeError) -> InvalidArgument:
    return InvalidArgument(f"Invalid argument: {method.cls.name}::{method.name} has {error}")


@functools.lru_cache(maxsize=1000)
def has_instances(host: type) -> bool:
    """Whether anything could tell that a host class has instances: methods of the language itself get none."""
    return _constructor_of(host) is not None or any(not each.options.raw for each in methods_of(host).values())


@functools.lru_cache(maxsize=1000)
def _constructor_of(host: type) -> tuple[tuple[str, inspect.Parameter], ...] | None:
    """What a host class's own constructor takes besides the object; None if it has none."""
    constructor: Any = inspect.getattr_static(host, "__init__")
    if constructor is object.__init__:
        return None
    return tuple(inspect.signature(constructor).parameters.items())[1:]
