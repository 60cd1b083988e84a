"""The cloud's part of a check: what a model names is there, and there is enough of it. With the real core library."""

from __future__ import annotations

import threading

import pytest
from engine_harbour import BUNDLED
from engine_world import MemoryCloud

import dsl
from engine import availability
from engine.clouds import ports, services

CORE = "io.murano.resources."
FLAVORS = [
    {"id": "1", "name": "m1.tiny", "vcpus": 1, "ram": 512},
    {"id": "4", "name": "m1.large", "vcpus": 4, "ram": 8192},
]


class Inventory:
    """A region with the usual things, and whatever a test changes about it."""

    kinds = frozenset(availability.SERVICES)

    def __init__(self):
        self.there = {
            "flavors": FLAVORS,
            "images": [
                {"id": "i-1", "name": "debian-12"},
                {"id": "i-2", "name": "twin"},
                {"id": "i-3", "name": "twin"},
            ],
            "key_pairs": [{"id": "harbour-key", "name": "harbour-key"}],
            "availability_zones": [{"id": "nova", "name": "nova", "available": True}],
            "security_groups": [{"id": "g-1", "name": "default"}],
            "networks": [
                {"id": "n-1", "name": "inner", "router:external": False},
                {"id": "n-2", "name": "public", "router:external": True},
            ],
            "subnets": [{"id": "s-1", "name": "inner-subnet"}],
            "routers": [{"id": "r-1", "name": "gate"}],
            "volumes": [],
        }
        self.limits = {"compute": {}, "network": {}, "block-storage": {}}
        self.asked = []

    def regions(self):
        return ["RegionOne", "RegionTwo"]

    def list(self, region, kind):
        self.asked.append((region, kind))
        found = self.there[kind]
        if isinstance(found, Exception):
            raise found
        return found

    def quotas(self, region, service):
        found = self.limits[service]
        return None if found is None else {name: services.Quota(*each) for name, each in found.items()}


@pytest.fixture(scope="module")
def library():
    return dsl.Library([BUNDLED / "io.murano", BUNDLED / "io.murano.applications"])


@pytest.fixture
def inventory():
    return Inventory()


@pytest.fixture
def world():
    return MemoryCloud()


@pytest.fixture
def ask(library, inventory, world):
    """`ask(*objects)`: what is said about an environment with these; `before=` those that it was deployed with."""

    def answer(*objects, before=None, **environment):
        def root(found):
            found = [
                {"?": {"id": f"app-{n}", "type": "io.murano.Application"}, "of": each} for n, each in enumerate(found)
            ]
            return {"?": {"id": "e", "type": "io.murano.Environment"}, "name": "e", "services": found, **environment}

        model = {
            "Objects": root(objects),
            "Attributes": [["r", "io.murano.CloudRegion", "generatedStackName", "north"]],
        }
        if before is not None:
            model["ObjectsCopy"] = root(before)
        cloud = services.Cloud(orchestration=world, agents=world, inventory=inventory)
        return availability.answer(library, model, cloud, "project-1")

    return answer


def thing(kind, object_id, **properties):
    return {"?": {"id": object_id, "type": CORE + kind}, **properties}


def server(object_id, **properties):
    wanted = {"name": object_id, "flavor": "m1.tiny", "image": "debian-12", **properties}
    return thing("LinuxMuranoInstance", object_id, **wanted)


def test_what_is_there_by_name_or_id_is_no_problem(ask):
    one = server("a", keyname="harbour-key", availabilityZone="nova", securityGroups=["default"])
    two = server("b", flavor="4", image="i-2", availabilityZone="nova:host-7")
    net = thing("ExistingNeutronNetwork", "n", internalNetworkName="n-1", externalNetworkName="public")
    found = ask(one, two, net, thing("NeutronNetwork", "m", name="m", externalRouterId="r-1"))
    assert (found.problems, found.notes) == ([], [])


