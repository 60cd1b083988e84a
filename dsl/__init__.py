"""MuranoPL: parse, check, compile and run packages. A pure library: no network, no database, no OpenStack."""

from __future__ import annotations

from dsl.errors import (
    DslError,
    Frame,
    Interrupted,
    LimitExceeded,
    NonDeterministic,
    PackageError,
    Problem,
    SyntaxProblem,
    SystemFailure,
    Thrown,
    places,
)
from dsl.runtime.check import Violation
from dsl.runtime.effects import Effect, LocalSystem, System
from dsl.runtime.hosting import ObjectHandle, caller_package, effect, load, new, package_of, system
from dsl.runtime.library import Library
from dsl.runtime.limits import Limits
from dsl.runtime.natives import method, native
from dsl.runtime.program import Program
from dsl.runtime.runtime import Runtime

__all__ = [
    "DslError",
    "Effect",
    "Frame",
    "Interrupted",
    "Library",
    "LimitExceeded",
    "Limits",
    "LocalSystem",
    "NonDeterministic",
    "ObjectHandle",
    "PackageError",
    "Problem",
    "Program",
    "Runtime",
    "SyntaxProblem",
    "System",
    "SystemFailure",
    "Thrown",
    "Violation",
    "caller_package",
    "effect",
    "load",
    "method",
    "native",
    "new",
    "package_of",
    "places",
    "system",
]
