"""Packages: list and search, show, upload, change, delete, and their parts. spec/api-v1 §1.11."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
import webob
from sqlalchemy import orm

from catalog import dependencies
from catalog import packages as importing
from catalog.api import bodies, errors
from catalog.api.request import Request, check_text
from catalog.api.timestamps import timestamp
from catalog.api.v1 import package_changes
from catalog.db import package_search
from catalog.db import packages as stored
from catalog.db.packages import Package
from dsl.packages import PackageError

LOG = logging.getLogger(__name__)
SINGLE_FILTERS = ("fqn", "name", "class_name", "search", "version")


def list_all(request: Request) -> Any:
    """GET /catalog/packages."""
    request.authorize("get_package")
    query = _query(request)
    with request.database.reading() as session:
        try:
            rows = package_search.find(session, query)
        except package_search.UnknownMarker:
            raise errors.NotFound(f"marker: there is no package {query.marker}")
        answer: dict[str, Any] = {"packages": [shown(row) for row in rows]}
        if len(rows) == query.limit:
            answer["next_marker"] = rows[-1].id
        return answer


def upload(request: Request) -> Any:
    """POST /catalog/packages: an archive and, in another part, `{"categories", "tags", "is_public", "enabled"}`."""
    request.authorize("upload_package")
    data, fields = _parts(request)
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
        return shown(row)


def show(request: Request) -> Any:
    """GET /catalog/packages/P."""
    with request.database.reading() as session:
        return shown(visible(request, session, "get_package"))


def show_ui(request: Request) -> Any:
    """GET /catalog/packages/P/ui: the form's YAML, nothing without one."""
    with request.database.reading() as session:
        text = visible(request, session, "get_package").ui_definition
    return webob.Response(body=(text or "").encode(), content_type="text/plain", charset="UTF-8")


def show_logo(request: Request) -> Any:
    """GET /catalog/packages/P/logo: the image's bytes, none without one."""
    with request.database.reading() as session:
        return _octets(stored.stored(session, visible(request, session, "get_package").logo_digest))


def show_supplier_logo(request: Request) -> Any:
    """GET /catalog/packages/P/supplier_logo: the image's bytes, none without one."""
    with request.database.reading() as session:
        return _octets(stored.stored(session, visible(request, session, "get_package").supplier_logo_digest))


def download(request: Request) -> Any:
    """GET /catalog/packages/P/download: the archive as it was stored."""
    with request.database.reading() as session:
        row = visible(request, session, "download_package")
        return _octets(stored.stored(session, row.archive_digest))


def show_dependencies(request: Request) -> Any:
    """GET /catalog/packages/P/dependencies: `{"tree": {"fqn", "version", "packages"}, "lock"}`."""
    with request.database.reading() as session:
        row = visible(request, session, "get_package")
        available = dependencies.Stored(session, request.caller.project_id)
        need = dependencies.Need(row.fully_qualified_name, dependencies.exactly(row.version), (), frozenset([row.id]))
        try:
            solution = dependencies.resolve([need], available)
        except dependencies.Unresolvable as failure:
            raise errors.Conflict(str(failure))
        tree = dependencies.tree(row.fully_qualified_name, solution)
        return {"tree": tree, "lock": dependencies.as_lock(solution, available)}


def delete(request: Request) -> Any:
    """DELETE /catalog/packages/P."""
    package_id = request.values["package"]
    request.authorize("delete_package", package_id=package_id)
    with request.database.transaction() as session:
        row = visible(request, session, None)
        if row.is_public:
            request.authorize("manage_public_package", package_id=package_id)
        _own(request, row)
        stored.delete(session, row)


def change(request: Request) -> Any:
    """PATCH /catalog/packages/P with a JSON patch of its data."""
    changes = package_changes.read(request.body)
    package_id = request.values["package"]
    request.authorize("modify_package", package_id=package_id)
    with request.database.transaction() as session:
        row = visible(request, session, None)
        if row.is_public:
            request.authorize("manage_public_package", package_id=package_id)
        if any(each.path == "is_public" and each.value for each in changes) and not row.is_public:
            request.authorize("publicize_package", package_id=package_id)
        _own(request, row)
        for each in changes:
            package_changes.apply(session, row, each)
        try:
            session.flush()
        except sa.exc.IntegrityError:
            raise errors.Conflict("The tag was made by another request meanwhile. Repeat the change.")
        return shown(row)


def visible(request: Request, session: orm.Session, rule: str | None) -> Package:
    """The package of the path: policy, then 404 for an unknown one, 403 for one of another project."""
    package_id = request.values["package"]
    if rule is not None:
        request.authorize(rule, package_id=package_id)
    row = stored.get(session, package_id)
    if row is None:
        raise errors.NotFound(f"Package id:{package_id} not found")
    if not (request.caller.is_admin or row.is_public or row.owner_id == request.caller.project_id):
        raise errors.Forbidden(f"Package {package_id} is not owned by project {request.caller.project_id}")
    return row


