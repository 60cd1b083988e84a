"""Throw and Catch: names, matching, and the exception as package code sees it (spec/muranopl.md §13)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dsl.errors import ContractViolation, DslInvalidOperation, Frame, LimitExceeded, Thrown
from dsl.functions import scalars
from dsl.functions.limits import DEFAULT_LIMITS
from dsl.functions.values import FrozenDict
from dsl.runtime import steps, tracebacks
from dsl.runtime.classes import MuranoClass
from dsl.runtime.machine import StrayJump
from dsl.runtime.objects import TypeReference, object_of

if TYPE_CHECKING:
    from dsl.runtime.program import Program


def full_name(cls: MuranoClass, name: str) -> str:
    """The name of an exception as code of a class means it; no class has to exist for it.

    Raises Thrown for what is no name and for unknown prefixes.
    """
    return cls.code.declaration.namespaces.resolve(name)


def name_site(cls: MuranoClass, name: str) -> Any:
    """A name in `With` or `Throw`: in full, or the error that its use ends with."""
    try:
        return full_name(cls, name)
    except Thrown as error:
        return error


def matches(error: Thrown, names: tuple[Any, ...]) -> bool:
    """Whether `With: names` catches the error."""
    for name in names:
        if isinstance(name, Thrown):
            raise Thrown(name.names, name.message)
    return any(name in error.names for name in names)


def make_throw(cls: MuranoClass) -> Callable[..., Thrown]:
    """The exception of a Throw in code of a class."""

    def throw(names: tuple[Any, ...], message: Any, extra: Any, cause: Any) -> Thrown:
        found: list[str] = []
        for name in names:
            entries = name if isinstance(name, tuple) else (name,)
            for each in entries:
                if isinstance(each, Thrown):
                    raise Thrown(each.names, each.message)
                if isinstance(each, TypeReference):
                    found.append(each.cls.name)
                elif isinstance(each, str) and each:
                    found.append(full_name(cls, each))
                else:
                    raise ValueError("Throw needs the name of an exception")
        origin = object_of(cause)
        reason = origin.values.get("nativeException") if origin is not None else None
        if cause is not None and not isinstance(reason, NativeException):
            raise AttributeError("Cause takes the exception that a Catch has bound")
        text = message if message is None or isinstance(message, str) else scalars.python_text(message, DEFAULT_LIMITS)
        thrown = Thrown(found, text, extra, _native_cause(reason))
        thrown.given = message
        return thrown

    return throw


def _native_cause(value: Any) -> Thrown | None:
    return value.error if isinstance(value, NativeException) else None


def stray(jump: StrayJump) -> DslInvalidOperation:
    """What a Break or Continue outside of loops ends its method with."""
    return DslInvalidOperation(f"{jump.args[0]} cannot be used on method level")


class NativeException:
    """`$e.nativeException`: opaque for package code, it can only be passed on."""

    __slots__ = ("error",)

    def __init__(self, error: Thrown) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"<exception {', '.join(self.error.names)}>"


class Exceptions:
    """Catching in one program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def caught(self, error: Exception) -> Thrown:
        """What a Catch got, with its stack. What package code must not catch goes on."""
        if isinstance(error, (LimitExceeded, RecursionError, MemoryError)):
            limit = self.limit_of(error)
            raise self.program.machine.reached(limit.limit, limit.message) from error
        self.program.scheduler.mark(error)
        thrown = tracebacks.as_thrown(error)
        if thrown.stack is None:
            inner = tracebacks.of_traceback(thrown.__traceback__)
            outer = tracebacks.of_callers(sys._getframe(1))
            if outer and inner:
                outer = outer[:-1]  # the catching method is the outermost of the traceback too
            thread = self.program.scheduler.current
            while thread is not None and thread.forked_at is not None:
                outer = tracebacks.of_callers(thread.forked_at) + outer
                thread = thread.parent  # type: ignore[assignment]
            thrown.stack = tracebacks.stack(outer + inner)
        return thrown

    @staticmethod
    def limit_of(error: Exception) -> LimitExceeded:
        """The limit that an exception stands for; Python's own, of stack and memory, are limits too."""
        if isinstance(error, LimitExceeded):
            return error
        if isinstance(error, RecursionError):
            return LimitExceeded("recursion", "too many methods, contracts, defaults or functions call each other")
        return LimitExceeded("total", "the program needs more memory than there is")

    def surfaced(self, error: BaseException) -> Thrown:
        """What leaves the program for the host, with its stack."""
        self.program.scheduler.mark(error)
        thrown = tracebacks.as_thrown(error)
        if thrown.stack is None:
            thrown.stack = self.stack_of(error)
        return thrown

    def stack_of(self, error: BaseException) -> tuple[Frame, ...]:
        """The lines of packages that an exception passed on its way out."""
        return tracebacks.stack(tracebacks.of_traceback(error.__traceback__))

    def as_object(self, error: Thrown, names: tuple[str, ...]) -> Any:
        """The `io.murano.Exception` that `As` binds."""
        matched = next((name for name in error.names if not names or name in names), None)
        if error.extra is not None and not isinstance(error.extra, dict):
            raise ContractViolation(
                f"[io.murano.Exception.extra] Value {steps.shown(error.extra)} is not of a dictionary type"
            )
        stack = self.program.creation.core_object("io.murano.StackTrace", {"frames": self._frames(error)})
        return self.program.creation.core_object(
            "io.murano.Exception",
            {
                "name": matched,
                "message": error.message,
                "stackTrace": stack,
                "extra": error.extra if error.extra is not None else FrozenDict(),
                "nativeException": NativeException(error),
            },
        )

    def _frames(self, error: Thrown) -> tuple[Any, ...]:
        return tuple(
            FrozenDict(
                {
                    "instruction": frame.instruction,
                    "location": (frame.file, (frame.line, frame.column), (frame.end_line, frame.end_column)),
                    "methodName": frame.method,
                    "typeName": frame.type,
                }
            )
            for frame in error.stack or ()
        )
