"""A HOT template, checked: parameters with their values, resources with what they depend on, outputs, conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml

from engine.clouds.lab import functions


class TemplateError(Exception):
    """A template that cannot be carried out; `resource` and `type` tell where, None for the template itself."""

    def __init__(self, reason: str, resource: str | None = None, resource_type: str | None = None) -> None:
        self.reason, self.resource, self.resource_type = reason, resource, resource_type
        super().__init__(reason if resource is None else f"resource {resource!r}: {reason}")


@dataclass(frozen=True)
class Definition:
    """A resource as written; `requires` are the ids it refers to or names in depends_on.

    `retained` is its deletion policy; `snapshot` is taken for `delete`, as the lab makes no snapshots.
    """

    id: str
    type: str
    properties: dict[str, Any]
    requires: tuple[str, ...]
    retained: bool = False


@dataclass(frozen=True)
class Template:
    """A template ready to be carried out; `order` has every resource after all that it requires."""

    parameters: Mapping[str, Any]
    files: Mapping[str, str]
    resources: Mapping[str, Definition]
    outputs: Mapping[str, Any]
    conditions: Mapping[str, Any]
    order: tuple[str, ...]


def parse(
    template: dict,
    files: Mapping[str, str],
    environment: dict | str | None,
    parameters: Mapping[str, Any],
    pseudo: Mapping[str, Any],
    types: frozenset[str],
) -> Template:
    """Check a template against the supported resource types; raises TemplateError."""
    if not isinstance(template, dict):
        raise TemplateError(f"expected a HOT template (a map), found {type(template).__name__}")
    settings = _environment(environment)
    registry = settings.get("resource_registry") or {}
    values = _parameters(template.get("parameters") or {}, settings, parameters)
    values.update(pseudo)
    conditions = template.get("conditions") or {}
    written = {} if template.get("resources") is None else template["resources"]
    if not isinstance(written, dict):
        raise TemplateError(f"resources: expected a map of resources, found {type(written).__name__}")
    checker = functions.Context(values, files, _no_resource, _no_attribute, lambda name: False)
    chosen: dict[str, Any] = {}
    for identity, body in written.items():
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            raise TemplateError("expected a map with `type` (text) and `properties`", str(identity))
        if "condition" not in body or truth(body["condition"], conditions, checker):
            chosen[str(identity)] = body
    resources = {identity: _definition(identity, chosen, registry, types) for identity in chosen}
    resources = _with_implied(resources)
    outputs = template.get("outputs") or {}
    kept = {
        name: body
        for name, body in outputs.items()
        if not isinstance(body, dict) or "condition" not in body or truth(body["condition"], conditions, checker)
    }
    for name, body in kept.items():
        if not isinstance(body, dict) or "value" not in body:
            raise TemplateError(f"output {name!r}: expected a map with `value`, found {body!r}")
        for target, function in functions.referred_resources(body["value"]):
            if target not in resources:
                raise TemplateError(
                    f"output {name!r}: {function} names {target!r}, which is no resource of the template"
                )
    return Template(values, files, resources, kept, conditions, _order(resources))


def truth(condition: Any, conditions: Mapping[str, Any], context: functions.Context) -> bool:
    """The value of a condition: a name, a boolean or a function."""
    seen: list[str] = []

    def named(name: str) -> bool:
        if name in seen or name not in conditions:
            raise TemplateError(f"condition {name!r}: " + ("refers to itself" if name in seen else "is not defined"))
        seen.append(name)
        try:
            return evaluate(conditions[name])
        finally:
            seen.pop()

    def evaluate(value: Any) -> bool:
        if isinstance(value, str):
            return named(value)
        inner = functions.Context(context.parameters, context.files, context.reference, context.attribute, named)
        return bool(functions.evaluate(value, inner))

    return evaluate(condition)


def _definition(
    identity: str, written: dict[str, Any], registry: Mapping[str, Any], types: frozenset[str]
) -> Definition:
    body = written[identity]
    kind = registry.get(body["type"], body["type"])
    if kind not in types:
        listed = ", ".join(sorted(types))
        raise TemplateError(f"the lab has no resource type {kind}; supported: {listed}", identity, str(kind))
    properties = body.get("properties") or {}
    if not isinstance(properties, dict):
        raise TemplateError(f"properties: expected a map, found {type(properties).__name__}", identity, kind)
    depends = body.get("depends_on") or []
    named = [depends] if isinstance(depends, str) else list(depends)
    requires = dict.fromkeys(named)
    for target, _ in functions.referred_resources(properties):
        requires.setdefault(target)
    for target in requires:
        if target not in written:
            raise TemplateError(f"refers to resource {target!r}, which is not in the template", identity, kind)
    policy = body.get("deletion_policy", "delete")
    if str(policy).lower() not in ("delete", "retain", "snapshot"):
        expected = "expected one of delete, retain, snapshot"
        raise TemplateError(f"deletion_policy: {expected}, found {policy!r}", identity, kind)
    return Definition(identity, kind, properties, tuple(requires), str(policy).lower() == "retain")


def _with_implied(resources: dict[str, Definition]) -> dict[str, Definition]:
    """As in Heat, ports and servers wait for the subnets of their network, floating addresses for router interfaces."""
    named = {
        item.properties["name"]: item.id
        for item in resources.values()
        if item.type == "OS::Neutron::Net" and isinstance(item.properties.get("name"), str)
    }

    def network(value: Any) -> Any:
        return {"get_resource": named[value]} if isinstance(value, str) and value in named else value

    def networks(item: Definition) -> list[Any]:
        if item.type in ("OS::Neutron::Port", "OS::Neutron::Subnet"):
            return [network(item.properties.get("network") or item.properties.get("network_id"))]
        written = item.properties.get("networks") if item.type == "OS::Nova::Server" else None
        entries = [entry for entry in written if isinstance(entry, dict)] if isinstance(written, list) else []
        return [network(entry.get("network") or entry.get("uuid")) for entry in entries]

    subnets = [(item.id, networks(item)[0]) for item in resources.values() if item.type == "OS::Neutron::Subnet"]
    interfaces = [item.id for item in resources.values() if item.type == "OS::Neutron::RouterInterface"]
    complete: dict[str, Definition] = {}
    for item in resources.values():
        wanted = [reference for reference in networks(item) if reference is not None]
        implied = [identity for reference in wanted for identity, _ in functions.referred_resources(reference)]
        if item.type == "OS::Neutron::FloatingIP":
            implied += interfaces
        elif item.type != "OS::Neutron::Subnet":
            implied += [identity for identity, reference in subnets if reference in wanted]
        requires = tuple(dict.fromkeys([*item.requires, *implied]))
        complete[item.id] = replace(item, requires=requires)
    try:
        _order(complete)
    except TemplateError:
        return resources  # the author has ordered them otherwise; what is wrong then is told without our additions
    return complete


def _order(resources: Mapping[str, Definition]) -> tuple[str, ...]:
    sorter = TopologicalSorter({identity: set(item.requires) for identity, item in resources.items()})
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        ring = [str(item) for item in error.args[1]]
        raise TemplateError(f"resources require each other in a circle: {' -> '.join(ring)}", ring[0]) from error


def _environment(environment: dict | str | None) -> dict[str, Any]:
    if isinstance(environment, str):
        try:
            environment = yaml.safe_load(environment)
        except yaml.YAMLError as error:
            raise TemplateError(f"environment: not YAML: {error}") from error
    if environment is None:
        return {}
    if not isinstance(environment, dict):
        raise TemplateError(f"environment: expected a map, found {type(environment).__name__}")
    return environment


def _parameters(schemas: dict, settings: dict, given: Mapping[str, Any]) -> dict[str, Any]:
    supplied = {
        **(settings.get("parameter_defaults") or {}),
        **(settings.get("parameters") or {}),
        **given,
    }
    # Murano hands over every parameter it knows; only names that are neither declared nor defaults are a mistake.
    unknown = sorted(set(given) - set(schemas))
    if unknown:
        raise TemplateError(f"parameter {unknown[0]!r}: not declared by the template")
    values: dict[str, Any] = {}
    for name, schema in schemas.items():
        schema = schema or {}
        value = supplied.get(name)
        if value is None:
            if "default" not in schema:
                raise TemplateError(f"parameter {name!r}: no value was given and it has no default")
            value = schema["default"]
        values[name] = _typed(name, schema.get("type", "string"), value)
        for constraint in schema.get("constraints") or []:
            _constrain(name, constraint, values[name])
    return values


def _typed(name: str, kind: str, value: Any) -> Any:
    try:
        if kind == "number":
            return value if isinstance(value, (int, float)) else float(value) if "." in str(value) else int(value)
        if kind == "boolean":
            words = {"true": True, "t": True, "yes": True, "on": True, "1": True, "y": True}
            words |= {"false": False, "f": False, "no": False, "off": False, "0": False, "n": False}
            return words[str(value).lower()]
        if kind == "comma_delimited_list":
            return value if isinstance(value, list) else [item.strip() for item in str(value).split(",") if item != ""]
        if kind == "json":
            return value if isinstance(value, (dict, list)) else yaml.safe_load(str(value))
        if kind == "string":
            return functions.text_of(value)
    except (ValueError, KeyError, yaml.YAMLError) as error:
        raise TemplateError(f"parameter {name!r}: expected a {kind}, found {value!r}") from error
    raise TemplateError(f"parameter {name!r}: unknown type {kind!r}")


def _constrain(name: str, constraint: dict, value: Any) -> None:
    told = constraint.get("description")
    size = len(value) if isinstance(value, (str, list, dict)) else 0
    number = value if isinstance(value, (int, float)) else 0
    bounds = constraint.get("length") or constraint.get("range") or {}
    measured = size if "length" in constraint else number
    broken = (
        ("allowed_values" in constraint and value not in constraint["allowed_values"])
        or ("allowed_pattern" in constraint and not re.fullmatch(constraint["allowed_pattern"], str(value)))
        or ("min" in bounds and measured < bounds["min"])
        or ("max" in bounds and measured > bounds["max"])
    )
    if broken:
        rule = {key: rule for key, rule in constraint.items() if key != "description"}
        raise TemplateError(f"parameter {name!r}: {told or f'{value!r} breaks the constraint {rule}'}")


def _no_resource(identity: str) -> str:
    raise functions.FunctionError(f"a condition cannot refer to resource {identity!r}")


def _no_attribute(identity: str, name: str) -> Any:
    raise functions.FunctionError(f"a condition cannot refer to attribute {name!r} of resource {identity!r}")
