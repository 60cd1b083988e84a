"""Servers on the environment's network: what is pushed, what comes back, what goes when they go."""

from __future__ import annotations

import copy

import pytest

APP = """
Namespaces:
  =: test.app
  std: io.murano
  res: io.murano.resources
  sys: io.murano.system
  conf: io.murano.configuration

Name: App

Extends: std:Application

Properties:
  servers:
    Contract: [$.class(res:Instance).notNull()]

Methods:
  .init:
    Body:
      - $._environment: $.find(std:Environment).require()

  deploy:
    Body:
      - $._environment.securityGroupManager.addGroupIngress([
          dict(FromPort => 80, ToPort => 80, IpProtocol => tcp, External => true),
          dict(FromPort => '4001', ToPort => '4002', IpProtocol => udp, External => false)])
      - $.servers.pselect($.deploy())
      - $._environment.reporter.report($this, 'Servers are there')

  run:
    Arguments:
      - name:
          Contract: $.string().notNull()
    Body:
      - $resources: new(sys:Resources)
      - $template: $resources.yaml('Run.template').bind(dict(name => $name))
      - Return: $.servers.first().agent.call($template, $resources)

  command:
    Body:
      - $result: conf:Linux.runCommand($.servers.first().agent, 'uptime')
      - Return: $result.stdout

  release:
    Body:
      - $.servers.last().releaseResources()
"""

PLAN = """
FormatVersion: 2.0.0
Version: 1.0.0
Name: Run something
Parameters:
  name: $name
Body: |
  return run(args.name).stdout
Scripts:
  run:
    Type: Application
    Version: 1.0.0
    EntryPoint: run.sh
    Files:
      - <data.txt>
    Options:
      captureStdout: true
      captureStderr: false
"""


def server(name: str, **properties: object) -> dict:
    return {
        "?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": f"id-{name}"},
        "name": name,
        "flavor": "m1.small",
        "image": "ubuntu",
        **properties,
    }


def environment(*servers: dict, **properties: object) -> dict:
    return {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "defaultNetworks": {
                "environment": {
                    "?": {"type": "io.murano.resources.NeutronNetwork", "id": "pattern"},
                    "name": "demo-network",
                },
                "flat": None,
            },
            "applications": [{"?": {"type": "test.app.App", "id": "app"}, "servers": list(servers)}],
            **properties,
        }
    }


@pytest.fixture
def begin(start):
    """begin(model): a program with the test application."""

    def begin(model):
        return start(
            model, {"App": APP}, {"Run.template": PLAN, "scripts/run.sh": "echo $1\n", "scripts/data.txt": "x"}
        )

    return begin


def network_id(program) -> str:
    return program.dump()["Objects"]["regions"][""]["defaultNetworks"]["environment"]["?"]["id"]


def region_id(program) -> str:
    return program.dump()["Objects"]["regions"][""]["?"]["id"]


def test_the_template_of_one_server_is_complete(begin, world):
    program = begin(environment(server("web", keyname="key", assignFloatingIp=True)))

    program.call("env", "deploy")

    net, group = network_id(program), region_id(program)
    template = copy.deepcopy(world.template)
    user_data = template["resources"]["web"]["properties"].pop("user_data")
    assert user_data.startswith("Content-Type: multipart/mixed")
    assert template["heat_template_version"] == "2013-05-23"
    assert "demo" in template["description"]
    assert template["resources"] == {
        group: {
            "type": "OS::Neutron::SecurityGroup",
            "properties": {
                "description": "Composite security group of environment 'demo'",
                "rules": [
                    {"protocol": "icmp", "remote_ip_prefix": "0.0.0.0/0"},
                    rule(80, 80, "tcp", remote_ip_prefix="0.0.0.0/0"),
                    rule(4001, 4002, "udp", remote_mode="remote_group_id"),
                    rule(22, 22, "tcp", remote_ip_prefix="0.0.0.0/0"),
                ],
            },
        },
        f"network-{net}": {"type": "OS::Neutron::Net", "properties": {"name": f"demo-network-{net}"}},
        f"subnet-{net}": {
            "type": "OS::Neutron::Subnet",
            "properties": {
                "network": {"get_resource": f"network-{net}"},
                "ip_version": 4,
                "dns_nameservers": [],
                "cidr": template["resources"][f"subnet-{net}"]["properties"]["cidr"],
            },
        },
        f"ri-{net}": {
            "type": "OS::Neutron::RouterInterface",
            "properties": {"router_id": "router-1", "subnet": {"get_resource": f"subnet-{net}"}},
        },
        f"port-{net}-web": {
            "type": "OS::Neutron::Port",
            "properties": {
                "network": {"get_resource": f"network-{net}"},
                "replacement_policy": "AUTO",
                "fixed_ips": [{"subnet": {"get_resource": f"subnet-{net}"}}],
                "security_groups": [{"get_resource": group}],
            },
        },
        f"fip-{net}-web": {
            "type": "OS::Neutron::FloatingIP",
            "depends_on": [f"ri-{net}"],
            "properties": {"floating_network": "ext-1", "port_id": {"get_resource": f"port-{net}-web"}},
        },
        "web": {
            "type": "OS::Nova::Server",
            "properties": {
                "name": "web",
                "flavor": "m1.small",
                "image": "ubuntu",
                "availability_zone": "nova",
                "key_name": "key",
                "metadata": {},
                "user_data_format": "RAW",
                "networks": [{"port": {"get_resource": f"port-{net}-web"}}],
            },
        },
    }
    assert {name: output["value"] for name, output in template["outputs"].items()} == {
        "demo-network-id": {"get_resource": f"network-{net}"},
        f"addresses-web-{net}": {"get_attr": ["web", "addresses", f"demo-network-{net}"]},
        "web-floatingIPaddress": {"get_attr": [f"fip-{net}-web", "floating_ip_address"]},
        "web-id": {"get_resource": "web"},
    }


