"""Contracts at work: closures over one class of one program (spec/muranopl.md §6).

A chain runs its steps one after the other; lists and dicts apply a contract to each item and name the place of what
fails. Where a model is only checked, everything that is wrong in them is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsl.compiler import contracts as tree
from dsl.errors import ContractViolation, DslContractSyntaxError, Thrown
from dsl.functions.values import FrozenDict, freeze
from dsl.runtime.nesting import checked
from dsl.runtime.objects import MuranoObject
from dsl.runtime.steps import Context, Convert, shown, step_of

if TYPE_CHECKING:
    from dsl.runtime.classes import MuranoClass


class SeveralViolations(ContractViolation):
    """Everything that is wrong inside one list or dict; only where violations are collected."""

    def __init__(self, parts: list[ContractViolation]) -> None:
        super().__init__("; ".join(part.message or "" for part in parts))
        self.parts = tuple(parts)

    def inside(self, step: str | int) -> ContractViolation:
        for part in self.parts:
            part.inside(step)
        return self


class _Collected:
    """What went wrong at the places of one list or dict."""

    def __init__(self, context: Context) -> None:
        self._collecting = context.collecting
        self._found: list[ContractViolation] = []

    def add(self, error: Exception, step: Any) -> None:
        """Raise the error as seen from outside `step`, or keep it."""
        if not isinstance(error, ContractViolation):
            if not self._collecting:
                raise error
            origin = error
            error = ContractViolation(origin.message or "" if isinstance(origin, Thrown) else str(origin))
            error.__cause__ = origin
        error = error.inside(step)
        if not self._collecting:
            raise error
        self._found.extend(error.parts if isinstance(error, SeveralViolations) else (error,))

    def finish(self) -> None:
        if self._found:
            raise SeveralViolations(self._found)


def build(contract: tree.Contract, cls: MuranoClass) -> Convert:
    """The closure for a compiled contract that a class declares."""
    if isinstance(contract, tree.Chain):
        return _chain([step_of(step, cls) for step in contract.steps])
    if isinstance(contract, tree.ListContract):
        return _list(contract, cls)
    if isinstance(contract, tree.DictContract):
        return _dict(contract, cls)
    if isinstance(contract, tree.Literal):
        return _literal(contract.value)
    function = contract.function
    return lambda value, this, context: cls.globals[function](value, this, context)


def described(contract: tree.Contract) -> str:
    """What a contract asks for, in words for people."""
    if isinstance(contract, tree.ListContract):
        return "a list"
    if isinstance(contract, tree.DictContract):
        return "a dictionary"
    if isinstance(contract, tree.Literal):
        return repr(contract.value)
    for step in contract.steps if isinstance(contract, tree.Chain) else ():
        if step.name in ("class", "template"):
            return f"an object of {step.get('name') or step.get('type')}"
        if step.name in _WORDS:
            return _WORDS[step.name]
    return "a value"


_WORDS = {"string": "a text", "int": "a whole number", "bool": "true or false"}


def _chain(steps: list[Convert]) -> Convert:
    if not steps:
        return lambda value, this, context: value
    if len(steps) == 1:
        return steps[0]

    def chain(value: Any, this: Any, context: Context) -> Any:
        for step in steps:
            value = step(value, this, context)
        return value

    return chain


def _literal(expected: object) -> Convert:
    def literal(value: Any, this: Any, context: Context) -> Any:
        if value == expected:
            return value
        raise ContractViolation(f"Value {shown(value)} is not equal to {expected!r}", repr(expected), shown(value))

    return literal


def _list(contract: tree.ListContract, cls: MuranoClass) -> Convert:
    items = [build(each, cls) for each in contract.items]
    low, high = contract.low, contract.high

    def check(value: Any, this: Any, context: Context) -> Any:
        if value is None:
            value = ()
        elif type(value) is not tuple:
            value = tuple(value) if isinstance(value, list) else (value,)
        length = len(value)
        if low is not None and high is None and length < low:
            message = f"Array length {length} must not be less than {low}"
            raise ContractViolation(message, f"at least {low} items", f"{length} items")
        if low is not None and high is not None and not low <= length <= high:
            message = f"Array length {length} is not within [{low}..{high}] range"
            raise ContractViolation(message, f"{low} to {high} items", f"{length} items")
        if not items:
            return value
        last = len(items) - 1
        result = []
        collected = _Collected(context)
        for index, item in enumerate(value):
            try:
                result.append(items[min(index, last)](item, this, context))
            except (Thrown, ValueError) as error:
                collected.add(error, index)
        collected.finish()
        return tuple(result)

    return check


def _dict(contract: tree.DictContract, cls: MuranoClass) -> Convert:
    fixed = [(key, build(each, cls)) for key, each in contract.fixed]
    keys = {key for key, _ in fixed}
    rest = (build(contract.rest[0], cls), build(contract.rest[1], cls)) if contract.rest is not None else None

    def check(value: Any, this: Any, context: Context) -> Any:
        if contract.rests > 1:
            raise DslContractSyntaxError("Dictionary contract cannot have more than one expression key")
        if value is None:
            value = FrozenDict()
        if not isinstance(value, dict):
            raise ContractViolation(f"Value {shown(value)} is not of a dictionary type", "a dictionary", shown(value))
        if not fixed and rest is None:
            return value
        result: dict[Any, Any] = {}
        collected = _Collected(context)
        for key, convert in fixed:
            try:
                result[key] = convert(value.get(key), this, context)
            except (Thrown, ValueError) as error:
                collected.add(error, key)
        if rest is not None:
            for key, item in value.items():
                if key in keys:
                    continue
                try:
                    result[rest[0](key, this, context)] = rest[1](item, this, context)
                except (Thrown, ValueError) as error:
                    collected.add(error, key)
        collected.finish()
        return FrozenDict(result)

    return check


def frozen(value: Any) -> Any:
    """A value as it may cross a contract: iterators materialised, collections immutable."""
    return value if type(value) in (str, int, bool, type(None), MuranoObject) else checked(freeze(value))
