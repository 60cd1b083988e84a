"""Names of classes: short names, prefixes and full names (spec/muranopl.md §4.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dsl.errors import Thrown


@dataclass(frozen=True)
class Namespaces:
    """The namespace table in force where a piece of code stands: prefix -> namespace, `=` for the default one."""

    table: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, name: str) -> str:
        """The full name of `Foo`, `:Foo`, `ns:Foo` or `a.b.Foo`.

        Raises Thrown `ValueError` for what is no name, `KeyError` for an unknown prefix.
        """
        match = _NAME.match(name)
        if match is None:
            raise Thrown("ValueError", f'"{name[:200]}" is not a valid class name')
        prefix, rest = match.group("prefix"), match.group("rest")
        if prefix:
            if prefix not in self.table:
                known = ", ".join(sorted(key for key in self.table if key != "=")) or "none"
                raise Thrown("KeyError", f"Unknown namespace prefix {prefix} (known: {known})")
            return _joined(self.table[prefix], rest)
        if "." in rest:
            return rest
        return _joined(self.table.get("=", ""), rest)


def is_prefix(text: object) -> bool:
    """Whether `text` may stand on the left of a namespace table."""
    return isinstance(text, str) and (text == "=" or _PREFIX.match(text) is not None)


def is_namespace(text: object) -> bool:
    """Whether `text` may stand on the right of a namespace table."""
    return text is None or (isinstance(text, str) and (not text or _DOTTED.match(text) is not None))


def _joined(namespace: str, name: str) -> str:
    return f"{namespace}.{name}" if namespace else name


_PREFIX = re.compile(r"[A-Za-z_]\w*\Z")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
_NAME = re.compile(r"(?:(?P<prefix>[A-Za-z_]\w*)?:)?(?P<rest>[^\W\d]\w*(\.[^\W\d]\w*)*)\Z")
