"""The simulated Kubernetes API server, with the controllers in the same process: `python3 -m
simulated.kubernetes.apiserver FILE`.

FILE is what `kubeadm init` wrote: address, port, tokens, networks. Plain HTTP with bearer tokens; nodes may only do
what kubelets do.
"""

from __future__ import annotations

import copy
import hmac
import json
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
import urllib.parse

from simulated import NOTICE, system
from simulated.images import serving
from simulated.kubernetes import VERSION, controllers, tables
from simulated.kubernetes import store as kube

WATCH_SECONDS = 300
ALL = ("pods", "services", "deployments", "replicasets", "daemonsets")  # what `kubectl get all` means
OPEN_PATHS = ("/readyz", "/livez", "/healthz", "/version")


class Cluster:
    """The state all requests share."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lock = threading.RLock()
        self.config = system.read_json(file) or {}
        self.store = kube.Store(kube.state_file(), self.config["service_cidr"])
        self.controllers = controllers.Controllers(self.store, self.config["pod_cidr"])
        namespaces = kube.PLURALS["", "namespaces"]
        for name in ("default", "kube-system", "kube-public"):
            if ("namespaces", "", name) not in self.store.objects:
                self.store.create(namespaces, "", {"metadata": {"name": name}})
        services = kube.PLURALS["", "services"]
        if ("services", "default", "kubernetes") not in self.store.objects:
            first = str(self.store.services.network_address + 1)
            spec = {"clusterIP": first, "ports": [{"name": "https", "port": 443, "targetPort": self.config["port"]}]}
            self.store.create(services, "default", {"metadata": {"name": "kubernetes"}, "spec": spec})

    def who(self, header: str) -> str | None:
        """`admin`, `node:<name>`, or None."""
        token = header[len("Bearer ") :] if header.startswith("Bearer ") else ""
        with self.lock:
            for known, name in self.config["tokens"].items():
                if hmac.compare_digest(known, token):
                    return str(name)
        return None

    def new_join_token(self, seconds: float) -> str:
        alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
        first, second = ("".join(secrets.choice(alphabet) for _ in range(size)) for size in (6, 16))
        with self.lock:
            self.config["join_tokens"][f"{first}.{second}"] = time.time() + seconds
            system.write_json(self.file, self.config)
        return f"{first}.{second}"

    def join(self, token: str, node: str) -> str:
        """A node's own token."""
        with self.lock:
            ends = next(
                (ends for known, ends in self.config["join_tokens"].items() if hmac.compare_digest(known, token)), 0
            )
            if ends < time.time():
                raise kube.Failure(
                    401,
                    "Unauthorized",
                    "the bootstrap token is not known or has expired; make one by 'kubeadm token create'",
                )
            if ("nodes", "", node) in self.store.objects:
                raise kube.Failure(409, "AlreadyExists", f'a Node with name "{node}" exists already in the cluster')
            own = secrets.token_hex(24)
            self.config["tokens"] = {
                known: name for known, name in self.config["tokens"].items() if name != f"node:{node}"
            }
            self.config["tokens"][own] = f"node:{node}"
            system.write_json(self.file, self.config)
        return own


