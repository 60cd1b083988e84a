"""What becomes of a package version: active, deprecated (to be had, after all others), yanked (for who has it only)."""

from __future__ import annotations

from typing import Any

from catalog.api import errors
from catalog.api.request import Request, check_text, kind_of
from catalog.api.v1 import packages
from catalog.db import package_index
from catalog.db.packages import ACTIVE, LIFECYCLES

REASON_LIMIT = 1000  # characters
FIELDS = ("lifecycle", "reason")


def change(request: Request) -> Any:
    """PUT /catalog/packages/P/lifecycle: `{"lifecycle", "reason"?}`; the package."""
    body = request.json_object()
    for name in body:
        if name not in FIELDS:
            raise errors.BadRequest(f"Request body: expected {' and '.join(FIELDS)}, found {name[:80]!r}")
    lifecycle, reason = body.get("lifecycle"), body.get("reason")
    if lifecycle not in LIFECYCLES:
        shown = repr(lifecycle[:80]) if isinstance(lifecycle, str) else kind_of(lifecycle)
        raise errors.BadRequest(f"lifecycle: expected one of {', '.join(LIFECYCLES)}, found {shown}")
    if reason is not None:
        if not isinstance(reason, str):
            raise errors.BadRequest(f"reason: expected a string, found {kind_of(reason)}")
        if len(reason) > REASON_LIMIT:
            raise errors.BadRequest(f"reason: expected at most {REASON_LIMIT} characters, found {len(reason)}")
        check_text(reason, "reason")
    with request.database.transaction() as session:
        row = packages.owned(request, session, "change_package_lifecycle")
        row.lifecycle = lifecycle
        row.lifecycle_reason = None if lifecycle == ACTIVE else reason
        session.flush()
        return packages.shown(package_index.entry_of(row))
