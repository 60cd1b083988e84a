"""Volumes, groups, shared addresses, other kinds of networks and servers: the resources they become."""

from __future__ import annotations

import base64
import copy

import pytest
from test_corelib_servers import APP, PLAN, environment, network_id, server

VOLUME = "io.murano.resources.CinderVolume"


@pytest.fixture
def begin(start):
    def begin(model, **classes):
        return start(model, {"App": APP, **classes}, {"Run.template": PLAN})

    return begin


def object_of(kind: str, identifier: str, /, **properties: object) -> dict:
    return {"?": {"type": kind, "id": identifier}, **properties}


def without_user_data(resource: dict) -> dict:
    resource = copy.deepcopy(resource)
    resource["properties"].pop("user_data", None)
    return resource


def test_an_attached_volume_is_made_first_and_mounted(begin, world):
    volume = object_of(VOLUME, "data", name="data", size=10, sourceImage="image-1")
    program = begin(environment(server("web", volumes={"/dev/vdb": volume})))

    program.call("env", "deploy")

    resources, outputs = world.template["resources"], world.template["outputs"]
    assert resources["vol-data"] == {
        "type": "OS::Cinder::Volume",
        "properties": {"size": 10, "metadata": {}, "name": "data", "image": "image-1", "read_only": False},
    }
    assert resources["vol-attachment-data-web"] == {
        "type": "OS::Cinder::VolumeAttachment",
        "properties": {
            "instance_uuid": {"get_resource": "web"},
            "mountpoint": "/dev/vdb",
            "volume_id": {"get_resource": "vol-data"},
        },
    }
    assert outputs["vol-data-id"]["value"] == {"get_resource": "vol-data"}
    assert outputs["vol-data-attachments"]["value"] == {"get_attr": ["vol-data", "attachments_list"]}
    deployed = program.dump()["Objects"]["applications"][0]["servers"][0]["volumes"]["/dev/vdb"]
    assert deployed["openstackId"] == "vol-data!"


def test_a_server_boots_from_a_volume_that_exists(begin, world):
    volume = object_of("io.murano.resources.ExistingCinderVolume", "disk", openstackId="volume-7")
    device = {"volume": volume, "deviceName": "vda", "deviceType": "disk", "bootIndex": 0}
    program = begin(environment(server("web", image=None, blockDevices=[device])))

    program.call("env", "deploy")

    properties = world.template["resources"]["web"]["properties"]
    assert "image" not in properties
    assert properties["block_device_mapping_v2"] == [
        {"device_name": "vda", "device_type": "disk", "boot_index": 0, "volume_id": "volume-7"}
    ]


def test_a_server_leaves_before_its_volume(begin, world):
    volume = object_of(VOLUME, "data", size=1)
    program = begin(environment(server("web", volumes={"/dev/vdb": volume})))
    program.call("env", "deploy")
    model = program.finalize()
    model["ObjectsCopy"] = copy.deepcopy(model["Objects"])
    model["Objects"]["applications"] = []

    begin(model).collect()

    for template in world.pushes:
        attached = [name for name in template["resources"] if name.startswith("vol-attachment-")]
        assert not attached or "vol-data" in template["resources"]
    assert not [name for name in world.template["resources"] if name.startswith("vol-")]
    assert not [name for name in world.template["outputs"] if name.startswith("vol-")]


def test_servers_share_an_affinity_group(begin, world):
    group = object_of("io.murano.resources.InstanceAffinityGroup", "apart")
    program = begin(
        environment(server("web", instanceAffinityGroup=group), server("db", instanceAffinityGroup="apart"))
    )

    program.call("env", "deploy")

    resources = world.template["resources"]
    assert resources["NovaServerGroup-apart"] == {
        "type": "OS::Nova::ServerGroup",
        "properties": {"name": "NovaServerGroup-apart", "policies": ["anti-affinity"]},
    }
    for name in ("web", "db"):
        assert resources[name]["properties"]["scheduler_hints"] == {"group": {"get_resource": "NovaServerGroup-apart"}}


def test_what_several_refer_to_leaves_last(begin, world):
    group = object_of("io.murano.resources.InstanceAffinityGroup", "apart")
    volume = object_of(VOLUME, "data", size=1)
    program = begin(
        environment(
            server("web", instanceAffinityGroup=group, volumes={"/dev/vdb": volume}),
            server("db", instanceAffinityGroup="apart", assignFloatingIp=True),
        )
    )
    program.call("env", "deploy")
    model = program.finalize()
    model["ObjectsCopy"] = copy.deepcopy(model["Objects"])
    model["Objects"]["applications"] = []

    begin(model).collect()

    types = {resource["type"] for resource in world.template["resources"].values()}
    assert types == {
        "OS::Neutron::SecurityGroup",
        "OS::Neutron::Net",
        "OS::Neutron::Subnet",
        "OS::Neutron::RouterInterface",
    }
    assert set(world.template["outputs"]) == {"demo-network-id"}


