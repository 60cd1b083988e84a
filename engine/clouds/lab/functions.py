"""The intrinsic functions of HOT templates: a map whose only key names a function stands for the function's value."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class FunctionError(Exception):
    """An intrinsic function was used wrongly; the message names it and what it expects."""


@dataclass(frozen=True)
class Context:
    """What functions can see. `reference` and `attribute` raise FunctionError for what is not there."""

    parameters: Mapping[str, Any]
    files: Mapping[str, str]
    reference: Callable[[str], str]
    attribute: Callable[[str, str], Any]
    condition: Callable[[str], bool]


def evaluate(value: Any, context: Context) -> Any:
    """A template value with all its functions carried out."""
    call = function_call(value)
    if call is not None:
        name, argument = call
        if name in _LAZY:
            return _LAZY[name](argument, context)
        return _EAGER[name](evaluate(argument, context), context)
    if isinstance(value, dict):
        return {key: evaluate(item, context) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, context) for item in value]
    return value


def function_call(value: Any) -> tuple[str, Any] | None:
    """(name, argument) when a value is a function call."""
    if isinstance(value, dict) and len(value) == 1:
        name, argument = next(iter(value.items()))
        if name in _EAGER or name in _LAZY:
            return name, argument
    return None


def referred_resources(value: Any) -> Iterator[tuple[str, str]]:
    """(resource id, function) for every resource that a template value mentions."""
    call = function_call(value)
    if call is not None:
        name, argument = call
        if name == "get_resource" and isinstance(argument, str):
            yield argument, name
        if name == "get_attr" and isinstance(argument, list) and argument and isinstance(argument[0], str):
            yield argument[0], name
    if isinstance(value, dict):
        for item in value.values():
            yield from referred_resources(item)
    elif isinstance(value, list):
        for item in value:
            yield from referred_resources(item)


def text_of(value: Any) -> str:
    """A value inside a text: JSON for lists and maps, nothing for null, lower case for booleans."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def walk(value: Any, path: list[Any]) -> Any:
    """Go down into lists and maps; null where the path leads nowhere, as Heat does."""
    for step in path:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return None
        if isinstance(value, dict):
            value = value.get(step, value.get(str(step)))
        elif isinstance(value, list):
            try:
                value = value[int(step)]
            except (ValueError, IndexError, TypeError):
                return None
        else:
            return None
    return value


def _get_param(argument: Any, context: Context) -> Any:
    name, *path = argument if isinstance(argument, list) and argument else [argument]
    if name not in context.parameters:
        known = ", ".join(sorted(name for name in context.parameters if not name.startswith("OS::"))) or "none"
        raise FunctionError(f"get_param: no parameter {name!r}; the template has: {known}")
    return walk(context.parameters[name], path)


def _get_resource(argument: Any, context: Context) -> str:
    if not isinstance(argument, str):
        raise FunctionError(f"get_resource: expected a resource id, found {argument!r}")
    return context.reference(argument)


def _get_attr(argument: Any, context: Context) -> Any:
    if not isinstance(argument, list) or len(argument) < 2:
        raise FunctionError(f"get_attr: expected [resource id, attribute, key ...], found {argument!r}")
    return walk(context.attribute(argument[0], str(argument[1])), argument[2:])


def _get_file(argument: Any, context: Context) -> str:
    if argument not in context.files:
        known = ", ".join(sorted(context.files)) or "none"
        raise FunctionError(f"get_file: no file {argument!r} was given with the template; given: {known}")
    return context.files[argument]


def _str_replace(argument: Any, context: Context) -> str:
    return _replace("str_replace", argument, strict=False)


def _str_replace_strict(argument: Any, context: Context) -> str:
    return _replace("str_replace_strict", argument, strict=True)


def _replace(name: str, argument: Any, strict: bool) -> str:
    if not isinstance(argument, dict) or set(argument) != {"template", "params"}:
        raise FunctionError(f"{name}: expected {{template, params}}, found {argument!r}")
    template, params = argument["template"], argument["params"] or {}
    if not isinstance(template, str) or not isinstance(params, dict):
        raise FunctionError(f"{name}: expected template text and a params map, found {argument!r}")
    missing = [key for key in params if strict and str(key) not in template]
    if missing:
        raise FunctionError(f"{name}: {missing[0]!r} does not occur in the template text")
    if not params:
        return template
    # The longest key first, and what was put in is not searched again.
    keys = sorted((str(key) for key in params if key != ""), key=len, reverse=True)
    values = {str(key): text_of(value) for key, value in params.items()}
    return re.sub("|".join(map(re.escape, keys)), lambda match: values[match.group()], template)


