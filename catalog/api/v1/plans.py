"""Plans: what a deployment, an action or a deletion would do, and holding one to the plan its user has seen.

The engine compares before anything is submitted, so that whoever asks hears at once that the world has moved; the
worker compares once more before it begins (`engine.holding`), as the deployment may have waited.
"""

from __future__ import annotations

import re
from typing import Any

from catalog import model
from catalog.api import errors
from catalog.api.request import Request, kind_of
from catalog.api.v1 import access, checks, submission, trusts
from catalog.db import environments, plans
from catalog.trusts import trust_of, with_trust

_HASH = re.compile(r"[0-9a-f]{64}")


def make(request: Request) -> Any:
    """POST /environments/E/plan: the steps in order, and their hash.

    The body is empty for the deployment of the session, `{"action": {"object_id", "method", "args"?}}` for an action of
    what is deployed, `{"delete": true}` for the deletion of all of it.
    """
    asked = _asked(request)
    if asked == "deploy":
        content, _project_id, session_id = checks.content_of(request)
        action: dict[str, Any] | None = deploying(request.values["environment"])
    else:
        session_id = None
        with request.database.reading() as session:
            environment = access.environment_of(request, session)
            request.authorize("show_environment", environment_id=environment.id)
            content = submission.with_environment_id(environment.model, environment.id)
        action = asked if isinstance(asked, dict) else None
        if action is None:
            content = {**content, "Objects": None}
        elif action["object_id"] not in model.object_ids(content.get("Objects")):
            raise errors.NotFound(f"action/object_id: {action['object_id']} is no object of the environment")
    with request.database.reading() as session:
        environment = access.environment_of(request, session)
        lock = submission.resolved(session, environment.project_id, content, environment.id)
    checks.keep(request, session_id, content, lock)
    made = _made(request, content, lock, action, None)
    with request.database.transaction() as session:
        environments.lock(session, request.values["environment"])
        if environments.get(session, request.values["environment"]) is not None:
            plans.keep(session, request.values["environment"], made["hash"], made["moment"], made["steps"])
    return {"steps": made["steps"], "counts": _counts(made["steps"]), "hash": made["hash"]}


def wanted_in_body(request: Request) -> str | None:
    """The hash of the plan that a deployment is held to: `{"plan": <hash>}`, where Murano's clients send nothing."""
    if request.body is None:
        return None
    body = request.json_object()
    unknown = sorted(set(body) - {"plan"})
    if unknown:
        raise errors.BadRequest(f'Request body: expected no key but "plan", found {unknown[0]!r}'[:200])
    return checked(body["plan"]) if body.get("plan") is not None else None


def wanted_in_query(request: Request) -> str | None:
    """The same as the parameter `plan` of an action or a deletion."""
    found = request.params.get("plan")
    return None if found is None else checked(found)


def checked(value: object) -> str:
    """The value, which has to be a plan's hash. Raises `errors.BadRequest`."""
    if not isinstance(value, str) or _HASH.fullmatch(value) is None:
        found = repr(value)[:80] if isinstance(value, str) else kind_of(value)
        raise errors.BadRequest(f"plan: expected the hash of a plan, 64 hexadecimal digits, found {found}")
    return value


def held(
    request: Request, wanted: str, content: dict[str, Any], lock: Any, action: dict[str, Any] | None
) -> dict[str, Any]:
    """`{"hash", "moment"}` for the deployment's row, when the plan still holds. Raises `errors.Conflict` when not."""
    environment_id = request.values["environment"]
    with request.database.reading() as session:
        kept = plans.get(session, environment_id, wanted)
        moment, planned = (None, None) if kept is None else (kept.moment, kept.steps)
    now = _made(request, content, lock, action, moment)
    if now["hash"] != wanted:
        found = plans.moved(wanted, planned, now["steps"], now["hash"])
        text = f"{plans.sentence(found)} Nothing was changed. Make a new plan, and go on with its hash."
        raise errors.Conflict(text, details={"plan": found})
    return {"hash": wanted, "moment": now["moment"]}


def deploying(environment_id: str) -> dict[str, Any]:
    """The action of a deployment."""
    return {"object_id": environment_id, "method": "deploy", "args": {}}


def _asked(request: Request) -> dict[str, Any] | str:
    """ "deploy", "delete" or an action. Raises `errors.BadRequest`."""
    if request.body is None:
        return "deploy"
    body = request.json_object()
    unknown = sorted(set(body) - {"action", "delete"})
    if unknown or len(body) > 1:
        raise errors.BadRequest('Request body: expected nothing, or one of the keys "action" and "delete"')
    if "delete" in body:
        if body["delete"] is not True:
            raise errors.BadRequest(f"delete: expected true, found {kind_of(body['delete'])}")
        return "delete"
    if "action" not in body:
        return "deploy"
    action = body["action"]
    if not isinstance(action, dict) or not set(action) <= {"object_id", "method", "args"}:
        raise errors.BadRequest('action: expected an object with "object_id", "method" and perhaps "args"')
    for key in ("object_id", "method"):
        if not isinstance(action.get(key), str) or not action[key]:
            raise errors.BadRequest(f"action/{key}: expected a non-empty string, found {kind_of(action.get(key))}")
    args = {} if action.get("args") is None else action["args"]
    if not isinstance(args, dict):
        raise errors.BadRequest(f"action/args: expected an object of arguments by name, found {kind_of(args)}")
    return {"object_id": action["object_id"], "method": action["method"], "args": args}


def _made(
    request: Request, content: dict[str, Any], lock: Any, action: dict[str, Any] | None, moment: float | None
) -> dict[str, Any]:
    project_id = content.get("project_id") or request.caller.project_id
    with trusts.for_question(request, project_id, trust_of(content)) as trust_id:
        made: dict[str, Any] = request.services.engine.plan(
            model=with_trust(content, trust_id),
            lock=lock,
            project_id=request.caller.project_id,
            user_id=request.caller.user_id,
            environment_id=request.values["environment"],
            action=action,
            moment=moment,
        )
    return made


def _counts(steps: list[dict[str, Any]]) -> dict[str, int]:
    kinds = ("create", "update", "delete", "execute")
    return {kind: sum(step["kind"] == kind for step in steps) for kind in kinds}
