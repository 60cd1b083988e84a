"""The same applications on a server with podman instead of a cluster."""

from __future__ import annotations

import packages_cloud
import pytest
from packages_cloud import Cloud, Environment

import dsl


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def environment(cloud: Cloud) -> Environment:
    return Environment(cloud, packages_cloud.example("grafana-on-a-server"))


@pytest.fixture
def deployed(environment: Environment) -> Environment:
    packages_cloud.deploy_once(environment)
    return environment


def scopes(environment: Environment, identifier: str) -> dict[str, str]:
    return {item["scope"]: item["url"] for item in environment.application(identifier)["endpoints"]}


def test_the_example_passes_the_check(environment: Environment) -> None:
    assert environment.check() == []


def test_both_containers_run_on_one_server(deployed: Environment, cloud: Cloud) -> None:
    assert sorted(cloud.podman) == ["grafana", "influxdb"]
    address = cloud.address_of("containers")
    assert scopes(deployed, "grafana") == {"internal": f"http://{address}:3000", "public": f"http://{address}:3000"}


def test_grafana_finds_its_database_through_the_server_s_address(deployed: Environment, cloud: Cloud) -> None:
    (files,) = cloud.podman["grafana"]["files"].values()
    assert files["datasources"][0]["url"] == scopes(deployed, "influxdb")["internal"]


def test_a_second_deployment_without_a_change_does_nothing(deployed: Environment, cloud: Cloud) -> None:
    cloud.forget()
    deployed.deploy()
    assert (cloud.plans, cloud.pushes, cloud.reports) == ([], [], [])


def test_a_changed_container_is_replaced_and_only_that(deployed: Environment, cloud: Cloud) -> None:
    deployed.application("grafana")["adminPassword"] = "changed"
    cloud.forget()
    deployed.deploy()
    assert cloud.planned() == ["Run container grafana"]
    assert cloud.podman["grafana"]["secrets"] == {"GF_SECURITY_ADMIN_PASSWORD": "changed"}


def test_a_renamed_container_takes_the_place_of_the_old_one(deployed: Environment, cloud: Cloud) -> None:
    deployed.application("grafana")["name"] = "dashboards"
    deployed.deploy()
    assert sorted(cloud.podman) == ["dashboards", "influxdb"]


def test_ports_that_are_taken_get_the_next_number(environment: Environment, cloud: Cloud) -> None:
    second = {**environment.application("influxdb"), "?": {"type": "org.chandlery.InfluxDB", "id": "i2"}, "name": "two"}
    environment.applications.append(second)
    environment.deploy()
    numbers = sorted(scopes(environment, name)["public"].rsplit(":", 1)[1] for name in ("influxdb", "i2"))
    assert numbers == ["8086", "8087"]


def test_a_removed_application_leaves_no_container(deployed: Environment, cloud: Cloud) -> None:
    deployed.remove("grafana")
    deployed.deploy()
    assert sorted(cloud.podman) == ["influxdb"]


def test_private_ports_are_open_to_neighbours_only(environment: Environment, cloud: Cloud) -> None:
    environment.application("influxdb")["public"] = False
    environment.deploy()
    group = next(item for item in cloud.template["resources"].values() if item["type"] == "OS::Neutron::SecurityGroup")
    rules = {rule.get("port_range_min"): rule for rule in group["properties"]["rules"]}
    assert "remote_ip_prefix" not in rules[8086]
    assert "remote_ip_prefix" in rules[3000]
    assert set(scopes(environment, "influxdb")) == {"internal"}


def test_actions_list_and_restart_the_containers(deployed: Environment, cloud: Cloud) -> None:
    listed = deployed.call("host", "listContainers")
    assert {item["name"] for item in listed} == {"grafana", "influxdb"}
    assert cloud.reports[-1] == "2 of 2 containers run"
    deployed.call("host", "restartContainers")
    assert cloud.plans[-1] == ("Restart the containers", "containers")


def test_a_container_that_failed_to_start_is_tried_again(environment: Environment, cloud: Cloud) -> None:
    cloud.failing.add("Run container")
    with pytest.raises(dsl.Thrown):
        environment.deploy()
    assert "Run container influxdb failed on containers, it is broken" in cloud.reports
    cloud.failing.clear()
    cloud.forget()
    environment.deploy()
    assert cloud.planned() == ["Run container influxdb", "Run container grafana"]


def test_an_application_can_move_from_a_server_to_another(deployed: Environment, cloud: Cloud) -> None:
    other = {
        "?": {"type": "org.chandlery.containers.Host", "id": "host-2"},
        "name": "other",
        "instance": {
            "?": {"type": "io.murano.resources.LinuxMuranoInstance"},
            "name": "other",
            "flavor": "m1.medium",
            "image": "debian-12",
        },
    }
    deployed.applications.append(other)
    deployed.application("grafana")["host"] = "host-2"
    cloud.forget()
    deployed.deploy()
    assert ("Remove container grafana", "containers") in cloud.plans
    assert ("Run container grafana", "other") in cloud.plans
    (files,) = cloud.podman["grafana"]["files"].values()
    assert files["datasources"][0]["url"] == scopes(deployed, "influxdb")["public"]