@pytest.mark.parametrize(
    ("name", "value", "message", "fix"),
    [
        ("flavor", "m1.larg", "There is no flavor 'm1.larg'", "Did you mean 'm1.large'?"),
        ("image", "debian12", "There is no image 'debian12'", "Did you mean 'debian-12'?"),
        ("image", "twin", "There are 2 images named 'twin'", "Set image to the id of one of them"),
        ("keyname", "x", "There is no key pair 'x'", "Choose a key pair that is there, or have 'x' made"),
        ("availabilityZone", "moon", "There is no availability zone 'moon'", None),
        ("securityGroups", ["default", "defualt"], "There is no security group 'defualt'", "Did you mean 'default'?"),
    ],
)
def test_what_a_server_names_and_is_not_there_is_a_problem_of_its_field(ask, name, value, message, fix):
    (problem,) = ask(server("a", **{name: value})).problems
    assert (problem["object_id"], problem["type"], problem["path"]) == ("a", CORE + "LinuxMuranoInstance", name)
    assert problem["message"] == message
    assert fix is None or problem["fix"] == fix
    assert problem["expected"]
    assert problem["found"]


def test_an_inner_network_is_no_external_one(ask):
    net = thing("ExistingNeutronNetwork", "n", internalNetworkName="iner", externalNetworkName="inner")
    problems = ask(net).problems
    assert [(each["path"], each["expected"]) for each in problems] == [
        ("internalNetworkName", "one of inner, public"),
        ("externalNetworkName", "one of public"),
    ]


def test_a_pattern_for_servers_is_looked_at_and_not_counted(ask, inventory):
    pattern = {"?": {"type": CORE + "LinuxInstance"}, "name": "n", "flavor": "m9", "image": "debian-12"}
    provider = {"?": {"id": "p", "type": "io.murano.applications.TemplateServerProvider"}, "template": pattern}
    inventory.limits["compute"] = {"instances": (0, 0)}
    (problem,) = ask(provider).problems
    assert (problem["object_id"], problem["path"]) == ("p", "template/flavor")


def test_every_region_is_asked_for_what_is_to_be_in_it(ask, inventory):
    found = ask(server("a", regionName="RegionTwo"), server("b"), region="RegionOne")
    assert found.problems == []
    assert {region for region, kind in inventory.asked} == {"RegionOne", "RegionTwo"}


def test_a_region_that_is_not_there_is_one_problem_where_it_is_named(ask, inventory):
    (problem,) = ask(server("a", regionName="RegionToo", flavor="m9")).problems
    assert (problem["object_id"], problem["path"], problem["fix"]) == ("a", "regionName", "Did you mean 'RegionTwo'?")
    (problem,) = ask(server("a"), server("b"), region="Moon").problems
    assert (problem["object_id"], problem["path"]) == ("e", "region")
    assert inventory.asked == []


def test_more_servers_than_the_quota_lets_are_told_with_who_wants_what(ask, inventory):
    inventory.limits["compute"] = {"instances": (10, 2), "cores": (8, 3), "ram": (-1, 5)}
    (problem,) = ask(server("small"), server("big", flavor="m1.large"), server("twin", flavor="m1.large")).problems
    assert (problem["object_id"], problem["type"], problem["path"]) == ("e", "io.murano.Environment", "")
    assert problem["message"] == "9 more cores are needed, and the project's quota has 5 left"
    assert problem["expected"] == "at most 5 more, as 8 are allowed"
    assert problem["found"] == "big: 4, twin: 4, small: 1"


def test_addresses_volumes_and_security_groups_are_counted_too(ask, inventory):
    inventory.limits = {
        "compute": {},
        "network": {"floating_ips": (1, 0), "security_groups": (1, 1)},
        "block-storage": {"volumes": (1, 0), "gigabytes": (20, 0)},
    }
    shared = {"?": {"id": "ip", "type": "io.murano.SharedIp"}, "assignFloatingIp": True}
    volumes = [thing("CinderVolume", f"v{number}", name="v", size=15) for number in range(2)]
    problems = ask(server("a", assignFloatingIp=True), shared, *volumes).problems
    assert sorted(each["message"].partition(" are ")[0] for each in problems) == [
        "1 more security groups", "2 more floating addresses", "2 more volumes", "30 more GiB of volumes",
    ]  # fmt: skip


REGIONS = {"": {"?": {"id": "r", "type": "io.murano.CloudRegion"}, "name": ""}}
GROUP = {"r": {"type": "OS::Neutron::SecurityGroup"}}


@pytest.fixture
def full(inventory, world):
    """The quotas are used up, by two servers of the environment and the address of one."""
    inventory.limits = {
        "compute": {"instances": (2, 2), "cores": (2, 2), "ram": (1024, 1024)},
        "network": {"floating_ips": (1, 1), "security_groups": (1, 1)},
        "block-storage": {},
    }
    world.stacks["murano-north"] = {"resources": GROUP}
    one = server("a", openstackId="s-1", assignFloatingIp=True, floatingIpAddress="172.24.4.9")
    return [one, server("b", openstackId="s-2")]


