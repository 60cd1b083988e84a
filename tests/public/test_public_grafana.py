"""DockerGrafana on a pod of a Kubernetes cluster: every Heat push and every agent plan, step by step, as the packages
of openstack/k8s-docker-suite-app-murano mean it.

The steps are those that the original engine takes: the first push, what each server brings, who runs which script with
which parameters, what the answers are good for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from public_cloud import Deletion, Execution, Push, ScriptedCloud
from public_containers import ANSWERS, KUBERNETES, cluster, container
from public_stories import does

SERVERS = ("kube-1", "kube-2", "kube-3", "gateway-1")  # one master, two minions, one gateway
EXTERNAL, MEMBERS = "0.0.0.0/0", "remote_group_id"
Rule = tuple[int | None, str, str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan for an agent. `files` are those beside the entry points, where it is told which."""

    server: str
    name: str
    scripts: Sequence[str]
    parameters: dict[str, Any]
    files: frozenset[str] | int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens next: plans (in any order, if there are several) or a push."""

    title: str
    plans: Sequence[Plan] = ()
    rules: Sequence[Rule] = ()  # that the push adds to the security group
    changes: Sequence[str] = ()  # servers whose ports the push changes


def plan(server: str, name: str, *scripts: str, files: frozenset[str] | int | None = None, **parameters: Any) -> Plan:
    return Plan(server=server, name=name, scripts=scripts, parameters=parameters, files=files)


ETCD = frozenset({"init_conf/etcd.conf", "initd_scripts/etcd", "environ/etcd", "systemd/etcd.service"})


def joins_etcd(server: str) -> list[Step]:
    member = plan(
        server,
        "Setup etcd Member",
        "member-etcd-setup.sh",
        files=ETCD | {"default_scripts/etcd-member"},
        name_=server,
        ip=f"<{server}>",
        clusterConfig=f"cluster with {server}",  # what the master's script printed
    )
    return [
        Step(
            title=f"the master adds {server} to etcd",
            plans=[plan("kube-1", "Add etcd member", "master-add-member.sh", name_=server, ip=f"<{server}>")],
        ),
        Step(title=f"{server} joins etcd with what the master printed", plans=[member]),
    ]


def minion(server: str) -> Plan:
    return plan(
        server,
        "Setup Kubernetes Node",
        "minion-kube-setup.sh",
        "setupDockerRegistry.sh",
        "setupDockerMirror.sh",
        "loginToGoogleRegistry.sh",
        "restartDocker.sh",
        name_=server,
        ip=f"<{server}>",
        masterIp="<kube-1>",
        dockerRegistry="",
        dockerMirror="",
        gcloudKey="",
        useFlannel=False,
        enableKubeDns=True,
    )


def in_pod(name: str, image: str, ports: Sequence[int], env: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "args": [],
        "ports": [{"containerPort": port} for port in ports],
        "volumeMounts": [],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "securityContext": {"privileged": False},
    }


INFLUX = in_pod("influxdb", "tutum/influxdb", [8083, 8086, 8090, 8099], {"PRE_CREATE_DB": "db1"})
GRAFANA = in_pod(
    "grafana",
    "tutum/grafana",
    [80],
    {
        "HTTP_USER": "admin",
        "HTTP_PASS": "P@ssw0rd",
        "INFLUXDB_HOST": "127.0.0.1",  # the same pod: of all scopes the host's comes first
        "INFLUXDB_PORT": "8086",
        "INFLUXDB_NAME": "db1",
        "INFLUXDB_USER": "root",
        "INFLUXDB_PASS": "root",
    },
)


def controller(*containers: dict[str, Any], new: bool) -> Plan:
    labels = {"id": "monitoring"}
    return plan(
        "kube-1",
        "Update Replication Controller",
        "updateReplicationController.sh",
        isNew=new,
        controllerDefinition={
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": "monitoring", "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": labels,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": list(containers), "volumes": []},
                },
            },
        },
    )


def service(*ports: int) -> Plan:
    return plan(
        "kube-1",
        "Update Service",
        "updateService.sh",
        "getServiceIp.sh",
        isNew=True,
        serviceDefinition={
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"labels": {"name": "..."}, "name": "..."},
            "spec": {
                "ports": [{"port": port, "targetPort": port, "protocol": "TCP", "name": str(port)} for port in ports],
                "selector": {"id": "monitoring"},
            },
        },
    )


FIRST_RULES: Sequence[Rule] = (
    (None, "icmp", EXTERNAL),
    (4001, "tcp", MEMBERS),
    (7001, "tcp", MEMBERS),
    (10250, "tcp", MEMBERS),
    (8080, "tcp", EXTERNAL),
    (2380, "tcp", MEMBERS),
    (8285, "udp", MEMBERS),
    (22, "tcp", EXTERNAL),
)
STEPS = [  # after the pushes that bring network and servers
    Step(
        title="the master sets etcd up",
        plans=[
            plan(
                "kube-1",
                "Setup etcd Master",
                "master-etcd-setup.sh",
                files=ETCD | {"default_scripts/etcd-master"},
                name_="kube-1",
                ip="<kube-1>",
            )
        ],
    ),
    *joins_etcd("kube-2"),
    *joins_etcd("kube-3"),
    *joins_etcd("gateway-1"),
    Step(
        title="all set Calico up, in parallel",
        plans=[
            plan("kube-1", "Setup Calico on Master", "setupCalicoMaster.sh", ip="<kube-1>"),
            *(
                plan(name, "Setup Calico on Node", "setupCalicoNode.sh", ip=f"<{name}>", masterIp="<kube-1>")
                for name in SERVERS[1:]
            ),
        ],
    ),
    Step(
        title="the master sets Kubernetes up",
        plans=[
            plan("kube-1", "Setup Kubernetes Master", "master-kube-setup.sh", files=14, name_="kube-1", ip="<kube-1>")
        ],
    ),
    Step(
        title="minions and gateway join, in parallel",
        plans=[
            minion("kube-2"),
            minion("kube-3"),
            plan("gateway-1", "Setup HAProxy", "haproxy-setup.sh", masterIp="<kube-1>"),
        ],
    ),
    Step(
        title="the cluster's name service",
        plans=[plan("kube-1", "Deploy KubeDNS", "deployKubeDns.sh", files=frozenset({"addons/kube-dns-addon.yaml"}))],
    ),
    Step(
        title="the cluster's dashboard",
        plans=[plan("kube-1", "Deploy Dashboard", "deployDashboard.sh", ip="<kube-1>")],
    ),
    Step(
        title="one push for all rules, address pairs and pinned addresses",
        rules=[
            (2379, "tcp", MEMBERS),
            (179, "tcp", MEMBERS),
            (179, "udp", MEMBERS),
            (4194, "tcp", EXTERNAL),
            (8001, "tcp", MEMBERS),
            (10053, "udp", MEMBERS),
            (10053, "tcp", MEMBERS),
            (53, "udp", MEMBERS),
            (53, "tcp", MEMBERS),
            (9090, "tcp", EXTERNAL),
        ],
        changes=SERVERS,
    ),
    Step(title="the pod with the database comes", plans=[controller(INFLUX, new=True)]),
    Step(title="the database is served", plans=[service(8083, 8086, 8090, 8099)]),
    Step(
        title="the database's ports are opened: two to everybody",
        rules=[(8083, "tcp", EXTERNAL), (8086, "tcp", EXTERNAL), (8090, "tcp", MEMBERS), (8099, "tcp", MEMBERS)],
    ),
    Step(title="the pod gets Grafana beside it", plans=[controller(INFLUX, GRAFANA, new=False)]),
    Step(
        title="the pods that run without it go",
        plans=[plan("kube-1", "Delete Pods", "deletePods.sh", labels={"id": "monitoring"})],
    ),
    Step(title="Grafana is served", plans=[service(80)]),
    Step(title="Grafana's port is opened", rules=[(80, "tcp", EXTERNAL)]),
]


@dataclass
class Trace:
    """One deployment, cut into its steps."""

    environment: Any
    cloud: ScriptedCloud
    first: Push = field(init=False)
    servers: list[Push] = field(init=False)
    steps: list[list[Push | Execution]] = field(init=False)

    def __post_init__(self) -> None:
        events = list(self.cloud.events)
        self.first, self.servers, self.steps = events.pop(0), [], []
        while isinstance(events[0], Push):
            self.servers.append(events.pop(0))
        for step in STEPS:
            count = len(step.plans) or 1
            self.steps.append(events[:count])
            del events[:count]
        assert events == [], "nothing happens after the last step"


def compose(form, place: str) -> list[dict[str, Any]]:
    return [
        container(form, "DockerInfluxDB", "influx", place, appConfiguration__name="InfluxDB", preCreateDB="db1"),
        container(
            form, "DockerGrafana", "grafana", place, appConfiguration__name="Grafana", influxDB="influx", dbName="db1"
        ),
    ]


def deployed_on_a_pod(installation, name: str, protocol: str) -> Any:
    if KUBERNETES + ".KubernetesPod" not in {found for found, _version in installation.packages}:
        pytest.skip("the folder has no container suite")
    environment = installation.environment(name, ScriptedCloud(ANSWERS, protocol))
    form = installation.form
    pod = form(f"{KUBERNETES}.KubernetesPod", "pod", name="monitoring", replicas=1, kubernetesCluster="cluster")
    environment.add(cluster(form), pod, *compose(form, "pod"))
    assert environment.problems() == []
    outcome = environment.deploy()
    assert (outcome.state, outcome.errors) == ("deployed", ()), outcome.result
    return environment


@pytest.fixture(scope="module", params=["http", "amqp"])
def trace(request, installation):
    """The deployment, with our agents and with Murano's."""
    environment = deployed_on_a_pod(installation, f"grafana-{request.param}", request.param)
    return Trace(environment, environment.cloud)


