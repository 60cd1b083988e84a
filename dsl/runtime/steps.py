"""The steps of a contract's chain: `string()`, `int()`, `check()`, `class()` and so on (spec/muranopl.md §6).

A step is a closure `(value, this, context) -> value`. In validating mode (the other contracts of a redeclared property,
the receiver test of extensions) nothing is converted: the value must have its type already.
"""

from __future__ import annotations

import datetime
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsl.compiler import contracts as tree
from dsl.errors import ContractViolation, NoObjectFound
from dsl.functions.values import thaw
from dsl.packages import VersionSpec
from dsl.runtime.machine import Refused
from dsl.runtime.objects import MuranoObject, TypeReference, Unresolved, View, object_of

if TYPE_CHECKING:
    from dsl.runtime.classes import MuranoClass
    from dsl.runtime.loading import Loader

Convert = Callable[[Any, Any, "Context"], Any]


@dataclass(frozen=True)
class Context:
    """How a contract is applied: who owns objects given as dicts, in which load, converting or only testing."""

    owned: bool = False  # objects made from dicts belong to `this`
    loader: Loader | None = None
    validating: bool = False
    collecting: bool = False  # find all violations of a value, not only the first


OWNED = Context(owned=True)
VALIDATING = Context(validating=True)


def shown(value: object) -> str:
    """A value as messages show it; long ones are cut."""
    return _REPR.repr(_plain(value))


def _plain(value: object) -> object:
    return value if isinstance(value, (MuranoObject, View, TypeReference)) else thaw(value)


class _Repr(reprlib.Repr):
    """What a host's object says of itself is not for packages, nor is an address."""

    def repr_instance(self, x: object, level: int) -> str:
        kind = type(x)
        ours = kind.__module__.startswith("dsl.") and kind.__repr__ is not vars(object)["__repr__"]
        if ours or isinstance(x, _PLAIN):
            return str(super().repr_instance(x, level))
        return f"<{kind.__name__}>"


_PLAIN = (int, float, str, bytes, type(None), datetime.date, datetime.timedelta)
_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = 200
_REPR.maxlist = _REPR.maxdict = 20
_REPR.maxlevel = 6


def step_of(step: tree.Step, cls: MuranoClass) -> Convert:
    """The closure for one step of a chain in a contract that a class declares."""
    if step.name in _SIMPLE:
        return _SIMPLE[step.name]
    if step.name == "check":
        return _check(step, cls)
    if step.name == "class":
        return _class(step, cls)
    return _template(step, cls)


def _violation(value: object, contract: str) -> ContractViolation:
    return ContractViolation(f"Value {shown(value)} violates {contract}() contract", contract, shown(value))


def _string(value: Any, this: Any, context: Context) -> Any:
    if value is None or type(value) is str:
        return value
    if context.validating:
        raise _violation(value, "string")
    if type(value) in (int, bool):
        return str(value)
    found = object_of(value)
    if found is not None:
        return found.id
    raise _violation(value, "string")


def _int(value: Any, this: Any, context: Context) -> Any:
    if value is None or type(value) is int:
        return value
    if not context.validating and isinstance(value, (str, float, bool)):
        try:
            return int(value)
        except (ValueError, OverflowError):
            raise _violation(value, "int") from None
    raise _violation(value, "int")


def _bool(value: Any, this: Any, context: Context) -> Any:
    if value is None or type(value) is bool:
        return value
    if context.validating:
        raise _violation(value, "bool")
    return bool(value)


def _not_null(value: Any, this: Any, context: Context) -> Any:
    if value is None:
        raise ContractViolation("null value violates notNull() contract", "a value", "null")
    return value


def _owned(value: Any, this: Any, context: Context) -> Any:
    if value is None or isinstance(value, Unresolved):
        return value
    found = object_of(value)
    if found is None or this not in found.owners():
        expected = f"an object that {this!r} owns"
        raise ContractViolation(f"Object {shown(value)} violates owned() contract", expected, shown(value))
    return value


def _not_owned(value: Any, this: Any, context: Context) -> Any:
    if value is None or isinstance(value, Unresolved):
        return value
    found = object_of(value)
    if found is None or this in found.owners():
        expected = f"an object that {this!r} does not own"
        raise ContractViolation(f"Object {shown(value)} violates notOwned() contract", expected, shown(value))
    return value


_SIMPLE: dict[str, Convert] = {
    "string": _string,
    "int": _int,
    "bool": _bool,
    "notNull": _not_null,
    "owned": _owned,
    "notOwned": _not_owned,
}


def _computed(argument: tree.Argument, cls: MuranoClass) -> Callable[[Any, Any], Any]:
    """The value of a step's argument, constant or computed at each use."""
    if isinstance(argument, tree.Function):
        name = argument.name
        return lambda value, this: cls.globals[name](value, this)
    return lambda value, this: argument


