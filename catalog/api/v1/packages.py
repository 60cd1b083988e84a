"""Packages: list and search, show, upload, change, delete, and their parts. spec/api-v1 §1.11."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import webob
from sqlalchemy import orm

from catalog import dependencies
from catalog import packages as importing
from catalog.api import errors
from catalog.api.request import Request
from catalog.api.timestamps import timestamp
from catalog.api.v1 import package_changes, package_lists, package_uploads
from catalog.db import contents, package_index, package_search
from catalog.db import packages as stored
from catalog.db.package_index import Entry
from catalog.db.packages import Package
from dsl.packages import PackageError

JSON = "application/json"


def list_all(request: Request) -> Any:
    """GET /catalog/packages."""
    request.authorize("get_package")
    query = package_lists.query_of(request)
    with request.database.reading() as session:
        try:
            found = package_search.find(session, query)
        except package_search.UnknownMarker:
            raise errors.NotFound(f"marker: there is no package {query.marker}")
    more: dict[str, Any] = {}
    if len(found.entries) == query.limit:
        more["next_marker"] = found.entries[-1].id
    if found.facets is not None:
        more |= {"total": found.total, "facets": found.facets}
    if found.similar is not None:
        more["similar"] = found.similar
    return _octets(_joined(found.entries, more), JSON)


def upload(request: Request) -> Any:
    """POST /catalog/packages: an archive and, in another part, `{"categories", "tags", "is_public", "enabled"}`."""
    request.authorize("upload_package")
    data, fields = package_uploads.parts_of(request)
    if fields.get("is_public"):
        request.authorize("publicize_package")
    limits = importing.limits_of(request.config)
    try:
        opened = importing.open_archive(data, limits)
    except PackageError as failure:
        raise errors.problems("Couldn't load package from file:", failure.problems)
    with request.database.transaction() as session:
        try:
            row = importing.store(
                session,
                opened,
                owner_id=request.caller.project_id,
                is_public=fields.get("is_public", False),
                enabled=fields.get("enabled", True),
                category_names=fields.get("categories", ()),
                tags=fields.get("tags", ()),
            )
        except importing.Duplicate as failure:
            raise errors.Conflict(str(failure))
        except importing.UnknownCategory as failure:
            raise errors.BadRequest(str(failure))
        return shown(package_index.entry_of(row))


def show(request: Request) -> Any:
    """GET /catalog/packages/P."""
    with request.database.reading() as session:
        return _octets(_text(_seen(request, session, "get_package")), JSON)


def show_ui(request: Request) -> Any:
    """GET /catalog/packages/P/ui: the form's YAML, nothing without one."""
    with request.database.reading() as session:
        text = _value(session, _seen(request, session, "get_package"), Package.ui_definition)
    return webob.Response(body=(text or "").encode(), content_type="text/plain", charset="UTF-8")


def show_logo(request: Request) -> Any:
    """GET /catalog/packages/P/logo: the image's bytes, none without one."""
    with request.database.reading() as session:
        return _content(session, _seen(request, session, "get_package"), Package.logo_digest)


def show_supplier_logo(request: Request) -> Any:
    """GET /catalog/packages/P/supplier_logo: the image's bytes, none without one."""
    with request.database.reading() as session:
        return _content(session, _seen(request, session, "get_package"), Package.supplier_logo_digest)


def download(request: Request) -> Any:
    """GET /catalog/packages/P/download: the archive as it was stored."""
    with request.database.reading() as session:
        return _content(session, _seen(request, session, "download_package"), Package.archive_digest)


def show_dependencies(request: Request) -> Any:
    """GET /catalog/packages/P/dependencies: `{"tree": {"fqn", "version", "packages"}, "lock"}`."""
    with request.database.reading() as session:
        row = visible(request, session, "get_package")
        available = dependencies.Stored(session, request.caller.project_id, held=[row.id])
        need = dependencies.Need(row.fully_qualified_name, dependencies.exactly(row.version), (), frozenset([row.id]))
        try:
            solution = dependencies.resolve([need], available)
        except dependencies.Unresolvable as failure:
            raise errors.Conflict(str(failure), details=failure.details)
        tree = dependencies.tree(row.fully_qualified_name, solution)
        return {"tree": tree, "lock": dependencies.as_lock(solution, available)}


def delete(request: Request) -> Any:
    """DELETE /catalog/packages/P."""
    with request.database.transaction() as session:
        stored.delete(session, owned(request, session, "delete_package"))


