"""The containers of openstack/k8s-docker-suite-app-murano on a host of their own: which ports lead where."""

from __future__ import annotations

import pytest
from public_cloud import Execution, Push, ScriptedCloud
from public_containers import ANSWERS, HOST, START, container, host, runs
from public_stories import does
from test_public_grafana import EXTERNAL, GRAFANA, compose, rules_of


@pytest.fixture(autouse=True)
def suite(installation):
    if HOST not in {found for found, _version in installation.packages}:
        pytest.skip("the folder has no container suite")


def test_grafana_and_its_database_run_on_a_host_of_their_own(installation):
    """Image and container, one after the other; the database's address is the host's in its network, as the record of
    the container's own names the last of its ports only.
    """
    environment = installation.environment("grafana-host", ScriptedCloud(ANSWERS))
    environment.add(host(installation.form), *compose(installation.form, "host"))
    assert environment.problems() == []
    influx = runs("InfluxDB", "tutum/influxdb", [8083, 8086, 8090, 8099], {"PRE_CREATE_DB": "db1"})
    env = {each["name"]: each["value"] for each in GRAFANA["env"]} | {"INFLUXDB_HOST": "<docker>"}
    does(
        environment,
        environment.deploy,
        {"docker": [START, *influx, *runs("Grafana", "tutum/grafana", [80], env)]},
    )
    cloud = environment.cloud
    kinds = [type(each) for each in cloud.events]
    assert kinds == [Push, Push, *[Execution] * 3, Push, *[Execution] * 2, Push]
    pushes = cloud.pushes
    assert [rule for rule in rules_of(pushes[2]) if rule not in rules_of(pushes[1])] == [
        (8083, "tcp", EXTERNAL),
        (8086, "tcp", EXTERNAL),
    ]
    assert [rule for rule in rules_of(pushes[3]) if rule not in rules_of(pushes[2])] == [(80, "tcp", EXTERNAL)]
    start = cloud.executions[0].plan["Scripts"]
    assert [script["Options"].get("verifyExitcode") for script in start.values()] == [False]
    endpoints = environment.object("influx")["applicationEndpoints"]
    assert [(each["scope"], cloud.named(each["address"]), each["containerPort"]) for each in endpoints] == [
        ("cloud", "<docker>", 8083),
        ("public", "<docker public>", 8083),
        ("cloud", "<docker>", 8086),
        ("public", "<docker public>", 8086),
        ("cloud", "<docker>", 8090),
        ("cloud", "<docker>", 8099),
        ("host", "172.17.0.2", 8099),
    ]


def test_a_port_that_is_taken_on_the_host_moves_to_a_free_one(installation):
    """The first free one from 1025 on, and it stays so: what is known of ports has texts for keys."""
    environment = installation.environment("two-webs", ScriptedCloud(ANSWERS))
    form = installation.form
    environment.add(
        host(form),
        container(form, "DockerNginx", "first", appConfiguration__name="first"),
        container(form, "DockerHTTPd", "second", appConfiguration__name="second"),
    )
    assert environment.deploy().errors == ()
    mapped = ports_of_containers(environment.cloud)
    assert sorted(port for ports in mapped.values() for port in ports) == ["1025", "80"]
    (known,) = [row[3] for row in environment.model["Attributes"] if row[2] == "portMap"]
    assert set(known) == {"80", "1025"}
    environment.set("second", publish=False)
    environment.set("first", publish=False)
    assert environment.deploy().errors == ()
    assert ports_of_containers(environment.cloud) == mapped


def ports_of_containers(cloud: ScriptedCloud) -> dict[str, dict[str, str]]:
    """The ports of the host that lead to each container, as it was run last."""
    ran = [each.parameters for each in cloud.executions if each.name == "Run container"]
    return {each["appName"]: {str(port): inside for port, inside in each["portMap"].items()} for each in ran}
