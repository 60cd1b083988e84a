"""Which code a call `x.m(...)` runs (spec/muranopl.md §9, §21).

For code of one class there is a table per receiver class: name -> callable(receiver, *arguments), filled at the first
use of each name. Receivers that are no objects go through `foreign`: extension methods, then the function library.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dsl.compiler.contracts import STEPS
from dsl.errors import (
    AmbiguousMethodName,
    InvalidArgument,
    NoMatchingMethod,
    NoMethodRegistered,
    ObjectDestroyed,
    UninitializedPropertyAccess,
)
from dsl.functions.values import BOUNDED, NO_VALUE, FrozenSet
from dsl.runtime import properties
from dsl.runtime.classes import Method, MuranoClass
from dsl.runtime.contracts import frozen
from dsl.runtime.objects import DestroyedObject, MuranoObject, TypeReference, Unresolved, View
from dsl.runtime.steps import shown

if TYPE_CHECKING:
    from dsl.runtime.linking import Linker

Call = Callable[..., Any]
Library = Callable[[str], "Call | None"]


class _LiteralNull:
    """A `null` written as an argument: it does not meet the argument's contract (§6, the literal-null hole)."""

    def __repr__(self) -> str:
        return "null"


LITERAL_NULL = _LiteralNull()


class MethodTable(dict):
    """name -> callable(receiver, *arguments), for receivers of one class and code of another."""

    def __init__(self, dispatch: Dispatch, cls: MuranoClass) -> None:
        super().__init__()
        self._dispatch = dispatch
        self._cls = cls

    def __missing__(self, name: str) -> Call:
        method = self._cls.find_method(name)
        if method is not None and method.usage == "Extension":
            method = None
        found = self._dispatch.foreign[name] if method is None else self._dispatch.bound(method, self._cls)
        self[name] = found
        return found


class ObjectTables(dict):
    """Receiver class -> MethodTable, for code of one class."""

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__()
        self._dispatch = dispatch

    def __missing__(self, cls: MuranoClass) -> MethodTable:
        table = self[cls] = MethodTable(self._dispatch, cls)
        return table


