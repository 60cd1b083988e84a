"""Whether the cloud has what a model names, and lets the project have so much of it: the cloud's part of a check.

The cloud is asked for everything at once and only for a moment, as somebody waits. What it does not say in time is told
as a note, not as a problem: it may be there.
"""

from __future__ import annotations

import concurrent.futures
import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dsl
from engine import quotas, wishes
from engine.clouds import ports, services

LOG = logging.getLogger(__name__)

PATIENCE = 15.0  # seconds for all questions together
AT_ONCE = 6  # questions that are open at a time
SHOWN = 8  # names of what there is, in one problem

# By kind: what it is called, where it is listed, and what else an item of that list has to be.
Item = Mapping[str, Any]
NAMES: Mapping[str, tuple[str, str, Callable[[Item], bool]]] = {
    "flavors": ("flavor", "flavors", lambda item: True),
    "images": ("image", "images", lambda item: True),
    "key_pairs": ("key pair", "key_pairs", lambda item: True),
    "availability_zones": ("availability zone", "availability_zones", lambda item: bool(item.get("available", True))),
    "security_groups": ("security group", "security_groups", lambda item: True),
    "networks": ("network", "networks", lambda item: True),
    "external_networks": ("external network", "networks", lambda item: bool(item.get("router:external"))),
    "subnets": ("subnet", "subnets", lambda item: True),
    "routers": ("router", "routers", lambda item: True),
    "volumes": ("volume", "volumes", lambda item: True),
}
UNIQUE = ("images", "networks", "external_networks", "security_groups")  # of which Heat takes no ambiguous name
NOVA, NEUTRON = "compute service (Nova)", "network service (Neutron)"
SERVICES = {  # which keep what is listed
    "flavors": NOVA,
    "key_pairs": NOVA,
    "availability_zones": NOVA,
    "images": "image service (Glance)",
    "security_groups": NEUTRON,
    "networks": NEUTRON,
    "subnets": NEUTRON,
    "routers": NEUTRON,
    "volumes": "block storage (Cinder)",
}


@dataclass
class Answer:
    """What a cloud has to say about a model: `problems` as of `engine.check`, and `notes` `[{"region", "message"}]`."""

    problems: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def answer(library: dsl.Library, model: Mapping[str, Any], cloud: services.Cloud, project_id: str) -> Answer:
    """Holds a model against a cloud that tells what it has; nothing is said about others."""
    found = Answer()
    if cloud.inventory is None:
        return found
    classes = wishes.Classes(library)
    wanted = list(wishes.resources(classes, model.get("Objects")))
    had = list(wishes.resources(classes, model.get("ObjectsCopy")))
    if not wanted:
        return found
    try:
        elsewhere = _regions(found, wanted, cloud.inventory.regions())
    except services.NoAccess as error:
        access = "access to the project: a trust of one of its users, or a role of the service's user there"
        found.problems.append(_problem(None, str(error), access, "none", "Deploy as a user of the project"))
        return found
    except ports.CloudError as error:
        found.notes.append({"region": None, "message": f"The cloud was not asked what it has: {error}"})
        return found
    wanted = [resource for resource in wanted if resource.region not in elsewhere]
    facts = _Facts(cloud.orchestration, cloud.inventory, _stacks(model, project_id))
    facts.ask(wanted)
    found.notes.extend(facts.notes())
    for resource in wanted:
        found.problems.extend(_missing(resource, facts))
    for region in sorted({resource.region for resource in wanted}):
        here = [resource for resource in wanted if resource.region == region]
        before = [resource for resource in had if resource.region == region]
        found.problems.extend(_excesses(model, region, here, before, facts))
    return found


