"""Every kind of server, network, volume and rule with what only it can have: the whole resource that it becomes."""

from __future__ import annotations

import base64
import copy
import re

import pytest
from test_corelib_resources import VOLUME, in_existing_network, object_of
from test_corelib_servers import APP, PLAN, environment, network_id, region_id, rule, server

import dsl

RES = "io.murano.resources"


@pytest.fixture
def begin(start):
    def begin(model, **classes):
        return start(model, {"App": APP, **classes}, {"Run.template": PLAN})

    return begin


@pytest.fixture
def deployed(begin, world):
    """deployed(model): the program, after the deployment."""

    def deployed(model, **classes):
        program = begin(model, **classes)
        program.call("env", "deploy")
        return program

    return deployed


def of_kind(kind: str, name: str = "web", **properties: object) -> dict:
    return {**server(name, **properties), "?": {"type": f"{RES}.{kind}", "id": f"id-{name}"}}


def on_network(*servers: dict, **properties: object) -> dict:
    network = object_of(f"{RES}.NeutronNetwork", "pattern", name="lan", **properties)
    return environment(*servers, defaultNetworks={"environment": network, "flat": None})


def resource(world, name: str) -> dict:
    return world.template["resources"][name]


# servers


@pytest.mark.parametrize(("kind", "rules"), [("Instance", [80, 4001]), ("LinuxInstance", [80, 4001, 22])])
def test_a_server_without_agent_has_no_boot_data(deployed, world, kind, rules):
    program = deployed(environment(of_kind(kind)))
    properties = resource(world, "web")["properties"]
    assert properties["user_data_format"] == "HEAT_CFNTOOLS"
    assert "user_data" not in properties
    group = resource(world, region_id(program))["properties"]["rules"]
    assert [each["port_range_min"] for each in group[1:]] == rules


CUSTOM = """
Namespaces: {=: test.app, res: io.murano.resources}
Name: Custom
Extends: res:LinuxUDInstance
Methods:
  deploy:
    Body:
      - $.setCustomUserData('#cloud-config')
      - super($, $.deploy())
"""


def test_boot_data_that_a_package_gives(deployed, world):
    deployed(environment({**server("web"), "?": {"type": "test.app.Custom", "id": "id-web"}}), Custom=CUSTOM)
    properties = resource(world, "web")["properties"]
    assert (properties["user_data"], properties["user_data_format"]) == ("#cloud-config", "HEAT_CFNTOOLS")


def test_the_windows_agent_is_configured_by_its_boot_data(deployed, world):
    world.protocol = "amqp"
    world.settings |= {("rabbitmq", "host"): "broker.example.org", (None, "file_server"): "files.example.org"}
    deployed(environment(of_kind("WindowsInstance")))
    script = resource(world, "web")["properties"]["user_data"]
    assert script.startswith("#ps1")
    assert "files.example.org" in script
    (encoded,) = re.findall(r"[A-Za-z0-9+/]{200,}={0,2}", script)
    config = base64.b64decode(encoded).decode()
    assert '<add key="rabbitmq.host" value="broker.example.org" />' in config
    assert "eenv-hid-web" in config
    assert "-execution-results--random1" in config
    assert not re.findall(r"%[A-Z_]+%", script + config)


def test_a_server_with_groups_of_its_own(deployed, world):
    front = server("db", securityGroupName="front")
    program = deployed(environment(server("web", securityGroups=["default", "web"]), front))
    net = network_id(program)
    assert resource(world, f"port-{net}-web")["properties"]["security_groups"] == ["default", "web"]
    assert resource(world, f"port-{net}-db")["properties"]["security_groups"] == [{"get_resource": "front"}]


def test_a_group_with_a_name_of_its_own_gets_the_servers_rule(deployed, world):
    deployed(environment(server("web", securityGroupName="front")))
    group = resource(world, "front")
    assert group["type"] == "OS::Neutron::SecurityGroup"
    assert group["properties"]["rules"] == [
        {"protocol": "icmp", "remote_ip_prefix": "0.0.0.0/0"},
        rule(22, 22, "tcp", remote_ip_prefix="0.0.0.0/0"),
    ]


def test_servers_that_are_to_be_together(deployed, world):
    group = object_of(f"{RES}.InstanceAffinityGroup", "near", affinity=True)
    deployed(environment(server("web", instanceAffinityGroup=group)))
    assert resource(world, "NovaServerGroup-near")["properties"]["policies"] == ["affinity"]


