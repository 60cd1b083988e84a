"""A deployment that is taken over: replayed from its journal, the library asks for the very same things."""

from __future__ import annotations

import copy

import pytest
from corelib_world import World
from test_corelib_applications import APP as WEB
from test_corelib_applications import environment, web
from test_corelib_servers import server

import dsl

MANIFEST = "Format: 1.4\nType: Application\nFullName: test.app\nRequire:\n  io.murano.applications:\nClasses:\n"


class Journal(World):
    """Remembers outcomes by key and the order in which they were delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, object] = {}
        self.order: dict[int, str] = {}

    def perform(self, effect: dsl.Effect) -> object:
        outcome = super().perform(effect)
        self.outcomes[effect.key] = outcome
        return copy.deepcopy(outcome)

    def delivered(self, number: int, key: str) -> None:
        self.order[number] = key


class Replay(World):
    """Gives what the journal says, and fails where something else is asked than was asked then."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal
        self.asked = {effect.key: effect for effect in journal.effects}

    def perform(self, effect: dsl.Effect) -> object:
        self.effects.append(effect)
        recorded = self.asked[effect.key]
        assert (effect.name, dict(effect.arguments)) == (recorded.name, dict(recorded.arguments))
        return copy.deepcopy(self.journal.outcomes[effect.key])

    def delivery(self, number: int) -> str | None:
        return self.journal.order.get(number)


@pytest.fixture
def library(libraries, tmp_path):
    folder = tmp_path / "package"
    (folder / "Classes").mkdir(parents=True)
    (folder / "Classes" / "Web.yaml").write_text(WEB)
    (folder / "manifest.yaml").write_text(MANIFEST + "  test.app.Web: Web.yaml\n")
    return dsl.Library([*libraries, folder])


def test_a_replayed_deployment_asks_for_the_same_and_ends_the_same(library):
    model = environment(web(3))
    journal = Journal()
    program = dsl.Runtime(library, system=journal).load(model)
    program.call("env", "deploy")
    stored = program.finalize()

    replay = Replay(journal)
    program = dsl.Runtime(library, system=replay).load(model)
    program.call("env", "deploy")

    assert program.finalize() == stored
    assert {effect.key for effect in replay.effects} == set(replay.asked)


def murano_model() -> tuple[dict, dict]:
    """What Murano stored after a deployment, patterns in the environment and networks in the region, and its stack."""
    network = {"type": "io.murano.resources.NeutronNetwork/0.0.0@io.murano", "name": None, "metadata": None}
    known = {"subnetCidr": "10.0.7.0/24", "externalRouterId": "router-1", "openstackId": "net!", "dnsNameservers": []}
    vm = server("web")
    vm |= {
        "openstackId": "web!",
        "ipAddresses": ["10.0.7.5"],
        "joinedNetworks": [{"network": "n2", "ipList": ["10.0.7.5"]}],
    }
    model = {
        "Objects": {
            "?": {"type": "io.murano.Environment/0.0.0@io.murano", "id": "env", "name": None, "metadata": None},
            "name": "old",
            "region": "",
            "defaultNetworks": {
                "environment": {"?": {**network, "id": "n1"}, "name": "old-network", "regionName": ""},
                "flat": None,
            },
            "regions": {
                "": {
                    "?": {"type": "io.murano.CloudRegion/0.0.0@io.murano", "id": "region"},
                    "name": "",
                    "defaultNetworks": {
                        "environment": {"?": {**network, "id": "n2"}, "name": "old-network", "regionName": "", **known},
                        "flat": None,
                    },
                }
            },
            "applications": [
                {
                    "?": {"type": "io.murano.applications.MultiServerApplication", "id": "app"},
                    "servers": {"?": {"type": "io.murano.applications.ServerList", "id": "list"}, "servers": [vm]},
                }
            ],
        },
        "Attributes": [
            ["region", "io.murano.CloudRegion", "generatedStackName", "-oldname"],
            ["n2", "io.murano.resources.NeutronNetwork", "deployed", True],
        ],
    }
    stack = {
        "heat_template_version": "2013-05-23",
        "resources": {
            "network-n2": {"type": "OS::Neutron::Net", "properties": {"name": "old-network-n2"}},
            "subnet-n2": {"type": "OS::Neutron::Subnet", "properties": {"cidr": "10.0.7.0/24"}},
            "web": {"type": "OS::Nova::Server", "properties": {"user_data": {"get_resource": "user_data-web"}}},
            "user_data-web": {"type": "OS::Heat::MultipartMime", "properties": {"parts": []}},
        },
        "outputs": {},
    }
    return model, stack


def test_an_environment_that_murano_deployed_goes_on_where_it_was(libraries, world):
    model, stack = murano_model()
    world.cloud.stacks["murano--oldname"] = {"template": stack, "parameters": {}}

    program = dsl.Runtime(dsl.Library(libraries), system=world).load(model)
    program.call("env", "deploy")
    stored = program.finalize()["Objects"]

    assert set(world.cloud.stacks) == {"murano--oldname"}
    resources = world.template["resources"]
    assert [name for name, resource in resources.items() if resource["type"] == "OS::Neutron::Net"] == ["network-n2"]
    assert resources["web"]["properties"]["user_data"] == {"get_resource": "user_data-web"}
    assert [effect.arguments["instance_id"] for effect in world.named("agent.register")] == ["id-web"]
    assert stored["defaultNetworks"]["environment"] == "n2"
    assert stored["regions"][""]["defaultNetworks"]["environment"]["subnetCidr"] == "10.0.7.0/24"