class _Facts:
    """What was asked of the cloud, and what it has said until now."""

    def __init__(
        self, orchestration: ports.Orchestration, inventory: services.Inventory, stacks: Mapping[str, ports.Stack]
    ) -> None:
        self._orchestration = orchestration
        self._inventory = inventory
        self._stacks = stacks
        self._answers: dict[tuple[str, str], Any] = {}
        self._silent: dict[tuple[str, str], str] = {}  # why there is no answer

    def ask(self, wanted: Sequence[wishes.Resource]) -> None:
        """Asks what the resources need, all at once."""
        questions: dict[tuple[str, str], Callable[[], Any]] = {}
        for resource in wanted:
            for kind in _questions(resource):
                question = self._question(resource.region, kind)
                if question is not None:
                    questions[resource.region, kind] = question
        pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check")
        asked = {pool.submit(question): key for key, question in questions.items()}
        concurrent.futures.wait(asked, PATIENCE)
        pool.shutdown(wait=False, cancel_futures=True)
        for future, key in asked.items():
            if not future.done() or future.cancelled():
                self._silent[key] = f"no answer within {PATIENCE:.0f} s"
                continue
            error = future.exception()
            if error is None:
                self._answers[key] = future.result()
            else:
                if not isinstance(error, ports.CloudError):
                    LOG.error("check: %s of region %r", *reversed(key), exc_info=error)
                self._silent[key] = str(error)

    def items(self, region: str, kind: str) -> list[dict[str, Any]] | None:
        """What is in a list; None where that is not known. Raises `KeyError` where the region has no such service."""
        if (region, kind) not in self._answers:
            return None
        found: list[dict[str, Any]] | None = self._answers[region, kind]
        if found is None:
            raise KeyError(kind)
        return found

    def lacks(self, region: str, question: str) -> bool:
        """Whether the region has no service that could answer."""
        return (region, question) in self._answers and self._answers[region, question] is None

    def quotas(self, region: str) -> dict[str, services.Quota]:
        """All quotas of a region that are known."""
        found: dict[str, services.Quota] = {}
        for service in ("compute", "network", "block-storage"):
            found.update(self._answers.get((region, f"quotas of {service}")) or {})
        return found

    def stack(self, region: str) -> Mapping[str, Any]:
        """The template of the environment's stack in a region, {} where there is none."""
        return self._answers.get((region, "the stack")) or {}

    def notes(self) -> Iterator[dict[str, Any]]:
        """What was not found out, by region and reason."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for (region, kind), reason in self._silent.items():
            grouped.setdefault((region, reason), []).append(kind.replace("_", " "))
        for (region, reason), kinds in grouped.items():
            yield {"region": region or None, "message": f"Not looked at: {', '.join(sorted(kinds))} ({reason})"}

    def _question(self, region: str, kind: str) -> Callable[[], Any] | None:
        if kind == "the stack":
            stack = self._stacks.get(region)
            return None if stack is None else lambda: self._orchestration.current(stack)
        if kind.startswith("quotas of "):
            return lambda: self._inventory.quotas(region, kind.removeprefix("quotas of "))
        if kind not in self._inventory.kinds:
            return None
        return lambda: self._inventory.list(region, kind)


def _questions(resource: wishes.Resource) -> Iterator[str]:
    """What has to be asked because of a resource."""
    for _name, kind, _value in _mentions(resource):
        yield NAMES[kind][1]
    if resource.pattern:
        return
    if wishes.INSTANCE in resource.kinds:
        yield from ("flavors", "quotas of compute", "quotas of network", "the stack")
    if wishes.SHARED_IP in resource.kinds:
        yield from ("quotas of network", "the stack")
    if wishes.VOLUME in resource.kinds:
        yield from ("quotas of block-storage", "the stack")


def _mentions(resource: wishes.Resource) -> Iterator[tuple[str, str, str]]:
    """What a resource names: property, kind, name or id."""
    for kind in sorted(resource.kinds):
        for name, what in wishes.NAMED.get(kind, {}).items():
            given = resource.properties.get(name)
            for value in given if isinstance(given, list) else [given]:
                if isinstance(value, str) and value:
                    yield name, what, value


def _stacks(model: Mapping[str, Any], project_id: str) -> dict[str, ports.Stack]:
    """The environment's stacks by region, as its regions have named them."""
    names = {
        row[0]: row[3]
        for row in model.get("Attributes") or []
        if isinstance(row, list | tuple) and len(row) >= 4 and row[2] == "generatedStackName" and row[3]
    }
    found: dict[str, ports.Stack] = {}
    for part in ("ObjectsCopy", "Objects"):
        root = model.get(part)
        regions = root.get("regions") if isinstance(root, dict) else None
        for region in regions.values() if isinstance(regions, dict) else []:
            header = region.get("?") if isinstance(region, dict) else None
            if isinstance(header, dict) and header.get("id") in names:
                name = str(region.get("name") or "")
                stack = f"murano-{names[header['id']]}"
                found[name] = ports.Stack(name=stack, project_id=project_id, region_name=name or None)
    return found


