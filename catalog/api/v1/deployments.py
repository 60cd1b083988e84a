"""Deployments and their reports, at once or as they happen. spec/api-v1 §1.8; events: docs/architecture.md."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
import webob
from sqlalchemy import orm

from catalog import model
from catalog.api import errors
from catalog.api.request import Request
from catalog.api.v1 import access, outputs, submission, trusts
from catalog.db import deployments, environments, statuses
from catalog.db.base import Database
from catalog.db.deployments import Deployment
from catalog.db.environments import Environment

KEEPALIVE_SECONDS = 15  # silence after which an event stream sends a comment, so that proxies keep it open
LAST_EVENT = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)
STREAM_SECONDS = 3600  # the longest life of one stream; clients reconnect with Last-Event-ID


def list_of_environment(request: Request) -> Any:
    """GET /environments/E/deployments, newest first."""
    with request.database.reading() as session:
        environment = access.environment_of(request, session)
        request.authorize("list_deployments", environment_id=environment.id)
        return {"deployments": _shown(session, deployments.of_environment(session, environment.id))}


def list_of_project(request: Request) -> Any:
    """GET /deployments: those of all environments of the project, environment by environment, newest first."""
    request.authorize("list_deployments_all_environments")
    with request.database.reading() as session:
        query = (
            sa.select(Deployment)
            .join(environments.Environment, environments.Environment.id == Deployment.environment_id)
            .where(environments.Environment.project_id == request.caller.project_id)
            .order_by(environments.Environment.created, Deployment.environment_id)
            .order_by(Deployment.created.desc(), Deployment.id.desc())
        )
        return {"deployments": _shown(session, session.scalars(query).all())}


def reports(request: Request) -> Any:
    """GET /environments/E/deployments/D: its reports; `service_id` restricts them to what is in applications.

    With `progress=true` what the engine says of its own work is among them.
    """
    with request.database.reading() as session:
        row = access.deployment_of(request, session)
        request.authorize("statuses_deployments", environment_id=row.environment_id, deployment_id=row.id)
        wanted = request.params.getall("service_id")
        entity_ids = _inside(row, wanted)
        if wanted and not entity_ids:
            return {"reports": []}
        found = statuses.of_deployment(session, row.id, entity_ids=entity_ids, progress=request.flag("progress"))
        return {"reports": [submission.shown_status(status) for status in found]}


def cancel(request: Request) -> Any:
    """POST /environments/E/deployments/D/cancel: ends it at its next step; 409 when it has ended already."""
    with request.database.transaction() as session:
        row = access.deployment_of(request, session)
        request.authorize("cancel_deployment", environment_id=row.environment_id, deployment_id=row.id)
        if not deployments.cancel(session, row.id):
            raise errors.Conflict(f"Deployment {row.id} has finished already")
    request.services.engine.wake(row.id)
    return None


def retry(request: Request) -> Any:
    """POST /environments/E/deployments/D/retry: the same again, from the step that failed (docs/engine.md)."""

    def ready(session: orm.Session) -> Environment:
        row = access.deployment_of(request, session)
        request.authorize("retry_deployment", environment_id=row.environment_id, deployment_id=row.id)
        environment = access.environment_of(request, session)
        submission.check_retry(session, environment, row)
        return environment

    with trusts.for_submission(request, ready) as lent, request.database.transaction() as session:
        environment = ready(session)
        row = access.deployment_of(request, session)
        made = submission.submit_retry(request, session, environment, row, lent)
        answer = _shown(session, [made])[0]
    request.services.engine.wake(made.id)
    return answer


def events(request: Request) -> Any:
    """GET /environments/E/deployments/D/events: reports as server-sent events, from `Last-Event-ID` on.

    Each event has the report's sequence as id, `report` as type and the report as data; the last one is of type
    `finished` with the deployment as data. With `progress=true` what the engine says of its own work is among them.
    With `output=true` there are events of type `output`, too, and ids say where the client is in both:
    `<report>.<output>`.
    """
    shows_output = request.flag("output")
    with request.database.reading() as session:
        row = access.deployment_of(request, session)
        request.authorize("statuses_deployments", environment_id=row.environment_id, deployment_id=row.id)
        if shows_output:
            request.authorize("output_deployments", environment_id=row.environment_id, deployment_id=row.id)
        deployment_id = row.id
    place = LAST_EVENT.fullmatch(request.web.headers.get("Last-Event-ID", "0"))
    after, seen = (int(place[1]), int(place[2] or 0)) if place else (0, 0)
    if not request.services.event_streams.acquire(blocking=False):
        raise errors.Unavailable("Too many event streams are open. Repeat in a while, or ask for the reports instead.")
    body = _Stream(request, deployment_id, after, seen if shows_output else None, request.flag("progress"))
    headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")]
    return webob.Response(app_iter=body, headerlist=headers)


class _Stream:
    """The events of one deployment; the server calls `close` when the client is gone or all was sent."""

    def __init__(self, request: Request, deployment_id: str, after: int, seen: int | None, progress: bool) -> None:
        self._slots = request.services.event_streams
        self._closed = False
        interval = request.config.api.event_interval
        self._events = _events(request.database, deployment_id, after, seen, interval, progress)

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._slots.release()


def _events(
    database: Database, deployment_id: str, after: int, seen: int | None, interval: float, progress: bool
) -> Iterator[bytes]:
    """Reports from `after` on; output from `seen` on, none if that is None."""
    yield b": reports of a deployment\n\n"
    ends = time.monotonic() + STREAM_SECONDS
    spoken = time.monotonic()
    while time.monotonic() < ends:
        with database.reading() as session:
            row = session.get(Deployment, deployment_id)
            found = (
                [] if row is None else statuses.of_deployment(session, deployment_id, after=after, progress=progress)
            )
            printed = [] if seen is None else outputs.news(session, deployment_id, seen)
            finished = row is None or row.state == deployments.FINISHED
            last = {} if row is None or not finished else _shown(session, [row])[0]
        for status in found:
            after = status.sequence
            yield _event("report", submission.shown_status(status), after, seen)
        for chunk in printed:
            seen = chunk.number
            yield _event("output", outputs.shown(chunk), after, seen)
        if len(printed) == outputs.AT_ONCE:
            continue
        if finished:
            yield _event("finished", last, after, seen)
            return
        if found or printed:
            spoken = time.monotonic()
        elif time.monotonic() - spoken > KEEPALIVE_SECONDS:
            spoken = time.monotonic()
            yield b": still there\n\n"
        time.sleep(interval)


def _event(kind: str, data: Any, sequence: int, seen: int | None) -> bytes:
    place = f"{sequence}" if seen is None else f"{sequence}.{seen}"
    return f"id: {place}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _shown(session: orm.Session, rows: Sequence[Deployment]) -> list[dict[str, Any]]:
    levels = statuses.levels(session, [row.id for row in rows])
    return [submission.shown_deployment(row, levels[row.id]) for row in rows]


def _inside(row: Deployment, service_ids: Sequence[str]) -> list[str]:
    """The ids of these applications, and of all objects in them."""
    found: list[str] = []
    for app in model.applications(row.model):
        if model.object_id(app) in service_ids:
            found.extend(model.object_ids(app))
    return found
