"""Everything that is wrong with a model by its contracts, found without running a method of a package.

The model is loaded like any other, except that violations are collected. Where only running code could tell (a default
or a predicate that calls a method) nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsl.errors import (
    ContractViolation,
    DslError,
    NoClassFound,
    NoObjectFound,
    NoPackageForClassFound,
    NoPackageFound,
    Thrown,
    UninitializedPropertyAccess,
)
from dsl.functions.values import freeze
from dsl.runtime import contracts
from dsl.runtime.classes import Property
from dsl.runtime.loading import Entry, Loader
from dsl.runtime.machine import Refused
from dsl.runtime.objects import MuranoObject, Unresolved
from dsl.runtime.steps import Context, Convert

if TYPE_CHECKING:
    from dsl.runtime.program import Program


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong. `path` is the place inside the object, like `networks.custom[0]`; empty: the object."""

    object_id: str | None
    type: str | None
    path: str
    message: str
    expected: str | None = None
    found: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        place = f"{self.type or 'object'} {self.object_id or ''}".strip() + (f", {self.path}" if self.path else "")
        details = ", ".join(
            f"{label} {text}" for label, text in (("expected", self.expected), ("found", self.found)) if text
        )
        return "; ".join(part for part in (f"{place}: {self.message}", details, self.fix) if part)


def check(program: Program, model: Mapping[str, Any]) -> tuple[Violation, ...]:
    """All violations of `Objects`, in the order in which the model is read. Raises LimitExceeded."""
    found: tuple[Violation, ...] = program.guarded(lambda: _violations(program, model))
    return found


def _violations(program: Program, model: Mapping[str, Any]) -> tuple[Violation, ...]:
    description = model.get("Objects")
    if description is None:
        return ()
    program.machine.refuse_calls()
    program.scheduler.refuse_effects()
    loader = _CheckingLoader(program)
    node = freeze(description)
    context = Context(owned=True, loader=loader, collecting=True)
    try:
        root = loader.object(node, None, None, None, context)
        loader.resolve()
        loader.construct_all(root)
    except _TELLING as error:
        loader.report(_id_of(description), _type_of(description), (), error)
    return tuple(dict.fromkeys(loader.violations))


_TELLING = (Thrown, ValueError, KeyError, TypeError, DslError)  # what is wrong with the model, not with the host


