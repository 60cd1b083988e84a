"""Grafana and InfluxDB in one pod on a cluster, from the first deployment to the last, against a model of the cloud."""

from __future__ import annotations

import json

import packages_cloud
import pytest
from packages_cloud import Cloud, Environment

import dsl


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def environment(cloud: Cloud) -> Environment:
    return Environment(cloud, packages_cloud.example())


@pytest.fixture
def deployed(environment: Environment) -> Environment:
    packages_cloud.deploy_once(environment)
    return environment


def endpoints(environment: Environment, identifier: str, scope: str) -> list[str]:
    found = environment.application(identifier)["endpoints"]
    return [endpoint["url"] for endpoint in found if endpoint["scope"] == scope]


def test_a_correct_composition_passes_the_check(environment: Environment) -> None:
    assert environment.check() == []


def test_grafana_without_a_database_is_refused_at_that_field(environment: Environment, cloud: Cloud) -> None:
    environment.remove("influxdb")
    del environment.application("grafana")["influxDB"]
    (violation,) = environment.check()
    assert violation.object_id == "grafana"
    assert "influxDB" in violation.path
    assert (cloud.plans, cloud.pushes) == ([], [])


@pytest.mark.parametrize(("identifier", "field"), [("grafana", "host"), ("influxdb", "host"), ("pod", "cluster")])
def test_what_something_runs_on_cannot_be_left_out(environment: Environment, identifier: str, field: str) -> None:
    del environment.application(identifier)[field]
    (violation,) = environment.check()
    assert violation.object_id == identifier
    assert field in violation.path


@pytest.mark.parametrize(
    ("identifier", "field", "value"),
    [
        ("grafana", "name", "My Grafana"),
        ("grafana", "name", "two--hyphens"),
        ("grafana", "adminPassword", ""),
        ("grafana", "version", "latest; reboot"),
        ("influxdb", "database", "a-b"),
        ("pod", "replicas", 0),
        ("cluster", "minions", []),
        ("cluster", "version", "stable"),
    ],
)
def test_values_that_cannot_work_are_refused(
    environment: Environment, identifier: str, field: str, value: object
) -> None:
    environment.application(identifier)[field] = value
    (violation,) = environment.check()
    assert violation.object_id == identifier
    assert field in violation.path


def test_the_cluster_gets_its_four_servers_with_their_roles(deployed: Environment, cloud: Cloud) -> None:
    assert cloud.kubernetes.nodes == {
        "kube-master": "master",
        "kube-minion-1": "minion",
        "kube-minion-2": "minion",
        "kube-gateway-1": "gateway",
    }


def test_all_servers_are_created_in_one_update(deployed: Environment, cloud: Cloud) -> None:
    def servers(template: dict) -> int:
        return sum(item["type"] == "OS::Nova::Server" for item in template["resources"].values())

    assert {servers(template) for template in cloud.pushes} <= {0, 4}


def test_the_pod_runs_both_containers_side_by_side(deployed: Environment, cloud: Cloud) -> None:
    assert cloud.kubernetes.names("Deployment") == ["monitoring"]
    specification = cloud.kubernetes.objects["Deployment", "monitoring"]["spec"]
    assert specification["replicas"] == 1
    assert [item["image"] for item in specification["template"]["spec"]["containers"]] == [
        "docker.io/library/influxdb:1.8",
        "docker.io/grafana/grafana:11.4.0",
    ]


def test_endpoints_are_at_the_gateway(deployed: Environment, cloud: Cloud) -> None:
    gateway = cloud.address_of("kube-gateway-1")
    assert endpoints(deployed, "grafana", "public") == [f"http://{gateway}:3000"]
    assert endpoints(deployed, "influxdb", "public") == [f"http://{gateway}:8086"]
    service = cloud.kubernetes.objects["Service", "monitoring--grafana"]["spec"]
    assert service["externalIPs"] == [gateway]
    assert service["ports"] == [{"name": "http", "port": 3000, "targetPort": 3000, "protocol": "TCP"}]


def test_the_ports_are_opened_for_the_world_and_the_cluster_s_own_are_not(deployed: Environment, cloud: Cloud) -> None:
    group = next(item for item in cloud.template["resources"].values() if item["type"] == "OS::Neutron::SecurityGroup")
    rules = {
        rule["port_range_min"]: "remote_ip_prefix" in rule
        for rule in group["properties"]["rules"]
        if "port_range_min" in rule
    }
    assert rules == {22: True, 3000: True, 8086: True, 6443: False, 2379: False, 10250: False, 8472: False}


