"""What can go wrong in MuranoPL, as one small hierarchy.

`SyntaxProblem` and `PackageError` are about texts and archives and carry located `Problem`s. `Thrown` is what package
code can catch: it has names, as `Catch: With:` compares them, and a stack of the package's own lines. `LimitExceeded`
and `Interrupted` are what package code can not catch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Problem:
    """One located complaint about a package. `line` and `column` are 1-based; None where a file as a whole is meant.

    `level`: "error", or "warning" for what works as it is, or fails late if at all.
    """

    file: str
    line: int | None
    column: int | None
    message: str
    expected: str | None = None
    found: str | None = None
    fix: str | None = None
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        details = ", ".join(
            f"{label} {text}" for label, text in (("expected", self.expected), ("found", self.found)) if text
        )
        message = self.message if self.level == "error" else f"{self.level}: {self.message}"
        return "; ".join(part for part in (f"{place}: {message}", details, self.fix) if part)


@dataclass(frozen=True)
class Frame:
    """One active MuranoPL method: where it stands and what it is doing. Line and column are 1-based."""

    instruction: str
    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    method: str
    type: str

    def __str__(self) -> str:
        place = f'File "{self.file}", line {self.line}:{self.column}'
        return f"{place} in method {self.method} of type {self.type}\n    {self.instruction}"


class DslError(Exception):
    """The root of everything this library raises on purpose."""


class SyntaxProblem(DslError):
    """A YAML or MuranoPL text that cannot be read; `problem` says where, `name` is what package code can catch."""

    def __init__(self, problem: Problem, name: str = "SyntaxError") -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.name = name


class PackageError(DslError):
    """A package that cannot be opened or is not valid; `problems` has at least one entry."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Thrown(DslError):
    """An error that package code can catch (spec/muranopl.md §13). `names` are what `Catch: With:` compares.

    `stack` is filled when the error is caught or leaves the program: outermost method first, empty if no method of a
    package was running (an argument that the first call refuses, an object model that can not be loaded). `place` is
    the key of the effect that failed, or of the last one its logical thread had made when the error was first seen.
    """

    place: str | None = None
    beside: tuple[BaseException, ...] = ()  # what other branches of the same Parallel ended with

    def __init__(
        self, names: str | Iterable[str], message: str | None = None, extra: object = None, cause: object = None
    ) -> None:
        self.names: tuple[str, ...] = (names,) if isinstance(names, str) else tuple(names)
        self.message = message
        self.extra = extra
        self.cause = cause
        self.given: object = message  # the message as the package gave it, if that was no text
        self.stack: tuple[Frame, ...] | None = None
        super().__init__(f"[{', '.join(self.names)}]: {message}")

    @property
    def from_code(self) -> bool:
        """Whether the error passed through a method of a package (then package code could have caught it)."""
        return bool(self.stack)

    def formatted(self) -> str:
        """The error with its MuranoPL stack, as deployment results show it (spec/muranopl.md §13)."""
        name = self.names[0] if len(self.names) == 1 else "[" + ", ".join(self.names) + "]"
        lines = [f"{name}: {self.message}"]
        if self.stack:
            lines.append("Traceback (most recent call last):")
            lines.extend("  " + line for frame in self.stack for line in str(frame).split("\n"))
        if isinstance(self.cause, Thrown):
            lines.append("")
            lines.append(f"Caused by {self.cause.formatted()}")
        return "\n".join(lines)


def places(error: BaseException) -> set[str]:
    """Where an error comes from: the places of all that led to it, or happened in branches beside it."""
    found: set[str] = set()
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        place = getattr(each, "place", None)
        if place is not None:
            found.add(place)
        cause = getattr(each, "cause", None)
        pending.extend([each.__cause__, each.__context__, cause if isinstance(cause, BaseException) else None])
        pending.extend(getattr(each, "beside", ()))
    return found


class SystemFailure(Thrown):
    """Raised by a `System` for what package code may catch: a cloud's refusal, an agent's timeout."""


class _Engine(Thrown):
    """An error of the language itself; each subclass has the one name under which packages know it (§13.1)."""

    name: ClassVar[str]

    def __init__(self, message: str = "", extra: object = None) -> None:
        super().__init__(self.name, message, extra)


class NoFunctionRegistered(_Engine):
    name = "yaql.language.exceptions.NoFunctionRegisteredException"


class NoMethodRegistered(_Engine):
    name = "yaql.language.exceptions.NoMethodRegisteredException"


class NoMatchingFunction(_Engine):
    name = "yaql.language.exceptions.NoMatchingFunctionException"


class NoMatchingMethod(_Engine):
    name = "yaql.language.exceptions.NoMatchingMethodException"


class AmbiguousFunction(_Engine):
    name = "yaql.language.exceptions.AmbiguousFunctionException"


