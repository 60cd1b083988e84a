"""Neutron's resources: networks are bridges, ports are addresses that a server takes up, floating addresses are routes.

All networks of a lab are routed to each other, as if by one router. Security groups are kept, not enforced.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

from engine.clouds.lab import addressing
from engine.clouds.lab import site as rooms
from engine.clouds.lab.resources.driver import Driver, ResourceError, mapping, sequence, text
from engine.clouds.lab.site import Site
from engine.clouds.lab.state import Record


class Net(Driver):
    """OS::Neutron::Net."""

    type = "OS::Neutron::Net"
    optional = frozenset(
        {
            *("admin_state_up", "availability_zone_hints", "dhcp_agent_ids", "dns_domain", "name"),
            *("port_security_enabled", "qos_policy", "shared", "tags", "tenant_id", "value_specs"),
        }
    )
    changeable = optional

    def create(self, site: Site, record: Record, stack: str) -> None:
        name = text(record.properties, "name") or f"{stack}-{record.id}"
        site.objects.put(record.physical, "net", name=name, stack=stack)
        site.raise_bridge(record.physical)

    def delete(self, site: Site, record: Record) -> None:
        _refuse_while_used(site, "network", [p for p in site.objects.all("port") if p["network_id"] == record.physical])
        if site.isolated and site.keeper.running():
            site.ip(f"link delete {site.bridge_of(record.physical)}", ignore_errors=True)
        super().delete(site, record)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        values = super().attributes(site, record)
        subnets = [item["id"] for item in site.objects.all("subnet") if item["network_id"] == record.physical]
        values |= {"subnets": subnets, "status": "ACTIVE", "admin_state_up": True, "mtu": 1500}
        return {**values, "show": values}


class Subnet(Driver):
    """OS::Neutron::Subnet, IPv4; without `cidr` it gets a free network of the lab's range."""

    type = "OS::Neutron::Subnet"
    optional = frozenset(
        {
            *("allocation_pools", "cidr", "dns_nameservers", "enable_dhcp", "gateway_ip", "host_routes", "ip_version"),
            *("ipv6_address_mode", "ipv6_ra_mode", "name", "network", "network_id", "prefixlen", "segment"),
            *("subnetpool", "tags", "tenant_id", "value_specs"),
        }
    )
    changeable = frozenset({"dns_nameservers", "enable_dhcp", "name", "tags", "host_routes", "value_specs"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        properties = record.properties
        if str(properties.get("ip_version") or 4) != "4":
            raise ResourceError("ip_version: the lab's networks are IPv4; expected 4, found 6")
        network_id = find_network(site, properties.get("network") or properties.get("network_id"))
        with site.objects.lock():
            known = site.objects.get(record.physical)
            cidr = addressing.Network(known["cidr"]) if known else self._cidr(site, record)
            gateway = text(properties, "gateway_ip") or str(cidr[1])
            if ipaddress.ip_address(gateway) not in cidr:
                raise ResourceError(f"gateway_ip: {gateway} is not in {cidr}")
            subnet = site.objects.put(
                record.physical, "subnet", name=text(properties, "name") or record.id, stack=stack,
                network_id=network_id, cidr=str(cidr), gateway_ip=gateway,
                dns_nameservers=sequence(properties, "dns_nameservers"),
                allocation_pools=sequence(properties, "allocation_pools"),
            )  # fmt: skip
        site.raise_gateway(subnet)

    def delete(self, site: Site, record: Record) -> None:
        subnet = site.objects.get(record.physical)
        if subnet is None:
            return
        users = [p for p in site.objects.all("port") if any(f["subnet_id"] == record.physical for f in p["fixed_ips"])]
        _refuse_while_used(site, "subnet", users)
        if site.isolated and site.keeper.running():
            length = subnet["cidr"].partition("/")[2]
            bridge = site.bridge_of(subnet["network_id"])
            site.ip(f"address delete {subnet['gateway_ip']}/{length} dev {bridge}", ignore_errors=True)
        super().delete(site, record)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        values = {**super().attributes(site, record), "ip_version": 4, "enable_dhcp": True, "host_routes": []}
        return {**values, "show": values}

    def _cidr(self, site: Site, record: Record) -> addressing.Network:
        wanted = text(record.properties, "cidr")
        if wanted is None:
            return addressing.free_subnet(site.used_networks(), site.range, record.physical)
        try:
            cidr = addressing.Network(wanted)
        except ValueError as error:
            raise ResourceError(
                f"cidr: expected an IPv4 network such as 10.0.1.0/24, found {wanted!r}: {error}"
            ) from error
        if cidr.prefixlen > 29:
            raise ResourceError(f"cidr: {cidr} has no room for servers; expected a prefix of 29 or less")
        reserved = [site.range.own, site.range.floating]
        clash = [str(other) for other in [*site.used_networks(), *reserved] if other.overlaps(cidr)]
        if clash:
            raise ResourceError(
                f"cidr: {cidr} overlaps {clash[0]} of the lab (in one lab no two networks have the same "
                "addresses); choose another or leave `cidr` out"
            )
        return cidr


class Port(Driver):
    """OS::Neutron::Port."""

    type = "OS::Neutron::Port"
    optional = frozenset(
        {
            *("admin_state_up", "allowed_address_pairs", "binding:vnic_type", "device_id", "device_owner", "dns_name"),
            *("fixed_ips", "mac_address", "name", "network", "network_id", "no_fixed_ips", "port_security_enabled"),
            *("propagate_uplink_status", "qos_policy", "replacement_policy", "security_groups", "tags", "value_specs"),
        }
    )
    changeable = optional - {"network", "network_id", "fixed_ips", "mac_address", "no_fixed_ips"}

    def create(self, site: Site, record: Record, stack: str) -> None:
        properties = record.properties
        network_id = find_network(site, properties.get("network") or properties.get("network_id"))
        for group in sequence(properties, "security_groups"):
            if site.objects.find("securitygroup", str(group)) is None and group != "default":
                raise ResourceError(f"security_groups: there is no security group {group!r} in the lab")
        create_port(
            site, record.physical, network_id, stack, name=text(properties, "name") or f"{stack}-{record.id}",
            wanted=sequence(properties, "fixed_ips"), mac=text(properties, "mac_address"),
            allowed_address_pairs=sequence(properties, "allowed_address_pairs"),
            security_groups=sequence(properties, "security_groups"),
        )  # fmt: skip

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        values = {**super().attributes(site, record), "status": "ACTIVE", "admin_state_up": True}
        identities = [fixed["subnet_id"] for fixed in values.get("fixed_ips", [])]
        return {**values, "subnets": [site.objects.get(identity) for identity in identities], "show": values}


class RouterInterface(Driver):
    """OS::Neutron::RouterInterface: noted; the lab routes between all its networks anyway."""

    type = "OS::Neutron::RouterInterface"
    optional = frozenset({"port", "port_id", "router", "router_id", "subnet", "subnet_id"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        properties = record.properties
        router = properties.get("router") or properties.get("router_id")
        if router is None:
            raise ResourceError("property 'router' is required and was not given")
        if router not in (rooms.ROUTER_ID, site.router_name):
            raise ResourceError(
                f"router: the lab has one router, {site.router_name!r} ({rooms.ROUTER_ID}); found {router!r}"
            )
        subnet_id = properties.get("subnet") or properties.get("subnet_id")
        subnet = site.objects.find("subnet", str(subnet_id)) if subnet_id else None
        port = properties.get("port") or properties.get("port_id")
        if subnet is None and (port is None or site.objects.get(str(port)) is None):
            raise ResourceError(f"subnet: there is no subnet {subnet_id!r} in the lab")
        site.objects.put(
            record.physical, "routerinterface", stack=stack, router_id=rooms.ROUTER_ID,
            subnet_id=subnet["id"] if subnet else None, port_id=port,
        )  # fmt: skip


class FloatingIP(Driver):
    """OS::Neutron::FloatingIP: an address of the lab's external network that leads to a port."""

    type = "OS::Neutron::FloatingIP"
    required = frozenset({"floating_network"})
    optional = frozenset(
        {
            *("dns_domain", "dns_name", "fixed_ip_address", "floating_ip_address", "floating_network_id"),
            *("floating_subnet", "port_id", "qos_policy", "value_specs"),
        }
    )
    changeable = frozenset({"port_id", "fixed_ip_address", "value_specs", "dns_name", "dns_domain"})

    def check(self, properties: dict[str, Any]) -> None:
        given = dict(properties)
        if given.get("floating_network") is None and given.get("floating_network_id") is not None:
            given["floating_network"] = given["floating_network_id"]
        super().check(given)

    def create(self, site: Site, record: Record, stack: str) -> None:
        properties = record.properties
        network = properties.get("floating_network") or properties.get("floating_network_id")
        if network not in (rooms.EXTERNAL_NETWORK_ID, site.external_network_name):
            raise ResourceError(
                f"floating_network: the lab has one external network, {site.external_network_name!r} "
                f"({rooms.EXTERNAL_NETWORK_ID}); found {network!r}"
            )
        port_id = text(properties, "port_id")
        port = site.objects.get(port_id) if port_id else None
        if port_id and (port is None or port["kind"] != "port"):
            raise ResourceError(f"port_id: there is no port {port_id!r} in the lab")
        fixed = [address["ip_address"] for address in port["fixed_ips"]] if port else []
        with site.objects.lock():
            known = site.objects.get(record.physical)
            address = known["floating_ip_address"] if known else addressing.free_address(
                site.range.floating, site.used_addresses(), text(properties, "floating_ip_address")
            )  # fmt: skip
            if known and known["port_id"] != port_id:
                _lower_floating(site, known)
            item = site.objects.put(
                record.physical, "floatingip", stack=stack, floating_ip_address=address, port_id=port_id,
                floating_network_id=rooms.EXTERNAL_NETWORK_ID, router_id=rooms.ROUTER_ID,
                fixed_ip_address=text(properties, "fixed_ip_address") or (fixed[0] if fixed else None),
            )  # fmt: skip
        site.raise_floating(item)

    def delete(self, site: Site, record: Record) -> None:
        item = site.objects.get(record.physical)
        if item is not None:
            _lower_floating(site, item)
        super().delete(site, record)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        values = super().attributes(site, record)
        return {**values, "ip": values.get("floating_ip_address"), "show": dict(values)}


class SecurityGroup(Driver):
    """OS::Neutron::SecurityGroup: kept and shown, not enforced (docs/lab.md)."""

    type = "OS::Neutron::SecurityGroup"
    optional = frozenset({"description", "name", "rules", "tags"})
    changeable = optional

    def create(self, site: Site, record: Record, stack: str) -> None:
        rules = sequence(record.properties, "rules")
        for rule in rules:
            if not isinstance(rule, dict):
                raise ResourceError(f"rules: expected maps, found {rule!r}")
        site.objects.put(
            record.physical, "securitygroup", stack=stack, rules=rules,
            name=text(record.properties, "name") or f"{stack}-{record.id}",
            description=text(record.properties, "description") or "",
        )  # fmt: skip


def find_network(site: Site, given: object) -> str:
    """The id of a network given by id or name. Raises ResourceError."""
    if given is None:
        raise ResourceError("property 'network' is required and was not given")
    found = site.objects.find("net", str(given))
    if found is None:
        names = ", ".join(sorted(item["name"] for item in site.objects.all("net"))) or "none"
        raise ResourceError(f"network: there is no network {given!r} in the lab; there are: {names}")
    return str(found["id"])


def create_port(
    site: Site, identity: str, network_id: str, stack: str | None, *, name: str, wanted: list[Any] | None = None,
    mac: str | None = None, **more: object,
) -> dict[str, Any]:  # fmt: skip
    """Have a port with its addresses; the one that exists keeps them. Raises ResourceError, AddressError."""
    digest = hashlib.sha256(identity.encode()).hexdigest()
    with site.objects.lock():
        known = site.objects.get(identity)
        fixed = known["fixed_ips"] if known else _choose_addresses(site, network_id, wanted or [])
        return site.objects.put(
            identity, "port", name=name, network_id=network_id, stack=stack, fixed_ips=fixed,
            mac_address=mac or ":".join(["02", *(digest[place : place + 2] for place in range(0, 10, 2))]),
            link="v" + digest[:12], device_id=known["device_id"] if known else None,
            **{"allowed_address_pairs": [], "security_groups": [], **more},
        )  # fmt: skip


def _choose_addresses(site: Site, network_id: str, wanted: list[Any]) -> list[dict[str, str]]:
    subnets = [item for item in site.objects.all("subnet") if item["network_id"] == network_id]
    if not subnets:
        raise ResourceError(
            f"network {network_id} has no subnet, so a port gets no address; add an OS::Neutron::Subnet"
        )
    requests = wanted or [{"subnet": subnets[0]["id"]}]
    taken = site.used_addresses()
    chosen: list[dict[str, str]] = []
    for request in requests:
        entry = mapping({"fixed_ips": request}, "fixed_ips")
        address = text(entry, "ip_address")
        named = entry.get("subnet") or entry.get("subnet_id")
        fitting = [item for item in subnets if named in (item["id"], item["name"])] if named else subnets
        if address and not named:
            fitting = [item for item in subnets if _inside(address, item["cidr"])]
        if not fitting:
            raise ResourceError(f"fixed_ips: the network has no subnet for {entry}")
        network = addressing.Network(fitting[0]["cidr"])
        free = addressing.free_address(network, taken, address)
        taken.add(free)
        chosen.append({"subnet_id": fitting[0]["id"], "ip_address": free})
    return chosen


def _inside(address: str, cidr: str) -> bool:
    try:
        return ipaddress.IPv4Address(address) in addressing.Network(cidr)
    except ValueError as error:
        raise ResourceError(f"fixed_ips: {address!r} is not an IPv4 address") from error


def _lower_floating(site: Site, item: dict[str, Any]) -> None:
    if not (site.isolated and site.keeper.running()):
        return
    address = item["floating_ip_address"]
    site.ip(f"route delete {address}/32", ignore_errors=True)
    port = site.objects.get(item["port_id"] or "")
    pid, _ = site.process_of(port["device_id"]) if port and port["device_id"] else (0, 0)
    if pid:
        site.ip(f"address delete {address}/32 dev lo", ignore_errors=True, pid=pid)


def _refuse_while_used(site: Site, what: str, ports: list[dict[str, Any]]) -> None:
    if ports:
        users = ", ".join(sorted(str(port["name"]) for port in ports))
        raise ResourceError(f"the {what} still has ports of others: {users}; delete their stack first")


DRIVERS: tuple[Driver, ...] = (Net(), Subnet(), Port(), RouterInterface(), FloatingIP(), SecurityGroup())
