"""What makes the cluster what its objects say: deployments, replica sets, scheduler, endpoints, nodes, clean-up.

One pass looks at everything and changes what differs; it runs after every change and twice a second.
"""

from __future__ import annotations

import copy
import hashlib
import ipaddress
import json
import sys
import threading
import time
import traceback

from simulated import NOTICE
from simulated.kubernetes import store as kube

DEPLOYMENTS, REPLICA_SETS, PODS, NODES, ENDPOINTS, DAEMON_SETS, NAMESPACES = (
    *(kube.PLURALS["apps", name] for name in ("deployments", "replicasets")),
    *(kube.PLURALS["", name] for name in ("pods", "nodes", "endpoints")),
    kube.PLURALS["apps", "daemonsets"],
    kube.PLURALS["", "namespaces"],
)
SILENT_SECONDS = 5  # a node whose kubelet says nothing for so long is not ready
EVICT_SECONDS = 6  # ... and after so long its pods are replaced
HASH_LABEL = "pod-template-hash"
KEPT_OUT = (
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/gateway",
)
NETWORKS = ("flannel", "calico", "cilium", "weave", "canal")


class Controllers:
    """All controllers. `heard` is when each node's kubelet last spoke (monotonic seconds); the API server keeps it."""

    def __init__(self, store: kube.Store, pod_cidr: str) -> None:
        self.store = store
        self.networks = list(ipaddress.ip_network(pod_cidr).subnets(new_prefix=24))[:256]
        self.heard: dict[str, float] = {}
        self.begun = time.monotonic()
        self.stopped = threading.Event()

    def run(self) -> None:
        version = 0
        while not self.stopped.is_set():
            before = self.store.version
            try:
                self.once()
                self.store.save()
            except Exception:  # one bad object must not end the control of all others; the log shows it
                traceback.print_exc(file=sys.stderr)
                time.sleep(0.5)
            version = self.store.wait(max(before, version), 0.5)

    def once(self) -> None:
        with self.store.changed:
            self.nodes()
            self.namespaces()
            self.daemon_sets()
            for deployment in self.store.list("deployments"):
                self.deployment(deployment)
            for replica_set in self.store.list("replicasets"):
                self.replica_set(replica_set)
            self.orphans()
            self.schedule()
            self.endpoints()

    def nodes(self) -> None:
        used = {node["spec"].get("podCIDR") for node in self.store.list("nodes")}
        network = any(is_network(item) for item in self.store.list("daemonsets"))
        for node in self.store.list("nodes"):
            if not node["spec"].get("podCIDR"):
                node["spec"]["podCIDR"] = next(str(net) for net in self.networks if str(net) not in used)
                used.add(node["spec"]["podCIDR"])
                self.store.update(NODES, node)
                continue
            silent = time.monotonic() - self.heard.get(node["metadata"]["name"], self.begun)
            if silent > SILENT_SECONDS:
                state = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
            elif not network:
                state = (
                    "False",
                    "KubeletNotReady",
                    "container runtime network not ready: no network plugin; apply one, for instance flannel",
                )
            else:
                state = ("True", "KubeletReady", f"kubelet is posting ready status ({NOTICE})")
            set_condition(node, "Ready", *state)
            self.store.update(NODES, node, status_only=True)
            if silent > EVICT_SECONDS:
                self.evict(node["metadata"]["name"])

    def evict(self, node: str) -> None:
        for pod in self.store.list("pods"):
            if pod["spec"].get("nodeName") == node:
                self.store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], now_gone=True)

    def namespaces(self) -> None:
        for namespace in self.store.list("namespaces"):
            if "deletionTimestamp" in namespace["metadata"]:
                for kind in kube.KINDS:
                    for item in self.store.list(kind.plural, namespace["metadata"]["name"]) if kind.namespaced else []:
                        self.store.delete(kind, namespace["metadata"]["name"], item["metadata"]["name"], now_gone=True)

    def daemon_sets(self) -> None:
        for item in self.store.list("daemonsets"):
            item["status"] = {
                "desiredNumberScheduled": 0,
                "currentNumberScheduled": 0,
                "numberReady": 0,
                "numberMisscheduled": 0,
                "observedGeneration": item["metadata"]["generation"],
                "conditions": [
                    {
                        "type": "Simulated",
                        "status": "True",
                        "message": f"daemon sets are accepted and not run: {NOTICE}",
                    }
                ],
            }
            self.store.update(DAEMON_SETS, item, status_only=True)

    def deployment(self, item: dict) -> None:
        """A replica set for today's template; the older ones shrink as its pods become ready."""
        owned = self.owned("replicasets", item)
        template = item["spec"]["template"]
        name = f"{item['metadata']['name']}-{digest(template)}"
        current = next((replica_set for replica_set in owned if replica_set["metadata"]["name"] == name), None)
        wanted = item["spec"]["replicas"]
        if current is None:
            current = self.store.create(REPLICA_SETS, item["metadata"]["namespace"], replica_set_of(item, name, wanted))
        elif current["spec"]["replicas"] != wanted:
            current["spec"]["replicas"] = wanted
            self.store.update(REPLICA_SETS, current)
        ready = current.get("status", {}).get("readyReplicas", 0)
        for old in owned:
            left = max(wanted - ready, 0)
            if old["metadata"]["name"] != name and old["spec"]["replicas"] > left:
                old["spec"]["replicas"] = left
                self.store.update(REPLICA_SETS, old)
        sets = [current, *(old for old in owned if old["metadata"]["name"] != name)]
        self.deployment_status(item, sets, wanted)

    def deployment_status(self, item: dict, sets: list[dict], wanted: int) -> None:
        pods = [
            pod
            for replica_set in sets
            for pod in self.owned("pods", replica_set)
            if "deletionTimestamp" not in pod["metadata"]
        ]
        newest = [
            pod
            for pod in pods
            if pod["metadata"]["labels"].get(HASH_LABEL) == sets[0]["metadata"]["labels"][HASH_LABEL]
        ]
        ready = sum(map(is_ready, pods))
        item["status"] = {
            "observedGeneration": item["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(newest),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(wanted - ready, 0),
            "conditions": item.get("status", {}).get("conditions", []),
        }
        enough = ready >= wanted
        set_condition(
            item,
            "Available",
            str(enough),
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"{ready} of {wanted} replicas are ready",
        )
        self.store.update(DEPLOYMENTS, item, status_only=True)

    def replica_set(self, item: dict) -> None:
        """The wanted number of pods: one more for each that is missing; those that are least ready go first."""
        pods = [pod for pod in self.owned("pods", item) if "deletionTimestamp" not in pod["metadata"]]
        alive = [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")]
        missing = item["spec"]["replicas"] - len(alive)
        for _number in range(missing):
            self.store.create(PODS, item["metadata"]["namespace"], pod_of(item))
        for pod in sorted(alive, key=lambda pod: (is_ready(pod), bool(pod["spec"].get("nodeName"))))[
            : max(-missing, 0)
        ]:
            self.store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        ready = sum(map(is_ready, alive))
        item["status"] = {
            "replicas": len(alive),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": item["metadata"]["generation"],
        }
        self.store.update(REPLICA_SETS, item, status_only=True)

    def orphans(self) -> None:
        """What is owned by something that is gone goes too."""
        alive = {item["metadata"]["uid"] for item in self.store.objects.values()}
        for kind in (REPLICA_SETS, PODS, ENDPOINTS):
            for item in self.store.list(kind.plural):
                owners = item["metadata"].get("ownerReferences", [])
                if owners and not any(owner["uid"] in alive for owner in owners):
                    self.store.delete(kind, item["metadata"]["namespace"], item["metadata"]["name"])
        names = {node["metadata"]["name"] for node in self.store.list("nodes")}
        for pod in self.store.list("pods"):
            if pod["spec"].get("nodeName") and pod["spec"]["nodeName"] not in names:
                self.store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], now_gone=True)

    def schedule(self) -> None:
        """Each waiting pod to the allowed node with the fewest pods."""
        nodes = self.store.list("nodes")
        load = {node["metadata"]["name"]: 0 for node in nodes}
        pods = self.store.list("pods")
        for pod in pods:
            if pod["spec"].get("nodeName") in load:
                load[pod["spec"]["nodeName"]] += 1
        for pod in pods:
            if pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
                continue
            allowed = [node["metadata"]["name"] for node in nodes if not why_not(pod, node)]
            if allowed:
                chosen = min(allowed, key=lambda name: (load[name], name))
                load[chosen] += 1
                pod["spec"]["nodeName"] = chosen
                self.store.update(PODS, pod)
                continue
            reasons = "; ".join(f"{node['metadata']['name']}: {why_not(pod, node)}" for node in nodes)
            set_condition(
                pod, "PodScheduled", "False", "Unschedulable", f"0/{len(nodes)} nodes are available: {reasons}."
            )
            self.store.update(PODS, pod, status_only=True)

    def endpoints(self) -> None:
        """The ready pods behind each service that has a selector."""
        pods = self.store.list("pods")
        known = {
            (item["metadata"]["namespace"], item["metadata"]["name"]): item for item in self.store.list("endpoints")
        }
        for service in self.store.list("services"):
            key = service["metadata"]["namespace"], service["metadata"]["name"]
            selector = service["spec"].get("selector")
            if not selector:
                continue
            chosen = [pod for pod in pods if pod["metadata"]["namespace"] == key[0] and kube.matches(pod, selector)]
            subsets = subsets_of(
                service,
                [
                    pod
                    for pod in chosen
                    if pod.get("status", {}).get("podIP") and "deletionTimestamp" not in pod["metadata"]
                ],
            )
            if key not in known:
                metadata = {"name": key[1], "ownerReferences": [owner(service)]}
                self.store.create(ENDPOINTS, key[0], {"metadata": metadata, "subsets": subsets})
            elif known[key].get("subsets") != subsets:
                self.store.update(ENDPOINTS, {**known[key], "subsets": subsets})

    def owned(self, plural: str, item: dict) -> list[dict]:
        uid = item["metadata"]["uid"]
        found = self.store.list(plural, item["metadata"]["namespace"])
        return [
            other
            for other in found
            if any(reference["uid"] == uid for reference in other["metadata"].get("ownerReferences", []))
        ]