def test_a_server_boots_from_a_volume_that_is_made_for_it(deployed, world):
    volume = object_of(VOLUME, "disk", name="disk", size=8, sourceImage="image-1")
    device = {"volume": volume, "deviceName": None, "deviceType": "cdrom", "bootIndex": 1}
    program = deployed(environment(server("web", image=None, blockDevices=[device])))
    assert resource(world, "web")["properties"]["block_device_mapping_v2"] == [
        {"device_type": "cdrom", "boot_index": 1, "volume_id": {"get_resource": "vol-disk"}}
    ]
    stored = program.dump()["Objects"]["applications"][0]["servers"][0]["blockDevices"][0]["volume"]
    assert stored["openstackId"] == "vol-disk!"
    assert stored["attachments"] is not None


# networks


def test_a_network_of_ip_version_6_with_name_servers_of_its_own(deployed, world):
    program = deployed(on_network(server("web"), ipVersion=6, dnsNameservers=["2001:db8::53"]))
    subnet = resource(world, f"subnet-{network_id(program)}")["properties"]
    assert (subnet["ip_version"], subnet["dns_nameservers"]) == (6, ["2001:db8::53"])
    assert subnet["cidr"].startswith("::ffff:a00:"), "10.0.0.0 as an address of version 6"


def test_a_network_without_a_way_out(deployed, world):
    program = deployed(on_network(server("web", assignFloatingIp=True), autoUplink=False, subnetCidr="10.7.0.0/24"))
    net = network_id(program)
    assert resource(world, f"subnet-{net}")["properties"]["cidr"] == "10.7.0.0/24"
    assert f"ri-{net}" not in world.template["resources"]
    assert not [name for name in world.template["resources"] if name.startswith("fip-")], "nothing to lead it to"


def test_a_network_with_neither_uplink_nor_subnet_asks_neutron_for_nothing(begin, world):
    begin(on_network(autoUplink=False, autogenerateSubnet=False, subnetCidr="10.7.0.0/24", dnsNameservers=["1.1.1.1"]))
    before = len(world.named("network.list"))
    program = begin(on_network(autoUplink=False, autogenerateSubnet=False, subnetCidr="10.7.0.0/24"))
    program.call(network_id(program), "deploy")
    assert {effect.arguments["kind"] for effect in world.named("network.list")[before:]} == {"extensions"}


def test_ports_without_port_security(deployed, world):
    program = deployed(on_network(server("web"), port_security_disable=True))
    properties = resource(world, f"port-{network_id(program)}-web")["properties"]
    assert properties["port_security_enabled"] is False
    assert "security_groups" not in properties


def test_a_network_describes_itself_and_goes_with_all_it_brought(deployed, world):
    program = deployed(environment())
    net = network_id(program)
    program.call(net, "deploy")
    described = program.call(net, "describe")
    assert described == {
        "provider": "Neutron",
        "netName": "demo-network",
        "netId": f"network-{net}!",
        "subnetId": f"subnet-{net}!",
        "cidr": resource(world, f"subnet-{net}")["properties"]["cidr"],
        "dns": [],
        "gateway": described["gateway"],
        "floatingIpNetId": "ext-1",
    }
    program.call(net, "releaseResources")
    assert not [name for name in world.template["resources"] if net in name]
    assert "demo-network-id" not in world.template["outputs"]


@pytest.fixture
def existing(world):
    world.cloud.networks["networks"].append({"id": "net-1", "name": "private", "tenant_id": "project-1"})
    world.cloud.networks["networks"].append({"id": "ext-2", "name": "fast", "router:external": True})
    world.cloud.networks["subnets"] = [
        {"id": "subnet-1", "name": "one", "network_id": "net-1", "cidr": "192.168.0.0/24", "gateway_ip": "192.168.0.1"},
        {"id": "subnet-2", "name": "two", "network_id": "net-1", "cidr": "192.168.1.0/24", "gateway_ip": "192.168.1.1"},
    ]


@pytest.mark.usefixtures("existing")
@pytest.mark.parametrize("subnet", ["two", "subnet-2"])
def test_an_existing_network_by_subnet_and_external_network(deployed, world, subnet):
    names = {"internalNetworkName": "private", "internalSubnetworkName": subnet, "externalNetworkName": "fast"}
    program = deployed(in_existing_network(server("web", assignFloatingIp=True), **names))
    net = network_id(program)
    assert resource(world, f"port-{net}-web")["properties"]["fixed_ips"] == [{"subnet": "subnet-2"}]
    assert resource(world, f"fip-{net}-web")["properties"]["floating_network"] == "ext-2"
    assert program.call(net, "describe") == {
        "provider": "Neutron",
        "netName": "private",
        "netId": "net-1",
        "subnetId": "subnet-2",
        "cidr": "192.168.1.0/24",
        "dns": None,
        "gateway": "192.168.1.1",
        "floatingIpNetId": "ext-2",
    }


