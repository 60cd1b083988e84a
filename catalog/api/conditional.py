"""Conditional GET: an `ETag` on whatever can be read, and 304 for who has it already (RFC 9110 §13).

An answer whose handler named a state (`"<id>-<generation>"`, which `If-Match` takes) keeps that name and gets the
digest of the answer behind it: a status may change while the content stays.
"""

from __future__ import annotations

import hashlib

import webob

DIGITS = 20  # of the digest in hex


def answered(web: webob.Request, answer: webob.Response) -> webob.Response:
    """The answer with its `ETag`, or a 304 without a body. Streams and errors stay as they are."""
    if web.method != "GET" or answer.status_int != 200 or answer.content_length is None:
        return answer
    digest = hashlib.sha256(answer.body).hexdigest()[:DIGITS]
    answer.etag = f"{answer.etag}.{digest}" if answer.etag else digest
    wanted = web.headers.get("If-None-Match")
    if wanted is None or not _names(wanted, answer.etag):
        return answer
    unchanged = webob.Response(status=304)
    unchanged.headers.pop("Content-Type", None)
    unchanged.headers.pop("Content-Length", None)
    unchanged.etag = answer.etag
    return unchanged


def state_of(etag: str) -> str:
    """The name of the state in an `ETag` as it was answered, for comparing it with `If-Match`."""
    return '"' + etag.strip().removeprefix("W/").strip('"').partition(".")[0] + '"'


def _names(header: str, etag: str) -> bool:
    """Whether `If-None-Match` names this state; weak comparison, as RFC 9110 wants it here."""
    named = [each.strip().removeprefix("W/").strip('"') for each in header.split(",")]
    return "*" in named or etag in named
