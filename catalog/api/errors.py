"""Errors as answers: the exceptions handlers raise, and the one place that turns them into what clients can read.

Existing clients crash on a 4xx in the wrong form (spec/api-v1 §1.1, "Client constraints on error bodies"): an HTML
page for whoever accepts anything, an object of strings for whoever asks for JSON, plain text for the rest.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import webob
from webob import acceptparse


class ApiError(Exception):
    """An answer that is an error. `details` is for machines: merged into the JSON form."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(
        self, explanation: str, *, details: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(explanation)
        self.explanation = explanation
        self.details = details or {}
        self.headers = headers or {}


class BadRequest(ApiError):
    """What was sent cannot be understood or is not allowed to be."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(ApiError):
    """Who sends is not known, or is not the one it belongs to."""

    status = HTTPStatus.UNAUTHORIZED


class Forbidden(ApiError):
    """Who sends may not."""

    status = HTTPStatus.FORBIDDEN


class NotFound(ApiError):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND


class NotAcceptable(ApiError):
    """The answer's type is none the client accepts."""

    status = HTTPStatus.NOT_ACCEPTABLE


class Conflict(ApiError):
    """It is there already, or changed meanwhile."""

    status = HTTPStatus.CONFLICT


class TooLarge(ApiError):
    """More was sent than is taken."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(ApiError):
    """The body's type is none that is understood."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Unprocessable(ApiError):
    """What was sent contradicts what was sent before."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooManyRequests(ApiError):
    """Asked too often."""

    status = HTTPStatus.TOO_MANY_REQUESTS


class BadGateway(ApiError):
    """A repository did not answer, or not as it should."""

    status = HTTPStatus.BAD_GATEWAY


class Unavailable(ApiError):
    """The engine or the database does not answer now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Timeout(ApiError):
    """The engine did not answer in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT


def problems(explanation: str, found: Sequence[object]) -> BadRequest:
    """A 400 that lists every problem (`dsl.packages.Problem`), one a line for people, as objects for machines."""
    lines = "\n".join(str(problem) for problem in found)
    fields = ("file", "line", "column", "message", "expected", "found", "fix")
    listed = [{field: getattr(problem, field, None) for field in fields} for problem in found]
    return BadRequest(f"{explanation}\n{lines}", details={"problems": listed})


def response(error: ApiError, accept: str | None, request_id: str) -> webob.Response:
    """The answer for an error, in a form the client's `Accept` header admits."""
    status = f"{error.status.value} {error.status.phrase}"
    kind = _form(accept)
    if kind == "text/html":
        body = _page(status, error.explanation, request_id)
    elif kind == "application/json":
        document = {
            **error.details,
            "message": error.explanation,
            "code": status,
            "title": error.status.phrase,
            "request_id": request_id,
        }
        body = json.dumps(document)
    else:
        body = f"{status}\n\n{error.explanation}\n"
    answer = webob.Response(status=status, content_type=kind, charset="UTF-8")
    answer.text = body
    answer.headers.update(error.headers)
    return answer


def _form(accept: str | None) -> str:
    """`text/html` for whoever takes anything, as the original answered; a client that names nothing gets plain text."""
    if not accept:
        return "text/plain"
    offers = ["text/html", "application/json", "text/plain"]
    try:
        acceptable = acceptparse.create_accept_header(accept).acceptable_offers(offers)
    except ValueError:
        return "text/plain"
    return acceptable[0][0] if acceptable else "text/plain"


def _page(status: str, explanation: str, request_id: str) -> str:
    lines = "<br />\n".join(html.escape(line, quote=False) for line in explanation.splitlines())
    return (
        f"<html>\n <head>\n  <title>{status}</title>\n </head>\n <body>\n  <h1>{status}</h1>\n  {lines}<br /><br />\n"
        f"{request_id}\n\n </body>\n</html>\n"
    )