def test_deleting_everything_deletes_the_stack_once_and_counts_the_servers_out(begin, world):
    group = object_of("io.murano.resources.InstanceAffinityGroup", "apart")
    shared = object_of("io.murano.SharedIp", "vip")
    servers = [
        server("web", instanceAffinityGroup=group, sharedIps=[shared]),
        server("db", instanceAffinityGroup="apart", volumes={"/dev/vdb": object_of(VOLUME, "data", size=1)}),
        server("cache", assignFloatingIp=True),
    ]
    program = begin(environment(*servers))
    program.call("env", "deploy")
    model = program.finalize()
    pushed = len(world.pushes)

    ending = begin({"Objects": None, "ObjectsCopy": model["Objects"], "Attributes": model["Attributes"]})
    ending.collect()
    ending.finalize()

    assert world.cloud.stacks == {}
    assert len(world.pushes) == pushed
    assert len(world.named("heat.delete")) == 1
    untracked = {effect.arguments["instance_id"] for effect in world.named("instance.untrack")}
    assert untracked == {"id-web", "id-db", "id-cache"}


def test_servers_answer_to_a_shared_address(begin, world):
    shared = object_of("io.murano.SharedIp", "vip", assignFloatingIp=True)
    program = begin(environment(server("web", sharedIps=[shared])))

    program.call("env", "deploy")

    net = network_id(program)
    resources, outputs = world.template["resources"], world.template["outputs"]
    assert resources["AllowedAddressPairsPort-vip"] == {
        "type": "OS::Neutron::Port",
        "properties": {
            "network_id": f"network-{net}!",
            "replacement_policy": "AUTO",
            "fixed_ips": [{"subnet_id": f"subnet-{net}!"}],
        },
    }
    assert resources["Shared-Floating-ip-vip"] == {
        "type": "OS::Neutron::FloatingIP",
        "properties": {"floating_network_id": "ext-1", "port_id": {"get_resource": "AllowedAddressPairsPort-vip"}},
    }
    assert outputs["AllowedAddressPairsPort-vip-virtualIp"]["value"] == {
        "get_attr": ["AllowedAddressPairsPort-vip", "fixed_ips", 0, "ip_address"]
    }
    vip = program.dump()["Objects"]["applications"][0]["servers"][0]["sharedIps"][0]
    assert vip["virtualIp"] == world.cloud.addresses["AllowedAddressPairsPort-vip"]
    assert vip["floatingIpAddress"] == world.cloud.addresses["Shared-Floating-ip-vip"]
    assert resources[f"port-{net}-web"]["properties"]["allowed_address_pairs"] == [
        {"ip_address": f"{vip['virtualIp']}/32"}
    ]


def test_servers_share_a_range_of_addresses(begin, world):
    shared = object_of("io.murano.SharedIpRange", "range", cidr="10.9.0.0/24")
    program = begin(environment(server("web", sharedIps=[shared])))

    program.call("env", "deploy")

    net = network_id(program)
    resources = world.template["resources"]
    assert resources["AllowedAddressPairsSubnet-range"] == {
        "type": "OS::Neutron::Subnet",
        "properties": {"enable_dhcp": False, "network": f"network-{net}!", "cidr": "10.9.0.0/24"},
    }
    assert world.template["outputs"]["AllowedAddressPairsSubnet-range-cidr"]["value"] == {
        "get_attr": ["AllowedAddressPairsSubnet-range", "cidr"]
    }
    assert resources[f"port-{net}-web"]["properties"]["allowed_address_pairs"] == [{"ip_address": "10.9.0.0/24"}]


@pytest.fixture
def existing(world):
    """A network of the project's own with a way out."""
    world.cloud.networks["networks"].append({"id": "net-1", "name": "private", "tenant_id": "project-1"})
    world.cloud.networks["subnets"] = [
        {"id": "subnet-1", "name": "s", "network_id": "net-1", "cidr": "192.168.0.0/24", "gateway_ip": "192.168.0.1"}
    ]
    world.cloud.networks["ports"] = [
        {"network_id": "net-1", "device_owner": "network:router_interface", "device_id": "router-1"},
        {"network_id": "ext-1", "device_owner": "network:router_gateway", "device_id": "router-1"},
    ]


