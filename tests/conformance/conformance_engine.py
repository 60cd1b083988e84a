"""The engine under test: a `dsl.Runtime`, and its values in the plain form of the conformance suite."""

from __future__ import annotations

import collections.abc
import datetime
import os
from collections.abc import Callable, Mapping
from typing import Any

import dsl
from dsl import errors
from dsl.packages import Package, Version


class Engine:
    """One program: a model loaded with the packages of a case."""

    def __init__(
        self,
        packages: list[Package],
        trace: list[Any],
        fixations: Mapping[str, Any],
        configuration: Callable[[str, Any], Mapping[str, Any] | None],
    ) -> None:
        def record(value: Any) -> Any:
            trace.append(plain(value, leaving=False))
            return value

        self.library = dsl.Library(packages)
        self.runtime = dsl.Runtime(
            self.library,
            system=_System(),
            functions={"trace": record},
            configurations=configuration,
            fixations=fixations,
        )
        self.program: Any = None
        self.ended = False

    def load(self, model: dict[str, Any]) -> Any:
        self.program = self.runtime.load(model)
        return plain(self.program.root)

    def call(self, step: dict[str, Any], exposed_only: bool) -> Any:
        program = self.program
        if "class" in step:
            receiver = program.find_class(step["class"], step.get("version"), step.get("package"))
        else:
            receiver = program.object(step["object"]) if "object" in step else program.root
        args = list(step.get("args", ()))
        kwargs = dict(step.get("kwargs", {}))
        for place, object_id in step.get("refs", {}).items():
            if place.isdecimal():
                args[int(place)] = program.object(object_id)
            else:
                kwargs[place] = program.object(object_id)
        method = step["action" if exposed_only else "call"]
        result = program.evaluate(receiver, method, args, kwargs, exposed_only=exposed_only)
        return program.serialize(result) if step.get("serialize") else plain(result)

    def dump(self) -> dict[str, Any]:
        return self.program.dump()

    def finalize(self) -> dict[str, Any] | None:
        """The model to store. The record has null for what this engine tells apart: no model, and one that fails."""
        self.ended = True
        if self.program.root is None:
            self.program.finalize()
            return None
        try:
            return self.program.finalize()
        except errors.Thrown as error:
            if error.names != ("ValueError",):
                raise
            return None  # values that no model can hold

    def collect(self) -> None:
        self.program.collect()

    def exists(self, object_id: str) -> bool:
        return not self.ended and self.program.object(object_id) is not None

    def fixations(self) -> Any:
        return self.program.fixations()

    def classes(self, package: str) -> Any:
        found = self.program.check_classes(package)
        described = {name: True if ok is True else self.described_error(ok, False) for name, ok in found.items()}
        # the record leaves out classes that the manifest lists and no file has
        return {name: ok for name, ok in described.items() if ok is True or ok["names"][0] not in _MISSING}

    def schema(self, wanted: Any) -> Any:
        if isinstance(wanted, str):
            wanted = {"class": wanted}
        methods, version, package = (wanted.get(key) for key in ("methods", "version", "package"))
        return self.library.schemas(wanted["class"], methods, version=version, package=package)

    def discard(self) -> None:
        if self.program is not None:
            self.program.discard()

    @staticmethod
    def described_error(error: Exception, with_stack: bool) -> dict[str, Any]:
        """The plain form of an error. Errors that are not MuranoPL's are the engine's own defects: they are raised."""
        if isinstance(error, errors.SyntaxProblem):
            return {"muranopl": False, "names": [error.name], "message": str(error)}
        if isinstance(error, errors.LimitExceeded) and error.limit == "recursion":
            return {"muranopl": True, "names": ["RecursionError"], "message": error.message}
        if not isinstance(error, errors.Thrown):
            raise error
        result: dict[str, Any] = {
            "muranopl": error.from_code,
            "names": list(error.names),
            "message": plain(error.given),
        }
        if error.extra:
            result["extra"] = plain(error.extra)
        if isinstance(error.cause, errors.Thrown):
            result["cause"] = Engine.described_error(error.cause, False)
        if with_stack:
            result["stack"] = [
                {
                    "instruction": frame.instruction,
                    "file": os.path.basename(frame.file),
                    "line": frame.line,
                    "column": frame.column,
                    "method": f"{frame.type}::{frame.method}",
                }
                for frame in error.stack or ()
            ]
        return result


class _System(dsl.LocalSystem):
    """This machine's clock and randomness; reports and logs go nowhere; the core library's host classes."""

    def __init__(self) -> None:
        from engine import system

        super().__init__(system.natives())

    def perform(self, effect: dsl.Effect) -> object:
        if effect.name in ("report", "log", "config"):
            return None
        return super().perform(effect)


def plain(value: Any, leaving: bool = True) -> Any:
    """A MuranoPL value in the plain form of the suite; values that leave a call lose what JSON can not say."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    kind = type(value).__name__
    if kind in _OBJECTS:
        return _object(value.object, value.cls) if kind == "View" else _object(value, value.cls)
    if kind in _REFLECTION:
        form, text = _REFLECTION[kind]
        return {form: text(value)}
    if isinstance(value, Version):
        return [plain(part) for part in value] if leaving else {"$version": str(value)}
    if isinstance(value, collections.abc.Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: plain(item, leaving) for key, item in value.items()}
        return {"$dict": [[plain(key, leaving), plain(item, leaving)] for key, item in value.items()]}
    if isinstance(value, collections.abc.Set):
        members = [plain(item, leaving) for item in value]
        return members if leaving else {"$set": members}
    if isinstance(value, (list, tuple, collections.abc.Iterator)):
        return [plain(item, leaving) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return {"$native": f"datetime.{type(value).__name__}"}
    return {"$native": f"{type(value).__module__}.{type(value).__qualname__}"}


_MISSING = ("murano.dsl.exceptions.NoClassFound", "murano.packages.exceptions.PackageClassLoadError")
_OBJECTS = ("MuranoObject", "DestroyedObject", "View")
_REFLECTION = {
    "TypeReference": ("$type", str),
    "MuranoClass": ("$typeinfo", lambda value: str(value.reference)),
    "Method": ("$method", lambda value: f"{value.cls.name}::{value.name}"),
    "Property": ("$property", lambda value: f"{value.cls.name}.{value.name}"),
    "Argument": ("$argument", lambda value: value.name),
    "LoadedPackage": ("$package", lambda value: f"{value.name}/{value.version}"),
    "Pattern": ("$native", lambda value: "re.Pattern"),
}


def _object(value: Any, cls: Any) -> dict[str, Any]:
    described = {"type": cls.name, "id": value.id}
    if value.name is not None:
        described["name"] = value.name
    if type(value).__name__ == "DestroyedObject":
        described["destroyed"] = True
    return {"$object": described}
