"""Each resource type: what its attributes give and how its mistakes are told. Recorded, so nothing is started."""

from __future__ import annotations

import concurrent.futures
import email
import os
import re
from pathlib import Path
from typing import Any

import pytest
from lab_world import network_of, server_of, template_of

from engine.clouds.lab import Isolation, LabOrchestration, addressing
from engine.clouds.ports import Stack, StackError

STACK = Stack("resources", project_id="p")


@pytest.fixture
def paper(tmp_path, monkeypatch) -> LabOrchestration:
    monkeypatch.setattr(addressing, "_CLAIMS", tmp_path / "claims.json")  # these labs have no network to claim
    return LabOrchestration(tmp_path / "data", isolation=Isolation("none", ("for the story",)))


def push(lab: LabOrchestration, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> dict[str, Any]:
    return lab.push(STACK, template_of(resources, outputs), {}, None, {})


def test_random_text_stays_and_has_the_classes_asked_for(paper) -> None:
    resources = {
        "plain": {"type": "OS::Heat::RandomString"},
        "pin": {
            "type": "OS::Heat::RandomString",
            "properties": {
                "length": 12,
                "character_classes": [{"class": "digits", "min": 3}, {"class": "uppercase", "min": 2}],
                "character_sequences": [{"sequence": "#", "min": 1}],
            },
        },
    }
    wanted = {"plain": {"get_attr": ["plain", "value"]}, "pin": {"get_resource": "pin"}}
    first = push(paper, resources, wanted)
    assert re.fullmatch(r"[A-Za-z0-9]{32}", first["plain"])
    assert re.fullmatch(r"[0-9A-Z#]{12}", first["pin"])
    assert len(re.findall(r"\d", first["pin"])) >= 3
    assert len(re.findall("[A-Z]", first["pin"])) >= 2
    assert "#" in first["pin"]
    assert push(paper, resources, wanted) == first


def test_a_key_pair_is_referred_to_by_name_and_a_server_group_by_id(paper) -> None:
    resources = {
        "key": {"type": "OS::Nova::KeyPair", "properties": {"name": "mine", "public_key": "ssh-ed25519 AAAA"}},
        "group": {"type": "OS::Nova::ServerGroup", "properties": {"policies": ["anti-affinity"]}},
    }
    wanted = {
        "key": {"get_resource": "key"},
        "public": {"get_attr": ["key", "public_key"]},
        "group": {"get_resource": "group"},
    }
    found = push(paper, resources, wanted)
    assert (found["key"], found["public"]) == ("mine", "ssh-ed25519 AAAA")
    assert re.fullmatch(r"[0-9a-f-]{36}", found["group"])


def test_addresses_have_the_shape_of_nova(paper) -> None:
    resources = network_of(paper) | server_of("web")
    resources["fip"] = {
        "type": "OS::Neutron::FloatingIP",
        "properties": {"floating_network": "ext-net", "port_id": {"get_resource": "port-web"}},
    }
    wanted = {
        "addresses": {"get_attr": ["web", "addresses"]},
        "networks": {"get_attr": ["web", "networks", "net"]},
        "floating": {"get_attr": ["fip", "floating_ip_address"]},
        "mac": {"get_attr": ["port-web", "mac_address"]},
        "cidr": {"get_attr": ["subnet-net", "cidr"]},
        "net": {"get_resource": "network-net"},
    }
    found = push(paper, resources, wanted)
    assert set(found["addresses"]) == {"net", found["net"]}
    fixed, floating = found["addresses"]["net"]
    assert fixed["OS-EXT-IPS:type"] == "fixed"
    assert fixed["OS-EXT-IPS-MAC:mac_addr"] == found["mac"]
    assert (floating["addr"], floating["OS-EXT-IPS:type"]) == (found["floating"], "floating")
    assert found["networks"] == [fixed["addr"], floating["addr"]]
    assert paper.site.range.network.supernet_of(paper.site.used_networks()[0])


def test_wanted_addresses_are_given(paper) -> None:
    resources = network_of(paper) | server_of("web")
    resources["subnet-net"]["properties"].update({"cidr": "10.213.9.0/24", "gateway_ip": "10.213.9.254"})
    resources["port-web"]["properties"]["fixed_ips"] = [{"ip_address": "10.213.9.77"}]
    found = push(
        paper, resources, {"a": {"get_attr": ["web", "first_address"]}, "g": {"get_attr": ["subnet-net", "gateway_ip"]}}
    )
    assert found == {"a": "10.213.9.77", "g": "10.213.9.254"}


def test_a_multipart_message_holds_its_parts_and_is_the_same_each_time(paper) -> None:
    resources = {
        "config": {"type": "OS::Heat::CloudConfig", "properties": {"cloud_config": {"runcmd": ["a"]}}},
        "script": {"type": "OS::Heat::SoftwareConfig", "properties": {"group": "ungrouped", "config": "#!/bin/sh\n"}},
        "all": {
            "type": "OS::Heat::MultipartMime",
            "properties": {
                "parts": [
                    {"config": {"get_resource": "config"}},
                    {"config": {"get_resource": "script"}, "filename": "boot.sh"},
                    {"config": "#cloud-boothook\ntrue"},
                ]
            },
        },
    }
    wanted = {"all": {"get_attr": ["all", "config"]}}
    found = push(paper, resources, wanted)
    parts = [part for part in email.message_from_string(found["all"]).walk() if not part.is_multipart()]
    assert [part.get_content_subtype() for part in parts] == ["cloud-config", "x-shellscript", "cloud-boothook"]
    assert parts[1].get_filename() == "boot.sh"
    assert push(paper, resources, wanted) == found


def test_networks_are_listed_as_neutron_lists_them(paper) -> None:
    push(paper, network_of(paper) | server_of("web"))
    kinds = {kind: paper.network.list("", kind) for kind in ("networks", "subnets", "ports", "routers", "extensions")}
    external = [item for item in kinds["networks"] if item["router:external"]]
    assert [item["id"] for item in external] == [paper.external_network_id]
    (router,) = kinds["routers"]
    assert (router["id"], router["external_gateway_info"]["network_id"]) == (paper.router_id, external[0]["id"])
    owners = sorted(item["device_owner"] for item in kinds["ports"])
    assert owners == ["compute:nova", "network:router_gateway", *["network:router_interface"] * 2]
    subnets = {item["id"]: item["cidr"] for item in kinds["subnets"]}
    interfaces = [item for item in kinds["ports"] if item["device_id"] == paper.router_id]
    behind = {subnets[address["subnet_id"]] for item in interfaces for address in item["fixed_ips"]}
    # An environment looks for a range that is not behind the router: the lab's own addresses must be.
    assert {str(paper.site.range.own), str(paper.site.range.floating)} < behind
    assert "security-group" in [item["alias"] for item in kinds["extensions"]]
    assert paper.network.create_router("", "other", external[0]["id"])["name"] == "other"
    with pytest.raises(ValueError, match="expected networks, subnets"):
        paper.network.list("", "clouds")


def changed(resource: str, **properties: Any) -> Any:
    """Resources of the story with some properties of one of them replaced."""

    def change(lab: LabOrchestration) -> dict[str, Any]:
        resources = network_of(lab) | server_of("web")
        resources["fip"] = {"type": "OS::Neutron::FloatingIP", "properties": {"floating_network": "ext-net"}}
        resources["vol"] = {"type": "OS::Cinder::Volume", "properties": {"size": 1}}
        resources["rnd"] = {"type": "OS::Heat::RandomString", "properties": {}}
        resources["mime"] = {"type": "OS::Heat::MultipartMime", "properties": {}}
        resources["att"] = {
            "type": "OS::Cinder::VolumeAttachment",
            "properties": {"instance_uuid": {"get_resource": "web"}, "volume_id": {"get_resource": "vol"}},
        }
        resources[resource]["properties"] = {**resources[resource]["properties"], **properties}
        return resources

    return pytest.param(resource, change, id=f"{resource}-{'-'.join(properties)}")


@pytest.mark.parametrize(
    ("resource", "change", "told"),
    [
        (*changed("subnet-net", ip_version=6).values, "IPv4; expected 4, found 6"),
        (*changed("subnet-net", cidr="10.0.0.1/24").values, "cidr: expected an IPv4 network such as"),
        (*changed("subnet-net", cidr="10.213.0.0/30").values, "no room for servers"),
        (
            *changed("subnet-net", cidr="10.213.0.0/24", gateway_ip="10.0.0.1").values,
            "10.0.0.1 is not in 10.213.0.0/24",
        ),
        (*changed("subnet-net", network="elsewhere").values, "no network 'elsewhere' in the lab; there are: net"),
        (*changed("ri-net", router_id="other").values, "the lab has one router, 'murano-default-router'"),
        (*changed("port-web", fixed_ips=[{"subnet": "x"}]).values, "the network has no subnet for"),
        (*changed("port-web", security_groups=["open"]).values, "no security group 'open'"),
        (*changed("web", networks=[{"port": "none"}]).values, "no port 'none' in the lab"),
        (*changed("web", user_data=5).values, "user_data: expected text or a configuration resource, found 5"),
        (*changed("web", metadata="a").values, "'metadata': expected a map, found 'a'"),
        (*changed("fip", floating_network="net").values, "one external network, 'ext-net'"),
        (*changed("fip", port_id="none").values, "no port 'none' in the lab"),
        (*changed("vol", size=None).values, "'size' is required"),
        (*changed("vol", snapshot_id="s").values, "keeps no snapshots"),
        (*changed("att", mountpoint="/proc/x").values, "outside of /proc"),
        (*changed("att", mountpoint="/a/../proc").values, "outside of /proc"),
        (*changed("rnd", length=0).values, "expected 1 to 512, found 0"),
        (*changed("rnd", sequence="vowels").values, "unknown class 'vowels'; expected one of"),
        (*changed("mime", parts=[{"filename": "x"}]).values, "parts: expected maps with `config`"),
    ],
)
def test_a_mistake_names_the_resource_and_the_remedy(paper, resource: str, change: Any, told: str) -> None:
    with pytest.raises(StackError) as caught:
        push(paper, change(paper))
    assert caught.value.resource == resource
    assert told in caught.value.reason
    push(paper, network_of(paper) | server_of("web"))
    paper.delete(STACK)
    assert list((paper.site.directory / "servers").iterdir()) == []


def test_labs_that_begin_together_have_different_ranges(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(addressing, "_CLAIMS", tmp_path / "claims.json")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ranges = list(pool.map(_range_of, [tmp_path / str(number) for number in range(24)]))
    assert len(set(ranges)) == 24 or os.geteuid() != 0
    assert [_range_of(tmp_path / str(number)) for number in range(24)] == ranges


def _range_of(directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    return str(addressing.range_of(directory).network)
