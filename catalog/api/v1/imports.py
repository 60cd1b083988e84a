"""Imports by name from the configured repositories (docs/architecture.md, "Additions")."""

from __future__ import annotations

from typing import Any

from catalog import dependencies, imports, packages
from catalog.api import errors
from catalog.api.request import Request, check_name, kind_of
from catalog.api.v1 import package_changes
from catalog.repositories.transport import RepositoryError
from dsl.packages import PackageError, VersionSpec

KEYS = ("name", "version", "categories", "is_public", "exists_action", "preview")


def create(request: Request) -> Any:
    """POST /catalog/imports: `{"packages": [{"fqn", "version", "id", "action", "repository", "images"}]}`."""
    request.authorize("upload_package")
    body = request.json_object()
    wanted = _wanted(request, body)
    if wanted.is_public:
        request.authorize("publicize_package")
    try:
        done = imports.import_by_name(
            request.database,
            request.services.repositories,
            wanted,
            preview=_flag(body, "preview"),
            most=request.config.repositories.closure_limit,
            most_bytes=request.config.repositories.closure_size * packages.MIB,
        )
    except imports.UnknownPackage as failure:
        raise errors.NotFound(str(failure))
    except packages.Duplicate as failure:
        raise errors.Conflict(f"{failure}. Nothing was stored.")
    except dependencies.Unresolvable as failure:
        raise errors.BadRequest(str(failure), details=failure.details)
    except (imports.TooMany, packages.UnknownCategory) as failure:
        raise errors.BadRequest(str(failure))
    except PackageError as failure:
        raise errors.problems("The repository has a package that is broken. Nothing was stored.", failure.problems)
    except RepositoryError as failure:
        raise errors.BadGateway(str(failure))
    return {"packages": [each.shown() for each in done]}


def _wanted(request: Request, body: dict[str, Any]) -> imports.Wanted:
    for key in body:
        if key not in KEYS:
            raise errors.BadRequest(f"Import: expected {', '.join(KEYS)}, found {key[:80]!r}")
    exists = body.get("exists_action", imports.SKIP)
    if exists not in (imports.SKIP, imports.ABORT, imports.UPDATE):
        raise errors.BadRequest(f"exists_action: expected s (skip), a (abort) or u (update), found {exists!r}"[:200])
    package_changes.check_fields({"categories": body.get("categories") or []})
    version = body.get("version")
    try:
        spec = VersionSpec.parse("*" if version in (None, "") else version)
    except ValueError as failure:
        raise errors.BadRequest(f"version: expected a version specification such as 1.2 or >=1,<2: {failure}")
    return imports.Wanted(
        name=check_name(body.get("name"), "name", packages.FQN_LIMIT),
        project_id=request.caller.project_id,
        spec=spec,
        category_names=tuple(body.get("categories") or ()),
        is_public=_flag(body, "is_public"),
        exists=exists,
        may_add_categories=request.config.packages.create_categories
        and request.services.policy.allows(request.caller, "add_category"),
    )


def _flag(body: dict[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise errors.BadRequest(f"{key}: expected true or false, found {kind_of(value)}")
    return value
