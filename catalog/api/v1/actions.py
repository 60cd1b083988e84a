"""Actions: methods of deployed applications, and static methods of classes. spec/api-v1 §1.9."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from catalog import dependencies, model
from catalog.api import errors
from catalog.api.request import Request, check_text
from catalog.api.v1 import access, plans, submission, trusts
from catalog.db import environments, sessions
from catalog.db.deployments import FINISHED, Deployment
from catalog.db.environments import Environment
from dsl.packages import VersionSpec


def execute(request: Request) -> Any:
    """POST /environments/E/actions/A with the arguments as body: `{"task_id": <deployment>}`.

    With `?plan=<hash>` only if that plan of the action still holds.
    """
    wanted = plans.wanted_in_query(request)
    held: dict[str, Any] | None = None
    compared = 0
    if wanted is not None:
        with request.database.transaction() as session:
            environment, action = _callable(request, session)
            content = submission.with_environment_id(environment.model, environment.id)
            lock = submission.resolved(session, environment.project_id, content, environment.id)
            compared = environment.generation
        held = plans.held(request, wanted, content, lock, action)

    def ready(session: orm.Session) -> Environment:
        return _callable(request, session)[0]

    with trusts.for_submission(request, ready) as lent, request.database.transaction() as session:
        environment, action = _callable(request, session)
        if held is not None and environment.generation != compared:
            raise errors.Conflict(f"Environment {environment.id} was changed while the plan was compared.")
        opened = sessions.open_for(session, environment, request.caller.user_id)
        task_id = submission.submit_action(request, session, environment, opened, lent, action, held)
    request.services.engine.wake(task_id)
    return {"task_id": task_id}


def _callable(request: Request, session: orm.Session) -> tuple[Environment, dict[str, Any]]:
    """The environment of the path, locked, and the action with the body as arguments, if it may be called now."""
    arguments = request.json_object()
    action_id = request.values["action"]
    environment = access.environment_of(request, session)
    request.authorize("execute_action", environment_id=environment.id)
    environments.lock(session, environment.id)
    access.idle(session, environment)
    found = model.find_action(environment.model.get("Objects"), action_id)
    if found is None:
        raise errors.NotFound(f"Action {action_id} is not found: actions exist once an environment is deployed")
    object_id, entry = found
    if not entry.get("enabled", False):
        raise errors.BadRequest(f"Action {action_id} is disabled")
    name = str(entry.get("name") or "")
    method = name if action_id == f"{object_id}_{name}" else action_id.rpartition(f"{object_id}_")[2]
    return environment, {"object_id": object_id, "method": method, "args": arguments}


def result(request: Request) -> Any:
    """GET /environments/E/actions/D: `{}` while it runs, `{"result", "isException"}` afterwards."""
    with request.database.reading() as session:
        environment = access.environment_of(request, session)
        request.authorize("execute_action", environment_id=environment.id)
        row = session.get(Deployment, request.values["action"])
        if row is None or row.environment_id != environment.id:
            raise errors.NotFound(f"Action result {request.values['action']} is not found")
        return row.result if row.state == FINISHED and row.result is not None else {}


def execute_static(request: Request) -> Any:
    """POST /actions: runs a public static method now and answers its result."""
    request.authorize("execute_action")
    body = request.json_object()
    class_name, method_name = (_text(body, key, required=True) for key in ("className", "methodName"))
    package_name = _text(body, "packageName", required=False)
    version = version_spec(body.get("classVersion"))
    parameters = body.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise errors.BadRequest("parameters: expected an object of arguments by name")
    lock = lock_of(request, class_name, version, package_name)
    with trusts.for_question(request, request.caller.project_id) as trust_id:
        return request.services.engine.static_action(
            class_name=class_name,
            method_name=method_name,
            package_name=package_name or None,
            class_version=version,
            parameters=parameters,
            lock=lock,
            project_id=request.caller.project_id,
            user_id=request.caller.user_id,
            **({"trust_id": trust_id} if trust_id else {}),
        )


def version_spec(value: Any) -> str:
    """A version specification from a client, `=0` where it sent none. Raises `errors.BadRequest`."""
    text = "=0" if value in (None, "") else value
    try:
        VersionSpec.parse(text)
    except ValueError as failure:
        raise errors.BadRequest(f"classVersion: expected a version specification such as 1.2 or >=1,<2: {failure}")
    return str(text)


def lock_of(request: Request, class_name: str, version: str, package_name: str | None) -> dependencies.Lock:
    """The lock for working with a class by itself. Raises `errors.NotFound`."""
    with request.database.reading() as session:
        try:
            return dependencies.lock_of_class(
                session, request.caller.project_id, class_name, version, package_name or None
            )
        except dependencies.Unresolvable as failure:
            raise errors.NotFound(str(failure), details=failure.details)


def _text(body: dict[str, Any], key: str, *, required: bool) -> str:
    value = body.get(key)
    if value in (None, "") and not required:
        return ""
    if not isinstance(value, str) or not value:
        raise errors.BadRequest(f"{key}: expected a non-empty string, found {value!r}"[:200])
    return check_text(value, key)
