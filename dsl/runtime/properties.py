"""Reading and writing properties, and assignment through paths (spec/muranopl.md §5, §10.4, §12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsl.errors import ContractViolation, NoPropertyFound, NoWriteAccess, PropertyReadError, UninitializedPropertyAccess
from dsl.functions import FunctionLimits
from dsl.functions.limits import check_size
from dsl.functions.values import FrozenDict
from dsl.runtime.classes import WRITABLE, MuranoClass, Property
from dsl.runtime.contracts import frozen
from dsl.runtime.machine import Machine
from dsl.runtime.nesting import checked
from dsl.runtime.objects import DestroyedObject, MuranoObject, StaticKey, TypeReference, Unresolved, View
from dsl.runtime.steps import OWNED, VALIDATING, Context, Convert

Getter = Callable[[Any], Any]


def storage_key(cls: MuranoClass, name: str) -> object:
    """Under which key objects hold what code of `cls` calls `name`: declared names are shared, private ones are not."""
    declared = cls.find_property(name)
    if declared is None:
        return cls.private_prefix + name
    if declared.usage == "Static":
        return StaticKey(lambda: read_static(declared))
    return name


def make_getter(cls: MuranoClass, name: str, on_value: Callable[[Any, str], Any]) -> Getter:
    """`x.name` in code of `cls`; `on_value` answers for what is no object and no type."""
    keys: dict[MuranoClass, object] = {}

    def get(receiver: Any) -> Any:
        if type(receiver) is MuranoObject or type(receiver) is DestroyedObject:
            try:
                key = keys[receiver.cls]
            except KeyError:
                key = keys[receiver.cls] = _key_for(cls, receiver.cls, name)
            return receiver.values[key]
        if isinstance(receiver, View):
            return receiver.object.values[_key_for_view(cls, receiver, name)]
        if type(receiver) is TypeReference:
            return read_static(_static_of(receiver.cls, name))
        if isinstance(receiver, Unresolved):
            raise UninitializedPropertyAccess(f'Object "{receiver.id}" is not loaded yet')
        return on_value(receiver, name)

    return get


def _key_for(caller: MuranoClass, cls: MuranoClass, name: str) -> object:
    """Declared properties are readable by anyone; code of an ancestor sees only what it knows (§10.4)."""
    if cls.is_a(caller):
        return storage_key(caller, name)
    if cls.find_property(name) is None:
        raise PropertyReadError(f'Property "{name}" in class "{cls}" cannot be read')
    return storage_key(cls, name)


def _key_for_view(caller: MuranoClass, view: View, name: str) -> object:
    if view.cls.is_a(caller) and view.cls.find_property(name) is None and caller.find_property(name) is None:
        return caller.private_prefix + name
    if view.cls.find_property(name) is None:
        raise PropertyReadError(f'Property "{name}" in class "{view.cls}" cannot be read')
    return storage_key(view.cls, name)


def _static_of(cls: MuranoClass, name: str) -> Property:
    declared = cls.find_property(name)
    if declared is None or declared.usage != "Static":
        raise NoPropertyFound(f'Property "{name}" is not found')
    return declared


def read_static(declared: Property) -> Any:
    """The value that a class's static property has now; the contract is applied at every read (§21)."""
    cls = declared.cls
    this = cls.reference
    if declared.name in cls.statics:
        value = cls.statics[declared.name]
    else:
        default = declared.code.default
        value = cls.globals[default](this) if default is not None else None
    return convert(declared, value, this, Context())


def convert(declared: Property, value: Any, this: Any, context: Context) -> Any:
    """Apply one declaration's contract, naming the property in what it raises."""
    try:
        return declared.transform(frozen(value), this, context)
    except ContractViolation as violation:
        raise violation.labelled(declared.label) from None


def convert_all(declared: Property, value: Any, this: MuranoObject, context: Context) -> Any:
    """The nearest declaration converts, all others only test the result (§10.5)."""
    result = convert(declared, value, this, context)
    for other in this.cls.declarations(declared.name):
        if other is not declared and not isinstance(result, Unresolved):
            convert(other, result, this, Context(validating=True, loader=context.loader))
    return result


def make_setter(cls: MuranoClass, name: str, machine: Machine) -> Callable[[Any, Any], None]:
    """`x.name: value` in code of `cls`."""
    plans: dict[MuranoClass, tuple[object, Property | None, bool, type | None]] = {}

    def set_(receiver: Any, value: Any) -> None:
        if type(receiver) is MuranoObject:
            plan = plans.get(receiver.cls)
            if plan is None:
                plan = plans[receiver.cls] = _write_plan(cls, receiver.cls, name)
            key, declared, allowed, kind = plan
            if not allowed and not machine.constructing:
                raise NoWriteAccess(f'Property "{name}" is immutable to the caller')
            if type(value) is kind or declared is None:
                receiver.values[key] = value
            elif isinstance(key, StaticKey):
                write_static(declared, value)
            else:
                receiver.values[key] = convert_all(declared, value, receiver, OWNED)
            return
        if isinstance(receiver, (View, DestroyedObject)):
            _write_other(cls, receiver, name, value, machine)
        elif type(receiver) is TypeReference:
            write_static(_static_of(receiver.cls, name), value)
        else:
            raise ValueError("attribution may only be applied to objects and dictionaries")

    return set_


