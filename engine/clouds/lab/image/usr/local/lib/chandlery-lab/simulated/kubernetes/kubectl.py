"""kubectl, simulated: the commands that packages' scripts use, against any server that speaks the Kubernetes API over
HTTP.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import re
import sys
import time
import urllib.parse

from simulated import NOTICE, system
from simulated.kubernetes import VERSION, jsonpath, manifests
from simulated.kubernetes import store as kube
from simulated.kubernetes.client import ApiError, Client, Unreachable

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
LOOK_SECONDS = 0.1


class Problem(Exception):
    """What is wrong with the command."""


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.command == "version":
            print(f"Client Version: {VERSION} ({NOTICE})")
            return 0
        config = system.read_json(kubeconfig(options))
        if config is None:
            raise Problem(
                f"The connection to the server was refused: there is no {kubeconfig(options)}; set KUBECONFIG"
            )
        return int(Kubectl(Client.of_config(config), options).run() or 0)
    except ApiError as error:
        print(f"Error from server ({error.reason}): {error}", file=sys.stderr)
    except (Problem, Unreachable, manifests.ManifestError, jsonpath.PathError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def kubeconfig(options: argparse.Namespace) -> str:
    if options.kubeconfig or os.environ.get("KUBECONFIG"):
        name = options.kubeconfig or os.environ["KUBECONFIG"]
        return name if name.startswith(system.ROOT) else system.path(name)
    home = os.path.expanduser("~/.kube/config")
    return home if os.path.exists(home) else system.path("/etc/kubernetes/admin.conf")


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--kubeconfig")
    common.add_argument("-n", "--namespace")
    common.add_argument("--request-timeout", help="accepted, without effect here")
    whole = argparse.ArgumentParser(prog="kubectl", description=f"kubectl, {NOTICE}", parents=[common])
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, *positions: str, selects: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[common], argument_default=argparse.SUPPRESS)
        for position in positions:
            made.add_argument(
                position.rstrip("*"),
                nargs="*" if position.endswith("*") else None,
                default=[] if position.endswith("*") else None,
            )
        if selects:
            made.add_argument("-l", "--selector", default=None)
            made.add_argument("-A", "--all-namespaces", action="store_true", default=False)
            made.add_argument("--all", action="store_true", default=False)
        return made

    made = command("get", "names*", selects=True)
    made.add_argument("-o", "--output", default="")
    made.add_argument("--raw", default=None)
    made.add_argument("--field-selector", default=None)
    for name in ("--ignore-not-found", "--no-headers", "--show-labels"):
        made.add_argument(name, action="store_true", default=False)
    for name in ("apply", "create", "replace"):
        made = command(name, "names*")
        made.add_argument("-f", "--filename", action="append", default=None)
        made.add_argument("--dry-run", default=None)
        made.add_argument("-o", "--output", default="")
        made.add_argument("--validate", default=None)
        made.add_argument("--server-side", action="store_true", default=False)
        made.add_argument("--force", action="store_true", default=False)
    made = command("delete", "names*", selects=True)
    made.add_argument("-f", "--filename", action="append", default=None)
    made.add_argument("--wait", nargs="?", const="true", default="true")
    made.add_argument("--timeout", default="0s")
    made.add_argument("--grace-period", type=int, default=None)
    for name in ("--ignore-not-found", "--force", "--now"):
        made.add_argument(name, nargs="?", const="true", default="false")
    made = command("wait", "names*", selects=True)
    made.add_argument("--for", dest="condition", required=True)
    made.add_argument("--timeout", default="30s")
    made = command("rollout", "action", "names*")
    made.add_argument("--timeout", default="0s")
    made.add_argument("-w", "--watch", nargs="?", const="true", default="true")
    made = command("scale", "names*")
    made.add_argument("--replicas", type=int, required=True)
    made.add_argument("--timeout", default="0s")
    for name in ("label", "annotate", "taint"):
        made = command(name, "names*", selects=True)
        made.add_argument("--overwrite", nargs="?", const="true", default="false")
    made = command("drain", "names*")
    for name in (
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--delete-local-data",
        "--force",
        "--disable-eviction",
    ):
        made.add_argument(name, nargs="?", const="true", default="false")
    made.add_argument("--timeout", default="0s")
    made.add_argument("--grace-period", type=int, default=None)
    for name in ("cordon", "uncordon"):
        command(name, "names*")
    made = command("patch", "names*")
    made.add_argument("-p", "--patch", required=True)
    made.add_argument("--type", default="strategic", choices=("strategic", "merge", "json"))
    made = command("version")
    made.add_argument("--client", nargs="?", const="true", default="false")
    command("cluster-info")
    return whole


class Kubectl:
    """One command."""

    def __init__(self, client: Client, options: argparse.Namespace) -> None:
        self.client, self.options = client, options
        self.namespace = getattr(options, "namespace", None) or "default"

    def run(self) -> int | None:
        commands = {
            "get": self.get,
            "apply": self.apply,
            "create": self.create,
            "replace": self.apply,
            "delete": self.delete,
            "wait": self.wait,
            "rollout": self.rollout,
            "scale": self.scale,
            "label": lambda: self.mark("labels"),
            "annotate": lambda: self.mark("annotations"),
            "taint": self.taint,
            "drain": self.drain,
            "cordon": lambda: self.cordon(True),
            "uncordon": lambda: self.cordon(False),
            "patch": self.patch,
            "cluster-info": lambda: print(f"Kubernetes control plane is running at {self.client.server} ({NOTICE})"),
        }
        return commands[self.options.command]()

    # ---- reading

    def get(self) -> int | None:
        if self.options.raw:
            status, text = self.client.raw("GET", self.options.raw)
            if status >= 400:
                raise Problem(text.strip())
            print(text, end="" if text.endswith("\n") else "\n")
            return 0
        output, _equals, template = self.options.output.partition("=")
        if output not in ("", "wide", "json", "yaml", "name", "jsonpath"):
            raise Problem(f"no printer for the output format {output!r}: json, yaml, name, wide, jsonpath are there")
        kinds, names = self.split(self.options.names)
        if output in ("", "wide"):
            return self.print_tables(kinds, names, output == "wide")
        items, single = self.read(kinds, names)
        if output == "name":
            for item in items:
                print(reference(item))
        elif output == "jsonpath":
            sys.stdout.write(jsonpath.render(template, items[0] if single else listed(items)))
        elif items or not single:  # JSON is YAML
            print(json.dumps(items[0] if single else listed(items), indent=4))
        return 0

    def read(self, kinds: list[kube.Kind], names: list[str]) -> tuple[list[dict], bool]:
        """The objects, and whether a single one was asked for by its name."""
        if not names:
            return [item for kind in kinds for item in self.listing(kind)["items"]], False
        found = []
        for name in names:
            try:
                found.append(self.client.get(self.path(kinds[0], name)))
            except ApiError as error:
                if error.status != 404 or not getattr(self.options, "ignore_not_found", False):
                    raise
        return found, len(names) == 1

    def listing(self, kind: kube.Kind, accept: str = "application/json") -> dict:
        query = {
            "labelSelector": getattr(self.options, "selector", None),
            "fieldSelector": getattr(self.options, "field_selector", None),
        }
        text = urllib.parse.urlencode({name: value for name, value in query.items() if value})
        return self.client.call("GET", self.path(kind) + ("?" + text if text else ""), accept=accept)

    def print_tables(self, kinds: list[kube.Kind], names: list[str], wide: bool) -> int:
        accept = "application/json;as=Table;g=meta.k8s.io;v=v1"
        for kind in kinds:
            if names:
                self.read(kinds, names)  # one that is missing is an error
            table = self.listing(kind, accept)
            shown = [
                number for number, column in enumerate(table["columnDefinitions"]) if wide or column["priority"] == 0
            ]
            rows = [
                [str(row["cells"][number]) for number in shown]
                for row in table["rows"]
                if not names or row["object"]["metadata"]["name"] in names
            ]
            if self.options.show_labels:
                objects = [
                    row["object"]["metadata"]
                    for row in table["rows"]
                    if not names or row["object"]["metadata"]["name"] in names
                ]
                rows = [
                    [*row, ",".join(f"{key}={value}" for key, value in metadata.get("labels", {}).items())]
                    for row, metadata in zip(rows, objects, strict=True)
                ]
            if not rows:
                if not names:
                    print(
                        f"No resources found in {self.namespace} namespace."
                        if kind.namespaced
                        else "No resources found",
                        file=sys.stderr,
                    )
                continue
            heads = [table["columnDefinitions"][number]["name"].upper() for number in shown] + (
                ["LABELS"] if self.options.show_labels else []
            )
            lines = rows if self.options.no_headers else [heads, *rows]
            widths = [max(len(line[number]) for line in lines) for number in range(len(lines[0]))]
            for line in lines:
                print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return 0

    # ---- writing

    def manifests(self) -> list[dict]:
        found: list[dict] = []
        for name in self.options.filename or []:
            if name == "-":
                found += manifests.objects(sys.stdin.read(), "standard input")
                continue
            with open(name, encoding="utf-8") as file:
                found += manifests.objects(file.read(), name)
        if not found:
            raise Problem("no objects passed to " + self.options.command)
        return found

    def apply(self) -> None:
        for item in self.manifests():
            kind, path = self.place(item)
            wanted = copy.deepcopy(item)
            wanted.setdefault("metadata", {}).setdefault("annotations", {})[APPLIED] = json.dumps(
                item, separators=(",", ":"), sort_keys=True
            )
            print(f"{reference({**item, 'kind': kind.kind})} {self.put(kind, path, item, wanted)}")

    def put(self, kind: kube.Kind, path: str, item: dict, wanted: dict) -> str:
        for _attempt in range(5):
            try:
                live = self.client.get(f"{path}/{item['metadata']['name']}")
            except ApiError as error:
                if error.status != 404:
                    raise
                self.client.call("POST", path, wanted)
                return "created"
            before = json.loads(live["metadata"].get("annotations", {}).get(APPLIED, "{}"))
            merged = three_way(before, wanted, live)
            if kind.plural == "secrets" and "stringData" in item:
                merged["stringData"] = item["stringData"]
            if merged == live:
                return "unchanged"
            try:
                after = self.client.call("PUT", f"{path}/{item['metadata']['name']}", merged)
            except ApiError as error:
                if error.reason != "Conflict":
                    raise
                continue
            return (
                "unchanged"
                if after["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
                else "configured"
            )
        raise Problem(f"{item['metadata']['name']} is changed by others all the time")

    def create(self) -> None:
        names = self.options.names
        if names:
            if names[0] not in ("namespace", "ns") or len(names) != 2:
                raise Problem("create takes -f FILE, or 'namespace NAME'")
            items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names[1]}}]
        else:
            items = self.manifests()
        for item in items:
            _kind, path = self.place(item)
            print(reference(self.client.call("POST", path, item)), "created")

    def delete(self) -> None:
        if self.options.filename:
            targets = [
                (self.place(item)[1] + "/" + item["metadata"]["name"], reference(item)) for item in self.manifests()
            ]
        else:
            kinds, names = self.split(self.options.names)
            if not names and not self.options.selector and not self.options.all:
                raise Problem("resource(s) were provided, but no name was specified")
            items = [
                {
                    "kind": kinds[0].kind,
                    "apiVersion": kinds[0].api_version,
                    "metadata": {"name": name, "namespace": self.namespace},
                }
                for name in names
            ]
            if not names:
                items = [item for kind in kinds for item in self.listing(kind)["items"]]
            targets = [(self.place(item)[1] + "/" + item["metadata"]["name"], reference(item)) for item in items]
        gone = []
        now = self.options.force == "true" or self.options.grace_period == 0
        for path, shown in targets:
            try:
                before = self.client.call("DELETE", path + ("?gracePeriodSeconds=0" if now else ""))
            except ApiError as error:
                if error.status == 404 and self.options.ignore_not_found == "true":
                    continue
                raise
            kind, _slash, name = shown.partition("/")
            print(f'{kind} "{name}" deleted')
            gone.append((path, before["metadata"]["uid"]))
        if self.options.wait == "true":
            self.until(
                lambda: not any(self.exists(*target) for target in gone),
                seconds(self.options.timeout) or 60,
                "the deletion",
            )

    def exists(self, path: str, uid: str) -> bool:
        try:
            return self.client.get(path)["metadata"]["uid"] == uid
        except ApiError as error:
            if error.status == 404:
                return False
            raise

    def wait(self) -> None:
        """`--for=condition=Ready[=True]`, `--for=delete`, `--for=jsonpath={...}=value`."""
        what, _equals, detail = self.options.condition.partition("=")
        kinds, names = self.split(self.options.names)
        limit = seconds(self.options.timeout)
        items = self.read(kinds, names)[0] if what != "delete" else []
        if what == "delete":
            uids = [(self.path(kinds[0], name), "") for name in names]
            self.until(
                lambda: not any(self.is_there(path) for path, _uid in uids),
                limit,
                "the deletion of " + ", ".join(names),
            )
            return
        if not items:
            raise Problem("no matching resources found")
        for item in items:
            path = self.place(item)[1] + "/" + item["metadata"]["name"]
            met = functools.partial(self.is_met_now, path, what, detail)
            self.until(met, limit, f"the condition on {reference(item)}")
            print(reference(item), "condition met")

    def is_met_now(self, path: str, what: str, detail: str) -> bool:
        return is_met(self.client.get(path), what, detail)

    def is_there(self, path: str) -> bool:
        try:
            self.client.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def rollout(self) -> None:
        kinds, names = self.split(self.options.names)
        if kinds[0].plural != "deployments" or not names:
            raise Problem("rollout is simulated for deployments, by name")
        path = self.path(kinds[0], names[0])
        if self.options.action == "restart":
            stamp = {"kubectl.kubernetes.io/restartedAt": f"{kube.now()}-{time.monotonic_ns()}"}
            change = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
            self.client.call("PATCH", path, change, "application/merge-patch+json")
            print(f"deployment.apps/{names[0]} restarted")
            return
        if self.options.action != "status":
            raise Problem(f"rollout {self.options.action} is not simulated; status and restart are")
        said = ""

        def done() -> bool:
            nonlocal said
            item = self.client.get(path)
            state, wanted = item.get("status", {}), item["spec"]["replicas"]
            updated, available = state.get("updatedReplicas", 0), state.get("availableReplicas", 0)
            text = f"{updated} out of {wanted} new replicas have been updated, {available} available..."
            text = f"Waiting for deployment {names[0]!r} rollout to finish: {text}"
            current = state.get("observedGeneration") == item["metadata"]["generation"]
            if current and state["updatedReplicas"] == wanted == state["replicas"] == state["availableReplicas"]:
                return True
            if text != said:
                print(text, flush=True)
                said = text
            return False

        if self.options.watch == "false":
            if done():
                print(f'deployment "{names[0]}" successfully rolled out')
            return
        self.until(done, seconds(self.options.timeout), f"deployment {names[0]!r}", "exceeded its progress deadline")
        print(f'deployment "{names[0]}" successfully rolled out')

    def until(self, done: object, limit: float, what: str, why: str = "timed out waiting") -> None:
        deadline = time.monotonic() + (limit or 3600)
        while not done():  # type: ignore[operator]
            if time.monotonic() > deadline:
                raise Problem(f"timed out waiting for {what}")
            time.sleep(LOOK_SECONDS)

    def scale(self) -> None:
        kinds, names = self.split(self.options.names)
        for name in names:
            self.client.call(
                "PATCH",
                self.path(kinds[0], name) + "/scale",
                {"spec": {"replicas": self.options.replicas}},
                "application/merge-patch+json",
            )
            print(f"{kinds[0].kind.lower()}.{kinds[0].group}/{name} scaled")

    def mark(self, what: str) -> None:
        """Labels or annotations: `name=value` sets, `name-` removes."""
        changes = [
            text
            for text in self.options.names
            if re.search(r"=|-$", text) and "/" not in text.partition("=")[0].split("/")[0] and is_change(text)
        ]
        kinds, names = self.split([text for text in self.options.names if text not in changes])
        if not changes:
            raise Problem(f"at least one {what[:-1]} update is required")
        for item in self.read(kinds, names)[0]:
            path = self.place(item)[1] + "/" + item["metadata"]["name"]
            present = item["metadata"].get(what) or {}
            patch: dict[str, str | None] = {}
            for text in changes:
                name, sign, value = text.partition("=")
                if sign and present.get(name, value) != value and self.options.overwrite != "true":
                    raise Problem(f"'{name}' already has a value ({present[name]}), and --overwrite is false")
                patch[name if sign else name.rstrip("-")] = value if sign else None
            self.client.call("PATCH", path, {"metadata": {what: patch}}, "application/merge-patch+json")
            print(
                f"{reference(item)} {what[:-1]}{'led' if what == 'labels' else 'd'}".replace(
                    "annotationd", "annotated"
                ).replace("labelled", "labeled")
            )

    def taint(self) -> None:
        changes = [
            text
            for text in self.options.names
            if re.fullmatch(r"[^=:]+(=[^:]*)?(:(NoSchedule|NoExecute|PreferNoSchedule))?-?", text)
            and (":" in text or text.endswith("-"))
        ]
        kinds, names = self.split([text for text in self.options.names if text not in changes])
        for item in self.read(kinds, names)[0]:
            taints = item["spec"].get("taints", [])
            for text in changes:
                key, _equals, value = text.rstrip("-").partition(":")[0].partition("=")
                effect = text.rstrip("-").partition(":")[2]
                same = [taint for taint in taints if taint["key"] == key and effect in ("", taint["effect"])]
                if text.endswith("-"):
                    if not same:
                        raise Problem(f"taint {text.rstrip('-')!r} not found")
                elif same and same[0].get("value", "") != value and self.options.overwrite != "true":
                    raise Problem(
                        f"node {item['metadata']['name']} already has {key} taint(s) and --overwrite is false"
                    )
                taints = [taint for taint in taints if taint not in same]
                if not text.endswith("-"):
                    taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
            self.client.call(
                "PATCH",
                self.path(kinds[0], item["metadata"]["name"]),
                {"spec": {"taints": taints}},
                "application/merge-patch+json",
            )
            print(f"{reference(item)} tainted")

    def drain(self) -> None:
        self.cordon(True)
        for name in self.nodes():
            items = self.client.get("/api/v1/pods", fieldSelector=f"spec.nodeName={name}")["items"]
            loose = [item["metadata"]["name"] for item in items if not item["metadata"].get("ownerReferences")]
            if loose and self.options.force != "true":
                raise Problem(
                    f"cannot delete pods declaring no controller (use --force to override): {', '.join(loose)}"
                )
            for item in items:
                metadata = item["metadata"]
                print(f"evicting pod {metadata['namespace']}/{metadata['name']}", flush=True)
                try:
                    self.client.call(
                        "POST", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction", {}
                    )
                except ApiError as error:
                    if error.status != 404:  # it is gone already
                        raise
            gone = lambda: not self.client.get("/api/v1/pods", fieldSelector=f"spec.nodeName={name}")["items"]  # noqa: B023, E731
            self.until(gone, seconds(self.options.timeout), f"node {name} to be drained")
            print(f"node/{name} drained")

    def cordon(self, on: bool) -> None:
        for name in self.nodes():
            self.client.call(
                "PATCH",
                f"/api/v1/nodes/{name}",
                {"spec": {"unschedulable": on or None}},
                "application/merge-patch+json",
            )
            print(f"node/{name} {'cordoned' if on else 'uncordoned'}")

    def nodes(self) -> list[str]:
        if not self.options.names:
            raise Problem("the name of a node is needed")
        return [name.removeprefix("node/").removeprefix("nodes/") for name in self.options.names]

    def patch(self) -> None:
        kinds, names = self.split(self.options.names)
        patch = manifests.documents(self.options.patch, "--patch")[0]
        kind = {"json": "application/json-patch+json", "merge": "application/merge-patch+json"}.get(
            self.options.type, "application/strategic-merge-patch+json"
        )
        for name in names:
            print(reference(self.client.call("PATCH", self.path(kinds[0], name), patch, kind)), "patched")

    # ---- names

    def split(self, words: list[str]) -> tuple[list[kube.Kind], list[str]]:
        """`pods`, `pods,services`, `pod NAME...`, `pod/NAME...`."""
        if not words:
            raise Problem("you must specify the type of resource, as in 'kubectl get pods'")
        if "/" in words[0]:
            pairs = [word.split("/", 1) for word in words]
            if any(len(pair) != 2 or pair[0] != pairs[0][0] for pair in pairs):
                raise Problem("names of the form TYPE/NAME must be of one type here")
            return [kind_of(pairs[0][0])], [pair[1] for pair in pairs]
        if words[0] == "all":
            return [kind_of(name) for name in ("pods", "services", "deployments", "replicasets")], words[1:]
        return [kind_of(name) for name in words[0].split(",")], words[1:]

    def path(self, kind: kube.Kind, name: str | None = None) -> str:
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else "/api/v1"
        everywhere = getattr(self.options, "all_namespaces", False) and name is None
        space = f"/namespaces/{self.namespace}" if kind.namespaced and not everywhere else ""
        return f"{root}{space}/{kind.plural}" + (f"/{urllib.parse.quote(name)}" if name else "")

    def place(self, item: dict) -> tuple[kube.Kind, str]:
        """Kind and collection of an object."""
        group = item["apiVersion"].rpartition("/")[0]
        kind = next((kind for kind in kube.KINDS if kind.kind == item["kind"] and kind.group == group), None)
        if kind is None:
            raise Problem(
                f'no matches for kind "{item["kind"]}" in version "{item["apiVersion"]}": {NOTICE}, which has '
                + ", ".join(kind.kind for kind in kube.KINDS)
            )
        if not isinstance(item.get("metadata"), dict) or not item["metadata"].get("name"):
            raise Problem(f"{kind.kind}: metadata.name is missing")
        space = f"/namespaces/{item['metadata'].get('namespace') or self.namespace}" if kind.namespaced else ""
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else "/api/v1"
        return kind, f"{root}{space}/{kind.plural}"


def kind_of(word: str) -> kube.Kind:
    word = word.lower().partition(".")[0]
    for kind in kube.KINDS:
        if word in (kind.plural, kind.kind.lower(), *kind.short):
            return kind
    raise Problem(f'the server doesn\'t have a resource type "{word}" ({NOTICE})')


def is_change(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9][\w./-]*(=[^\s]*|-)", text))


def reference(item: dict) -> str:
    group = item["apiVersion"].rpartition("/")[0]
    return f"{item['kind'].lower()}{'.' + group if group else ''}/{item['metadata']['name']}"


def listed(items: list[dict]) -> dict:
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


def three_way(before: object, wanted: object, live: object) -> dict:
    """`live` with what `wanted` says, without what only `before` said; lists are as wanted."""
    result = dict(live) if isinstance(live, dict) else {}
    assert isinstance(wanted, dict)
    for key in before if isinstance(before, dict) else ():
        if key not in wanted and key not in ("metadata", "status"):
            result.pop(key, None)
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = three_way(before.get(key) if isinstance(before, dict) else None, value, result[key])
        else:
            result[key] = value
    return result


def is_met(item: dict, what: str, detail: str) -> bool:
    if what == "condition":
        name, _equals, status = detail.partition("=")
        conditions = item.get("status", {}).get("conditions", [])
        return any(
            entry["type"].lower() == name.lower() and entry["status"].lower() == (status or "true").lower()
            for entry in conditions
        )
    if what == "jsonpath":
        template, _equals, value = detail.rpartition("=") if "=" in detail.rpartition("}")[2] else (detail, "", "")
        found = jsonpath.render(template.strip("'\""), item)
        return found == value if value else bool(found)
    raise Problem(f"--for={what}: condition=..., delete and jsonpath=... are simulated")


def seconds(text: str) -> float:
    if re.fullmatch(r"\d+", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
    if "".join(number + unit for number, unit in parts) != text.lstrip("-"):
        raise Problem(f"--timeout {text!r}: expected a duration like 300s or 5m")
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts)


if __name__ == "__main__":
    sys.exit(main())
