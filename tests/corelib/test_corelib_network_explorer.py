"""Which router, which address range, which name servers (spec/core-library §9.7)."""

from __future__ import annotations

import ipaddress

import pytest
from corelib_world import ROUTER, World

import dsl
from engine.system.network_explorer import NetworkExplorer


class Handle:
    """What the explorer needs of its object."""

    def __init__(self, world: World) -> None:
        self.system = world

    def effect(self, name: str, /, **arguments: object) -> object:
        return self.system.perform(dsl.Effect("0/1", name, arguments, None, None))


@pytest.fixture
def explorer(world):
    return NetworkExplorer(Handle(world))


def test_the_default_router_is_found_by_name(explorer):
    assert explorer.get_default_router() == "router-1"


def test_a_router_of_another_project_is_not_ours(explorer, world):
    world.cloud.networks["routers"] = [{**ROUTER, "id": "theirs", "project_id": "another"}]
    assert explorer.get_default_router() == "router-murano-default-router"
    (made,) = world.named("network.create_router")
    assert made.arguments["external_network_id"] == "ext-1"


def test_no_router_is_made_where_that_is_switched_off(explorer, world):
    world.cloud.networks["routers"] = []
    world.settings[("networking", "create_router")] = False
    with pytest.raises(KeyError, match="create_router is off"):
        explorer.get_default_router()


def test_a_router_needs_an_external_network(explorer, world):
    world.cloud.networks["routers"] = []
    world.settings[("networking", "external_network")] = "nowhere"
    with pytest.raises(KeyError, match="no external network nowhere"):
        explorer.get_default_router()


def test_a_router_without_gateway_gets_some_time_and_then_is_an_error(explorer, world):
    world.cloud.networks["routers"] = [{**ROUTER, "external_gateway_info": None}]
    with pytest.raises(dsl.SystemFailure, match="has no external gateway") as caught:
        explorer.get_default_router()
    assert caught.value.names == ("murano.common.exceptions.RouterInfoException",)
    assert sum(effect.arguments["seconds"] for effect in world.named("sleep")) == 30


def test_a_range_is_large_enough_and_the_same_every_time(explorer):
    cidr = explorer.get_available_cidr("router-1", "network-1")
    assert ipaddress.ip_network(cidr).prefixlen == 24
    assert ipaddress.ip_network(cidr).subnet_of(ipaddress.ip_network("10.0.0.0/16"))
    assert explorer.get_available_cidr("router-1", "network-1") == cidr
    assert explorer.get_available_cidr("router-1", "network-2") != cidr


def test_a_range_that_is_taken_behind_the_router_is_passed_over(explorer, world):
    first = explorer.get_available_cidr("router-1", "network-1")
    world.cloud.networks["subnets"] = [{"id": "s", "cidr": first}]
    world.cloud.networks["ports"] = [{"device_id": "router-1", "fixed_ips": [{"subnet_id": "s"}]}]

    second = explorer.get_available_cidr("router-1", "network-1")

    assert not ipaddress.ip_network(second).overlaps(ipaddress.ip_network(first))
    world.cloud.networks["ports"][0]["device_id"] = "another router"
    assert explorer.get_available_cidr("router-1", "network-1") == first


def test_there_may_be_no_range_left(explorer, world):
    world.cloud.networks["subnets"] = [{"id": "s", "cidr": "10.0.0.0/8"}]
    world.cloud.networks["ports"] = [{"device_id": "router-1", "fixed_ips": [{"subnet_id": "s"}]}]
    assert explorer.get_available_cidr("router-1", "network-1") is None


def test_ranges_of_ip_version_6_follow_from_the_same_pattern(explorer):
    cidr = explorer.get_available_cidr("router-1", "network-1", 6)
    assert ipaddress.ip_network(cidr).subnet_of(ipaddress.ip_network("::ffff:0:0/96"))


def test_name_servers_are_chosen_by_family(explorer, world):
    world.settings[("networking", "default_dns")] = ["8.8.8.8", "2001:4860:4860::8888"]
    assert explorer.get_default_dns() == ["8.8.8.8"]
    assert explorer.get_default_dns(6) == ["2001:4860:4860::8888"]


def test_the_external_network_is_found_through_the_router(explorer, world):
    world.cloud.networks["ports"] = [
        {"network_id": "net-1", "device_owner": "network:router_interface", "device_id": "router-1"}
    ]
    assert explorer.get_external_network_id_for_router("router-1") == "ext-1"
    assert explorer.get_external_network_id_for_network("net-1") == "ext-1"
    assert explorer.get_external_network_id_for_network("ext-1") == "ext-1"
    assert explorer.get_external_network_id_for_network("net-2") is None
    with pytest.raises(KeyError, match="router-9"):
        explorer.get_external_network_id_for_router("router-9")