def rule(low: int, high: int, protocol: str, **remote: str) -> dict:
    return {
        "port_range_min": low,
        "port_range_max": high,
        "protocol": protocol,
        "ethertype": "IPv4",
        "direction": "ingress",
        **remote,
    }


def test_the_server_learns_what_the_cloud_made_of_it(begin, world):
    program = begin(environment(server("web", assignFloatingIp=True)))

    program.call("env", "deploy")

    deployed = program.dump()["Objects"]["applications"][0]["servers"][0]
    assert deployed["openstackId"] == "web!"
    assert deployed["ipAddresses"] == ["10.0.0.11", "172.24.4.11"]
    assert deployed["floatingIpAddress"] == "172.24.4.11"
    assert deployed["joinedNetworks"] == [{"network": network_id(program), "ipList": ["10.0.0.11", "172.24.4.11"]}]
    assert ("app", "info", "Servers are there") in world.reports
    (tracked,) = world.named("instance.track")
    assert tracked.arguments["instance_id"] == "id-web"
    assert tracked.arguments["kind"] == 200


def test_the_order_of_networks_is_the_order_of_interfaces(begin, world):
    extra = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "extra"}, "name": "extra"}
    networks = {
        "useEnvironmentNetwork": True,
        "useFlatNetwork": True,
        "customNetworks": [extra],
        "primaryNetwork": None,
    }
    flat = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "flat"}, "name": "flat"}
    model = environment(server("web", networks=networks, assignFloatingIp=True))
    model["Objects"]["defaultNetworks"]["flat"] = flat
    program = begin(model)

    program.call("env", "deploy")

    region = program.dump()["Objects"]["regions"][""]["defaultNetworks"]
    order = [region["environment"]["?"]["id"], region["flat"]["?"]["id"], "extra"]
    interfaces = world.template["resources"]["web"]["properties"]["networks"]
    assert interfaces == [{"port": {"get_resource": f"port-{net}-web"}} for net in order]
    floating = [name for name in world.template["resources"] if name.startswith("fip-")]
    assert floating == [f"fip-{order[0]}-web"]
    deployed = program.dump()["Objects"]["applications"][0]["servers"][0]
    assert [joined["network"] for joined in deployed["joinedNetworks"][:2]] == order[:2]
    assert deployed["ipAddresses"] == ["10.0.0.11", "10.0.0.12", "10.0.0.13", "172.24.4.11"]


def test_the_primary_network_gets_the_floating_address(begin, world):
    extra = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "extra"}, "name": "extra"}
    networks = {"useEnvironmentNetwork": True, "useFlatNetwork": False, "customNetworks": ["extra"]}
    model = environment(server("web", networks=networks | {"primaryNetwork": "extra"}, assignFloatingIp=True))
    model["Objects"]["applications"][0]["servers"].append(
        server("db", networks=networks | {"customNetworks": [extra], "primaryNetwork": None})
    )
    begin(model).call("env", "deploy")
    assert [name for name in world.template["resources"] if name.startswith("fip-")] == ["fip-extra-web"]


def test_which_networks_is_said_completely_or_not_at_all(begin):
    with pytest.raises(Exception, match="useFlatNetwork"):
        begin(environment(server("web", networks={"useEnvironmentNetwork": True})))


def test_the_stack_keeps_its_name_and_a_second_deployment_pushes_nothing(begin, world):
    program = begin(environment(server("web")))
    program.call("env", "deploy")
    model = program.finalize()
    pushed = len(world.pushes)
    (name,) = world.cloud.stacks

    program = begin(model)
    program.call("env", "deploy")

    assert list(world.cloud.stacks) == [name]
    assert name.startswith("murano--random")
    assert len(world.pushes) == pushed


def test_deployed_servers_keep_their_boot_data(begin, world):
    program = begin(environment(server("web")))
    program.call("env", "deploy")
    before = world.template["resources"]["web"]["properties"]["user_data"]

    program = begin(program.finalize())
    program.call("env", "deploy")

    assert world.template["resources"]["web"]["properties"]["user_data"] == before
    # Made known again all the same: a server that is built in its place has the same boot data, and enrols with them.
    assert [effect.arguments["instance_id"] for effect in world.named("agent.register")] == ["id-web", "id-web"]