def _regions(found: Answer, wanted: Sequence[wishes.Resource], there: Sequence[str] | None) -> set[str]:
    """Tells of regions that are not there; their names."""
    if there is None:
        return set()
    told: dict[tuple[str | None, str | None, str], str] = {}
    for resource in wanted:
        if resource.stated_region is not None and resource.region not in there:
            told[resource.stated_region] = resource.region
    for (object_id, type_name, path), region in told.items():
        about = (object_id, type_name, path)
        found.problems.append(_not_there(about, "region", region, there, ""))
    return set(told.values())


def _missing(resource: wishes.Resource, facts: _Facts) -> Iterator[dict[str, Any]]:
    """What a resource names and the cloud has not."""
    if wishes.VOLUME in resource.kinds and facts.lacks(resource.region, "quotas of block-storage"):
        service = SERVICES["volumes"]
        about = (resource.object_id, resource.type, resource.path)
        message = f"There is no {service}{_where(resource.region)}, and so no volume"
        yield _problem(about, message, f"a region with {service}", "none", "Choose another region, or do without")
    for name, kind, value in _mentions(resource):
        called, listed, fits = NAMES[kind]
        about = (resource.object_id, resource.type, resource.at(name))
        where = _where(resource.region)
        try:
            items = facts.items(resource.region, listed)
        except KeyError:
            service = SERVICES[listed]
            message = f"There is no {service}{where}, and so no {called} {value!r}"
            yield _problem(about, message, f"a region with {service}", "none", "Choose another region, or do without")
            continue
        if items is None:
            continue
        fitting = [item for item in items if fits(item)]
        # A zone may be named with a host in it, for administrators: zone:host.
        wanted = value.partition(":")[0] if kind == "availability_zones" else value
        same = [item for item in fitting if wanted in (item.get("id"), item.get("name"))]
        if not same:
            yield _not_there(about, called, value, [_shown(item) for item in fitting], where)
        elif len(same) > 1 and kind in UNIQUE:
            ids = ", ".join(str(item.get("id")) for item in same[:SHOWN])
            message = f"There are {len(same)} {called}s named {value!r}{where}"
            yield _problem(about, message, f"one {called}", ids, f"Set {resource.at(name)} to the id of one of them")


def _excesses(
    model: Mapping[str, Any],
    region: str,
    wanted: Sequence[wishes.Resource],
    had: Sequence[wishes.Resource],
    facts: _Facts,
) -> Iterator[dict[str, Any]]:
    def flavor_of(name: str) -> Mapping[str, Any] | None:
        try:
            items = facts.items(region, "flavors") or []
        except KeyError:
            return None
        return next((item for item in items if name in (item["id"], item["name"])), None)

    root = model.get("Objects")
    header = root.get("?") if isinstance(root, dict) else None
    about = (str((header or {}).get("id")), wishes.ENVIRONMENT, "")
    for excess in quotas.excesses(wanted, had, facts.stack(region), flavor_of, facts.quotas(region)):
        yield _problem(about, f"{excess.message}{_where(region)}", excess.expected, excess.found, excess.fix)


def _not_there(
    about: tuple[str | None, str | None, str], called: str, value: str, there: Sequence[str], where: str
) -> dict[str, Any]:
    names = sorted(set(there))
    expected = f"one of {', '.join(names[:SHOWN])}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    fix = f"Choose a {called} that is there, or have {value!r} made"
    close = difflib.get_close_matches(value[:100], names, 1, 0.6)
    if close:
        fix = f"Did you mean {close[0]!r}?"
    article = "an" if called[0] in "aei" else "a"
    return _problem(
        about,
        f"There is no {called} {value!r}{where}",
        expected if names else f"{article} {called} that is there; the project can use none",
        value,
        fix,
    )


def _where(region: str) -> str:
    return f" in region {region}" if region else ""


def _shown(item: Item) -> str:
    return str(item.get("name") or item.get("id"))


def _problem(
    about: tuple[str | None, str | None, str] | None, message: str, expected: str, found: str, fix: str
) -> dict[str, Any]:
    object_id, type_name, path = about or (None, None, "")
    return {
        "object_id": object_id,
        "type": type_name,
        "path": path,
        "message": message,
        "expected": expected,
        "found": found,
        "fix": fix,
    }
