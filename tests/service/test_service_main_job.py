"""The main job through the command line, on a service of its own: what ``make demo`` tells, and what it leaves out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
import requests
import service_process

import packages
from catalog.repositories import build
from cli import errors, exclusive
from cli.commands import repository
from engine.clouds import lab

PASSWORDS = ("grafana_password", "influxdb_password", "influxdb_admin_password")


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installation")
    build.build(repository.package_folders([packages.folder()]), folder / "repository")
    with service_process.installed(folder / "service", folder / "repository") as running:
        assert running.run("package", "import", "org.chandlery.Grafana").returncode == errors.OK
        yield running


def compose(installation, name: str) -> str:
    assert installation.run("environment", "create", name).returncode == errors.OK
    settings = [part for password in PASSWORDS for part in ("--set", f"{password}=Secret-{password}")]
    example = str(packages.example("grafana-on-a-server"))
    return installation.json("environment", "compose", name, example, *settings)["session_id"]


def test_a_second_service_on_the_same_data_is_refused_in_one_sentence(installation):
    second = [sys.executable, "-m", "cli.main", "serve", "--data", str(installation.service.data), "--port", "0"]
    finished = subprocess.run(second, capture_output=True, text=True, timeout=240)
    assert finished.returncode == errors.USAGE
    assert "Another service runs with the data in" in finished.stderr
    assert "--data" in finished.stderr


def test_a_port_in_use_is_one_sentence_and_leaves_nothing(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "cli.main", "serve", "--data", str(tmp_path / "data"), "--port", str(port)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert finished.returncode == errors.USAGE
    assert f"Port {port} on 127.0.0.1 cannot be used" in finished.stderr
    assert not (tmp_path / "data" / "chandlery.sqlite").exists()


def test_the_accounts_are_nobody_elses_business(installation):
    for name in ("credentials.json", "secrets.json"):
        assert (installation.service.data / name).stat().st_mode & 0o077 == 0


def test_the_root_is_for_clients_and_for_browsers(installation):
    assert requests.get(installation.service.url).status_code == 300
    browser = {"Accept": "text/html,*/*", "User-Agent": "Mozilla/5.0"}
    answer = requests.get(installation.service.url, headers=browser, allow_redirects=False)
    assert answer.headers["Location"].endswith("/dashboard/")


@pytest.mark.isolation
@pytest.mark.skipif(lab.isolation().level == "none", reason=f"no namespaces here: {lab.isolation().missing}")
def test_grafana_on_a_server_from_composition_to_receipt(installation):
    session = compose(installation, "small")
    plan = installation.json("plan", "small", "--session", session)
    assert "Secret-" not in json.dumps(plan)
    deployed = installation.run("deploy", "small", "--session", session, "--wait")
    assert deployed.returncode == errors.OK, deployed.stdout + deployed.stderr
    graph = installation.json("environment", "topology", "small")
    [url] = [
        endpoint["url"]
        for node in graph["nodes"]
        if node["type"].startswith("org.chandlery.Grafana")
        for endpoint in node["endpoints"]
        if endpoint["scope"] == "public"
    ]
    if lab.isolation().level == "full":
        assert requests.get(f"{url}/api/health", timeout=60).json()["database"] == "ok"
    unchanged = installation.run("deploy", "small", "--wait")
    assert unchanged.returncode == errors.OK
    deleted = installation.run("environment", "delete", "small", "--wait")
    assert deleted.returncode == errors.OK, deleted.stderr
    assert installation.json("lab", "list") == []
    receipt = installation.json("environment", "receipt", "small")
    assert (receipt["how"], receipt["counts"]["there"], receipt["counts"]["left"]) == ("deleted", 0, 0)
    kinds = [each["type"] for each in receipt["resources"] if each["state"] == "gone"]
    assert kinds.count("OS::Nova::Server") == 1
    assert installation.json("environment", "reconcile")["leftovers"] == []


def test_an_unknown_environment_is_named_with_those_there_are(installation):
    finished = installation.run("environment", "show", "nowhere")
    assert finished.returncode == errors.REFUSED
    assert "No environment 'nowhere' in this project." in finished.stderr


def test_an_import_of_something_unknown_says_where_it_was_looked_for(installation):
    finished = installation.run("package", "import", "org.example.Nothing")
    assert finished.returncode == errors.REFUSED
    assert "org.example.Nothing" in finished.stderr


def test_a_second_demonstration_beside_the_first_is_refused_with_the_way_out(tmp_path):
    with exclusive.holding(tmp_path / "lock", "demonstration"):
        command = [sys.executable, "-m", "cli.main", "demo", "--data", str(tmp_path), "--exit"]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert finished.returncode == errors.USAGE
    assert f"Another demonstration runs in {tmp_path} (process " in finished.stderr
    assert "make demo DATA=var/demo2 PORT=8083" in finished.stderr


@pytest.mark.isolation
@pytest.mark.skipif(lab.isolation().level == "none", reason=f"no namespaces here: {lab.isolation().missing}")
def test_a_script_that_fails_ends_the_deployment_with_its_reason_and_a_deletion_still_cleans_up(installation, tmp_path):
    session = compose(installation, "failing")
    broken = installation.client().request(
        "GET", f"/environments/{environment_id(installation, 'failing')}/services", session=session
    )
    for service in broken:
        if service["?"]["type"] == "org.chandlery.Grafana":
            service["version"] = "6.7.6"  # an image that nobody has here, so that podman fails
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    deployed = installation.run("deploy", "failing", "--services", str(tmp_path / "broken.json"), "--wait")
    assert deployed.returncode == errors.FAILED
    assert "grafana:6.7.6" in deployed.stdout
    assert installation.json("environment", "show", "failing")["status"] == "deploy failure"
    assert installation.run("environment", "delete", "failing", "--wait").returncode == errors.OK
    assert installation.json("lab", "list") == []


def environment_id(installation, name: str) -> str:
    return next(item["id"] for item in installation.json("environment", "list") if item["name"] == name)


def test_objects_that_need_each_other_are_an_error_at_their_fields(installation, tmp_path):
    assert installation.run("environment", "create", "circle").returncode == errors.OK
    composition = [
        {
            "?": {"type": "org.chandlery.kubernetes.Pod", "id": "pod"},
            "name": "monitoring",
            "cluster": "pod",
        }
    ]
    (tmp_path / "circle.json").write_text(json.dumps(composition))
    problems = installation.json("environment", "check", "circle", "--services", str(tmp_path / "circle.json"))
    assert [(problem["object_id"], problem["path"]) for problem in problems] == [("pod", "cluster")]


def test_a_class_that_no_package_defines_is_refused_by_name(installation, tmp_path):
    (tmp_path / "unknown.json").write_text('[{"?": {"type": "org.example.Unknown", "id": "x"}}]')
    assert installation.run("environment", "create", "unknown").returncode == errors.OK
    checked = installation.run("environment", "check", "unknown", "--services", str(tmp_path / "unknown.json"))
    assert checked.returncode != errors.OK
    assert "org.example.Unknown" in checked.stdout + checked.stderr
