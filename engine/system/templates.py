"""How HeatStack merges templates (spec/core-library §9.1); yaql's own `mergeWith` has other rules."""

from __future__ import annotations

import json
from collections.abc import Mapping


def merge_templates(base: Mapping[str, object], update: Mapping[str, object]) -> dict[str, object]:
    """`base` with `update` merged in, both untouched.

    Dicts merge recursively, lists concatenate without duplicates, of two scalars of one type the second wins, of a
    text and a null the first is kept. Raises TypeError, naming the path, for values that do not go together.
    """
    return _merge_dicts(base, update, "")


def _merge_dicts(base: Mapping[str, object], update: Mapping[str, object], path: str) -> dict[str, object]:
    merged = dict(base)
    for key, value in update.items():
        merged[key] = _merge_values(merged[key], value, f"{path}/{key}") if key in merged else value
    return merged


def _merge_values(first: object, second: object, path: str) -> object:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return _merge_dicts(first, second, path)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return _distinct([*first, *second])
    if type(first) is type(second):
        return second
    if (first is None and isinstance(second, str)) or (second is None and isinstance(first, str)):
        return first
    raise TypeError(
        f"templates do not merge at {path}: {type(first).__name__} is there, {type(second).__name__} is to be merged in"
    )


def _distinct(items: list[object]) -> list[object]:
    # By their text and not one by one with each other: a package can make lists of any length.
    distinct: dict[str, object] = {}
    for item in items:
        distinct.setdefault(json.dumps(item, sort_keys=True, default=repr), item)
    return list(distinct.values())