@pytest.mark.usefixtures("existing")
@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ({"internalSubnetworkName": "three"}, "SubnetNotFound", "Network 'private' has no subnet 'three'"),
        ({"externalNetworkName": "slow"}, "NetworkNotFound", "No external network 'slow' is visible"),
    ],
)
def test_what_an_existing_network_lacks_is_named(begin, names, error, text):
    program = begin(in_existing_network(server("web"), internalNetworkName="private", **names))
    with pytest.raises(dsl.Thrown, match=text) as caught:
        program.call("env", "deploy")
    assert caught.value.names == (f"{RES}.{error}",)


# volumes

SOURCES = [
    ({"sourceImage": "image-1"}, {"image": "image-1"}),
    (
        {"sourceSnapshot": object_of(f"{RES}.CinderVolumeSnapshot", "s", openstackId="snap-1")},
        {"snapshot_id": "snap-1"},
    ),
    (
        {"sourceVolumeBackup": object_of(f"{RES}.CinderVolumeBackup", "b", openstackId="back-1")},
        {"backup_id": "back-1"},
    ),
    ({"sourceVolume": object_of(f"{RES}.ExistingCinderVolume", "v", openstackId="vol-1")}, {"source_volid": "vol-1"}),
    ({"sourceVolume": object_of(VOLUME, "v", size=1)}, {"source_volid": {"get_resource": "vol-v"}}),
]


@pytest.mark.parametrize(("source", "property_"), SOURCES, ids=["image", "snapshot", "backup", "existing", "made"])
def test_a_volume_is_made_from_one_source(deployed, world, source, property_):
    volume = object_of(
        VOLUME, "data", name="data", size=2, availabilityZone="az-1", readOnly=True, **copy.deepcopy(source)
    )
    deployed(environment(server("web", volumes={"/dev/vdb": volume})))
    assert resource(world, "vol-data") == {
        "type": "OS::Cinder::Volume",
        "properties": {
            "size": 2,
            "name": "data",
            "availability_zone": "az-1",
            "read_only": True,
            "metadata": {},
            **property_,
        },
    }


def test_a_volume_with_two_sources_is_refused(begin):
    volume = object_of(VOLUME, "data", size=2, sourceImage="i", **copy.deepcopy(SOURCES[1][0]))
    program = begin(environment(server("web", volumes={"/dev/vdb": volume})))
    with pytest.raises(dsl.Thrown, match="Volume data has 2 sources, it can be made from one only") as caught:
        program.call("env", "deploy")
    assert caught.value.names == (f"{RES}.ResourceConflict",)


def test_a_changed_volume_is_pushed_and_an_unchanged_one_is_not(begin, deployed, world):
    program = deployed(environment(server("web", volumes={"/dev/vdb": object_of(VOLUME, "data", size=2, name="old")})))
    model = program.finalize()
    pushed = len(world.pushes)
    begin(copy.deepcopy(model)).call("data", "deploy")
    assert len(world.pushes) == pushed
    volume = model["Objects"]["applications"][0]["servers"][0]["volumes"]["/dev/vdb"]
    volume |= {"size": 3, "name": None}
    begin(model).call("data", "deploy")
    assert len(world.pushes) == pushed + 1
    assert resource(world, "vol-data")["properties"] == {"size": 3, "metadata": {}, "read_only": False}


def test_an_existing_volume_is_attached_and_never_deleted(deployed, world):
    volume = object_of(f"{RES}.ExistingCinderVolume", "disk", openstackId="volume-7")
    program = deployed(environment(server("web", volumes={"/dev/vdb": volume})))
    assert resource(world, "vol-attachment-disk-web")["properties"]["volume_id"] == "volume-7"
    program.call("app", "release")
    assert not [name for name in world.template["resources"] if name.startswith("vol-")]


# rules


OPENER = """
Namespaces: {=: test.app, std: io.murano, res: io.murano.resources}
Name: Opener
Extends: std:Application
Methods:
  open:
    Arguments:
      - method: {Contract: $.string()}
      - arguments: {Contract: [$]}
    Body:
      - $environment: $.find(std:Environment)
      - call($method, $arguments, {}, $environment.securityGroupManager)
      - $environment.stack.push()
"""