def _check(step: tree.Step, cls: MuranoClass) -> Convert:
    predicate = _computed(step.get("predicate"), cls)
    message = _computed(step.get("msg"), cls)

    def check(value: Any, this: Any, context: Context) -> Any:
        try:
            if isinstance(value, Unresolved) or predicate(value, this):
                return value
        except Refused:
            return value  # only running the package could tell
        text = message(value, this)
        text = f"Value {shown(value)} doesn't match predicate" if text is None else str(text)
        raise ContractViolation(text, "a value that passes the check", shown(value))

    return check


@dataclass(frozen=True)
class Wanted:
    """What a `class()` or `template()` asks for."""

    cls: MuranoClass
    default: MuranoClass
    spec: VersionSpec | None

    def accepts(self, found: MuranoClass, by: MuranoClass) -> bool:
        """Whether the found class or an ancestor has the name and a version that the declaring package requires."""
        spec = self.spec
        if spec is None:
            package = self.cls.package.name
            spec = by.package.requirements.get(package)
            if spec is None:
                return False
        return any(each.name == self.cls.name and spec.matches(each.version) for each in found.lineage)


def _wanted(step: tree.Step, cls: MuranoClass, type_name: str, default_name: str) -> Callable[[Any, Any], Wanted]:
    """The resolved types; found once where they are constants, which is always in practice."""
    names = [_computed(step.get(label), cls) for label in (type_name, default_name, "versionSpec")]
    constant = not any(isinstance(value, tree.Function) for _, value in step.arguments)
    cache: list[Wanted] = []

    def wanted(value: Any, this: Any) -> Wanted:
        if cache:
            return cache[0]
        type_, default, spec = (each(value, this) for each in names)
        parsed = VersionSpec.parse(spec) if spec is not None else None
        found = cls.globals["_resolve_type"](type_, parsed)
        result = Wanted(found, found if default is None else cls.globals["_resolve_type"](default, None), parsed)
        if constant:
            cache.append(result)
        return result

    return wanted


def _class(step: tree.Step, cls: MuranoClass) -> Convert:
    wanted_for = _wanted(step, cls, "name", "defaultName")
    known: dict[MuranoClass, bool] = {}

    def check(value: Any, this: Any, context: Context) -> Any:
        if value is None or isinstance(value, Unresolved):
            return value
        if type(value) is MuranoObject and known.get(value.cls):
            return value
        wanted = wanted_for(value, this)
        found = object_or_load(value, this, context, wanted, cls)
        if isinstance(found, Unresolved):
            return found
        found_cls = found.cls
        if known.get(found_cls) and type(found) is MuranoObject:
            return found
        if not wanted.accepts(found_cls, cls):
            raise ContractViolation(
                f"Object of type {found_cls!r} is not compatible with requested type {wanted.cls!r}",
                f"an object of {wanted.cls}",
                f"an object of {found_cls}",
            )
        if isinstance(found, MuranoObject) and step.get("versionSpec") is None:
            known[found_cls] = True
        return found

    return check


def object_or_load(value: Any, this: Any, context: Context, wanted: Wanted, cls: MuranoClass) -> Any:
    """The object that a value is, names by its id, or describes."""
    if isinstance(value, (MuranoObject, View)):
        return value
    if isinstance(value, str) and not context.validating:
        return _by_id(value, context, cls)
    if isinstance(value, dict) and not context.validating:
        owner = this if context.owned and isinstance(this, MuranoObject) else None
        return cls.globals["_load_object"](value, owner, context.loader, wanted.default, cls, context)
    message = f"Value {shown(value)} cannot be represented as class {wanted.cls!r}"
    raise ContractViolation(message, f"an object of {wanted.cls}", shown(value))


def _by_id(object_id: str, context: Context, cls: MuranoClass) -> Any:
    loader = context.loader
    if loader is not None:
        found = loader.lookup(object_id)
        if found is not None:
            return found
        if loader.may_be_forward(object_id):
            loader.note_unresolved()
            return Unresolved(object_id)
    found = cls.globals["_find_object"](object_id)
    if found is None:
        raise NoObjectFound(f'Object "{object_id}" is not found in object store')
    return found


def _template(step: tree.Step, cls: MuranoClass) -> Convert:
    wanted_for = _wanted(step, cls, "type", "defaultType")
    excluded = _computed(step.get("excludeProperties"), cls)

    def check(value: Any, this: Any, context: Context) -> Any:
        if value is None:
            return None
        wanted = wanted_for(value, this)
        if context.validating and isinstance(value, dict):
            return value
        if not isinstance(value, (dict, MuranoObject, View)):
            message = f"Value {shown(value)} cannot be represented as class {wanted.cls!r}"
            raise ContractViolation(message, f"an object of {wanted.cls}", shown(value))
        paths = excluded(value, this) or ()
        return cls.globals["_make_template"](value, this, context, wanted, cls, tuple(paths))

    return check
