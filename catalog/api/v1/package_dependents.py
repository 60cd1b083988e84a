"""Who uses a package (docs/repositories.md)."""

from __future__ import annotations

import dataclasses
from typing import Any

from catalog import dependents
from catalog.api.request import Request
from catalog.api.v1 import packages


def show(request: Request) -> Any:
    """GET /catalog/packages/P/dependents: `{"packages": [...], "environments": [...]}`.

    Environments are those of the caller's project; of all projects for an administrator.
    """
    with request.database.reading() as session:
        row = packages.visible(request, session, "get_package")
        caller = request.caller
        found = dependents.packages_on(session, row, caller.project_id)
        users = dependents.environments_on(session, row.id, None if caller.is_admin else caller.project_id)
    return {
        "packages": [dataclasses.asdict(each) for each in found],
        "environments": [{"id": each.id, "name": each.name, "tenant_id": each.project_id} for each in users],
    }
