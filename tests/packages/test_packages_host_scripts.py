"""The container host's plans, run by the real agent code: which podman commands they come down to."""

from __future__ import annotations

import json
import pathlib
import stat

import pytest

HOST = "org.chandlery.containers.Host"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "containers")


def container(**changes: object) -> dict[str, object]:
    described: dict[str, object] = {
        "name": "influxdb",
        "image": "docker.io/library/influxdb:1.8",
        "arguments": [],
        "environment": {},
        "secrets": {},
        "files": {},
        "ports": [{"name": "api", "port": 8086, "number": 8087, "transport": "TCP", "scheme": "http", "public": True}],
        "volumes": [],
        "healthPath": None,
        "healthPort": None,
    }
    return {**described, **changes}


def test_an_image_with_podman_is_left_as_it_is(server, folder: str) -> None:
    server.value(HOST, "PrepareHost", {"folder": folder, "mirror": ""})
    assert server.commands == ["podman --version"]
    assert stat.S_IMODE(pathlib.Path(folder).stat().st_mode) == 0o711


def test_a_bare_image_gets_podman(server, folder: str) -> None:
    server.remove("podman")
    server.answer("apt-get -q install", "no network", 100)
    result = server.run(HOST, "PrepareHost", {"folder": folder, "mirror": ""})
    assert [command.split()[2] for command in server.commands] == ["update", "install"]
    assert result["ErrorCode"] == 100


def test_a_container_is_pulled_and_replaces_its_predecessor(server, folder: str) -> None:
    server.value(HOST, "RunContainer", {"folder": folder, "container": container(arguments=["--flag", "two words"])})
    assert server.commands == [
        "podman pull --quiet docker.io/library/influxdb:1.8",
        f"podman run --detach --replace --restart always --name influxdb --env-file {folder}/influxdb/environment "
        "--publish 8087:8086/tcp docker.io/library/influxdb:1.8 --flag two\\ words",
    ]


def test_secrets_are_in_a_file_of_root_and_on_no_command_line(server, folder: str) -> None:
    described = container(environment={"USER": "u"}, secrets={"PASSWORD": "s3cret $HOME 'x'"})
    server.value(HOST, "RunContainer", {"folder": folder, "container": described})
    path = pathlib.Path(folder, "influxdb", "environment")
    assert path.read_text() == "PASSWORD=s3cret $HOME 'x'\nUSER=u\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "s3cret" not in " ".join(server.commands)


def test_a_secret_of_several_lines_is_refused_before_anything_is_run(server, folder: str) -> None:
    result = server.run(HOST, "RunContainer", {"folder": folder, "container": container(secrets={"KEY": "a\nb"})})
    assert "KEY has several lines" in result["Body"]["Message"]
    assert server.commands == []


def test_files_are_mounted_read_only_and_structures_become_json(server, folder: str) -> None:
    files = {"/etc/b.yaml": {"apiVersion": 1}, "/etc/a.txt": "text"}
    server.value(HOST, "RunContainer", {"folder": folder, "container": container(files=files)})
    run = server.commands[1]
    assert f"--volume {folder}/influxdb/file-0:/etc/a.txt:ro" in run
    assert f"--volume {folder}/influxdb/file-1:/etc/b.yaml:ro" in run
    assert pathlib.Path(folder, "influxdb", "file-0").read_text() == "text"
    assert json.loads(pathlib.Path(folder, "influxdb", "file-1").read_text()) == {"apiVersion": 1}


def test_volumes_live_in_a_folder_or_with_the_container(server, folder: str, tmp_path: pathlib.Path) -> None:
    kept = tmp_path / "kept"
    volumes = [
        {"name": "data", "path": "/var/lib/influxdb", "hostPath": str(kept)},
        {"name": "cache", "path": "/cache", "hostPath": None},
    ]
    server.value(HOST, "RunContainer", {"folder": folder, "container": container(volumes=volumes)})
    assert f"--volume {kept}:/var/lib/influxdb --volume /cache " in server.commands[1]
    assert kept.is_dir()


def test_a_container_counts_as_started_when_it_answers(server, folder: str) -> None:
    described = container(healthPath="/ping", healthPort=8086)
    server.value(HOST, "RunContainer", {"folder": folder, "container": described})
    assert server.commands[-1].endswith("http://127.0.0.1:8087/ping")


def test_a_removed_container_leaves_no_secrets_behind(server, folder: str) -> None:
    server.value(HOST, "RunContainer", {"folder": folder, "container": container(secrets={"P": "x"})})
    server.value(HOST, "RemoveContainer", {"folder": folder, "name": "influxdb"})
    assert server.commands[-1] == "podman rm --force --ignore influxdb"
    assert list(pathlib.Path(folder).iterdir()) == []


def test_containers_are_restarted_one_by_one(server) -> None:
    server.value(HOST, "RestartContainers", {"names": ["a", "b"]})
    assert server.commands == ["podman restart a", "podman restart b"]


def test_containers_are_listed_with_their_state(server) -> None:
    server.answer("podman inspect a", json.dumps([{"State": {"Status": "running"}, "RestartCount": 3}]))
    assert server.value(HOST, "ListContainers", {"names": ["a"]}) == [{"name": "a", "state": "running", "restarts": 3}]


def test_an_image_that_cannot_be_pulled_fails_the_plan(server, folder: str) -> None:
    server.answer("podman pull", "manifest unknown", 125)
    result = server.run(HOST, "RunContainer", {"folder": folder, "container": container()})
    assert result["Body"]["AdditionalInfo"]["exitCode"] == 125
    assert len(server.commands) == 1
