"""The cluster's plans, run by the real agent code: which commands of kubeadm and kubectl they come down to."""

from __future__ import annotations

import json
import pathlib
import stat

import pytest
import yaml

CLUSTER = "org.chandlery.kubernetes.Cluster"
NODE = {"version": "1.31.4", "packageMirror": "https://packages.example/core:/stable:", "registryMirror": ""}
MASTER = {
    "name": "kube-master",
    "address": "10.0.0.5",
    "publicAddress": "192.0.2.5",
    "version": "1.31.4",
    "imageRepository": "",
    "podNetwork": "10.244.0.0/16",
    "serviceNetwork": "10.96.0.0/12",
}


def test_a_prepared_image_is_left_as_it_is(server) -> None:
    server.value(CLUSTER, "PrepareNode", NODE)
    assert server.commands == ["kubeadm version --output short"]


def test_a_bare_image_is_installed_and_stops_at_the_first_thing_that_fails(server) -> None:
    server.remove("kubeadm")
    server.answer("apt-get -q install", "no network", 100)
    result = server.run(CLUSTER, "PrepareNode", NODE)
    assert [command.split()[:3] for command in server.commands] == [
        ["apt-get", "-q", "update"],
        ["apt-get", "-q", "install"],
    ]
    assert result["ErrorCode"] == 100
    assert result["Body"]["AdditionalInfo"]["stdout"] == "no network"


def test_the_control_plane_starts_with_the_cluster_s_networks(server) -> None:
    server.answer("kubectl get --raw /readyz", "ok")
    server.value(CLUSTER, "StartMaster", MASTER)
    init, *others = server.commands
    assert init == (
        "kubeadm init --apiserver-advertise-address 10.0.0.5 --apiserver-cert-extra-sans 192.0.2.5 "
        "--node-name kube-master --pod-network-cidr 10.244.0.0/16 --service-cidr 10.96.0.0/12 "
        "--kubernetes-version 1.31.4"
    )
    assert others[-1] == "kubectl wait --for=condition=Ready node/kube-master --timeout=300s"
    objects = list(yaml.safe_load_all(server.applied))
    assert [item["kind"] for item in objects] == [
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "DaemonSet",
    ]
    assert json.loads(objects[4]["data"]["net-conf.json"])["Network"] == "10.244.0.0/16"


def test_an_image_repository_is_passed_on(server) -> None:
    server.answer("kubectl get --raw /readyz", "ok")
    server.value(CLUSTER, "StartMaster", {**MASTER, "imageRepository": "mirror.example/kubernetes"})
    assert server.commands[0].endswith("--image-repository mirror.example/kubernetes")


def test_a_control_plane_that_cannot_start_says_why(server) -> None:
    server.answer("kubeadm init", "the port 6443 is in use", 1)
    result = server.run(CLUSTER, "StartMaster", MASTER)
    assert result["ErrorCode"] == 100
    assert result["Body"]["AdditionalInfo"]["stdout"] == "the port 6443 is in use"
    assert server.commands[1:] == ["kubeadm reset --force"], "nothing half set up is left for the next attempt"


def test_a_node_that_cannot_join_is_left_as_it_was(server) -> None:
    server.answer("kubeadm join", "connection refused", 1)
    result = server.run(CLUSTER, "JoinCluster", {"name": "m-1", "address": "a:6443", "token": "t", "hash": "h"})
    assert result["ErrorCode"] == 100
    assert server.commands[1:] == ["kubeadm reset --force"]


def test_a_node_joins_with_a_token_and_the_hash_of_the_certificate(server) -> None:
    line = "kubeadm join 10.0.0.5:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:12ab \n"
    server.answer("kubeadm token create", line)
    credentials = server.value(CLUSTER, "CreateJoinToken", {})
    assert credentials == {"address": "10.0.0.5:6443", "token": "abcdef.0123456789abcdef", "hash": "sha256:12ab"}
    server.value(CLUSTER, "JoinCluster", {"name": "kube-minion-1", **credentials})
    assert server.commands[-1] == (
        "kubeadm join 10.0.0.5:6443 --node-name kube-minion-1 --token abcdef.0123456789abcdef "
        "--discovery-token-ca-cert-hash sha256:12ab"
    )


def test_gateways_get_no_pods(server) -> None:
    server.value(CLUSTER, "AdoptNodes", {"minions": ["m-1"], "gateways": ["g-1"]})
    assert server.commands == [
        "kubectl label node m-1 node-role.kubernetes.io/minion= --overwrite",
        "kubectl label node g-1 node-role.kubernetes.io/gateway= --overwrite",
        "kubectl taint node g-1 chandlery.org/gateway=:NoSchedule --overwrite",
        "kubectl wait --for=condition=Ready node/m-1 --timeout=300s",
        "kubectl wait --for=condition=Ready node/g-1 --timeout=300s",
    ]


@pytest.mark.parametrize("drain", [True, False])
def test_a_node_is_drained_only_while_it_is_there(server, drain: bool) -> None:
    server.value(CLUSTER, "RemoveNode", {"name": "m-1", "drain": drain})
    assert server.commands[-1] == "kubectl delete node m-1 --ignore-not-found"
    assert any(command.startswith("kubectl drain m-1 ") for command in server.commands) is drain


