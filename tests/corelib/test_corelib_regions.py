"""Several regions: each has its stack, its networks, its broker; resources find the one they are in."""

from __future__ import annotations

import pytest
from test_corelib_resources import decoded
from test_corelib_servers import APP, PLAN, environment, server

import dsl


def broker(host: str) -> dict:
    return {"agentRabbitMq": {"host": host, "login": "u", "password": "p"}}


@pytest.fixture
def begin(start):
    """begin(model, *regions): a program whose class configuration names further regions."""

    def begin(model, *regions):
        configuration = {"regionConfigs": {name: broker(f"broker.{name}") for name in regions}}
        resources = {"Run.template": PLAN}
        return start(model, {"App": APP}, resources, {"io.murano.Environment": configuration} if regions else None)

    return begin


def stacks_by_region(world) -> dict[str, str]:
    return {
        effect.arguments["stack"]["region"]: effect.arguments["stack"]["name"] for effect in world.named("heat.push")
    }


def test_a_server_is_made_in_the_region_it_names(begin, world):
    program = begin(environment(server("web"), server("far", regionName="east")), "east")

    program.call("env", "deploy")

    names = stacks_by_region(world)
    assert set(names) == {None, "east"}
    assert names["east"].startswith("murano-east-random")
    assert "web" in world.cloud.stacks[names[None]]["template"]["resources"]
    assert "far" not in world.cloud.stacks[names[None]]["template"]["resources"]
    assert "far" in world.cloud.stacks[names["east"]]["template"]["resources"]
    regions = program.dump()["Objects"]["regions"]
    networks = {name: region["defaultNetworks"]["environment"]["?"]["id"] for name, region in regions.items()}
    assert f"network-{networks['east']}" in world.cloud.stacks[names["east"]]["template"]["resources"]
    assert networks["east"] != networks[""]


def test_an_unknown_region_is_named(begin):
    program = begin(environment(server("web", regionName="west")), "east")
    with pytest.raises(dsl.Thrown, match="is in region 'west', which is none of the configured regions") as caught:
        program.call("env", "deploy")
    assert caught.value.names == ("io.murano.UnknownRegion",)


def test_the_home_region_is_the_default_one(begin, world):
    world.settings[(None, "home_region")] = "home"
    program = begin(environment(server("web")))

    program.call("env", "deploy")

    assert set(stacks_by_region(world)) == {"home"}
    objects = program.dump()["Objects"]
    assert objects["region"] == "home"
    assert (
        objects["regions"][""] == objects["regions"]["home"]["?"]["id"]
        or objects["regions"]["home"] == (objects["regions"][""]["?"]["id"])
    )


def test_agents_of_a_region_talk_to_its_broker(begin, world):
    world.protocol = "amqp"
    world.settings[("rabbitmq", "host")] = "broker.default"
    program = begin(environment(server("web"), server("far", regionName="east")), "east")

    program.call("env", "deploy")

    scripts = {
        name: decoded(
            stack["template"]["resources"][f"boot_script_{name}"]["properties"]["config"], "/etc/murano/agent.conf"
        )
        for name in ("web", "far")
        for stack in world.cloud.stacks.values()
        if f"boot_script_{name}" in stack["template"]["resources"]
    }
    assert "host = broker.default\n" in scripts["web"]
    assert "host = broker.east\n" in scripts["far"]
