"""The Orchestration port on a real Heat, with Neutron and Nova behind it."""

from __future__ import annotations

import pytest
from heatclient import client as heat_client
from keystoneauth1 import adapter, identity, session

from engine.clouds import heat as heat_cloud
from engine.clouds import ports

pytestmark = pytest.mark.openstack

POLL = 0.5


@pytest.fixture
def orchestration(user):
    def connect(region):
        return heat_client.Client("1", session=user, service_type="orchestration", region_name=region or None)

    return heat_cloud.HeatOrchestration(connect, poll=POLL)


@pytest.fixture
def stack(orchestration, name, user):
    wanted = ports.Stack(name=name, project_id=user.get_project_id(), tags=("murano", "chandlery-test"))
    yield wanted
    orchestration.delete(wanted)


def harbour(**resources):
    """A template with a network and a subnet, and whatever else is given."""
    return {
        "heat_template_version": "2013-05-23",
        "description": "a test of Chandlery",
        "parameters": {"size": {"type": "string", "default": "small"}},
        "resources": {
            "net": {"type": "OS::Neutron::Net"},
            "subnet": {
                "type": "OS::Neutron::Subnet",
                "properties": {"network": {"get_resource": "net"}, "cidr": "10.77.0.0/24", "ip_version": 4},
            },
            **resources,
        },
        "outputs": {"network": {"value": {"get_resource": "net"}}, "size": {"value": {"get_param": "size"}}},
    }


