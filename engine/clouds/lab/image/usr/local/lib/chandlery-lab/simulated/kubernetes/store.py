"""The objects of the simulated cluster: kinds, versions, waiting for changes, a file that survives restarts."""

from __future__ import annotations

import base64
import copy
import datetime
import ipaddress
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator

from simulated import system

Object = dict


class Failure(Exception):
    """An error answer of the API: HTTP status, Kubernetes' reason, message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Kind:
    """What the API knows about a kind."""

    def __init__(self, group: str, version: str, kind: str, plural: str, namespaced: bool = True, *short: str) -> None:
        self.group, self.version, self.kind, self.plural, self.namespaced, self.short = (
            group,
            version,
            kind,
            plural,
            namespaced,
            short,
        )

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def qualified(self) -> str:
        """`pods`, `deployments.apps`: as error messages name them."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


RBAC = "rbac.authorization.k8s.io"
KINDS = (
    Kind("", "v1", "Namespace", "namespaces", False, "ns"),
    Kind("", "v1", "Node", "nodes", False, "no"),
    Kind("", "v1", "Pod", "pods", True, "po"),
    Kind("", "v1", "Service", "services", True, "svc"),
    Kind("", "v1", "Endpoints", "endpoints", True, "ep"),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "ConfigMap", "configmaps", True, "cm"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", True, "sa"),
    Kind("", "v1", "Event", "events", True, "ev"),
    Kind("apps", "v1", "Deployment", "deployments", True, "deploy"),
    Kind("apps", "v1", "ReplicaSet", "replicasets", True, "rs"),
    Kind("apps", "v1", "DaemonSet", "daemonsets", True, "ds"),
    Kind(RBAC, "v1", "ClusterRole", "clusterroles", False),
    Kind(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    Kind(RBAC, "v1", "Role", "roles"),
    Kind(RBAC, "v1", "RoleBinding", "rolebindings"),
)
PLURALS = {(kind.group, kind.plural): kind for kind in KINDS}
NAME = re.compile(r"[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?")
EVENTS_KEPT = 500
NODE_PORTS = range(30000, 32768)


class Store:
    """All objects by (plural, namespace, name). Every change gives the next resource version."""

    def __init__(self, file: str, service_cidr: str = "10.96.0.0/12") -> None:
        self.file = file
        self.changed = threading.Condition(threading.RLock())
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.version = 0
        self.history: list[tuple[int, str, str, Object]] = []  # version, event type, plural, object: for watches
        self.services = ipaddress.IPv4Network(service_cidr)
        self.saved = 0
        state = system.read_json(file) if file else None
        if state:
            self.version = self.saved = state["version"]
            for plural, item in state["objects"]:
                self.objects[plural, item["metadata"].get("namespace", ""), item["metadata"]["name"]] = item

    def save(self) -> None:
        """Writes the file if something changed."""
        with self.changed:
            if self.saved == self.version:
                return
            state = {"version": self.version, "objects": [[key[0], item] for key, item in self.objects.items()]}
            text, self.saved = json.dumps(state), self.version
        system.write(self.file, text)

    def wait(self, version: int, seconds: float) -> int:
        """Waits until something newer than `version` is there; gives the version there is."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while self.version <= version and (left := deadline - time.monotonic()) > 0:
                self.changed.wait(left)
            return self.version

    def since(self, version: int, plural: str) -> list[tuple[int, str, Object]]:
        """The changes of one kind after `version`, for a watch."""
        with self.changed:
            return [
                (number, event, item)
                for number, event, name, item in self.history
                if number > version and name == plural
            ]

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        with self.changed:
            item = self.objects.get((kind.plural, namespace if kind.namespaced else "", name))
            if item is None:
                raise Failure(404, "NotFound", f'{kind.qualified()} "{name}" not found')
            return copy.deepcopy(item)

    def list(self, plural: str, namespace: str | None = None, selector: dict | None = None) -> list[Object]:
        """Copies, in the order of their names; `selector` are labels that must be there."""
        with self.changed:
            found = [
                copy.deepcopy(item)
                for key, item in self.objects.items()
                if key[0] == plural and namespace in (None, key[1]) and matches(item, selector)
            ]
        return sorted(found, key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))

    def create(self, kind: Kind, namespace: str, item: Object) -> Object:
        item = copy.deepcopy(item)
        metadata = item.setdefault("metadata", {})
        if metadata.get("generateName") and not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        self.check(kind, item)
        namespace = (metadata.get("namespace") or namespace or "default") if kind.namespaced else ""
        with self.changed:
            if kind.namespaced:
                metadata["namespace"] = namespace
                if ("namespaces", "", namespace) not in self.objects:
                    raise Failure(404, "NotFound", f'namespaces "{namespace}" not found')
            if (kind.plural, namespace, metadata["name"]) in self.objects:
                raise Failure(409, "AlreadyExists", f'{kind.qualified()} "{metadata["name"]}" already exists')
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
            self.complete(kind, item)
            return self.put(kind, item, "ADDED")

    def replace(self, kind: Kind, namespace: str, name: str, item: Object, status_only: bool = False) -> Object:
        """The object with a new content; its status only changes by `status_only`. 409 if it was changed since it was
        read.
        """
        with self.changed:
            old = self.get(kind, namespace, name)
            wanted = item.get("metadata", {}).get("resourceVersion")
            if wanted and wanted != old["metadata"]["resourceVersion"]:
                text = "the object has been modified; please apply your changes to the latest version and try again"
                text = f'Operation cannot be fulfilled on {kind.qualified()} "{name}": {text}'
                raise Failure(409, "Conflict", text)
            if status_only:
                new = {**old, "status": copy.deepcopy(item.get("status", {}))}
            else:
                new = copy.deepcopy(item)
                keep = {
                    name: old["metadata"][name]
                    for name in ("uid", "creationTimestamp", "namespace", "generation", "deletionTimestamp")
                    if name in old["metadata"]
                }
                new["metadata"] = {**new.get("metadata", {}), "name": name, **keep}
                if "status" in old:
                    new["status"] = old["status"]
                self.check(kind, new)
                self.complete(kind, new, old)
                if new.get("spec") != old.get("spec"):
                    new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            return old if new == old else self.put(kind, new, "MODIFIED")

    def update(self, kind: Kind, item: Object, status_only: bool = False) -> None:
        """For controllers: replaces, and lets it be if the object is gone or was changed (they come again)."""
        try:
            self.replace(kind, item["metadata"].get("namespace", ""), item["metadata"]["name"], item, status_only)
        except Failure as failure:
            if failure.status not in (404, 409):
                raise

    def delete(self, kind: Kind, namespace: str, name: str, now_gone: bool = False) -> Object:
        """Pods on a node first get a deletion time, and are gone when the kubelet has ended them."""
        with self.changed:
            item = self.get(kind, namespace, name)
            if kind.plural == "pods" and item.get("spec", {}).get("nodeName") and not now_gone:
                if "deletionTimestamp" in item["metadata"]:
                    return item
                item["metadata"]["deletionTimestamp"] = now()
                return self.put(kind, item, "MODIFIED")
            del self.objects[kind.plural, namespace if kind.namespaced else "", name]
            self.version += 1
            item["metadata"]["resourceVersion"] = str(self.version)
            self.record("DELETED", kind.plural, item)
            return item

    def put(self, kind: Kind, item: Object, event: str) -> Object:
        self.version += 1
        item = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            **{key: value for key, value in item.items() if key not in ("apiVersion", "kind")},
        }
        item["metadata"]["resourceVersion"] = str(self.version)
        self.objects[kind.plural, item["metadata"].get("namespace", ""), item["metadata"]["name"]] = item
        self.record(event, kind.plural, item)
        return copy.deepcopy(item)

    def record(self, event: str, plural: str, item: Object) -> None:
        self.history.append((self.version, event, plural, copy.deepcopy(item)))
        del self.history[:-EVENTS_KEPT]
        self.changed.notify_all()

    def check(self, kind: Kind, item: Object) -> None:
        name = item.get("metadata", {}).get("name")
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise invalid(kind, name, "metadata.name", "must be a lowercase RFC 1123 subdomain")
        spec = item.get("spec", {})
        if kind.plural in ("deployments", "replicasets", "daemonsets"):
            selector = spec.get("selector", {}).get("matchLabels")
            labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
            if not selector:
                raise invalid(
                    kind, name, "spec.selector", "matchLabels are required (matchExpressions are not simulated)"
                )
            if not selector.items() <= labels.items():
                raise invalid(
                    kind, name, "spec.template.metadata.labels", "`selector` does not match template `labels`"
                )
            if not isinstance(spec.get("replicas", 1), int) or spec.get("replicas", 1) < 0:
                raise invalid(kind, name, "spec.replicas", "must be greater than or equal to 0")
            check_containers(kind, name, spec.get("template", {}).get("spec", {}), "spec.template.spec")
        elif kind.plural == "pods":
            check_containers(kind, name, spec, "spec")
        elif kind.plural == "services":
            for port in spec.get("ports", []):
                if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
                    raise invalid(kind, name, "spec.ports[].port", "must be between 1 and 65535, inclusive")
            for address in spec.get("externalIPs", []):
                try:
                    ipaddress.ip_address(address)
                except ValueError:
                    raise invalid(kind, name, "spec.externalIPs[]", f"'{address}' must be an IP address") from None

    def complete(self, kind: Kind, item: Object, old: Object | None = None) -> None:
        """Fills in what the real API fills in."""
        spec = item.get("spec", {})
        if kind.plural == "secrets":
            data = {
                key: base64.b64encode(str(text).encode()).decode()
                for key, text in item.pop("stringData", None or {}).items()
            }
            item["data"] = {**item.get("data", {}), **data}
            item.setdefault("type", "Opaque")
        elif kind.plural in ("deployments", "replicasets"):
            spec.setdefault("replicas", 1)
        elif kind.plural == "pods":
            item.setdefault("status", {"phase": "Pending"})
            spec.setdefault("restartPolicy", "Always")
        elif kind.plural == "namespaces":
            item.setdefault("status", {"phase": "Active"})
        elif kind.plural == "services":
            self.complete_service(spec, (old or {}).get("spec", {}))

    def complete_service(self, spec: Object, old: Object) -> None:
        spec.setdefault("type", "ClusterIP")
        services = [item["spec"] for item in self.list("services")]
        if not spec.get("clusterIP"):
            taken = {service.get("clusterIP") for service in services}
            spec["clusterIP"] = old.get("clusterIP") or next(
                str(ip) for ip in addresses(self.services) if str(ip) not in taken
            )
        node_ports = {port.get("nodePort") for service in services for port in service.get("ports", [])}
        for number, port in enumerate(spec.get("ports", [])):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
            if spec["type"] in ("NodePort", "LoadBalancer") and not port.get("nodePort"):
                before = old.get("ports", [])
                kept = before[number].get("nodePort") if number < len(before) else None
                port["nodePort"] = kept or next(candidate for candidate in NODE_PORTS if candidate not in node_ports)
                node_ports.add(port["nodePort"])


def addresses(network: ipaddress.IPv4Network) -> Iterator[ipaddress.IPv4Address]:
    """The first is the API's own service."""
    return (network.network_address + number for number in range(10, network.num_addresses))


def check_containers(kind: Kind, name: str, spec: Object, where: str) -> None:
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        raise invalid(kind, name, where + ".containers", "Required value")
    names = [container.get("name") for container in containers]
    for container in containers:
        if not container.get("name") or not container.get("image"):
            raise invalid(kind, name, where + ".containers[]", "name and image are required")
    if len(set(names)) != len(names):
        raise invalid(kind, name, where + ".containers[].name", "Duplicate value")


def invalid(kind: Kind, name: object, field: str, message: str) -> Failure:
    return Failure(
        422, "Invalid", f'{kind.kind}{"." + kind.group if kind.group else ""} "{name}" is invalid: {field}: {message}'
    )


def matches(item: Object, selector: dict | None) -> bool:
    """Labels: a text value must be the same, None must only be there, a set must contain the value, False must not be
    there.
    """
    labels = item["metadata"].get("labels") or {}
    for name, value in (selector or {}).items():
        if value is None and name not in labels:
            return False
        if value is False and name in labels:
            return False
        if isinstance(value, str) and labels.get(name) != value:
            return False
        if isinstance(value, tuple) and (labels.get(name) in value[1]) != value[0]:
            return False
    return True


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(stamp: str) -> float:
    """Seconds since a time of `now`."""
    then = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


def state_file() -> str:
    return system.path(os.path.join(system.STATE, "kubernetes", "cluster.json"))