def test_the_first_push_brings_the_network_and_the_rules_so_far(trace):
    types = {trace.first.template["resources"][name]["type"] for name in trace.first.came}
    assert types == {
        "OS::Neutron::Net",
        "OS::Neutron::Subnet",
        "OS::Neutron::RouterInterface",
        "OS::Neutron::SecurityGroup",
    }
    assert list(trace.first.template["outputs"]) == [f"{trace.environment.model['Objects']['name']}-network-id"]
    assert rules_of(trace.first) == list(FIRST_RULES)


def test_the_next_pushes_bring_the_servers_with_all_that_is_theirs(trace):
    """One push carries whatever servers are described by then; there are as many as it takes, four at most."""
    assert 1 <= len(trace.servers) <= 4
    net = next(name for name in trace.first.came if name.startswith("network-")).removeprefix("network-")
    expected: set[str] = set()
    for server in SERVERS:
        expected |= {server, f"port-{net}-{server}", f"fip-{net}-{server}"}
        if trace.environment.cloud.protocol == "amqp":
            expected |= {f"boot_config-{server}", f"boot_script_{server}", f"user_data-{server}"}
    assert set().union(*(push.came for push in trace.servers)) == expected
    assert not set().union(*(push.changed | push.gone for push in trace.servers))
    outputs = trace.servers[-1].template["outputs"]
    for server in SERVERS:
        assert {f"{server}-id", f"addresses-{server}-{net}", f"{server}-floatingIPaddress"} <= set(outputs)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[step.title.replace(" ", "-") for step in STEPS])
