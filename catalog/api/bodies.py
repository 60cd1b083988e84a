"""Request bodies: read within a limit, and decoded as the route wants them. spec/api-v1 §1.1, "Content negotiation"."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from typing import Any

import multipart
import webob
from webob import multidict

from catalog.api import errors

JSON = "application/json"
PACKAGE_PATCH = "application/murano-packages-json-patch"
MODEL_PATCH = "application/env-model-json-patch"
MULTIPART = "multipart/form-data"
ACCEPTED = (JSON, "application/xml", PACKAGE_PATCH, MODEL_PATCH, MULTIPART)
MULTIPART_OVERHEAD = 1 << 20  # bytes of a multipart body that are not the archive: the JSON field and the boundaries
PARTS = 16  # of a multipart body; an upload has two
SPOOL = 256 << 10  # bytes of a part above which it goes to a temporary file
NESTING_LIMIT = 200  # levels of a JSON value; object models of people are below twenty


class Body(enum.Enum):
    """What body a route takes."""

    NONE = "none"
    REQUIRED = "required"
    OPTIONAL = "optional"
    MULTIPART = "multipart"
    PACKAGE_PATCH = PACKAGE_PATCH
    MODEL_PATCH = MODEL_PATCH


def read(web: webob.Request, limit: int) -> None:
    """Reads the whole body into memory, at most `limit` bytes. Raises `errors.TooLarge`, `errors.BadRequest`."""
    if web.content_length is None and not web.environ.get("wsgi.input_terminated"):
        web.body = b""
        return
    if web.content_length is not None and web.content_length > limit:
        raise _too_large(limit)
    try:
        data = web.environ["wsgi.input"].read(limit + 1 if web.content_length is None else web.content_length)
    except (OSError, ValueError) as failure:
        raise errors.BadRequest(f"Request body: expected it whole, the connection gave less: {failure}")
    if len(data) > limit:
        raise _too_large(limit)
    if web.content_length is not None and len(data) < web.content_length:
        raise errors.BadRequest(f"Request body: expected {web.content_length} bytes, found {len(data)}")
    web.body = data


@dataclasses.dataclass(frozen=True)
class File:
    """A part of a multipart body that has a file name: on disk when it is large."""

    filename: str
    file: Any


def read_parts(web: webob.Request, limit: int) -> None:
    """Reads a multipart body part by part as it comes, at most `limit` bytes: `web.POST` has its texts and `File`s.

    Raises `errors.TooLarge`, `errors.BadRequest`, `errors.UnsupportedMediaType`.
    """
    length = web.content_length
    if length is None and not web.environ.get("wsgi.input_terminated"):
        length = 0
    if length is not None and length > limit:
        raise _too_large(limit)
    kind, options = multipart.parse_options_header(web.headers.get("Content-Type", ""))
    if kind and kind not in ACCEPTED and length != 0:
        raise _unsupported(kind)
    if kind != MULTIPART or length == 0:
        raise errors.BadRequest(f"Content-Type must be {MULTIPART}, found {kind if kind and length else 'no body'}")
    source = web.environ["wsgi.input"]
    parser = multipart.MultipartParser(
        source,
        options.get("boundary", ""),
        content_length=-1 if length is None else length,
        part_limit=PARTS,
        spool_limit=SPOOL,
        memory_limit=limit,
        disk_limit=limit,
    )
    try:
        parts = list(parser)
        found = [(part.name, File(part.filename, part.file) if part.filename else part.value) for part in parts]
    except multipart.ParserLimitReached:
        raise _too_large(limit)
    except (multipart.MultipartError, OSError, ValueError, LookupError) as failure:
        raise errors.BadRequest(f"Request body: expected {MULTIPART}, found what cannot be read: {failure}")
    fields: Any = multidict.MultiDict(found)
    web.environ["chandlery.parts"] = parser  # keeps the files open
    web.environ["webob._parsed_post_vars"] = (fields, source)  # where webob looks first for what it parsed


def decode(web: webob.Request, wanted: Body) -> Any:
    """The JSON value of the body, None without one.

    Raises `errors.UnsupportedMediaType` and `errors.BadRequest`.
    """
    kind = web.content_type if web.body else ""
    if kind and kind not in ACCEPTED:
        raise _unsupported(kind)
    if wanted in (Body.PACKAGE_PATCH, Body.MODEL_PATCH) and kind and kind != wanted.value:
        raise errors.BadRequest(f"Content-Type: expected {wanted.value}, found {kind}")
    if kind in ("application/xml", MULTIPART):
        raise errors.BadRequest(f"Content-Type: expected {JSON}, found {kind}")
    if not kind:
        if wanted in (Body.NONE, Body.OPTIONAL):
            return None
        raise errors.BadRequest("Request body: expected one, found none (or none with a Content-Type)")
    if wanted is Body.NONE:
        raise errors.BadRequest("Request body: expected none, found one. Leave it out.")
    return parse(web.body)


def parse(data: bytes) -> Any:
    """The JSON value of bytes from a client. Raises `errors.BadRequest`."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
        _check(value)
    except (ValueError, RecursionError) as failure:
        raise errors.BadRequest(f"Malformed request body: expected JSON in UTF-8, found {failure}")
    return value


def _check(root: Any) -> None:
    """What JSON allows and we cannot keep: endless nesting, NUL, half a surrogate pair."""
    level = [root]
    for _ in range(NESTING_LIMIT):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.keys())
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
            elif isinstance(value, str):
                if "\x00" in value:
                    raise ValueError("a NUL character in a string")
                value.encode("utf-8")  # UnicodeEncodeError is a ValueError: half of a surrogate pair
        if not inner:
            return
        level = inner
    raise ValueError(f"more than {NESTING_LIMIT} levels")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]}, which is too large")
    return value


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text}, which is no JSON number")


def _unsupported(kind: str) -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        f"Content-Type: expected {', '.join(ACCEPTED)}, found {kind}. Send the header that fits the body."
    )


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(f"Request body: expected at most {limit} bytes, found more. Nothing was stored.")
