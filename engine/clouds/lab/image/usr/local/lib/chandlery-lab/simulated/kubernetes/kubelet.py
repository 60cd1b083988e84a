"""The simulated kubelet of a node: `python3 -m simulated.kubernetes.kubelet`, configured by
/etc/kubernetes/kubelet.conf.

Makes the node's pods what the API says: a network per pod, containers as processes in it, started again when they end,
probes, and the state written back. The service proxy runs along (`proxy.py`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator

from simulated import NOTICE, containers, system
from simulated.kubernetes import VERSION, network, probes, proxy
from simulated.kubernetes import store as kube
from simulated.kubernetes.client import ApiError, Client, Unreachable

LOOK_SECONDS = 0.1  # how often ended containers are looked for
BACKOFF_FIRST, BACKOFF_LIMIT = 0.2, 5.0  # seconds before a container starts again: doubles
STEADY_SECONDS = 10  # after running so long the back-off begins anew
STOP_SECONDS = 2


class Kubelet:
    """The node's loop. Only its main thread forks containers, since they end with the thread that forked them."""

    def __init__(self, config: dict) -> None:
        self.node: str = config["node"]
        self.address: str = config["address"]
        self.version: str = config.get("version", VERSION)
        self.labels: dict[str, str] = config.get("labels", {})
        self.taints: list[dict] = config.get("taints", [])
        self.client = Client.of_config(config)
        self.watcher = Client.of_config(config)
        self.changed = threading.Event()
        self.pods: dict[str, Pod] = {}
        self.network: network.NodeNetwork | None = None
        self.is_registered = False
        self.proxy = proxy.Proxy()

    def run(self) -> None:
        self.proxy.start()
        threading.Thread(target=self.watch, daemon=True).start()
        while True:
            fresh = self.changed.wait(LOOK_SECONDS)
            self.changed.clear()
            try:
                if fresh:
                    self.synchronise()
                for pod in list(self.pods.values()):
                    pod.look()
                    self.report(pod)
            except Unreachable as error:
                print(error, flush=True)
                time.sleep(0.5)
                self.changed.set()
            except (ApiError, OSError, KeyError) as error:
                traceback.print_exc()
                print(f"trying again after {error!r}", file=sys.stderr, flush=True)
                time.sleep(0.5)
                self.changed.set()

    def watch(self) -> None:
        """Wakes the main thread when something changed; its calls are the node's heart beat, too."""
        version = 0
        while True:
            try:
                now = self.watcher.get("/simulated/changes", since=str(version), timeout="1")["version"]
                if now != version:
                    version = now
                    self.changed.set()
            except (Unreachable, ApiError) as error:
                print(error, flush=True)
                version = 0
                time.sleep(0.3)

    def synchronise(self) -> None:
        node = self.registered()
        if node is None:  # deleted from the cluster: it comes back when the kubelet starts again
            self.keep({})
            return
        nodes = self.client.get("/api/v1/nodes")["items"]
        if self.network is None and node["spec"].get("podCIDR"):
            self.network = network.NodeNetwork(node["spec"]["podCIDR"])
        if self.network:
            self.network.reach(
                {
                    other["spec"]["podCIDR"]: internal(other)
                    for other in nodes
                    if other["spec"].get("podCIDR") and other["metadata"]["name"] != self.node
                }
            )
            wanted = self.client.get("/api/v1/pods", fieldSelector=f"spec.nodeName={self.node}")["items"]
            self.keep({pod["metadata"]["uid"]: pod for pod in wanted})
        services = self.client.get("/api/v1/services")["items"]
        self.proxy.become(services, self.client.get("/api/v1/endpoints")["items"], self.address)

    def registered(self) -> dict | None:
        try:
            node = self.client.get(f"/api/v1/nodes/{self.node}")
            self.is_registered = True
            return node
        except ApiError as error:
            if error.status != 404:
                raise
        if self.is_registered:
            return None
        addresses = [{"type": "InternalIP", "address": self.address}, {"type": "Hostname", "address": self.node}]
        information = {
            "kubeletVersion": self.version,
            "osImage": NOTICE,
            "containerRuntimeVersion": "simulated://1",
            "operatingSystem": "linux",
        }
        labels = {"kubernetes.io/hostname": self.node, "kubernetes.io/os": "linux", **self.labels}
        node = {
            "metadata": {"name": self.node, "labels": labels},
            "spec": {"taints": self.taints} if self.taints else {},
            "status": {"addresses": addresses, "nodeInfo": information, "capacity": {"pods": "110"}},
        }
        return self.client.call("POST", "/api/v1/nodes", node)

    def keep(self, wanted: dict[str, dict]) -> None:
        for uid, item in wanted.items():
            if "deletionTimestamp" in item["metadata"]:
                if uid in self.pods:
                    self.pods.pop(uid).stop()
                place = f"/api/v1/namespaces/{item['metadata']['namespace']}/pods/{item['metadata']['name']}"
                self.forgive(place + "?gracePeriodSeconds=0")
            elif uid not in self.pods:
                assert self.network is not None
                self.pods[uid] = Pod(item, self.network, self.client)
            else:
                self.pods[uid].item = item
        for uid in [uid for uid in self.pods if uid not in wanted]:
            self.pods.pop(uid).stop()

    def forgive(self, path: str) -> None:
        """Deletes what may be gone already."""
        try:
            self.client.call("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def report(self, pod: Pod) -> None:
        status = pod.status()
        if status != pod.reported:
            metadata = pod.item["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
            try:
                self.client.call("PUT", path, {"metadata": {"name": metadata["name"]}, "status": status})
            except ApiError as error:
                if error.status != 404:
                    raise
            pod.reported = status


class Pod:
    """One pod on this node."""

    def __init__(self, item: dict, node_network: network.NodeNetwork, client: Client) -> None:
        self.item = item
        self.client = client
        self.reported: dict | None = None
        self.begun = kube.now()
        self.folder = system.path(f"{system.STATE}/pods/{item['metadata']['uid']}")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, mode=0o700)
        self.network = node_network.add_pod(item["metadata"]["uid"])
        self.containers = [Running(spec) for spec in item["spec"]["containers"]]
        self.look()

    def look(self) -> None:
        """Starts what has to run and does not."""
        for running in self.containers:
            running.collect()
            if running.pid is None and time.monotonic() >= running.next_start:
                self.start(running)
            elif running.pid is not None and running.must_restart():
                system.end(running.pid, STOP_SECONDS)

    def start(self, running: Running) -> None:
        spec = running.spec
        try:
            container = containers.Container(
                name=spec["name"],
                image=spec["image"],
                folder=os.path.join(self.folder, spec["name"]),
                environment=dict(self.environment(spec)),
                arguments=tuple(map(str, spec.get("args", []))),
                mounts=tuple(self.mounts(spec)),
                network_pid=self.network.pid,
                address=self.network.listen,
            )
            os.makedirs(container.folder, exist_ok=True)
            running.started(containers.start(container), self.network.address)
        except containers.UnknownImage as error:
            running.waits("ImagePullBackOff", str(error))
        except (Missing, ApiError, OSError) as error:
            running.waits("CreateContainerConfigError", str(error))

    def environment(self, spec: dict) -> Iterator[tuple[str, str]]:
        metadata = self.item["metadata"]
        for source in spec.get("envFrom", []):
            for key, value in self.data(source.get("secretRef"), source.get("configMapRef")).items():
                yield source.get("prefix", "") + key, value
        fields = {
            "status.podIP": self.network.address,
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
        }
        for entry in spec.get("env", []):
            origin = entry.get("valueFrom")
            if origin is None:
                yield entry["name"], str(entry.get("value", ""))
            elif "fieldRef" in origin:
                yield entry["name"], fields.get(origin["fieldRef"]["fieldPath"], self.item["spec"].get("nodeName", ""))
            else:
                reference = origin.get("secretKeyRef") or origin.get("configMapKeyRef") or {}
                found = self.data(origin.get("secretKeyRef"), origin.get("configMapKeyRef"))
                if reference.get("key") not in found:
                    raise Missing(f"couldn't find key {reference.get('key')} in {reference.get('name')}")
                yield entry["name"], found[reference["key"]]

    def data(self, secret: dict | None, config_map: dict | None) -> dict[str, str]:
        reference, plural = (secret, "secrets") if secret else (config_map or {}, "configmaps")
        name = reference.get("name") or reference.get("secretName")
        try:
            item = self.client.get(f"/api/v1/namespaces/{self.item['metadata']['namespace']}/{plural}/{name}")
        except ApiError as error:
            if error.status == 404 and reference.get("optional"):
                return {}
            raise
        values = item.get("data") or {}
        return (
            {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in values.items()}
            if secret
            else values
        )

    def mounts(self, spec: dict) -> Iterator[tuple[str, str, bool]]:
        volumes = {volume["name"]: volume for volume in self.item["spec"].get("volumes", [])}
        for mount in spec.get("volumeMounts", []):
            if mount["name"] not in volumes:
                raise Missing(f"there is no volume {mount['name']!r}")
            source = self.volume(volumes[mount["name"]])
            if ".." in mount.get("subPath", "").split("/"):
                raise Missing(f"subPath {mount['subPath']!r} must not contain '..'")
            yield (
                os.path.join(source, mount.get("subPath", "").lstrip("/")).rstrip("/"),
                mount["mountPath"],
                bool(mount.get("readOnly")),
            )

    def volume(self, volume: dict) -> str:
        folder = os.path.join(self.folder, "volumes", hashlib.sha256(volume["name"].encode()).hexdigest()[:12])
        if "hostPath" in volume:
            name = system.path(volume["hostPath"]["path"])
            if volume["hostPath"].get("type", "DirectoryOrCreate") in ("", "DirectoryOrCreate"):
                os.makedirs(name, exist_ok=True)
            return name
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if "secret" in volume or "configMap" in volume:
            for key, value in self.data(volume.get("secret"), volume.get("configMap")).items():
                if "/" not in key and key not in (".", ".."):
                    system.write(os.path.join(folder, key), value.encode("utf-8", "surrogateescape"))
        elif "emptyDir" not in volume:
            raise Missing(
                f"volume {volume['name']!r}: the Chandlery lab simulates emptyDir, hostPath, secret and configMap"
            )
        return folder

    def status(self) -> dict:
        states = [running.status() for running in self.containers]
        ready = all(state["ready"] for state in states)
        running = any("running" in state["state"] for state in states)
        before = (self.reported or {}).get("conditions", [])
        since = next(
            (
                entry["lastTransitionTime"]
                for entry in before
                if entry["type"] == "Ready" and entry["status"] == str(ready)
            ),
            kube.now(),
        )
        names = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        truth = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
        return {
            "phase": "Running" if running else (self.reported or {}).get("phase", "Pending"),
            "podIP": self.network.address,
            "podIPs": [{"ip": self.network.address}],
            "startTime": self.begun,
            "message": NOTICE,
            "conditions": [{"type": name, "status": str(truth[name]), "lastTransitionTime": since} for name in names],
            "containerStatuses": states,
        }

    def stop(self) -> None:
        for running in self.containers:
            if running.pid is not None:
                system.end(running.pid, STOP_SECONDS)
                running.collect()
        self.network.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class Missing(Exception):
    """Something the container needs is not there."""


class Running:
    """One container of a pod: its process, how often it was started, what it waits for."""

    def __init__(self, spec: dict) -> None:
        self.spec = spec
        self.pid: int | None = None
        self.restarts = 0
        self.next_start = 0.0
        self.backoff = BACKOFF_FIRST
        self.begun = 0.0
        self.begun_text = ""
        self.waiting = {"reason": "ContainerCreating", "message": ""}
        self.last: dict = {}
        self.probes: probes.Probes | None = None

    def started(self, pid: int, address: str) -> None:
        if self.begun:
            self.restarts += 1
        self.pid, self.begun, self.begun_text = pid, time.monotonic(), kube.now()
        self.probes = probes.Probes(self.spec, address)

    def waits(self, reason: str, message: str) -> None:
        self.waiting = {"reason": reason, "message": message}
        self.next_start = time.monotonic() + 1.0

    def collect(self) -> None:
        """Notices that the process has ended."""
        if self.pid is None or os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            return
        self.stop_probes()
        self.pid = None
        if time.monotonic() - self.begun > STEADY_SECONDS:
            self.backoff = BACKOFF_FIRST
        self.next_start = time.monotonic() + self.backoff
        self.backoff = min(self.backoff * 2, BACKOFF_LIMIT)
        self.waiting = {
            "reason": "CrashLoopBackOff" if self.restarts > 2 else "Restarting",
            "message": "the container's process ended",
        }
        self.last = {
            "terminated": {"exitCode": 137, "startedAt": self.begun_text, "finishedAt": kube.now(), "reason": "Error"}
        }

    def stop_probes(self) -> None:
        if self.probes is not None:
            self.probes.stop()
            self.probes = None

    def must_restart(self) -> bool:
        return self.probes is not None and self.probes.failed

    def status(self) -> dict:
        alive = self.pid is not None
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": f"simulated://{self.spec['image']}",
            "containerID": f"simulated://{self.pid}" if alive else "",
            "ready": alive and self.probes is not None and self.probes.ready,
            "started": alive,
            "restartCount": self.restarts,
            "state": {"running": {"startedAt": self.begun_text}} if alive else {"waiting": self.waiting},
            "lastState": self.last,
        }


def internal(node: dict) -> str:
    return next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP")


def main() -> None:
    def leave(_number: int, _frame: object) -> None:
        for pod in kubelet.pods.values():
            pod.stop()
        os._exit(0)

    config = system.read_json(system.path("/etc/kubernetes/kubelet.conf"))
    if config is None:
        sys.exit("kubelet: there is no /etc/kubernetes/kubelet.conf; use kubeadm init or kubeadm join")
    kubelet = Kubelet(config)
    signal.signal(signal.SIGTERM, leave)
    print(f"kubelet of node {kubelet.node}, {NOTICE}", flush=True)
    kubelet.run()


if __name__ == "__main__":
    main()