def test_a_step_of_the_deployment(trace, number):
    step, happened = STEPS[number], trace.steps[number]
    if not step.plans:
        (push,) = happened
        assert isinstance(push, Push)
        before = [
            each for each in trace.cloud.pushes if trace.cloud.events.index(each) < trace.cloud.events.index(push)
        ]
        added = [rule for rule in rules_of(push) if rule not in rules_of(before[-1])]
        assert added == list(step.rules)
        assert (push.came, push.gone) == (frozenset(), frozenset())
        ports = {name for name in push.changed if push.template["resources"][name]["type"] == "OS::Neutron::Port"}
        assert {name.split("-", 2)[2] for name in ports} == set(step.changes)
        for name in ports:
            check_port(trace, push, name)
        return
    assert {each.server for each in happened if isinstance(each, Execution)} == {each.server for each in step.plans}
    for wanted in step.plans:
        (found,) = [each for each in happened if isinstance(each, Execution) and each.server == wanted.server]
        check_plan(trace, wanted, found)


def check_plan(trace: Trace, wanted: Plan, found: Execution) -> None:
    parameters = {key.rstrip("_"): value for key, value in wanted.parameters.items()}
    assert (found.name, list(found.scripts)) == (wanted.name, list(wanted.scripts))
    assert with_names(trace.cloud, found.parameters) == parameters
    extra = {each["Name"] for each in found.plan["Files"].values()} - set(wanted.scripts)
    if isinstance(wanted.files, int):
        assert len(extra) == wanted.files
    elif wanted.files is not None:
        assert extra == wanted.files


