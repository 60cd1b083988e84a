"""Packages that nobody here wrote go the same way: the container suite of 2015, unmodified.

They are not part of this project: ``CHANDLERY_PUBLIC_PACKAGES`` names a folder with a checkout of
``openstack/k8s-docker-suite-app-murano`` (the commit before its retirement) in ``k8s/``.
"""

from __future__ import annotations

import copy
import json
import os
import pathlib
import re

import pytest
import service_process

from catalog.repositories import build
from cli.commands import repository

SOURCES = pathlib.Path(os.environ.get("CHANDLERY_PUBLIC_PACKAGES", "/nonexistent")) / "k8s"
GRAFANA = "com.example.docker.DockerGrafana"
pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="CHANDLERY_PUBLIC_PACKAGES names no folder with k8s/")


def server(identifier: str, name: str) -> dict:
    header = {"type": "io.murano.resources.LinuxMuranoInstance", "id": identifier}
    return {"?": header, "name": name, "flavor": "m1.medium", "image": "ubuntu"}


def node(kind: str, identifier: str, name: str) -> dict:
    header = {"type": f"com.mirantis.docker.kubernetes.Kubernetes{kind}Node", "id": identifier}
    exposed = {} if kind == "Gateway" else {"exposeCAdvisor": True}
    return {"?": header, "instance": server(f"{identifier}-server", name), **exposed}


COMPOSITION = [
    {
        "?": {"type": "com.mirantis.docker.kubernetes.KubernetesCluster", "id": "cluster"},
        "name": "kube",
        "masterNode": node("Master", "master", "kube-1"),
        "minionNodes": [node("Minion", "minion-1", "kube-2"), node("Minion", "minion-2", "kube-3")],
        "gatewayNodes": [node("Gateway", "gateway-1", "gateway-1")],
        "nodeCount": 2,
        "gatewayCount": 1,
        "useFlannel": False,
        "enableKubeDns": True,
        "enableDashboard": True,
        "dockerRegistry": "",
        "dockerMirror": "",
        "gcloudKey": "",
    },
    {
        "?": {"type": "com.mirantis.docker.kubernetes.KubernetesPod", "id": "pod"},
        "name": "monitoring",
        "labels": "env=test",
        "replicas": 1,
        "kubernetesCluster": "cluster",
    },
    {
        "?": {"type": "com.example.docker.DockerInfluxDB", "id": "influx"},
        "name": "influx",
        "host": "pod",
        "publish": True,
        "preCreateDB": "measurements",
    },
    {
        "?": {"type": GRAFANA, "id": "grafana"},
        "name": "grafana",
        "host": "pod",
        "influxDB": "influx",
        "dbName": "measurements",
        "grafanaUser": "admin",
        "grafanaPassword": "hunter2-hunter2",
        "publish": True,
    },
]


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    build.build(repository.package_folders([SOURCES]), folder / "repository")
    with service_process.installed(folder / "service", folder / "repository") as running:
        running.imported = running.json("package", "import", GRAFANA)
        yield running


def test_grafana_by_name_brings_its_whole_closure(installation):
    imported = installation.imported
    assert {item["fqn"].rpartition(".")[2] for item in imported} == {
        "Interfaces",
        "KubernetesCluster",
        "KubernetesPod",
        "DockerStandaloneHost",
        "DockerInfluxDB",
        "DockerGrafana",
    }
    again = installation.json("package", "import", GRAFANA)
    assert {item["action"] for item in again} == {"skipped"}


def test_it_shows_what_it_needs(installation):
    tree = installation.json("package", "dependencies", GRAFANA)["tree"]
    assert [child["fqn"].rpartition(".")[2] for child in tree["packages"]] == [
        "DockerStandaloneHost",
        "KubernetesPod",
        "DockerInfluxDB",
        "Interfaces",
    ]


def test_the_check_finds_the_missing_database(installation, tmp_path):
    installation.run("environment", "create", "lacking")
    lacking = copy.deepcopy([item for item in COMPOSITION if item["?"]["id"] != "influx"])
    del lacking[-1]["influxDB"]
    (tmp_path / "lacking.json").write_text(json.dumps(lacking))
    [problem] = installation.json("environment", "check", "lacking", "--services", str(tmp_path / "lacking.json"))
    assert (problem["object_id"], problem["path"]) == ("grafana", "influxDB")
    assert "com.example.docker.DockerInfluxDB" in problem["fix"]


def test_the_plan_is_the_one_the_original_engine_carried_out(installation, tmp_path):
    installation.run("environment", "create", "docker")
    (tmp_path / "whole.json").write_text(json.dumps(COMPOSITION))
    steps = installation.json("plan", "docker", "--services", str(tmp_path / "whole.json"))["steps"]
    scripts = [step["summary"] for step in steps if step["kind"] == "execute"]
    names = [re.fullmatch(r"(.+) on \S+ \(.+\)", summary)[1] for summary in scripts]
    # The sequence recorded from the original, step by step; parallel branches may come in any order.
    assert names[:7] == ["Setup etcd Master", *["Add etcd member", "Setup etcd Member"] * 3]
    assert sorted(names[7:11]) == ["Setup Calico on Master", *["Setup Calico on Node"] * 3]
    assert names[11] == "Setup Kubernetes Master"
    assert sorted(names[12:15]) == ["Setup HAProxy", "Setup Kubernetes Node", "Setup Kubernetes Node"]
    assert names[15:] == [
        "Deploy KubeDNS",
        "Deploy Dashboard",
        "Update Replication Controller",
        "Update Service",
        "Update Replication Controller",
        "Delete Pods",
        "Update Service",
    ]
    assert len([step for step in steps if step["kind"] == "create" and "the server" in step["summary"]]) == 4
    assert "hunter2" not in json.dumps(steps)