def test_grafana_finds_its_database_at_the_pod_s_own_address(deployed: Environment, cloud: Cloud) -> None:
    files = cloud.kubernetes.objects["Secret", "monitoring--grafana--files"]["stringData"]
    (source,) = files["file-0"]["datasources"]
    assert source["url"] == "http://127.0.0.1:8086"
    assert source["jsonData"] == {"dbName": "metrics"}
    assert source["secureJsonData"] == {"password": "pa$$$$word"}, "Grafana reads two dollars as one"


def test_passwords_are_in_secrets_only(deployed: Environment, cloud: Cloud) -> None:
    others = {key: item for key, item in cloud.kubernetes.objects.items() if key[0] != "Secret"}
    assert "pa$" not in json.dumps(list(others.values()))
    assert (
        cloud.kubernetes.objects["Secret", "monitoring--influxdb"]["stringData"]["INFLUXDB_USER_PASSWORD"] == "pa$$word"
    )


def test_reports_are_short_and_say_where_things_are(deployed: Environment, cloud: Cloud) -> None:
    gateway = cloud.address_of("kube-gateway-1")
    assert [text for text in cloud.reports if len(text) > 80] == []
    assert f"grafana is at http://{gateway}:3000" in cloud.reports
    assert "Kubernetes 1.31.4 runs on 1 master, 2 minions, 1 gateway" in cloud.reports


def test_a_second_deployment_without_a_change_does_nothing(deployed: Environment, cloud: Cloud) -> None:
    before = json.dumps(deployed.model["Objects"], sort_keys=True)
    cloud.forget()
    deployed.deploy()
    assert (cloud.plans, cloud.pushes, cloud.reports) == ([], [], [])
    assert json.dumps(deployed.model["Objects"], sort_keys=True) == before


def test_scaling_the_pod_up_and_down(deployed: Environment, cloud: Cloud) -> None:
    deployed.call("pod", "scalePodUp")
    assert deployed.application("pod")["replicas"] == 2
    assert cloud.kubernetes.objects["Deployment", "monitoring"]["spec"]["replicas"] == 2
    deployed.call("pod", "scalePodDown")
    deployed.call("pod", "scalePodDown")
    assert deployed.application("pod")["replicas"] == 1
    assert cloud.reports[-1] == "The last replica has to stay"


def test_a_killed_replica_comes_back(deployed: Environment, cloud: Cloud) -> None:
    result = deployed.call("pod", "killReplica")
    assert cloud.kubernetes.killed == ["monitoring-0"]
    assert result["killed"] == "monitoring-0"
    assert [pod["name"] for pod in result["replicas"]] == ["monitoring-1"]
    assert [pod["name"] for pod in deployed.call("pod", "listReplicas")] == ["monitoring-1"]


def test_containers_can_be_restarted(deployed: Environment, cloud: Cloud) -> None:
    deployed.call("pod", "restartContainers")
    assert cloud.plans[-1] == ("Restart deployment monitoring", "kube-master")


def test_actions_carry_titles(deployed: Environment) -> None:
    actions = {item["name"]: item["title"] for item in deployed.application("pod")["?"]["_actions"].values()}
    assert actions["scalePodUp"] == "Add a replica"
    assert set(actions) == {
        "scalePodUp",
        "scalePodDown",
        "restartContainers",
        "listReplicas",
        "killReplica",
    }


def test_a_changed_password_reaches_the_pod(deployed: Environment, cloud: Cloud) -> None:
    deployed.application("grafana")["adminPassword"] = "changed"
    cloud.forget()
    deployed.deploy()
    assert cloud.planned() == ["Apply deployment monitoring"]
    secret = cloud.kubernetes.objects["Secret", "monitoring--grafana"]["stringData"]
    assert secret == {"GF_SECURITY_ADMIN_PASSWORD": "changed"}


def test_a_removed_application_leaves_the_pod_and_its_neighbour_stays(deployed: Environment, cloud: Cloud) -> None:
    deployed.remove("grafana")
    cloud.forget()
    deployed.deploy()
    assert sorted(cloud.kubernetes.objects) == [
        ("Deployment", "monitoring"),
        ("Secret", "monitoring--influxdb"),
        ("Service", "monitoring--influxdb"),
    ]
    containers = cloud.kubernetes.objects["Deployment", "monitoring"]["spec"]["template"]["spec"]["containers"]
    assert [item["name"] for item in containers] == ["influxdb"]
    assert cloud.reports[0] == "Removing container grafana"


def test_a_removed_pod_goes_with_its_applications_and_the_cluster_stays(deployed: Environment, cloud: Cloud) -> None:
    for identifier in ("grafana", "influxdb", "pod"):
        deployed.remove(identifier)
    deployed.deploy()
    assert cloud.kubernetes.objects == {}
    assert len(cloud.kubernetes.nodes) == 4


