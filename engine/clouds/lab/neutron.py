"""The lab's networks as Neutron would list them, for packages' network explorers (clouds/services.py: Network)."""

from __future__ import annotations

from typing import Any, TypeAlias

from engine.clouds.lab.site import (
    EXTERNAL_NETWORK_ID,
    EXTERNAL_SUBNET_ID,
    OWN_NETWORK_ID,
    OWN_SUBNET_ID,
    ROUTER_ID,
    Site,
)

# The port names a method `list`, which hides the type in the class.
Items: TypeAlias = list[dict[str, Any]]


class LabNetwork:
    """Implements the Network port over a site; one region, whatever it is called."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def list(self, region: str, kind: str) -> Items:
        """All `networks`, `subnets`, `ports`, `routers` or `extensions`; raises ValueError for another kind."""
        listing = {
            "networks": self._networks, "subnets": self._subnets, "ports": self._ports,
            "routers": self._routers, "extensions": self._extensions,
        }.get(kind)  # fmt: skip
        if listing is None:
            raise ValueError(f"expected networks, subnets, ports, routers or extensions, found {kind!r}")
        return listing()

    def create_router(self, region: str, name: str, external_network_id: str) -> dict[str, Any]:
        """The lab's only router, under the name asked for."""
        return {**self._routers()[0], "name": name}

    def _networks(self) -> Items:
        subnets = self._site.objects.all("subnet")
        external = {
            "id": EXTERNAL_NETWORK_ID, "name": self._site.external_network_name, "router:external": True,
            "subnets": [EXTERNAL_SUBNET_ID], "status": "ACTIVE", "admin_state_up": True, "shared": True,
            "tenant_id": "",
        }  # fmt: skip
        return [external] + [
            {
                "id": item["id"], "name": item["name"], "router:external": False, "status": "ACTIVE",
                "subnets": [subnet["id"] for subnet in subnets if subnet["network_id"] == item["id"]],
                "admin_state_up": True, "shared": item["stack"] is None, "tenant_id": "",
            }
            for item in self._site.objects.all("net")
        ]  # fmt: skip

    def _subnets(self) -> Items:
        floating = self._site.range.floating
        external = {
            "id": EXTERNAL_SUBNET_ID, "name": "external", "network_id": EXTERNAL_NETWORK_ID, "cidr": str(floating),
            "gateway_ip": str(floating[1]), "ip_version": 4, "enable_dhcp": False, "dns_nameservers": [],
            "tenant_id": "",
        }  # fmt: skip
        # The lab's own addresses, among which no environment may look for its network's.
        own = {**external, "id": OWN_SUBNET_ID, "name": "lab", "network_id": OWN_NETWORK_ID,
               "cidr": str(self._site.range.own), "gateway_ip": self._site.range.service}  # fmt: skip
        return [external, own] + [
            {
                **{key: item[key] for key in ("id", "name", "network_id", "cidr", "gateway_ip", "dns_nameservers")},
                "ip_version": 4, "enable_dhcp": True, "tenant_id": "",
            }
            for item in self._site.objects.all("subnet")
        ]  # fmt: skip

    def _ports(self) -> Items:
        servers = [
            {
                **{key: item[key] for key in ("id", "name", "network_id", "fixed_ips", "mac_address")},
                "device_id": item["device_id"] or "", "device_owner": "compute:nova" if item["device_id"] else "",
                "status": "ACTIVE", "tenant_id": "",
            }
            for item in self._site.objects.all("port")
        ]  # fmt: skip
        # Every network hangs at the router, and the router at the external network.
        interfaces = [
            {
                "id": f"{item['id']}-router", "name": "", "network_id": item["network_id"], "device_id": ROUTER_ID,
                "device_owner": "network:router_interface", "status": "ACTIVE", "tenant_id": "",
                "fixed_ips": [{"subnet_id": item["id"], "ip_address": item["gateway_ip"]}],
            }
            for item in self._site.objects.all("subnet")
        ]  # fmt: skip
        gateway = {
            "id": f"{EXTERNAL_SUBNET_ID}-router", "name": "", "network_id": EXTERNAL_NETWORK_ID, "device_id": ROUTER_ID,
            "device_owner": "network:router_gateway", "status": "ACTIVE", "tenant_id": "",
            "fixed_ips": [{"subnet_id": EXTERNAL_SUBNET_ID, "ip_address": str(self._site.range.floating[1])}],
        }  # fmt: skip
        own = {
            **gateway, "id": f"{OWN_SUBNET_ID}-router", "network_id": OWN_NETWORK_ID,
            "device_owner": "network:router_interface",
            "fixed_ips": [{"subnet_id": OWN_SUBNET_ID, "ip_address": self._site.range.service}],
        }  # fmt: skip
        return [*servers, *interfaces, gateway, own]

    def _routers(self) -> Items:
        gateway = {"network_id": EXTERNAL_NETWORK_ID, "enable_snat": False}
        return [
            {"id": ROUTER_ID, "name": self._site.router_name, "status": "ACTIVE", "admin_state_up": True,
             "tenant_id": "", "external_gateway_info": gateway}
        ]  # fmt: skip

    def _extensions(self) -> Items:
        return [
            {"alias": "router", "name": "Neutron L3 Router", "description": "", "updated": "", "links": []},
            {"alias": "security-group", "name": "security-group", "description": "kept by the lab, not enforced",
             "updated": "", "links": []},
        ]  # fmt: skip
