"""How a deployment, an action or a deletion is handed to the engine, and how deployments and reports are shown.

One transaction writes the dependency lock, the deployment's row and the session's state; waking a worker comes
after it. spec/api-v1 §1.5 ("What deploy does"), §1.8.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import orm

from catalog import dependencies, model
from catalog.api import errors
from catalog.api.request import Request
from catalog.api.timestamps import timestamp
from catalog.api.v1 import trusts
from catalog.db import deployments, environments, journal, masking, packages, session_locks, sessions, statuses
from catalog.db.environments import Environment
from catalog.db.sessions import Session


def submit_deploy(
    request: Request,
    session: orm.Session,
    environment: Environment,
    row: Session,
    lent: trusts.Lent | None,
    plan: dict[str, Any] | None = None,
) -> str:
    """Starts the deployment of a session with a trust; the deployment's id.

    `plan` is `{"hash", "moment"}` of the plan that it is held to. Raises `errors.BadRequest`, `errors.Forbidden`,
    `errors.Conflict`.
    """
    action = {"object_id": environment.id, "method": "deploy", "args": {}}
    return _submit(request, session, environment, row, lent, kind="deploy", action=action, plan=plan)


def submit_action(
    request: Request,
    session: orm.Session,
    environment: Environment,
    row: Session,
    lent: trusts.Lent | None,
    action: dict[str, Any],
    plan: dict[str, Any] | None = None,
) -> str:
    """Starts an action `{"object_id", "method", "args"}`; the deployment's id. Raises as `submit_deploy`."""
    return _submit(request, session, environment, row, lent, kind="action", action=action, plan=plan)


def submit_deletion(
    request: Request,
    session: orm.Session,
    environment: Environment,
    row: Session,
    lent: trusts.Lent | None,
    plan: dict[str, Any] | None = None,
) -> str:
    """Starts the deletion of everything the environment has; the deployment's id. Raises as `submit_deploy`."""
    return _submit(request, session, environment, row, lent, kind="delete", action=None, plan=plan)


def submit_retry(
    request: Request,
    session: orm.Session,
    environment: Environment,
    row: deployments.Deployment,
    lent: trusts.Lent | None,
) -> deployments.Deployment:
    """Starts a failed deployment again, from the step that failed. Raises `errors.Conflict`, `errors.Forbidden`."""
    environments.lock(session, environment.id)
    check_retry(session, environment, row)
    content = trusts.keep(environment, row.model, lent)
    opened = sessions.open_for(session, environment, request.caller.user_id)
    opened.model = content
    opened.state = sessions.DELETING if row.kind == "delete" else sessions.DEPLOYING
    session.flush()
    return deployments.submit(
        session,
        environment_id=environment.id,
        session_id=opened.id,
        project_id=request.caller.project_id,
        user_id=request.caller.user_id,
        kind=row.kind,
        action=row.action,
        model=content,
        lock=row.lock,
        plan=row.plan,  # for one that failed before it began
        retry_of=row.id,
    )


def check_retry(session: orm.Session, environment: Environment, row: deployments.Deployment) -> None:
    """Raises `errors.Conflict`, `errors.Forbidden` where a deployment can not go on."""
    _busy(session, environment)
    why_not = _why_no_retry(session, environment, row)
    if why_not is not None:
        raise errors.Conflict(f"Deployment {row.id} can not be retried: {why_not}. Deploy the environment instead.")


def _busy(session: orm.Session, environment: Environment) -> None:
    if environments.status(session, environment.id) in environments.BUSY:
        raise errors.Forbidden(f"Environment {environment.id} is being deployed or deleted. Wait for its end.")


def _why_no_retry(session: orm.Session, environment: Environment, row: deployments.Deployment) -> str | None:
    """Why a deployment that is over can not go on, None if it can."""
    levels = statuses.levels(session, [row.id])[row.id]
    if row.project_id != environment.project_id:
        return "it ran for another project than the environment's"
    if not (levels.get("error", 0) or (row.result or {}).get("isException")):
        return "it succeeded"
    newest = deployments.of_environment(session, environment.id)[0]
    if newest.id != row.id:
        return f"deployment {newest.id} ran after it"
    edited = None if row.session_id is None else sessions.get(session, row.session_id)
    renamed = row.kind != "delete" and _root_name(environment.model) != _root_name(row.model)
    if renamed or (edited is not None and edited.model != row.model):
        return "the environment's model was changed since"
    if row.failure is None:
        return "it is from before this service could do that"
    if row.failure.get("refused"):
        return str(row.failure["refused"])
    if journal.count(session, row.id) < int(row.failure.get("effects") or 0):
        return "its journal has been removed ([engine] keep_journals)"
    if not _stands(session, environment.project_id, row.lock):
        return "a package that it ran with was changed or removed"
    return None


def _root_name(content: dict[str, Any]) -> Any:
    """The environment's name in a model."""
    return (content.get("Objects") or {}).get("name")


