"""The engine as the API sees it: over oslo.messaging, with the bundled packages and the real core library."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.parse

import pytest
from engine_harbour import BUNDLED, NETWORKS, harbour, of_harbour, publish
from engine_world import PROJECT, USER, effects_of, finished, new_environment, submit, texts

from catalog import broker
from catalog.broker import oslo_messaging
from catalog.db import base, environments
from engine import config, plan, service
from engine.clouds import recording


class World(recording.Recording):
    """The recording as a world that remembers which plans were carried out: each once, as an agent does it."""

    def __init__(self):
        super().__init__()
        self.plans = {}

    def run(self, agent_id, plan_id, plan, timeout, check=None):
        if plan_id not in self.plans:
            self.plans[plan_id] = super().run(agent_id, plan_id, plan, timeout, check)
        return self.plans[plan_id]


class Client:
    """What the API does."""

    def __init__(self, conf):
        client = oslo_messaging.get_rpc_client(broker.transport(conf), broker.target(conf))
        self._client = client.prepare(timeout=30)

    def __getattr__(self, name):
        return lambda **arguments: self._client.call({}, name, **arguments)

    def cast(self, name, **arguments):
        self._client.cast({}, name, **arguments)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for the module: the service over it takes a second to stop."""
    found = base.Database(f"sqlite:///{tmp_path_factory.mktemp('service')}/catalog.sqlite")
    found.create_tables()
    yield found
    found.dispose()


@pytest.fixture(scope="module")
def worlds():
    return [World()]


@pytest.fixture
def world(worlds):
    """A new world for each test."""
    worlds[0] = World()
    return worlds[0]


@pytest.fixture(scope="module")
def engine(database, worlds):
    messaging = {"exchange": base.new_id()}  # other tests run engines in this process, too
    conf = config.load(overrides={"engine": {"poll": 60.0, "lease": 5.0}, "messaging": messaging})
    running = service.EngineService(conf, database, lambda context: worlds[0].cloud())
    running.start()
    yield Client(conf)
    running.stop()


@pytest.fixture(scope="module")
def grafana():
    return json.loads((BUNDLED / "examples" / "grafana-on-kubernetes.json").read_text())


def composed(database, applications, **changes):
    environment_id = new_environment(database, applications, name=base.new_id())
    with database.transaction() as session:
        environment = environments.get(session, environment_id)
        objects = {**environment.model["Objects"], "defaultNetworks": NETWORKS}
        environment.model = {**environment.model, "Objects": objects, **changes}
        return environment_id, environment.model


def planned(engine, model, lock):
    environment_id = model["Objects"]["?"]["id"]
    action = plan.deploying(environment_id)
    return engine.plan(
        model=model, lock=lock, project_id=PROJECT, user_id=USER, environment_id=environment_id, action=action
    )


def bundled(database):
    return publish(database, *sorted(path.parent for path in BUNDLED.glob("*/manifest.yaml")))


def test_a_wake_up_starts_a_deployment_that_no_poll_would_have_found_yet(database, engine, world, grafana):
    lock = bundled(database)
    environment_id, _model = composed(database, grafana)
    deployment_id = submit(database, environment_id, lock=lock)
    engine.cast("deployment_ready", deployment_id=deployment_id)
    seen = finished(database, deployment_id, 30)
    assert seen.session_state == "deployed", seen.result
    said = texts(database, deployment_id)
    assert any("Kubernetes" in text for text in said)
    assert any("grafana is at http://" in text for text in said)
    assert said[-1] == "Deployment finished"
    kinds = {step.kind for step in world.steps}
    assert kinds == {"create", "update", "execute"} or kinds == {"create", "execute"}
    assert len(effects_of(database, deployment_id)) > 50


def test_a_model_that_can_be_deployed_has_no_problems(database, engine, grafana):
    _environment_id, model = composed(database, grafana)
    found = engine.check(model=model, lock=bundled(database), project_id=PROJECT)
    assert found == {"problems": [], "notes": []}


def test_a_missing_dependency_is_a_problem_at_the_field_that_lacks_it(database, engine, world, grafana):
    without = [
        {key: value for key, value in each.items() if key != "influxDB"}
        for each in grafana
        if each["?"]["type"] != "org.chandlery.InfluxDB"
    ]
    _environment_id, model = composed(database, without)
    (problem,) = engine.check(model=model, lock=bundled(database), project_id=PROJECT)["problems"]
    assert problem["object_id"] == "grafana"
    assert problem["type"] == "org.chandlery.Grafana"
    assert problem["path"] == "influxDB"
    assert problem["expected"] == "an object of class org.chandlery.InfluxDB"
    assert problem["fix"] == (
        "Add an application of class org.chandlery.InfluxDB, from package org.chandlery.InfluxDB 0.1.0, and set "
        "influxDB to it"
    )
    assert world.steps == []


def test_a_class_that_no_package_defines_is_a_problem_of_its_object(database, engine):
    ship = {"?": {"type": "harbour.Submarine", "id": "s"}, "name": "Nemo"}
    _environment_id, model = composed(database, [ship])
    (problem,) = engine.check(model=of_harbour(ship)(model), lock=harbour(database), project_id=PROJECT)["problems"]
    assert (problem["object_id"], problem["path"]) == ("s", "?/type")
    assert problem["fix"] == "Import a package that defines harbour.Submarine: the catalog has none"


