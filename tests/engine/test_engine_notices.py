"""What other services hear of environments: once begun, once ended, also when workers or the broker die in between."""

from __future__ import annotations

import pytest
from engine_harbour import deployments_on, fleet, harbour, of_harbour
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, finished, new_environment, submit, wait_until

from catalog import broker
from catalog.broker import oslo_messaging
from catalog.db import base, deployments, instance_stats, notices, packages
from engine import config
from engine import notices as engine_notices
from engine.worker import Worker, WorkerSettings

TOLD = WorkerSettings(poll=0.05, lease=60.0, notices=True)


@pytest.fixture
def conf():
    notifications = {"driver": "messagingv2", "poll": 0.05, "exchange": base.new_id(), "transport_url": "fake://"}
    return config.load(overrides={"notifications": notifications})


@pytest.fixture
def heard(conf):
    """What a service on the bus hears, as (priority, event, payload)."""
    messages = []

    class Endpoint:
        def info(self, context, publisher, event, payload, metadata):
            messages.append(("info", event, payload))

        def error(self, context, publisher, event, payload, metadata):
            messages.append(("error", event, payload))

    transport = broker.notification_transport(conf, "fake://", conf.notifications.exchange)
    target = oslo_messaging.Target(topic="notifications", exchange=conf.notifications.exchange)
    listener = oslo_messaging.get_notification_listener(transport, [target], [Endpoint()], executor="threading")
    listener.start()
    yield messages
    listener.stop()
    listener.wait()


@pytest.fixture
def deploy(database):
    """Runs a deployment to its end, on a worker that leaves notices; the environment's and the deployment's id."""
    workers = []

    def run(kind="deploy", environment_id=None, ships=("anna",), method="deploy", cloud=None):
        cloud = cloud or MemoryCloud()
        environment_id = environment_id or new_environment(database)
        change = of_harbour(*fleet(*ships)) if kind == "deploy" else None
        deployment_id = submit(
            database, environment_id, lock=harbour(database), change=change, kind=kind, method=method
        )
        workers.append(Worker(database, deployments_on(database, cloud, notices=True).run, TOLD))
        workers[-1].start()
        finished(database, deployment_id, 60)
        workers[-1].stop()
        return environment_id, deployment_id

    return run


def left(database):
    with database.reading() as session:
        query = deployments.sa.select(notices.Notice).order_by(notices.Notice.created)
        return [(notice.event, notice.is_error, notice.payload) for notice in session.scalars(query)]


def test_a_deployment_and_a_deletion_are_told_from_begin_to_end(database, deploy):
    environment_id, deployment_id = deploy()
    deploy("delete", environment_id)
    told = left(database)
    assert [event for event, _is_error, _payload in told] == [
        "murano.environment.deploy.start",
        "murano.environment.deploy.end",
        "murano.environment.delete.start",
        "murano.environment.delete.end",
    ]
    (begun, ended, _, deleted) = (payload for _event, _is_error, payload in told)
    assert begun["deployment_finished"] is None
    assert (ended["environment_id"], ended["deployment_id"]) == (environment_id, deployment_id)
    assert ended["action"] == "deploy"
    assert ended["deployment_started"] == begun["deployment_started"] < ended["deployment_finished"]
    assert deleted["deleted_at"] is not None


def test_a_failure_is_told_with_its_reason(database, deploy):
    deploy(method="explode")
    event, is_error, payload = left(database)[-1]
    assert (event, is_error, payload["level"]) == ("murano.environment.deploy.error", True, "error")
    assert payload["reason"] == "The powder room is on fire"


def test_what_is_accounted_for_is_told(database, deploy):
    environment_id = new_environment(database)
    with database.transaction() as session:
        instance_stats.track(
            session,
            environment_id=environment_id,
            instance_id="server",
            instance_type=instance_stats.SERVER,
            type_name="io.murano.resources.Instance",
            type_title=None,
            unit_count=2,
            project_id="project-1",
        )
    deploy(environment_id=environment_id)
    _event, _is_error, payload = left(database)[-1]
    (instance,) = payload["instances"]
    assert (instance["instance_id"], instance["unit_count"], instance["destroyed"]) == ("server", 2, None)


