"""Base64 and JSON patches (spec/muranopl.md §17.2)."""

from __future__ import annotations

import base64
import binascii
import copy
from typing import Any

import jsonpatch
import jsonpointer

from dsl.errors import MemoryQuotaExceeded, Thrown
from dsl.functions.limits import FunctionLimits, check_extent, check_length
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import FrozenDict, deep_freeze, thaw


def natives(limits: FunctionLimits) -> list[Native]:
    """The functions."""
    collect = Collector()

    @collect.both("base64encode")
    def encode(text: Any) -> str:
        if type(text) is not str:
            raise UNSUITED
        check_length(len(text) * 4 // 3, limits)
        return base64.b64encode(text.encode()).decode()

    @collect.both("base64decode")
    def decode(text: Any) -> str:
        if type(text) is not str:
            raise UNSUITED
        try:
            return base64.b64decode(text).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            name = "binascii.Error" if isinstance(error, binascii.Error) else type(error).__name__
            raise Thrown(name, f"{text[:40]!r} is not the Base64 form of a UTF-8 text: {error}") from error

    @collect.both("patch")
    def patch(document: Any, operations: Any) -> Any:
        if isinstance(operations, dict):  # a single operation
            operations = (operations,)
        if not isinstance(operations, (tuple, list)):
            raise UNSUITED
        check_extent(document, limits)
        try:
            changed = _patched(thaw(document, _Opaque), thaw(check_extent(operations, limits), _Opaque))
        except jsonpointer.JsonPointerException:
            return document
        except jsonpatch.JsonPatchException as error:
            raise Thrown(f"{type(error).__module__}.{type(error).__name__}", str(error)) from error
        return _revealed(deep_freeze(changed))

    return collect.natives


MAX_COPIED = 100_000  # parts that the copy operations of one patch may make: each can double the document


class _Opaque:
    """An object or the like on its way through a patch, which could otherwise copy or enter it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict) -> _Opaque:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opaque) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _patched(document: Any, operations: Any) -> Any:
    patch = jsonpatch.JsonPatch(operations)
    room = MAX_COPIED
    for operation in patch.patch:
        if operation.get("op") == "copy" and isinstance(operation.get("from"), str):
            room -= _parts(jsonpointer.resolve_pointer(document, operation["from"]))
            if room < 0:
                raise MemoryQuotaExceeded(f"a patch copies more than {MAX_COPIED} parts")
        document = jsonpatch.JsonPatch([copy.deepcopy(operation)]).apply(document, in_place=True)
    return document


def _parts(value: Any) -> int:
    count = 0
    pending = [value]
    while pending:
        each = pending.pop()
        count += 1
        if isinstance(each, (dict, list)):
            pending.extend(each.values() if isinstance(each, dict) else each)
    return count


def _revealed(value: Any) -> Any:
    if type(value) is _Opaque:
        return value.value
    if isinstance(value, dict):
        return FrozenDict({_revealed(key): _revealed(item) for key, item in value.items()})
    return tuple([_revealed(item) for item in value]) if isinstance(value, tuple) else value