def test_a_plan_reaches_the_agent_of_its_server_with_its_files(begin, world):
    world.answers["Run something"] = lambda plan: f"ran with {plan['Parameters']['name']}"
    program = begin(environment(server("web"), server("db")))
    program.call("env", "deploy")

    assert program.call("app", "run", "Ann") == "ran with Ann"

    instance, plan = world.plans[-1]
    assert instance == "id-web"
    entry = plan["Scripts"]["run"]["EntryPoint"]
    (data,) = plan["Scripts"]["run"]["Files"]
    assert plan["Files"][entry] == {"Name": "run.sh", "BodyType": "Text", "Body": "echo $1\n"}
    assert plan["Files"][data] == {"Name": "data.txt", "BodyType": "Base64", "Body": "eA==\n"}
    run = world.named("agent.run")[-1].arguments
    assert run["queue"] == "eenv-hid-web"
    assert run["plan_id"] == plan["ID"]
    assert run["timeout"] == 3600


def test_a_command_runs_through_the_agent(begin, world):
    world.answers["Execute uptime"] = {"exitCode": 0, "stdout": "up 3 days", "stderr": ""}
    program = begin(environment(server("web")))
    program.call("env", "deploy")

    assert program.call("app", "command") == "up 3 days"

    _, plan = world.plans[-1]
    assert plan["Files"]["scriptFile"]["Body"] == "uptime"
    assert plan["Scripts"]["runCommand"]["Options"] == {
        "captureStdout": True,
        "captureStderr": True,
        "verifyExitcode": True,
    }


def test_a_released_server_takes_all_it_brought_along(begin, world):
    program = begin(environment(server("web"), server("db", assignFloatingIp=True)))
    program.call("env", "deploy")
    net = network_id(program)

    program.call("app", "release")

    names = set(world.template["resources"])
    assert names == {region_id(program), f"network-{net}", f"subnet-{net}", f"ri-{net}", f"port-{net}-web", "web"}
    assert set(world.template["outputs"]) == {"demo-network-id", f"addresses-web-{net}", "web-id"}
    released = program.dump()["Objects"]["applications"][0]["servers"][1]
    assert released["ipAddresses"] == []
    assert released["openstackId"] is None
    assert world.named("instance.untrack")[-1].arguments["instance_id"] == "id-db"


def test_an_application_that_is_removed_takes_its_servers_with_it(begin, world):
    program = begin(environment(server("web")))
    program.call("env", "deploy")
    net = network_id(program)
    model = program.finalize()
    model["ObjectsCopy"] = copy.deepcopy(model["Objects"])
    model["Objects"]["applications"] = []

    program = begin(model)
    program.collect()

    assert "web" not in world.template["resources"]
    assert f"port-{net}-web" not in world.template["resources"]
    assert f"network-{net}" in world.template["resources"]


def test_deleting_the_environment_deletes_its_stack_and_nothing_is_pushed(begin, world):
    program = begin(environment(server("web")))
    program.call("env", "deploy")
    model = program.finalize()
    pushed = len(world.pushes)

    program = begin({"Objects": None, "ObjectsCopy": model["Objects"], "Attributes": model["Attributes"]})
    program.collect()
    program.finalize()

    assert world.cloud.stacks == {}
    assert len(world.pushes) == pushed


def test_an_environment_that_was_never_deployed_leaves_the_cloud_alone(begin, world):
    model = begin(environment()).finalize()

    program = begin({"Objects": None, "ObjectsCopy": model["Objects"], "Attributes": model["Attributes"]})
    program.collect()
    program.finalize()

    assert world.pushes == []
    assert world.cloud.stacks == {}


def test_the_environments_networks_are_those_of_its_region(begin):
    program = begin(environment())
    objects = program.dump()["Objects"]
    network = objects["regions"][""]["defaultNetworks"]["environment"]
    assert objects["defaultNetworks"] == {"environment": network["?"]["id"], "flat": None}
    assert network["?"]["id"] != "pattern"
    assert network["name"] == "demo-network"


@pytest.mark.parametrize(
    ("properties", "name", "text"),
    [
        ({"image": None}, "io.murano.resources.ResourceNotFound", "'web' has nothing to boot from"),
        (
            {"blockDevices": [{"volume": {"?": {"type": "io.murano.resources.CinderVolume", "id": "v"}, "size": 1}}]},
            "io.murano.resources.ResourceConflict",
            "can boot from one of them only",
        ),
    ],
)
def test_a_server_boots_from_one_thing(begin, properties, name, text):
    program = begin(environment(server("web", **properties)))
    with pytest.raises(Exception, match=text) as caught:
        program.call("env", "deploy")
    assert caught.value.names == (name,)