def _list_join(argument: Any, context: Context) -> str:
    if not isinstance(argument, list) or len(argument) < 2 or not isinstance(argument[0], str):
        raise FunctionError(f"list_join: expected [separator, list ...], found {argument!r}")
    lists = [item if isinstance(item, list) else [] if item is None else [item] for item in argument[1:]]
    return argument[0].join(text_of(item) for item in itertools.chain(*lists))


def _str_split(argument: Any, context: Context) -> Any:
    if not isinstance(argument, list) or len(argument) not in (2, 3):
        raise FunctionError(f"str_split: expected [separator, text, index?], found {argument!r}")
    pieces = text_of(argument[1]).split(str(argument[0]))
    return walk(pieces, argument[2:])


def _map_merge(argument: Any, context: Context) -> dict:
    merged: dict = {}
    for item in _list("map_merge", argument):
        merged.update(item or {})
    return merged


def _list_concat(argument: Any, context: Context) -> list:
    return [item for part in _list("list_concat", argument) for item in part or []]


def _list_concat_unique(argument: Any, context: Context) -> list:
    unique: list = []
    for item in _list_concat(argument, context):
        if item not in unique:
            unique.append(item)
    return unique


def _digest(argument: Any, context: Context) -> str:
    if not isinstance(argument, list) or len(argument) != 2 or argument[0] not in hashlib.algorithms_guaranteed:
        raise FunctionError(f"digest: expected [algorithm, text], found {argument!r}")
    return hashlib.new(argument[0], text_of(argument[1]).encode()).hexdigest()


def _repeat(argument: Any, context: Context) -> list:
    if not isinstance(argument, dict) or not {"template", "for_each"} <= set(argument):
        raise FunctionError(f"repeat: expected {{template, for_each}}, found {argument!r}")
    lists = evaluate(argument["for_each"], context)
    if not isinstance(lists, dict):
        raise FunctionError(f"repeat: for_each is a map of lists, found {lists!r}")
    rows: Iterator[tuple] = itertools.product(*(list(items or []) for items in lists.values()))
    if argument.get("permutations") is False:
        rows = zip(*(list(items or []) for items in lists.values()), strict=True)
    return [evaluate(_substitute(argument["template"], dict(zip(lists, row, strict=True))), context) for row in rows]


def _substitute(template: Any, values: dict[str, Any]) -> Any:
    if isinstance(template, str):
        if template in values:
            return values[template]
        for key, value in values.items():
            template = template.replace(key, text_of(value)) if isinstance(value, (str, int, float)) else template
        return template
    if isinstance(template, dict):
        return {_substitute(key, values): _substitute(item, values) for key, item in template.items()}
    return [_substitute(item, values) for item in template] if isinstance(template, list) else template


def _if(argument: Any, context: Context) -> Any:
    if not isinstance(argument, list) or len(argument) not in (2, 3):
        raise FunctionError(f"if: expected [condition, value, other value], found {argument!r}")
    truth = context.condition(argument[0]) if isinstance(argument[0], str) else evaluate(argument[0], context)
    return evaluate(argument[1], context) if truth else evaluate(argument[2], context) if len(argument) == 3 else None


def _equals(argument: Any, context: Context) -> bool:
    pair = _list("equals", argument)
    return bool(pair[0] == pair[1]) if len(pair) == 2 else False


def _truth(value: Any, context: Context) -> bool:
    value = context.condition(value) if isinstance(value, str) else evaluate(value, context)
    return bool(value)


def _not(argument: Any, context: Context) -> bool:
    return not _truth(argument, context)


def _and(argument: Any, context: Context) -> bool:
    return all(_truth(item, context) for item in _list("and", argument))


def _or(argument: Any, context: Context) -> bool:
    return any(_truth(item, context) for item in _list("or", argument))


def _contains(argument: Any, context: Context) -> bool:
    pair = _list("contains", argument)
    return len(pair) == 2 and pair[0] in (pair[1] or [])


def _list(name: str, argument: Any) -> list:
    if not isinstance(argument, list):
        raise FunctionError(f"{name}: expected a list, found {argument!r}")
    return argument


_EAGER: dict[str, Callable[[Any, Context], Any]] = {
    "contains": _contains, "digest": _digest, "equals": _equals, "get_attr": _get_attr, "get_file": _get_file,
    "get_param": _get_param, "get_resource": _get_resource, "list_concat": _list_concat,
    "list_concat_unique": _list_concat_unique, "list_join": _list_join, "map_merge": _map_merge,
    "str_replace": _str_replace, "str_replace_strict": _str_replace_strict, "str_split": _str_split,
}  # fmt: skip
# Their arguments are not evaluated beforehand.
_LAZY: dict[str, Callable[[Any, Context], Any]] = {"and": _and, "if": _if, "not": _not, "or": _or, "repeat": _repeat}
