"""The way in: a library of packages, a world to reach, limits; `load` gives a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dsl.errors import Thrown
from dsl.packages import Version
from dsl.runtime.check import Violation, check
from dsl.runtime.effects import LocalSystem, System
from dsl.runtime.library import Library
from dsl.runtime.limits import Limits
from dsl.runtime.program import Program

Configurations = Callable[[str, Any], Mapping[str, Any] | None]


class Runtime:
    """Loads and checks object models.

    `functions` are further functions that package code can call, on MuranoPL values. `configurations` gives the class
    configuration (spec/muranopl.md §21) for a class name and version. `fixations`: package versions to prefer to newer
    ones, instead of those in the model's SystemData. `mocks`: package code may replace methods by `inject`, as its
    tests do.
    """

    def __init__(
        self,
        library: Library,
        *,
        system: System | None = None,
        limits: Limits | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        configurations: Configurations | None = None,
        fixations: Mapping[str, Sequence[object]] | None = None,
        mocks: bool = False,
    ) -> None:
        self.library = library
        self.mocks = mocks
        self.system: System = system if system is not None else LocalSystem()
        self.limits = limits if limits is not None else Limits()
        self.functions = dict(functions or {})
        self.configuration: Configurations = configurations or (lambda name, version: None)
        self.fixations = fixations

    def load(self, model: Mapping[str, Any]) -> Program:
        """Load an object model and run the constructors.

        `model` has the keys Objects, ObjectsCopy, Attributes, SystemData, all optional. Raises Thrown, LimitExceeded.
        """
        program = Program(self, self._fixations(model))
        program.load(model)
        return program

    def check(self, model: Mapping[str, Any]) -> tuple[Violation, ...]:
        """Everything that is wrong with a model by the contracts of its classes; no method of a package runs."""
        program = Program(self, self._fixations(model))
        try:
            return check(program, model)
        finally:
            program.discard()

    def _fixations(self, model: Mapping[str, Any]) -> Mapping[str, Sequence[object]] | None:
        """Versions to prefer; an unreadable table in the model is Thrown as ValueError."""
        if self.fixations is not None:
            return self.fixations
        system_data = model.get("SystemData")
        table = system_data.get("Packages") if isinstance(system_data, Mapping) else None
        if table is None:
            return None
        try:
            for versions in table.values():
                for version in versions:
                    Version.coerce(version)
        except (AttributeError, TypeError, ValueError) as error:
            message = f"SystemData.Packages must map names of packages to lists of versions: {error}"
            raise Thrown("ValueError", message) from error
        return table