def replica_set_of(deployment: dict, name: str, replicas: int) -> dict:
    template = copy.deepcopy(deployment["spec"]["template"])
    labels = template["metadata"].setdefault("labels", {})
    labels[HASH_LABEL] = name.rpartition("-")[2]
    selector = {"matchLabels": {**deployment["spec"]["selector"]["matchLabels"], HASH_LABEL: labels[HASH_LABEL]}}
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner(deployment)]}
    return {"metadata": metadata, "spec": {"replicas": replicas, "selector": selector, "template": template}}


def pod_of(replica_set: dict) -> dict:
    template = copy.deepcopy(replica_set["spec"]["template"])
    metadata = {
        **template.get("metadata", {}),
        "generateName": replica_set["metadata"]["name"] + "-",
        "ownerReferences": [owner(replica_set)],
    }
    metadata.pop("name", None)
    return {"metadata": metadata, "spec": template["spec"]}


def subsets_of(service: dict, pods: list[dict]) -> list[dict]:
    groups: dict[str, dict] = {}
    for pod in pods:
        ports = [port for port in (endpoint_port(port, pod) for port in service["spec"].get("ports", [])) if port]
        group = groups.setdefault(json.dumps(ports), {"addresses": [], "notReadyAddresses": [], "ports": ports})
        reference = {
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "namespace": pod["metadata"]["namespace"],
            "uid": pod["metadata"]["uid"],
        }
        entry = {"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": reference}
        group["addresses" if is_ready(pod) else "notReadyAddresses"].append(entry)
    return [{name: value for name, value in group.items() if value} for group in groups.values()]