class Setters(dict):
    """Class of the receiver -> function(receiver, value), for `$.name: value` in methods of one class."""

    def __init__(self, cls: MuranoClass, name: str, machine: Machine) -> None:
        super().__init__()
        self._cls = cls
        self._name = name
        self._machine = machine

    def __missing__(self, receiver_cls: MuranoClass) -> Callable[[Any, Any], None]:
        key, declared, allowed, kind = _write_plan(self._cls, receiver_cls, self._name)
        general = make_setter(self._cls, self._name, self._machine)

        def set_private(receiver: Any, value: Any) -> None:
            receiver.values[key] = value

        def set_simple(receiver: Any, value: Any) -> None:
            if type(value) is kind:
                receiver.values[key] = value
            else:
                general(receiver, value)

        found = general
        if allowed:
            found = set_private if declared is None else set_simple if kind is not None else general
        self[receiver_cls] = found
        return found


def _write_plan(caller: MuranoClass, cls: MuranoClass, name: str) -> tuple[object, Property | None, bool, type | None]:
    """(storage key, declaration, whether allowed outside of construction, exact type that needs no conversion)"""
    related = cls.is_a(caller)
    visible = caller.find_property(name) if related else cls.find_property(name)
    if visible is None:
        if not related:
            return name, None, False, None
        return caller.private_prefix + name, None, True, None
    declared = cls.find_property(name) or visible
    declarations = cls.declarations(name)
    allowed = related and all(each.usage in WRITABLE for each in declarations)
    return storage_key(cls, name), declared, allowed, exact_type(cls, declared)


def exact_type(cls: MuranoClass, declared: Property) -> type | None:
    """The exact type whose values an object of the class takes for the property unchanged, if one test can tell."""
    if declared.usage == "Static" or len(cls.declarations(declared.name)) > 1:
        return None
    return _FAST.get(declared.code.fast or "")


_FAST = {"int": int, "str": str, "bool": bool}


def _write_other(cls: MuranoClass, receiver: View | DestroyedObject, name: str, value: Any, machine: Machine) -> None:
    target = receiver.object if isinstance(receiver, View) else receiver
    key, declared, allowed, _ = _write_plan(cls, target.cls, name)
    if not allowed and not machine.constructing:
        raise NoWriteAccess(f'Property "{name}" is immutable to the caller')
    if isinstance(key, StaticKey) and declared is not None:
        write_static(declared, value)
    else:
        target.values[key] = value if declared is None else convert_all(declared, value, target, OWNED)


def write_static(declared: Property, value: Any) -> None:
    """Set a static property; the contract must accept the value (§21)."""
    cls = declared.cls
    convert(declared, value, cls.reference, Context())
    cls.statics[declared.name] = frozen(value)


def make_assign(
    cls: MuranoClass, machine: Machine, read: Callable[[str], Getter], limits: FunctionLimits
) -> Callable[..., Any]:
    """`root.a[b].c: value`: gives what the root variable holds afterwards."""

    def write(receiver: Any, name: object, value: Any) -> None:
        make_setter(cls, str(name), machine)(receiver, value)

    def assign(root: Any, steps: tuple[tuple[str, Any], ...], value: Any) -> Any:
        kind, key = steps[0]
        if isinstance(root, (MuranoObject, View, TypeReference)):
            if isinstance(key, int):
                if len(steps) == 1:
                    return root  # as with everything else that has no places
                raise ValueError("indexation may only be applied to dictionaries and lists")
            if len(steps) == 1:
                write(root, key, value)
                return root
            try:
                current = read(key)(root)
            except UninitializedPropertyAccess:
                current = FrozenDict()
            changed = assign(current, steps[1:], value)
            if changed is not current:
                write(root, key, changed)
            return root
        return checked(check_size(_updated(root, kind, key, steps[1:], value, assign), limits))

    return assign


_ABSENT = FrozenDict()


def _updated(
    root: Any, kind: str, key: Any, rest: tuple[tuple[str, Any], ...], value: Any, assign: Callable[..., Any]
) -> Any:
    """A copy of a list or dict with one place changed."""
    if isinstance(root, dict):
        new = assign(root.get(key, _ABSENT), rest, value) if rest else value
        if rest and new is root.get(key, _ABSENT) and key in root:
            return root
        return FrozenDict({**root, key: new})
    if kind == "[]" and isinstance(root, tuple) and isinstance(key, int):
        old = root[key] if rest else None
        new = assign(old, rest, value) if rest else value
        if rest and new is old:
            return root
        return (*root[:key], new, *root[key + 1 :])
    if kind == "[]" and isinstance(key, int) and not rest:
        return root  # Murano's: a number in brackets changes lists and dictionaries, and nothing else
    what = "attribution" if kind == "." else "indexation"
    where = "objects and dictionaries" if kind == "." else "dictionaries and lists"
    raise ValueError(f"{what} may only be applied to {where}")


def passes(contract: Convert, value: Any, this: Any) -> bool:
    """Whether a value has what a contract asks for already."""
    try:
        contract(value, this, VALIDATING)
    except ContractViolation:
        return False
    return True
