"""Numbers, truth and conversions (spec/muranopl.md §17.3)."""

from __future__ import annotations

import collections.abc
import datetime
from collections.abc import Callable
from typing import Any

from dsl.errors import MemoryQuotaExceeded
from dsl.functions.limits import DEFAULT_LIMITS, FunctionLimits, check_bits, check_length, quota_exceeded
from dsl.functions.native import UNSUITED, Collector, Native
from dsl.functions.values import MappingRule

Compare = Callable[[Any, Any], bool]


def natives(limits: FunctionLimits, greater: Compare) -> list[Native]:
    """The functions; `greater` is the operator `>`."""
    collect = Collector()

    @collect.function("str")
    def to_str(value: Any) -> str:
        return to_text(value, limits)

    @collect.function("int")
    def to_int(value: Any) -> int:
        if value is None:
            return 0
        if type(value) in (int, float, str, bool):
            return int(value)
        raise UNSUITED

    @collect.function("float")
    def to_float(value: Any) -> float:
        if value is None:
            return 0.0
        if type(value) in (int, float, str, bool):
            return float(value)
        raise UNSUITED

    @collect.function("bool")
    def to_bool(value: Any) -> bool:
        return bool(value)

    @collect.function("max")
    def maximum(a: Any, b: Any) -> Any:
        return b if greater(b, a) else a

    @collect.function("min")
    def minimum(a: Any, b: Any) -> Any:
        return a if greater(b, a) else b

    @collect.function("abs")
    def absolute(number: Any) -> Any:
        return abs(_number(number))

    @collect.function("round")
    def rounded(number: Any, digits: Any = 0) -> Any:
        if type(digits) is not int:
            raise UNSUITED
        return round(_number(number), max(min(digits, 400), -400))

    @collect.function("pow")
    def power(base: Any, exponent: Any, modulus: Any = None) -> Any:
        base, exponent = _number(base), _number(exponent)
        if modulus is not None:
            for operand in (base, exponent, _number(modulus)):
                check_bits(operand.bit_length() * 4 if type(operand) is int else 0, limits)  # it takes the cube of it
            return pow(base, exponent, modulus)
        if type(base) is int and type(exponent) is int:
            check_bits((base.bit_length() - 1) * max(exponent, 0), limits)
        return pow(base, exponent)

    @collect.function("shiftBitsLeft")
    def shift_left(value: Any, bits: Any) -> int:
        if type(value) is not int or type(bits) is not int:
            raise UNSUITED
        check_bits(value.bit_length() + max(bits, 0), limits)
        return value << bits

    @collect.function("isInteger")
    def is_integer(value: Any) -> bool:
        return type(value) is int

    @collect.function("isNumber")
    def is_number(value: Any) -> bool:
        return type(value) in (int, float)

    @collect.function("isBoolean")
    def is_boolean(value: Any) -> bool:
        return type(value) is bool

    @collect.function("isString")
    def is_string(value: Any) -> bool:
        return type(value) is str

    @collect.function("switch")
    def switch(*rules: Any) -> Any:
        for rule in rules:
            if type(rule) is not MappingRule:
                raise UNSUITED
            if called(rule.source):
                return called(rule.destination)
        return None

    @collect.function("coalesce")
    def coalesce(*candidates: Any) -> Any:
        for candidate in candidates:
            value = called(candidate)
            if value is not None:
                return value
        return None

    return collect.natives


def called(argument: Any) -> Any:
    """The value of an argument that may have been left unevaluated."""
    return argument() if type(argument) is _FUNCTION else argument


_FUNCTION = type(lambda: None)


def to_text(value: Any, limits: FunctionLimits) -> str:
    """`str(value)`: null, true and false in YAML's spelling; collections as Python writes them."""
    if type(value) is str:
        return value
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    text = str(value) if type(value) is int else python_text(value, limits)
    check_length(len(text), limits)
    return text


def python_text(value: Any, limits: FunctionLimits) -> str:
    """A value as Python writes it, built under the memory quota: shared parts can make it huge."""
    if isinstance(value, str):
        return str(value)
    parts: list[str] = []
    room = limits.memory if limits.memory > 0 else 2**40
    pending: list[Any] = [(value,)]  # a one-tuple marks a value, a text stands for itself
    while pending:
        item = pending.pop()
        if type(item) is str:
            parts.append(item)
        else:
            pieces = _pieces(item[0])
            if type(pieces) is str:
                parts.append(pieces)
            else:
                if len(pending) + len(pieces) > room:
                    raise quota_exceeded(limits)
                pending.extend(reversed(pieces))
                continue
        room -= len(parts[-1])
        if room < 0:
            raise quota_exceeded(limits)
    return "".join(parts)


def _pieces(value: Any) -> Any:
    """The Python spelling of a value, or of a collection the texts and (wrapped) members it consists of."""
    if isinstance(value, (tuple, list)):
        if not value:
            return "()" if isinstance(value, tuple) else "[]"
        opening, closing = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        if len(value) == 1 and opening == "(":
            closing = ",)"
        return [opening, *_joined((item,) for item in value), closing]
    if isinstance(value, dict):
        pairs = [[(key,), ": ", (item,)] for key, item in value.items()]
        flat: list[Any] = ["{"]
        for number, pair in enumerate(pairs):
            flat.extend([", ", *pair] if number else pair)
        return [*flat, "}"]
    if isinstance(value, _VIEWS):
        return [f"{type(value).__name__}([", *_joined((item,) for item in value), "])"]
    if isinstance(value, (frozenset, set)):
        return ["frozenset({", *_joined((item,) for item in value), "})"] if value else "frozenset()"
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        return repr(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.timedelta)):
        return str(value)
    if hasattr(value, "major"):
        return str(value)  # a version
    if hasattr(value, "__next__"):
        return "<sequence>"  # Python would show an address here
    kind = type(value)
    ours = kind.__module__.startswith("dsl.") and kind.__repr__ is not vars(object)["__repr__"]
    return repr(value) if ours else f"<{kind.__name__}>"  # what a host's object says of itself is not for packages


_VIEWS = (collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView)


def error_text(error: BaseException, limits: FunctionLimits = DEFAULT_LIMITS) -> str:
    """The message of a Python error, built under the memory quota: a KeyError has the key in it, however large."""
    try:
        if isinstance(error, KeyError) and len(error.args) == 1:
            return python_text(error.args, limits)[1:-2]  # inside a collection values are quoted
        if isinstance(error, OSError) and str(error.filename).startswith(("/", "\\")):
            return error.strerror or type(error).__name__  # without the path of the host
        if all(type(part) in (str, int, float) for part in error.args):
            return str(error)
        return python_text(error.args, limits)
    except MemoryQuotaExceeded:
        return "(the message is too large to be shown)"


def _joined(members: Any) -> list[Any]:
    result: list[Any] = []
    for number, member in enumerate(members):
        if number:
            result.append(", ")
        result.append(member)
    return result


def _number(value: Any) -> Any:
    if type(value) is int or type(value) is float:
        return value
    raise UNSUITED
