"""What a push or a deletion of a stack would create, change and delete: steps, in the order in which Heat has to do it.

Parameters are put in their places first, so that a changed parameter shows at the resources that take it. Values of
hidden parameters are secrets wherever they go.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from engine import steps
from engine.clouds import assumptions, differences, replacement

STACK = "OS::Heat::Stack"
UNTOLD = "******"  # what Heat shows in place of a hidden parameter's value
KEPT = "kept"  # what becomes of a resource that leaves its stack and is not deleted
MOST_CHANGES = 50  # of one step that are listed

# Of several changes of one resource, the first of these says what becomes of it.
_GRAVITY = (replacement.REPLACE, replacement.REBUILD, replacement.RESIZE, replacement.UNKNOWN, replacement.IN_PLACE)
_MEANS = {
    replacement.REPLACE: "replaces it",
    replacement.REBUILD: "rebuilds it: what is on its disk is lost",
    replacement.RESIZE: "restarts it",
}
_RESOURCE_SECTIONS = {"type": replacement.REPLACE, "external_id": replacement.UNKNOWN}  # others change nothing outside
_TOLD_ELSEWHERE = ("resources", "parameters", "parameter_groups", "heat_template_version")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a stack is made from. `files` and `environment` are None where the cloud does not tell them."""

    template: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] | None = None
    environment: Mapping[str, Any] | str | None = None

    def settings(self) -> dict[str, Any]:
        """The environment as a map."""
        found: Any = self.environment
        if isinstance(found, str):
            with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
                found = yaml.safe_load(found)
        return dict(found) if isinstance(found, Mapping) else {}

    def values(self) -> dict[str, Any]:
        """The parameters' values by name: given, of the environment, or by default; `Secret` where hidden."""
        settings = self.settings()
        found: dict[str, Any] = {}
        for name, definition in assumptions.section(self.template, "parameters").items():
            places = (self.parameters, _map(settings, "parameters"), _map(settings, "parameter_defaults"))
            given = next((place[name] for place in places if name in place), definition.get("default"))
            value = _normal(str(definition.get("type") or "string"), given)
            found[name] = steps.Secret(value) if _is_hidden(definition) and value is not None else value
        return found

    def secrets(self) -> frozenset[str]:
        """The texts of hidden parameters."""
        values = [value.value for value in self.values().values() if isinstance(value, steps.Secret)]
        return frozenset(value for value in values if isinstance(value, str) and value != UNTOLD)

    def hidden_names(self) -> frozenset[str]:
        """The parameters whose values nobody may see."""
        found = assumptions.section(self.template, "parameters")
        return frozenset(name for name, definition in found.items() if _is_hidden(definition))

    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources with parameters in their places and secrets and boot data veiled."""
        values = self.values()
        return {
            name: {key: _veiled(part, values, key == "user_data") for key, part in resource.items()}
            for name, resource in assumptions.section(self.template, "resources").items()
        }


def of_push(stack: str, before: Pushed | None, after: Pushed) -> Iterator[steps.Step]:
    """The steps of making a stack what `after` says. One without resources is deleted."""
    if not assumptions.section(after.template, "resources"):
        if before is not None and assumptions.section(before.template, "resources"):
            yield from of_deletion(stack, before)
        return
    if before is None or not assumptions.section(before.template, "resources"):
        yield _new_stack(stack, after)
        before = Pushed(template={})
    elif (changed := _changed_stack(stack, before, after)) is not None:
        yield changed
    yield from _of_resources(stack, before, after)


def of_deletion(stack: str, before: Pushed) -> Iterator[steps.Step]:
    """The steps of deleting a stack and all that is in it."""
    yield from _of_resources(stack, before, Pushed(template={}))
    named = assumptions.section(before.template, "resources")
    goes = [{"name": name, "type": str(body.get("type"))} for name, body in named.items() if not _is_kept(body)]
    details = {"stack": stack, "goes_with": goes}
    yield steps.Step(kind="delete", target=stack, type=STACK, summary=f"Delete the stack {stack}", details=details)


def _of_resources(stack: str, before: Pushed, after: Pushed) -> Iterator[steps.Step]:
    old, new = before.resources(), after.resources()
    for name in _in_order(assumptions.section(after.template, "resources")):
        if name not in old:
            yield _created(stack, name, new[name])
        elif found := list(_of_resource(old[name], new[name])):
            yield _updated(stack, name, new, found)
    for name in reversed(_in_order(assumptions.section(before.template, "resources"))):
        if name not in new:
            yield _deleted(stack, name, old[name])


def _created(stack: str, name: str, resource: Mapping[str, Any]) -> steps.Step:
    rest = {key: value for key, value in resource.items() if key not in ("type", "properties")}
    details = {"stack": stack, "properties": resource.get("properties") or {}, **rest}
    summary = f"Create the {_called(name, resource)}"
    return steps.Step(kind="create", target=name, type=_type(resource), summary=summary, details=details)


def _updated(stack: str, name: str, resources: Mapping[str, Any], found: list[steps.Change]) -> steps.Step:
    resource = resources[name]
    effects = {change.effect for change in found}
    effect = next((each for each in _GRAVITY if each in effects), replacement.UNKNOWN)
    changed = list(dict.fromkeys(_head(change.path) for change in found))
    details: dict[str, Any] = {"stack": stack, "effect": effect, "changed": changed, **_listed(found)}
    if effect == replacement.REPLACE:
        details["affects"] = [other for other, body in resources.items() if name in _references(body)]
    summary = f"Update the {_called(name, resource)}: {', '.join(changed)}"
    if effect in _MEANS:
        summary += f" ({_MEANS[effect]})"
    return steps.Step(
        kind="update", target=name, type=_type(resource), summary=summary, details=details, unseen=resource
    )


def _deleted(stack: str, name: str, resource: Mapping[str, Any]) -> steps.Step:
    called = _called(name, resource)
    details: dict[str, Any] = {"stack": stack}
    if _is_kept(resource):
        details["effect"] = KEPT
        summary = f"Keep the {called}: it leaves the stack {stack} and is not deleted (deletion_policy Retain)"
        return steps.Step(kind="update", target=name, type=_type(resource), summary=summary, details=details)
    if goes := list(_goes_with(resource)):
        details["goes_with"] = goes
    if policy := resource.get("deletion_policy"):
        details["deletion_policy"] = policy
    return steps.Step(
        kind="delete",
        target=name,
        type=_type(resource),
        summary=f"Delete the {called}" + (" after a snapshot" if str(policy).lower() == "snapshot" else ""),
        details=details,
        unseen=resource,
    )


def _goes_with(resource: Mapping[str, Any]) -> Iterator[str]:
    """What ends with a resource and has no step of its own."""
    properties = _map(resource, "properties")
    if _type(resource) != "OS::Nova::Server":
        return
    devices = [
        device
        for key in ("block_device_mapping", "block_device_mapping_v2")
        for device in properties.get(key) or []
        if isinstance(device, Mapping)
    ]
    if properties.get("image"):
        yield "its disk"
    for device in devices:
        if str(device.get("delete_on_termination")).lower() == "true":
            source = device.get("volume_id") or device.get("image") or device.get("device_name") or "one of its own"
            shown = source if isinstance(source, str) else json.dumps(source, default=str)
            yield f"the volume {shown} (delete_on_termination)"


def _new_stack(stack: str, after: Pushed) -> steps.Step:
    details: dict[str, Any] = {"stack": stack}
    told = {
        "parameters": after.values(),
        "environment": _told(after.settings(), after),
        "files": _files(after),
        "outputs": list(assumptions.section(after.template, "outputs")),
    }
    details.update({name: value for name, value in told.items() if value})
    unseen = {key: value for key, value in after.template.items() if key != "resources"}
    summary = f"Create the stack {stack}"
    return steps.Step(kind="create", target=stack, type=STACK, summary=summary, details=details, unseen=unseen)


def _changed_stack(stack: str, before: Pushed, after: Pushed) -> steps.Step | None:
    found = list(_of_parameters(before.values(), after.values()))
    for key in {**after.template, **before.template}:
        if key not in _TOLD_ELSEWHERE:
            sides = [_veiled(side.template.get(key, steps.ABSENT), {}, False) for side in (before, after)]
            found.extend(differences.between(key, sides[0], sides[1], key))
    found.extend(differences.between("parameter_definitions", _definitions(before), _definitions(after)))
    details: dict[str, Any] = {"stack": stack}
    untold = []
    if before.environment is not None:
        found.extend(differences.between("environment", _settled(before, after), _settled(after, after)))
    elif after.settings():
        untold.append("environment")
    if before.files is not None:
        found.extend(differences.between("files", _files(before), _files(after)))
    elif after.files:
        untold.append("files")
    if untold:
        details["unknown"] = f"whether {' and '.join(untold)} change: the cloud does not tell what there was"
    if not found and not untold:
        return None
    changed = list(dict.fromkeys(_head(change.path) for change in found))
    details.update({"changed": changed, **_listed(found)})
    summary = f"Update the stack {stack}" + (f": {', '.join(changed)}" if changed else "")
    return steps.Step(
        kind="update",
        target=stack,
        type=STACK,
        summary=summary,
        details=details,
        unseen=[after.settings(), after.files],
    )


def _files(side: Pushed) -> dict[str, steps.Opaque]:
    return {name: steps.Opaque("file", str(text)) for name, text in (side.files or {}).items()}


def _definitions(side: Pushed) -> dict[str, Any]:
    """The parameters of the template, the defaults of hidden ones veiled."""
    return {
        name: {
            key: steps.Secret(part) if key == "default" and _is_hidden(definition) else _veiled(part, {}, False)
            for key, part in definition.items()
        }
        for name, definition in assumptions.section(side.template, "parameters").items()
    }


def _told(settings: Mapping[str, Any], side: Pushed) -> dict[str, Any]:
    """An environment with the values of hidden parameters veiled."""
    hidden = side.hidden_names()
    told: dict[str, Any] = {}
    for key, part in settings.items():
        if key in ("parameters", "parameter_defaults") and isinstance(part, Mapping):
            told[key] = {
                name: steps.Secret(value) if name in hidden else _veiled(value, {}, False)
                for name, value in part.items()
            }
        else:
            told[key] = _veiled(part, {}, False)
    return told


def _of_parameters(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[steps.Change]:
    for name in {**after, **before}:
        path, old, new = differences.within("parameters", name), before.get(name), after.get(name)
        if _is_untold(old) and name in after:
            yield steps.Change(path=path, before=old, after=new, note="Heat hides what it was: it may be the same")
        else:
            yield from differences.between(path, before.get(name, steps.ABSENT), after.get(name, steps.ABSENT), name)


def _settled(side: Pushed, after: Pushed) -> dict[str, Any]:
    """The environment without what Heat adds to it, and without the parameters that are told by themselves."""
    settings = side.settings()
    given = {name: value for name, value in _map(settings, "parameters").items() if name not in after.parameters}
    defined = assumptions.section(after.template, "parameters")
    left = {name: value for name, value in given.items() if name not in defined}
    registry = {key: value for key, value in _map(settings, "resource_registry").items() if value not in ({}, None)}
    kept = {"parameters": left, "resource_registry": registry}
    kept["parameter_defaults"] = {
        name: value for name, value in _map(settings, "parameter_defaults").items() if name not in defined
    }
    return {name: _veiled(value, {}, False) for name, value in kept.items() if value}


def _of_resource(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[steps.Change]:
    if old.get("type") != new.get("type"):
        yield steps.Change(path="type", before=old.get("type"), after=new.get("type"), effect=replacement.REPLACE)
    properties = _map(new, "properties")
    for change in differences.between("properties", _map(old, "properties"), properties):
        if not (_is_untold(change.before) and change.after is not steps.ABSENT):
            effect = replacement.effect_of(_type(new), _head(change.path), properties)
            yield _with_effect(change, effect)
    for key in {**new, **old}:
        if key not in ("type", "properties"):
            effect = _RESOURCE_SECTIONS.get(key, replacement.IN_PLACE)
            found = differences.between(key, old.get(key, steps.ABSENT), new.get(key, steps.ABSENT), key)
            yield from (_with_effect(change, effect) for change in found)


def _with_effect(change: steps.Change, effect: str) -> steps.Change:
    return steps.Change(path=change.path, before=change.before, after=change.after, effect=effect)


def _listed(found: list[steps.Change]) -> dict[str, Any]:
    left = len(found) - MOST_CHANGES
    return {"changes": found[:MOST_CHANGES], **({"changes_left_out": left} if left > 0 else {})}


def _head(path: str) -> str:
    """The property of a path, as people call it."""
    for start in ("properties.", "parameters."):
        path = path.removeprefix(start)
    return path.replace("[", ".").split(".")[0].strip('"') or path


def _called(name: str, resource: Mapping[str, Any]) -> str:
    given = _map(resource, "properties").get("name")
    shown = given if isinstance(given, str) and given else name
    return f"{_WORDS.get(_type(resource), _type(resource))} {shown}"


def _type(resource: Mapping[str, Any]) -> str:
    return str(resource.get("type"))


def _is_kept(resource: Mapping[str, Any]) -> bool:
    return str(resource.get("deletion_policy")).lower() == "retain"


def _is_untold(value: Any) -> bool:
    return isinstance(value, steps.Secret) and value.value == UNTOLD


def _is_hidden(definition: Mapping[str, Any]) -> bool:
    return str(definition.get("hidden", False)).lower() == "true"


def _map(owner: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = owner.get(key)
    return found if isinstance(found, Mapping) else {}


def _normal(kind: str, value: Any) -> Any:
    """A parameter's value in one form: Heat gives back as text what was sent as something else."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        if value is None or value == UNTOLD:
            return value
        if kind == "number":
            number = float(value)
            return int(number) if number.is_integer() else number
        if kind == "boolean":
            return str(value).lower() in ("true", "t", "1", "on", "y", "yes")
        if kind == "json":
            return json.loads(value) if isinstance(value, str) else value
        if kind == "comma_delimited_list":
            listed = value.split(",") if isinstance(value, str) else value
            return [str(item).strip() for item in listed]
        if kind == "string" and isinstance(value, int | float):
            return str(value)
    return value


