"""What is wrong with a model before anything is deployed, in words that say where and what to do.

The contracts of every object are checked without running a method (`dsl.Runtime.check`). Where a class is missing, or a
field lacks an object, the catalog is asked which packages offer a fitting class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dsl
from catalog.db import base
from catalog.db import packages as stored
from engine import models

LIMITS = dsl.Limits(seconds=30.0, steps=5_000_000)  # somebody waits for the answer
MOST = 100  # problems told of one model; behind them are the same causes again

_CLASS_IN_MESSAGE = re.compile(r'[Cc]lass "([^"]+)"')
_CLASS_IN_CONTRACT = re.compile(r"\$\.class\(\s*'?([\w.:]+)'?")


class Providers:
    """Which packages that a project can use define a class."""

    def __init__(self, database: base.Database) -> None:
        self._database = database

    def __call__(self, project_id: str, class_name: str) -> list[str]:
        with self._database.reading() as session:
            found = stored.defining(session, project_id, [class_name])
            return sorted({f"{package.fully_qualified_name} {package.version}" for package in found})


Ask = Callable[[str, str], Sequence[str]]


def problems(
    library: dsl.Library, model: models.Model, natives: Mapping[str, type], providers: Ask, project_id: str
) -> list[dict[str, Any]]:
    """`[{"object_id", "type", "path", "message", "expected", "found", "fix"}]`, [] for a model that can be deployed."""
    loaded = models.for_engine(model, models.environment_id_of(model))
    types = types_of(loaded)
    found = violations(library, loaded, natives)
    return [_problem(library, violation, types, providers, project_id) for violation in found[:MOST]]


def violations(library: dsl.Library, model: Mapping[str, Any], natives: Mapping[str, type]) -> Sequence[dsl.Violation]:
    """All that the contracts have against a model in the engine's form. No method of a package runs."""
    return dsl.Runtime(library, system=dsl.LocalSystem(natives), limits=LIMITS).check(model)


def types_of(model: models.Model) -> dict[str, str]:
    """The class of every object of the model, by the object's id."""
    types: dict[str, str] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            header = value.get("?")
            if isinstance(header, dict) and isinstance(header.get("type"), str):
                types[str(header.get("id"))] = re.split(r"[/@]", header["type"])[0]
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(model.get("Objects"))
    return types


def _problem(
    library: dsl.Library, violation: dsl.Violation, types: Mapping[str, str], providers: Ask, project_id: str
) -> dict[str, Any]:
    shown = {
        "object_id": violation.object_id,
        "type": violation.type,
        "path": violation.path,
        "message": violation.message,
        "expected": violation.expected,
        "found": violation.found,
        "fix": violation.fix,
    }
    missing = _CLASS_IN_MESSAGE.search(violation.message)
    if missing is not None:
        return {**shown, **_about_missing_class(missing.group(1), types, providers, project_id)}
    wanted = _class_of_field(library, violation.type or "", violation.path)
    if wanted is not None:
        return {**shown, **_about_lacking_object(library, wanted, violation.path, types, providers, project_id)}
    return shown


def _about_missing_class(name: str, types: Mapping[str, str], providers: Ask, project_id: str) -> dict[str, Any]:
    """A class that no package of the deployment defines: told of the object that has it, if there is one."""
    offered = providers(project_id, name)
    fix = f"Import a package that defines {name}: the catalog has none"
    if offered:
        fix = f"{name} is defined by {' and '.join(offered)}: correct the version that the object asks for"
    told: dict[str, Any] = {"expected": f"a package that defines {name}", "fix": fix}
    holder = next((object_id for object_id, type_name in types.items() if type_name == name), None)
    if holder is not None:
        told.update(object_id=holder, type=name, path="?/type")
    return told


def _about_lacking_object(
    library: dsl.Library, wanted: str, path: str, types: Mapping[str, str], providers: Ask, project_id: str
) -> dict[str, Any]:
    """A field that wants an object: which ones of the model would do, and which packages have more."""
    fitting = _kinds_of(library, wanted)
    present = sorted(object_id for object_id, type_name in types.items() if type_name in fitting)
    of_library = {f"{package.full_name} {package.version}" for name, package in fitting.items()}
    offered = sorted(of_library | set(providers(project_id, wanted)))
    fix = f"Import a package that defines {wanted}: the catalog has none"
    if offered:
        choice = f"Choose one of the environment's ({', '.join(present)}) or add" if present else "Add"
        source = " or ".join(offered)
        fix = f"{choice} an application of class {wanted}, from package {source}, and set {path} to it"
    return {"expected": f"an object of class {wanted}", "fix": fix}


def _kinds_of(library: dsl.Library, wanted: str) -> dict[str, dsl.packages.Package]:
    """The class and its descendants, with the packages of the library that define them."""
    classes = {name: package for package in library.packages for name in package.class_names}
    fitting: dict[str, dsl.packages.Package] = {}

    def fits(name: str, above: frozenset[str]) -> bool:
        if name == wanted or name in fitting:
            return True
        if name in above or name not in classes:
            return False
        declaration = _declaration(classes[name], name)
        if declaration is None:
            return False
        return any(fits(parent, above | {name}) for parent in declaration.extends)

    for name, package in classes.items():
        if fits(name, frozenset()):
            fitting[name] = package
    return fitting


def _class_of_field(library: dsl.Library, type_name: str, path: str) -> str | None:
    """The class that the contract of a field names, looked up along the class's ancestors; None for anything else."""
    classes = {name: package for package in library.packages for name in package.class_names}
    waiting, seen = [type_name], set()
    while waiting:
        current = waiting.pop(0)
        if current in seen or current not in classes:
            continue
        seen.add(current)
        declaration = _declaration(classes[current], current)
        if declaration is None:
            continue
        declared = declaration.properties.get(path)
        contract = _CLASS_IN_CONTRACT.match(str(declared.contract)) if declared is not None else None
        if contract is not None:
            return declaration.namespaces.resolve(contract.group(1))
        waiting.extend(declaration.extends)
    return None


def _declaration(package: dsl.packages.Package, name: str) -> dsl.packages.ClassDeclaration | None:
    """The class's declaration; None for a class that is broken, which is told where it is used."""
    try:
        return package.declaration(name)
    except (dsl.DslError, KeyError, ValueError):
        return None