def server(image, flavor):
    """A server with a port in a security group."""
    return {
        "rules": {
            "type": "OS::Neutron::SecurityGroup",
            "properties": {"rules": [{"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}]},
        },
        "port": {
            "type": "OS::Neutron::Port",
            "depends_on": "subnet",
            "properties": {"network": {"get_resource": "net"}, "security_groups": [{"get_resource": "rules"}]},
        },
        "berth": {
            "type": "OS::Nova::Server",
            "properties": {
                "name": "berth",
                "image": image,
                "flavor": flavor,
                "networks": [{"port": {"get_resource": "port"}}],
                "user_data": {"get_file": "boot.sh"},
                "user_data_format": "RAW",
            },
        },
    }


def test_a_server_with_its_network_comes_changes_and_goes(orchestration, stack, heat, image, flavor):
    template = harbour(**server(image, flavor))
    template["outputs"]["address"] = {"value": {"get_attr": ["berth", "first_address"]}}
    files = {"boot.sh": "#!/bin/sh\n"}

    created = orchestration.push(stack, template, files, None, {"size": "large"})
    assert created["size"] == "large"
    assert created["address"].startswith("10.77.0.")
    shown = heat.stacks.get(stack.name)
    assert (shown.stack_status, sorted(shown.tags)) == ("CREATE_COMPLETE", ["chandlery-test", "murano"])
    assert orchestration.current(stack) == template
    assert orchestration.parameters(stack) == {"size": "large"}
    assert orchestration.outputs(stack) == created

    ids = {each.resource_name: each.physical_resource_id for each in heat.resources.list(stack.name)}
    assert orchestration.push(stack, template, files, None, {"size": "large"}) == created
    assert {each.resource_name: each.physical_resource_id for each in heat.resources.list(stack.name)} == ids

    smaller = harbour()
    assert set(orchestration.push(stack, smaller, {}, None, {})) == {"network", "size"}
    assert {each.resource_name for each in heat.resources.list(stack.name)} == {"net", "subnet"}
    assert orchestration.outputs(stack) == {"network": created["network"], "size": "small"}

    orchestration.delete(stack)
    assert orchestration.current(stack) is None
    assert orchestration.outputs(stack) == {}
    orchestration.delete(stack)


def test_updates_that_follow_each_other_at_once_all_come_to_an_end(orchestration, stack):
    for number in range(4):
        template = {
            "heat_template_version": "2013-05-23",
            "resources": {"text": {"type": "OS::Heat::Value", "properties": {"value": str(number)}}},
            "outputs": {"text": {"value": {"get_attr": ["text", "value"]}}},
        }
        assert orchestration.push(stack, template, {}, None, {}) == {"text": str(number)}


def test_an_environment_of_a_template_counts(orchestration, stack):
    outputs = orchestration.push(stack, harbour(), {}, {"parameters": {"size": "huge"}}, {})
    assert outputs["size"] == "huge"


def test_a_template_without_resources_leaves_no_stack(orchestration, stack):
    orchestration.push(stack, harbour(), {}, None, {})
    assert orchestration.push(stack, {"heat_template_version": "2013-05-23", "resources": {}}, {}, None, {}) == {}
    assert orchestration.current(stack) is None


def test_a_template_heat_refuses_is_told_in_heats_words_when_created_and_when_updated(orchestration, stack):
    refused = harbour(crane={"type": "OS::Harbour::Crane"})
    with pytest.raises(ports.StackError, match=r"Heat refused the template: .*OS::Harbour::Crane"):
        orchestration.push(stack, refused, {}, None, {})
    assert orchestration.current(stack) is None

    orchestration.push(stack, harbour(), {}, None, {})
    with pytest.raises(ports.StackError, match=r"Heat refused the template: .*OS::Harbour::Crane"):
        orchestration.push(stack, refused, {}, None, {})
    assert orchestration.current(stack) == harbour()


def test_a_property_nobody_knows_is_named(orchestration, stack):
    with pytest.raises(ports.StackError, match="colour"):
        orchestration.push(stack, harbour(net={"type": "OS::Neutron::Net", "properties": {"colour": 1}}), {}, None, {})


def test_an_image_that_is_not_there_is_named(orchestration, stack, flavor):
    with pytest.raises(ports.StackError, match="no-such-image"):
        orchestration.push(stack, harbour(**server("no-such-image", flavor)), {"boot.sh": ""}, None, {})


def test_a_resource_that_fails_is_named_with_its_reason_and_mended_by_the_next_push(orchestration, stack):
    broken = harbour(
        twin={
            "type": "OS::Neutron::Subnet",
            "depends_on": "subnet",
            "properties": {"network": {"get_resource": "net"}, "cidr": "10.77.0.0/25", "ip_version": 4},
        }
    )
    with pytest.raises(ports.StackError, match=r"(?i)overlap") as raised:
        orchestration.push(stack, broken, {}, None, {})
    assert (raised.value.resource, raised.value.resource_type) == ("twin", "OS::Neutron::Subnet")

    broken["resources"]["twin"]["properties"]["cidr"] = "10.77.1.0/24"
    assert orchestration.push(stack, broken, {}, None, {})["size"] == "small"


def test_a_resource_of_a_nested_stack_that_fails_is_named_itself(orchestration, stack):
    inner = """
heat_template_version: 2013-05-23
resources:
  deepest: {type: OS::Heat::TestResource, properties: {fail: true}}
"""
    template = {"heat_template_version": "2013-05-23", "resources": {"outer": {"type": "inner.yaml"}}}
    with pytest.raises(ports.StackError) as raised:
        orchestration.push(stack, template, {"inner.yaml": inner}, None, {})
    assert (raised.value.resource, raised.value.resource_type) == ("deepest", "OS::Heat::TestResource")


def test_what_somebody_else_uses_can_not_be_deleted_and_the_reason_is_told(orchestration, stack, user):
    created = orchestration.push(stack, harbour(), {}, None, {})
    network = {"service_type": "network"}
    body = {"port": {"network_id": created["network"], "name": stack.name}}
    port = user.post("/v2.0/ports", json=body, endpoint_filter=network).json()["port"]
    try:
        for _attempt in range(2):
            with pytest.raises(ports.StackError, match="One or more ports have an IP allocation") as raised:
                orchestration.delete(stack)
            assert (raised.value.resource, raised.value.resource_type) == ("subnet", "OS::Neutron::Subnet")
    finally:
        user.delete(f"/v2.0/ports/{port['id']}", endpoint_filter=network)
    orchestration.delete(stack)
    assert orchestration.current(stack) is None


def test_a_stack_that_is_under_way_is_waited_for(orchestration, stack, heat):
    slow = {
        "heat_template_version": "2013-05-23",
        "resources": {"slow": {"type": "OS::Heat::TestResource", "properties": {"wait_secs": 4, "value": "first"}}},
        "outputs": {"value": {"value": {"get_attr": ["slow", "output"]}}},
    }
    heat.stacks.create(stack_name=stack.name, template=slow, disable_rollback=True)  # a worker that died after this
    assert orchestration.push(stack, slow, {}, None, {}) == {"value": "first"}


def test_a_session_without_access_says_so(user, name):
    stranger = session.Session(
        identity.Password(
            auth_url=user.auth.auth_url,
            username=name,
            password="wrong",
            project_name="demo",
            user_domain_name="Default",
            project_domain_name="Default",
        )
    )
    orchestration = heat_cloud.HeatOrchestration(
        lambda region: heat_client.Client("1", session=stranger, service_type="orchestration")
    )
    with pytest.raises(ports.StackError, match=r"no access to Heat: .*401"):
        orchestration.current(ports.Stack(name=name))


def test_network_explorers_see_neutrons_networks_and_share_one_router(user, name):
    network = heat_cloud.NeutronNetwork(lambda region: adapter.Adapter(user, service_type="network"))
    outside = [each for each in network.list("", "networks") if each["router:external"]]
    assert outside
    first = network.create_router("", name, outside[0]["id"])
    try:
        assert network.create_router("", name, outside[0]["id"])["id"] == first["id"]
        assert first["external_gateway_info"]["network_id"] == outside[0]["id"]
        assert "security-group" in {each["alias"] for each in network.list("", "extensions")}
    finally:
        user.delete(f"/v2.0/routers/{first['id']}", endpoint_filter={"service_type": "network"})