@pytest.fixture
def opener(begin):
    """opener(network class): a program, and what calls its security group manager and pushes."""

    def opener(kind):
        network = object_of(f"{RES}.{kind}", "pattern", **({"name": "lan"} if kind == "NeutronNetwork" else {}))
        model = environment(defaultNetworks={"environment": network, "flat": None})
        model["Objects"]["applications"] = [object_of("test.app.Opener", "opener")]
        program = begin(model, Opener=OPENER)
        return program, lambda method, *arguments: program.call("opener", "open", method, list(arguments))

    return opener


def a_rule(**more: object) -> dict:
    return {"FromPort": 53, "ToPort": "54", "IpProtocol": "udp", "External": True, **more}


def test_rules_go_both_ways_and_into_any_group(opener, world):
    program, opens = opener("NeutronNetwork")
    opens("addGroupEgress", [a_rule(Ethertype="IPv6")])
    opens("addGroupIngress", [a_rule(External=False)], "other")
    group = resource(world, region_id(program))["properties"]["rules"]
    assert group[1:] == [
        {**rule(53, 54, "udp", remote_ip_prefix="::/0"), "ethertype": "IPv6", "direction": "egress"},
    ]
    assert resource(world, "other")["properties"]["rules"][1:] == [rule(53, 54, "udp", remote_mode="remote_group_id")]
    opens("addGroupIngress", [a_rule(External=False)], "other")
    assert len(resource(world, "other")["properties"]["rules"]) == 2, "a rule counts once"


@pytest.mark.parametrize("wrong", [{"Ethertype": "IPv5"}, {"FromPort": None}, {"ToPort": "many"}, {"External": None}])
def test_what_is_no_rule_is_refused(opener, wrong):
    _program, opens = opener("NeutronNetwork")
    with pytest.raises(dsl.Thrown) as caught:
        opens("addGroupIngress", [a_rule(**wrong)])
    assert caught.value.names == ("murano.dsl.exceptions.ContractViolationException",)


def test_rules_of_nova_network_are_texts_from_everywhere(opener, world):
    program, opens = opener("NovaNetwork")
    assert program.call(network_id(program), "describe") == {"provider": "NovaNetwork"}
    opens("addGroupIngress", [a_rule(External=False)])
    opens("addGroupEgress", [a_rule()])
    icmp = {"FromPort": "-1", "ToPort": "-1", "IpProtocol": "icmp", "CidrIp": "0.0.0.0/0"}
    opened = {"FromPort": "53", "ToPort": "54", "IpProtocol": "udp", "CidrIp": "0.0.0.0/0"}
    assert resource(world, region_id(program)) == {
        "type": "AWS::EC2::SecurityGroup",
        "properties": {
            "GroupDescription": "Composite security group of environment 'demo'",
            "SecurityGroupIngress": [icmp, opened],
            "SecurityGroupEgress": [icmp, opened],
        },
    }


def test_nova_network_has_no_rules_for_ip_version_6(opener, world):
    _program, opens = opener("NovaNetwork")
    with pytest.raises(dsl.Thrown, match="is not supported by nova-network") as caught:
        opens("addGroupIngress", [a_rule(Ethertype="IPv6")])
    assert caught.value.names == ("io.murano.system.UnsupportedPropertyValue",)
    assert [level for _, level, text in world.reports if "IPv6" in text] == ["error"]


def test_where_there_are_no_groups_rules_have_no_effect(opener, world):
    world.cloud.networks["extensions"] = []
    _program, opens = opener("NeutronNetwork")
    opens("addGroupIngress", [a_rule()])
    assert world.pushes == []


# shared addresses


def test_a_shared_address_is_given_back_with_all_it_was(deployed, world):
    shared = object_of("io.murano.SharedIp", "vip", assignFloatingIp=True)
    program = deployed(environment(server("web", sharedIps=[shared])))
    pushed = len(world.pushes)
    program.call("vip", "deploy")
    assert len(world.pushes) == pushed, "it is deployed once"
    program.call("vip", "releaseResources")
    assert not [name for name in world.template["resources"] if name.endswith("-vip")]
    assert not [name for name in world.template["outputs"] if "-vip-" in name]
    stored = program.dump()["Objects"]["applications"][0]["servers"][0]["sharedIps"][0]
    assert (stored["virtualIp"], stored["floatingIpAddress"]) == (None, None)


def test_a_shared_address_needs_a_network(begin):
    shared = object_of("io.murano.SharedIp", "vip")
    networks = {"environment": None, "flat": None}
    program = begin(environment(server("web", sharedIps=[shared]), defaultNetworks=networks))
    with pytest.raises(dsl.Thrown, match="SharedIp vip names no network and its region has no default one"):
        program.call("vip", "deploy")
