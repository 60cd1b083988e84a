"""What a model asks of a cloud: its resources, read from the objects; no method is run.

Only what the model states counts, in properties of the core library's resources (spec/core-library §1 - §4): what code
makes by itself while it deploys is not known before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dsl

RESOURCES = "io.murano.resources"
ENVIRONMENT = "io.murano.Environment"
INSTANCE, VOLUME, SHARED_IP = f"{RESOURCES}.Instance", f"{RESOURCES}.CinderVolume", "io.murano.SharedIp"
LOCATED = "io.murano.CloudResource"  # has a region

# Of which kind (`services.Inventory`) the thing is that a property names.
NAMED: Mapping[str, Mapping[str, str]] = {
    INSTANCE: {
        "flavor": "flavors",
        "image": "images",
        "keyname": "key_pairs",
        "availabilityZone": "availability_zones",
        "securityGroups": "security_groups",
    },
    f"{RESOURCES}.NeutronNetwork": {"externalRouterId": "routers"},
    f"{RESOURCES}.ExistingNeutronNetwork": {
        "internalNetworkName": "networks",
        "internalSubnetworkName": "subnets",
        "externalNetworkName": "external_networks",
    },
    VOLUME: {"sourceImage": "images"},
    f"{RESOURCES}.ExistingCinderVolume": {"openstackId": "volumes"},
}
KINDS = (*NAMED, SHARED_IP, LOCATED)
DEEPEST = 200  # levels of objects and lists; the contracts' check refuses deeper ones


@dataclass(frozen=True, kw_only=True)
class Resource:
    """An object of the model that is something in a cloud. `region` is "" for the default one.

    `path` leads to it from the nearest object with an id, "" for that object itself. `pattern`: others are made after
    it, it is nothing itself.
    """

    object_id: str | None
    type: str
    path: str
    kinds: frozenset[str]
    region: str
    stated_region: tuple[str | None, str | None, str] | None  # id, type and path of what names the region
    properties: Mapping[str, Any]
    pattern: bool

    def at(self, name: str) -> str:
        """The path of one of its properties."""
        return f"{self.path}/{name}" if self.path else name


class Classes:
    """The classes of a library, as far as they can be read."""

    def __init__(self, library: dsl.Library) -> None:
        self._packages = {name: package for package in library.packages for name in package.class_names}
        self._above: dict[str, frozenset[str]] = {}

    def above(self, name: str) -> frozenset[str]:
        """A class with all that it extends."""
        if name not in self._above:
            self._above[name] = frozenset({name})  # a class that extends itself ends here
            found = {name}
            declaration = self._declaration(name)
            for parent in declaration.extends if declaration else ():
                found |= self.above(parent)
            self._above[name] = frozenset(found)
        return self._above[name]

    def is_pattern(self, type_name: str, property_name: str) -> bool:
        """Whether a property holds a template, whose objects are not of the model."""
        for name in self.above(type_name):
            declaration = self._declaration(name)
            if declaration is not None and property_name in declaration.properties:
                return "template(" in str(declaration.properties[property_name].contract)
        return False

    def _declaration(self, name: str) -> dsl.packages.ClassDeclaration | None:
        package = self._packages.get(name)
        try:
            return None if package is None else package.declaration(name)
        except (dsl.DslError, KeyError, ValueError):
            return None


def resources(classes: Classes, root: Any) -> Iterator[Resource]:
    """All resources in a model's Objects or ObjectsCopy, in the engine's form or the catalog's."""
    if not isinstance(root, dict):
        return
    region, stated = _stated(root, "region", (str(_header(root).get("id")), ENVIRONMENT, "region"))
    yield from _walk(classes, root, _Place(None, "", "", region, stated, False, 0))


@dataclass(frozen=True)
class _Place:
    object_id: str | None
    type: str
    path: str
    region: str
    stated: tuple[str | None, str | None, str] | None
    pattern: bool
    depth: int

    def inner(self, name: str, pattern: bool) -> _Place:
        path = f"{self.path}/{name}" if self.path else name
        return _Place(
            self.object_id, self.type, path, self.region, self.stated, self.pattern or pattern, self.depth + 1
        )


def _walk(classes: Classes, value: Any, place: _Place) -> Iterator[Resource]:
    if place.depth > DEEPEST:
        return
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _walk(classes, item, place.inner(str(position), False))
    if not isinstance(value, dict):
        return
    if "?" not in value:
        for name, item in value.items():
            yield from _walk(classes, item, place.inner(str(name), False))
        return
    type_name = _type(value)
    above = classes.above(type_name)
    object_id = _header(value).get("id")
    if isinstance(object_id, str) and not place.pattern:
        place = _Place(object_id, type_name, "", place.region, place.stated, False, place.depth)
    if LOCATED in above:
        path = f"{place.path}/regionName" if place.path else "regionName"
        region, stated = _stated(value, "regionName", (place.object_id, type_name, path))
        if stated is not None:
            place = _Place(place.object_id, place.type, place.path, region, stated, place.pattern, place.depth)
    kinds = frozenset(kind for kind in KINDS if kind in above)
    if kinds:
        yield Resource(
            object_id=place.object_id,
            type=type_name,
            path=place.path,
            kinds=kinds,
            region=place.region,
            stated_region=place.stated,
            properties=value,
            pattern=place.pattern,
        )
    for name, item in value.items():
        if name != "?":
            yield from _walk(classes, item, place.inner(str(name), classes.is_pattern(type_name, str(name))))


def _stated(
    value: Mapping[str, Any], name: str, where: tuple[str | None, str | None, str]
) -> tuple[str, tuple[str | None, str | None, str] | None]:
    found = value.get(name)
    return (found, where) if isinstance(found, str) and found else ("", None)


def _header(value: Mapping[str, Any]) -> Mapping[str, Any]:
    header = value.get("?")
    return header if isinstance(header, dict) else {}


def _type(value: Mapping[str, Any]) -> str:
    return re.split(r"[/@]", str(_header(value).get("type")))[0]
