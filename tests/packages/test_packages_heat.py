"""Packages that are a Heat template, from the page about them to the stack that is gone: API, engine and command line
are real, the cloud is the lab or the recording.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cheroot import wsgi

import packages as bundled
from catalog import config, identity, packages, service
from catalog.db import base, migrations
from cli import client, errors, main
from dsl.packages import open_package
from engine import config as engine_config
from engine import service as engine_service
from engine.agents import http
from engine.clouds import ports, recording, services
from engine.clouds.lab import LabOrchestration

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "heat-packages.md"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEY = "s3cret-join-key"


@dataclasses.dataclass
class Port:
    """A running service with one cloud, and the command line of somebody who uses it."""

    folder: pathlib.Path
    orchestration: Any
    capsys: pytest.CaptureFixture[str]

    @property
    def package(self) -> pathlib.Path:
        return self.folder / "org.example.Relay"

    def run(self, *arguments: str, code: int = errors.OK) -> str:
        self.capsys.readouterr()
        ended = main.main(list(arguments))
        out, err = self.capsys.readouterr()
        assert ended == code, f"{arguments}: {out}\n{err}"
        return out + err

    def json(self, *arguments: str, code: int = errors.OK) -> Any:
        self.capsys.readouterr()
        ended = main.main([*arguments, "-f", "json"])
        out, err = self.capsys.readouterr()
        assert ended == code, f"{arguments}: {out}\n{err}"
        return json.loads(out)

    def composed(self, **parameters: Any) -> list[str]:
        """Options that name the page's composition with these parameters."""
        (app,) = json.loads((self.package / "relay.json").read_text())
        for name, value in parameters.items():
            app["templateParameters"][name] = value
        path = self.folder / "composition.json"
        path.write_text(json.dumps([app]))
        return ["--services", str(path), "--set", f"join_key={KEY}"]

    def application(self, environment: str) -> dict[str, Any]:
        (app,) = self.json("environment", "show", environment)["services"]
        return dict(app)


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The recording, unless the test asks for the lab."""
    if getattr(request, "param", "recording") == "recording":
        yield recording.Recording()
        return
    # A short path: sockets in it have names of limited length.
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        lab = LabOrchestration(pathlib.Path(folder) / "data", agent_url="http://127.0.0.1:9")
        try:
            yield lab
        finally:
            lab.cleanup()
            lab.close()


@pytest.fixture
def port(
    cloud: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Port]:
    for name, content in FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / "org.example.Relay" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    migrations.upgrade(url)
    database = base.Database(url)
    account = identity.bootstrap(database, admin_password="admin", demo_password="demo")["demo"]
    packages.import_archives(database, bundled.core_library(), owner_id=account.project_id, is_public=True)
    overrides = {
        "database": {"connection": url},
        "messaging": {"exchange": base.new_id()},
        "api": {"event_interval": 0.05},
    }
    conf = config.load(overrides=overrides)
    engine_config.register(conf)
    conf.set_override("poll", 60.0, group="engine")
    agents = http.HttpAgents(database=database, url="http://127.0.0.1:9", secret=b"0123456789abcdef")
    offered = services.Cloud(orchestration=cloud, agents=agents, network=getattr(cloud, "network", cloud))
    engine = engine_service.EngineService(conf, database, lambda _context: offered)
    engine.start()
    app = service.create_app(conf, database=database)
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=4)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    for name, value in (
        ("AUTH_URL", f"http://127.0.0.1:{server.bind_addr[1]}/identity/v3"),
        ("USERNAME", "demo"),
        ("PASSWORD", "demo"),
        ("PROJECT_NAME", "demo"),
    ):
        monkeypatch.setenv(f"OS_{name}", value)
    logged_in = client.Client(client.Credentials.from_environment(dict(os.environ), tmp_path))
    monkeypatch.setattr(client, "Client", lambda _credentials: logged_in)  # logging in takes longer than all else
    yield Port(tmp_path, cloud, capsys)
    server.stop()
    thread.join()
    engine.stop()
    app.close()


def kinds(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["kind"], step["type"]) for step in answer["steps"] if step["kind"] != "report"]


@pytest.mark.parametrize("cloud", ["lab", "recording"], indirect=True)
def test_the_life_of_a_heat_package(port: Port) -> None:
    assert "sound" in port.run("package", "check", "--strict", str(port.package))
    port.run("package", "import", str(port.package))
    port.run("environment", "create", "relays")

    # A wrong parameter is a problem before anything is made.
    (problem,) = port.json("environment", "check", "relays", *port.composed(cidr="anywhere"), code=errors.FAILED)
    assert problem["message"] == "a range such as 192.0.2.0/24 is expected", problem
    (problem,) = port.json("environment", "check", "relays", *port.composed(name_servers="a,b,c,d"), code=errors.FAILED)
    assert problem["message"] == "one to three name servers"
    assert port.json("environment", "check", "relays", *port.composed(name_servers="192.0.2.53,192.0.2.54")) == []

    # The plan shows the stack and its resources in order, and no secret.
    plan = port.folder / "plan.json"
    answer = port.json("plan", "relays", *port.composed(), "--out", str(plan))
    assert kinds(answer)[0] == ("create", "OS::Heat::Stack")
    assert set(kinds(answer)[1:]) == {
        ("create", f"OS::{kind}")
        for kind in ("Neutron::Net", "Neutron::Subnet", "Neutron::Port", "Cinder::Volume", "Nova::Server")
    }
    assert KEY not in plan.read_text()
    told = next(step for step in answer["steps"] if step["type"] == "OS::Heat::Stack")["details"]
    assert told["parameters"]["join_key"] == "*** SANITIZED ***"
    assert told["parameters"]["name_servers"] == ["192.0.2.53"]
    assert list(told["files"]) == ["boot/relay.sh"]
    volume = next(step for step in answer["steps"] if step["type"] == "OS::Cinder::Volume")
    assert volume["details"]["properties"] == {"size": 2, "metadata": {"team": "web"}}

    # What was planned is deployed.
    port.run("deploy", "relays", "--plan", str(plan), "--wait")
    outputs = port.application("relays")["templateOutputs"]
    assert outputs["address"].count(".") == 3
    assert outputs["name_servers"] == ["192.0.2.53"]
    assert outputs["disk_size"] == "2"
    assert port.json("plan", "relays")["steps"] == [] or kinds(port.json("plan", "relays")) == []

    # A changed parameter shows as on the page, at the stack and at what takes it.
    shown = port.run("plan", "relays", *port.composed(flavor="m1.large", disk_size=5), "--out", str(plan))
    (stack,) = set(re.findall(r"Stack (\S+)$", shown, re.MULTILINE))
    (page,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    wanted = page.replace("{stack}", stack).strip()
    assert wanted in shown, shown

    # The world moves: the same plan is refused, and nothing happens to the stack.
    port.run("deploy", "relays", *port.composed(disk_size=7), "--wait")
    refused = port.run("deploy", "relays", *port.composed(flavor="m1.large", disk_size=5), "--plan", str(plan), code=3)
    assert "does not hold any more" in refused
    assert "size: 2 -> 5" in refused
    assert "size: 7 -> 5" in refused
    assert port.application("relays")["templateOutputs"]["disk_size"] == "7"

    # With the environment the stack goes, as planned.
    deletion = port.json("plan", "relays", "--delete")
    assert kinds(deletion)[-1] == ("delete", "OS::Heat::Stack")
    port.run("environment", "delete", "relays", "--plan", deletion["hash"], "--wait")
    assert port.orchestration.current(ports.Stack(stack)) is None


def test_a_push_that_fails_is_reported_and_fails_the_deployment(port: Port) -> None:
    def refuse(*_arguments: object) -> None:
        raise ports.StackError("relay", "No valid host was found", "server", "OS::Nova::Server")

    port.run("package", "import", str(port.package))
    port.run("environment", "create", "relays")
    push, port.orchestration.push = port.orchestration.push, refuse
    failed = port.run("deploy", "relays", *port.composed(), "--wait", code=errors.FAILED)
    assert failed.count("No valid host was found") >= 2
    assert "(OS::Nova::Server)" in failed
    port.orchestration.push = push
    port.run("deploy", "relays", "--wait")
    assert port.application("relays")["templateOutputs"]["disk_size"] == "2"


def test_the_form_and_the_schema_are_those_of_the_template(port: Port) -> None:
    port.run("package", "import", str(port.package))
    (found,) = [each for each in port.json("package", "list") if each["name"] == "Relay"]
    api = client.Client(client.Credentials.from_environment(dict(os.environ), port.folder))
    text = api.request("GET", f"/catalog/packages/{found['id']}/ui", accept="text/plain").decode()
    form = yaml.load(text, _Loader)
    assert form["Version"] == 2.3
    assert form["Application"]["?"] == {
        "type": "org.example.Relay",
        "package": "org.example.Relay",
        "classVersion": "1.0.0",
    }
    assert form["Application"]["templateParameters"]["join_key"] == "$.group1.join_key"
    assert form["Application"]["templateParameters"]["labels"] == "$.group2.labels"
    fields = {field["name"]: field for page in form["Forms"] for field in next(iter(page.values()))["fields"]}
    assert fields["flavor"]["type"] == "choice"
    assert [value for value, _label in fields["flavor"]["choices"]] == ["m1.small", "m1.medium", "m1.large"]
    assert (fields["flavor"]["label"], fields["flavor"]["initial"]) == ("Size of the server", "m1.small")
    assert fields["cidr"]["required"] is True
    assert fields["cidr"]["errorMessages"] == {"invalid": "a range such as 192.0.2.0/24 is expected"}
    assert re.match(fields["cidr"]["regexpValidator"], "10.0.0.0/24")
    assert (fields["name_servers"]["type"], fields["name_servers"]["initial"]) == ("string", "192.0.2.53")
    assert "maxLength" not in fields["name_servers"]
    assert (fields["disk_size"]["type"], fields["disk_size"]["minValue"], fields["disk_size"]["maxValue"]) == (
        "integer",
        1,
        100,
    )
    assert json.loads(fields["labels"]["initial"]) == {"team": "web"}
    assert (fields["public"]["type"], fields["public"]["initial"]) == ("boolean", False)
    hidden = fields["join_key"]
    assert (hidden["type"], hidden["confirmInput"], hidden["minLength"]) == ("password", False, 8)
    schema = api.request("GET", "/schemas/org.example.Relay?classVersion=1.0.0")
    assert set(schema[""]["properties"]) >= {"name", "templateParameters", "hotEnvironment"}


def test_an_environment_of_heat_is_chosen_by_name(port: Port) -> None:
    folder = port.package / "Resources" / "HotEnvironments"
    folder.mkdir()
    (folder / "large.yaml").write_text("parameter_defaults: {disk_size: 50}\n")
    opened = open_package(port.package)
    form = yaml.load(str(opened.ui_definition), _Loader)
    assert form["Application"]["hotEnvironment"] == "$.group0.hotEnvironment"
    (choice,) = [field for field in form["Forms"][0]["group0"]["fields"] if field["name"] == "hotEnvironment"]
    assert choice["choices"] == [["", "none"], ["large.yaml", "large.yaml"]]
    port.run("package", "import", str(port.package))
    port.run("environment", "create", "relays")
    composition = port.composed()
    path = port.folder / "composition.json"
    (app,) = json.loads(path.read_text())
    for chosen, size in (("large.yaml", 50), ("", 2)):
        path.write_text(json.dumps([{**app, "hotEnvironment": chosen}]))
        answer = port.json("plan", "relays", *composition)
        (volume,) = [step for step in answer["steps"] if step["type"] == "OS::Cinder::Volume"]
        assert volume["details"]["properties"]["size"] == size
    path.write_text(json.dumps([{**app, "hotEnvironment": "../../manifest.yaml"}]))
    answer = port.json("plan", "relays", *composition)
    assert kinds(answer) == []
    assert answer["steps"][-1]["type"] == "error"


class _Loader(yaml.SafeLoader):
    """Expressions as their text."""


_Loader.add_constructor("!yaql", lambda loader, node: loader.construct_scalar(node))
