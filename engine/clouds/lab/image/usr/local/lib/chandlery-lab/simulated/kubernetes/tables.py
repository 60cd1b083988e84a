"""What `kubectl get` shows: columns per kind, made by the server as the real one does (meta.k8s.io/v1 Table)."""

from __future__ import annotations

from simulated.kubernetes import store as kube


def table(kind: kube.Kind, items: list[dict], version: str) -> dict:
    """A Table of the objects."""
    columns, row = COLUMNS.get(kind.plural, (("Name", "Age"), lambda item: ()))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [column(name) for name in columns],
        "rows": [
            {
                "cells": [item["metadata"]["name"], *row(item), shown_age(item)][: len(columns)] + extra(kind, item),
                "object": partial(item),
            }
            for item in items
        ],
    }


def column(name: str) -> dict:
    wide = name.startswith("+")
    kind = {
        "name": name.lstrip("+"),
        "type": "string",
        "format": "name" if name == "Name" else "",
        "description": "",
        "priority": int(wide),
    }
    return kind


def partial(item: dict) -> dict:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def shown_age(item: dict) -> str:
    seconds = int(kube.age(item["metadata"]["creationTimestamp"]))
    for unit, width in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * width:
            return f"{seconds // width}{unit}"
    return f"{seconds}s"


def extra(kind: kube.Kind, item: dict) -> list[str]:
    """The cells of the columns that only `-o wide` shows."""
    if kind.plural == "pods":
        return [item.get("status", {}).get("podIP") or "<none>", item["spec"].get("nodeName") or "<none>"]
    if kind.plural == "nodes":
        internal = next(
            (
                entry["address"]
                for entry in item.get("status", {}).get("addresses", [])
                if entry["type"] == "InternalIP"
            ),
            "<none>",
        )
        return [internal]
    if kind.plural == "services":
        return [",".join(f"{key}={value}" for key, value in (item["spec"].get("selector") or {}).items()) or "<none>"]
    return []


def pod_row(pod: dict) -> tuple:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    ready = sum(status.get("ready", False) for status in statuses)
    restarts = sum(status.get("restartCount", 0) for status in statuses)
    waiting = [
        status["state"]["waiting"]["reason"]
        for status in statuses
        if status.get("state", {}).get("waiting", {}).get("reason")
    ]
    phase = (
        "Terminating"
        if "deletionTimestamp" in pod["metadata"]
        else waiting[0]
        if waiting
        else pod.get("status", {}).get("phase", "Pending")
    )
    return f"{ready}/{len(pod['spec']['containers'])}", phase, str(restarts)


def node_row(node: dict) -> tuple:
    ready = next(
        (entry["status"] for entry in node.get("status", {}).get("conditions", []) if entry["type"] == "Ready"),
        "Unknown",
    )
    state = "Ready" if ready == "True" else "NotReady"
    prefix = "node-role.kubernetes.io/"
    roles = ",".join(
        sorted(name[len(prefix) :] for name in node["metadata"].get("labels", {}) if name.startswith(prefix))
    )
    cordoned = ",SchedulingDisabled" if node["spec"].get("unschedulable") else ""
    return state + cordoned, roles or "<none>", node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")


def service_row(service: dict) -> tuple:
    spec = service["spec"]
    ports = ",".join(
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port['protocol']}"
        for port in spec.get("ports", [])
    )
    return spec["type"], spec.get("clusterIP", ""), ",".join(spec.get("externalIPs", [])) or "<none>", ports or "<none>"


def deployment_row(item: dict) -> tuple:
    status = item.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{item['spec']['replicas']}"
    return ready, str(status.get("updatedReplicas", 0)), str(status.get("availableReplicas", 0))


def replica_set_row(item: dict) -> tuple:
    status = item.get("status", {})
    return str(item["spec"]["replicas"]), str(status.get("replicas", 0)), str(status.get("readyReplicas", 0))


def endpoints_row(item: dict) -> tuple:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets", [])
        for address in subset.get("addresses", [])
        for port in subset.get("ports", [])
    ]
    return (",".join(found) or "<none>",)


COLUMNS = {
    "pods": (("Name", "Ready", "Status", "Restarts", "Age", "+IP", "+Node"), pod_row),
    "nodes": (("Name", "Status", "Roles", "Version", "Age", "+Internal-IP"), lambda item: node_row(item)),
    "services": (("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"), service_row),
    "deployments": (("Name", "Ready", "Up-to-date", "Available", "Age"), deployment_row),
    "replicasets": (("Name", "Desired", "Current", "Ready", "Age"), replica_set_row),
    "endpoints": (("Name", "Endpoints", "Age"), endpoints_row),
    "namespaces": (("Name", "Status", "Age"), lambda item: (item["status"]["phase"],)),
    "secrets": (("Name", "Type", "Data", "Age"), lambda item: (item.get("type", ""), str(len(item.get("data", {}))))),
    "configmaps": (("Name", "Data", "Age"), lambda item: (str(len(item.get("data", {}))),)),
}
