"""kubeadm, simulated: init, join, reset, token create, version; starts the simulated API server and kubelet."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import re
import secrets
import shutil
import socket
import sys
import time

from simulated import NOTICE, system
from simulated.kubernetes import VERSION
from simulated.kubernetes.client import ApiError, Client, Unreachable

ADMIN, KUBELET, CLUSTER = (
    system.path(f"/etc/kubernetes/{name}") for name in ("admin.conf", "kubelet.conf", "cluster.json")
)
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
START_SECONDS = 15


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.action(options) or 0)
    except (Problem, Unreachable, ApiError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


class Problem(Exception):
    """What kubeadm refuses to do."""


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="kubeadm", description=f"kubeadm, {NOTICE}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("init", help="start the simulated control plane on this server")
    command.set_defaults(action=initialise)
    for name, default in (
        ("--apiserver-advertise-address", None),
        ("--node-name", None),
        ("--pod-network-cidr", "10.244.0.0/16"),
    ):
        command.add_argument(name, default=default)
    for name, default in (("--service-cidr", "10.96.0.0/12"), ("--kubernetes-version", VERSION), ("--token", None)):
        command.add_argument(name, default=default)
    command.add_argument("--apiserver-bind-port", type=int, default=6443)
    for name in (
        "--image-repository",
        "--apiserver-cert-extra-sans",
        "--control-plane-endpoint",
        "--cri-socket",
        "--ignore-preflight-errors",
    ):
        command.add_argument(name, action="append", help="accepted, without effect here")
    command = commands.add_parser("join", help="make this server a node of the cluster")
    command.set_defaults(action=join)
    command.add_argument("server")
    command.add_argument("--token", required=True)
    command.add_argument("--discovery-token-ca-cert-hash")
    command.add_argument("--discovery-token-unsafe-skip-ca-verification", action="store_true")
    command.add_argument("--node-name")
    command.add_argument("--cri-socket", action="append")
    command.add_argument("--ignore-preflight-errors", action="append")
    command = commands.add_parser("reset", help="stop it and forget it")
    command.set_defaults(action=reset)
    command.add_argument("--force", "-f", action="store_true")
    command = commands.add_parser("token").add_subparsers(required=True, metavar="create").add_parser("create")
    command.set_defaults(action=create_token)
    command.add_argument("--ttl", default="24h0m0s")
    command.add_argument("--print-join-command", action="store_true")
    command = commands.add_parser("version")
    command.set_defaults(action=show_version)
    command.add_argument("--output", "-o", choices=("short", "json", "yaml"))
    return whole


def initialise(options: argparse.Namespace) -> None:
    if os.path.exists(ADMIN):
        raise Problem(f"[preflight] {ADMIN} already exists: this server has a control plane; use kubeadm reset first")
    address = options.apiserver_advertise_address or own_address(("192.0.2.1", 9))
    version = "v" + options.kubernetes_version.lstrip("v")
    if not re.fullmatch(r"v\d+\.\d+(\.\d+)?([-+].*)?", version):
        raise Problem(f"--kubernetes-version {options.kubernetes_version!r}: expected a version like 1.31.4")
    node = (options.node_name or socket.gethostname()).lower()
    admin, own, identity = (
        secrets.token_hex(24),
        secrets.token_hex(24),
        hashlib.sha256(secrets.token_bytes(32)).hexdigest(),
    )
    cluster = {
        "port": options.apiserver_bind_port,
        "service_cidr": options.service_cidr,
        "pod_cidr": options.pod_network_cidr,
        "tokens": {admin: "admin", own: f"node:{node}"},
        "join_tokens": {options.token: time.time() + 86400} if options.token else {},
        "identity": identity,
        "version": version,
    }
    server = f"http://{address}:{options.apiserver_bind_port}"
    print(f"[init] Kubernetes {version}, {NOTICE}: no real control plane is started")
    system.write_json(CLUSTER, cluster)
    daemon = system.Daemon("kube-apiserver")
    daemon.start("simulated.kubernetes.apiserver", CLUSTER)
    try:
        wait_for(server, daemon)
    except Problem:
        daemon.stop()
        os.unlink(CLUSTER)
        raise
    taint = {"key": CONTROL_PLANE, "effect": "NoSchedule"}
    system.write_json(
        KUBELET,
        {
            **kubeconfig(server, own, f"system:node:{node}"),
            "node": node,
            "address": address,
            "version": version,
            "labels": {CONTROL_PLANE: ""},
            "taints": [taint],
        },
    )
    system.Daemon("kubelet").start("simulated.kubernetes.kubelet")
    wait_for_node(Client(server, admin), node)
    system.write_json(ADMIN, kubeconfig(server, admin, "kubernetes-admin"))
    print("\nYour Kubernetes control-plane has initialized successfully! (" + NOTICE + ")\n")
    print(
        f"  export KUBECONFIG={ADMIN}\n\nApply a pod network, and join nodes by what "
        "'kubeadm token create --print-join-command' prints."
    )


def join(options: argparse.Namespace) -> None:
    if os.path.exists(KUBELET):
        raise Problem(f"[preflight] {KUBELET} already exists: this server is a node already; use kubeadm reset first")
    if not re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", options.token):
        raise Problem(f"the bootstrap token {options.token!r} is not of the form [a-z0-9]{{6}}.[a-z0-9]{{16}}")
    if not options.discovery_token_ca_cert_hash and not options.discovery_token_unsafe_skip_ca_verification:
        raise Problem("--discovery-token-ca-cert-hash is needed (or --discovery-token-unsafe-skip-ca-verification)")
    host, _colon, port = options.server.rpartition(":")
    if not host or not port.isdecimal():
        raise Problem(f"{options.server!r}: expected ADDRESS:PORT of the API server")
    server = f"http://{host}:{port}"
    node = (options.node_name or socket.gethostname()).lower()
    answer = Client(server, None).call("POST", "/simulated/join", {"token": options.token, "node": node})
    wanted = options.discovery_token_ca_cert_hash
    if wanted and wanted != f"sha256:{answer['identity']}":
        raise Problem(f"the cluster's identity is not {wanted}: this is another cluster")
    address = own_address((host, int(port)))
    config = {
        **kubeconfig(server, answer["token"], f"system:node:{node}"),
        "node": node,
        "address": address,
        "version": answer["version"],
    }
    system.write_json(KUBELET, config)
    system.Daemon("kubelet").start("simulated.kubernetes.kubelet")
    wait_for_node(Client(server, answer["token"]), node)
    print(f"This node has joined the cluster ({NOTICE}).")


def reset(_options: argparse.Namespace) -> None:
    for name in ("kubelet", "kube-apiserver"):
        system.Daemon(name).stop()
    for name in (ADMIN, KUBELET, CLUSTER):
        if os.path.exists(name):
            os.unlink(name)
    for folder in ("kubernetes", "pods"):
        shutil.rmtree(system.path(f"{system.STATE}/{folder}"), ignore_errors=True)
    print(f"[reset] the control plane and kubelet {NOTICE} have been removed from this server")


def create_token(options: argparse.Namespace) -> None:
    config, cluster = system.read_json(ADMIN), system.read_json(CLUSTER)
    if config is None or cluster is None:
        raise Problem(f"there is no {ADMIN}: this server is not a control plane")
    client = Client.of_config(config)
    token = client.call("POST", f"/simulated/token?seconds={seconds(options.ttl)}")["token"]
    if options.print_join_command:
        server = client.server.removeprefix("http://")
        print(f"kubeadm join {server} --token {token} --discovery-token-ca-cert-hash sha256:{cluster['identity']} ")
    else:
        print(token)


def show_version(options: argparse.Namespace) -> None:
    if options.output == "short":
        print(VERSION)
    elif options.output in ("json", "yaml"):
        print('{"clientVersion": {"gitVersion": "%s", "gitCommit": "%s"}}' % (VERSION, NOTICE))  # noqa: UP031
    else:
        print(f"kubeadm version: {VERSION} ({NOTICE})")


def kubeconfig(server: str, token: str, user: str) -> dict:
    context = {"cluster": "kubernetes", "user": user}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubernetes", "cluster": {"server": server}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": f"{user}@kubernetes", "context": context}],
        "current-context": f"{user}@kubernetes",
    }


def wait_for(server: str, daemon: system.Daemon) -> None:
    host, _colon, port = server.removeprefix("http://").rpartition(":")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = http.client.HTTPConnection(host, int(port), timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200 and daemon.pid() is not None:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if daemon.pid() is None or time.monotonic() > deadline:
            raise Problem(f"the simulated API server does not answer on {server}: is the port in use? See {daemon.log}")
        time.sleep(0.02)


def wait_for_node(client: Client, node: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.get(f"/api/v1/nodes/{node}")
            return
        except ApiError as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise Problem(f"the kubelet did not register node {node}: {error}; see {system.Daemon('kubelet').log}")
        time.sleep(0.02)


def own_address(there: tuple[str, int]) -> str:
    """The address by which this server reaches another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(there)
        return str(probe.getsockname()[0])


def seconds(text: str) -> int:
    parts = re.findall(r"(\d+)(h|m|s)", text)
    if "".join(number + unit for number, unit in parts) != text:
        raise Problem(f"--ttl {text!r}: expected a duration like 2h or 30m")
    total = sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    return total or 10 * 365 * 86400  # 0 means for ever


if __name__ == "__main__":
    sys.exit(main())