class Handler(serving.Handler):
    """REST paths of Kubernetes."""

    server_version = "Kubernetes-simulated"
    cluster: Cluster

    def do_GET(self) -> None:
        self.handle_call()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, text: str, *arguments: object) -> None:
        if self.command not in ("GET", None):
            super().log_message(text, *arguments)

    def handle_call(self) -> None:
        content = self.body()
        path, query = self.split()
        try:
            self.route(path, query, content)
        except kube.Failure as failure:
            self.answer(failure.status, status(failure.status, failure.reason, str(failure)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # an object that is not built as its kind is
            self.answer(
                400, status(400, "BadRequest", f"the object cannot be understood: {type(error).__name__}: {error}")
            )

    def route(self, path: str, query: dict[str, str], content: bytes) -> None:
        if path in OPEN_PATHS:
            return self.answer(200, version(self.cluster.config) if path == "/version" else "ok")
        if path == "/simulated/join" and self.command == "POST":
            wanted = read_object(content)
            token = self.cluster.join(str(wanted.get("token")), str(wanted.get("node")))
            return self.answer(
                200,
                {
                    "token": token,
                    "identity": self.cluster.config["identity"],
                    "version": self.cluster.config["version"],
                },
            )
        header = self.headers.get("Authorization")
        if header is None and is_own_process(self.client_address):
            who: str | None = "admin"  # the server's own root; the real kubectl sends no token without TLS
        else:
            who = self.cluster.who(header or "")
        if who is None:
            raise kube.Failure(401, "Unauthorized", "Unauthorized")
        if who.startswith("node:"):
            self.cluster.controllers.heard[who[len("node:") :]] = time.monotonic()
        if path.startswith("/simulated/"):
            return self.simulated(path, query, who)
        if path in ("/api", "/apis", "/openapi/v2", "/openapi/v3") or re.fullmatch(r"/api/v1|/apis/[^/]+/v1", path):
            return self.discover(path)
        place = Place.parse(path)
        if not is_allowed(who, self.command, place):
            user = who.replace("node:", "system:node:")
            raise kube.Failure(
                403, "Forbidden", f'{place.kind.qualified()} is forbidden: User "{user}" cannot change it'
            )
        self.resource(place, query, content)

    def simulated(self, path: str, query: dict[str, str], who: str) -> None:
        if path == "/simulated/changes":
            seconds = min(float(query.get("timeout", 1)), 20)
            return self.answer(200, {"version": self.cluster.store.wait(int(query.get("since", 0)), seconds)})
        if path == "/simulated/token" and self.command == "POST" and who == "admin":
            return self.answer(200, {"token": self.cluster.new_join_token(float(query.get("seconds", 86400)))})
        raise kube.Failure(404, "NotFound", f"{path}: there is no such path")

    def discover(self, path: str) -> None:
        if path == "/api":
            return self.answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            groups = sorted({kind.group for kind in kube.KINDS if kind.group})
            found = [{"groupVersion": f"{group}/v1", "version": "v1"} for group in groups]
            listed = [
                {"name": group, "versions": [entry], "preferredVersion": entry}
                for group, entry in zip(groups, found, strict=True)
            ]
            return self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        if path.startswith("/openapi"):
            return self.answer(
                200, {"swagger": "2.0", "info": {"title": f"Kubernetes ({NOTICE})", "version": VERSION}, "paths": {}}
            )
        group = path.split("/")[2] if path.startswith("/apis") else ""
        kinds = [kind for kind in kube.KINDS if kind.group == group]
        if not kinds:
            raise kube.Failure(404, "NotFound", "the server could not find the requested resource")
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        listed = [
            {
                "name": kind.plural,
                "singularName": kind.kind.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": verbs,
                "shortNames": list(kind.short),
                **({"categories": ["all"]} if kind.plural in ALL else {}),
            }
            for kind in kinds
        ]
        if group == "apps":
            listed.append(
                {
                    "name": "deployments/scale",
                    "singularName": "",
                    "namespaced": True,
                    "group": "autoscaling",
                    "version": "v1",
                    "kind": "Scale",
                    "verbs": ["get", "patch", "update"],
                }
            )
        self.answer(
            200,
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": kinds[0].api_version, "resources": listed},
        )

    def resource(self, place: Place, query: dict[str, str], content: bytes) -> None:
        store, kind = self.cluster.store, place.kind
        if place.name is None:
            if self.command == "GET":
                return self.watch(place, query) if query.get("watch") in ("1", "true") else self.listing(place, query)
            if self.command == "POST":
                return self.answer(201, store.create(kind, place.namespace or "", read_object(content)))
            raise kube.Failure(405, "MethodNotAllowed", f"{self.command} is not simulated for collections")
        namespace, name = place.namespace or "", place.name
        if self.command == "GET":
            item = store.get(kind, namespace, name)
            if place.sub == "scale":
                return self.answer(200, scale_of(item))
            return self.answer(200, tables.table(kind, [item], str(store.version)) if self.wants_table() else item)
        if self.command == "DELETE":
            is_json = "protobuf" not in self.headers.get("Content-Type", "")
            options = read_object(content) if is_json else {}
            gone = (query.get("gracePeriodSeconds") or options.get("gracePeriodSeconds")) in ("0", 0)
            if kind.plural == "namespaces":
                with store.changed:
                    item = store.get(kind, "", name)
                    item["metadata"]["deletionTimestamp"] = kube.now()
                    store.put(kind, item, "MODIFIED")
                    self.cluster.controllers.namespaces()
            return self.answer(200, store.delete(kind, namespace, name, now_gone=gone))
        if place.sub == "eviction" and self.command == "POST":
            store.delete(kind, namespace, name)
            return self.answer(201, status(201, "", ""))
        if self.command not in ("PUT", "PATCH"):
            raise kube.Failure(405, "MethodNotAllowed", f"{self.command} is not simulated here")
        self.answer(200, self.change(place, content))

    def change(self, place: Place, content: bytes) -> dict:
        store, kind, namespace, name = self.cluster.store, place.kind, place.namespace or "", place.name or ""
        with store.changed:
            before = store.get(kind, namespace, name)
            wanted = json.loads(content or b"null")
            if self.command == "PATCH":
                base = scale_of(before) if place.sub == "scale" else before
                wanted = patched(base, wanted, self.headers.get("Content-Type", ""))
            if not isinstance(wanted, dict):
                raise kube.Failure(400, "BadRequest", "expected an object")
            if place.sub == "scale":
                before["spec"]["replicas"] = wanted["spec"].get("replicas", 0)
                return scale_of(store.replace(kind, namespace, name, before))
            return store.replace(kind, namespace, name, wanted, status_only=place.sub == "status")

    def wants_table(self) -> bool:
        return "as=Table" in self.headers.get("Accept", "")

    def listing(self, place: Place, query: dict[str, str]) -> None:
        store = self.cluster.store
        with store.changed:
            items = [
                item
                for item in store.list(place.kind.plural, place.namespace, labels(query.get("labelSelector")))
                if has_fields(item, query.get("fieldSelector"))
            ]
            now = str(store.version)
        if self.wants_table():
            return self.answer(200, tables.table(place.kind, items, now))
        self.answer(
            200,
            {
                "kind": place.kind.kind + "List",
                "apiVersion": place.kind.api_version,
                "metadata": {"resourceVersion": now},
                "items": items,
            },
        )

    def watch(self, place: Place, query: dict[str, str]) -> None:
        """Events as lines, until the time is over or the client leaves."""
        if query.get("sendInitialEvents"):
            raise kube.Failure(422, "Invalid", "sendInitialEvents is forbidden: list first, then watch")
        store, selector = self.cluster.store, labels(query.get("labelSelector"))
        seen = int(query.get("resourceVersion") or store.version)
        ends = time.monotonic() + min(float(query.get("timeoutSeconds") or WATCH_SECONDS), WATCH_SECONDS)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while time.monotonic() < ends:
                version = store.version
                for number, event, item in store.since(seen, place.kind.plural):
                    seen = number
                    if (
                        place.namespace in (None, item["metadata"].get("namespace"))
                        and kube.matches(item, selector)
                        and has_fields(item, query.get("fieldSelector"))
                    ):
                        self.chunk(json.dumps({"type": event, "object": item}) + "\n")
                store.wait(max(seen, version), min(1.0, max(ends - time.monotonic(), 0.0)))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has gone
            self.close_connection = True

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


class Place:
    """What a REST path names."""

    def __init__(self, kind: kube.Kind, namespace: str | None, name: str | None, sub: str | None) -> None:
        self.kind, self.namespace, self.name, self.sub = kind, namespace, name, sub

    @classmethod
    def parse(cls, path: str) -> Place:
        match = re.fullmatch(
            r"/(?:api/v1|apis/(?P<group>[^/]+)/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>\w+))?)?",
            path,
        )
        if match is None:  # the namespaces themselves, whose paths look like a namespace's
            match = re.fullmatch(r"/api/v1/(?P<plural>namespaces)(?:/(?P<name>[^/]+)(?:/(?P<sub>\w+))?)?", path)
        found = match.groupdict() if match else {}
        kind = kube.PLURALS.get((found.get("group") or "", found.get("plural") or ""))
        if kind is None:
            raise kube.Failure(
                404,
                "NotFound",
                f"the server could not find the requested resource ({path}); {NOTICE}, which has no such kind",
            )
        name = urllib.parse.unquote(found["name"]) if found.get("name") else None
        return cls(kind, found.get("namespace"), name, found.get("sub"))


def is_own_process(address: tuple[str, int]) -> bool:
    """Whether the other end of a loopback connection belongs to our own user, by the kernel's list of connections."""
    if address[0] != "127.0.0.1":
        return False
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    local = f"{number:08X}:{address[1]:04X}"  # as the kernel writes address and port
    with open("/proc/net/tcp", encoding="ascii") as file:
        return any(
            fields[1] == local and int(fields[7]) == os.getuid() for fields in map(str.split, file.readlines()[1:])
        )


def is_allowed(who: str, method: str, place: Place) -> bool:
    """Nodes read everything (the kubelet needs secrets), and change their own node, and pods' status."""
    if who == "admin" or method == "GET":
        return True
    if place.kind.plural == "nodes":
        return place.name in (None, who[len("node:") :]) and method != "DELETE"
    return (
        place.kind.plural == "pods" and (place.sub == "status" or method == "DELETE")
    ) or place.kind.plural == "events"


def status(code: int, reason: str, message: str) -> dict:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure" if code >= 400 else "Success",
        "message": message,
        "reason": reason,
        "code": code,
    }


def version(config: dict) -> dict:
    text = config.get("version", VERSION)
    major, minor = re.match(r"v(\d+)\.(\d+)", text).groups()  # type: ignore[union-attr]
    return {"major": major, "minor": minor, "gitVersion": text, "gitCommit": NOTICE, "platform": "linux/simulated"}


def read_object(content: bytes) -> dict:
    value = json.loads(content or b"{}")
    if not isinstance(value, dict):
        raise kube.Failure(400, "BadRequest", "expected an object")
    return value


def scale_of(item: dict) -> dict:
    selector = ",".join(f"{key}={value}" for key, value in item["spec"]["selector"]["matchLabels"].items())
    metadata = {
        name: item["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    state = {"replicas": item.get("status", {}).get("replicas", 0), "selector": selector}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": state,
    }


def patched(item: dict, patch: object, kind: str) -> dict:
    """A merge patch, a strategic one (lists of named things merge by name), or a JSON patch of add, replace, remove."""
    item = copy.deepcopy(item)
    if "json-patch" in kind:
        for step in patch:  # type: ignore[attr-defined]
            json_patch(item, step)
        return item
    return merged(item, patch, "strategic" in kind or "apply" in kind)  # type: ignore[return-value]


def merged(base: object, patch: object, strategic: bool) -> object:
    if (
        isinstance(base, list)
        and isinstance(patch, list)
        and strategic
        and all(isinstance(entry, dict) and "name" in entry for entry in [*base, *patch])
    ):
        by_name = {entry["name"]: entry for entry in base}
        for entry in patch:
            by_name[entry["name"]] = merged(by_name.get(entry["name"], {}), entry, strategic)
        return list(by_name.values())
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value, strategic)
    return result


def json_patch(item: dict, step: dict) -> None:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    target: object = item
    for part in parts[:-1]:
        target = target[int(part)] if isinstance(target, list) else target[part]  # type: ignore[index]
    last = parts[-1]
    if isinstance(target, list):
        place = len(target) if last == "-" else int(last)
        target[place : place + (step["op"] != "add")] = [] if step["op"] == "remove" else [step["value"]]
    elif step["op"] == "remove":
        del target[last]  # type: ignore[attr-defined]
    else:
        target[last] = step["value"]  # type: ignore[index]


def labels(text: str | None) -> dict | None:
    """`a=b,c!=d,e,!f,g in (h,i)` for `store.matches`."""
    wanted: dict = {}
    for part in re.findall(r"(?:[^,(]|\([^)]*\))+", text or ""):
        match = re.fullmatch(r"\s*(!?)([\w./-]+)\s*(?:(==?|!=)\s*([\w.-]*)|(in|notin)\s*\(([^)]*)\))?\s*", part)
        if match is None:
            raise kube.Failure(400, "BadRequest", f"unable to parse requirement: {part!r}")
        negated, name, sign, value, sets, values = match.groups()
        if sets:
            wanted[name] = (sets == "in", {entry.strip() for entry in values.split(",")})
        elif sign == "!=":
            wanted[name] = (False, {value})
        else:
            wanted[name] = value if sign else (False if negated else None)
    return wanted or None


def has_fields(item: dict, text: str | None) -> bool:
    for part in (text or "").split(","):
        name, sign, value = re.match(r"([^!=]*)(!?=?=?)(.*)", part).groups()  # type: ignore[union-attr]
        found: object = item
        for key in name.split(".") if name else []:
            found = found.get(key, "") if isinstance(found, dict) else ""
        if name and (found == value) == sign.startswith("!"):
            return False
    return True


def main() -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    cluster = Cluster(sys.argv[1])
    Handler.cluster = cluster
    server = serving.Server(("", cluster.config["port"]), Handler)
    threading.Thread(target=cluster.controllers.run, daemon=True).start()
    print(f"Kubernetes API server, {NOTICE}, on port {cluster.config['port']}", flush=True)
    try:
        server.serve_forever(poll_interval=5)
    finally:
        cluster.store.save()


if __name__ == "__main__":
    main()
