"""Looking for what clouds have and no environment knows, and for what environments believe to have and have not.

The engine looks (`engine.reconciling`); the receipts follow what it finds. docs/engine.md, "Reconciling".
"""

from __future__ import annotations

from typing import Any

from catalog.api.request import Request, check_name
from catalog.api.v1 import access, trusts
from catalog.db import environments, resources


def list_projects(request: Request) -> Any:
    """GET /reconciliations: the projects that there is anything to reconcile for."""
    request.authorize("reconcile_all_tenants")
    with request.database.reading() as session:
        return {"projects": resources.projects(session)}


def create(request: Request) -> Any:
    """POST /reconciliations: of an environment, there or gone, or of all environments of a project."""
    body = request.json_object()
    wanted = body.get("environment_id")
    request.authorize("reconcile")
    if wanted is None:
        project_id = _project(request, body.get("tenant_id"))
    else:
        project_id = _project_of(request, check_name(wanted, "environment_id"))
    with trusts.for_search(request, project_id) as trust_id:
        found: dict[str, Any] = request.services.engine.reconcile(project_id, wanted, trust_id)
    return {"tenant_id": project_id, **found}


def remove(request: Request) -> Any:
    """DELETE /leftovers/S: begins to remove a stack that is left over."""
    request.authorize("remove_leftover")
    project_id = _project(request, request.params.get("tenant"))
    # The engine goes on with it after the answer; it ends by itself.
    with trusts.for_search(request, project_id, ends=False) as trust_id:
        return request.services.engine.remove_leftover(project_id, request.values["stack"], trust_id)


def _project(request: Request, wanted: Any) -> str:
    """The caller's project; another one for administrators."""
    if wanted is None or wanted == request.caller.project_id:
        return request.caller.project_id
    request.authorize("reconcile_all_tenants")
    return check_name(wanted, "tenant_id", 64)


def _project_of(request: Request, environment_id: str) -> str:
    """The project of an environment that is there or was. 404 for one that never was, 403 for another project's."""
    with request.database.reading() as session:
        ended = resources.receipt(session, environment_id)
        if ended is None or environments.get(session, environment_id) is not None:
            return access.environment_of(request, session, environment_id).project_id
        access.own_project(request, ended.project_id)
        return ended.project_id