def test_a_deployment_that_is_taken_over_is_not_begun_twice(database, deploy):
    deployment_id = submit(database, new_environment(database))
    with database.transaction() as session:
        deployments.claim(session, deployment_id, "a worker that died", 0.0)
        engine_notices.begun(session, deployment_id)
    successor = Worker(database, deployments_on(database, MemoryCloud(), notices=True).run, TOLD)
    successor.start()
    finished(database, deployment_id, 60)
    successor.stop()
    assert [event.rpartition(".")[2] for event, _is_error, _payload in left(database)] == ["start", "error"]


def test_nobody_is_told_where_nobody_listens(database):
    deployment_id = submit(database, new_environment(database))
    quiet = Worker(database, deployments_on(database, MemoryCloud()).run, WorkerSettings(poll=0.05))
    quiet.start()
    finished(database, deployment_id, 60)
    quiet.stop()
    assert left(database) == []


def tell(database, period=3600.0):
    with database.transaction() as session:
        return engine_notices.exists(session, period)


def test_what_is_deployed_is_told_of_once_in_a_period_by_whichever_process(any_database):
    environment_id, deployment_id = deploy_on(any_database)
    deploy_on(any_database, method="explode")
    new_environment(any_database, name="never deployed")
    before = len(left(any_database))
    assert [tell(any_database) for _process in range(3)] == [1, 0, 0]
    told = left(any_database)[before:]
    assert [event for event, _is_error, _payload in told] == ["murano.environment.exists"]
    payload = told[0][2]
    assert (payload["environment_id"], payload["deployment_id"]) == (environment_id, deployment_id)
    assert payload["tenant_id"] == "project-1"
    assert payload["deployment_started"] < payload["deployment_finished"]
    with any_database.transaction() as session:  # an hour later
        session.get_one(packages.Generation, engine_notices.USAGE).value -= 1
    assert tell(any_database) == 1


def test_an_environment_whose_last_deployment_failed_exists_all_the_same(database):
    environment_id, deployment_id = deploy_on(database)
    deploy_on(database, environment_id=environment_id, method="explode")
    assert tell(database) == 1
    assert left(database)[-1][2]["deployment_id"] == deployment_id


def test_the_crier_tells_of_usage_without_being_asked(database, conf, heard):
    environment_id, _deployment_id = deploy_on(database)
    criers = [engine_notices.Crier(conf, database) for _process in range(2)]
    for crier in criers:
        crier.start()
    wait_until(lambda: heard, what="that it is heard")
    for crier in criers:
        crier.stop()
    assert [(event, payload["id"]) for _priority, event, payload in heard] == [
        ("murano.environment.exists", environment_id)
    ]


def test_operators_switch_it_off(database, conf):
    conf.set_override("env_audit_enabled", False, group="stats")
    assert not engine_notices.Crier(conf, database).enabled


def deploy_on(database, environment_id=None, method="deploy"):
    """A deployment that has ended, of which nobody was told."""
    environment_id = environment_id or new_environment(database, name=f"harbour {base.new_id()}")
    change = of_harbour(*fleet("anna"))
    deployment_id = submit(database, environment_id, lock=harbour(database), change=change, method=method)
    assert carry(database, deployment_id, MemoryCloud(), MortalDatabase(database))
    return environment_id, deployment_id


def test_notices_are_sent_in_order_and_removed(any_database, conf, heard):
    with any_database.transaction() as session:
        for number in range(30):
            notices.add(session, f"event.{number}", {"number": number}, is_error=number == 7)
    crier = engine_notices.Crier(conf, any_database)
    crier.start()
    wait_until(lambda: len(heard) == 30, what="that all is heard")
    crier.stop()
    assert left(any_database) == []
    assert sorted(payload["number"] for _priority, _event, payload in heard) == list(range(30))
    assert [event for priority, event, _payload in heard if priority == "error"] == ["event.7"]


def test_what_a_broker_does_not_take_is_kept_until_it_does(database, conf, heard, monkeypatch):
    crier = engine_notices.Crier(conf, database)
    tries, real = [], crier._transport._send_notification

    def away(*arguments, **more):
        tries.append(1)
        if len(tries) < 3:
            raise oslo_messaging.MessageDeliveryFailure("the broker is away")
        return real(*arguments, **more)

    monkeypatch.setattr(crier._transport, "_send_notification", away)
    with database.transaction() as session:
        notices.add(session, "event", {"number": 1})
    crier.start()
    wait_until(lambda: heard, what="that it is heard")
    crier.stop()
    assert heard == [("info", "event", {"number": 1})]
    assert left(database) == []
