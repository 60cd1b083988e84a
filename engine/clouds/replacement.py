"""What a changed property means for a resource that exists: what Heat's reference of resource types says.

Only what is listed here is known. A property that Heat updates may still interrupt what runs (`resize`, `rebuild`).
What Heat does about a type or property that is not listed is `unknown`, and a plan says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IN_PLACE = "in place"  # the resource stays, with its id
RESIZE = "resize"  # the server stays and is restarted
REBUILD = "rebuild"  # the server keeps id and addresses, and loses its disk
REPLACE = "replace"  # a new resource is made and the old one deleted
UNKNOWN = "unknown"

_PLACES: Mapping[str, tuple[str, str]] = {  # type: properties that are updated, properties that replace
    "OS::Nova::Server": (
        "name networks metadata tags admin_pass software_config_transport flavor_update_policy image_update_policy "
        "user_data_update_policy deployment_swift_data",
        "block_device_mapping block_device_mapping_v2 key_name admin_user availability_zone security_groups "
        "scheduler_hints user_data_format reservation_id config_drive diskConfig personality",
    ),
    "OS::Nova::KeyPair": ("", "name save_private_key public_key type user"),
    "OS::Nova::ServerGroup": ("", "name policies rules"),
    "OS::Cinder::Volume": (
        "size backup_id name description volume_type metadata read_only",
        "availability_zone snapshot_id image source_volid scheduler_hints multiattach",
    ),
    "OS::Cinder::VolumeAttachment": ("instance_uuid volume_id mountpoint", ""),
    "OS::Neutron::Net": (
        "name value_specs admin_state_up shared dhcp_agent_ids port_security_enabled qos_policy dns_domain tags",
        "tenant_id availability_zone_hints",
    ),
    "OS::Neutron::Subnet": (
        "value_specs name dns_nameservers gateway_ip enable_dhcp allocation_pools host_routes segment tags",
        "network network_id subnetpool prefixlen cidr ip_version tenant_id ipv6_ra_mode ipv6_address_mode",
    ),
    "OS::Neutron::Port": (
        "name device_id device_owner fixed_ips security_groups replacement_policy dns_name tags",
        "network network_id",
    ),
    "OS::Neutron::Router": (
        "name external_gateway_info value_specs admin_state_up l3_agent_ids availability_zone_hints tags",
        "distributed ha tenant_id",
    ),
    "OS::Neutron::RouterInterface": ("", "router router_id subnet subnet_id port port_id"),
    "OS::Neutron::FloatingIP": (
        "port_id fixed_ip_address dns_name dns_domain",
        "floating_network floating_network_id floating_subnet value_specs floating_ip_address",
    ),
    "OS::Neutron::FloatingIPAssociation": ("floatingip_id port_id fixed_ip_address", ""),
    "OS::Neutron::SecurityGroup": ("name description rules stateful", ""),
    "OS::Neutron::SecurityGroupRule": (
        "",
        "security_group description direction ethertype port_range_min port_range_max protocol remote_group "
        "remote_ip_prefix",
    ),
    "OS::Heat::ResourceGroup": ("count resource_def removal_policies removal_policies_mode", "index_var"),
    "OS::Heat::RandomString": ("", "length sequence character_classes character_sequences salt"),
    "OS::Heat::SoftwareConfig": ("", "group config options inputs outputs"),
    "OS::Heat::SoftwareDeployment": ("config input_values actions name", "server signal_transport"),
    "OS::Heat::Value": ("value type", ""),
    "OS::Heat::WaitCondition": ("count", "handle timeout"),
}

_KNOWN: Mapping[tuple[str, str], str] = {
    (kind, name): effect
    for kind, lists in _PLACES.items()
    for names, effect in zip(lists, (IN_PLACE, REPLACE), strict=True)
    for name in names.split()
}

# Properties of servers whose effect another property chooses: (that one, its value by default, effects by value).
_CHOSEN: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "flavor": ("flavor_update_policy", "RESIZE", {"RESIZE": RESIZE, "REPLACE": REPLACE}),
    "image": (
        "image_update_policy",
        "REBUILD",
        {"REBUILD": REBUILD, "REBUILD_PRESERVE_EPHEMERAL": REBUILD, "REPLACE": REPLACE},
    ),
    "user_data": ("user_data_update_policy", "REPLACE", {"REPLACE": REPLACE, "IGNORE": IN_PLACE}),
}


def effect_of(kind: str, name: str, properties: Mapping[str, Any]) -> str:
    """What a change of the property means for a resource of this type that is to have these properties."""
    if kind == "OS::Nova::Server" and name in _CHOSEN:
        policy, default, effects = _CHOSEN[name]
        chosen = properties.get(policy)
        return effects.get(default if chosen is None else str(chosen), UNKNOWN)
    return _KNOWN.get((kind, name), UNKNOWN)