def in_existing_network(*servers: dict, **names: str) -> dict:
    network = object_of("io.murano.resources.ExistingNeutronNetwork", "pattern", **names)
    return environment(*servers, defaultNetworks={"environment": network, "flat": None})


@pytest.mark.usefixtures("existing")
@pytest.mark.parametrize("names", [{}, {"internalNetworkName": "private"}, {"internalNetworkName": "net-1"}])
def test_a_server_joins_a_network_that_exists(begin, world, names):
    program = begin(in_existing_network(server("web", assignFloatingIp=True, securityGroups=["default"]), **names))

    program.call("env", "deploy")

    net = network_id(program)
    resources = world.template["resources"]
    assert resources[f"port-{net}-web"]["properties"] == {
        "network": "net-1",
        "replacement_policy": "AUTO",
        "fixed_ips": [{"subnet": "subnet-1"}],
        "security_groups": ["default"],
    }
    assert resources[f"fip-{net}-web"]["properties"]["floating_network"] == "ext-1"
    assert world.template["outputs"][f"addresses-web-{net}"]["value"] == {"get_attr": ["web", "addresses", "private"]}


@pytest.mark.usefixtures("existing")
def test_no_subnet_is_chosen_in_another_projects_network(begin, world):
    world.cloud.networks["networks"][-1]["tenant_id"] = "another"
    program = begin(in_existing_network(server("web")))

    program.call("env", "deploy")

    assert "fixed_ips" not in world.template["resources"][f"port-{network_id(program)}-web"]["properties"]


@pytest.mark.usefixtures("existing")
def test_a_network_that_does_not_exist_is_named(begin):
    program = begin(in_existing_network(server("web"), internalNetworkName="nowhere"))
    with pytest.raises(Exception, match="No network 'nowhere' is visible to this project, which sees ext-net, private"):
        program.call("env", "deploy")


def test_a_cloud_without_security_groups_gets_none_and_the_user_is_told(begin, world):
    world.cloud.networks["extensions"] = []
    program = begin(environment(server("web")))

    program.call("env", "deploy")

    types = {resource["type"] for resource in world.template["resources"].values()}
    assert "OS::Neutron::SecurityGroup" not in types
    assert any("no security groups" in text for _, _, text in world.reports)


def test_the_network_of_a_cloud_with_nova_network(begin, world):
    network = object_of("io.murano.resources.NovaNetwork", "pattern")
    program = begin(
        environment(server("web", assignFloatingIp=True), defaultNetworks={"environment": network, "flat": None})
    )

    program.call("env", "deploy")

    resources, outputs = world.template["resources"], world.template["outputs"]
    (group,) = resources["web"]["properties"]["security_groups"]
    assert resources[group["get_resource"]]["type"] == "AWS::EC2::SecurityGroup"
    assert resources["fip-nn-web"] == {"type": "OS::Nova::FloatingIP"}
    assert resources["fip-nn-webAssignment"] == {
        "type": "OS::Nova::FloatingIPAssociation",
        "properties": {"floating_ip": {"get_resource": "fip-nn-web"}, "server_id": {"get_resource": "web"}},
    }
    assert outputs["web-assigned-ips"]["value"] == {"get_attr": ["web", "networks"]}
    assert outputs["web-floatingIPaddress"]["value"] == {"get_attr": ["fip-nn-web", "ip"]}
    assert program.dump()["Objects"]["applications"][0]["servers"][0]["ipAddresses"][0].startswith("10.0.0.")


def test_agents_of_a_broker_get_the_classic_boot_data(begin, world):
    world.protocol = "amqp"
    world.settings |= {("rabbitmq", "host"): "broker.example.org", ("rabbitmq", "password"): "pa$$"}
    program = begin(environment(server("web")))

    program.call("env", "deploy")

    resources = world.template["resources"]
    assert resources["boot_config-web"]["type"] == "OS::Heat::CloudConfig"
    assert resources["boot_config-web"]["properties"]["cloud_config"]["hostname"] == "web"
    assert resources["user_data-web"] == {
        "type": "OS::Heat::MultipartMime",
        "properties": {
            "parts": [
                {"config": {"get_resource": "boot_config-web"}},
                {"config": {"get_resource": "boot_script_web"}},
            ]
        },
    }
    assert resources["web"]["properties"]["user_data"] == {"get_resource": "user_data-web"}
    script = resources["boot_script_web"]["properties"]["config"]
    assert resources["boot_script_web"]["properties"]["group"] == "ungrouped"
    assert script.startswith("#!/bin/sh\n")
    assert "%" not in script.replace("%{", "")
    config = decoded(script, "/etc/murano/agent.conf")
    assert "host = broker.example.org\n" in config
    assert "password = pa$$\n" in config
    assert "ssl = false\n" in config
    assert "input_queue = eenv-hid-web\n" in config
    assert "result_routing_key = -execution-results--random1\n" in config


