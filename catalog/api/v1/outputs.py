"""What the scripts of a deployment's plans print, as people see it: at once, or among a deployment's events."""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import orm

from catalog.api import errors
from catalog.api.request import Request
from catalog.api.timestamps import timestamp
from catalog.api.v1 import access
from catalog.db import outputs

DEFAULT, MOST = 200, 1000  # chunks of one answer
AT_ONCE = 50  # chunks between two looks for reports, in a stream of events


def of_deployment(request: Request) -> Any:
    """GET /environments/E/deployments/D/output: chunks with a number above `after`, at most `limit`.

    `next` is the `after` of the next request: the number of the last chunk, or `after` when there is none.
    """
    after = _number(request, "after", 0, 2**31 - 1)
    limit = min(max(1, _number(request, "limit", DEFAULT, 2**31 - 1)), MOST)
    with request.database.reading() as session:
        row = access.deployment_of(request, session)
        request.authorize("output_deployments", environment_id=row.environment_id, deployment_id=row.id)
        found = outputs.of_deployment(session, row.id, after=after, limit=limit)
    return {"output": [shown(chunk) for chunk in found], "next": found[-1].number if found else after}


def news(session: orm.Session, deployment_id: str, after: int) -> list[outputs.Shown]:
    """The next chunks for a stream of events."""
    return outputs.of_deployment(session, deployment_id, after=after, limit=AT_ONCE)


def shown(chunk: outputs.Shown) -> dict[str, Any]:
    """A chunk as clients see it."""
    return {**dataclasses.asdict(chunk), "created": timestamp(chunk.created)}


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):
        raise errors.BadRequest(f"{name}: expected a number of at most {most}, found {text[:40]!r}")
    return int(text)