def change(request: Request) -> Any:
    """PATCH /catalog/packages/P with a JSON patch of its data."""
    changes = package_changes.read(request.body)
    package_id = request.values["package"]
    with request.database.transaction() as session:
        row = owned(request, session, "modify_package", own=False)
        if any(each.path == "is_public" and each.value for each in changes) and not row.is_public:
            request.authorize("publicize_package", package_id=package_id)
        check_owner(request, row)
        for each in changes:
            package_changes.apply(session, row, each)
        try:
            session.flush()
        except sa.exc.IntegrityError:
            raise errors.Conflict("The tag was made by another request meanwhile. Repeat the change.")
        return shown(package_index.entry_of(row))


def visible(request: Request, session: orm.Session, rule: str | None) -> Package:
    """The package of the path: policy, then 404 for an unknown one, 403 for one of another project."""
    package_id = request.values["package"]
    if rule is not None:
        request.authorize(rule, package_id=package_id)
    row = stored.get(session, package_id)
    if row is None:
        raise errors.NotFound(f"Package id:{package_id} not found")
    if not (request.caller.is_admin or stored.is_visible(session, row, request.caller.project_id)):
        raise _foreign(request, package_id)
    return row


def owned(request: Request, session: orm.Session, rule: str, *, own: bool = True) -> Package:
    """The package of the path for changing it: policy, 404, 403 where it is not the caller's to change."""
    package_id = request.values["package"]
    request.authorize(rule, package_id=package_id)
    row = visible(request, session, None)
    if row.is_public:
        request.authorize("manage_public_package", package_id=package_id)
    if own:
        check_owner(request, row)
    return row


def check_owner(request: Request, row: Package) -> None:
    """Raises `errors.Forbidden` unless the package is the caller's project's, or the caller an administrator."""
    if not (request.caller.is_admin or row.owner_id == request.caller.project_id):
        raise _foreign(request, row.id)


def shown(entry: Entry) -> dict[str, Any]:
    """A package as clients see it."""
    return {
        "id": entry.id,
        "name": entry.name,
        "fully_qualified_name": entry.fqn,
        "version": entry.version,
        "type": entry.type,
        "description": entry.description,
        "author": entry.author,
        "supplier": entry.supplier or {},
        "owner_id": entry.owner_id,
        "is_public": entry.is_public,
        "enabled": entry.enabled,
        "lifecycle": entry.lifecycle,
        "lifecycle_reason": entry.lifecycle_reason,
        "categories": entry.categories,
        "tags": entry.tags,
        "class_definitions": entry.classes,
        "require": entry.require,
        "digest": entry.digest,
        "created": timestamp(entry.created),
        "updated": timestamp(entry.updated),
    }


def _text(entry: Entry) -> bytes:
    """The answer for a package, which is kept with its entry."""
    if not entry.shown:
        entry.shown.append(json.dumps(shown(entry)).encode())
    return entry.shown[0]


def _joined(entries: Sequence[Entry], more: dict[str, Any]) -> bytes:
    """`{"packages": [...], ...}` of answers that are made already."""
    body = b'{"packages": [' + b", ".join(map(_text, entries)) + b"]"
    if more:
        return body + b", " + json.dumps(more).encode()[1:]
    return body + b"}"


def _foreign(request: Request, package_id: str) -> errors.Forbidden:
    return errors.Forbidden(f"Package {package_id} is not owned by project {request.caller.project_id}")


def _seen(request: Request, session: orm.Session, rule: str) -> Entry:
    """The package of the path for reading it, as `visible`, from memory."""
    package_id = request.values["package"]
    request.authorize(rule, package_id=package_id)
    entry = package_index.current(session).by_id.get(package_id)
    if entry is None:
        raise errors.NotFound(f"Package id:{package_id} not found")
    if not (request.caller.is_admin or entry.is_visible_to(request.caller.project_id)):
        raise _foreign(request, package_id)
    return entry


def _value(session: orm.Session, entry: Entry, column: orm.InstrumentedAttribute[Any]) -> str | None:
    """What memory does not hold of a package."""
    found: str | None = session.connection().scalar(sa.select(column).where(Package.id == entry.id))
    return found


def _content(session: orm.Session, entry: Entry, column: orm.InstrumentedAttribute[Any]) -> webob.Response:
    digest = _value(session, entry, column)
    return _octets(b"" if digest is None else contents.read(session, digest))


def _octets(data: bytes, kind: str = "application/octet-stream") -> webob.Response:
    return webob.Response(body=data, content_type=kind, charset=None)
