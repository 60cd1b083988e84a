"""Audit events: who did what to what, and how it ended; in one process, and over RabbitMQ where it answers."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from catalog_cloud import Cloud, archive_of, cloud_of
from oslo_config import cfg

from catalog import audit, broker, config, service
from catalog.api.v1 import urls
from catalog.broker import oslo_messaging
from catalog.db.base import Database

RABBIT = os.environ.get("CHANDLERY_TEST_RABBITMQ", "rabbit://guest:guest@127.0.0.1:5672/")
PATIENCE = 60.0  # seconds for an event to arrive, however busy the machine is


class Heard:
    """A consumer of notifications that remembers them."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, _context: Any, _publisher: str, event_type: str, payload: Any, _metadata: Any) -> None:
        with self._news:
            self.events.append((event_type, payload))
            self._news.notify_all()

    warn = info

    def wait_for(self, number: int) -> list[tuple[str, dict[str, Any]]]:
        """The first `number` events."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.events) >= number, PATIENCE), self.events
            return self.events[:number]


def listener(conf: cfg.ConfigOpts, heard: Heard) -> Any:
    transport = broker.notification_transport(conf, conf.audit.transport_url)
    target = oslo_messaging.Target(topic=conf.audit.topics[0])
    made = oslo_messaging.get_notification_listener(transport, [target], [heard], executor="threading")
    made.start()
    return made


@pytest.fixture(params=["fake", "rabbit"])
def overrides(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    name = f"audit-{uuid.uuid4().hex}"  # nobody else listens, and nobody else speaks
    url = "fake://" if request.param == "fake" else RABBIT
    return {
        "audit": {"driver": "messagingv2", "transport_url": url, "exchange": name, "topics": [name]},
    }


@pytest.fixture
def heard(cloud: Cloud, overrides: dict[str, dict[str, Any]]) -> Iterator[Heard]:
    conf = config.load(overrides=overrides)
    url = overrides["audit"]["transport_url"]
    for each in (conf, cloud.app.services.config):
        broker.notification_transport(each, "fake://").cleanup()
    if url.startswith("rabbit"):
        _skip_without(url)
        for each in (conf, cloud.app.services.config):
            broker.notification_transport(each, url).cleanup()
            each.set_override("amqp_auto_delete", True, group="oslo_messaging_rabbit")  # leaves nothing behind
    heard = Heard()
    made = listener(conf, heard)
    yield heard
    made.stop()
    made.wait()
    made.transport.cleanup()


def _skip_without(url: str) -> None:
    import kombu

    try:
        with kombu.Connection(url.replace("rabbit://", "amqp://"), connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
    except OSError as failure:
        pytest.skip(f"RabbitMQ does not answer: {failure}")


def test_every_call_that_is_to_change_something_is_told_with_its_outcome(cloud: Cloud, heard: Heard) -> None:
    environment = cloud.member.environment("a secret name", services=[])["id"]
    cloud.member("GET", f"/v1/environments/{environment}")
    session = cloud.member.session(environment)
    package = cloud.member.upload(archive_of("org.example.App")).json["id"]
    cloud.stranger("DELETE", f"/v1/environments/{environment}", status=403)
    cloud.anonymous("POST", "/v1/environments", {"name": "x"}, status=401)
    events = heard.wait_for(4)
    told = sorted((kind, payload["target"]["id"], payload["outcome"]) for kind, payload in events)
    assert told == sorted(
        [
            ("chandlery.environment.create", environment, "success"),
            ("chandlery.session.create", session, "success"),
            ("chandlery.package.create", package, "success"),
            ("chandlery.environment.delete", environment, "failure"),
        ]
    )
    [refused] = [payload for kind, payload in events if kind == "chandlery.environment.delete"]
    assert refused["eventType"] == "activity"
    assert refused["action"] == "delete"
    assert refused["reason"]["reasonCode"] == "403"
    assert refused["target"]["typeURI"] == "service/application-catalog/environment"
    assert refused["initiator"]["id"] == cloud.stranger.user_id
    assert refused["initiator"]["project_id"] == cloud.stranger.project_id
    assert refused["initiator"]["roles"] == ["member"]
    assert refused["initiator"]["request_id"].startswith("req-")
    assert refused["requestPath"] == f"/v1/environments/{environment}"
    everything = str(events)
    for secret in ("a secret name", cloud.member.token or "?", cloud.stranger.token or "?"):
        assert secret not in everything


@pytest.mark.parametrize("overrides", [{}], indirect=False)
def test_audit_is_off_by_default(cloud: Cloud, overrides: dict[str, Any]) -> None:
    assert config.load().audit.driver == "noop"
    assert not audit.Audit(config.load()).enabled
    cloud.member.environment("a")


@pytest.mark.parametrize("overrides", [{}], indirect=False)
def test_no_request_waits_for_a_broker_that_is_away(
    furnished: tuple[Any, Any], tmp_path: Any, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    import shutil

    shutil.copy(furnished[0], tmp_path / "c.sqlite")
    stuck, free = threading.Event(), threading.Event()

    def never(*_arguments: object, **_options: object) -> None:
        stuck.set()
        free.wait(PATIENCE)

    monkeypatch.setattr(oslo_messaging.Notifier, "info", never)
    monkeypatch.setattr(oslo_messaging.Notifier, "warn", never)
    monkeypatch.setattr(audit, "WAITING", 1)
    conf = config.load(
        overrides={
            "database": {"connection": f"sqlite:///{tmp_path}/c.sqlite"},
            "audit": {"driver": "messagingv2", "exchange": uuid.uuid4().hex},
        }
    )
    database = Database(conf.database.connection)
    app = service.create_app(conf, database=database)
    cloud = cloud_of(app, database, furnished[1])
    cloud.member.environment("first")
    assert stuck.wait(PATIENCE)
    cloud.member.environment("waits")
    cloud.member.environment("is logged")
    assert "not sent: chandlery.environment.create" in caplog.text
    free.set()
    app.close()


WRITES = [(route.method, route.path) for route in urls.ROUTES if route.method != "GET"]


@pytest.mark.parametrize(("method", "template"), WRITES)
def test_every_route_that_writes_has_a_meaning(method: str, template: str) -> None:
    kind = audit.event_type(method, template)
    _, thing, deed = kind.split(".")
    assert thing in {*audit.RESOURCES.values(), "environment"}
    assert deed in {*audit.DEEDS.values(), *(deed for _, deed in audit.CALLS.values())}


@pytest.mark.parametrize(
    ("method", "template", "kind"),
    [
        ("POST", "/environments", "chandlery.environment.create"),
        ("POST", "/environments/{environment}/sessions/{session}/deploy", "chandlery.session.deploy"),
        ("POST", "/environments/{environment}/deployments/{deployment}/cancel", "chandlery.deployment.cancel"),
        ("POST", "/environments/{environment}/deployments/{deployment}/retry", "chandlery.deployment.retry"),
        ("POST", "/environments/{environment}/actions/{action}", "chandlery.action.execute"),
        ("PUT", "/environments/{environment}/services{path...}", "chandlery.application.update"),
        ("POST", "/catalog/imports", "chandlery.package.import"),
        ("POST", "/templates/{template}/create-environment", "chandlery.environment.create"),
    ],
)
def test_what_a_call_means(method: str, template: str, kind: str) -> None:
    assert audit.event_type(method, template) == kind
