"""Nova's and Cinder's resources: a server is a sandbox that runs its boot data, a volume is a folder."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from typing import Any

from engine.clouds.lab import addressing, bootdata
from engine.clouds.lab.resources import network
from engine.clouds.lab.resources.driver import Driver, ResourceError, mapping, sequence, text
from engine.clouds.lab.site import Site, remove_tree
from engine.clouds.lab.state import Record, write_json


class Server(Driver):
    """OS::Nova::Server. Created means: its first process runs. The boot data goes on after that, as in a real cloud."""

    type = "OS::Nova::Server"
    optional = frozenset(
        {
            *("admin_pass", "availability_zone", "block_device_mapping", "block_device_mapping_v2", "config_drive"),
            *("deployment_swift_data", "diskConfig", "flavor", "flavor_update_policy", "image", "image_update_policy"),
            *("key_name", "metadata", "name", "networks", "personality", "reservation_id", "scheduler_hints"),
            *("security_groups", "software_config_transport", "tags", "user_data", "user_data_format"),
            *("user_data_update_policy",),
        }
    )
    changeable = frozenset(
        {
            *("admin_pass", "flavor", "flavor_update_policy", "image_update_policy", "metadata", "name", "tags"),
            *("security_groups", "software_config_transport", "user_data_update_policy", "deployment_swift_data"),
        }
    )

    def create(self, site: Site, record: Record, stack: str) -> None:
        properties = record.properties
        name = text(properties, "name") or f"{stack}-{record.id}"
        known = site.objects.get(record.physical)
        steps, named = bootdata.plan(_user_data(site, properties))
        hostname = _hostname(named or name)
        if known is None:
            nics = self._nics(site, record, stack, name)
            directory = site.server_directory(record.physical)
            (directory / "seed").mkdir(parents=True, exist_ok=True)
            write_json(
                directory / "seed/boot.json",
                {
                    "id": record.physical, "hostname": hostname, "steps": steps,
                    "user_data": _user_data(site, properties) or "",
                    "hosts": [f"{nic['addresses'][0].partition('/')[0]} {hostname}" for nic in nics[:1]],
                },
            )  # fmt: skip
            # Its root in the sandbox is another user of this machine, who must be able to read it.
            (directory / "seed/boot.json").chmod(0o644)
            known = site.objects.put(
                record.physical, "server", name=name, hostname=hostname, stack=stack, resource=record.id, nics=nics,
                status="ACTIVE" if site.isolated else "RECORDED", metadata=mapping(properties, "metadata"),
                flavor=text(properties, "flavor"), image=text(properties, "image"), created=time.time(),
                key_name=text(properties, "key_name"),
            )  # fmt: skip
        else:
            known = site.objects.put(
                record.physical, **{**known, "name": name, "flavor": text(properties, "flavor"),
                                    "metadata": mapping(properties, "metadata")},
            )  # fmt: skip
        site.start_server(known)

    def healthy(self, site: Site, record: Record) -> bool:
        return super().healthy(site, record) and (not site.isolated or site.process_of(record.physical)[0] > 0)

    def retire(self, site: Site, record: Record) -> None:
        site.stop_server(record.physical)
        for port in site.objects.all("port"):
            if port["device_id"] == record.physical:
                site.objects.change(port["id"], device_id=None)

    def delete(self, site: Site, record: Record) -> None:
        site.stop_server(record.physical)
        for port in site.objects.all("port"):
            if port.get("owner") == record.physical:
                site.objects.remove(port["id"])
            elif port["device_id"] == record.physical:
                site.objects.change(port["id"], device_id=None)
        remove_tree(site.server_directory(record.physical))
        super().delete(site, record)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        server = site.objects.get(record.physical)
        if server is None:
            return {}
        addresses = addresses_of(site, server)
        networks = {name: [entry["addr"] for entry in entries] for name, entries in addresses.items()}
        first = [entry["addr"] for entries in addresses.values() for entry in entries]
        values = {
            "accessIPv4": first[0] if first else "", "accessIPv6": "", "addresses": addresses,
            "first_address": first[0] if first else "", "instance_name": server["hostname"], "name": server["name"],
            "networks": networks, "status": server["status"], "tags": record.properties.get("tags") or [],
            "console_urls": {}, "os_collect_config": {}, "metadata": server["metadata"], "id": server["id"],
        }  # fmt: skip
        return {**values, "show": dict(values)}

    def _nics(self, site: Site, record: Record, stack: str, name: str) -> list[dict[str, Any]]:
        requests = sequence(record.properties, "networks") or [{"network": site.shared_network()}]
        nics: list[dict[str, Any]] = []
        for place, request in enumerate(requests):
            entry = mapping({"networks": request}, "networks")
            if entry.get("port"):
                port = site.objects.find("port", str(entry["port"]))
                if port is None:
                    raise ResourceError(f"networks: there is no port {entry['port']!r} in the lab")
                if port["device_id"] not in (None, record.physical):
                    raise ResourceError(f"networks: port {port['name']!r} is in use by server {port['device_id']}")
                port = site.objects.change(port["id"], device_id=record.physical)
                assert port is not None
            else:
                identity = str(uuid.uuid5(uuid.UUID(record.physical), f"port {place}"))
                chosen = entry.get("network") or entry.get("uuid")
                network_id = network.find_network(site, chosen)
                wanted = [{"ip_address": entry["fixed_ip"]}] if entry.get("fixed_ip") else []
                if entry.get("subnet"):
                    wanted = [{**(wanted[0] if wanted else {}), "subnet": entry["subnet"]}]
                network.create_port(
                    site, identity, network_id, stack, name=f"{name}-{place}", wanted=wanted, owner=record.physical
                )
                port = site.objects.change(identity, device_id=record.physical)
                assert port is not None
            nics.append(_nic(site, port, place))
        return nics


class KeyPair(Driver):
    """OS::Nova::KeyPair: kept; nobody logs in to a lab server by SSH."""

    type = "OS::Nova::KeyPair"
    required = frozenset({"name"})
    optional = frozenset({"public_key", "save_private_key", "type", "user"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        if record.properties.get("save_private_key"):
            raise ResourceError("save_private_key: the lab makes no private keys; give a public_key")
        public = text(record.properties, "public_key") or ""
        site.objects.put(
            record.physical, "keypair", name=text(record.properties, "name"), public_key=public, stack=stack
        )

    def reference(self, site: Site, record: Record) -> str:
        return str(record.properties.get("name"))


class ServerGroup(Driver):
    """OS::Nova::ServerGroup: kept; there is only one machine to place servers on."""

    type = "OS::Nova::ServerGroup"
    optional = frozenset({"name", "policies", "rules"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        policies = sequence(record.properties, "policies")
        name = text(record.properties, "name") or f"{stack}-{record.id}"
        site.objects.put(record.physical, "servergroup", name=name, policies=policies, stack=stack)


class Volume(Driver):
    """OS::Cinder::Volume: a folder of the data directory. `size` is noted, not enforced."""

    type = "OS::Cinder::Volume"
    optional = frozenset(
        {
            *("availability_zone", "backup_id", "description", "image", "imageRef", "metadata", "multiattach", "name"),
            *("read_only", "scheduler_hints", "size", "snapshot_id", "source_volid", "volume_type"),
        }
    )
    changeable = frozenset({"description", "metadata", "name", "read_only", "size"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        properties = record.properties
        folder = site.directory / "volumes" / record.physical
        source = text(properties, "source_volid")
        for name in ("snapshot_id", "backup_id"):
            if properties.get(name):
                raise ResourceError(f"{name}: the lab keeps no snapshots or backups; use source_volid or size")
        if source and site.objects.find("volume", source) is None:
            raise ResourceError(f"source_volid: there is no volume {source!r} in the lab")
        if source is None and properties.get("size") is None:
            raise ResourceError("property 'size' is required and was not given")
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            remove_tree(partial)
            if source:
                shutil.copytree(site.directory / "volumes" / source, partial, symlinks=True)
            else:
                partial.mkdir(mode=0o755)
            partial.rename(folder)
        site.objects.put(
            record.physical, "volume", stack=stack, name=text(properties, "name") or f"{stack}-{record.id}",
            size=properties.get("size"), metadata=mapping(properties, "metadata"),
        )  # fmt: skip

    def delete(self, site: Site, record: Record) -> None:
        remove_tree(site.directory / "volumes" / record.physical)
        super().delete(site, record)

    def attributes(self, site: Site, record: Record) -> dict[str, Any]:
        values = super().attributes(site, record)
        attached = [item for item in site.objects.all("attachment") if item["volume_id"] == record.physical]
        entries = [
            {"id": record.physical, "attachment_id": item["id"], "server_id": item["server_id"],
             "volume_id": record.physical,
             "device": item["mountpoint"]}
            for item in attached
        ]  # fmt: skip
        values |= {
            "attachments_list": entries,
            "attachments": str(entries),
            "status": "in-use" if entries else "available",
        }
        return {**values, "show": dict(values)}


class VolumeAttachment(Driver):
    """OS::Cinder::VolumeAttachment: the volume's folder appears at the mount point when the server (re)starts."""

    type = "OS::Cinder::VolumeAttachment"
    required = frozenset({"instance_uuid", "volume_id"})
    optional = frozenset({"mountpoint"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        server_id, volume_id = (str(record.properties[name]) for name in ("instance_uuid", "volume_id"))
        server = site.objects.find("server", server_id)
        volume = site.objects.find("volume", volume_id)
        if server is None or volume is None:
            missing = f"server {server_id!r}" if server is None else f"volume {volume_id!r}"
            raise ResourceError(f"there is no {missing} in the lab")
        mountpoint = text(record.properties, "mountpoint") or f"/mnt/{volume_id}"
        if (
            not mountpoint.startswith("/")
            or ".." in mountpoint.split("/")
            or mountpoint.startswith(("/proc", "/dev", "/sys"))
        ):
            raise ResourceError(
                f"mountpoint: expected an absolute folder outside of /proc, /dev and /sys, found {mountpoint!r}"
            )
        site.objects.put(
            record.physical,
            "attachment",
            stack=stack,
            server_id=server["id"],
            volume_id=volume["id"],
            mountpoint=mountpoint,
        )
        site.attach_volume(server["id"], volume["id"], mountpoint)

    def delete(self, site: Site, record: Record) -> None:
        item = site.objects.get(record.physical)
        if item is not None:
            site.detach_volume(item["server_id"], item["mountpoint"])
        super().delete(site, record)


def addresses_of(site: Site, server: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """{network name and id: [{addr, version, OS-EXT-IPS:type, OS-EXT-IPS-MAC:mac_addr, port}]}, floating ones last."""
    found: dict[str, list[dict[str, Any]]] = {}
    floating = site.objects.all("floatingip")
    for nic in server["nics"]:
        net = site.objects.get(nic["network_id"]) or {"name": nic["network_id"]}
        common = {"version": 4, "OS-EXT-IPS-MAC:mac_addr": nic["mac"], "port": nic["port_id"]}
        entries = [{"addr": each.partition("/")[0], "OS-EXT-IPS:type": "fixed", **common} for each in nic["addresses"]]
        entries += [
            {"addr": item["floating_ip_address"], "OS-EXT-IPS:type": "floating", **common}
            for item in floating
            if item["port_id"] == nic["port_id"]
        ]
        for key in (net["name"], nic["network_id"]):
            found.setdefault(key, []).extend(entries)
    return found


def _nic(site: Site, port: dict[str, Any], place: int) -> dict[str, Any]:
    addresses = []
    gateway = None
    for fixed in port["fixed_ips"]:
        subnet = site.objects.get(fixed["subnet_id"])
        if subnet is None:
            raise ResourceError(
                f"port {port['name']!r} is in subnet {fixed['subnet_id']}, which is gone; push the stack again"
            )
        addresses.append(f"{fixed['ip_address']}/{addressing.Network(subnet['cidr']).prefixlen}")
        gateway = gateway or subnet["gateway_ip"]
    return {
        "port_id": port["id"], "network_id": port["network_id"], "link": port["link"], "name": f"eth{place}",
        "mac": port["mac_address"], "addresses": addresses, "gateway": gateway,
    }  # fmt: skip


def _user_data(site: Site, properties: dict[str, Any]) -> str | None:
    """The boot data itself: `user_data` is either that or the id of a configuration resource."""
    given = properties.get("user_data")
    if given is None:
        return None
    if not isinstance(given, str):
        raise ResourceError(f"user_data: expected text or a configuration resource, found {given!r}")
    config = site.objects.get(given) if re.fullmatch(r"[0-9a-f-]{36}", given) else None
    return str(config["config"]) if config and config["kind"] == "config" else given


def _hostname(name: str) -> str:
    cleaned = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    return cleaned[:63].rstrip("-") or "server"


DRIVERS: tuple[Driver, ...] = (Server(), KeyPair(), ServerGroup(), Volume(), VolumeAttachment())
