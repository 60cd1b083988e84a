"""Receipts and leftovers on the command line: a service on a port, an engine beside it, and a cloud with a memory."""

from __future__ import annotations

import json
import os
import pathlib
import threading

import pytest
from cheroot import wsgi

from catalog import config, identity, service
from catalog.db import base, environments, resources, tables
from cli import client, errors, main
from cli.commands import receipt
from engine import service as engine_service
from engine import tags
from engine.clouds import ports, services


class Cloud:
    """Stacks by name, each with one server."""

    def __init__(self):
        self.stacks: dict[str, ports.Found] = {}
        self.project_id = ""

    def make(self, name, *tagged):
        self.stacks[name] = ports.Found(id=f"{name}-id", name=name, tags=tagged, status="CREATE_COMPLETE")

    def resources(self, stack):
        found = self.stacks.get(stack.name)
        if found is None:
            return None
        server = ports.Held(id=f"{stack.name}-server-id", name="server", type="OS::Nova::Server")
        return ports.Holdings(id=found.id, resources=[server], status=found.status)

    def tagged(self, project_id, tag):
        return [each for each in self.stacks.values() if tag in each.tags and project_id == self.project_id]

    def current(self, stack):
        return {} if stack.name in self.stacks else None

    def delete(self, stack):
        self.stacks.pop(stack.name, None)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """The cloud of a running service; the command line is logged in as `demo`, whose environment `e1` has a stack."""
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    database = base.Database(url)
    tables.METADATA.create_all(database.engine)
    accounts = identity.bootstrap(database, admin_password="admin", demo_password="demo")
    conf = config.load(overrides={"database": {"connection": url}, "messaging": {"exchange": base.new_id()}})
    made = Cloud()
    offered = services.Cloud(orchestration=made, agents=None)
    engine = engine_service.EngineService(conf, database, lambda context: offered)
    engine.start()
    app = service.create_app(conf, database=database)
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    log_in(monkeypatch, "demo", f"http://127.0.0.1:{server.bind_addr[1]}/identity/v3")
    monkeypatch.setattr(receipt, "PAUSE", 0.02)
    assert main.main(["environment", "create", "e1"]) == errors.OK
    made.project_id = accounts["demo"].project_id
    made.environment_id = deploy(database, made)
    yield made
    server.stop()
    thread.join()
    app.close()
    engine.stop()
    database.dispose()


def log_in(monkeypatch, account, auth_url=None):
    for name, value in (
        ("AUTH_URL", auth_url),
        ("USERNAME", account),
        ("PASSWORD", account),
        ("PROJECT_NAME", account),
    ):
        if value is not None:
            monkeypatch.setenv(f"OS_{name}", value)


def deploy(database, cloud):
    """What a deployment leaves: a stack in the cloud, and what it has on the receipt."""
    with database.transaction() as session:
        [environment] = environments.list_of(session)
        place = resources.Place(environment_id=environment.id, project_id=cloud.project_id, stack="s1")
        seen = [("s1-id", "s1", resources.STACK), ("s1-server-id", "server", "OS::Nova::Server")]
        resources.see(session, place, [resources.Seen(physical_id=i, name=n, type=t) for i, n, t in seen])
    owned = tags.Tags(database, ("murano",)).of(environment.id)
    cloud.make("s1", *owned)
    return environment.id


