"""The demonstration's composition in the lab: real servers, real scripts, proved by HTTP from outside."""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Iterator

import packages_cloud
import pytest
from packages_cloud import Environment
from packages_lab import LabCloud

from engine.clouds.lab import LabOrchestration, isolation

PASSWORD = "a$b 'c'"


@pytest.fixture
def cloud() -> Iterator[LabCloud]:
    if isolation().level == "none":
        pytest.skip("; ".join(isolation().missing))
    # A short path: sockets in it have names of limited length.
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        lab = LabOrchestration(pathlib.Path(folder) / "data", agent_url="http://127.0.0.1:9")
        lab.start()
        try:
            yield LabCloud(lab)
        finally:
            lab.cleanup()
            lab.close()


def url_of(environment: Environment, identifier: str) -> str:
    found = environment.application(identifier)["endpoints"]
    return next(endpoint["url"] for endpoint in found if endpoint["scope"] == "public")


def proved(environment: Environment, cloud: LabCloud, database: str = "http://127.0.0.1:8086") -> None:
    """Grafana and its database answer from outside, know their passwords, and Grafana reaches the database."""
    grafana, influxdb = url_of(environment, "grafana"), url_of(environment, "influxdb")
    assert cloud.get(f"{grafana}/api/health")[1]["database"] == "ok"
    assert cloud.get(f"{grafana}/api/datasources")[0] == 401
    (source,) = cloud.get(f"{grafana}/api/datasources", f"admin:{PASSWORD}")[1]
    assert (source["type"], source["url"]) == ("influxdb", database)
    assert cloud.get(f"{influxdb}/ping") == (204, None)
    assert cloud.get(f"{influxdb}/query?q=SHOW+DATABASES")[0] == 401
    proxied = f"{grafana}/api/datasources/proxy/{source['id']}/query?q=SHOW+DATABASES"
    assert "metrics" in json.dumps(cloud.get(proxied, f"admin:{PASSWORD}")[1])


def composed(cloud: LabCloud, example: str) -> Environment:
    environment = Environment(cloud, packages_cloud.example(example))
    environment.application("influxdb")["password"] = PASSWORD
    environment.application("grafana")["adminPassword"] = PASSWORD
    return environment


def test_grafana_and_influxdb_share_a_pod_on_a_cluster_in_the_lab(cloud: LabCloud) -> None:
    environment = composed(cloud, "grafana-on-kubernetes")
    environment.deploy()
    proved(environment, cloud)
    assert [node["role"] for node in environment.call("cluster", "listNodes")] == [
        "gateway",
        "master",
        "minion",
        "minion",
    ]

    environment.call("pod", "scalePodUp")
    after = environment.call("pod", "killReplica")
    assert [replica["ready"] for replica in after["replicas"]] == [True, True]
    assert after["killed"] not in [replica["name"] for replica in after["replicas"]]
    proved(environment, cloud)

    environment.remove("grafana")
    environment.deploy()
    assert cloud.get(f"{url_of(environment, 'influxdb')}/ping") == (204, None)
    environment.delete()
    assert list(cloud.lab.servers()) == []


def test_the_same_applications_run_on_a_server_with_podman(cloud: LabCloud) -> None:
    environment = composed(cloud, "grafana-on-a-server")
    environment.deploy()
    proved(environment, cloud, database=url_of(environment, "influxdb"))
    listed = environment.call("host", "listContainers")
    assert {item["name"]: item["state"] for item in listed} == {"influxdb": "running", "grafana": "running"}

    environment.remove("grafana")
    environment.deploy()
    assert [item["name"] for item in environment.call("host", "listContainers")] == ["influxdb"]
