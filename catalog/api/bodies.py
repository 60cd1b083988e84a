"""Request bodies: read within a limit, and decoded as the route wants them. spec/api-v1 §1.1, "Content negotiation"."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import webob

from catalog.api import errors

JSON = "application/json"
PACKAGE_PATCH = "application/murano-packages-json-patch"
MODEL_PATCH = "application/env-model-json-patch"
MULTIPART = "multipart/form-data"
ACCEPTED = (JSON, "application/xml", PACKAGE_PATCH, MODEL_PATCH, MULTIPART)
MULTIPART_OVERHEAD = 1 << 20  # bytes of a multipart body that are not the archive: the JSON field and the boundaries
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


def decode(web: webob.Request, wanted: Body) -> Any:
    """The JSON value of the body, None without one; a multipart body is checked for its type only.

    Raises `errors.UnsupportedMediaType` and `errors.BadRequest`.
    """
    kind = web.content_type if web.body else ""
    if kind and kind not in ACCEPTED:
        raise errors.UnsupportedMediaType(
            f"Content-Type: expected {', '.join(ACCEPTED)}, found {kind}. Send the header that fits the body."
        )
    if wanted is Body.MULTIPART:
        if kind != MULTIPART:
            raise errors.BadRequest(f"Content-Type must be {MULTIPART}, found {kind or 'no body'}")
        try:
            web.POST  # noqa: B018  parses the body, and keeps what it finds for the handler
        except ValueError as failure:
            raise errors.BadRequest(f"Request body: expected {MULTIPART}, found what cannot be read: {failure}")
        return None
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


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(f"Request body: expected at most {limit} bytes, found more. Nothing was stored.")
