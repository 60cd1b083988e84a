"""Stories of the simulated Kubernetes, on nodes that are network namespaces: what packages' scripts do with it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.isolation
NAMES = ("master", "node1", "node2", "gateway")
NAMESPACES = [
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
]
FLANNEL = """\
---
# The pod network's objects, as far as matters here.
kind: Namespace
apiVersion: v1
metadata:
  name: kube-flannel
  labels: {k8s-app: flannel, "pod-security.kubernetes.io/enforce": privileged}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: kube-flannel-ds
  namespace: kube-flannel
spec:
  selector:
    matchLabels:
      app: flannel
  template:
    metadata:
      labels:
        app: flannel
    spec:
      containers:
      - name: kube-flannel
        image: docker.io/flannel/flannel:v0.25.1
        args: ["--ip-masq", "--kube-subnet-mgr"]
      volumes:
      - name: cni
        hostPath:
          path: /etc/cni/net.d
"""
SOURCE = {"name": "InfluxDB", "type": "influxdb", "access": "proxy", "url": "http://127.0.0.1:8086", "user": "u"}
SOURCE |= {"secureJsonData": {"password": "p"}, "jsonData": {"dbName": "d"}}


class Cluster:
    """The nodes, and what runs on them."""

    def __init__(self, folder: pathlib.Path) -> None:
        program = pathlib.Path(__file__).with_name("lab_nodes.py")
        command = [*NAMESPACES, sys.executable, str(program), str(folder), *NAMES]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _out, error = self.process.communicate()
            pytest.skip(f"namespaces cannot be made here: {error.strip().splitlines()[-1:]}")
        self.addresses: dict[str, str] = json.loads(line)
        self.used = False

    def run(self, node: str, *argv: str, text: str = "", fails: bool = False) -> str:
        """The standard output; of a command that has to fail, its standard error."""
        done = self.talk({"node": node, "argv": argv, "text": text})
        assert (done["code"] != 0) == fails, f"{argv}: {done}"
        return str(done["err"] if fails else done["out"])

    def kubectl(self, *arguments: str, text: str = "", fails: bool = False) -> str:
        return self.run("master", "kubectl", *arguments, text=text, fails=fails)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def pods(self, name: str | None = None) -> list[dict]:
        """Read without kubectl, which takes its time to start."""
        selector = f"?labelSelector=app%3D{name}" if name else ""
        return self.talk({"path": "/api/v1/namespaces/default/pods" + selector})["items"]

    def waits(self, name: str, reason: str) -> bool:
        """Whether a container of the pods waits for that reason."""
        states = [status["state"] for pod in self.pods(name) for status in pod["status"].get("containerStatuses", [])]
        return reason in [state.get("waiting", {}).get("reason") for state in states]

    def talk(self, command: dict) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def fetch(self, node: str, url: str, *more: str, fails: bool = False) -> str:
        return self.run(node, "curl", "-sS", "--fail", "--max-time", "20", *more, url, fails=fails)

    def apply(self, *items: dict) -> str:
        self.used = True
        return self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def until(self, condition: Any, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.kubectl("get", "all", "-o", "wide")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not os.path.exists("/usr/bin/curl"):
        pytest.skip("curl is not installed")
    made = Cluster(tmp_path_factory.mktemp("nodes"))
    address = made.addresses["master"]
    init = ["kubeadm", "init", "--apiserver-advertise-address", address, "--node-name", "master"]
    shown = made.run("master", *init, "--pod-network-cidr", "10.244.0.0/16", "--kubernetes-version", "1.31.4")
    assert "simulated by the Chandlery lab" in shown
    join = made.run("master", "kubeadm", "token", "create", "--ttl", "2h", "--print-join-command").split()
    for name in NAMES[1:]:
        made.run(name, *join, "--node-name", name)
    made.kubectl("label", "node", "gateway", "node-role.kubernetes.io/gateway=", "--overwrite")
    made.kubectl("taint", "node", "gateway", "chandlery.org/gateway=:NoSchedule", "--overwrite")
    assert "network plugin" in json.dumps(
        made.get("node", "node1")["status"]["conditions"]
    )  # not ready without a network
    made.kubectl("apply", "-f", "-", text=FLANNEL)
    made.kubectl("wait", "--for=condition=Ready", *[f"node/{name}" for name in NAMES], "--timeout=60s")
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    yield
    if cluster.used:
        cluster.kubectl("delete", "deployments", "--all", "--wait=false")
        cluster.kubectl("delete", "services", "-l", "test=yes", "--wait=false")
        cluster.until(lambda: not cluster.pods())
        cluster.used = False


def deployment(name: str, *containers: dict, replicas: int = 1, **spec: Any) -> dict:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": list(containers), **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def service(name: str, port: int, target: int | str, **spec: Any) -> dict:
    ports = [{"name": "http", "port": port, "targetPort": target}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"test": "yes"}},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


INFLUXDB = {
    "name": "influxdb",
    "image": "docker.io/library/influxdb:1.8",
    "ports": [{"name": "http", "containerPort": 8086}],
}


def test_grafana_and_influxdb_share_a_pod_and_are_published_at_the_gateway(cluster: Cluster) -> None:
    environment = {
        "INFLUXDB_DB": "d",
        "INFLUXDB_HTTP_AUTH_ENABLED": "true",
        "INFLUXDB_USER": "u",
        "INFLUXDB_USER_PASSWORD": "p",
    }
    influxdb = {**INFLUXDB, "envFrom": [{"secretRef": {"name": "mon--influxdb"}}]}
    mount = {"name": "files", "mountPath": "/etc/grafana/provisioning/datasources/influxdb.yaml", "subPath": "file-0"}
    grafana = {
        "name": "grafana",
        "image": "mirror.example:5000/grafana/grafana:11.4.0",
        "env": [{"name": "GF_SECURITY_ADMIN_PASSWORD", "value": "pw"}],
        "ports": [{"containerPort": 3000}],
        "readinessProbe": {"httpGet": {"path": "/api/health", "port": 3000}},
        "volumeMounts": [mount],
    }
    files = {"file-0": json.dumps({"apiVersion": 1, "datasources": [SOURCE]})}
    volumes = [{"name": "files", "secret": {"secretName": "mon--files"}}]
    gateway = cluster.addresses["gateway"]
    applied = cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mon--influxdb"}, "stringData": environment},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mon--files"}, "stringData": files},
        deployment("mon", influxdb, grafana, replicas=2, volumes=volumes),
        service("mon", 80, 3000, externalIPs=[gateway]),
    )
    assert "deployment.apps/mon created" in applied
    assert "successfully rolled out" in cluster.kubectl("rollout", "status", "deployment/mon", "--timeout=60s")
    assert {pod["spec"]["nodeName"] for pod in cluster.pods("mon")} == {"node1", "node2"}
    for node in ("gateway", "master", "node1"):  # the gateway's own address, seen from everywhere
        assert json.loads(cluster.fetch(node, f"http://{gateway}/api/health"))["database"] == "ok"
    query = f"http://{gateway}/api/datasources/proxy/1/query?q=SHOW+DATABASES"
    assert '["d"]' in cluster.fetch("gateway", query, "--user", "admin:pw")  # through the pod's shared 127.0.0.1
    for pod in cluster.pods("mon"):  # pods are reached over the nodes
        assert "simulated" in cluster.fetch("master", f"http://{pod['status']['podIP']}:3000/login")
    again = cluster.apply(deployment("mon", influxdb, grafana, replicas=2, volumes=volumes))
    assert again == "deployment.apps/mon unchanged\n"


def test_a_killed_container_comes_back_in_its_pod(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB), service("web", 8086, "http"))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    [before] = cluster.pods("web")
    status = before["status"]["containerStatuses"][0]
    assert (status["ready"], status["restartCount"]) == (True, 0)
    cluster.run(before["spec"]["nodeName"], "kill", "-9", status["containerID"].removeprefix("simulated://"))

    def is_back() -> bool:
        [after] = cluster.pods("web")
        state = after["status"]["containerStatuses"][0]
        return state["ready"] and state["restartCount"] == 1 and after["metadata"]["uid"] == before["metadata"]["uid"]

    cluster.until(is_back)
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    cluster.until(lambda: "pass" in cluster.fetch("node2", f"http://{address}:8086/health"))


def test_a_deleted_pod_is_replaced_and_a_scaled_deployment_has_the_wanted_number(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB, replicas=2))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    victim = cluster.pods("web")[0]["metadata"]["name"]
    assert "deleted" in cluster.kubectl("delete", "pod", victim, "--wait=true", "--timeout=60s")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    names = {pod["metadata"]["name"] for pod in cluster.pods("web")}
    assert len(names) == 2
    assert victim not in names
    cluster.kubectl("scale", "deployment/web", "--replicas=4")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert len({pod["status"]["podIP"] for pod in cluster.pods("web")}) == 4
    cluster.apply(deployment("web", INFLUXDB, replicas=1))
    cluster.until(lambda: len(cluster.pods("web")) == 1)


def test_a_changed_template_replaces_the_pods_without_a_gap(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB, replicas=2))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = {pod["metadata"]["name"] for pod in cluster.pods("web")}
    cluster.kubectl("rollout", "restart", "deployment/web")
    shown = cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "successfully rolled out" in shown
    cluster.until(lambda: len(cluster.pods("web")) == 2)
    assert not before & {pod["metadata"]["name"] for pod in cluster.pods("web")}


def test_a_drained_node_loses_its_pods_and_a_deleted_one_is_gone(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB, replicas=2))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s"]
    assert "node/node1 drained" in cluster.kubectl("drain", "node1", *options)
    cluster.until(lambda: [pod["spec"].get("nodeName") for pod in cluster.pods("web")] == ["node2", "node2"])
    assert "SchedulingDisabled" in cluster.kubectl("get", "nodes")
    cluster.kubectl("uncordon", "node1")


def test_an_image_the_lab_does_not_have_is_named_in_the_pods_state(cluster: Cluster) -> None:
    cluster.apply(deployment("web", {"name": "web", "image": "nginx:1.27"}))
    cluster.until(lambda: cluster.waits("web", "ImagePullBackOff"))
    assert "ImagePullBackOff" in cluster.kubectl("get", "pods")
    [pod] = cluster.pods("web")
    assert "no simulated program for this image" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    error = cluster.kubectl("rollout", "status", "deployment/web", "--timeout=1s", fails=True)
    assert "timed out waiting" in error


def test_a_missing_secret_holds_the_container_until_it_is_there(cluster: Cluster) -> None:
    cluster.apply(deployment("web", {**INFLUXDB, "envFrom": [{"secretRef": {"name": "late"}}]}))
    cluster.until(lambda: cluster.waits("web", "CreateContainerConfigError"))
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"INFLUXDB_DB": "x"}}
    )
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    cluster.kubectl("delete", "secret", "late")


def test_a_pod_that_fits_nowhere_waits_and_says_why(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB, nodeSelector={"disk": "ssd"}))
    cluster.until(lambda: cluster.pods("web") and "conditions" in cluster.pods("web")[0]["status"])
    message = cluster.pods("web")[0]["status"]["conditions"][0]["message"]
    assert "0/4 nodes are available" in message
    assert "gateway: untolerated taint chandlery.org/gateway" in message
    cluster.kubectl("label", "node", "node2", "disk=ssd")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    cluster.kubectl("label", "node", "node2", "disk-")


def test_a_node_port_answers_on_every_node(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB), service("web", 8086, "http", type="NodePort"))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    port = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert 30000 <= int(port) < 32768
    for node in NAMES:
        cluster.until(
            lambda node=node: "pass" in cluster.fetch(node, f"http://{cluster.addresses['gateway']}:{port}/health")
        )


def test_the_api_server_survives_a_restart_with_its_objects(cluster: Cluster) -> None:
    cluster.apply(deployment("web", INFLUXDB))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = cluster.pods("web")[0]["metadata"]["uid"]
    time.sleep(0.6)
    cluster.run(
        "master",
        "sh",
        "-c",
        "cd $CHANDLERY_LAB_ROOT/var/lib/chandlery-lab/daemons; "
        "kill -9 $(sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p' kube-apiserver.json)",
    )
    cluster.run("master", "sh", "-c", '"$(dirname "$(command -v kubectl)")/../lib/chandlery-lab/boot"')
    cluster.run("master", "sh", "-c", "for i in $(seq 600); do kubectl get --raw /readyz && break; sleep 0.05; done")
    assert cluster.pods("web")[0]["metadata"]["uid"] == before
    cluster.kubectl("wait", "--for=condition=Ready", "node/node1", "--timeout=60s")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["kubeadm", "init"], "already exists: this server has a control plane"),
        (["kubeadm", "join", "10.9.0.10:6443", "--token", "aaaaaa.bbbbbbbbbbbbbbbb"], "is a node already"),
        (["kubectl", "get", "pods", "missing"], 'Error from server (NotFound): pods "missing" not found'),
        (["kubectl", "get", "cronjobs"], 'doesn\'t have a resource type "cronjobs"'),
        (["kubectl", "apply", "-f", "/missing.yaml"], "No such file or directory"),
        (["kubectl", "delete", "deployment", "missing"], "not found"),
        (["kubectl", "taint", "node", "node1", "x:NoSchedule-"], "taint 'x:NoSchedule' not found"),
        (["kubectl", "wait", "--for=condition=Ready", "node/missing"], '"missing" not found'),
        (["kubectl", "label", "node", "node1", "kubernetes.io/os=windows"], "--overwrite is false"),
    ],
)
def test_wrong_commands_say_what_is_wrong(cluster: Cluster, argv: list[str], message: str) -> None:
    assert message in cluster.run("master", *argv, fails=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1: a bracket or quotation mark is not closed"),
        ("kind: Pod\n\tapiVersion: v1", "line 2: a tab cannot indent"),
        ("kind: CronJob\napiVersion: batch/v1\nmetadata: {name: x}", 'no matches for kind "CronJob"'),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: x}\nspec: {containers: []}", "spec.containers: Required value"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: X_}\nspec: {}", "must be a lowercase RFC 1123 subdomain"),
        (
            "kind: Pod\napiVersion: v1\nmetadata: {namespace: nowhere, name: x}\n"
            "spec: {containers: [{name: a, image: b}]}",
            'namespaces "nowhere" not found',
        ),
        (
            "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\nspec:\n  selector: {matchLabels: {a: b}}\n"
            "  template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}",
            "`selector` does not match template `labels`",
        ),
    ],
)
def test_wrong_manifests_say_where(cluster: Cluster, text: str, message: str) -> None:
    assert message in cluster.kubectl("apply", "-f", "-", text=text, fails=True)


def test_the_real_kubectl_finds_its_way(cluster: Cluster) -> None:
    """It discovers kinds, asks for tables, watches; without TLS it sends no token: it works on the server itself."""
    here, there = "http://127.0.0.1:6443", f"http://{cluster.addresses['master']}:6443"
    kinds = json.loads(cluster.fetch("master", f"{here}/apis/apps/v1"))["resources"]
    assert {"deployments", "deployments/scale", "replicasets"} <= {kind["name"] for kind in kinds}
    assert json.loads(cluster.fetch("master", f"{here}/version"))["gitVersion"] == "v1.31.4"
    table = json.loads(cluster.fetch("master", f"{here}/api/v1/nodes", "--header", "Accept: application/json;as=Table"))
    assert [row["cells"][0] for row in table["rows"]] == sorted(NAMES)
    assert "401" in cluster.fetch("master", f"{there}/api/v1/nodes", fails=True)
    cluster.apply(deployment("web", INFLUXDB))
    deployments = f"{here}/apis/apps/v1/namespaces/default/deployments"
    lines = cluster.fetch("master", f"{deployments}?watch=1&timeoutSeconds=1&resourceVersion=1")
    events = [json.loads(line) for line in lines.splitlines()]
    assert {event["object"]["metadata"]["name"] for event in events} >= {"web"}
    assert {event["type"] for event in events} >= {"ADDED", "MODIFIED"}
    assert "422" in cluster.fetch("master", f"{here}/api/v1/pods?watch=1&sendInitialEvents=true", fails=True)


def test_hostile_nodes_reach_only_what_kubelets_need(cluster: Cluster) -> None:
    address = cluster.addresses["master"]
    assert "401" in cluster.fetch("node1", f"http://{address}:6443/api/v1/secrets", fails=True)
    join = ["kubeadm", "join", f"{address}:6443", "--node-name", "intruder", "--token", "aaaaaa.bbbbbbbbbbbbbbbb"]
    cluster.run(
        "node1",
        "sh",
        "-c",
        "mv $CHANDLERY_LAB_ROOT/etc/kubernetes/kubelet.conf $CHANDLERY_LAB_ROOT/etc/kubernetes/saved",
    )
    try:
        error = cluster.run("node1", *join, "--discovery-token-ca-cert-hash", "sha256:0", fails=True)
    finally:
        cluster.run(
            "node1",
            "sh",
            "-c",
            "mv $CHANDLERY_LAB_ROOT/etc/kubernetes/saved $CHANDLERY_LAB_ROOT/etc/kubernetes/kubelet.conf",
        )
    assert "the bootstrap token is not known" in error
    script = 'sed -n \'s/.*"token": "\\(.*\\)".*/\\1/p\' $CHANDLERY_LAB_ROOT/etc/kubernetes/kubelet.conf'
    token = cluster.run("node1", "sh", "-c", script).strip()
    header = ["--header", f"Authorization: Bearer {token}"]
    assert "kind" in cluster.fetch("node1", f"http://{address}:6443/api/v1/nodes", *header)
    for method, path in (
        ("DELETE", "nodes/node2"),
        ("PUT", "nodes/node2"),
        ("POST", "namespaces"),
        ("DELETE", "namespaces/default/secrets/x"),
    ):
        error = cluster.fetch("node1", f"http://{address}:6443/api/v1/{path}", *header, "--request", method, fails=True)
        assert "403" in error
