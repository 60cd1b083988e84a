"""Sharing a package with chosen projects: they see and use it as if it were public, and nobody else learns of it."""

from __future__ import annotations

from typing import Any

from catalog.api import errors
from catalog.api.request import Request, check_name
from catalog.api.timestamps import timestamp
from catalog.api.v1 import packages
from catalog.db import packages as stored

PROJECT_LIMIT = 64  # characters of a project's id
MOST = 1000  # projects one package is shared with


def list_all(request: Request) -> Any:
    """GET /catalog/packages/P/shares: `{"shares": [{"project_id", "created"}]}`, for those who may share it."""
    with request.database.reading() as session:
        row = packages.owned(request, session, "share_package")
        return {"shares": [_shown(share) for share in stored.shares(session, row.id)]}


def add(request: Request) -> Any:
    """PUT /catalog/packages/P/shares/PROJECT. Whether there is such a project is for identity to know."""
    project_id = check_name(request.values["project"], "Project", PROJECT_LIMIT)
    with request.database.transaction() as session:
        row = packages.owned(request, session, "share_package")
        if project_id == row.owner_id:
            raise errors.BadRequest(f"Project {project_id} owns package {row.id}: expected another project")
        if len(stored.shares(session, row.id)) >= MOST:
            raise errors.Conflict(f"Package {row.id} is shared with {MOST} projects already: publish it instead")
        return _shown(stored.share(session, row, project_id))


def remove(request: Request) -> Any:
    """DELETE /catalog/packages/P/shares/PROJECT. What is deployed there goes on; new deployments do without."""
    project_id = request.values["project"]
    with request.database.transaction() as session:
        row = packages.owned(request, session, "share_package")
        if not stored.unshare(session, row, project_id):
            raise errors.NotFound(f"Package {row.id} is not shared with project {project_id[:PROJECT_LIMIT]}")


def _shown(share: stored.PackageShare) -> dict[str, Any]:
    return {"project_id": share.project_id, "created": timestamp(share.created)}