def endpoint_port(port: dict, pod: dict) -> dict | None:
    """A target port by name is looked up in the pod."""
    target = port["targetPort"]
    if isinstance(target, str):
        named = [
            entry["containerPort"]
            for container in pod["spec"]["containers"]
            for entry in container.get("ports", [])
            if entry.get("name") == target
        ]
        if not named:
            return None
        target = named[0]
    return {
        **({"name": port["name"]} if port.get("name") else {}),
        "port": target,
        "protocol": port.get("protocol", "TCP"),
    }


def why_not(pod: dict, node: dict) -> str | None:
    """Why the pod may not run on the node, None if it may."""
    labels = node["metadata"].get("labels", {})
    if node["spec"].get("unschedulable"):
        return "it is cordoned"
    conditions = node.get("status", {}).get("conditions", [])
    if not any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions):
        return "it is not ready"
    for taint in node["spec"].get("taints", []):
        if taint["effect"] in ("NoSchedule", "NoExecute") and not any(
            tolerates(entry, taint) for entry in pod["spec"].get("tolerations", [])
        ):
            return f"untolerated taint {taint['key']}"
    if (
        any(name in labels for name in KEPT_OUT)
        and not pod["spec"].get("tolerations")
        and not pod["spec"].get("nodeSelector")
    ):
        return "it is a control plane or gateway"
    if not pod["spec"].get("nodeSelector", {}).items() <= labels.items():
        return "it does not match the node selector"
    return None


def tolerates(toleration: dict, taint: dict) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]) or toleration.get("key") not in (
        None,
        "",
        taint["key"],
    ):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def is_ready(pod: dict) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def is_network(daemon_set: dict) -> bool:
    """A network plugin: by its name, or because it mounts the folder of network configurations."""
    volumes = daemon_set["spec"]["template"]["spec"].get("volumes", [])
    by_folder = any(volume.get("hostPath", {}).get("path", "").startswith("/etc/cni") for volume in volumes)
    return by_folder or any(name in daemon_set["metadata"]["name"] for name in NETWORKS)


def set_condition(item: dict, kind: str, status: str, reason: str, message: str) -> None:
    conditions = item.setdefault("status", {}).setdefault("conditions", [])
    entry = next((entry for entry in conditions if entry["type"] == kind), None)
    if entry is None:
        entry = {"type": kind}
        conditions.append(entry)
    if entry.get("status") != status:
        entry["lastTransitionTime"] = kube.now()
    entry.update(status=status, reason=reason, message=message)


def owner(item: dict) -> dict:
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
        "controller": True,
    }


def digest(template: dict) -> str:
    text = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
    return text[:10].translate(str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst"))
