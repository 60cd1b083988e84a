"""io.murano.applications: groups that grow, software that is installed once and configured when something changes."""

from __future__ import annotations

import copy

import pytest

APP = """
Namespaces:
  =: test.app
  std: io.murano
  res: io.murano.resources
  apps: io.murano.applications
  conf: io.murano.configuration

Name: Web

Extends:
  - apps:MultiServerApplicationWithScaling
  - apps:OpenStackSecurityConfigurable

Properties:
  key:
    Contract: $.string()

  log:
    Contract: [$.string()]
    Usage: Out

Methods:
  getSecurityRules:
    Body:
      - Return:
          - {FromPort: 80, ToPort: 80, IpProtocol: tcp, External: true}

  onInstallServer:
    Arguments:
      - server:
          Contract: $.class(res:Instance).notNull()
      - serverGroup:
          Contract: $.class(apps:ServerGroup).notNull()
    Body:
      - conf:Linux.runCommand($server.agent, 'install')

  onConfigureServer:
    Arguments:
      - server:
          Contract: $.class(res:Instance).notNull()
      - serverGroup:
          Contract: $.class(apps:ServerGroup).notNull()
    Body:
      - conf:Linux.runCommand($server.agent, 'configure')

  onCompleteConfiguration:
    Arguments:
      - servers:
          Contract: [$.class(res:Instance).notNull()]
      - serverGroup:
          Contract: $.class(apps:ServerGroup).notNull()
      - failedServers:
          Contract: [$.class(res:Instance).notNull()]
    Body:
      - $.log: $.log.append(format('configured {0}', $servers.select($.name).orderBy($).join(' ')))

  getConfigurationKey:
    Body:
      - If: $.key != null
        Then:
          - Return: $.key
      - Return: cast($this, apps:Configurable).getConfigurationKey()
"""

EVENTS = """
Namespaces:
  =: test.app
  std: io.murano
  apps: io.murano.applications

Name: Listener

Extends: std:Application

Properties:
  heard:
    Contract: [$]
    Usage: Out

Methods:
  .init:
    Body:
      - $._event: new(apps:Event, $this, name => somethingHappened)

  handleSomethingHappened:
    Arguments:
      - sender:
          Contract: $.class(std:Object).notNull()
      - what:
          Contract: $.string()
    Body:
      - $.heard: $.heard.append($what)

  handleNothing:
    Body:
      - Return: 1

  listen:
    Arguments:
      - method:
          Contract: $.string()
    Body:
      - $._event.subscribe($this, $method)

  forget:
    Body:
      - $._event.unsubscribe($this)

  tell:
    Arguments:
      - what:
          Contract: $.string()
    Body:
      - $._event.notify($this, $what)
      - $._event.notifyInParallel($this, what => $what)
      - Return: $.heard
"""


def environment(*applications: dict) -> dict:
    network = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "n"}, "name": "net"}
    return {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "defaultNetworks": {"environment": network, "flat": None},
            "applications": list(applications),
        }
    }


def web(count: int, **properties: object) -> dict:
    capacity = properties.pop("capacity", None)
    return {
        "?": {"type": "test.app.Web", "id": "web"},
        "servers": {
            "?": {"type": "io.murano.applications.ServerReplicationGroup", "id": "group", "name": "front"},
            "numItems": count,
            "maxItems": 3,
            "minItems": 1,
            "provider": {
                "?": {"type": "io.murano.applications.TemplateServerProvider", "id": "provider"},
                "serverNamePattern": "web-{0}",
                "capacity": capacity,
                "template": {
                    "?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": "pattern"},
                    "flavor": "m1.small",
                    "image": "ubuntu",
                },
            },
        },
        **properties,
    }


def commands(world) -> list[str]:
    return [plan["Files"]["scriptFile"]["Body"] for _, plan in world.plans]


@pytest.fixture
def begin(start):
    def begin(model):
        return start(model, {"Web": APP, "Listener": EVENTS})

    return begin


def test_servers_are_made_from_the_pattern_with_one_update_of_the_stack(begin, world):
    program = begin(environment(web(2)))

    program.call("env", "deploy")

    servers = program.dump()["Objects"]["applications"][0]["servers"]["items"]
    assert [server["name"] for server in servers] == ["web-1", "web-2"]
    assert [server["?"]["name"] for server in servers] == ["Server 1 (front)", "Server 2 (front)"]
    with_servers = [push for push in world.pushes if "web-1" in push["resources"]]
    assert all("web-2" in push["resources"] for push in with_servers)
    assert sorted(commands(world)) == ["configure", "configure", "install", "install"]


def test_rules_are_in_force_before_the_servers_are_configured(begin, world):
    begin(environment(web(1))).call("env", "deploy")
    order = [
        effect.name if effect.name == "heat.push" else effect.arguments["plan"]["Files"]["scriptFile"]["Body"]
        for effect in world.effects
        if effect.name in ("heat.push", "agent.run")
    ]
    assert order[-2:] == ["heat.push", "configure"]
    (group,) = [each for each in world.template["resources"].values() if each["type"] == "OS::Neutron::SecurityGroup"]
    assert 80 in [rule.get("port_range_min") for rule in group["properties"]["rules"]]


def test_scaling_out_installs_the_new_server_only(begin, world):
    program = begin(environment(web(1, key="constant")))
    program.call("env", "deploy")
    program = begin(program.finalize())
    world.plans.clear()

    program.call("web", "scaleOut", exposed_only=True)

    assert sorted(commands(world)) == ["configure", "install"]
    web_application = program.dump()["Objects"]["applications"][0]
    assert [server["name"] for server in web_application["servers"]["items"]] == ["web-1", "web-2"]
    assert web_application["log"] == ["configured web-1", "configured web-2"]