def _submit(
    request: Request,
    session: orm.Session,
    environment: Environment,
    row: Session,
    lent: trusts.Lent | None,
    *,
    kind: str,
    action: dict[str, Any] | None,
    plan: dict[str, Any] | None,
) -> str:
    state = sessions.DELETING if kind == "delete" else sessions.DEPLOYING
    content = with_environment_id(row.model, environment.id)
    lock = locked(session, environment, row.id, content)
    environments.lock(session, environment.id)
    access_is_free = environments.status(session, environment.id) not in environments.BUSY
    session_id = row.id
    content = trusts.keep(environment, content, lent)
    row.model = content
    session.flush()
    if not (access_is_free and sessions.begin(session, row, state)):
        raise errors.Forbidden(f"Environment {environment.id} is being deployed or deleted. Wait for its end.")
    deployment = deployments.submit(
        session,
        environment_id=environment.id,
        session_id=session_id,
        project_id=request.caller.project_id,
        user_id=request.caller.user_id,
        kind=kind,
        action=action,
        model=content,
        lock=lock,
        plan=plan,
    )
    return deployment.id


def with_environment_id(content: dict[str, Any], environment_id: str) -> dict[str, Any]:
    """The model with the environment's id as that of its root object, as the engine addresses it."""
    objects = content.get("Objects")
    if not isinstance(objects, dict):
        return content
    return {**content, "Objects": {**objects, "?": {**objects.get("?", {}), "id": environment_id}}}


def locked(
    session: orm.Session, environment: Environment, session_id: str, content: dict[str, Any]
) -> dependencies.Lock:
    """The lock that a check or plan of the session has resolved, as long as its packages are there; a fresh one else.

    Raises `errors.BadRequest`.
    """
    digest = types_digest(content)
    kept = session_locks.get(session, session_id, digest)
    if kept is not None and _stands(session, environment.project_id, kept):
        return kept
    lock = resolved(session, environment.project_id, content, environment.id)
    session_locks.keep(session, session_id, digest, lock)
    return lock


def types_digest(content: dict[str, Any]) -> str:
    """Names the types of a model, which are what a lock depends on beside the packages there are."""
    found = {str(each) for key in ("Objects", "ObjectsCopy") for each in model.types(content.get(key))}
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def _stands(session: orm.Session, project_id: str, lock: dependencies.Lock) -> bool:
    """Whether every package of a lock is still what it was, and the project may still use it."""
    ids = [entry["package_id"] for entry in lock]
    rows = packages.versions_visible(session, project_id, [entry["fqn"] for entry in lock], ids)
    present = {row.id: row.digest for row in rows}
    return all(present.get(entry["package_id"]) == entry["digest"] for entry in lock)


def resolved(session: orm.Session, project_id: str, content: dict[str, Any], environment_id: str) -> dependencies.Lock:
    """The lock of an environment's model, what the engine may have to destroy included. Raises `errors.BadRequest`."""
    held = deployments.locked_packages(session, environment_id)
    try:
        return dependencies.lock_of(session, project_id, content.get("Objects"), content.get("ObjectsCopy"), held=held)
    except dependencies.Unresolvable as failure:
        raise errors.BadRequest(str(failure), details=failure.details)


def shown_deployment(row: deployments.Deployment, levels: dict[str, int]) -> dict[str, Any]:
    """A deployment as clients see it."""
    objects = row.model.get("Objects")
    description: Any = {"services": []}
    if isinstance(objects, dict):
        description = model.sanitized(objects)
        if "applications" in description and "services" not in description:
            description["services"] = description.pop("applications")
    return {
        "id": row.id,
        "environment_id": row.environment_id,
        "created": timestamp(row.created),
        "updated": timestamp(row.updated),
        "started": timestamp(row.started or row.created),
        "finished": timestamp(row.finished),
        "description": description,
        "action": model.sanitized(row.action),
        "result": _shown_result(row),
        "state": deployments.shown_state(row, levels),
        **({} if row.retry_of is None else {"retry_of": row.retry_of}),
    }


def _shown_result(row: deployments.Deployment) -> Any:
    """The result without the secrets of the model, which it may have from there; who executed an action asks for its
    result as it is.
    """
    if not row.result:
        return {}
    return masking.hidden(row.result, masking.spellings(masking.of_model(row.model) | masking.found_in(row.action)))


def shown_status(row: statuses.Status) -> dict[str, Any]:
    """A report as clients see it."""
    return {
        "id": row.id,
        "task_id": row.deployment_id,
        "entity_id": row.entity_id,
        "entity": "",
        "level": row.level,
        "text": row.text,
        "details": row.details,
        "created": timestamp(row.created),
        "updated": timestamp(row.created),
        "component": row.component,
        "step": row.step,
        "effect": None if row.effect_key is None else {"key": row.effect_key, "name": row.effect_name},
        "duration": row.duration,
    }