class _ByName(dict):
    def __init__(self, make: Callable[[str], Call]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Call:
        found = self[name] = self._make(name)
        return found


class Dispatch:
    """All calls that code of one class makes."""

    def __init__(self, cls: MuranoClass, linker: Linker) -> None:
        self.cls = cls
        self.linker = linker
        self.objects = ObjectTables(self)
        self.foreign = _ByName(self._make_foreign)
        self.with_keywords = _ByName(self._make_with_keywords)
        self.with_closures = _ByName(self._make_with_closures)

    def bound(self, method: Method, receiver_cls: MuranoClass) -> Call:
        """callable(receiver, *arguments) for a method found for receivers of a class."""
        mock = self.linker.mock_for(method, receiver_cls)
        if mock is not None:
            return mock
        return self.direct(method)

    def direct(self, method: Method) -> Call:
        """The same without looking for mocks."""
        if method.native is not None:
            return self.linker.native_call(method, self.cls)
        entry = method.entry
        assert entry is not None
        if not method.is_static:
            return entry
        reference = method.cls.reference
        return lambda receiver, *arguments, **named: entry(reference, *arguments, **named)

    def _make_foreign(self, name: str) -> Call:
        library = self.linker.library_method(self.cls, name)
        extensions = self._extensions(name)

        def call(receiver: Any, *arguments: Any) -> Any:
            kind = type(receiver)
            method = self._method_of(receiver, kind, name)
            if method is not None:
                target = receiver.object if kind is View else receiver
                return method(target, *arguments)
            if kind is DestroyedObject and name not in _ALWAYS:
                raise ObjectDestroyed(f'{receiver} is already destroyed, method "{name}" can not be called')
            if kind is Unresolved:
                raise UninitializedPropertyAccess(f'Object "{receiver.id}" is not loaded yet')
            if receiver is NO_VALUE:
                receiver = None
            for extension, accepts in extensions:
                if accepts(receiver):
                    assert extension.entry is not None
                    return extension.entry(extension.cls.reference, frozen(receiver), *_called(arguments))
            if library is not None:
                return library(receiver, *(None if each is LITERAL_NULL else each for each in arguments))
            reflected = self.linker.reflection_method(self.cls, receiver, name)
            if reflected is not None:
                return reflected(*(None if each is LITERAL_NULL else each for each in arguments))
            raise self._unknown(name, receiver, bool(extensions))

        return call

    def _unknown(self, name: str, receiver: Any, exists: bool) -> Exception:
        text = receiver if isinstance(receiver, str) else shown(receiver)
        if exists or (type(receiver) is TypeReference and receiver.cls.find_method(name) is not None):
            return NoMatchingMethod(f'No method "{name}" for receiver {text} matches supplied arguments')
        if self._declares(name):  # the class's own methods are candidates that the receiver does not suit
            return NoMatchingMethod(f'No method "{name}" for receiver {text} matches supplied arguments')
        hint = " (contract functions are known only in contracts)" if name in STEPS else ""
        return NoMethodRegistered(f'Unknown method "{name}" for receiver {text}{hint}')

    def _declares(self, name: str) -> bool:
        return any(name in each.methods for each in self.cls.lineage)

    def _method_of(self, receiver: Any, kind: type, name: str) -> Call | None:
        """A method of the receiver's own class, for receivers that are not plain objects."""
        if kind is View:
            method = receiver.cls.find_method(name)
            return None if method is None or method.usage == "Extension" else self.bound(method, receiver.cls)
        if kind is TypeReference:
            method = receiver.cls.find_method(name)
            return None if method is None or not method.is_static else self.bound(method, receiver.cls)
        return None

    def _extensions(self, name: str) -> list[tuple[Method, Callable[[Any], bool]]]:
        """Extension methods of that name: the class's own, then of its imports, in order (§21)."""
        found: list[Method] = []
        for source in (self.cls, *self.linker.imports_of(self.cls)):
            method = _extension(source, name)
            if method is not None and method not in found:
                found.append(method)
        return [(method, _acceptance(method)) for method in found]

    def _make_with_keywords(self, name: str) -> Call:
        def call(receiver: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
            method = self.find(receiver, name)
            if method is not None:
                target = receiver.object if isinstance(receiver, View) else receiver
                given, values = _called(arguments), _called_values(keywords)
                try:
                    positional, named = self._placed(method, receiver, given, values)
                except InvalidArgument:
                    raise mismatch(name, receiver) from None
                return self.bound(method, receiver.cls)(target, *positional, **named)
            for extension, accepts in self._extensions(name):
                if accepts(receiver):
                    given = (frozen(receiver), *_called(arguments))
                    positional, named = self._placed(extension, receiver, given, _called_values(keywords))
                    assert extension.entry is not None
                    return extension.entry(extension.cls.reference, *positional, **named)
            library = self.linker.library_method(self.cls, name)
            if library is not None and not isinstance(receiver, DestroyedObject):
                plain = {key: None if each is LITERAL_NULL else each for key, each in keywords.items()}
                return library(receiver, *(None if each is LITERAL_NULL else each for each in arguments), **plain)
            reflected = self.linker.reflection_method(self.cls, receiver, name)
            if reflected is not None:
                return reflected(*_called(arguments), **_called_values(keywords))
            return self.foreign[name](receiver, *arguments)

        return call

    def _make_with_closures(self, name: str) -> Call:
        def call(receiver: Any, *arguments: Any) -> Any:
            if type(receiver) is MuranoObject and self.find(receiver, name) is not None:
                return self.objects[receiver.cls][name](receiver, *_called(arguments))
            if isinstance(receiver, (View, TypeReference)) and self.find(receiver, name) is not None:
                return self.foreign[name](receiver, *_called(arguments))
            return self.foreign[name](receiver, *arguments)

        return call

    def query_source(self, weight: int, names: tuple[str, ...], limit: int) -> Callable[[Any], Iterable[Any] | None]:
        """What gives the items that a comprehension may walk in place of calls of these functions; None if it may not.

        `weight`: steps to count for each item, many items at a time; 0 where the comprehension counts them itself.
        """
        machine = self.linker.program.machine
        suited: list[bool] = []

        def chunk(count: int) -> tuple[bool, ...]:
            machine.charge(count * weight)
            return _CHUNK[:count]

        def source(receiver: Any) -> Iterable[Any] | None:
            if not suited:  # imports are loaded at the first call, as for any other
                suited.append(not any(self._extensions(name) for name in names))
            kind = type(receiver)
            if kind in _LISTS:
                if not suited[0] or len(receiver) > limit:
                    return None
                if not weight:
                    return receiver
                if len(receiver) <= len(_CHUNK):
                    machine.charge(len(receiver) * weight)
                    return receiver
            elif kind not in BOUNDED or not suited[0]:
                return None
            elif not weight:
                return receiver
            counted = itertools.chain.from_iterable(map(chunk, itertools.chain(_FEW, itertools.repeat(len(_CHUNK)))))
            return itertools.compress(receiver, counted)

        return source

    def find(self, receiver: Any, name: str) -> Method | None:
        """The method of the receiver's class that a call means; None if it has no class, or the class no method."""
        if type(receiver) is MuranoObject:
            method = receiver.cls.find_method(name)
            return method if method is not None and method.usage != "Extension" else None
        if isinstance(receiver, View):
            method = receiver.cls.find_method(name)
            return method if method is not None and method.usage != "Extension" else None
        if type(receiver) is TypeReference:
            method = receiver.cls.find_method(name)
            return method if method is not None and method.is_static else None
        return None

    def call(self, receiver: Any, method: Method, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        """Call a method that was found by other means (from the host, by reflection, by `call`)."""
        target = receiver.object if isinstance(receiver, View) else receiver
        if isinstance(target, DestroyedObject):
            raise ObjectDestroyed(f'{target} is already destroyed, method "{method.name}" can not be called')
        positional, named = self._placed(method, receiver, arguments, keywords)
        return self.bound(method, method_cls(receiver) or method.cls)(target, *positional, **named)

    def _placed(
        self, method: Method, receiver: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Put keyword arguments where the method's entry expects them."""
        if method.native is not None:
            return arguments, dict(keywords)
        assert method.code is not None
        standard = [each.declaration.name for each in method.code.arguments if each.declaration.usage == "Standard"]
        takes_any = any(each.declaration.usage == "KwArgs" for each in method.code.arguments)
        placed = list(arguments)
        rest: dict[str, Any] = {}
        for name, value in keywords.items():
            if name in standard:
                position = standard.index(name)
                if position < len(arguments) and arguments[position] is not NO_VALUE:
                    raise InvalidArgument(f"Invalid argument {name}")
                placed.extend([NO_VALUE] * (position + 1 - len(placed)))
                placed[position] = value
            elif takes_any:
                rest[name] = value
            else:
                raise mismatch(method.name, receiver)
        return tuple(placed), {"named": rest} if rest else {}


def _extension(cls: MuranoClass, name: str) -> Method | None:
    try:
        method = cls.find_method(name)
    except AmbiguousMethodName:
        return None  # the receiver's own class decides what is ambiguous
    return method if method is not None and method.usage == "Extension" else None


def method_cls(receiver: Any) -> MuranoClass | None:
    """The class in which methods of a receiver are looked up."""
    return receiver.cls if isinstance(receiver, (MuranoObject, View, TypeReference)) else None


def mismatch(name: str, receiver: Any) -> NoMatchingMethod:
    """The error for a call with arguments that the method does not take."""
    return NoMatchingMethod(f'No method "{name}" for receiver {receiver!r} matches supplied arguments')


def _acceptance(method: Method) -> Callable[[Any], bool]:
    """The receiver test of an extension method: strict, and always passed by null."""
    assert method.code is not None
    if not method.code.arguments:
        return lambda receiver: False
    contract = method.cls.globals["_receiver_contract"](method)
    reference = method.cls.reference
    return lambda receiver: receiver is None or properties.passes(contract, frozen(receiver), reference)


def _called(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Closures evaluated where they were written: the method takes values."""
    return tuple(each() if type(each) is _FUNCTION else each for each in arguments)


def _called_values(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each() if type(each) is _FUNCTION else each for key, each in keywords.items()}


_FUNCTION = type(lambda: None)
_LISTS = frozenset({tuple, list, FrozenSet})
_CHUNK = (True,) * 64  # items of a query that are counted together
_FEW = (4, 16)  # the first of a query that may end early
_ALWAYS = frozenset({"require", "find"})  # library functions that a destroyed object still takes part in
