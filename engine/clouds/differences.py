"""Where two values differ, as paths: nested maps by key, lists by what they have in common."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from catalog.db import masking
from engine import steps

MOST_COMPARED = 500  # items of a list that are aligned; of longer ones each is compared with the one in its place

_PLAIN = re.compile(r"[A-Za-z_][\w-]*\Z")


def between(path: str, before: Any, after: Any, name: str = "") -> Iterator[steps.Change]:
    """The differences at and below `path`; `name` is the key that the values stand under."""
    if masking.hides(name, before) or masking.hides(name, after):
        before, after = _hidden(before), _hidden(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**after, **before}:
            inner = within(path, str(key))
            yield from between(inner, before.get(key, steps.ABSENT), after.get(key, steps.ABSENT), str(key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(path, before, after, name)
    elif not _equal(before, after):
        yield steps.Change(path=path, before=before, after=after)


def within(path: str, key: str) -> str:
    """The path of a key: `a.b`, or `a["b.c"]` for a key that is no word."""
    if _PLAIN.match(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key)}]"


def _of_lists(path: str, before: list[Any], after: list[Any], name: str) -> Iterator[steps.Change]:
    if max(len(before), len(after)) > MOST_COMPARED:
        pairs = [("replace", 0, len(before), 0, len(after))]
    else:
        texts = [[_text(item) for item in side] for side in (before, after)]
        pairs = list(difflib.SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes())
    for kind, first, last, begin, end in pairs:
        if kind == "equal":
            continue
        common = min(last - first, end - begin)
        for at in range(common):
            yield from between(f"{path}[{begin + at}]", before[first + at], after[begin + at], name)
        for at in range(first + common, last):
            yield steps.Change(path=f"{path}[{at}]", before=_named(name, before[at]))
        for at in range(begin + common, end):
            yield steps.Change(path=f"{path}[{at}]", after=_named(name, after[at]))


def _named(name: str, value: Any) -> Any:
    return steps.Secret(value) if masking.hides(name, value) else value


def _hidden(value: Any) -> Any:
    return value if isinstance(value, steps.Secret) or value is steps.ABSENT else steps.Secret(value)


def _equal(before: Any, after: Any) -> bool:
    return (type(before) is type(after) and bool(before == after)) or (_numeric(before, after) and before == after)


def _numeric(before: Any, after: Any) -> bool:
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in (before, after))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)