class _CheckingLoader(Loader):
    """A load that collects what is wrong and goes on."""

    def __init__(self, program: Program) -> None:
        super().__init__(program, keep_ids=True)
        self.collecting = True
        self.violations: list[Violation] = []
        self._unknown = False  # whether the value of some property could not be told without running code

    def report(self, object_id: str | None, type_: str | None, path: tuple[Any, ...], error: Exception) -> None:
        message = error.message if isinstance(error, Thrown) else str(error)
        expected = found = None
        if isinstance(error, ContractViolation):
            expected, found = error.expected, error.found
        fix = _fix(error, path)
        self.violations.append(Violation(object_id, type_, _shown(path), message or "", expected, found, fix))

    def _report_in(self, entry: Entry, name: str, error: Exception) -> None:
        parts = error.parts if isinstance(error, contracts.SeveralViolations) else (error,)
        for part in parts:
            path = part.path if isinstance(part, ContractViolation) else ()
            if name not in entry.values and isinstance(part, ContractViolation) and not path:
                part = _missing(entry, name, part)
            self.report(entry.object.id, entry.object.cls.name, (name, *path), part)

    def _set(self, entry: Entry, declared: Property, context: Context) -> bool:
        try:
            return super()._set(entry, declared, context)
        except Refused:
            self._unknown = True
            entry.object.values[declared.name] = Unresolved(declared.name)
            return True
        except _TELLING as error:  # of a default's expression
            self._report_in(entry, declared.name, error)
            entry.object.values[declared.name] = Unresolved(declared.name)
            return True

    def _convert(self, entry: Entry, declared: Property, raw: Any, context: Context) -> None:
        if isinstance(raw, Unresolved):
            self._unknown = True
            entry.object.values[declared.name] = raw
            return
        with self._at(entry.object, declared.name) as unresolved:
            value = self._converted(entry, declared, raw, context)
        if unresolved():
            entry.pending[declared.name] = raw
        entry.object.values[declared.name] = value

    def _converted(self, entry: Entry, declared: Property, raw: Any, context: Context) -> Any:
        this = entry.object
        try:
            value = declared.transform(contracts.frozen(raw), this, context)
            for other in this.cls.declarations(declared.name):
                if other is not declared and not isinstance(value, Unresolved):
                    other.transform(value, this, Context(loader=self, validating=True, collecting=True))
            return value
        except UninitializedPropertyAccess:
            self._unknown = True  # a predicate that reads what could not be set
        except Refused:
            self._unknown = True
        except _TELLING as error:
            if declared.usage != "Runtime":
                self._report_in(entry, declared.name, error)
        return Unresolved(declared.name)

    def _fail_circle(self, entry: Entry, error: Exception) -> None:
        if not self._unknown and not self.violations:
            self.report(entry.object.id, entry.object.cls.name, (entry.postponed[0].name,), error)
        entry.postponed = []

    def construct_all(self, root: MuranoObject) -> None:
        """No constructor runs; its arguments are checked by their contracts."""
        for object_, entry in list(self.by_object.items()):
            for cls in object_.cls.lineage:
                method = cls.methods.get(".init")
                if method is None or method.code is None:
                    continue
                for argument in method.code.arguments:
                    if argument.declaration.usage == "Standard":
                        self._check_argument(entry, argument, contracts.build(argument.contract, cls), cls.globals)

    def _check_argument(
        self, entry: Entry, argument: Any, contract: Convert, space: dict[str, Callable[..., Any]]
    ) -> None:
        name = argument.declaration.name
        try:
            if name in entry.values:
                value = entry.values[name]
            else:
                value = space[argument.default](entry.object) if argument.default is not None else None
            contract(contracts.frozen(value), entry.object, Context(owned=True, loader=self, collecting=True))
        except (Refused, UninitializedPropertyAccess):
            return
        except _TELLING as error:
            self._report_in(entry, name, error)


def _missing(entry: Entry, name: str, violation: ContractViolation) -> ContractViolation:
    """A required property that the model does not have, said so."""
    if violation.found != "null":
        return violation
    declared = entry.object.cls.find_property(name)
    expected = contracts.described(declared.code.contract) if declared is not None else violation.expected
    return ContractViolation(f"{name} is required", expected, "nothing")


def _fix(error: Exception, path: tuple[Any, ...]) -> str:
    place = _shown(path) or "the object"
    error = error.__cause__ if isinstance(error.__cause__, Thrown) else error
    if isinstance(error, NoObjectFound):
        return f"let {place} name an object of the model, or describe the object there"
    if isinstance(error, (NoClassFound, NoPackageForClassFound, NoPackageFound)):
        return "import the package that provides the class, or correct the name or version"
    if isinstance(error, ContractViolation) and error.found in ("null", "nothing"):
        return f"set {place}" + (f" to {error.expected}" if error.expected not in (None, "a value") else "")
    if isinstance(error, ContractViolation) and error.expected is not None:
        return f"change {place} to what is expected"
    return f"correct {place}"


def _shown(path: tuple[Any, ...]) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, str) and step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def _id_of(description: Any) -> str | None:
    header = description.get("?") if isinstance(description, Mapping) else None
    found = header.get("id") if isinstance(header, Mapping) else None
    return found if isinstance(found, str) else None


def _type_of(description: Any) -> str | None:
    header = description.get("?") if isinstance(description, Mapping) else None
    found = header.get("type") if isinstance(header, Mapping) else None
    return str(found) if found is not None else None
