"""Steps of a plan, and how they are told: secrets masked, long values shortened with a word about it, and a digest of
what really is there.

What is masked counts all the same: a digest is over the step as it is, and keyed, since a plain one of a short password
next to a known text would give the password away. The key is the installation's (`catalog.db.plans.key`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.db import masking

LONGEST = 300  # characters of a text that are shown
MOST_ITEMS = 50  # of a list or a map that are shown
DEEPEST = 12  # maps and lists in each other that are shown
DIGITS = 32  # of a digest, in hex


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing a deployment would do. `kind` is `create`, `update`, `delete`, `execute` or `report`.

    `details` may hold `Secret` and `Opaque`; `unseen` is what counts and is not shown at all.
    """

    kind: str
    target: str
    type: str
    summary: str
    details: dict[str, Any] = field(default_factory=dict)
    unseen: Any = None
    effect: str = ""  # key of the effect that would do it


@dataclass(frozen=True)
class Secret:
    """A value that is never shown."""

    value: Any


@dataclass(frozen=True)
class Opaque:
    """A text that nobody wants to read in a plan (a script, boot data, a file): told by its size and digest."""

    what: str
    text: str


class _Absent:
    """What is not there; None is a value."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: `path` as in `properties.networks[0].port`; `effect` is what it means for the resource."""

    path: str
    before: Any = ABSENT
    after: Any = ABSENT
    effect: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Teller:
    """Tells steps to people. `known` are secrets that are hidden wherever they turn up."""

    key: bytes
    known: frozenset[str] = frozenset()

    def told(self, step: Step) -> dict[str, Any]:
        """`{"kind", "target", "type", "summary", "details", "digest"}`."""
        raw = [step.kind, step.target, step.type, step.summary, step.details, step.unseen]
        return {
            "kind": step.kind,
            "target": self._shown(step.target),
            "type": self._shown(step.type),
            "summary": self._shown(step.summary),
            "details": self._shown(step.details),
            "digest": self.digest(raw),
        }

    def digest(self, value: Any) -> str:
        """The keyed digest of a value, as it is."""
        text = json.dumps(_bare(value), sort_keys=True, separators=(",", ":"), default=str)
        return hmac.new(self.key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]

    def digest_of(self, told: Iterable[Mapping[str, Any]]) -> str:
        """The digest of a whole plan: of its steps as a set, as what runs in parallel has no order of its own."""
        text = "\n".join(sorted(str(step["digest"]) for step in told))
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def _shown(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, Secret):
            return masking.MASK
        if isinstance(value, Opaque):
            digest = self.digest(value.text)[:12]
            return f"[{value.what}: {len(value.text):,} characters, digest {digest}]"
        if isinstance(value, Change):
            return self._change(value, depth)
        if isinstance(value, str):
            return shortened(masking.masked_text(value, self.known))
        if isinstance(value, bool | int | float) or value is None:
            return value
        if depth >= DEEPEST:
            return "[shortened: more levels than are shown]"
        if isinstance(value, Mapping):
            return self._map(value, depth)
        if isinstance(value, list | tuple):
            items = [self._shown(item, depth + 1) for item in value[:MOST_ITEMS]]
            left = len(value) - MOST_ITEMS
            return [*items, f"[shortened: {left:,} more]"] if left > 0 else items
        return shortened(str(value))

    def _change(self, change: Change, depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {"path": self._shown(change.path)}
        sides = {"before": change.before, "after": change.after}
        if isinstance(change.before, str) and isinstance(change.after, str):
            both = [masking.masked_text(each, self.known) for each in (change.before, change.after)]
            shown.update(zip(sides, parted(*both), strict=True))
        else:
            shown.update(
                {name: self._shown(side, depth + 1) for name, side in sides.items() if not isinstance(side, _Absent)}
            )
        told = {"effect": change.effect, "note": change.note}
        return {**shown, **{name: text for name, text in told.items() if text is not None}}

    def _map(self, value: Mapping[str, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for number, (name, item) in enumerate(value.items()):
            if number == MOST_ITEMS:
                shown["..."] = f"[shortened: {len(value) - MOST_ITEMS:,} more]"
                break
            hides = masking.hides(name, item)
            shown[self._shown(str(name))] = masking.MASK if hides else self._shown(item, depth + 1)
        return shown


def shortened(text: str, start: int = 0) -> str:
    """The text, or `LONGEST` characters of it from `start` and a word about how many there are."""
    if len(text) <= LONGEST:
        return text
    where = f"characters {start + 1:,} to {min(start + LONGEST, len(text)):,}" if start else f"the first {LONGEST}"
    return f"{text[start : start + LONGEST]} [shortened: {where} of {len(text):,} characters]"


def parted(before: str, after: str) -> tuple[str, str]:
    """Two long texts from shortly before the place where they begin to differ, each shortened."""
    if len(before) <= LONGEST and len(after) <= LONGEST:
        return before, after
    same = next((at for at, (one, two) in enumerate(zip(before, after, strict=False)) if one != two), None)
    if same is None:
        same = min(len(before), len(after))
    start = max(0, same - LONGEST // 4)
    return shortened(before, min(start, len(before))), shortened(after, min(start, len(after)))


def _bare(value: Any) -> Any:
    if isinstance(value, Secret):
        return _bare(value.value)
    if isinstance(value, Opaque):
        return value.text
    if isinstance(value, Change):
        return [value.path, _bare(value.before), _bare(value.after), value.effect]
    if isinstance(value, _Absent):
        return {"absent": True}
    if isinstance(value, Mapping):
        return {str(name): _bare(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value
