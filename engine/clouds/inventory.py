"""What there is to be used in an OpenStack: flavors, images, quotas and the like, read for checks of models.

Nothing is remembered and nothing is waited for long: whoever asks has somebody waiting for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from keystoneauth1 import adapter, identity, session
from keystoneauth1 import exceptions as keystone_exc

from engine.clouds import ports, services

ANSWER = 8.0  # seconds in which a service answers
MOST_PAGES = 20  # of a list


@dataclass(frozen=True)
class _Kind:
    """A list of one service: where it is, and what is told of an item."""

    service: str
    path: str
    key: str
    told: Callable[[Mapping[str, Any]], dict[str, Any]]


def _named(*more: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda item: {name: item.get(name) for name in ("id", "name", *more)}


def _key_pair(item: Mapping[str, Any]) -> dict[str, Any]:
    name = item["keypair"]["name"]
    return {"id": name, "name": name}


def _zone(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": item["zoneName"], "name": item["zoneName"], "available": item["zoneState"]["available"]}


KINDS: Mapping[str, _Kind] = {
    "flavors": _Kind("compute", "/flavors/detail", "flavors", _named("vcpus", "ram", "disk")),
    "key_pairs": _Kind("compute", "/os-keypairs", "keypairs", _key_pair),
    "availability_zones": _Kind("compute", "/os-availability-zone", "availabilityZoneInfo", _zone),
    # All that can be seen, those that only their id leads to included.
    "images": _Kind(
        "image", "/images?limit=1000&status=active&visibility=all", "images", _named("min_disk", "min_ram")
    ),
    "networks": _Kind("network", "/v2.0/networks", "networks", _named("router:external")),
    "subnets": _Kind("network", "/v2.0/subnets", "subnets", _named("network_id")),
    "routers": _Kind("network", "/v2.0/routers", "routers", _named()),
    "security_groups": _Kind("network", "/v2.0/security-groups", "security_groups", _named()),
    "volumes": _Kind("block-storage", "/volumes", "volumes", _named()),
}

# Names of what the services count, by ours: (limit, used).
COMPUTE_LIMITS = {
    "instances": ("maxTotalInstances", "totalInstancesUsed"),
    "cores": ("maxTotalCores", "totalCoresUsed"),
    "ram": ("maxTotalRAMSize", "totalRAMUsed"),
}
VOLUME_LIMITS = {
    "volumes": ("maxTotalVolumes", "totalVolumesUsed"),
    "gigabytes": ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
}
NETWORK_LIMITS = {"floating_ips": "floatingip", "security_groups": "security_group"}


class OpenStackInventory:
    """Implements `services.Inventory` with one session in one project."""

    kinds: ClassVar[frozenset[str]] = frozenset(KINDS)

    def __init__(self, keystone: session.Session, auth: identity.BaseIdentityPlugin, home: str | None) -> None:
        self._keystone = keystone
        self._auth = auth
        self._home = home

    def regions(self) -> list[str] | None:
        """Regions in which Heat is, as Keystone's catalog has them."""
        try:
            access = self._auth.get_access(self._keystone)
            endpoints = access.service_catalog.get_endpoints(service_type="orchestration")
        except keystone_exc.HttpError as error:
            if error.http_status in (401, 403, 404):
                raise services.NoAccess(f"Keystone lets the service not into the project: {error.message}") from error
            raise ports.CloudError(f"Keystone: {error}") from error
        except keystone_exc.ClientException as error:
            raise ports.CloudError(f"Keystone: {error}") from error
        return sorted({str(each["region"]) for found in endpoints.values() for each in found if each})

    def list(self, region: str, kind: str) -> list[dict[str, Any]] | None:
        """All items of one of KINDS."""
        known = KINDS[kind]
        service = self._service(known.service, region)
        found: list[dict[str, Any]] = []
        path: str | None = known.path
        for _page in range(MOST_PAGES):
            page = self._ask(service, path or "")
            if page is None:
                return None
            found.extend(known.told(item) for item in page[known.key])
            path = _next(page, known)
            if path is None:
                return found
        raise ports.CloudError(f"{known.service} has more {kind} than are looked at")

    def quotas(self, region: str, service: str) -> dict[str, services.Quota] | None:
        """What the project may have, and has, of a service's resources."""
        if service == "network":
            return self._network_quotas(region)
        limits = {"compute": COMPUTE_LIMITS, "block-storage": VOLUME_LIMITS}[service]
        page = self._ask(self._service(service, region), "/limits")
        if page is None:
            return None
        absolute = page["limits"]["absolute"]
        return {
            name: services.Quota(limit=absolute[limit], used=absolute[used])
            for name, (limit, used) in limits.items()
            if limit in absolute and used in absolute
        }

    def _network_quotas(self, region: str) -> dict[str, services.Quota] | None:
        project = self._auth.get_access(self._keystone).project_id
        page = self._ask(self._service("network", region), f"/v2.0/quotas/{project}/details.json")
        if page is None:
            return None
        counted = page["quota"]
        return {
            name: services.Quota(limit=counted[key]["limit"], used=counted[key]["used"] + counted[key]["reserved"])
            for name, key in NETWORK_LIMITS.items()
            if key in counted
        }

    def _service(self, service: str, region: str) -> adapter.Adapter:
        low, high = (
            ("2", "2.latest") if service == "image" else (None, None)
        )  # the only one without a version in its URL
        return adapter.Adapter(
            self._keystone,
            service_type=service,
            region_name=region or self._home,
            min_version=low,
            max_version=high,
        )

    def _ask(self, service: adapter.Adapter, path: str) -> Any:
        """The answer, None where the region has no such service. Raises `ports.CloudError`."""
        try:
            return service.get(path, timeout=ANSWER).json()
        except keystone_exc.EndpointNotFound:
            return None
        except (keystone_exc.ClientException, ValueError) as error:
            raise ports.CloudError(f"{service.service_type}: {error}") from error


def _next(page: Mapping[str, Any], kind: _Kind) -> str | None:
    """Where a list goes on, as a path of the service; services tell it in two ways."""
    following = page.get("next")
    for link in page.get(f"{kind.key}_links") or []:
        if link.get("rel") == "next":
            following = link["href"]
    if not following:
        return None
    here = urlsplit(kind.path).path
    return f"{here}?{urlsplit(urljoin('/', str(following))).query}"