def shown(row: Package) -> dict[str, Any]:
    """A package as clients see it."""
    return {
        "id": row.id,
        "name": row.name,
        "fully_qualified_name": row.fully_qualified_name,
        "version": row.version,
        "type": row.type,
        "description": row.description,
        "author": row.author,
        "supplier": row.supplier or {},
        "owner_id": row.owner_id,
        "is_public": row.is_public,
        "enabled": row.enabled,
        "categories": sorted(category.name for category in row.categories),
        "tags": sorted(tag.name for tag in row.tags),
        "class_definitions": sorted(definition.name for definition in row.class_definitions),
        "require": row.require,
        "digest": row.digest,
        "created": timestamp(row.created),
        "updated": timestamp(row.updated),
    }


def _own(request: Request, row: Package) -> None:
    if not (request.caller.is_admin or row.owner_id == request.caller.project_id):
        raise errors.Forbidden(f"Package {row.id} is not owned by project {request.caller.project_id}")


def _octets(data: bytes | None) -> webob.Response:
    return webob.Response(body=data or b"", content_type="application/octet-stream", charset=None)


# --- what a list is asked for ----------------------------------------------------------------------------------------


def _query(request: Request) -> package_search.Query:
    params = request.params
    for name, value in params.items():
        check_text(value, name)
    catalog = request.flag("catalog")
    single = {name: params.getall(name)[-1] for name in SINGLE_FILTERS if params.getall(name)}
    order = [name for name in params.getall("order_by") if name in package_search.ORDER]
    direction = params.get("sort_dir", "asc").lower()
    if direction.partition("-")[0] not in ("asc", "desc"):
        raise errors.BadRequest(f"sort_dir: expected asc or desc, found {direction[:40]}")
    public = catalog or request.services.policy.allows(request.caller, "manage_public_package")
    return package_search.Query(
        project_id=request.caller.project_id,
        everything=request.caller.is_admin and not catalog,
        include_public=public,
        owned=request.flag("owned"),
        include_disabled=request.flag("include_disabled"),
        ids=_several(params.getall("id")),
        categories=_several(params.getall("category")),
        tags=_several(params.getall("tag")),
        type=params["type"].title() if params.get("type") else None,
        order_by=order if params.getall("order_by") else ("name",),
        descending=direction.startswith("desc"),
        limit=_limit(request),
        marker=params.get("marker") or None,
        **single,
    )


def _limit(request: Request) -> int:
    options = request.config.api
    text = request.params.get("limit")
    if text is None:
        return min(options.page_default, options.page_limit)
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise errors.BadRequest(f"limit: expected a number above 0, found {text[:40]!r}")
    return min(int(text[:9]), options.page_limit)


def _several(values: list[str]) -> list[str] | None:
    """The values of a repeatable filter; one `in:` list stands for several (spec/api-v1 §1.11)."""
    if not values:
        return None
    if len(values) > 1 or not values[0].startswith("in:"):
        return values
    try:
        return split_quoted(values[0][3:])
    except ValueError as failure:
        LOG.warning("filter %r is ignored: %s", values[0][:200], failure)
        return None


def split_quoted(text: str) -> list[str]:
    """`a,"b,c"` as its values; in double quotes commas are literal and a backslash protects a quote.

    Raises `ValueError` for quotes that do not fit.
    """
    values: list[str] = []
    rest = text
    while rest:
        if rest.startswith('"'):
            value, rest = _quoted(rest[1:])
        else:
            value, comma, rest = rest.partition(",")
            if '"' in value:
                raise ValueError("a quote inside an unquoted value")
            rest = comma + rest
        values.append(value)
        if rest and not rest.startswith(","):
            raise ValueError("something between a closing quote and the next comma")
        rest = rest[1:]
    return values


def _quoted(text: str) -> tuple[str, str]:
    value = ""
    position = 0
    while position < len(text):
        if text[position : position + 2] == '\\"':
            value += '"'
            position += 2
        elif text[position] == '"':
            return value, text[position + 1 :]
        else:
            value += text[position]
            position += 1
    raise ValueError("a quote that is not closed")


# --- what is uploaded ------------------------------------------------------------------------------------------------


def _parts(request: Request) -> tuple[bytes, dict[str, Any]]:
    """The archive and the checked fields of a multipart body. Raises `errors.BadRequest`."""
    parts = list(request.web.POST.items())
    if len({name for name, _ in parts}) > 2 or len(parts) > 2:
        raise errors.BadRequest("Request body: expected a part with the package and at most one with its data")
    data: bytes | None = None
    fields: dict[str, Any] = {}
    for _name, value in parts:
        if hasattr(value, "file"):
            limit = request.config.packages.size_limit * importing.MIB
            value.file.seek(0)  # a handler that is run again reads again
            data = value.file.read(limit + 1)
            if len(data) > limit:
                raise errors.BadRequest(f"Package file: expected at most {limit >> 20} MiB, found more")
        else:
            fields = _fields(value)
    if data is None:
        raise errors.BadRequest("Request body: expected a part with the package file (with a file name), found none")
    if not data:
        raise errors.BadRequest("Package file: expected a zip archive, found an empty file")
    return data, fields


def _fields(text: str) -> dict[str, Any]:
    try:
        value = bodies.parse(text.encode())
    except (errors.BadRequest, UnicodeError):
        return {}
    if not isinstance(value, dict):
        return {}
    package_changes.check_fields(value)
    return value
