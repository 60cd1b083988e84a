"""Who did what to what, and how it ended: one CADF event for every call that is to change something.

`Audit(conf)` hands events to oslo.messaging's notifier from a thread of its own: no request waits for the broker.
What can not be handed over in time goes to the log. No body, token or name of a tenant's thing is in an event.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import queue
import socket
import threading
from typing import Any

from oslo_config import cfg

from catalog import broker
from catalog.broker import oslo_messaging

LOG = logging.getLogger(__name__)

OFF = "noop"
WAITING = 1000  # events that wait for the broker; more than that go to the log
CLOSE_SECONDS = 5.0  # for the last events of a service that ends
RESOURCES = {  # what a segment of a path is about
    "environments": "environment",
    "sessions": "session",
    "services": "application",
    "model": "model",
    "deployments": "deployment",
    "actions": "action",
    "templates": "template",
    "packages": "package",
    "categories": "category",
    "imports": "package",
    "repositories": "repository",
    "reconciliations": "reconciliation",
    "leftovers": "stack",
}
CALLS = {  # where the last segment is a deed: what it is done to (None: to what is named before), and the deed
    "configure": ("session", "create"),
    "deploy": ("session", "deploy"),
    "check": (None, "check"),
    "plan": (None, "plan"),
    "cancel": (None, "cancel"),
    "retry": (None, "retry"),
    "clone": (None, "clone"),
    "create-environment": ("environment", "create"),
    "imports": ("package", "import"),
    "file": ("package", "import"),
    "actions": ("action", "execute"),
}
DEEDS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
TAXONOMY = {  # a deed in CADF's words, where it has other ones
    "check": "evaluate",
    "plan": "evaluate",
    "cancel": "stop",
    "retry": "start",
    "clone": "create",
    "import": "create",
    "execute": "start",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """One call that was answered. `template` is the path's, below the version; `status` the HTTP status."""

    method: str
    template: str
    path: str
    target_id: str | None
    status: int
    user_id: str
    project_id: str
    roles: tuple[str, ...]
    address: str
    agent: str
    request_id: str


class Audit:
    """Sends events, as `[audit]` says. Threads may share it."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.enabled = conf.audit.driver != OFF
        self._thread: threading.Thread | None = None
        if not self.enabled:
            return
        self._transport = broker.notification_transport(conf, conf.audit.transport_url)
        self._notifier = oslo_messaging.Notifier(
            self._transport,
            publisher_id=f"chandlery.{socket.gethostname()}",
            driver=conf.audit.driver,
            topics=list(conf.audit.topics),
            retry=conf.audit.retry,
        )
        self._waiting: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._send, name="audit", daemon=True)
        self._thread.start()

    def record(self, call: Call) -> None:
        """Hands the event of a call over. Never waits, never raises for the broker's sake."""
        if not self.enabled:
            return
        kind, event = event_type(call.method, call.template), event_of(call)
        try:
            self._waiting.put_nowait((kind, event))
        except queue.Full:
            LOG.warning("audit: the broker takes no events; not sent: %s %s", kind, json.dumps(event))

    def close(self) -> None:
        """Sends what waits, for a few seconds, and ends."""
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS)
            self._thread.join(CLOSE_SECONDS)
        except queue.Full:
            LOG.warning("audit: the broker takes no events; %d are lost", self._waiting.qsize())
        self._transport.cleanup()
        self._thread = None

    def _send(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            kind, event = waiting
            failed = event["outcome"] == "failure"
            try:
                (self._notifier.warn if failed else self._notifier.info)({}, kind, event)
            except Exception:  # the thread has to outlive whatever a driver does
                LOG.exception("audit: not sent: %s %s", kind, json.dumps(event))


def event_type(method: str, template: str) -> str:
    """`chandlery.environment.create` for `POST /environments`."""
    thing, deed = _meaning(method, template)
    return f"chandlery.{thing}.{deed}"


def event_of(call: Call) -> dict[str, Any]:
    """The CADF event of a call (DSP0262), as JSON."""
    from pycadf import cadftaxonomy, cadftype, event, host, reason, resource  # loaded only where audit is on

    thing, deed = _meaning(call.method, call.template)
    initiator = resource.Resource(
        id=call.user_id or "anonymous",
        typeURI=cadftaxonomy.ACCOUNT_USER,
        host=host.Host(address=call.address, agent=call.agent),
    )
    target = resource.Resource(id=call.target_id or "unknown", typeURI=f"service/application-catalog/{thing}")
    made = event.Event(
        eventType=cadftype.EVENTTYPE_ACTIVITY,
        action=TAXONOMY.get(deed, deed),
        outcome=cadftaxonomy.OUTCOME_SUCCESS if call.status < 400 else cadftaxonomy.OUTCOME_FAILURE,
        initiator=initiator,
        target=target,
        observer=resource.Resource(id="chandlery", typeURI="service/application-catalog"),
        reason=reason.Reason(reasonType="HTTP", reasonCode=str(call.status)),
    )
    document = json.loads(json.dumps(made.as_dict(), default=lambda value: value.as_dict()))
    document["initiator"] |= {"project_id": call.project_id, "roles": list(call.roles), "request_id": call.request_id}
    return {**document, "requestPath": call.path}


def _meaning(method: str, template: str) -> tuple[str, str]:
    """What a route is about, and what it does to it."""
    named = [segment for segment in template.split("/") if segment and not segment.startswith("{")]
    named = [segment.partition("{")[0] for segment in named]
    things = [RESOURCES[segment] for segment in named if segment in RESOURCES]
    thing = things[-1] if things else "service"
    if method == "POST" and named and named[-1] in CALLS:
        said, deed = CALLS[named[-1]]
        return said or thing, deed
    return thing, DEEDS.get(method, method.lower())
