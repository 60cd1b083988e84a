"""Whether a caller may touch an environment or a session at all: checks before policy. spec/api-v1 §1.4-1.6.

The order of these checks is visible in status codes, and clients depend on it.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from sqlalchemy import orm

from catalog.api import conditional, errors
from catalog.api.request import SESSION_HEADER, Request
from catalog.db import environments, sessions
from catalog.db.deployments import Deployment
from catalog.db.environments import Environment
from catalog.db.sessions import Session


def environment_of(request: Request, session: orm.Session, environment_id: str | None = None) -> Environment:
    """The environment of the path: 404 without one, 403 when it belongs to another project (administrators pass)."""
    environment_id = environment_id or request.values["environment"]
    environment = environments.get(session, environment_id)
    if environment is None:
        raise errors.NotFound(f"Environment with id {environment_id} not found")
    own_project(request, environment.project_id)
    return environment


def own_project(request: Request, project_id: str) -> None:
    """403 for what belongs to another project (administrators pass)."""
    if project_id != request.caller.project_id and not request.caller.is_admin:
        raise errors.Forbidden("User is not authorized to access these tenant resources")


def session_of(request: Request, session: orm.Session, session_id: str, *, for_update: bool = False) -> Session:
    """The session of this id: 404 without one."""
    row = sessions.get(session, session_id, for_update=for_update)
    if row is None:
        raise errors.NotFound(f"Session {session_id} is not found")
    return row


def same_environment(row: Session, environment_id: str) -> None:
    """400 when the session belongs to another environment than the one of the path."""
    if row.environment_id != environment_id:
        raise errors.BadRequest(f"Session {row.id} is not tied with Environment {environment_id}")


def valid(request: Request, session: orm.Session, row: Session, environment: Environment) -> None:
    """403 when the session does not describe its environment any more."""
    if not sessions.is_valid(session, row, environment.version):
        raise errors.Forbidden(
            f"Session {row.id} is invalid: environment {environment.id} has been deployed since it was opened, "
            "or is being deployed from another session. Open a new session."
        )


def editable_session(request: Request, session: orm.Session) -> tuple[Session, Environment]:
    """The session of the header, to be written to: 400 without the header, 404, 403, and 400 for a foreign one."""
    if request.session_id is None:
        raise errors.BadRequest(f"Header {SESSION_HEADER}: expected the id of a session, found none. Open one first.")
    row = session_of(request, session, request.session_id, for_update=True)
    environment_id = request.values["environment"]
    own = environments.get(session, row.environment_id)
    if own is not None and row.environment_id == environment_id:
        if not sessions.is_valid(session, row, own.version):
            raise errors.Forbidden(f"Session {row.id} is invalid. Open a new session.")
        if row.state in (sessions.DEPLOYING, sessions.DELETING):
            raise errors.Forbidden(f"Session {row.id} is being deployed. Wait for its end, then open a new session.")
    environment = environment_of(request, session)
    same_environment(row, environment.id)
    if row.state != sessions.OPENED:
        raise errors.Forbidden(f"Session {row.id} is {row.state}: expected one that is opened. Open a new session.")
    request.authorize("change_session", environment_id=environment.id)
    check_generation(request, row)
    return row, environment


@dataclasses.dataclass(frozen=True)
class View:
    """What a read shows: the environment, the model it is seen with, and the generation of whichever that is from."""

    environment: Environment
    session: Session | None
    model: dict[str, Any]

    @property
    def etag(self) -> str:
        return etag_of(self.session or self.environment)

    @property
    def objects(self) -> Any:
        return self.model.get("Objects")


def view(request: Request, session: orm.Session) -> View:
    """The environment of the path as the session in the header sees it; without one, as it is deployed.

    An invalid or deployed session shows the environment's own model, silently.
    """
    environment = environment_of(request, session)
    if request.session_id is None:
        return View(environment, None, environment.model)
    row = session_of(request, session, request.session_id)
    same_environment(row, environment.id)
    if row.state == sessions.DEPLOYED or not sessions.is_valid(session, row, environment.version):
        return View(environment, None, environment.model)
    return View(environment, row, row.model)


def change_model(row: Session) -> dict[str, Any]:
    """A copy of the session's model to change; assign it back to `row.model`."""
    return copy.deepcopy(row.model)


def etag_of(row: Session | Environment) -> str:
    """What names the present state of a session's or an environment's content."""
    return f'"{row.id}-{row.generation}"'


def check_generation(request: Request, row: Session | Environment) -> None:
    """409 when the client said by `If-Match` which state it changes, and it is another one by now."""
    wanted = request.web.headers.get("If-Match")
    if wanted is None or wanted.strip() == "*":
        return
    if etag_of(row) not in [conditional.state_of(each) for each in wanted.split(",")]:
        raise errors.Conflict("It was changed since it was read (If-Match does not fit). Read it again, then repeat.")


def idle(session: orm.Session, environment: Environment) -> None:
    """403 while the environment is being deployed or deleted."""
    status = environments.status(session, environment.id)
    if status in environments.BUSY:
        raise errors.Forbidden(f"Environment {environment.id} is {status}. Wait for its end.")


def deployment_of(request: Request, session: orm.Session) -> Deployment:
    """The deployment of the path: 404 for an unknown one, 400 for one of another environment, 403 for a foreign one."""
    row = session.get(Deployment, request.values["deployment"])
    if row is None:
        environment_of(request, session)
        raise errors.NotFound(f"Deployment with id {request.values['deployment']} not found")
    if row.environment_id != request.values["environment"]:
        environment_of(request, session)
        raise errors.BadRequest(f"Deployment {row.id} does not belong to environment {request.values['environment']}")
    environment_of(request, session)
    return row
