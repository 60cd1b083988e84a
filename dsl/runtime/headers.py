"""The three spellings of an object's description: classic, compact, header-less (spec/muranopl.md §7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsl.functions.values import FrozenDict
from dsl.packages import VersionSpec
from dsl.runtime.classes import MuranoClass
from dsl.runtime.objects import TypeReference

if TYPE_CHECKING:
    from dsl.runtime.program import Program


@dataclass(frozen=True)
class Header:
    """What a description says about the object itself."""

    cls: MuranoClass
    id: str | None
    name: str | None
    metadata: Any
    destroyed: bool
    subscriptions: Any
    compact: bool = False

    def dependencies(self) -> tuple[tuple[str, str | None], ...]:
        """The recorded subscribers to the object's destruction."""
        if self.subscriptions is None:
            return ()
        entries = self.subscriptions.get("onDestruction") if isinstance(self.subscriptions, dict) else None
        result: list[tuple[str, str | None]] = []
        for entry in entries or ():
            if isinstance(entry, dict) and isinstance(entry.get("subscriber"), str):
                handler = entry.get("handler")
                result.append((entry["subscriber"], handler if isinstance(handler, str) else None))
        return tuple(result)


def is_description(node: Any) -> bool:
    """Whether a dict certainly describes an object (header-less ones can not be told)."""
    return isinstance(node, dict) and ("?" in node or _compact_key(node, True) is not None)


def read(
    program: Program, node: Any, default: MuranoClass | None, scope: MuranoClass | None
) -> tuple[Header, Mapping[Any, Any]]:
    """(header, property values) of a description. Raises Thrown for unknown types, ValueError without a type."""
    if not isinstance(node, dict):
        raise ValueError("Invalid object representation: a dictionary was expected")
    if "?" in node:
        return _classic(program, node, default)
    key = _compact_key(node, scope is not None)
    if key is not None:
        return _compact(program, node, key, scope)
    if default is None:
        raise ValueError("Invalid object representation: no type information was provided")
    return Header(default, None, None, None, False, None), node


def _classic(
    program: Program, node: Mapping[Any, Any], default: MuranoClass | None
) -> tuple[Header, Mapping[Any, Any]]:
    system = node["?"]
    if not isinstance(system, dict):
        raise ValueError("Invalid object representation: `?` must be a dictionary")
    values = {key: value for key, value in node.items() if key != "?"}
    if system.get("type") is None:
        if default is None:
            raise ValueError("Invalid object representation: no type information was provided")
        cls = default
    else:
        cls = type_of(program, system["type"], system.get("classVersion"), system.get("package"))
    return _header(cls, system, False), values


def _compact(
    program: Program, node: Mapping[Any, Any], key: Any, scope: MuranoClass | None
) -> tuple[Header, Mapping[Any, Any]]:
    if isinstance(key, TypeReference):
        cls = key.cls
    elif isinstance(key, MuranoClass):
        cls = key
    else:
        assert scope is not None
        cls = program.resolve_type(scope, key, None)
    values = node[key]
    return _header(cls, node, True), FrozenDict() if values is None else values


def _compact_key(node: Mapping[Any, Any], scoped: bool) -> Any:
    for key in node:
        if isinstance(key, (TypeReference, MuranoClass)):
            return key
        if scoped and isinstance(key, str) and ":" in key:
            return key
    return None


def _header(cls: MuranoClass, source: Mapping[Any, Any], compact: bool) -> Header:
    object_id, name = source.get("id"), source.get("name")
    return Header(
        cls,
        object_id if isinstance(object_id, str) else None,
        name if name is None else str(name),
        source.get("metadata"),
        source.get("destroyed") is True,
        source.get("dependencies"),
        compact,
    )


_TYPE = re.compile(r"([a-zA-Z0-9_.]+)(?:/([^@]+))?(?:@([a-zA-Z0-9_.]+))?$")


def type_of(program: Program, type_: Any, version: Any = None, package: Any = None) -> MuranoClass:
    """The class named by a header: `ns.T`, `ns.T/1.2`, `ns.T@package`, `ns.T/1.2@package`, or a type itself."""
    if isinstance(type_, TypeReference):
        return type_.cls
    if isinstance(type_, MuranoClass):
        return type_
    key = (type_, version, package)
    if all(each is None or type(each) is str for each in key):
        found = program.types_of_headers.get(key)
        if found is None:
            found = program.types_of_headers[key] = _type_of(program, *key)
        return found
    return _type_of(program, type_, version, package)


def _type_of(program: Program, type_: Any, version: Any, package: Any) -> MuranoClass:
    match = _TYPE.match(type_) if isinstance(type_, str) else None
    if match is None:
        raise TypeError(
            f"{type_!r:.200} is not the type of an object: expected ns.Class, /version and @package after it"
        )
    name, spec_text, package_name = match.groups()
    if package_name:
        package = package_name
    spec = VersionSpec.parse(spec_text or version)
    if package:
        return program.registry.find_package(str(package), spec).find_class(name, search_requirements=False)
    return program.registry.find_package_of_class(name, spec).find_class(name, search_requirements=False)
