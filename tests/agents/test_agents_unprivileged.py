"""The simulated Kubernetes where no network can be made: pods share the server's, and the log says so."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest
import requests

BIN = pathlib.Path(__file__).parents[2] / "engine/clouds/lab/image/usr/local/bin"
ENVIRONMENT = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
WITHOUT_RIGHTS = ["unshare", "--user"]  # the same user, without any of root's rights


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.isolation
def test_pods_run_in_the_servers_network_where_no_other_can_be_made(tmp_path: pathlib.Path) -> None:
    if subprocess.run([*WITHOUT_RIGHTS, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces cannot be made here")

    def run(name: str, *arguments: str, text: str = "") -> str:
        environment = {**ENVIRONMENT, "CHANDLERY_LAB_ROOT": str(tmp_path), "KUBECONFIG": "/etc/kubernetes/admin.conf"}
        command = [*WITHOUT_RIGHTS, BIN / name, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done
        return done.stdout

    api, port = free_port(), free_port()
    network = {"matchLabels": {"app": "flannel"}}
    agent = {"metadata": {"labels": {"app": "flannel"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    grafana = {
        "name": "grafana",
        "image": "grafana/grafana:11.4.0",
        "env": [{"name": "GF_SERVER_HTTP_PORT", "value": str(port)}],
        "ports": [{"containerPort": port}],
    }
    pod = {
        "metadata": {"labels": {"app": "g"}},
        "spec": {"tolerations": [{"operator": "Exists"}], "containers": [grafana]},
    }
    items = [
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "flannel"},
            "spec": {"selector": network, "template": agent},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "g"},
            "spec": {"selector": {"matchLabels": {"app": "g"}}, "template": pod},
        },
    ]
    place = ["--apiserver-advertise-address", "127.0.0.1", "--apiserver-bind-port", str(api), "--node-name", "alone"]
    run("kubeadm", "init", *place)
    try:
        run("kubectl", "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        run("kubectl", "rollout", "status", "deployment/g", "--timeout=90s")
        assert requests.get(f"http://127.0.0.1:{port}/api/health", timeout=60).json()["database"] == "ok"
        log = (tmp_path / "var/log/chandlery-lab/kubelet.log").read_text()
        assert "pods share the node's network" in log
    finally:
        run("kubeadm", "reset", "--force")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            requests.get(f"http://127.0.0.1:{port}/api/health", timeout=1)
        except requests.ConnectionError:
            return
        time.sleep(0.05)
    pytest.fail("the container outlived kubeadm reset")


def test_kubeadm_says_when_the_port_is_in_use_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    environment = {**ENVIRONMENT, "CHANDLERY_LAB_ROOT": str(tmp_path)}
    with socket.create_server(("", 0)) as taken:
        place = ["--apiserver-advertise-address", "127.0.0.1", "--apiserver-bind-port", str(taken.getsockname()[1])]
        done = subprocess.run(
            [BIN / "kubeadm", "init", *place], capture_output=True, text=True, env=environment, timeout=120
        )
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "is the port in use?" in done.stderr
    assert list((tmp_path / "etc/kubernetes").iterdir()) == []
