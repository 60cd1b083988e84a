"""The receipt of an environment: every cloud resource ever made for it, also after it is gone (docs/engine.md)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from catalog.api import errors
from catalog.api.request import Request
from catalog.api.timestamps import timestamp
from catalog.api.v1 import access
from catalog.db import environments, resources

PRESENT = "there"  # how an environment is that has not ended
_LISTED = ("environment_id", "name", "tenant_id", "how", "ended", "user_id")


def show(request: Request) -> Any:
    """GET /environments/E/receipt."""
    state = request.params.get("state")
    if state is not None and state not in resources.STATES:
        raise errors.BadRequest(f"state: expected one of {', '.join(resources.STATES)}, found {state!r}")
    with request.database.reading() as session:
        known = _known(request, session)
        request.authorize("show_receipt", environment_id=known["environment_id"])
        rows = resources.of_environment(session, known["environment_id"])
        counts = {name: sum(row.state == name for row in rows) for name in resources.STATES}
        return {**known, "counts": counts, "resources": [shown(row) for row in rows if state in (None, row.state)]}


def list_ended(request: Request) -> Any:
    """GET /receipts: environments of the project that are gone, the newest first."""
    request.authorize("list_receipts")
    with request.database.reading() as session:
        found = [_ended(each) for each in resources.receipts(session, request.caller.project_id)]
        return {"receipts": [{key: each[key] for key in _LISTED} for each in found]}


def shown(row: resources.CloudResource) -> dict[str, Any]:
    """A resource as clients see it."""
    return {
        "id": row.physical_id,
        "type": row.type,
        "name": row.name,
        "stack": row.stack or None,
        "region": row.region or None,
        "deployment_id": row.deployment_id,
        "state": row.state,
        "reason": row.reason,
        "made": timestamp(row.made),
        "seen": timestamp(row.seen),
        "gone": timestamp(row.gone),
    }


def _known(request: Request, session: orm.Session) -> dict[str, Any]:
    """The environment of the path, as it is or as it was. 404 for one that never was, 403 for another project's."""
    environment_id = request.values["environment"]
    ended = resources.receipt(session, environment_id)
    if ended is None or environments.get(session, environment_id) is not None:
        environment = access.environment_of(request, session)
        return {
            "environment_id": environment.id,
            "name": environment.name,
            "tenant_id": environment.project_id,
            "how": PRESENT,
            "ended": None,
            "user_id": None,
            "notes": [],
        }
    access.own_project(request, ended.project_id)
    return _ended(ended)


def _ended(row: resources.Receipt) -> dict[str, Any]:
    return {
        "environment_id": row.environment_id,
        "name": row.name,
        "tenant_id": row.project_id,
        "how": row.how,
        "ended": timestamp(row.ended),
        "user_id": row.user_id,
        "notes": row.notes,
    }
