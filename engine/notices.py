"""Tells other services on the bus what becomes of environments (spec/engine-flow §7).

`murano.environment.deploy.start`, `.end` and `.error`, the same for `delete` and `action`; every hour `.exists` of what
is deployed, for billing. A notice is left in the transaction that claims or ends a deployment; the `Crier` of each
process sends what there is. A consumer may hear one twice, and tells that by its message id.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy import orm

from catalog import broker
from catalog.broker import oslo_messaging
from catalog.db import base, deployments, environments, instance_stats, notices

LOG = logging.getLogger(__name__)

OFF = "noop"
AT_ONCE = 20  # notices sent in one transaction
LONGEST_PAUSE = 60.0  # seconds between two tries while the broker is away

OPTIONS = (
    cfg.StrOpt(
        "driver",
        default=OFF,
        choices=[OFF, "messagingv2", "log"],
        help="How other services are told what becomes of environments: over the bus, in the log, or not at all.",
    ),
    cfg.StrOpt(
        "transport_url", secret=True, help="Broker of notifications, where it is not that of [messaging] transport_url."
    ),
    cfg.ListOpt("topics", default=["notifications"], help="Topics; consumers listen to <topic>.info, <topic>.error."),
    cfg.StrOpt("exchange", default="murano", help="Exchange of notifications."),
    cfg.FloatOpt("poll", default=2.0, min=0.05, help="Seconds between two looks for what is to be told."),
)

STATS = (
    cfg.BoolOpt("env_audit_enabled", default=True, help="Whether other services are told of environments at all."),
    cfg.IntOpt("env_audit_period", default=60, min=1, help="Minutes between two notices that an environment exists."),
)
USAGE = "usage notices"  # the name under which processes agree on who tells of a period
USAGE_LOOK = 30.0  # seconds between two looks whether a period has begun


def enabled(conf: cfg.ConfigOpts) -> bool:
    """Whether anything is told."""
    return conf.notifications.driver != OFF and bool(conf.stats.env_audit_enabled)


def begun(session: orm.Session, deployment_id: str) -> None:
    """Leaves the notice that a deployment begins."""
    deployment = session.get_one(deployments.Deployment, deployment_id)
    environment = environments.get(session, deployment.environment_id)
    if environment is not None:
        notices.add(session, _event(deployment, "start"), _payload(session, deployment, environment, "info"))


def ended(
    session: orm.Session,
    deployment: deployments.Deployment,
    environment: environments.Environment,
    failure: str | None,
) -> None:
    """Leaves the notice of a deployment's end; `failure` is why it failed. Call it before a deleted one's rows go."""
    payload = _payload(session, deployment, environment, "info" if failure is None else "error")
    payload["deployment_finished"] = _moment(deployment.finished or base.now())
    if failure is not None:
        payload["reason"] = failure
    elif deployment.kind == "delete":
        payload["deleted_at"] = payload["deployment_finished"]
    what = "end" if failure is None else "error"
    notices.add(session, _event(deployment, what), payload, is_error=failure is not None)


def exists(session: orm.Session, period: float) -> int:
    """Leaves a notice for each environment that was deployed with success and is there, unless somebody has in this
    period, in seconds, of the database's clock; how many.
    """
    slot = int(float(session.scalar(sa.select(deployments.database_clock())) or 0.0) // period)
    if not notices.is_first(session, USAGE, slot):
        return 0
    ours = deployments.Deployment
    last = (
        sa.select(
            ours.id,
            sa.func.row_number().over(partition_by=ours.environment_id, order_by=ours.finished.desc()).label("rank"),
        )
        .where(ours.state == deployments.FINISHED, ours.failure.is_(None), ours.kind != "delete")
        .subquery()
    )
    query = (
        sa.select(ours, environments.Environment)
        .join(last, sa.and_(last.c.id == ours.id, last.c.rank == 1))
        .join(environments.Environment, environments.Environment.id == ours.environment_id)
        .options(*(orm.defer(column) for column in (ours.model, ours.lock, ours.result)))
    )
    rows = session.execute(query.order_by(ours.environment_id)).all()
    for deployment, environment in rows:
        payload = _payload(session, deployment, environment, "info")
        payload["deployment_finished"] = _moment(deployment.finished)
        notices.add(session, "murano.environment.exists", payload)
    return len(rows)


class Crier:
    """Sends what notices there are, between `start()` and `stop()`; waits for a broker that is away. One of all
    processes leaves those that environments exist.
    """

    def __init__(self, conf: cfg.ConfigOpts, database: base.Database) -> None:
        self.enabled = enabled(conf)
        self._period = conf.stats.env_audit_period * 60.0
        self._next_look = 0.0  # of the monotonic clock
        self._database = database
        self._poll = conf.notifications.poll
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if self.enabled:
            settings = conf.notifications
            self._topics = tuple(settings.topics)
            self._publisher = f"murano.{socket.gethostname()}"
            self._log_only = settings.driver == "log"
            self._transport = broker.notification_transport(conf, settings.transport_url, settings.exchange)

    def start(self) -> None:
        if self.enabled:
            self._thread = threading.Thread(target=self._cry, name="notices", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Sends what is left, if the broker takes it in time."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _cry(self) -> None:
        pause = self._poll
        while True:
            last = self._ended.is_set()
            try:
                self._tell_of_usage()
                while self._send() == AT_ONCE:
                    pass
                pause = self._poll
            except Exception as error:  # of the broker or the database; what was not sent stays
                LOG.warning("notices: could not be sent, next try in %.0f s: %s", pause, error)
                pause = min(pause * 2, LONGEST_PAUSE)
            if last:
                return
            self._ended.wait(pause)

    def _tell_of_usage(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + USAGE_LOOK
        # The error is that another process has begun in this moment.
        with contextlib.suppress(sa.exc.IntegrityError), self._database.transaction() as session:
            exists(session, self._period)

    def _send(self) -> int:
        with self._database.reading() as session:
            if session.scalar(sa.select(notices.Notice.id).limit(1)) is None:
                return 0
        with self._database.transaction() as session:
            taken = notices.take(session, AT_ONCE)
            for notice in taken:
                self._tell(notice)
            return len(taken)

    def _tell(self, notice: notices.Notice) -> None:
        """Raises what keeps the broker from taking it: oslo.messaging's own notifier would only log that."""
        priority = "ERROR" if notice.is_error else "INFO"
        message = {
            "message_id": notice.id,
            "publisher_id": self._publisher,
            "event_type": notice.event,
            "priority": priority,
            "payload": notice.payload,
            "timestamp": notice.created.isoformat(sep=" "),
        }
        if self._log_only:
            LOG.info("%s %s", notice.event, json.dumps(notice.payload))
            return
        for topic in self._topics:
            target = oslo_messaging.Target(topic=f"{topic}.{priority.lower()}")
            self._transport._send_notification(target, {}, message, version=2.0, retry=1)


