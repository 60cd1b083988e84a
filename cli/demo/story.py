"""The ten steps of the demonstration, from an empty catalog to a healed container.

Everything a client could do is done through the public REST API; only the server room (killing the service, killing a
container in a server) is entered by the back door, since that is what is shown there.
"""

from __future__ import annotations

import copy
import json
import pathlib
import secrets
from typing import Any

import packages as library
from catalog.repositories import build as repository_builder
from cli import client, compositions, errors, output
from cli.call import Call
from cli.commands import action, deployment, repository
from cli.demo import narration, process, proof
from engine.clouds import lab

GRAFANA = "org.chandlery.Grafana"
INFLUXDB = "org.chandlery.InfluxDB"
PASSWORDS = ("grafana_password", "influxdb_password", "influxdb_admin_password")
CATEGORY = "Monitoring"
ENVIRONMENT = "monitoring"
# The service is killed when this many reports of the deployment have been told: servers are booting then.
REPORTS_BEFORE_THE_CRASH = 4


class Story:
    """Tells and does the steps, in order."""

    def __init__(self, call: Call, narrator: narration.Narrator, service: process.ServiceProcess) -> None:
        self._call = call
        self._narrator = narrator
        self._service = service
        self._client: client.Client | None = None
        self._environment_id = ""
        self._lab = lab.LabOrchestration(service.data / "lab")
        self._forwarded: set[str] = set()
        self._composition = compositions.read(
            library.example("grafana-on-kubernetes"), [f"{name}={secrets.token_urlsafe(12)}" for name in PASSWORDS]
        )

    def build_repository(self, destination: pathlib.Path) -> None:
        """Step 1."""
        with self._narrator.step("Build a community repository from package sources"):
            entries = repository_builder.build(
                repository.package_folders([library.folder()]),
                destination,
                bundles=repository.bundles([library.folder()]),
            )
            self._narrator.fact(f"{len(entries)} packages, static files in {destination}:")
            for path in sorted(path for path in destination.rglob("*") if path.is_file()):
                self._narrator.fact(f"  {path.relative_to(destination)}  {path.stat().st_size:,} bytes", "dim")

    def start_service(self) -> None:
        """Step 2."""
        with self._narrator.step("Start the service: API, worker, dashboard and lab cloud in one process"):
            seconds = self._service.start()
            self._narrator.fact(f"{self._service.url} healthy after {seconds:.1f} s, {self._memory()}")
            self._client = client.Client(
                client.Credentials.from_file(self._service.data / client.CREDENTIALS_FILE, account="admin")
            )

    def search(self) -> None:
        """Step 3."""
        with self._narrator.step('Search the repository for "grafana"'):
            found = self._api("GET", "/catalog/repositories/search", query={"query": "grafana"})["packages"]
            hit = next((item for item in found if item["fqn"] == GRAFANA), None)
            if hit is None:
                raise narration.StepFailed(f"{GRAFANA} is not among the {len(found)} packages found")
            self._narrator.fact(f"{hit['name']} {hit['version']} by {hit['author']}: {hit['description'].strip()}")
            needs = ", ".join(f"{name} {spec}".strip() for name, spec in hit["require"].items())
            self._narrator.fact(f"depends on {needs}")

    def import_by_name(self) -> None:
        """Step 4."""
        with self._narrator.step(f"Import {GRAFANA} by name, with everything it requires, into {CATEGORY}"):
            categories = self._api("GET", "/catalog/categories")["categories"]
            if CATEGORY not in [category["name"] for category in categories]:
                self._api("POST", "/catalog/categories", body={"name": CATEGORY})
            body = {"name": GRAFANA, "categories": [CATEGORY], "is_public": True, "exists_action": "s"}
            preview = self._api("POST", "/catalog/imports", body={**body, "preview": True})["packages"]
            self._narrator.fact(f"{len(preview)} packages are needed; they are stored in one transaction:")
            for item in self._api("POST", "/catalog/imports", body=body)["packages"]:
                self._narrator.fact(f"  {item['action']:8} {item['fqn']} {item['version']}")

    def compose(self) -> None:
        """Step 5."""
        with self._narrator.step("Create an environment and compose it"):
            self._become_tenant()
            for item in self._api("GET", "/environments")["environments"]:
                if item["name"] == ENVIRONMENT:
                    raise narration.StepFailed(f"an environment {ENVIRONMENT!r} is left over")
            created = self._api("POST", "/environments", body={"name": ENVIRONMENT})
            self._environment_id = created["id"]
            self._narrator.fact(f"environment {ENVIRONMENT} ({created['id']})")
            session = self._open_session(self._composition)
            graph = self._api("GET", f"/environments/{created['id']}/topology", session=session)
            self._narrator.show(output.topology_tree(graph, "composed"))

    def refuse_what_lacks(self) -> None:
        """Step 6."""
        with self._narrator.step("Try it with InfluxDB left out: the check refuses, nothing is created"):
            session = self._open_session(without(self._composition, INFLUXDB))
            answer = self._api("POST", f"/environments/{self._environment_id}/check", session=session)
            problems = answer["problems"]
            for problem in problems:
                self._narrator.fact(f"{problem['object_id']}.{problem['path']}: {problem['message']}", "yellow")
                self._narrator.fact(
                    f"  expected {problem['expected']}, found {problem['found']}. {problem['fix']}", "dim"
                )
            self._narrator.hold(
                any("influxdb" in problem["path"].lower() for problem in problems),
                "the check names the field that lacks its InfluxDB",
            )
            self._narrator.hold(not self._deployments(), "nothing was deployed")
            whole = self._open_session(self._composition)
            answer = self._api("POST", f"/environments/{self._environment_id}/check", session=whole)
            self._narrator.hold(not answer["problems"], "with InfluxDB, nothing is missing")

    def plan(self) -> None:
        """Step 7."""
        with self._narrator.step("Ask for the plan: what a deployment would create and run"):
            session = self._open_session(self._composition)
            answer = self._api("POST", f"/environments/{self._environment_id}/plan", session=session)
            counts: dict[str, int] = {}
            for step in answer["steps"]:
                counts[step["kind"]] = counts.get(step["kind"], 0) + 1
            told = ", ".join(f"{count} × {kind}" for kind, count in counts.items())
            self._narrator.fact(f"{told}; plan {answer['hash'][:12]}")
            for step in [step for step in answer["steps"] if step["kind"] == "create"][:6]:
                self._narrator.fact(f"  + {step['summary']}", "dim")
            self._narrator.fact("  … (chandlery plan shows all)", "dim")

    def deploy(self) -> None:
        """Step 8."""
        with self._narrator.step("Deploy, and kill the service with SIGKILL in the middle of it"):
            session = self._open_session(self._composition)
            self._api("POST", f"/environments/{self._environment_id}/sessions/{session}/deploy")
            outcome = self._follow(self._deployments()[0]["id"], crash=True)
            self._expect_success(outcome)
            graph = self._api("GET", f"/environments/{self._environment_id}/topology")
            self._narrator.show(output.topology_tree(graph, ENVIRONMENT))
            self._narrator.fact(
                "Servers are sandboxes on this machine; podman, kubeadm, kubectl, the Kubernetes API and", "dim"
            )
            self._narrator.fact(
                "the images are simulated stand-ins. The packages and their scripts are the real ones.", "dim"
            )

    def prove(self) -> None:
        """Step 9."""
        with self._narrator.step("Prove the endpoints by HTTP"):
            grafana, influxdb = self._url(GRAFANA), self._url(INFLUXDB)
            user, password = self._grafana_account()
            for answer in (
                proof.eventually(lambda: proof.get(f"{influxdb}/ping", expect=204)),
                proof.eventually(lambda: proof.get(f"{grafana}/api/health", contains='"database"')),
                proof.get(f"{grafana}/api/datasources", expect=401),
                proof.eventually(
                    lambda: proof.get(f"{grafana}/api/datasources", contains='"influxdb"', auth=(user, password))
                ),
            ):
                self._narrator.fact(f"{answer.request} → {answer.status} {answer.excerpt}".rstrip())
                if not answer.good:
                    raise narration.StepFailed(f"{answer.request} did not answer as it should")

    def scale_and_heal(self) -> None:
        """Step 10."""
        with self._narrator.step("Scale the pod up by an action; kill a container and see it come back"):
            before = len(self._pods())
            call_id = next(item["id"] for item in self._actions() if item["name"] == "scalePodUp")
            task = self._api("POST", f"/environments/{self._environment_id}/actions/{call_id}", body={})["task_id"]
            self._expect_success(self._follow(task))
            grown = proof.until(lambda: len(self._pods()) == before + 1)
            self._narrator.hold(grown, f"{before + 1} pods run where there were {before}")
            pods = self._pods()
            for pod in pods:
                self._narrator.fact(f"  {pod['metadata']['name']} on {pod['spec']['nodeName']}", "dim")
            self._kill_a_container(pods[0])

    def _kill_a_container(self, pod: dict[str, Any]) -> None:
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        restarts = _restarts(pod)
        self._execute(node, "sh", "-c", "pkill -9 -f '[i]nfluxdb' || pkill -9 -f '[i]nfluxd'")
        self._narrator.fact(f"killed InfluxDB's process of {name} on {node}")
        healed = proof.until(
            lambda: next(
                (
                    found
                    for found in self._pods()
                    if found["metadata"]["name"] == name and _restarts(found) > restarts and _ready(found)
                ),
                None,
            )
        )
        self._narrator.hold(healed, f"the container is back, restarted {_restarts(healed or {})} times, and ready")
        answer = proof.eventually(lambda: proof.get(f"{self._url(INFLUXDB)}/ping", expect=204))
        self._narrator.hold(answer.good, f"{answer.request} → {answer.status}")

    def tear_down(self) -> None:
        """The last step of ``--exit``."""
        with self._narrator.step("Delete the environment, and see that nothing is left"):
            self._api("DELETE", f"/environments/{self._environment_id}")
            ended = proof.until(lambda: self._status() not in ("deleting", "ready"), patience=60)
            self._narrator.hold(ended and self._status() == "gone", "the environment is gone")
            self._narrator.hold(not self._lab.servers(), "no server is left in the lab")

    # What the steps are made of.

    def _api(self, method: str, path: str, **arguments: Any) -> Any:
        assert self._client is not None
        return self._client.request(method, path, **arguments)

    def _become_tenant(self) -> None:
        self._client = client.Client(client.Credentials.from_file(self._service.data / client.CREDENTIALS_FILE))
        self._narrator.fact("from here on as a tenant: user demo in project demo")

    def _open_session(self, composition: list[Any]) -> str:
        path = f"/environments/{self._environment_id}"
        session = str(self._api("POST", f"{path}/configure")["id"])
        self._api("PUT", f"{path}/services", body=composition, session=session)
        return session

    def _status(self) -> str:
        found = {item["id"]: item["status"] for item in self._api("GET", "/environments")["environments"]}
        return found.get(self._environment_id, "gone")

    def _deployments(self) -> list[dict[str, Any]]:
        return list(self._api("GET", f"/environments/{self._environment_id}/deployments")["deployments"])

    def _follow(self, deployment_id: str, *, crash: bool = False) -> dict[str, Any]:
        assert self._client is not None
        told = 0
        path = f"/environments/{self._environment_id}/deployments/{deployment_id}/events"
        for event, data in self._client.events(path):
            if event == "finished":
                return dict(data)
            if event == "waiting":
                continue
            told += 1
            self._narrator.fact(f"{data['created'][11:19]}  {data['text']}", deployment.STYLES.get(data["level"], ""))
            if crash and told == REPORTS_BEFORE_THE_CRASH:
                self._service.kill()
                self._narrator.fact("── the service is killed (SIGKILL), and started again ──", "bold yellow")
                seconds = self._service.start()
                self._narrator.fact(
                    f"── healthy after {seconds:.1f} s; the deployment goes on by its journal ──", "bold yellow"
                )
        raise narration.StepFailed("the stream of reports ended before the deployment did")

    def _expect_success(self, outcome: dict[str, Any]) -> None:
        result = outcome.get("result") or {}
        if outcome["state"] not in ("success", "completed_w_warnings") or result.get("isException"):
            reason = (result.get("result") or {}).get("message", outcome["state"])
            raise narration.StepFailed(f"the deployment failed: {reason}")

    def _services(self) -> list[dict[str, Any]]:
        return list(self._api("GET", f"/environments/{self._environment_id}/services"))

    def _application(self, class_name: str) -> dict[str, Any]:
        return next(item for item in self._services() if item["?"]["type"].partition("/")[0] == class_name)

    def _url(self, class_name: str) -> str:
        endpoints = self._application(class_name)["endpoints"]
        public = next((item for item in endpoints if item["scope"] == "public"), None)
        if public is None:
            raise narration.StepFailed(f"{class_name} has no public endpoint, only {endpoints}")
        told = str(public["url"]).rstrip("/")
        reachable = self._lab.reachable(told)
        if reachable != told and told not in self._forwarded:
            self._forwarded.add(told)
            self._narrator.fact(f"{told} is forwarded to {reachable}: without root the lab's network is closed", "dim")
        return reachable

    def _grafana_account(self) -> tuple[str, str]:
        asked = next(item for item in self._composition if item["?"]["type"] == GRAFANA)
        return asked.get("adminUser", "admin"), asked["adminPassword"]

    def _actions(self) -> list[dict[str, Any]]:
        return list(action.available_in(self._services()))

    def _master(self) -> str:
        cluster = next(item for item in self._services() if "master" in item)
        return str(cluster["master"]["instance"]["name"])

    def _pods(self) -> list[dict[str, Any]]:
        answer = self._execute(self._master(), "kubectl", "get", "pods", "-o", "json")
        return [pod for pod in json.loads(answer)["items"] if pod["status"].get("phase") == "Running"]

    def _execute(self, server: str, *argv: str) -> str:
        finished = self._lab.exec(server, list(argv))
        if finished.returncode != 0:
            raise narration.StepFailed(f"{' '.join(argv)} on {server}: {finished.stderr.strip()}")
        return str(finished.stdout)

    def _memory(self) -> str:
        return f"{self._service.memory_mib():.0f} MiB resident"


def without(composition: list[Any], class_name: str) -> list[Any]:
    """The composition without the applications of a class, and without the references to them."""
    left_out = {item["?"]["id"] for item in composition if item["?"]["type"] == class_name}
    if not left_out:
        raise errors.CommandError(f"The composition has no {class_name} that could be left out.")
    rest = [copy.deepcopy(item) for item in composition if item["?"]["id"] not in left_out]
    for item in rest:
        for key in [key for key, value in item.items() if isinstance(value, str) and value in left_out]:
            del item[key]
    return rest


def _restarts(pod: dict[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod.get("status", {}).get("containerStatuses", ()))


def _ready(pod: dict[str, Any]) -> bool:
    statuses = pod["status"].get("containerStatuses", ())
    return bool(statuses) and all(status["ready"] for status in statuses)