class AmbiguousMethodCall(_Engine):
    name = "yaql.language.exceptions.AmbiguousMethodException"


class InvalidArgument(_Engine):
    name = "yaql.language.exceptions.ArgumentException"


class CollectionTooLarge(_Engine):
    name = "yaql.language.exceptions.CollectionTooLargeException"


class MemoryQuotaExceeded(_Engine):
    name = "yaql.language.exceptions.MemoryQuotaExceededException"


class ContractViolation(_Engine):
    """A value that its contract refuses. `path` is the place inside the value, outermost step first."""

    name = "murano.dsl.exceptions.ContractViolationException"

    def __init__(self, message: str, expected: str | None = None, found: str | None = None) -> None:
        super().__init__(message)
        self.path: tuple[str | int, ...] = ()
        self.expected = expected
        self.found = found

    def inside(self, step: str | int) -> ContractViolation:
        """The same violation seen from one level further out."""
        self.path = (step, *self.path)
        return self

    def labelled(self, label: str) -> ContractViolation:
        """The same violation with the name of what was violated in front; `{}` in `label` takes the path."""
        steps = "".join(f"[{step!r}]" for step in self.path)
        self.message = f"[{label.replace('{}', steps)}] {self.message}"
        self.args = (f"[{self.name}]: {self.message}",)
        self.path = ()
        return self


class UninitializedPropertyAccess(_Engine):
    name = "murano.dsl.exceptions.UninitializedPropertyAccessError"


class PropertyReadError(_Engine):
    name = "murano.dsl.exceptions.PropertyReadError"


class PropertyWriteError(_Engine):
    name = "murano.dsl.exceptions.PropertyWriteError"


class NoWriteAccess(_Engine):
    name = "murano.dsl.exceptions.NoWriteAccessError"


class NoPropertyFound(_Engine):
    name = "murano.dsl.exceptions.NoPropertyFound"


class AmbiguousPropertyName(_Engine):
    name = "murano.dsl.exceptions.AmbiguousPropertyNameError"


class NoMethodFound(_Engine):
    name = "murano.dsl.exceptions.NoMethodFound"


class AmbiguousMethodName(_Engine):
    name = "murano.dsl.exceptions.AmbiguousMethodName"


class MethodNotExposed(_Engine):
    name = "murano.dsl.exceptions.MethodNotExposed"


class NoClassFound(_Engine):
    name = "murano.dsl.exceptions.NoClassFound"


class AmbiguousClassName(_Engine):
    name = "murano.dsl.exceptions.AmbiguousClassName"


class NoPackageFound(_Engine):
    name = "murano.dsl.exceptions.NoPackageFound"


class NoPackageForClassFound(_Engine):
    name = "murano.dsl.exceptions.NoPackageForClassFound"


class NoObjectFound(_Engine):
    name = "murano.dsl.exceptions.NoObjectFoundError"


class ObjectDestroyed(_Engine):
    name = "murano.dsl.exceptions.ObjectDestroyedError"


class CircularExpressionDependencies(_Engine):
    name = "murano.dsl.exceptions.CircularExpressionDependenciesError"


class InvalidLhsTarget(_Engine):
    name = "murano.dsl.exceptions.InvalidLhsTargetError"


class InvalidInheritance(_Engine):
    name = "murano.dsl.exceptions.InvalidInheritanceError"


class DslSyntaxError(_Engine):
    name = "murano.dsl.exceptions.DslSyntaxError"


class DslContractSyntaxError(_Engine):
    name = "murano.dsl.exceptions.DslContractSyntaxError"


class DslInvalidOperation(_Engine):
    name = "murano.dsl.exceptions.DslInvalidOperationError"


class MuranoSyntaxError(_Engine):
    """A statement that is none; packages and people know it by Python's name."""

    name = "SyntaxError"


class LimitExceeded(DslError):
    """A limit that protects the host was reached: ends the program, package code can not catch it.

    `limit` is the field of `dsl.Limits`; `stack` the MuranoPL lines that were running, outermost first.
    """

    names: tuple[str, ...] = ("dsl.LimitExceeded",)
    extra: object = None

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        self.message = message
        self.stack: tuple[Frame, ...] = ()
        super().__init__(message)

    def formatted(self) -> str:
        """The message with the stack of the package's lines."""
        lines = [f"limit {self.limit}: {self.message}"]
        if self.stack:
            lines.append("Traceback (most recent call last):")
            lines.extend("  " + line for frame in self.stack for line in str(frame).split("\n"))
        return "\n".join(lines)


class NonDeterministic(DslError):
    """A replay took another way than the recorded run: the packages, the model or the host changed meanwhile."""


class Interrupted(BaseException):
    """Raised by a `System` to unwind the whole program at once: lease lost, deployment cancelled."""