def _event(deployment: deployments.Deployment, what: str) -> str:
    return f"murano.environment.{deployment.kind}.{what}"


def _payload(
    session: orm.Session,
    deployment: deployments.Deployment,
    environment: environments.Environment,
    level: str,
) -> dict[str, Any]:
    """Murano's fields, and ours: the deployment, its action, and what of the environment is accounted for."""
    tracked = sa.select(instance_stats.InstanceStats).where(
        instance_stats.InstanceStats.environment_id == environment.id
    )
    return {
        "id": environment.id,
        "environment_id": environment.id,
        "level": level,
        "tenant_id": environment.project_id,
        "user_id": deployment.user_id,
        "created_at": _moment(environment.created),
        "deleted_at": None,
        "launched_at": None,
        "timestamp": _moment(base.now()),
        "deployment_id": deployment.id,
        "deployment_started": _moment(deployment.started),
        "deployment_finished": None,
        "action": (deployment.action or {}).get("method"),
        "instances": [
            {
                "instance_id": row.instance_id,
                "instance_type": row.instance_type,
                "type_name": row.type_name,
                "unit_count": row.unit_count,
                "created": row.created,
                "destroyed": row.destroyed,
            }
            for row in session.scalars(tracked.order_by(instance_stats.InstanceStats.instance_id))
        ],
    }


def _moment(value: Any) -> str | None:
    return None if value is None else value.isoformat()
