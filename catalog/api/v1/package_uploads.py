"""Uploads of packages, as clients send them: an archive and its data in a multipart body. spec/api-v1 §1.11, "Upload".

The body is on disk by then, within its limit (`catalog.api.bodies.read_parts`).
"""

from __future__ import annotations

from typing import Any

from catalog import packages as importing
from catalog.api import bodies, errors
from catalog.api.request import Request
from catalog.api.v1 import package_changes


def parts_of(request: Request) -> tuple[bytes, dict[str, Any]]:
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
