"""What a deployment would say, before it is one (docs/architecture.md, "Additions"). What it would do: `plans`."""

from __future__ import annotations

import contextlib
from typing import Any

from catalog import dependencies
from catalog.api import errors
from catalog.api.request import Request
from catalog.api.v1 import access, submission, trusts
from catalog.db import deployments, session_locks, sessions
from catalog.trusts import trust_of, with_trust


def check(request: Request) -> Any:
    """POST /environments/E/check: `{"problems": [...], "notes": [...]}`; without problems it can be deployed.

    Notes say what could not be looked at, as a cloud that does not answer.
    """
    content, project_id, session_id = content_of(request)
    try:
        lock = _lock(request, content, project_id)
        keep(request, session_id, content, lock)
    except dependencies.Unresolvable as failure:
        fix = "; or ".join(failure.conflict.fixes if failure.conflict else ())
        return {
            "problems": [
                _problem(
                    message=str(failure),
                    expected="packages that fit together for every type in the model",
                    fix=fix or "import what is missing, or change the type or its version",
                )
            ],
            "notes": [],
        }
    with contextlib.ExitStack() as lent:
        refused = []
        try:
            trust_id = lent.enter_context(trusts.for_question(request, project_id, trust_of(content)))
        except (errors.Forbidden, errors.Unavailable) as failure:  # so would a deployment be
            trust_id = None
            refused = [
                _problem(
                    message=failure.explanation,
                    expected="a trust with which the engine works in the project",
                    fix="log in again, with a password, as a user of the project",
                )
            ]
        answer = request.services.engine.check(with_trust(content, trust_id), lock, project_id)
    return {"problems": [*refused, *answer["problems"]], "notes": answer["notes"]}


def _problem(*, message: str, expected: str, fix: str) -> dict[str, Any]:
    """A problem of the whole model."""
    about = {"object_id": None, "type": None, "path": ""}
    return {**about, "message": message, "expected": expected, "found": None, "fix": fix}


def content_of(request: Request) -> tuple[dict[str, Any], str, str | None]:
    """The model, its project, and the session it is edited in, if it is."""
    with request.database.reading() as session:
        seen = access.view(request, session)
        request.authorize("show_environment", environment_id=seen.environment.id)
        content = submission.with_environment_id(seen.model, seen.environment.id)
        return content, seen.environment.project_id, seen.session.id if seen.session else None


def keep(request: Request, session_id: str | None, content: dict[str, Any], lock: dependencies.Lock) -> None:
    """What is told here is what a deployment of the session will use."""
    if session_id is not None:
        with request.database.transaction() as session:
            if sessions.get(session, session_id) is not None:
                session_locks.keep(session, session_id, submission.types_digest(content), lock)


def _lock(request: Request, content: dict[str, Any], project_id: str) -> dependencies.Lock:
    with request.database.reading() as session:
        held = deployments.locked_packages(session, request.values["environment"])
        return dependencies.lock_of(session, project_id, content.get("Objects"), content.get("ObjectsCopy"), held=held)