def test_what_the_environment_has_is_not_counted_twice(ask, full):
    assert ask(*full, before=full, regions=REGIONS).problems == []
    (problem,) = ask(*full, server("c", flavor="?"), before=full, regions=REGIONS).problems[1:]
    assert problem["message"] == "1 more servers are needed, and the project's quota has 0 left"


def test_what_goes_makes_room_for_what_comes(ask, full):
    assert ask(full[0], server("c"), before=full, regions=REGIONS).problems == []


def test_another_flavor_needs_what_it_has_more(ask, full):
    grown = {**full[1], "flavor": "m1.large"}
    found = ask(full[0], grown, before=full, regions=REGIONS).problems
    assert [each["message"].partition(" are ")[0] for each in found] == ["3 more cores", "7680 more MiB of memory"]


def test_what_a_failed_deployment_has_left_in_its_stack_is_not_counted_twice(ask, full, world):
    unborn = [
        {key: value for key, value in each.items() if key not in ("openstackId", "floatingIpAddress")} for each in full
    ]
    servers = {each["name"]: {"type": "OS::Nova::Server", "properties": {"flavor": "m1.tiny"}} for each in full}
    world.stacks["murano-north"] = {"resources": {**GROUP, **servers}, "outputs": {"a-floatingIPaddress": {"value": 1}}}
    assert ask(*unborn, regions=REGIONS).problems == []


def test_a_service_that_is_not_in_the_region_is_a_problem_of_who_needs_it(ask, inventory):
    inventory.there["volumes"] = None
    inventory.limits["block-storage"] = None
    messages = [each["message"] for each in ask(
        thing("CinderVolume", "v", name="v", size=1), thing("ExistingCinderVolume", "w", openstackId="v-9")
    ).problems]  # fmt: skip
    assert messages == [
        "There is no block storage (Cinder), and so no volume",
        "There is no block storage (Cinder), and so no volume 'v-9'",
    ]


def test_what_a_cloud_does_not_say_is_a_note_and_no_problem(ask, inventory, monkeypatch):
    inventory.there["flavors"] = ports.CloudError("compute: 503")
    found = ask(server("a", image="no-such"))
    assert [each["path"] for each in found.problems] == ["image"]
    assert found.notes == [{"region": None, "message": "Not looked at: flavors (compute: 503)"}]

    silence = threading.Event()
    monkeypatch.setattr(availability, "PATIENCE", 0.05)
    monkeypatch.setattr(inventory, "list", lambda region, kind: silence.wait(30))
    found = ask(server("a", image="no-such"))
    silence.set()
    assert found.problems == []
    assert found.notes == [{"region": None, "message": "Not looked at: flavors, images (no answer within 0 s)"}]


def test_a_cloud_that_lets_nobody_in_is_a_problem_and_one_that_is_away_a_note(ask, inventory, monkeypatch):
    def refuse(error):
        def regions():
            raise error

        monkeypatch.setattr(inventory, "regions", regions)

    refuse(services.NoAccess("Keystone lets the service not into the project"))
    (problem,) = ask(server("a")).problems
    assert problem["object_id"] is None
    refuse(ports.CloudError("Keystone: no route"))
    found = ask(server("a"))
    assert found.problems == []
    assert "no route" in found.notes[0]["message"]


def test_a_cloud_that_tells_nothing_says_nothing(library, world):
    cloud = services.Cloud(orchestration=world, agents=world)
    model = {"Objects": {"?": {"id": "e", "type": "io.murano.Environment"}, "services": [server("a", flavor="?")]}}
    assert availability.answer(library, model, cloud, "p") == availability.Answer()


@pytest.mark.parametrize("root", [None, [], "text", {"?": 1}, {"services": [{"?": {"type": 5}, "flavor": {}}]}])
def test_a_model_that_is_none_is_no_concern_of_the_clouds(library, inventory, world, root):
    cloud = services.Cloud(orchestration=world, agents=world, inventory=inventory)
    model = {"Objects": root, "Attributes": [None, ["r"], ["r", "t", "generatedStackName", {}]]}
    assert availability.answer(library, model, cloud, "p").problems == []