def test_a_deleted_environment_asks_nothing_of_servers_that_go_anyway(deployed: Environment, cloud: Cloud) -> None:
    cloud.forget()
    deployed.delete()
    assert cloud.plans == []
    assert cloud.template is None


def test_one_more_minion_joins(deployed: Environment, cloud: Cloud) -> None:
    cloud.forget()
    deployed.call("cluster", "scaleMinionsUp")
    assert cloud.kubernetes.nodes["kube-minion-3"] == "minion"
    assert [name for name, server in cloud.plans if server == "kube-minion-3"] == [
        "Prepare a Kubernetes node",
        "Join the cluster",
    ]
    added = deployed.application("cluster")["minions"][2]
    assert added["instance"]["flavor"] == "m1.medium"
    assert added["instance"]["ipAddresses"] == [cloud.address_of("kube-minion-3")]
    deployed.deploy()
    assert len(deployed.application("cluster")["minions"]) == 3


def test_a_minion_leaves_in_order_and_gives_its_server_back(deployed: Environment, cloud: Cloud) -> None:
    cloud.forget()
    deployed.call("cluster", "scaleMinionsDown")
    assert "kube-minion-2" not in cloud.kubernetes.nodes
    assert cloud.parameters[0] == {"name": "kube-minion-2", "drain": True}
    assert "kube-minion-2" not in cloud.template["resources"]
    assert "kube-minion-1" in cloud.template["resources"]
    deployed.call("cluster", "scaleMinionsDown")
    assert cloud.reports[-1] == "The last minion has to stay"


def test_a_minion_taken_out_of_the_composition_is_forgotten(deployed: Environment, cloud: Cloud) -> None:
    del deployed.application("cluster")["minions"][1]
    cloud.forget()
    deployed.deploy()
    assert "kube-minion-2" not in cloud.kubernetes.nodes
    assert "kube-minion-2" not in cloud.template["resources"]


def test_a_second_gateway_publishes_the_services_too(deployed: Environment, cloud: Cloud) -> None:
    deployed.call("cluster", "scaleGatewaysUp")
    addresses = [cloud.address_of("kube-gateway-1"), cloud.address_of("kube-gateway-2")]
    assert cloud.kubernetes.objects["Service", "monitoring--grafana"]["spec"]["externalIPs"] == addresses
    assert endpoints(deployed, "grafana", "public") == [f"http://{address}:3000" for address in addresses]
    deployed.call("cluster", "scaleGatewaysDown")
    assert endpoints(deployed, "grafana", "public") == [f"http://{addresses[0]}:3000"]
    assert "kube-gateway-2" not in cloud.kubernetes.nodes


def test_nodes_are_listed(deployed: Environment) -> None:
    assert {node["role"] for node in deployed.call("cluster", "listNodes")} == {"master", "minion", "gateway"}


def test_without_a_gateway_the_minions_publish(environment: Environment, cloud: Cloud) -> None:
    environment.application("cluster")["gateways"] = []
    environment.deploy()
    expected = [f"http://{cloud.address_of(name)}:3000" for name in ("kube-minion-1", "kube-minion-2")]
    assert endpoints(environment, "grafana", "public") == expected


def test_a_floating_address_is_what_the_outside_sees(environment: Environment, cloud: Cloud) -> None:
    environment.application("cluster")["gateways"][0]["instance"]["assignFloatingIp"] = True
    environment.deploy()
    (url,) = endpoints(environment, "grafana", "public")
    assert url.startswith("http://203.0.113.")
    service = cloud.kubernetes.objects["Service", "monitoring--grafana"]["spec"]
    assert service["externalIPs"] == [cloud.address_of("kube-gateway-1")]


def test_an_application_for_its_neighbours_only_is_not_published(environment: Environment, cloud: Cloud) -> None:
    environment.application("influxdb")["public"] = False
    environment.deploy()
    assert "externalIPs" not in cloud.kubernetes.objects["Service", "monitoring--influxdb"]["spec"]
    assert endpoints(environment, "influxdb", "public") == []
    assert "influxdb is running, for its neighbours only" in cloud.reports


def test_a_database_in_another_pod_is_reached_through_its_service(environment: Environment, cloud: Cloud) -> None:
    other = {"?": {"type": "org.chandlery.kubernetes.Pod", "id": "pod-2"}, "name": "data", "cluster": "cluster"}
    environment.applications.append(other)
    environment.application("influxdb")["host"] = "pod-2"
    environment.deploy()
    files = cloud.kubernetes.objects["Secret", "monitoring--grafana--files"]["stringData"]
    assert files["file-0"]["datasources"][0]["url"] == endpoints(environment, "influxdb", "internal")[0]


