"""Packages that nobody here wrote, on our core library: Grafana and InfluxDB in one pod of a Kubernetes cluster.

`CHANDLERY_PUBLIC_PACKAGES` names a folder with a checkout of openstack/k8s-docker-suite-app-murano.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from pathlib import Path

import pytest
from test_corelib_replay import Journal, Replay

import dsl
from dsl import packages

ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("CHANDLERY_PUBLIC_PACKAGES")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CHANDLERY_PUBLIC_PACKAGES names no folder with packages")

NEEDED = (
    "com.mirantis.docker.Interfaces",
    "com.mirantis.docker.DockerStandaloneHost",
    "com.mirantis.docker.kubernetes.KubernetesCluster",
    "com.mirantis.docker.kubernetes.KubernetesPod",
    "com.example.docker.DockerInfluxDB",
    "com.example.docker.DockerGrafana",
)


@pytest.fixture(scope="module")
def library() -> dsl.Library:
    found = {}
    for manifest in Path(FOLDER or ".").rglob("manifest.yaml"):
        if (manifest.parent / "Classes").is_dir():
            package = packages.open_package(manifest.parent)
            found[package.manifest.full_name] = package
    return dsl.Library([ROOT / "packages" / "io.murano", *(found[name] for name in NEEDED if name in found)])


def node(kind: str, name: str, floating: bool = False) -> dict:
    return {
        "?": {"type": f"com.mirantis.docker.kubernetes.Kubernetes{kind}Node", "id": f"node-{name}"},
        "instance": {
            "?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": f"vm-{name}"},
            "name": name,
            "flavor": "m1.medium",
            "image": "ubuntu14.04-x64-kubernetes",
            "assignFloatingIp": floating,
        },
        **({"exposeCAdvisor": False} if kind == "Minion" else {}),
    }


MODEL = {
    "Objects": {
        "?": {"type": "io.murano.Environment", "id": "env"},
        "name": "demo",
        "defaultNetworks": {
            "environment": {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "n"}, "name": "demo-network"},
            "flat": None,
        },
        "applications": [
            {
                "?": {"type": "com.mirantis.docker.kubernetes.KubernetesCluster", "id": "cluster"},
                "name": "k8s",
                "masterNode": node("Master", "kube-1", floating=True),
                "minionNodes": [node("Minion", f"kube-{number}") for number in (2, 3, 4)],
                "nodeCount": 2,
                "gatewayNodes": [node("Gateway", f"gateway-{number}", floating=True) for number in (1, 2)],
                "gatewayCount": 1,
                "dockerRegistry": "",
                "dockerMirror": "",
                "gcloudKey": "",
            },
            {
                "?": {"type": "com.mirantis.docker.kubernetes.KubernetesPod", "id": "pod"},
                "name": "monitoring",
                "labels": "",
                "replicas": 1,
                "kubernetesCluster": "cluster",
            },
            {
                "?": {"type": "com.example.docker.DockerInfluxDB", "id": "influx"},
                "name": "InfluxDB",
                "host": "pod",
                "publish": True,
                "preCreateDB": "db1",
            },
            {
                "?": {"type": "com.example.docker.DockerGrafana", "id": "grafana"},
                "name": "Grafana",
                "host": "pod",
                "publish": True,
                "influxDB": "influx",
                "grafanaUser": "admin",
                "grafanaPassword": "secret",
                "dbName": "db1",
            },
        ],
    }
}

ANSWERS = {
    "Add etcd member": lambda plan: f"cluster with {plan['Parameters']['name']}",
    "Update Service": lambda plan: "10.254.0.7",
}


def test_every_class_of_the_suite_loads_with_our_library(library, world):
    runtime = dsl.Runtime(library, system=world)
    assert runtime.check(MODEL) == ()


def test_grafana_and_its_database_are_deployed_as_the_packages_mean_it(library, world):
    world.answers.update(ANSWERS)
    program = dsl.Runtime(library, system=world).load(MODEL)

    program.call("env", "deploy")

    names = Counter(plan["Name"] for _, plan in world.plans)
    assert names["Setup etcd Master"] == 1
    assert names["Add etcd member"] == 3
    assert names["Setup etcd Member"] == 3
    assert names["Setup Calico on Master"] == 1
    assert names["Setup Calico on Node"] == 3
    assert names["Setup Kubernetes Master"] == 1
    assert names["Setup Kubernetes Node"] == 2
    assert names["Setup HAProxy"] == 1
    assert names["Deploy KubeDNS"] == 1
    assert names["Deploy Dashboard"] == 1
    assert names["Update Replication Controller"] == 2
    assert names["Update Service"] == 2
    assert names["Delete Pods"] == 1
    per_server = Counter(instance for instance, plan in world.plans if plan["Name"] not in ("Update Service",))
    assert per_server["vm-kube-2"] == 3
    assert per_server["vm-gateway-1"] == 3
    assert not per_server["vm-kube-4"]


def test_the_calls_of_the_deployment_give_what_the_next_ones_need(library, world):
    world.answers.update(ANSWERS)
    program = dsl.Runtime(library, system=world).load(MODEL)

    program.call("env", "deploy")

    plans = {(instance, plan["Name"]): plan["Parameters"] for instance, plan in world.plans if "Parameters" in plan}
    assert plans["vm-kube-2", "Setup etcd Member"]["clusterConfig"] == "cluster with kube-2"
    assert plans["vm-kube-2", "Setup Calico on Node"]["masterIp"] == plans["vm-kube-1", "Setup etcd Master"]["ip"]
    controllers = [plan["Parameters"] for _, plan in world.plans if plan["Name"] == "Update Replication Controller"]
    assert [controller["isNew"] for controller in controllers] == [True, False]
    containers = controllers[1]["controllerDefinition"]["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["influxdb", "grafana"]
    environment = {entry["name"]: entry["value"] for entry in containers[1]["env"]}
    assert environment["INFLUXDB_HOST"] == "127.0.0.1"
    assert environment["INFLUXDB_PORT"] == "8086"
    assert environment["INFLUXDB_NAME"] == "db1"


def test_the_stack_of_the_cluster_has_its_servers_rules_and_pinned_addresses(library, world):
    world.answers.update(ANSWERS)
    program = dsl.Runtime(library, system=world).load(MODEL)

    program.call("env", "deploy")

    resources = world.template["resources"]
    servers = {name for name, resource in resources.items() if resource["type"] == "OS::Nova::Server"}
    assert servers == {"kube-1", "kube-2", "kube-3", "gateway-1"}
    port = resources["kube-2"]["properties"]["networks"][0]["port"]["get_resource"]
    assert resources[port]["properties"]["allowed_address_pairs"] == [{"ip_address": "192.168.0.0/16"}]
    assert resources[port]["properties"]["fixed_ips"][0]["ip_address"].startswith("10.0.0.")
    (group,) = [each for each in resources.values() if each["type"] == "OS::Neutron::SecurityGroup"]
    opened = {(each.get("port_range_min"), each["protocol"]) for each in group["properties"]["rules"]}
    assert {
        (22, "tcp"),
        (2379, "tcp"),
        (179, "udp"),
        (9090, "tcp"),
        (8083, "tcp"),
        (8086, "tcp"),
        (80, "tcp"),
    } <= opened
    assert any("Grafana" in text and "http://" in text for _, _, text in world.reports)


def test_a_node_is_added_and_taken_away_again(library, world):
    world.answers.update(ANSWERS)
    runtime = dsl.Runtime(library, system=world)
    program = runtime.load(MODEL)
    program.call("env", "deploy")
    program = runtime.load(program.finalize())
    world.plans.clear()

    program.call("cluster", "scaleNodesUp", exposed_only=True)

    assert {instance for instance, plan in world.plans if plan["Name"] == "Setup Kubernetes Node"} == {"vm-kube-4"}
    assert "kube-4" in world.template["resources"]
    program = runtime.load(program.finalize())
    world.plans.clear()

    program.call("cluster", "scaleNodesDown", exposed_only=True)

    assert [plan["Name"] for _, plan in world.plans][:2] == ["Remove etcd member", "Remove Kubernetes Node"]
    assert not [name for name in world.template["resources"] if name.endswith("kube-4")]


def test_an_application_that_is_removed_takes_its_container_and_service_along(library, world):
    world.answers.update(ANSWERS)
    runtime = dsl.Runtime(library, system=world)
    program = runtime.load(MODEL)
    program.call("env", "deploy")
    model = program.finalize()
    model["ObjectsCopy"] = copy.deepcopy(model["Objects"])
    model["Objects"]["applications"].pop()
    world.plans.clear()

    program = runtime.load(model)
    program.collect()

    controllers = [plan for _, plan in world.plans if plan["Name"] == "Update Replication Controller"]
    definition = controllers[-1]["Parameters"]["controllerDefinition"]
    assert [each["name"] for each in definition["spec"]["template"]["spec"]["containers"]] == ["influxdb"]
    assert "Delete Services" in [plan["Name"] for _, plan in world.plans]


def test_the_whole_deployment_replays_from_its_journal(library):
    journal = Journal()
    journal.answers.update(ANSWERS)
    program = dsl.Runtime(library, system=journal).load(MODEL)
    program.call("env", "deploy")
    stored = program.finalize()

    replay = Replay(journal)
    program = dsl.Runtime(library, system=replay).load(MODEL)
    program.call("env", "deploy")

    assert program.finalize() == stored
    assert len(replay.effects) == len(journal.effects)