def test_a_plan_shows_servers_scripts_and_reports_in_order_and_does_nothing(database, engine, world, grafana):
    _environment_id, model = composed(database, grafana)
    lock = bundled(database)
    answer = planned(engine, model, lock)
    summaries = [step["summary"] for step in answer["steps"]]
    kinds = [step["kind"] for step in answer["steps"]]
    assert any(summary.startswith("Create the network ") for summary in summaries)
    servers = [step["target"] for step in answer["steps"] if step["type"] == "OS::Nova::Server"]
    assert servers == ["kube-master", "kube-minion-1", "kube-minion-2", "kube-gateway-1"]
    assert "Start the Kubernetes control plane on kube-master (start-master.sh)" in summaries
    assert kinds.index("create") < kinds.index("execute")
    assert not any("The plan ends here" in summary for summary in summaries)
    assert world.steps == []
    assert answer["hash"] == planned(engine, model, lock)["hash"]


def test_another_model_has_another_plan(database, engine, grafana):
    lock = bundled(database)
    _environment_id, model = composed(database, grafana)
    less = {**model, "Objects": {**model["Objects"], "services": model["Objects"]["services"][:1]}}
    one, two = (planned(engine, each, lock) for each in (model, less))
    assert len(two["steps"]) < len(one["steps"])
    assert two["hash"] != one["hash"]


def test_no_secret_of_the_model_is_in_its_plan(database, engine, grafana):
    text = json.dumps(grafana)
    for name in ("influxdb_password", "influxdb_admin_password", "grafana_password"):
        text = text.replace("{" + name + "}", f"s3cret-{name}")
    _environment_id, model = composed(database, json.loads(text))
    answer = planned(engine, model, bundled(database))
    assert "s3cret-" not in json.dumps(answer)


def test_errors_of_questions_come_back_under_their_own_names(database, engine):
    asked = {"lock": harbour(database), "project_id": PROJECT}
    with pytest.raises(Exception, match=r"harbour\.Nothing") as raised:
        engine.static_action(class_name="harbour.Nothing", method_name="x", parameters={}, user_id=USER, **asked)
    assert type(raised.value).__name__ == "NoPackageForClassFound"
    lock = [{"fqn": "lost", "version": "1.0.0", "package_id": "gone", "digest": "d"}]
    with pytest.raises(Exception, match="deleted") as raised:
        engine.check(model={}, lock=lock, project_id=PROJECT)
    assert type(raised.value).__name__ == "NoPackageFound"


def test_a_static_action_answers_and_changes_nothing(database, engine):
    asked = {"class_name": "harbour.Port", "lock": harbour(database), "project_id": PROJECT, "user_id": USER}
    assert engine.static_action(method_name="tonnage", parameters={"ships": 3}, **asked) == 3000
    with pytest.raises(Exception, match="a static action answers a question"):
        engine.static_action(method_name="build", parameters={}, **asked)
    with pytest.raises(Exception, match="not exposed") as raised:
        engine.static_action(method_name="secret", parameters={}, **asked)
    assert type(raised.value).__name__ == "MethodNotExposed"


def test_eventlet_is_never_imported():
    code = "import sys, engine.service; sys.exit('eventlet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_process_says_what_its_configuration_lacks(tmp_path):
    file = tmp_path / "chandlery.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/c.sqlite\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from engine import service; sys.exit(service.main([sys.argv[1]]))",
            str(file),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "[murano_auth] auth_url: expected a value" in done.stderr


BROKER = os.environ.get("CHANDLERY_TEST_RABBITMQ", "rabbit://guest:guest@127.0.0.1:5672/")


def test_over_a_real_broker_questions_wake_ups_and_errors_arrive(database, worlds, world):
    parsed = urllib.parse.urlsplit(BROKER)
    try:
        socket.create_connection((parsed.hostname, parsed.port or 5672), timeout=1).close()
    except OSError as error:
        pytest.skip(f"no RabbitMQ at {parsed.hostname}:{parsed.port}: {error}")
    messaging = {"transport_url": BROKER, "exchange": f"chandlery-test-{base.new_id()}"}
    conf = config.load(overrides={"engine": {"poll": 60.0}, "messaging": messaging})
    broker.transport(conf).cleanup()  # makes the broker's options known
    conf.set_override("rabbit_quorum_queue", False, group="oslo_messaging_rabbit")  # they can not go by themselves ...
    conf.set_override("amqp_auto_delete", True, group="oslo_messaging_rabbit")  # ... and these leave nothing behind
    running = service.EngineService(conf, database, lambda context: worlds[0].cloud())
    running.start()
    try:
        client = Client(conf)
        lock = harbour(database)
        with pytest.raises(Exception, match=r"harbour\.Nothing") as raised:
            client.static_action(
                class_name="harbour.Nothing",
                method_name="x",
                parameters={},
                lock=lock,
                project_id=PROJECT,
                user_id=USER,
            )
        assert getattr(raised.value, "exc_type", type(raised.value).__name__) == "NoPackageForClassFound"
        deployment_id = submit(database, new_environment(database, name="broker"), lock=lock, change=of_harbour())
        client.cast("deployment_ready", deployment_id=deployment_id)
        assert finished(database, deployment_id, 20).session_state == "deployed"
    finally:
        running.stop()


def test_the_process_drains_on_sigterm(tmp_path):
    file = tmp_path / "chandlery.conf"
    file.write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/c.sqlite\n"
        "[engine]\nagent_url = http://127.0.0.1:1\nagent_secret = 0123456789abcdef\n"
        "[murano_auth]\nauth_url = http://127.0.0.1:1/v3\n"
    )
    made = base.Database(f"sqlite:///{tmp_path}/c.sqlite")
    made.create_tables()
    made.dispose()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from engine import service; sys.exit(service.main([sys.argv[1]]))", file],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.rstrip().endswith(" ready"):
            process.terminate()
            break
    rest = process.stderr.read()
    assert process.wait(20) == 0, said
    assert "draining" in rest
