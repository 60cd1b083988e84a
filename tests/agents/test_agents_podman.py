"""The simulated podman and its images, as plain processes."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

BIN = pathlib.Path(__file__).parents[2] / "engine/clouds/lab/image/usr/local/bin"
INFLUXDB, GRAFANA = "docker.io/library/influxdb:1.8", "docker.io/grafana/grafana:11.4.0"


class Host:
    """A server's file tree, and podman on it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        path = (
            f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # this Python, not a wrapper that takes its time
        )
        self.environment = {**os.environ, "PATH": path, "CHANDLERY_LAB_ROOT": str(root)}

    def podman(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [BIN / "podman", *arguments], capture_output=True, text=True, env=self.environment, timeout=120
        )
        assert done.returncode == code, done
        return done.stdout.strip() if code == 0 else done.stderr.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        return json.loads(self.podman("inspect", name))[0]

    def run(self, image: str, *arguments: str, name: str = "c", address: str = "127.0.0.1:") -> str:
        """Runs a container that is published on a free port; gives its URL."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        inner = {INFLUXDB: 8086, GRAFANA: 3000}[image]
        self.podman("run", "--detach", "--name", name, "--publish", f"{address}{free}:{inner}/tcp", *arguments, image)
        url = f"http://127.0.0.1:{free}"
        wait_for(url)
        return url


def wait_for(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            requests.get(url + "/ping", timeout=2)
            return
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.podman("rm", "--all", "--force")


def test_it_says_that_it_is_simulated(host: Host) -> None:
    assert host.podman("--version") == "podman version 5.3.1 (simulated by the Chandlery lab)"


def test_influxdb_takes_points_and_answers_queries(host: Host, tmp_path: pathlib.Path) -> None:
    (tmp_path / "env").write_text(
        "# made by a test\nINFLUXDB_DB=metrics\nINFLUXDB_HTTP_AUTH_ENABLED=true\n"
        "INFLUXDB_USER=u\n\nINFLUXDB_USER_PASSWORD=p=1\n"
    )
    url = host.run(INFLUXDB, "--env-file", str(tmp_path / "env"), "--restart", "always")
    assert requests.get(url + "/ping").status_code == 204
    assert requests.get(url + "/health").json()["status"] == "pass"
    assert requests.get(url + "/query", params={"q": "SHOW DATABASES"}).status_code == 401
    login = {"u": "u", "p": "p=1"}
    lines = 'cpu,host=a value=1.5,note="two words" 1000000000\ncpu,host=b value=2.5 61000000000\n'
    assert requests.post(url + "/write", params={"db": "metrics", **login}, data=lines).status_code == 204
    assert (
        "missing fields" in requests.post(url + "/write", params={"db": "metrics", **login}, data="cpu").json()["error"]
    )
    assert requests.post(url + "/write", params={"db": "none", **login}, data=lines).status_code == 404

    def query(text: str) -> dict[str, Any]:
        answer = requests.get(url + "/query", params={"db": "metrics", "q": text, "epoch": "s"}, auth=("u", "p=1"))
        assert answer.headers["Chandlery-Lab"] == "simulated by the Chandlery lab"
        return answer.json()["results"][0]

    assert query("CREATE DATABASE more") == {"statement_id": 0}
    names = query("SHOW DATABASES")["series"][0]["values"]
    assert names == [["_internal"], ["metrics"], ["more"]]
    assert query("SELECT value FROM cpu WHERE host = 'b'")["series"][0]["values"] == [[61, 2.5]]
    mean = query('SELECT mean("value") FROM "cpu" WHERE time >= 0 GROUP BY time(1m) fill(null)')
    assert mean["series"][0] == {"name": "cpu", "columns": ["time", "mean"], "values": [[0, 1.5], [60, 2.5]]}
    assert (
        "more than this simulation knows"
        in requests.post(url + "/query", params={"db": "metrics", **login}, data={"q": "SELECT a FROM b INTO c"}).text
    )
    wrong = requests.get(url + "/query", params={"q": "EXPLAIN x", **login})
    assert (wrong.status_code, "not among the statements" in wrong.text) == (400, True)


def test_points_survive_in_a_volume_and_only_there(host: Host, tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").mkdir()
    options = ["-e", "INFLUXDB_DB=d", "--volume", f"{tmp_path / 'data'}:/var/lib/influxdb"]
    url = host.run(INFLUXDB, *options, address="")
    requests.post(url + "/write", params={"db": "d"}, data="m v=1i 5")
    host.podman("restart", "c")
    wait_for(url)
    answer = requests.get(url + "/query", params={"db": "d", "q": "SELECT * FROM m", "epoch": "ns"}).json()
    assert answer["results"][0]["series"][0]["values"] == [[5, 1]]


def test_a_killed_container_comes_back_and_a_stopped_one_stays_away(host: Host) -> None:
    url = host.run(INFLUXDB, "--restart", "always")
    first = host.inspect("c")["State"]["Pid"]
    os.kill(first, signal.SIGKILL)
    begun = time.monotonic()
    while host.inspect("c")["RestartCount"] == 0 or host.inspect("c")["State"]["Status"] != "running":
        assert time.monotonic() - begun < 60
    wait_for(url)
    assert host.podman("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "c") == "running 1"
    host.podman("stop", "c")
    assert host.inspect("c")["State"]["Status"] == "exited"
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)
    host.podman("start", "c")
    wait_for(url)
    host.podman("kill", "c")
    wait_for(url)


def test_a_container_without_restart_policy_ends_with_its_process(host: Host) -> None:
    host.run(INFLUXDB)
    host.podman("kill", "c")
    deadline = time.monotonic() + 60
    while host.inspect("c")["State"]["Status"] != "exited":
        assert time.monotonic() < deadline
    assert host.inspect("c")["State"]["ExitCode"] == 137
    assert json.loads(host.podman("ps", "--format", "json")) == []
    [listed] = json.loads(host.podman("ps", "--all", "--format", "json"))
    assert (listed["Names"], listed["State"], listed["Image"]) == (["c"], "exited", INFLUXDB)


def test_a_replaced_container_is_a_new_one_and_names_are_unique(host: Host) -> None:
    host.run(INFLUXDB)
    before = host.inspect("c")["Id"]
    assert "already in use; use --replace" in host.podman("run", "-d", "--name", "c", INFLUXDB, code=125)
    host.run(INFLUXDB, "--replace", "--env", "A=b")
    after = host.inspect("c")
    assert after["Id"] != before
    assert after["Config"]["Env"] == ["A=b"]
    host.podman("container", "exists", "c")
    host.podman("rm", "--force", "--ignore", "c")
    host.podman("container", "exists", "c", code=1)
    host.podman("rm", "--force", "--ignore", "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-d", "docker.io/library/nginx:1.27"], "no simulated program for this image"),
        (["run", "-d", "influxdb:2.7"], "does not simulate this version"),
        (["pull", "alpine"], "no simulated program for this image"),
        (["run", INFLUXDB], "only 'podman run --detach' is simulated"),
        (["run", "-d", "-p", "53:53/udp", INFLUXDB], "TCP ports only"),
        (["run", "-d", "--restart", "sometimes", INFLUXDB], "invalid restart policy"),
        (["run", "-d", "-v", "/missing/folder:/x", INFLUXDB], "no such file or directory"),
        (["run", "-d", "--name", "../x", INFLUXDB], "must match"),
        (["inspect", "missing"], "no such container"),
        (["kill", "missing"], "no such container"),
    ],
)
def test_what_is_wrong_is_said(host: Host, arguments: list[str], message: str) -> None:
    assert message in host.podman(*arguments, code=125)


def test_a_port_in_use_is_refused(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "address already in use" in host.podman("run", "-d", "-p", f"127.0.0.1:{port}:8086", INFLUXDB, code=125)


def test_grafana_shows_provisioned_data_sources_and_queries_through_them(host: Host, tmp_path: pathlib.Path) -> None:
    user = ["-e", "INFLUXDB_HTTP_AUTH_ENABLED=true", "-e", "INFLUXDB_USER=u", "-e", "INFLUXDB_USER_PASSWORD=p$w"]
    influxdb = host.run(INFLUXDB, "-e", "INFLUXDB_DB=d", *user, name="influxdb")
    source = {
        "name": "InfluxDB",
        "type": "influxdb",
        "access": "proxy",
        "url": influxdb,
        "user": "$WHO",  # as Grafana reads it: a variable, and a dollar below
        "secureJsonData": {"password": "p$$w"},
    }
    file = tmp_path / "influxdb.yaml"
    file.write_text(json.dumps({"apiVersion": 1, "datasources": [source]}))
    mount = f"{file}:/etc/grafana/provisioning/datasources/influxdb.yaml:ro"
    environment = ["-e", "GF_SECURITY_ADMIN_USER=boss", "-e", "GF_SECURITY_ADMIN_PASSWORD=pw", "-e", "WHO=u"]
    url = host.run(GRAFANA, *environment, "--volume", mount)
    login = ("boss", "pw")
    assert requests.get(url + "/api/health").json()["version"] == "11.4.0"
    assert requests.get(url + "/api/datasources").status_code == 401
    assert requests.get(url + "/api/datasources", auth=("boss", "no")).status_code == 401
    [shown] = requests.get(url + "/api/datasources", auth=login).json()
    assert (shown["name"], shown["readOnly"], shown["secureJsonFields"]) == ("InfluxDB", True, {"password": True})
    assert "secureJsonData" not in shown
    proxied = requests.get(url + "/api/datasources/proxy/1/query", params={"q": "SHOW DATABASES"}, auth=login).json()
    assert "results" in proxied, proxied
    assert ["d"] in proxied["results"][0]["series"][0]["values"]
    assert requests.delete(url + "/api/datasources/1", auth=login).status_code == 403
    added = requests.post(
        url + "/api/datasources", json={"name": "more", "type": "influxdb", "url": influxdb}, auth=login
    )
    assert added.json()["id"] == 2
    assert (
        requests.post(url + "/api/datasources", json={"name": "more", "type": "influxdb"}, auth=login).status_code
        == 409
    )
    assert requests.post(url + "/api/datasources", data="{", auth=login).status_code == 400
    assert (
        requests.get(f"{url}/api/datasources/uid/{added.json()['datasource']['uid']}/health", auth=login).json()[
            "status"
        ]
        == "OK"
    )
    assert requests.delete(url + "/api/datasources/2", auth=login).status_code == 200
    assert requests.get(url + "/api/datasources/proxy/2/query", auth=login).status_code == 404


def test_people_log_in_to_grafana_by_a_form(host: Host) -> None:
    url = host.run(GRAFANA, "-e", "GF_SECURITY_ADMIN_PASSWORD=pw")
    session = requests.Session()
    assert "simulated by the Chandlery lab" in session.get(url + "/").text  # which leads to the login page
    assert "Invalid username" in session.post(url + "/login", data={"user": "admin", "password": "x"}).text
    page = session.post(url + "/login", data={"user": "admin", "password": "pw"})
    assert "Data sources" in page.text
    assert requests.post(url + "/login", json={"user": "admin", "password": "pw"}).json() == {"message": "Logged in"}
    assert requests.post(url + "/login", json=["x"]).status_code == 401
    assert "Data sources" not in session.get(url + "/logout").text


def test_a_container_may_be_published_on_its_own_port_on_all_addresses(host: Host) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    publish = ["--publish", f"{port}:{port}/tcp"]
    host.podman(
        "run", "-d", "--name", "c", "--restart", "always", "-e", f"GF_SERVER_HTTP_PORT={port}", *publish, GRAFANA
    )
    wait_for(f"http://127.0.0.1:{port}")
    assert requests.get(f"http://127.0.0.1:{port}/api/health").json()["database"] == "ok"
    assert host.inspect("c")["RestartCount"] == 0
    for _ in range(4):  # the old one's port must be free before the new one looks
        host.podman("restart", "c")
    assert "address already in use" in host.podman("run", "-d", "--name", "d", *publish, INFLUXDB, code=125)


def test_pull_names_the_image_and_says_that_nothing_is_downloaded(host: Host) -> None:
    first = host.podman("pull", "--quiet", GRAFANA)
    assert host.podman("pull", GRAFANA) == first
    assert GRAFANA in host.podman("images")


def test_logs_are_kept(host: Host) -> None:
    host.run(INFLUXDB)
    assert "InfluxDB 1.8.10 (simulated by the Chandlery lab) listens on port 8086" in host.podman("logs", "c")
