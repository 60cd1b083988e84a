"""Secrets are planted wherever a tenant or an operator can put one; then everything that people read is searched.

A real API and a real engine in one process, over a recorded cloud: deployments that go well, fail and are cancelled,
an action, a check, a plan, a deletion.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_cloud import Client, Cloud, people, zipped

import packages as library
from catalog import config, packages, service
from catalog.db import base, deployments, environments, journal, notices, sessions, statuses
from engine import config as engine_config
from engine import service as engine_service
from engine.clouds import ports, recording

PLANTED = {
    name: f"Pl4nted-{name}-Zq9x"
    for name in (
        "password",
        "inout",
        "argument",
        "plan",
        "heat",
        "userdata",
        "output",
        "thrown",
        "made",
        "trust",
        "boot",
        "agentsecret",
        "servicepass",
        "rabbitpass",
        "destroyed",
        "listed",
    )
}

BOX = """
Namespaces:
  =: vault
  std: io.murano
  sys: io.murano.system
  res: io.murano.resources
Name: Box
Extends: std:Application
Properties:
  password: {Contract: $.string().notNull()}
  planPassword: {Contract: $.string().notNull()}
  heatPassword: {Contract: $.string().notNull()}
  adminPass: {Contract: $.string()}
  thrownSecret: {Contract: $.string()}
  lastToken: {Contract: $.string()}
  accessTokens: {Contract: [$.string()]}
  sessionToken: {Usage: InOut, Contract: $.string()}
  generatedPassword: {Usage: InOut, Contract: $.string()}
  instance: {Contract: $.class(res:Instance).notNull()}
  mode: {Contract: $.string(), Default: fine}
Methods:
  deploy:
    Body:
      - $.generatedPassword: 'Pl4nted-made-Zq9x'
      - $reporter: $.find(std:Environment).reporter
      - $reporter.report($this, format('Installing with {0} and {1}', $.password, $.sessionToken))
      - $reporter.report($this, format('tokens {0}', $.accessTokens[0]))
      - logger('vault').info('The password is {0}', $.password)
      - $.instance.deploy()
      - $stack: new(sys:HeatStack, $.find(std:Environment), name => format('box-{0}', id($this).toLower()))
      - $stack.setTemplate(dict(
            heat_template_version => '2015-04-30',
            parameters => dict(dbPassword => dict(type => string)),
            resources => dict(box => dict(type => 'OS::Nova::Server', properties => dict(
                user_data => format('cloud passwd root {0}', $.adminPass))))))
      - $stack.setParameters(dict(dbPassword => $.heatPassword))
      - $stack.push()
      - $answer: $.echo($.planPassword)
      - $reporter.report($this, $answer)
      - If: $.mode = leak
        Then:
          - Throw: Leak
            Message: format('Can not log in with {0}', $.thrownSecret)
  echo:
    Arguments:
      - secret: {Contract: $.string()}
    Body:
      - Return: $.instance.agent.callRaw(dict(
          FormatVersion => '2.2.0', Name => Echo, Scripts => dict(), Files => dict(),
          Body => 'return echo', Parameters => dict(adminPassword => $secret, mode => $.mode)))
  rotate:
    Scope: Public
    Meta: {std:Meta: {}}
    Arguments:
      - newPassword: {Contract: $.string().notNull()}
      - fail: {Contract: $.bool(), Default: false}
    Body:
      - $.find(std:Environment).reporter.report($this, format('Rotating to {0}', $newPassword))
      - If: $fail
        Then:
          - Throw: Leak
            Message: format('No rotation to {0}', $newPassword)
      - Return: $newPassword
  .destroy:
    Body:
      - Throw: Stuck
        Message: format('Can not log out with {0}', $.lastToken)
""".replace("    Meta: {std:Meta: {}}\n", "")

MANIFEST = {
    "Format": "MuranoPL/1.4",
    "Type": "Application",
    "FullName": "vault",
    "Name": "Vault",
    "Version": "0.1.0",
    "Description": "Leaks what it can",
    "Author": "The tests",
    "Classes": {"vault.Box": "Box.yaml"},
    "Require": {"io.murano": ""},
}


class World(recording.Recording):
    """A cloud that tells on its tenants: agents echo what they were given, Heat quotes it in its errors."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Event()

    def access(self, environment_id: str, project_id: str, instance_id: str) -> dict[str, Any]:
        return {**super().access(environment_id, project_id, instance_id), "token": PLANTED["boot"]}

    def run(self, agent_id: str, plan_id: str, plan: dict[str, Any], timeout: float, check: Any = None) -> Any:
        given = plan.get("Parameters") or {}
        if given.get("mode") == "wait":
            self.waits.set()
            while True:
                check()
                time.sleep(0.02)
        if given.get("mode") == "refuse":
            raise ports.CloudError(f"the agent could not use {given['adminPassword']} (boot {PLANTED['boot']})")
        said = f"$ login --as root {given.get('adminPassword')}"
        return {"FormatVersion": "2.0.0", "SourceID": plan.get("ID"), "ErrorCode": 0, "Body": said}