def told(capsys, *arguments, code=errors.OK):
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main.main([*arguments, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_receipt_is_shown_by_name_while_the_environment_is_there_and_after(cloud, capsys):
    shown = told(capsys, "environment", "receipt", "e1")
    assert {each["id"]: each["state"] for each in shown["resources"]} == {"s1-id": "there", "s1-server-id": "there"}
    assert main.main(["environment", "delete", "e1", "--abandon"]) == errors.OK
    for name in ("e1", cloud.environment_id):
        after = told(capsys, "environment", "receipt", name, code=errors.FAILED)
        assert (after["how"], after["counts"]["left"]) == ("abandoned", 2)
    [ended] = told(capsys, "environment", "receipt")
    assert (ended["name"], ended["how"]) == ("e1", "abandoned")
    assert told(capsys, "environment", "receipt", "e1", "--state", "gone", code=errors.FAILED)["resources"] == []
    assert main.main(["environment", "receipt", "e1"]) == errors.FAILED
    text = " ".join(capsys.readouterr().out.split())
    assert "e1" in text
    assert "2 left" in text
    assert "OS::Nova::Server" in text
    assert "abandoned by user" in text
    assert main.main(["environment", "receipt", "nowhere"]) == errors.REFUSED


def test_leftovers_are_named_and_removed_only_on_demand(cloud, capsys, monkeypatch):
    nothing = told(capsys, "environment", "reconcile")
    assert {key: nothing[key] for key in ("leftovers", "drift", "removed", "problems")} == {
        "leftovers": [],
        "drift": [],
        "removed": [],
        "problems": [],
    }
    assert main.main(["environment", "delete", "e1", "--abandon"]) == errors.OK
    found = told(capsys, "environment", "reconcile", "e1", code=errors.FAILED)
    assert [(each["name"], each["environment_name"]) for each in found["leftovers"]] == [("s1", "e1")]
    assert main.main(["environment", "reconcile", "--delete"]) == errors.USAGE
    said = capsys.readouterr()
    assert "s1 (s1-id) of e1" in said.out
    assert "--yes" in said.err
    assert cloud.stacks
    removed = told(capsys, "environment", "reconcile", "--delete", "--yes")
    assert [each["stack_id"] for each in removed["removed"]] == ["s1-id"]
    assert removed["leftovers"] == []
    assert cloud.stacks == {}
    assert told(capsys, "environment", "receipt", "e1")["counts"] == {"there": 0, "gone": 2, "kept": 0, "left": 0}
    assert main.main(["environment", "reconcile", "--yes"]) == errors.USAGE


def test_a_person_is_asked_before_anything_is_removed(cloud, capsys, monkeypatch):
    assert main.main(["environment", "delete", "e1", "--abandon"]) == errors.OK
    for answer, code, there in (("no\n", errors.FAILED, 1), ("yes\n", errors.OK, 0)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert main.main(["environment", "reconcile", "--delete"]) == code
        assert len(cloud.stacks) == there


class Terminal:
    """Somebody who gives one answer."""

    def __init__(self, answer):
        self.readline = lambda: answer
        self.isatty = lambda: True


def test_what_is_gone_in_the_cloud_is_told_once_and_the_receipt_follows(cloud, capsys):
    cloud.stacks.clear()
    drift = told(capsys, "environment", "reconcile", code=errors.FAILED)["drift"]
    assert {(each["id"], each["state"]) for each in drift} == {("s1-id", "gone"), ("s1-server-id", "gone")}
    assert told(capsys, "environment", "reconcile")["drift"] == []
    assert told(capsys, "environment", "receipt", "e1")["counts"]["gone"] == 2


def test_all_projects_are_an_administrators(cloud, capsys, monkeypatch):
    assert main.main(["environment", "delete", "e1", "--abandon"]) == errors.OK
    assert main.main(["environment", "reconcile", "--all"]) == errors.REFUSED
    assert main.main(["environment", "reconcile", "e1", "--all"]) == errors.USAGE
    log_in(monkeypatch, "admin")
    assert told(capsys, "environment", "reconcile")["leftovers"] == []  # in his own project
    [leftover] = told(capsys, "environment", "reconcile", "--all", code=errors.FAILED)["leftovers"]
    assert (leftover["stack_id"], leftover["tenant_id"]) == ("s1-id", cloud.project_id)
    assert told(capsys, "environment", "reconcile", "--all", "--delete", "--yes")["leftovers"] == []
    assert cloud.stacks == {}


def test_what_is_no_leftover_is_not_removed(cloud, capsys):
    """The API itself refuses, whoever asks."""
    asked = client.Client(client.Credentials.from_environment(dict(os.environ), pathlib.Path()))
    with pytest.raises(errors.CommandError, match="expected a leftover") as refused:
        asked.request("DELETE", "/leftovers/s1-id")
    assert refused.value.code == errors.REFUSED
    assert cloud.stacks