def decoded(script: str, path: str) -> str:

    (line,) = [line for line in script.splitlines() if line.startswith(f"put {path} ")]
    return base64.b64decode(line.rsplit("'", 2)[1]).decode()


def test_a_released_broker_server_takes_its_boot_data_along(begin, world):
    world.protocol = "amqp"
    program = begin(environment(server("web"), server("db")))
    program.call("env", "deploy")

    program.call("app", "release")

    names = set(world.template["resources"])
    assert {"boot_config-web", "boot_script_web", "user_data-web"} <= names
    assert not [name for name in names if name.endswith("db")]


def test_servers_for_chef_and_puppet_get_them_at_boot(begin, world):
    world.protocol = "amqp"
    model = environment({**server("web"), "?": {"type": "io.murano.resources.ConfLangInstance", "id": "id-web"}})

    begin(model).call("env", "deploy")

    config = world.template["resources"]["boot_config_web"]["properties"]["cloud_config"]
    assert {"git", "puppet", "chef"} <= set(config["packages"])
    assert {"epel", "puppetlabs", "chef"} == set(config["yum_repos"])


def test_the_agent_for_windows_needs_a_broker(begin, world):
    model = environment({**server("win"), "?": {"type": "io.murano.resources.WindowsInstance", "id": "id-win"}})
    with pytest.raises(Exception, match="The agent of Windows instance 'win' needs a message broker"):
        begin(copy.deepcopy(model)).call("env", "deploy")

    world.cloud.stacks.clear()
    world.protocol = "amqp"
    begin(model).call("env", "deploy")
    properties = world.template["resources"]["win"]["properties"]
    assert properties["user_data"].startswith("#ps1")
    assert properties["user_data_format"] == "HEAT_CFNTOOLS"
    (group,) = [each for each in world.template["resources"].values() if "SecurityGroup" in each["type"]]
    assert [rule["port_range_min"] for rule in group["properties"]["rules"][1:]] == [80, 4001, 3389]


SOFTWARE = """
Namespaces:
  =: test.app
  res: io.murano.resources

Name: Configured

Extends: res:HeatSWConfigLinuxInstance

Methods:
  deploy:
    Body:
      - $.addStructuredConfig(etc, dict(a => 1), dict(x => y), CFN_SIGNAL)
      - $.addSoftwareConfig(run, 'echo 1')
      - super($, $.deploy())
"""


def test_heats_own_software_deployments(begin, world):
    model = environment({**server("web"), "?": {"type": "test.app.Configured", "id": "id-web"}})
    program = begin(model, Configured=SOFTWARE)

    program.call("env", "deploy")

    resources = world.template["resources"]
    assert resources["web-etc"] == {
        "type": "OS::Heat::StructuredConfig",
        "properties": {
            "group": "Heat::Ungrouped",
            "config": {"a": 1, "completion-signal": {"get_input": "deploy_signal_id"}},
        },
    }
    assert resources["web-etc-deployment"] == {
        "type": "OS::Heat::StructuredDeployment",
        "properties": {
            "config": {"get_resource": "web-etc"},
            "server": {"get_resource": "web"},
            "input_values": {"x": "y"},
            "signal_transport": "CFN_SIGNAL",
        },
    }
    assert resources["web-run"]["type"] == "OS::Heat::SoftwareConfig"
    assert resources["web-run-deployment"]["type"] == "OS::Heat::SoftwareDeployment"
    assert resources["web"]["properties"]["user_data_format"] == "SOFTWARE_CONFIG"
    assert world.template["outputs"]["web-run-deployment-stdout"]["value"] == {
        "get_attr": ["web-run-deployment", "deploy_stdout"]
    }
    program.call("app", "release")
    assert not [name for name in world.template["resources"] if name.startswith("web")]


def test_metadata_comes_from_the_object_and_from_those_above_it(begin, world):
    model = environment(server("web"))
    model["Objects"]["?"]["metadata"] = {"test:known": "env", "unknown": "env", "team": "env"}
    model["Objects"]["applications"][0]["?"]["metadata"] = {"test:known": "app"}
    model["Objects"]["applications"][0]["servers"][0]["?"]["metadata"] = {"team": "own"}

    begin(model).call("env", "deploy")

    assert world.template["resources"]["web"]["properties"]["metadata"] == {"test:known": "app", "team": "own"}