class Story:
    """What happens, and everything that anybody may read of it, by where it was read."""

    def __init__(self, cloud: Cloud, world: World) -> None:
        self.cloud = cloud
        self.world = world
        self.member: Client = cloud.member
        self.read: dict[str, str] = {}

    def environment(self, name: str, mode: str) -> tuple[str, str]:
        environment = self.member.environment(name)
        with self.cloud.database.transaction() as work:
            row = environments.get(work, environment["id"])
            assert row is not None
            row.model = {**row.model, "SystemData": {"TrustId": PLANTED["trust"]}}
        session = self.member.session(environment["id"])
        body = {
            "?": {"id": f"box-{name}", "type": "vault.Box"},
            "name": name,
            "mode": mode,
            "password": PLANTED["password"],
            "sessionToken": PLANTED["inout"],
            "planPassword": PLANTED["plan"],
            "heatPassword": PLANTED["heat"],
            "adminPass": PLANTED["userdata"],
            "thrownSecret": PLANTED["thrown"],
            "lastToken": PLANTED["destroyed"],
            "accessTokens": [PLANTED["listed"]],
            "instance": {
                "?": {"id": f"server-{name}", "type": "io.murano.resources.LinuxMuranoInstance"},
                "name": f"server-{name}",
                "flavor": "m1.small",
                "image": "debian",
            },
        }
        path = f"/v1/environments/{environment['id']}/services"
        self.member("POST", path, body, X_Configuration_Session=session)
        return environment["id"], session

    def keep(self, where: str, answer: Any) -> str:
        self.read[where] = self.read.get(where, "") + answer.text
        return str(answer.text)

    def ask(self, name: str, environment_id: str, session: str) -> None:
        for question in ("check", "plan"):
            path = f"/v1/environments/{environment_id}/{question}"
            answer = self.member("POST", path, status=None, X_Configuration_Session=session)
            assert answer.status_int == 200, answer.text
            self.keep(f"{question} {name}", answer)

    def deploy(self, environment_id: str, session: str) -> None:
        self.member("POST", f"/v1/environments/{environment_id}/sessions/{session}/deploy")

    def ended(self, environment_id: str) -> Any:
        def states() -> list[str]:
            with self.cloud.database.reading() as work:
                found = sa.select(deployments.Deployment.state).where(
                    deployments.Deployment.environment_id == environment_id
                )
                return list(work.scalars(found))

        deadline = time.monotonic() + 120
        while any(state != deployments.FINISHED for state in states()):
            assert time.monotonic() < deadline, "the deployment does not end"
            time.sleep(0.02)

    def look(self, name: str, environment_id: str) -> None:
        """Reads all that can be read about the environment's deployments."""
        root = f"/v1/environments/{environment_id}"
        answer = self.member("GET", f"{root}/deployments", status=None)
        if answer.status_int != 200:
            return
        self.keep(f"GET deployments {name}", answer)
        for each in answer.json["deployments"]:
            self.keep(f"reports {name}", self.member("GET", f"{root}/deployments/{each['id']}"))
        self.keep(f"lastStatus {name}", self.member("GET", f"{root}/lastStatus"))
        with self.cloud.database.reading() as work:
            for row in work.scalars(sa.select(deployments.Deployment)):
                for entry in journal.entries(work, row.id):
                    self.read[f"journal of {name}"] = self.read.get(f"journal of {name}", "") + json.dumps(
                        entry.arguments
                    )
            for report in work.scalars(sa.select(statuses.Status)):
                self.read["rows of reports"] = self.read.get("rows of reports", "") + f"{report.text} {report.details}"
            for notice in work.scalars(sa.select(notices.Notice)):
                self.read["notices"] = self.read.get("notices", "") + json.dumps(notice.payload)


@pytest.fixture
def story(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Story]:
    caplog.set_level(logging.DEBUG, logger="")
    conf = config.load(
        overrides={
            "database": {"connection": f"sqlite:///{tmp_path}/catalog.sqlite"},
            "messaging": {"exchange": base.new_id()},
            "audit": {"driver": "log"},
        }
    )
    engine_config.register(conf)
    for group, name, value in (
        ("notifications", "driver", "log"),
        ("engine", "agent_secret", PLANTED["agentsecret"]),
        ("engine", "poll", 0.2),
        ("rabbitmq", "password", PLANTED["rabbitpass"]),
        ("murano_auth", "password", PLANTED["servicepass"]),
    ):
        conf.set_override(name, value, group=group)
    database = base.Database(conf.database.connection)
    database.create_tables()
    app = service.create_app(conf, database=database)
    cloud = people(app, database)
    archives = [
        *library.core_library(),
        zipped({"manifest.yaml": json.dumps(MANIFEST).encode(), "Classes/Box.yaml": BOX.encode()}),
    ]
    packages.import_archives(database, archives, owner_id=cloud.admin.project_id, is_public=True)
    world = World()
    engine = engine_service.EngineService(conf, database, lambda _context: world.cloud())
    engine.start()
    yield Story(cloud, world)
    engine.stop()
    app.close()