def test_scaling_stops_at_its_limits(begin):
    program = begin(environment(web(3)))
    program.call("env", "deploy")
    program.call("web", "scaleOut")
    assert len(program.dump()["Objects"]["applications"][0]["servers"]["items"]) == 3
    for _ in range(4):
        program.call("web", "scaleIn")
    assert len(program.dump()["Objects"]["applications"][0]["servers"]["items"]) == 1


def test_scaling_in_takes_the_server_out_of_the_stack(begin, world):
    program = begin(environment(web(2)))
    program.call("env", "deploy")
    program.call("web", "scaleIn")
    assert "web-2" not in world.template["resources"]
    assert "web-1" in world.template["resources"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_group_that_is_removed_leaves_nothing_behind(begin, world, kept):
    program = begin(environment(web(2)))
    program.call("env", "deploy")
    model = program.finalize()
    model["ObjectsCopy"] = copy.deepcopy(model["Objects"])
    if kept:
        model["Objects"]["applications"] = []
    else:
        model["Objects"] = None

    program = begin(model)
    program.collect()

    if kept:
        assert not [name for name in world.template["resources"] if "web-" in name]
    else:
        assert world.cloud.stacks == {}


def listed(kind: str) -> dict:
    one = {
        "?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": "one"},
        "name": "one",
        "flavor": "f",
        "image": "i",
    }
    if "Single" in kind:
        return {"?": {"type": kind, "id": "group"}, "server": one}
    return {"?": {"type": kind, "id": "group"}, "servers": [one]}


@pytest.mark.parametrize("kind", ["ServerList", "SingleServerGroup"])
def test_listed_servers_go_with_their_application(begin, world, kind):
    group = listed(f"io.murano.applications.{kind}")
    application = {"?": {"type": "io.murano.applications.MultiServerApplication", "id": "app"}, "servers": group}
    program = begin(environment(application))
    program.call("env", "deploy")
    assert "one" in world.template["resources"]
    model = program.finalize()
    model["ObjectsCopy"] = copy.deepcopy(model["Objects"])
    model["Objects"]["applications"] = []

    begin(model).collect()

    assert "one" not in world.template["resources"]


def test_an_application_on_one_server(begin, world):
    server = listed("Single")["server"]
    application = {"?": {"type": "io.murano.applications.SingleServerApplication", "id": "app"}, "server": server}
    program = begin(environment(application))
    program.call("env", "deploy")
    stored = program.finalize()["Objects"]["applications"][0]
    assert stored["_serverGroup"]["server"] == "one"
    assert stored["server"]["openstackId"] == "one!"


def test_a_provider_gives_no_more_than_its_capacity(begin):
    program = begin(environment(web(3, capacity=2)))
    program.call("env", "deploy")
    assert len(program.dump()["Objects"]["applications"][0]["servers"]["items"]) == 2


def test_a_second_deployment_with_the_same_key_does_nothing(begin, world):
    program = begin(environment(web(1, key="constant")))
    program.call("env", "deploy")
    program = begin(program.finalize())
    world.plans.clear()
    program.call("env", "deploy")
    assert commands(world) == []


def test_without_a_key_every_deployment_configures_again(begin, world):
    program = begin(environment(web(1)))
    program.call("env", "deploy")
    program = begin(program.finalize())
    world.plans.clear()
    program.call("env", "deploy")
    assert commands(world) == ["configure"]


FAILED = {"FormatVersion": "2.0.0", "ErrorCode": 100, "Body": {"Message": "no", "AdditionalInfo": {}}}


@pytest.mark.parametrize(
    ("allowed", "failing", "succeeds"),
    [
        ("none", 1, False),
        ("one", 1, True),
        ("one", 2, False),
        ("two", 2, True),
        ("any", 3, True),
        ("quorum", 1, True),
        ("quorum", 2, False),
    ],
)
def test_how_many_servers_may_fail(begin, world, allowed, failing, succeeds):
    failures = iter(range(failing))
    world.answers["Execute install"] = lambda plan: FAILED if next(failures, None) is not None else ""
    program = begin(environment(web(3, allowedInstallFailures=allowed)))
    if succeeds:
        program.call("env", "deploy")
    else:
        with pytest.raises(Exception, match="could not be installed on") as caught:
            program.call("env", "deploy")
        assert caught.value.names == ("io.murano.applications.TooManyInstallationErrors",)
    assert sum("failed" in text for _, _, text in world.reports) == failing


def listener() -> dict:
    return environment({"?": {"type": "test.app.Listener", "id": "listener"}})


def test_who_subscribes_to_an_event_hears_of_it(begin):
    program = begin(listener())
    assert program.call("listener", "tell", "unheard") == []
    program.call("listener", "listen", None)
    assert program.call("listener", "tell", "news") == ["news", "news"]


def test_who_subscribes_twice_unsubscribes_twice(begin):
    program = begin(listener())
    program.call("listener", "listen", None)
    program.call("listener", "listen", None)
    program.call("listener", "forget")
    assert program.call("listener", "tell", "still") == ["still", "still"]
    program.call("listener", "forget")
    assert program.call("listener", "tell", "gone") == ["still", "still"]


@pytest.mark.parametrize(
    ("method", "name"), [("missing", "NoHandlerMethodException"), ("handleNothing", "WrongHandlerMethodException")]
)
def test_a_handler_has_to_be_fit(begin, method, name):
    with pytest.raises(Exception, match=method) as caught:
        begin(listener()).call("listener", "listen", method)
    assert caught.value.names == (f"io.murano.applications.{name}",)
