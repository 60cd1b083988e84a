"""Loops over values and access to their parts, as statements and `.` need them (spec/muranopl.md §11, §15)."""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dsl.errors import NoFunctionRegistered, NoMatchingFunction
from dsl.functions import FunctionTable
from dsl.functions.values import FrozenDict, freeze
from dsl.packages import Version
from dsl.runtime import reflection
from dsl.runtime.nesting import checked
from dsl.runtime.objects import MuranoObject

if TYPE_CHECKING:
    from dsl.runtime.program import Program


def settle(value: Any) -> Any:
    """What an expression's value becomes at its end; a version degrades to a list, as packages know it (§16)."""
    if isinstance(value, Version):
        return (value.major, value.minor, value.patch, tuple(value.prerelease), tuple(value.build))
    return checked(freeze(value))


def listed(items: list[Any]) -> tuple[Any, ...]:
    """A list of frozen items as a value."""
    value = tuple(items)
    return value if _FLAT.issuperset(map(type, value)) else checked(value)


def iterate(value: Any) -> Iterable[Any]:
    """What `For` walks: lists, sets, keys of dicts, characters of texts."""
    if type(value) is tuple:
        return value
    if isinstance(value, (str, dict, frozenset)):
        return tuple(value)
    raise TypeError(f"'{type(value).__name__}' object is not iterable")


def times(value: Any) -> range:
    """What `Repeat` counts."""
    return range(value)


def unpack(value: Any, count: int) -> tuple[Any, ...]:
    """The items that `unpack()` names; with names there must be as many items."""
    items = freeze(value)
    if not isinstance(items, tuple):
        raise NoMatchingFunction('No function "unpack" matches supplied arguments')
    if count and len(items) != count:
        raise ValueError(f"Cannot unpack {len(items)} elements into {count}")
    return items


def convert_each(convert: Callable[[Any, Any], Any], given: Any, this: Any) -> Any:
    """The values of a VarArgs or KwArgs argument, each converted."""
    if isinstance(given, Mapping):
        return FrozenDict({key: convert(value, this) for key, value in given.items()})
    return tuple(convert(value, this) for value in given or ()) if isinstance(given, tuple) else FrozenDict()


def member(
    receiver: Any, name: str, get: Callable[[Any], Any], table: FunctionTable, legacy: bool, program: Program
) -> Any:
    """`receiver.name` where the receiver is neither object nor type."""
    if isinstance(receiver, dict):
        return receiver.get(name) if legacy else receiver[name]
    if receiver is None or isinstance(receiver, (str, int, float, bool)):
        raise _no_member(name, table)
    if isinstance(
        receiver,
        (tuple, frozenset, list, collections.abc.Iterator, collections.abc.KeysView, collections.abc.ValuesView),
    ):
        return map(get, freeze(receiver))  # an iterator, as every query; list() and others take it apart
    found, value = reflection.read(program, receiver, name)
    if found:
        return value
    function = table.property(name)
    if function is not None:
        return function(receiver)
    if isinstance(receiver, collections.abc.Iterable):
        return map(get, freeze(receiver))
    raise _no_member(name, table)


_FLAT = frozenset({type(None), bool, int, float, str, MuranoObject})


def _no_member(name: str, table: FunctionTable) -> Exception:
    if table.property(name) is None and name not in reflection.NAMES:
        return NoFunctionRegistered(f'Unknown function "#property#{name}"')
    return NoMatchingFunction(f'No function "#property#{name}" matches supplied arguments')
