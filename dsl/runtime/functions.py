"""Functions of the language that need the program: `new`, `id`, `cast`, `super`, `call` and so on (§17.1).

Each entry makes the function for code of one class. Pure functions are in `dsl.functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dsl.errors import (
    AmbiguousClassName,
    NoClassFound,
    NoFunctionRegistered,
    NoMatchingFunction,
)
from dsl.functions.values import freeze, thaw
from dsl.packages import VersionSpec
from dsl.runtime.classes import MuranoClass
from dsl.runtime.objects import MuranoObject, TypeReference, View, object_of

if TYPE_CHECKING:
    from dsl.runtime.program import Program

Make = Callable[["Program", MuranoClass], Callable[..., Any]]


class Mismatch(NoMatchingFunction):
    """A function of this file was called with arguments that it does not take."""

    def __init__(self, function: str) -> None:
        super().__init__(f'No function "{function}" matches supplied arguments')
        self.function = function


def _mismatch(name: str) -> Mismatch:
    return Mismatch(name)


def _object(value: Any, function: str) -> MuranoObject:
    found = object_of(value)
    if found is None:
        raise _mismatch(function)
    return found


def _type_of_argument(program: Program, cls: MuranoClass, value: Any, function: str) -> MuranoClass:
    """The class that an argument names or refers to, in code of a class."""
    if not isinstance(value, (str, TypeReference)):
        raise _mismatch(function)
    return program.resolve_type(cls, value, None)


def _new(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def new(*arguments: Any, **properties: Any) -> Any:
        if not arguments:
            raise _mismatch("new")
        template, *given = arguments
        if not given and type(template) is str:
            found = cls.types.get(template) or program.resolve_type(cls, template, None)
            return create(found, properties, None, None, cls)
        if isinstance(template, dict) and not properties and len(given) <= 1:
            owner = object_of(given[0]) if given else None
            return program.creation.new_from_model(template, owner, cls)
        type_ = _type_of_argument(program, cls, template, "new")
        values: dict[Any, Any] = dict(properties)
        if given and isinstance(given[0], dict):
            values = {**given.pop(0), **values}
        owner = _optional_object(given, 0)
        name = given[1] if len(given) > 1 else None
        if len(given) > 3 or not isinstance(name, (str, type(None))):
            raise _mismatch("new")
        return create(type_, values, owner, name, cls)

    create = program.creation.new
    return new


def _optional_object(arguments: list[Any], position: int) -> MuranoObject | None:
    if len(arguments) <= position or arguments[position] is None:
        return None
    return _object(arguments[position], "new")


def _id(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda value, /: _object(value, "id").id


def _name(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda value: None if value is None else _object(value, "name").name


def _metadata(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda value: _object(value, "metadata").metadata


def _cast(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def cast(value: Any, type_: Any, version_spec: Any = None, versionSpec: Any = None) -> Any:
        target = _object(value, "cast")
        spec_text = versionSpec if versionSpec is not None else version_spec
        wanted = _type_of_argument(program, cls, type_, "cast")
        spec = VersionSpec.parse(spec_text) if spec_text is not None else None
        if spec is None:
            spec = cls.package.requirements.get(wanted.package.name) or VersionSpec.exactly(wanted.version)
        start = value.cls if isinstance(value, View) else target.cls
        found = [each for each in start.lineage if each.name == wanted.name and spec.matches(each.version)]
        if not found:
            raise NoClassFound(f'Class "{wanted.name}" is not found in {target.cls}')
        if len(found) > 1:
            raise AmbiguousClassName(f'Class "{wanted.name}" has several versions in {target.cls}')
        return target if found[0] is target.cls else View(target, found[0])

    return cast


def _parents(target: MuranoObject, cls: MuranoClass) -> tuple[View, ...]:
    """An object seen as each parent of the class whose code runs."""
    for parent in cls.parents:
        if not target.cls.is_a(parent):
            raise TypeError(f"Cannot cast {target.cls!r} to {parent!r}")
    return tuple(View(target, parent) for parent in cls.parents)


def _super(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def super_(value: Any, function: Callable[..., Any] | None = None) -> Any:
        views = _parents(_object(value, "super"), cls)
        return views if function is None else tuple(freeze(function(view)) for view in views)

    return super_


def _psuper(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def psuper(value: Any, function: Callable[..., Any] | None = None) -> Any:
        views = _parents(_object(value, "psuper"), cls)
        return views if function is None else program.parallel_map(function, views)

    return psuper


def _pselect(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def pselect(collection: Any, function: Callable[..., Any]) -> Any:
        items = freeze(collection)
        if isinstance(items, (str, dict)) or not hasattr(items, "__iter__"):
            raise _mismatch("pselect")
        return program.parallel_map(function, tuple(items))

    return pselect


def _find(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def find(value: Any, type_: Any) -> Any:
        target = _object(value, "find")
        wanted = _type_of_argument(program, cls, type_, "find")
        return next((owner for owner in target.owners() if owner.cls.is_a(wanted)), None)

    return find


def _require(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def require(value: Any) -> Any:
        if value is None:
            raise ValueError("Required value is missing")
        return value

    return require


def _type(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    by_name = cls.package.format_version != "1.4"

    def type_(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, (MuranoObject, View)):
            found = value.cls
            return found.name if by_name else found.reference
        return _type_of_argument(program, cls, value, "type").reference

    return type_


def _type_of_name(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def type_of_name(value: Any) -> Any:
        if value is None or object_of(value) is not None:
            raise _mismatch("type")
        return _type_of_argument(program, cls, value, "type").reference

    return type_of_name


def _typeinfo(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def typeinfo(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, (MuranoObject, View)):
            return value.cls
        return _type_of_argument(program, cls, value, "typeinfo")

    return typeinfo


def _is(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def is_(value: Any, type_: Any) -> bool:
        if value is None:
            return False
        if not isinstance(value, (MuranoObject, View)):
            raise _mismatch("#operator_is")
        return value.cls.is_a(_type_of_argument(program, cls, type_, "#operator_is"))

    return is_


def _is_object(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda value: isinstance(value, (MuranoObject, View, TypeReference))


_MEMBERSHIP = frozenset({"#operator_.", "#operator_?.", "#operator_->", "#call", "#get_context_data"})  # syntax only


def _call(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    absent = program.absent

    def call(name: str, arguments: Any, keywords: Any, receiver: Any = absent) -> Any:
        if type(name) is not str or name in _MEMBERSHIP or not isinstance(keywords, dict):
            raise _mismatch("call")
        given = freeze(arguments)
        if type(given) is not tuple:
            raise _mismatch("call")
        named = {str(key): value for key, value in keywords.items()}
        if receiver is absent:
            found = program.linker.function_named(cls, name)
            if found is None:
                raise NoFunctionRegistered(f'Unknown function "{name}"')
            return found(*given, **named)
        dispatch = program.linker.dispatch_of(cls)
        if object_of(receiver) is None and type(receiver) is not TypeReference:
            found = program.linker.table_of(cls).method(name)
            if found is not None:  # where a function wants a lambda, a value is one that always gives it
                given = tuple(_always(each) if found.lazy(i) else each for i, each in enumerate(given, start=1))
                named = {key: _always(each) if found.lazy(key) else each for key, each in named.items()}
        return dispatch.with_keywords[name](receiver, given, named)

    return call


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_arguments: value


def _dump(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def dump(value: Any, serialization_type: Any = "Serializable", ignore_upcasts: Any = True, **named: Any) -> Any:
        kind = named.get("serializationType", serialization_type)
        if object_of(value) is None or type(kind) is not str:
            raise _mismatch("dump")
        if kind not in ("Serializable", "Mixed", "Inline"):
            raise ValueError(f"Invalid Serialization Type {kind}: expected Serializable, Mixed or Inline")
        return freeze(program.serialize_value(value, kind))

    return dump


_LONGEST_SLEEP = 7 * 24 * 3600  # seconds


def _sleep(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def sleep(seconds: Any) -> None:
        if type(seconds) not in (int, float):
            raise _mismatch("sleep")
        if not seconds <= _LONGEST_SLEEP:
            raise ValueError(f"sleep takes at most {_LONGEST_SLEEP} seconds")
        program.scheduler.effect("sleep", {"seconds": seconds})

    return sleep


def _random_name(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda: program.scheduler.effect("random.name", {})


def _random(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def random(minimum: Any = None, maximum: Any = None, **named: Any) -> Any:
        low, high = named.get("from", minimum), named.get("to", maximum)
        numbers = low is None or (type(low) in (int, float) and type(high) in (int, float))
        if not numbers:
            raise _mismatch("random")
        if low is not None and not -(2**63) <= low <= high < 2**63:
            raise ValueError("random takes a lower and a higher bound, of 64 bits at most")
        arguments = {} if low is None else {"minimum": low, "maximum": high}
        return program.scheduler.effect("random.number", arguments)

    return random


def _now(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def now(offset: Any = None) -> Any:
        seconds = program.scheduler.effect("clock.now", {})
        make = program.linker.table_of(cls).function("datetime")
        assert make is not None
        return make(seconds) if offset is None else make(seconds, offset)

    return now


def _logger(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def logger(name: Any) -> Any:
        core = program.registry.find_package("io.murano", VersionSpec.parse("*"))
        type_ = core.find_class("io.murano.system.Logger")
        return program.creation.new(type_, {"loggerName": name}, None, None, cls)

    return logger


def _config(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    def config(group: Any, name: Any = None, read_as_file: Any = False, **named: Any) -> Any:
        arguments = {"group": group, "name": name} if name is not None else {"group": None, "name": group}
        as_file = bool(named.get("readAsFile", read_as_file))
        return freeze(program.scheduler.effect("config", {**arguments, "readAsFile": as_file}))

    return config


def _decrypt(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda key: program.scheduler.effect("secret", {"key": thaw(key)})


def _with_original(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda function, names: program.linker.mocks.in_callers_scope(function, names)


def _original_method(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda: program.linker.mocks.call_original()


def _inject(program: Program, cls: MuranoClass) -> Callable[..., Any]:
    return lambda *arguments: program.linker.mocks.inject(cls, *arguments)


FUNCTIONS: dict[str, Make] = {
    "new": _new,
    "id": _id,
    "name": _name,
    "metadata": _metadata,
    "cast": _cast,
    "super": _super,
    "psuper": _psuper,
    "pselect": _pselect,
    "find": _find,
    "require": _require,
    "type": _type,
    "#type": _type_of_name,  # on the left of an assignment
    "typeinfo": _typeinfo,
    "is": _is,
    "isObject": _is_object,
    "call": _call,
    "dump": _dump,
    "sleep": _sleep,
    "randomName": _random_name,
    "random": _random,
    "now": _now,
    "logger": _logger,
    "decryptData": _decrypt,
    "inject": _inject,
    "withOriginal": _with_original,
    "originalMethod": _original_method,
}
CORE_FUNCTIONS: dict[str, Make] = {"config": _config}  # for code of the package io.murano only
METHODS: dict[str, Make] = {"find": _find, "require": _require, "pselect": _pselect, "decryptData": _decrypt}
LEGACY_METHODS: dict[str, Make] = {"id": _id, "cast": _cast, "super": _super, "psuper": _psuper, "type": _type}
LAZY: dict[str, frozenset[int | str]] = {
    "super": frozenset({1, "func"}),
    "psuper": frozenset({1, "func"}),
    "pselect": frozenset({1, "selector"}),
}
