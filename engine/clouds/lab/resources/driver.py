"""The shape of a resource driver. All of its methods may be repeated after a crash: they converge on the record."""

from __future__ import annotations

from typing import Any, ClassVar

from engine.clouds.lab.site import Site
from engine.clouds.lab.state import Record


class ResourceError(Exception):
    """A resource cannot be had; the message says what was expected, found, and what to do."""


class Driver:
    """A resource type: its property names, and how to make, change and remove one."""

    type: ClassVar[str]
    required: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    changeable: ClassVar[frozenset[str]] = frozenset()  # any other changed property replaces the resource

    def check(self, properties: dict[str, Any]) -> None:
        """Raise ResourceError for properties that the type does not have or lacks."""
        known = self.required | self.optional
        unknown = sorted(set(properties) - known)
        if unknown:
            raise ResourceError(f"unknown property {unknown[0]!r}; {self.type} has: {', '.join(sorted(known))}")
        missing = sorted(name for name in self.required if properties.get(name) is None)
        if missing:
            raise ResourceError(f"property {missing[0]!r} is required and was not given")

    def create(self, site: Site, record: Record, stack: str) -> None:
        """Make the resource `record.physical`, or finish making it."""
        raise ResourceError(f"{self.type} cannot be made")

    def update(self, site: Site, record: Record, stack: str) -> None:
        """Bring a resource to its record's properties; only changeable ones differ."""
        self.create(site, record, stack)

    def healthy(self, site: Site, record: Record) -> bool:
        """Whether an unchanged resource is still there; if not, `create` is called again."""
        return site.objects.get(record.physical) is not None

    def retire(self, site: Site, record: Record) -> None:
        """Let go of what the replacement needs; the resource itself is deleted later."""

    def delete(self, site: Site, record: Record) -> None:
        """Remove the resource; nothing happens when it is gone."""
        site.objects.remove(record.physical)

    def reference(self, site: Site, record: Record) -> str:
        """What get_resource gives."""
        return record.physical

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        """What get_attr can ask for."""
        return dict(site.objects.get(record.physical) or {})


def text(properties: dict[str, Any], name: str) -> str | None:
    """A property that is text (numbers become text), None when absent."""
    value = properties.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ResourceError(f"property {name!r}: expected text, found {value!r}")


def mapping(properties: dict[str, Any], name: str) -> dict[str, Any]:
    """A property that is a map, {} when absent."""
    value = properties.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ResourceError(f"property {name!r}: expected a map, found {value!r}")
    return value


def sequence(properties: dict[str, Any], name: str) -> list[Any]:
    """A property that is a list, [] when absent."""
    value = properties.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ResourceError(f"property {name!r}: expected a list, found {value!r}")
    return value
