"""Imports: by name, by bundle, by URL, or of a file that is sent along (docs/repositories.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog import dependencies, imports, packages
from catalog.api import bodies, errors
from catalog.api.request import Request, check_name, kind_of
from catalog.api.v1 import package_changes
from catalog.repositories import brought
from catalog.repositories.transport import Refused, RepositoryError
from dsl.packages import PackageError, VersionSpec

OPTIONS = ("categories", "is_public", "exists_action", "preview")
SOURCES = ("name", "bundle", "url", "packages")
URL_LIMIT = 2000  # characters


def create(request: Request) -> Any:
    """POST /catalog/imports: `{"packages": [{"fqn", "version", "id", "action", "repository", "images"}]}`."""
    request.authorize("upload_package")
    body = request.json_object()
    _check_keys(body, (*SOURCES, "version", *OPTIONS))
    named = [key for key in SOURCES if body.get(key) is not None]
    if len(named) != 1:
        raise errors.BadRequest(f"Import: expected one of {', '.join(SOURCES)}, found {' and '.join(named) or 'none'}")
    if body.get("version") is not None and named != ["name"]:
        raise errors.BadRequest("version: expected it together with name only")
    settings = _settings(request, body)
    return _carried_out(request, body, settings, lambda: _parcel(request, body, named[0]))


def create_from_file(request: Request) -> Any:
    """POST /catalog/imports/file: the same for a package, a bundle or a list of packages in a multipart body."""
    request.authorize("upload_package")
    files = [value for _, value in request.web.POST.items() if hasattr(value, "file")]
    texts = [value for _, value in request.web.POST.items() if not hasattr(value, "file")]
    if len(files) != 1 or len(texts) > 1:
        raise errors.BadRequest("Request body: expected one part with a file, and at most one with the options")
    body = bodies.parse(texts[0].encode()) if texts else {}
    if not isinstance(body, dict):
        raise errors.BadRequest(f"Options: expected a JSON object, found {kind_of(body)}")
    _check_keys(body, OPTIONS)
    name = f"file {check_name(files[0].filename, 'File name')}"
    settings = _settings(request, body)
    return _carried_out(
        request, body, settings, lambda: brought.from_file(files[0].file, name, request.config, request.database)
    )


def _parcel(request: Request, body: dict[str, Any], source: str) -> brought.Parcel:
    if source == "name":
        name = check_name(body["name"], "name", packages.FQN_LIMIT)
        return brought.Parcel([(name, _spec(body.get("version"), "version"))], None)
    if source == "bundle":
        name = check_name(body["bundle"], "bundle", packages.FQN_LIMIT)
        listed = request.services.repositories.bundle(name)
        if listed is None:
            raise errors.NotFound(f"No repository has a bundle {name}")
        return brought.Parcel(listed, None)
    if source == "url":
        url = check_name(body["url"], "url", URL_LIMIT)
        return brought.from_url(url, request.config, request.database)
    return brought.Parcel(_listed(request, body["packages"]), None)


def _carried_out(request: Request, body: dict[str, Any], settings: dict[str, Any], parcel_of: Any) -> Any:
    most = request.config.repositories.closure_limit
    try:
        parcel = parcel_of()
        if len(parcel.roots) > most:
            raise errors.BadRequest(f"Import: expected at most {most} packages at once, found {len(parcel.roots)}")
        (name, spec), *more = parcel.roots
        wanted = imports.Wanted(
            name=name,
            project_id=request.caller.project_id,
            spec=spec,
            more=tuple(more),
            brought=parcel.brought,
            **settings,
        )
        done = imports.import_by_name(
            request.database,
            request.services.repositories,
            wanted,
            preview=_flag(body, "preview"),
            most=most,
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
        raise errors.problems("There is a package that is broken. Nothing was stored.", failure.problems)
    except RepositoryError as failure:
        if request.web.content_type == bodies.MULTIPART or (isinstance(failure, Refused) and body.get("url")):
            raise errors.BadRequest(str(failure))  # what is wrong was sent by the caller
        raise errors.BadGateway(str(failure))
    return {"packages": [each.shown() for each in done]}


def _settings(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """The options of an import. Raises `errors.BadRequest`, `errors.Forbidden`."""
    exists = body.get("exists_action", imports.SKIP)
    if exists not in (imports.SKIP, imports.ABORT, imports.UPDATE):
        raise errors.BadRequest(f"exists_action: expected s (skip), a (abort) or u (update), found {exists!r}"[:200])
    package_changes.check_fields({"categories": body.get("categories") or []})
    if _flag(body, "is_public"):
        request.authorize("publicize_package")
    _flag(body, "preview")
    return {
        "category_names": tuple(body.get("categories") or ()),
        "is_public": _flag(body, "is_public"),
        "exists": exists,
        "may_add_categories": request.config.packages.create_categories
        and request.services.policy.allows(request.caller, "add_category"),
    }


def _listed(request: Request, value: Any) -> Sequence[tuple[str, VersionSpec]]:
    if not isinstance(value, list) or not value:
        raise errors.BadRequest(f"packages: expected an array of objects, found {kind_of(value)}")
    found = []
    for position, each in enumerate(value):
        if not isinstance(each, dict):
            raise errors.BadRequest(f"packages/{position}: expected an object, found {kind_of(each)}")
        _check_keys(each, ("name", "version"))
        name = check_name(each.get("name"), f"packages/{position}/name", packages.FQN_LIMIT)
        found.append((name, _spec(each.get("version"), f"packages/{position}/version")))
    return found


def _spec(version: Any, where: str) -> VersionSpec:
    try:
        return VersionSpec.parse("*" if version in (None, "") else version)
    except ValueError as failure:
        raise errors.BadRequest(f"{where}: expected a version specification such as 1.2 or >=1,<2: {failure}")


def _check_keys(body: dict[str, Any], keys: Sequence[str]) -> None:
    for key in body:
        if key not in keys:
            raise errors.BadRequest(f"Import: expected {', '.join(keys)}, found {key[:80]!r}")


def _flag(body: dict[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise errors.BadRequest(f"{key}: expected true or false, found {kind_of(value)}")
    return value
