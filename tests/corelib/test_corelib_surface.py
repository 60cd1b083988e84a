"""No class, property, method or argument gets lost: the library against a table of what packages know of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from corelib_world import World

import dsl

SURFACE: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("corelib_surface.yaml").read_text())
ROOT = "io.murano.Object"
SCALAR = re.compile(r"(string|int|bool)(!?)")
OBJECT = re.compile(r"(class|template) (\w+)(!?)")


@pytest.fixture(scope="module")
def program(libraries):
    model = {"Objects": {"?": {"type": "io.murano.Environment", "id": "env"}, "name": "demo"}}
    return dsl.Runtime(dsl.Library(libraries), system=World()).load(model)


@pytest.fixture(scope="module")
def declarations(libraries):
    return {name: package.declaration(name) for package in libraries for name in package.class_names}


def test_the_table_has_every_class_and_no_other(libraries):
    ours = {name for package in libraries for name in package.class_names if ".tests." not in name}
    assert ours == set(SURFACE)


@pytest.mark.parametrize("name", SURFACE)
def test_a_class_is_what_packages_know(program, declarations, name):
    cls, declaration, told = program.find_class(name).cls, declarations[name], SURFACE[name]
    assert [parent.name for parent in cls.parents] == ([] if name == ROOT else told.get("extends", [ROOT]))
    meta = [" ".join(declaration.applies), declaration.cardinality] if declaration.usage == "Meta" else None
    assert meta == told.get("meta")
    assert declaration.inherited == (meta is not None), "all of ours are inherited"
    properties = told.get("properties") or {}
    assert set(declaration.properties) == set(properties)
    for key, text in properties.items():
        check_property(f"{name}.{key}", declaration.properties[key], text)
    for key, text in (told.get("methods") or {}).items():
        assert key in cls.methods, f"{name} has no method {key}"
        check_method(f"{name}.{key}", cls.methods[key], declaration.methods.get(key), text)


def check_method(where: str, method: Any, declared: Any, text: str) -> None:
    words = text.split(" ", 1)
    marks = {words[0]} & {"static", "public"}
    wanted = [part.strip() for part in (" ".join(words[len(marks) :])).split(",") if part.strip()]
    assert marks == {mark for mark in ("static", "public") if getattr(method, f"is_{mark}")}, where
    found = of_host(method.native) if declared is None else [argument(each) for each in declared.arguments]
    if wanted[-1:] == ["..."]:
        wanted, found = wanted[:-1], found[: len(wanted) - 1]
    assert found == wanted, where


def argument(declared: Any) -> str:
    stars = {"VarArgs": "*", "KwArgs": "**"}.get(declared.usage, "")
    return stars + declared.name + (f"={as_text(plain(declared.default))}" if declared.has_default else "")


def of_host(native: Any) -> list[str]:
    """The arguments of a method that is written in Python, as MuranoPL sees them."""
    names = {python: camel for camel, python in native.parameters.items()}
    shown = []
    for name, parameter in list(native.signature.parameters.items()):
        if name in ("self", "call", "receiver"):
            continue
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={as_text(parameter.default)}"
        shown.append(stars + names.get(name, name) + default)
    return shown


def as_text(value: Any) -> str:
    if value == "":
        return "''"
    return json.dumps(value) if value is None or isinstance(value, bool | int | dict | list) else str(value)


def check_property(where: str, declared: Any, text: str) -> None:
    description, _, default = text.partition(" = ")
    usage, contract = description.split(" ", 1)
    assert declared.usage == usage, where
    assert fits(contract, declared.contract), f"{where}: expected {contract}, found {declared.contract}"
    if default:
        assert plain(declared.default) == yaml.safe_load(default), where


def fits(wanted: str, contract: Any) -> bool:
    if wanted == "any":
        return str(contract) == "$"
    if wanted in ("[..]", "{..}"):
        return isinstance(contract, list if wanted == "[..]" else dict)
    scalar, object_ = SCALAR.fullmatch(wanted), OBJECT.fullmatch(wanted)
    if scalar:
        begins = f"$.{scalar[1]}()"
        needed = scalar[2]
    else:
        assert object_, wanted
        begins = re.match(rf"\$\.{object_[1]}\((\w+:)?{object_[2]}\b[^)]*\)", str(contract))[0]
        needed = object_[3]
    return str(contract).startswith(begins + (".notNull()" if needed else "")) and (
        bool(needed) or ".notNull()" not in str(contract)
    )


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else str(value)