def test_an_application_can_move_to_another_pod(deployed: Environment, cloud: Cloud) -> None:
    other = {"?": {"type": "org.chandlery.kubernetes.Pod", "id": "pod-2"}, "name": "data", "cluster": "cluster"}
    deployed.applications.append(other)
    deployed.application("influxdb")["host"] = "pod-2"
    deployed.deploy()
    assert cloud.kubernetes.names("Service") == ["monitoring--grafana", "data--influxdb"]
    containers = cloud.kubernetes.objects["Deployment", "monitoring"]["spec"]["template"]["spec"]["containers"]
    assert [item["name"] for item in containers] == ["grafana"]


def test_a_port_that_is_taken_at_the_gateway_gets_the_next_number(environment: Environment, cloud: Cloud) -> None:
    environment.applications.extend(
        [
            {"?": {"type": "org.chandlery.kubernetes.Pod", "id": "pod-2"}, "name": "data", "cluster": "cluster"},
            {
                **environment.application("influxdb"),
                "?": {"type": "org.chandlery.InfluxDB", "id": "i2"},
                "host": "pod-2",
            },
        ]
    )
    environment.deploy()
    urls = endpoints(environment, "influxdb", "public") + endpoints(environment, "i2", "public")
    assert sorted(url.rsplit(":", 1)[1] for url in urls) == ["8086", "8087"]
    before = urls
    environment.deploy()
    assert endpoints(environment, "influxdb", "public") + endpoints(environment, "i2", "public") == before


def test_two_databases_cannot_share_a_pod(environment: Environment) -> None:
    second = {
        **environment.application("influxdb"),
        "?": {"type": "org.chandlery.InfluxDB", "id": "i2"},
        "name": "second",
    }
    environment.applications.append(second)
    with pytest.raises(dsl.Thrown, match="both listen on port 8086") as caught:
        environment.deploy()
    assert caught.value.names == ("org.chandlery.kubernetes.PortConflict",)


def test_two_containers_of_a_pod_cannot_have_one_name(environment: Environment) -> None:
    environment.application("grafana")["name"] = "influxdb"
    with pytest.raises(dsl.Thrown, match="already runs a container named influxdb"):
        environment.deploy()


def test_two_pods_of_a_cluster_cannot_have_one_name(environment: Environment) -> None:
    other = {"?": {"type": "org.chandlery.kubernetes.Pod", "id": "pod-2"}, "name": "monitoring", "cluster": "cluster"}
    environment.applications.append(other)
    with pytest.raises(dsl.Thrown, match="already has a pod named monitoring"):
        environment.deploy()


def test_two_servers_of_a_cluster_cannot_have_one_name(environment: Environment, cloud: Cloud) -> None:
    for minion in environment.application("cluster")["minions"]:
        minion["instance"]["name"] = "same"
    with pytest.raises(dsl.Thrown, match="Two servers of the cluster are named same"):
        environment.deploy()
    assert cloud.pushes == []


def test_a_deployment_that_failed_goes_on_where_it_was(environment: Environment, cloud: Cloud) -> None:
    cloud.failing.add("Join the cluster")
    with pytest.raises(dsl.Thrown):
        environment.deploy()
    assert cloud.kubernetes.nodes == {"kube-master": "master"}
    assert "Join the cluster failed on kube-minion-1, it is broken" in cloud.reports
    cloud.failing.clear()
    cloud.forget()
    environment.deploy()
    assert "Start the Kubernetes control plane" not in cloud.planned(), "the master was ready"
    assert len(cloud.kubernetes.nodes) == 4
    assert endpoints(environment, "grafana", "public")


def test_a_pod_that_did_not_come_up_is_applied_again(environment: Environment, cloud: Cloud) -> None:
    cloud.failing.add("Apply ")
    with pytest.raises(dsl.Thrown):
        environment.deploy()
    cloud.failing.clear()
    environment.deploy()
    assert len(cloud.kubernetes.objects["Deployment", "monitoring"]["spec"]["template"]["spec"]["containers"]) == 2


def test_the_database_can_keep_its_data_on_the_server(environment: Environment, cloud: Cloud) -> None:
    environment.application("influxdb")["dataFolder"] = "/srv/influxdb"
    environment.deploy()
    specification = cloud.kubernetes.objects["Deployment", "monitoring"]["spec"]
    assert {
        "name": "influxdb--data",
        "hostPath": {"path": "/srv/influxdb", "type": "DirectoryOrCreate"},
    } in specification["template"]["spec"]["volumes"]
    assert specification["strategy"] == {"type": "Recreate"}
