"""Versions and version specifications, with MuranoPL's widening of partial versions (spec/muranopl.md §4.3)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import semantic_version

_V = TypeVar("_V", bound=semantic_version.Version)
MAX_LENGTH = 256  # characters of a version or specification


class Version(semantic_version.Version):
    """A semantic version. Hashable and ordered; `str()` gives `major.minor.patch[-prerelease][+build]`."""

    @classmethod
    def coerce(cls, version: object, partial: bool = False) -> Version:
        """Complete what a manifest says: `1` -> 1.0.0, `1.2b` -> 1.2.0-b, `1.2.3.4` -> 1.2.3+4. Raises ValueError."""
        text = str(version).strip()
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a version has at most {MAX_LENGTH} characters")
        completed = semantic_version.Version.coerce(text)
        return cls(str(completed))


@dataclass(frozen=True)
class VersionSpec:
    """A condition on versions; `text` is what was written, `str()` the canonical, widened form."""

    text: str
    conditions: tuple[str, ...]

    @classmethod
    def parse(cls, value: object) -> VersionSpec:
        """Read a specification as a manifest or a class contract writes it; None and the empty text mean `0`.

        Raises ValueError that says which part is not understood.
        """
        if isinstance(value, VersionSpec):
            return value
        if isinstance(value, semantic_version.Version):
            return cls(f"=={value}", (f"=={value}",))
        text = "" if value is None else re.sub(r"\s+", "", str(value))
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a version specification has at most {MAX_LENGTH} characters")
        conditions: list[str] = []
        for part in (text or "0").split(","):
            conditions.extend(_widened(part))
        return cls(text or "0", tuple(conditions))

    @classmethod
    def exactly(cls, version: semantic_version.Version) -> VersionSpec:
        """The specification that only `version` fulfils."""
        return cls.parse(version)

    def matches(self, version: semantic_version.Version) -> bool:
        """Whether `version` fulfils every condition."""
        return all(_matches(condition, version) for condition in self.conditions)

    def select(self, versions: Iterable[_V]) -> _V | None:
        """The highest of `versions` that matches, None if none does."""
        return max((version for version in versions if self.matches(version)), default=None)

    def __str__(self) -> str:
        return ",".join(self.conditions)


def _matches(condition: str, version: semantic_version.Version) -> bool:
    if condition.startswith("!"):  # the complement of a whole range, for `!=1.2`
        return not _range(condition[1:]).match(version)
    return _range(condition).match(version)


@functools.lru_cache(maxsize=10_000)
def _range(condition: str) -> semantic_version.SimpleSpec:
    return semantic_version.SimpleSpec(condition)


def _widened(part: str) -> list[str]:
    """Rewrite one comparison so that no partial version is left in it."""
    if part == "*":
        return [">=0.0.0"]
    match = _PART.match(part)
    if match is None:
        raise ValueError(f"{part!r} is not a version condition like 1, 1.2, 1.2.3, *, >=1.2, <2, ~1.2 or ^1.2")
    operator = match["operator"] or "=="
    operator = "==" if operator == "=" else operator
    numbers = [int(number) for number in match["numbers"].split(".")]
    if match["wildcard"] and len(numbers) == 3:
        raise ValueError(f"{part!r} has too many components")
    if len(numbers) == 3 or operator in ("~", "~=", "^"):
        condition = operator + ".".join(str(number) for number in numbers) + (match["suffix"] or "")
        semantic_version.SimpleSpec(condition)
        return [condition]
    if match["suffix"]:
        raise ValueError(f"{part!r}: a pre-release or build needs a version of three numbers")
    low = ".".join(str(number) for number in [*numbers, 0, 0][:3])
    bumped = [*numbers[:-1], numbers[-1] + 1]
    high = ".".join(str(number) for number in [*bumped, 0, 0][:3])
    return {
        "==": [f">={low}", f"<{high}"],
        "!=": [f"!>={low},<{high}"],  # the original's `!=1.2` matches nothing at all
        ">": [f">={high}"],
        ">=": [f">={low}"],
        "<": [f"<{low}"],
        "<=": [f"<{high}"],
    }[operator]


_PART = re.compile(
    r"(?P<operator>==|!=|>=|<=|~=|=|>|<|~|\^)?"
    r"(?P<numbers>\d{1,18}(?:\.\d{1,18}){0,2})(?P<wildcard>\.\*)?(?P<suffix>[-+][0-9A-Za-z.+-]+)?\Z"
)
