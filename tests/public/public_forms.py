"""A package's form, filled in as somebody in a dashboard does it: what is posted to the environment then.

The part of spec/dynamic-ui that packages use: expressions of UI definitions in yaql's older dialect, templates,
`repeat`, `generateHostname`; of the fields their initial values, or what a cloud with one of each would offer.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from yaql import legacy
from yaql.language import exceptions, utils

import dsl  # noqa: F401 - before yaql, which counts on modules being there
from dsl import packages

DISPLAY = "_26411a1861294160833743e45d0eaad9"  # under which dashboards keep what people see
OFFERED = {  # by the cloud, where the form's type is not a class
    "flavor": "m1.medium",
    "image": "image-1",
    "keypair": "key-1",
    "azone": "nova",
    "network": (None, None),  # "Auto": the environment's own
    "boolean": False,
    "integer": None,
    "password": "P@ssw0rd",
}
_TEXT = re.compile(r"[\s\w.:]*")  # what no dashboard takes for an expression
_ENGINE = legacy.YaqlFactory().create(options={"yaql.limitIterators": 10_000, "yaql.memoryQuota": 1_000_000})


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Plain scalars may be expressions, quoted ones are texts."""


def fill_in(package: packages.Package, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The object that the filled-in form posts, with readable ids: `key`, and `key.2` ... for what is inside it.

    `values` are by the name of the field, or by `form.field` where a package has the name twice. Raises `KeyError` for
    a value of a field that is not there, `ValueError` for a required field without one.
    """
    definition = yaml.load(package.ui_definition or "", _Loader)
    forms = _cleaned(definition, dict(values))
    context = legacy.create_context()
    context["$"] = context["$forms"] = utils.convert_input_data(forms)
    _register(context, definition.get("Templates") or {})
    posted = _evaluated(definition["Application"], context)
    numbers = itertools.count(1)
    for header in _headers(posted):
        number = next(numbers)
        header["id"] = key if number == 1 else f"{key}.{number}"
    if float(str(definition.get("Version", 2))) >= 2.2:
        posted["?"]["name"] = key
    posted["?"][DISPLAY] = {"name": package.manifest.name}
    return posted


def _cleaned(definition: Mapping[str, Any], values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cleaned: dict[str, dict[str, Any]] = {}
    for form in definition["Forms"]:
        ((name, content),) = form.items()
        cleaned[name] = {}
        for field in content["fields"]:
            given = field["name"]
            if f"{name}.{given}" in values:
                given = f"{name}.{given}"
            value = values.pop(given) if given in values else _offered(field)
            if value in (None, "") and field.get("required", True) and field["type"] in ("string", "integer", "text"):
                raise ValueError(f"the field {name}.{field['name']} has to be filled in")
            cleaned[name][field["name"]] = value
    if values:
        raise KeyError(f"no field {', '.join(values)} in the form; it has {cleaned}")
    return cleaned


def _offered(field: Mapping[str, Any]) -> Any:
    initial = field.get("initial")
    if isinstance(field["type"], list) or "." in field["type"]:
        return None  # an object of a class: nothing was chosen
    if field["type"] in OFFERED:
        return OFFERED[field["type"]] if initial is None else initial
    if field["type"] == "choice":
        return initial or field["choices"][0][0]
    return "" if initial is None else initial


def _register(context: Any, templates: Mapping[str, Any]) -> None:
    def generate_hostname(pattern: str, number: int) -> str:
        return pattern.replace("#", str(number)) if pattern else f"host-{number}"

    def repeat(context: Any, template: Any, times: int) -> list[Any]:
        made = []
        for index in range(1, (times or 0) + 1):
            inner = context.create_child_context()
            inner["$index"] = index
            made.append(_evaluated(template, inner))
        return made

    for name, template in templates.items():
        context[f"${name}"] = _Template(template)
    context.register_function(generate_hostname, name="generateHostname")
    context.register_function(repeat, name="repeat")


class _Template:
    """A template, evaluated where it ends up."""

    def __init__(self, content: Any) -> None:
        self.content = content


def _evaluated(value: Any, context: Any) -> Any:
    if isinstance(value, _Expression):
        return _evaluated(value.expression.evaluate(context=context), context)
    if isinstance(value, _Template):
        return _evaluated(value.content, context)
    if isinstance(value, Mapping):
        return {key: _evaluated(item, context) for key, item in value.items()}
    if isinstance(value, list | tuple | Iterator):
        return [_evaluated(item, context) for item in value]
    return copy.copy(value)


def _headers(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("?"), dict):
            yield value["?"]
        for item in value.values():
            yield from _headers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _headers(item)


class _Expression:
    def __init__(self, expression: Any) -> None:
        self.expression = expression


def _scalar(_loader: yaml.Loader, node: yaml.ScalarNode) -> Any:
    if not node.style and not _TEXT.fullmatch(node.value):
        try:
            return _Expression(_ENGINE(node.value))
        except exceptions.YaqlParsingException:
            pass
    return node.value


_Loader.add_constructor("tag:yaml.org,2002:str", _scalar)