def test_what_was_planted_is_found_nowhere_that_people_read(
    story: Story, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    fine, session = story.environment("fine", "fine")
    story.ask("fine", fine, session)
    story.deploy(fine, session)
    story.ended(fine)
    for fail in (False, True):
        actions = _actions(story, fine)
        answer = story.member(
            "POST",
            f"/v1/environments/{fine}/actions/{actions['rotate']}",
            {"newPassword": PLANTED["argument"], "fail": fail},
        )
        story.ended(fine)
        result = story.member("GET", f"/v1/environments/{fine}/actions/{answer.json['task_id']}").json
        if fail:
            assert result["isException"] is True
            story.read["failed action"] = json.dumps(result)
        else:
            assert result == {"result": PLANTED["argument"], "isException": False}  # it was asked for
    for mode in ("leak", "refuse"):
        failing, session = story.environment(mode, mode)
        story.deploy(failing, session)
        story.ended(failing)
        story.look(mode, failing)
        assert "SANITIZED" in story.read[f"reports {mode}"]
        assert "Can not log in with" in story.read["reports leak"]
    waiting, session = story.environment("wait", "wait")
    story.deploy(waiting, session)
    assert story.world.waits.wait(120)
    listed = story.member("GET", f"/v1/environments/{waiting}/deployments").json["deployments"]
    story.member("POST", f"/v1/environments/{waiting}/deployments/{listed[0]['id']}/cancel", status=None)
    story.ended(waiting)
    for name, each in (("wait", waiting), ("fine", fine)):
        story.look(name, each)
    story.member("DELETE", f"/v1/environments/{fine}")
    story.ended(fine)
    story.look("deleted", fine)
    story.keep("metrics", story.cloud.anonymous("GET", "/metrics", REMOTE_ADDR=None, status=None))
    story.read["logs"] = "\n".join(
        f"{record.name} {caplog.handler.format(record)}" for record in caplog.get_records("call") if _is_ours(record)
    )
    with story.cloud.database.reading() as work:  # what is hidden is there, for whom it is meant
        kept = json.dumps([row.model for row in work.scalars(sa.select(deployments.Deployment))])
    assert {name for name in ("password", "inout", "made", "trust", "destroyed") if PLANTED[name] not in kept} == set()
    assert "Installing with" in story.read["rows of reports"]
    assert "The password is" in story.read["logs"]
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.sqlite*"))
    leaks = {
        (name, where)
        for name, secret in PLANTED.items()
        for where, text in {**story.read, "database": raw.decode("latin-1")}.items()
        if secret in text
    }
    assert leaks == set()


def _actions(story: Story, environment_id: str) -> dict[str, str]:
    with story.cloud.database.reading() as work:
        row = environments.get(work, environment_id)
        assert row is not None
        header = row.model["Objects"]["services"][0]["?"]
        assert work.scalars(sa.select(sessions.Session.state)).all().count("deployed") >= 1, json.dumps(
            [each.text for each in work.scalars(sa.select(statuses.Status))]
        )
        return {entry["name"]: action_id for action_id, entry in header["_actions"].items()}


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in (
        "catalog",
        "engine",
        "dsl",
        "cli",
        "applications",
        "oslo",
        "oslo_messaging",
        "root",
    )


# --- the operator's own ----------------------------------------------------------------------------------------------


def test_a_broker_whose_url_is_wrong_is_told_without_its_password(tmp_path: Path) -> None:
    for url in ("rabbit://chandlery:Pl4nted-broker@mq:notaport/", "nosuch://chandlery:Pl4nted-broker@mq/"):
        conf = config.load(
            overrides={
                "database": {"connection": f"sqlite:///{tmp_path}/c.sqlite"},
                "messaging": {"transport_url": url},
            }
        )
        with pytest.raises(ValueError, match=r"\[messaging\] transport_url") as told:
            service.create_app(conf)
        assert "Pl4nted" not in str(told.value)


def test_a_database_that_does_not_answer_is_told_without_its_password(caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql+psycopg://chandlery:Pl4nted-database@127.0.0.1:1/nothing"
    app = service.create_app(config.load(overrides={"database": {"connection": url}}))
    answer = Client(app, "token")("GET", "/v1/environments", status=None)
    assert answer.status_int == 503
    health = Client(app)("GET", "/healthcheck", status=503)
    texts = [answer.text, health.text, *(caplog.handler.format(record) for record in caplog.records)]
    assert len(texts) > 3
    assert not any("Pl4nted" in text for text in texts)
    app.close()