def check_port(trace: Trace, push: Push, name: str) -> None:
    """What Calico needs: the pods' addresses are let through, and the server keeps its own."""
    properties = push.template["resources"][name]["properties"]
    assert properties["allowed_address_pairs"] == [{"ip_address": "192.168.0.0/16"}]
    (fixed,) = properties["fixed_ips"]
    assert trace.cloud.named(fixed["ip_address"]) == f"<{name.split('-', 2)[2]}>"


def with_names(cloud: ScriptedCloud, value: Any) -> Any:
    """A plan's parameters with servers in place of addresses, and without the names that are drawn."""
    if isinstance(value, dict):
        made = {key: with_names(cloud, item) for key, item in value.items()}
        if value.get("kind") == "Service":
            made["metadata"] = {"labels": {"name": "..."}, "name": "..."}
        return made
    if isinstance(value, list | tuple):
        return [with_names(cloud, item) for item in value]
    return cloud.named(value) if isinstance(value, str) else value


def rules_of(push: Push) -> list[Rule]:
    (group,) = [each for each in push.template["resources"].values() if each["type"] == "OS::Neutron::SecurityGroup"]
    return [
        (rule.get("port_range_min"), rule["protocol"], rule.get("remote_mode") or rule["remote_ip_prefix"])
        for rule in group["properties"]["rules"]
    ]


def test_every_agent_has_run_as_many_plans_as_its_server_has_parts(trace):
    """The master one for each node and five more, then five for the containers; every node three."""
    counts = {server: sum(each.server == server for each in trace.cloud.executions) for server in SERVERS}
    assert counts == {"kube-1": 3 + 5 + 5, "kube-2": 3, "kube-3": 3, "gateway-1": 3}


def test_what_was_done_is_remembered_and_the_endpoints_are_told(trace):
    remembered = {(row[0], row[2]): row[3] for row in trace.environment.model["Attributes"]}
    assert remembered["cluster", "lastNodeCount"] == 2
    assert remembered["cluster", "lastGatewayCount"] == 1
    assert remembered["grafana", "container"]["env"] == "env", "a constant: a changed environment deploys nothing"
    endpoints = trace.environment.object("grafana")["applicationEndpoints"]
    assert [(each["scope"], trace.cloud.named(each["address"]), each["port"]) for each in endpoints] == [
        ("internal", "10.254.0.7", 80),
        ("cloud", "<gateway-1>", 80),
        ("public", "<gateway-1 public>", 80),
        ("host", "127.0.0.1", 80),
    ]
    assert not [each for each in endpoints if "podId" in each or "serviceName" in each]


def test_later_operations(installation):
    environment = deployed_on_a_pod(installation, "grafana-later", "http")
    cloud = environment.cloud
    member, node = "Remove etcd member .. <kube-3>", "Remove Kubernetes Node .. <kube-3>"
    calico = "Setup Calico on Master"
    does(
        environment,
        lambda: environment.act("cluster", "scaleNodesDown"),
        {"kube-3": [member], "kube-1": [node, calico]},
    )
    (removal,) = [each for each in cloud.executions if each.name == "Remove etcd member"]
    assert removal.plan["Scripts"]["removeMember"]["Options"]["verifyExitcode"] is False
    (push,) = [each for each in cloud.pushes if each.gone]
    assert len(push.gone) == 3, "server, port and floating address"
    assert all(name.endswith("kube-3") for name in push.gone)

    environment.remove("grafana")
    services = "Delete Services"
    gone = [services, "Update Replication Controller .. influxdb", "Delete Pods"]
    does(environment, environment.deploy, {"kube-1": gone})

    since = len(cloud.events)
    environment.delete()
    assert environment.is_gone()
    assert [type(each) for each in cloud.events[since:]] == [Deletion], "no agent is asked, nothing is pushed"