def _veiled(node: Any, values: Mapping[str, Any], is_boot_data: bool) -> Any:
    if isinstance(node, Mapping):
        if len(node) == 1 and "get_param" in node:
            return _parameter(node, values)
        return {key: _veiled(item, values, is_boot_data or key == "user_data") for key, item in node.items()}
    if isinstance(node, list | tuple):
        return [_veiled(item, values, is_boot_data) for item in node]
    if is_boot_data and isinstance(node, str):
        return steps.Opaque("boot data", node)
    return node


def _parameter(node: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    path = node["get_param"]
    keys = list(path) if isinstance(path, list | tuple) else [path]
    if not keys or not isinstance(keys[0], str) or keys[0] not in values:
        return node
    found = values[keys[0]]
    hidden = isinstance(found, steps.Secret)
    found = found.value if isinstance(found, steps.Secret) else found
    for key in keys[1:]:
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and str(key).isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return node
    return steps.Secret(found) if hidden else found


def _in_order(resources: Mapping[str, Any]) -> list[str]:
    """Names with what a resource refers to before it; loops, which Heat will refuse, in the order they are written."""
    ordered: dict[str, None] = {}

    def visit(name: str, above: frozenset[str]) -> None:
        if name in ordered or name in above or name not in resources:
            return
        for other in _references(resources[name]):
            visit(other, above | {name})
        ordered[name] = None

    for name in resources:
        visit(name, frozenset())
    return list(ordered)


def _references(node: Any) -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("get_resource", "depends_on") and isinstance(value, str):
                yield value
            elif key in ("get_attr", "depends_on") and isinstance(value, list):
                yield from (str(item) for item in (value[:1] if key == "get_attr" else value))
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


_WORDS = {  # how people call what they pay for
    "OS::Nova::Server": "server",
    "OS::Nova::KeyPair": "key pair",
    "OS::Nova::ServerGroup": "server group",
    "OS::Cinder::Volume": "volume",
    "OS::Cinder::VolumeAttachment": "volume attachment",
    "OS::Neutron::Net": "network",
    "OS::Neutron::Subnet": "subnet",
    "OS::Neutron::Port": "port",
    "OS::Neutron::Router": "router",
    "OS::Neutron::RouterInterface": "router interface",
    "OS::Neutron::FloatingIP": "floating address",
    "OS::Neutron::FloatingIPAssociation": "association of the floating address",
    "OS::Neutron::SecurityGroup": "security group",
    "OS::Heat::RandomString": "random text",
}
