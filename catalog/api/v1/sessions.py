"""Configuration sessions. spec/api-v1 §1.5."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from catalog.api import errors
from catalog.api.request import Request
from catalog.api.timestamps import timestamp
from catalog.api.v1 import access, plans, submission, trusts
from catalog.db import environments, sessions
from catalog.db.environments import Environment
from catalog.db.sessions import Session


def configure(request: Request) -> Any:
    """POST /environments/E/configure: opens a session."""
    with request.database.transaction() as session:
        environment = access.environment_of(request, session)
        request.authorize("change_session", environment_id=environment.id)
        environments.lock(session, environment.id)
        access.idle(session, environment)
        return shown(sessions.open_for(session, environment, request.caller.user_id))


def show(request: Request) -> Any:
    """GET /environments/E/sessions/S. A session that has been deployed is invalid by that: 403."""
    with request.database.reading() as session:
        row = _own(request, session)
        environment = access.environment_of(request, session)
        request.authorize("show_environment", environment_id=environment.id)
        access.valid(request, session, row, environment)
        return shown(row)


def delete(request: Request) -> Any:
    """DELETE /environments/E/sessions/S: forgets what was edited in it."""
    with request.database.transaction() as session:
        row = _own(request, session)
        request.authorize("change_session", environment_id=row.environment_id)
        if row.state in (sessions.DEPLOYING, sessions.DELETING):
            raise errors.Forbidden(f"Session {row.id} is {row.state} and cannot be deleted. Wait for its end.")
        session.delete(row)


def deploy(request: Request) -> Any:
    """POST /environments/E/sessions/S/deploy, perhaps with `{"plan": <hash>}`: only if that plan still holds."""
    wanted = plans.wanted_in_body(request)
    held: dict[str, Any] | None = None
    compared = 0
    if wanted is not None:
        with request.database.transaction() as session:
            row, environment = _deployable(request, session)
            content = submission.with_environment_id(row.model, environment.id)
            lock = submission.locked(session, environment, row.id, content)
            compared = row.generation
        held = plans.held(request, wanted, content, lock, plans.deploying(environment.id))

    def ready(session: orm.Session) -> Environment:
        return _deployable(request, session)[1]

    with trusts.for_submission(request, ready) as lent, request.database.transaction() as session:
        row, environment = _deployable(request, session)
        if held is not None and row.generation != compared:
            raise errors.Conflict(f"Session {row.id} was changed while its plan was compared. Make a new plan.")
        deployment_id = submission.submit_deploy(request, session, environment, row, lent, held)
    request.services.engine.wake(deployment_id)
    return None


def _deployable(request: Request, session: orm.Session) -> tuple[Session, Environment]:
    row = access.session_of(request, session, request.values["session"])
    access.same_environment(row, request.values["environment"])
    environment = access.environment_of(request, session)
    request.authorize("change_session", environment_id=environment.id)
    access.valid(request, session, row, environment)
    if row.state != sessions.OPENED:
        raise errors.Forbidden(f"Session {row.id} is {row.state}: expected one that is opened. Open a new session.")
    access.check_generation(request, row)
    return row, environment


def shown(row: Session) -> dict[str, Any]:
    """A session as clients see it."""
    return {
        "id": row.id,
        "environment_id": row.environment_id,
        "user_id": row.user_id,
        "state": row.state,
        "version": row.version,
        "created": timestamp(row.created),
        "updated": timestamp(row.updated),
    }


def _own(request: Request, session: orm.Session) -> Session:
    """The session of the path, which has to be the caller's own: 404, 400, 404/403, 403 in this order.

    The original's last one was a 401, which made clients report a failed login (spec/api-v1 §5 B32).
    """
    row = access.session_of(request, session, request.values["session"])
    access.same_environment(row, request.values["environment"])
    access.environment_of(request, session)
    if row.user_id != request.caller.user_id:
        raise errors.Forbidden(f"Session {row.id} belongs to another user. Open a session of your own.")
    return row
