"""io.murano.system.NetworkExplorer: which networks, routers and free address ranges a region has.

spec/core-library §9.7. The lists are effects, everything that is decided from them is here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Iterable, Iterator

import dsl
from engine.system.context import host_context

# Defaults of [networking] (spec/core-library §13).
DEFAULTS: dict[str, object] = {
    "max_environments": 250,
    "max_hosts": 250,
    "env_ip_template": "10.0.0.0",
    "default_dns": [],
    "external_network": "ext-net",
    "router_name": "murano-default-router",
    "create_router": True,
}
ROUTER_INFO_EXCEPTION = "murano.common.exceptions.RouterInfoException"
GATEWAY_PATIENCE = 30.0  # seconds that a router may be without its gateway, for who else may be just making it
GATEWAY_PAUSE = 5.0


@dsl.native
class NetworkExplorer:
    def __init__(self, this: dsl.ObjectHandle, region_name: str | None = None) -> None:
        self._this = this
        self._region = region_name or ""

    @dsl.method
    def get_default_router(self) -> str:
        """Id of the project's router of the configured name, made if it is not there (and may be made).

        Raises KeyError when there is none, RouterInfoException for a router that stays without a gateway.
        """
        name = str(self._setting("router_name"))
        waited = 0.0
        while True:
            router = next((router for router in self._list("routers") if self._is_ours(router, name)), None)
            if router is None:
                return self._create_router(name)
            if router.get("external_gateway_info"):
                return str(router["id"])
            if waited >= GATEWAY_PATIENCE:
                raise dsl.SystemFailure(
                    (ROUTER_INFO_EXCEPTION,),
                    f"router {name} ({router['id']}) has no external gateway: set one, or remove the router",
                )
            self._this.effect("sleep", seconds=GATEWAY_PAUSE)
            waited += GATEWAY_PAUSE

    @dsl.method
    def get_available_cidr(self, router_id: str | None, net_id: str, ip_version: int = 4) -> str | None:
        """A range that no subnet behind the router uses, for `max_hosts` hosts; null when all are taken."""
        taken = [network for network in self._ranges_behind(router_id) if network.version == ip_version]
        candidates = list(self._candidates(ip_version))
        # Networks of different environments begin their search at different places, the same one always at the same.
        start = int.from_bytes(hashlib.sha256(net_id.encode()).digest()[:8], "big") % len(candidates)
        for candidate in candidates[start:] + candidates[:start]:
            if not any(candidate.overlaps(network) for network in taken):
                return str(candidate)
        return None

    @dsl.method
    def get_default_dns(self, ip_version: int = 4) -> list[str]:
        configured = self._setting("default_dns")
        servers = configured if isinstance(configured, list | tuple) else str(configured).split(",")
        addresses = [str(server).strip() for server in servers if str(server).strip()]
        return [address for address in addresses if ipaddress.ip_address(address).version == ip_version]

    @dsl.method
    def get_external_network_id_for_router(self, router_id: str) -> str | None:
        router = next((router for router in self._list("routers") if router.get("id") == router_id), None)
        if router is None:
            raise KeyError(f"router {router_id} is not visible to this project")
        gateway = router.get("external_gateway_info")
        return str(gateway["network_id"]) if isinstance(gateway, dict) and gateway.get("network_id") else None

    @dsl.method
    def get_external_network_id_for_network(self, net_id: str) -> str | None:
        """The external network that a router leads to from this one; null if none does."""
        networks = {network["id"]: network for network in self._list("networks")}
        network = networks.get(net_id)
        if network is not None and network.get("router:external"):
            return net_id
        routers = {router["id"]: router for router in self._list("routers")}
        for port in self._list("ports"):
            if port.get("network_id") == net_id and str(port.get("device_owner")) == "network:router_interface":
                gateway = (routers.get(port.get("device_id")) or {}).get("external_gateway_info")
                if isinstance(gateway, dict) and gateway.get("network_id"):
                    return str(gateway["network_id"])
        return None

    @dsl.method
    def list_networks(self) -> list[dict]:
        return self._list("networks")

    @dsl.method
    def list_subnetworks(self) -> list[dict]:
        return self._list("subnets")

    @dsl.method
    def list_ports(self) -> list[dict]:
        return self._list("ports")

    @dsl.method
    def list_neutron_extensions(self) -> list[dict]:
        return self._list("extensions")

    def _create_router(self, name: str) -> str:
        if not self._setting("create_router"):
            raise KeyError(f"there is no router {name} and [networking] create_router is off")
        wanted = self._setting("external_network")
        external = next(
            (
                network
                for network in self._list("networks")
                if wanted in (network.get("id"), network.get("name")) and network.get("router:external")
            ),
            None,
        )
        if external is None:
            raise KeyError(
                f"router {name} cannot be made: there is no external network {wanted} ([networking] external_network)"
            )
        router = self._this.effect(
            "network.create_router", region=self._region, name=name, external_network_id=external["id"]
        )
        return str(router["id"])

    def _is_ours(self, router: dict, name: str) -> bool:
        project = router.get("project_id") or router.get("tenant_id")
        return router.get("name") == name and project in (None, host_context(self._this.system).project_id)

    def _ranges_behind(self, router_id: str | None) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        if router_id is None:
            return
        subnets = {subnet["id"]: subnet for subnet in self._list("subnets")}
        for port in self._list("ports"):
            if port.get("device_id") != router_id:
                continue
            for address in port.get("fixed_ips") or []:
                subnet = subnets.get(address.get("subnet_id"))
                if subnet is not None and subnet.get("cidr"):
                    yield ipaddress.ip_network(subnet["cidr"], strict=False)

    def _candidates(self, ip_version: int) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        base = ipaddress.ip_address(str(self._setting("env_ip_template")))
        if ip_version == 6 and isinstance(base, ipaddress.IPv4Address):
            base = ipaddress.IPv6Address(f"::ffff:{base}")
        network_bits = math.ceil(math.log2(int(str(self._setting("max_environments")))))
        host_bits = math.ceil(math.log2(int(str(self._setting("max_hosts")))))
        length = base.max_prefixlen - host_bits - network_bits
        if length < 0:
            raise ValueError("[networking] max_environments and max_hosts ask for more addresses than there are")
        whole = ipaddress.ip_network(f"{base}/{length}", strict=False)
        return whole.subnets(new_prefix=base.max_prefixlen - host_bits)

    def _list(self, kind: str) -> list[dict]:
        found = self._this.effect("network.list", region=self._region, kind=kind)
        return [dict(item) for item in found] if isinstance(found, list | tuple) else []

    def _setting(self, name: str) -> object:
        # As an effect, because a replay has to see what the deployment saw.
        value = self._this.effect("config", group="networking", name=name, readAsFile=False)
        return DEFAULTS[name] if value is None else value
