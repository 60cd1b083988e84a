"""Whether what a model asks for fits into the project's quotas, without counting twice what the environment has.

Pure: resources of the model, the environment's stacks as they are, and quotas come in, problems go out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine import wishes
from engine.clouds import services

UNLIMITED = -1
NAMES_SHOWN = 10  # of those who want something, in one problem
SECURITY_GROUP = "OS::Neutron::SecurityGroup"

# By quota: the service that keeps it, what people call it, how to need less.
QUOTAS: Mapping[str, tuple[str, str, str]] = {
    "instances": ("compute", "servers", "remove servers"),
    "cores": ("compute", "cores", "choose smaller flavors"),
    "ram": ("compute", "MiB of memory", "choose smaller flavors"),
    "floating_ips": ("network", "floating addresses", "set assignFloatingIp to false where none is needed"),
    "security_groups": ("network", "security groups", "let servers share securityGroupName"),
    "volumes": ("block-storage", "volumes", "remove volumes"),
    "gigabytes": ("block-storage", "GiB of volumes", "make volumes smaller"),
}

FlavorOf = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class Share:
    """What somebody takes of a quota."""

    quota: str
    amount: int
    who: str


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A quota that does not suffice."""

    quota: str
    more: int  # beyond what the environment has already
    left: int
    limit: int
    wants: Sequence[Share]  # of all that is to be

    @property
    def service(self) -> str:
        return QUOTAS[self.quota][0]

    @property
    def message(self) -> str:
        return f"{self.more} more {QUOTAS[self.quota][1]} are needed, and the project's quota has {self.left} left"

    @property
    def expected(self) -> str:
        return f"at most {self.left} more, as {self.limit} are allowed"

    @property
    def found(self) -> str:
        shown = [f"{share.who}: {share.amount}" for share in self.wants[:NAMES_SHOWN]]
        rest = len(self.wants) - len(shown)
        return ", ".join([*shown, *([f"{rest} others"] if rest > 0 else [])])

    @property
    def fix(self) -> str:
        return f"Free some in the project, {QUOTAS[self.quota][2]}, or have the quota raised"


def excesses(
    wanted: Iterable[wishes.Resource],
    had: Iterable[wishes.Resource],
    stack: Mapping[str, Any],
    flavor_of: FlavorOf,
    quotas: Mapping[str, services.Quota],
) -> Iterator[Excess]:
    """The quotas of one region that deploying `wanted`, in place of `had`, would exceed.

    `stack` is the template that the region's stack has now; what is in it is used already.
    """
    wanted = [resource for resource in wanted if not resource.pattern]
    present = {resource.object_id: resource for resource in (*wanted, *had) if not resource.pattern}
    wants, has = defaultdict[str, list[Share]](list), defaultdict[str, int](int)
    for resource in wanted:
        for share in _shares(resource, str(resource.properties.get("flavor")), flavor_of):
            wants[share.quota].append(share)
    for resource in present.values():
        for share in _present(resource, stack, flavor_of):
            has[share.quota] += share.amount
    for share in _groups(wanted, stack):
        wants[share.quota].append(share)
    for name, quota in quotas.items():
        more = sum(share.amount for share in wants[name]) - has[name]
        left = max(0, quota.limit - quota.used)
        if quota.limit != UNLIMITED and more > left:
            largest = sorted(wants[name], key=lambda share: -share.amount)
            yield Excess(quota=name, more=more, left=left, limit=quota.limit, wants=largest)


def _shares(resource: wishes.Resource, flavor_name: str, flavor_of: FlavorOf) -> Iterator[Share]:
    """What a resource takes of each quota, as far as its properties tell."""
    given = resource.properties
    who = str(given.get("name") or resource.object_id)
    if wishes.INSTANCE in resource.kinds:
        yield Share(quota="instances", amount=1, who=who)
        flavor = flavor_of(flavor_name)
        if flavor is not None:
            yield Share(quota="cores", amount=_number(flavor.get("vcpus")), who=who)
            yield Share(quota="ram", amount=_number(flavor.get("ram")), who=who)
    if resource.kinds & {wishes.INSTANCE, wishes.SHARED_IP} and given.get("assignFloatingIp") is True:
        yield Share(quota="floating_ips", amount=1, who=who)
    if wishes.VOLUME in resource.kinds:
        yield Share(quota="volumes", amount=1, who=who)
        yield Share(quota="gigabytes", amount=_number(given.get("size")), who=who)


def _present(resource: wishes.Resource, stack: Mapping[str, Any], flavor_of: FlavorOf) -> Iterator[Share]:
    """What a resource has already, by the names the core library gives things in stacks (spec/core-library §11)."""
    given, there = resource.properties, _section(stack, "resources")
    name, has_id = str(given.get("name")), bool(given.get("openstackId"))
    flavor_name = str(given.get("flavor"))
    if wishes.INSTANCE in resource.kinds and (server := there.get(name)) is not None:
        has_id, flavor_name = True, str((server.get("properties") or {}).get("flavor"))
    if wishes.VOLUME in resource.kinds:
        has_id = has_id or f"vol-{resource.object_id}" in there
    address = bool(given.get("floatingIpAddress")) or bool(
        {f"{name}-floatingIPaddress", f"Shared-Floating-ip-{resource.object_id}-val"} & set(_section(stack, "outputs"))
    )
    for share in _shares(resource, flavor_name, flavor_of):
        if address if share.quota == "floating_ips" else has_id:
            yield share


def _groups(wanted: Sequence[wishes.Resource], stack: Mapping[str, Any]) -> Iterator[Share]:
    """The security groups that servers need and that are not there: one for all, and those they name themselves."""
    servers = [resource.properties for resource in wanted if wishes.INSTANCE in resource.kinds]
    there = {name for name, each in _section(stack, "resources").items() if each.get("type") == SECURITY_GROUP}
    named = {given["securityGroupName"] for given in servers if isinstance(given.get("securityGroupName"), str)}
    if servers and not there:
        yield Share(quota="security_groups", amount=1, who="the environment")
    for name in sorted(named - there):
        yield Share(quota="security_groups", amount=1, who=name)


def _section(stack: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    found = stack.get(name)
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