def test_names_cannot_smuggle_commands_in(server) -> None:
    server.value(CLUSTER, "RemoveNode", {"name": "m-1; touch hacked", "drain": False})
    assert server.commands == ["kubectl delete node m-1\\;\\ touch\\ hacked --ignore-not-found"]


def test_nodes_are_listed_with_role_and_readiness(server) -> None:
    item = {
        "metadata": {"name": "kube-master", "labels": {"node-role.kubernetes.io/control-plane": "", "other": "x"}},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
    }
    lost = {
        "metadata": {"name": "m-1", "labels": {"node-role.kubernetes.io/minion": ""}},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
    }
    server.answer("kubectl get nodes -o json", json.dumps({"items": [item, lost]}))
    assert server.value(CLUSTER, "ListNodes", {}) == [
        {"name": "kube-master", "role": "master", "ready": True},
        {"name": "m-1", "role": "minion", "ready": False},
    ]


def secret(content: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": content}


def deployment() -> dict[str, object]:
    return {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"metadata": {"labels": {}}}}}


def applied_annotation(server, content: dict[str, object]) -> str:
    server.value(CLUSTER, "ApplyObjects", {"objects": [secret(content), deployment()], "deployments": ["d"]})
    items = json.loads(server.applied)["items"]
    return str(items[1]["spec"]["template"]["metadata"]["annotations"]["chandlery.org/secrets"])


def test_objects_are_applied_and_their_rollout_is_awaited(server) -> None:
    applied_annotation(server, {"file-0": {"apiVersion": 1}, "PASSWORD": "secret"})
    apply, rollout = server.commands
    assert apply.startswith("kubectl apply -f ")
    assert rollout == "kubectl rollout status deployment/d --timeout=600s"
    content = json.loads(server.applied)["items"][0]["stringData"]
    assert content == {"file-0": '{"apiVersion": 1}', "PASSWORD": "secret"}


def test_a_changed_secret_starts_new_pods_and_an_equal_one_does_not(server) -> None:
    first = applied_annotation(server, {"PASSWORD": "one"})
    assert applied_annotation(server, {"PASSWORD": "one"}) == first
    assert applied_annotation(server, {"PASSWORD": "two"}) != first


def test_no_secret_stays_behind_on_the_master_and_nobody_else_could_read_it(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server.answer("kubectl apply", "denied", 1)
    result = server.run(CLUSTER, "ApplyObjects", {"objects": [secret({"P": "x"})], "deployments": []})
    assert result["ErrorCode"] == 100
    path = server.commands[0].split()[-1]
    assert path.startswith(str(tmp_path))
    assert not pathlib.Path(path).exists()
    assert stat.S_IMODE((server.folder / "applied").stat().st_mode) & 0o077 == 0


def test_a_failed_rollout_fails_the_plan(server) -> None:
    server.answer("kubectl rollout status", "timed out waiting for the condition", 1)
    result = server.run(CLUSTER, "ApplyObjects", {"objects": [deployment()], "deployments": ["d"]})
    assert result["ErrorCode"] == 100
    assert "timed out" in result["Body"]["AdditionalInfo"]["stdout"]


def test_the_address_of_a_service_is_its_cluster_ip(server) -> None:
    server.answer("kubectl get service a--b -o json", '{"spec": {"clusterIP": "10.96.0.17"}}')
    assert server.value(CLUSTER, "GetServiceAddress", {"name": "a--b"}) == "10.96.0.17"


def test_pods_are_ready_when_all_their_containers_are(server) -> None:
    def pod(name: str, *ready: bool) -> dict[str, object]:
        statuses = [{"name": str(number), "ready": state, "restartCount": 2} for number, state in enumerate(ready)]
        return {
            "metadata": {"name": name},
            "spec": {"nodeName": "m-1"},
            "status": {"phase": "Running", "containerStatuses": statuses},
        }

    pending = {"metadata": {"name": "c"}, "spec": {}, "status": {"phase": "Pending"}}
    items = [pod("a", True, True), pod("b", True, False), pending]
    server.answer("kubectl get pods -l chandlery.org/pod=web -o json", json.dumps({"items": items}))
    pods = server.value(CLUSTER, "ListPods", {"label": "chandlery.org/pod", "value": "web"})
    assert [(pod["name"], pod["ready"], pod["restarts"], pod["node"]) for pod in pods] == [
        ("a", True, 4, "m-1"),
        ("b", False, 4, "m-1"),
        ("c", False, 0, ""),
    ]


def test_a_killed_pod_is_waited_for(server) -> None:
    server.value(CLUSTER, "KillPod", {"name": "web-1", "deployment": "web"})
    assert [command.split()[1] for command in server.commands] == ["delete", "rollout"]


def test_objects_are_deleted_by_kind_and_name(server) -> None:
    server.value(CLUSTER, "DeleteObjects", {"objects": [{"kind": "Service", "name": "a--b"}]})
    assert server.commands == ["kubectl delete service a--b --ignore-not-found"]


def test_a_restart_waits_for_the_new_pods(server) -> None:
    server.value(CLUSTER, "RestartDeployment", {"deployment": "web"})
    assert server.commands == [
        "kubectl rollout restart deployment/web",
        "kubectl rollout status deployment/web --timeout=600s",
    ]
