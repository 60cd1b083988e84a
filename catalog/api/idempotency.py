"""`Idempotency-Key`: a POST that is repeated with the same key is carried out once, and answered alike.

`once(request, route, work)` runs the work or gives back the answer it had. A key belongs to a user in a project on a
route; with another body it is a 422, while the first request still runs a 409. Answers of success are kept; a request
that failed has changed nothing, so its key is free again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa
import webob

from catalog.api import errors
from catalog.api.request import SESSION_HEADER, Request
from catalog.db import base, idempotency

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY_LIMIT = 255  # characters of a key
ANSWER_LIMIT = 4 << 20  # bytes of an answer that is kept
CHUNK = 64 << 10  # bytes of an uploaded file that are read at once
KEPT_HEADERS = ("Content-Type", "ETag")
SWEEP_SECONDS = 60  # a process deletes what is too old at most this often


class Keeper:
    """Keeps answers for one service. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._swept = float("-inf")

    def once(self, request: Request, template: str, work: Callable[[], webob.Response]) -> webob.Response:
        """The answer of `work`, or the one it had before. Raises `errors.ApiError`."""
        key = request.web.headers.get(HEADER)
        if key is None or request.web.method != "POST":
            return work()
        identifier, digest = _identify(request, template, _checked(key)), _digest(request)
        held = self._claim(request, identifier, digest)
        if held is None:
            return self._kept(request, identifier, digest)
        try:
            answer = work()
        except BaseException:
            with request.database.transaction() as session:
                idempotency.release(session, identifier, held)
            raise
        with request.database.transaction() as session:
            if answer.status_int < 400 and answer.content_length is not None and len(answer.body) <= ANSWER_LIMIT:
                headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
                idempotency.finish(
                    session, identifier, held, status=answer.status_int, headers=headers, body=answer.body
                )
            else:
                idempotency.release(session, identifier, held)
        return answer

    def _claim(self, request: Request, identifier: str, digest: str) -> str | None:
        """The claim under which this request runs; None if there is, or was, another one under the key."""
        self._sweep(request)
        patience = datetime.timedelta(seconds=request.config.api.idempotency_patience)
        try:
            with request.database.transaction() as session:
                if idempotency.get(session, identifier) is None:
                    return idempotency.claim(session, identifier, digest)
                return idempotency.take_over(session, identifier, digest, before=base.now() - patience)
        except sa.exc.IntegrityError:  # another request with the key began since we looked
            return None

    def _kept(self, request: Request, identifier: str, digest: str) -> webob.Response:
        with request.database.reading() as session:
            row = idempotency.get(session, identifier)
        if row is not None and row.body_digest != digest:
            raise errors.Unprocessable(
                f"{HEADER}: expected the request that was sent under this key first, found another one. "
                "Send a key of its own with every new request."
            )
        if row is None or row.status is None:
            raise errors.Conflict(
                f"{HEADER}: the first request under this key is still being carried out. Repeat it in a while.",
                headers={"Retry-After": "1"},
            )
        answer = webob.Response(body=row.body or b"", status=row.status)
        answer.headers.pop("Content-Type", None)
        answer.headers.update({**(row.headers or {}), REPLAYED: "true"})
        return answer

    def _sweep(self, request: Request) -> None:
        with self._lock:
            if time.monotonic() - self._swept < SWEEP_SECONDS:
                return
            self._swept = time.monotonic()
        oldest = base.now() - datetime.timedelta(hours=request.config.api.idempotency_hours)
        with request.database.transaction() as session:
            idempotency.forget(session, before=oldest)


def _checked(key: str) -> str:
    if not 1 <= len(key) <= KEY_LIMIT or not all("!" <= character <= "~" for character in key):
        raise errors.BadRequest(
            f"{HEADER}: expected 1 to {KEY_LIMIT} printable ASCII characters without blanks, such as a UUID, "
            f"found {key[:40]!r}"
        )
    return key


def _identify(request: Request, template: str, key: str) -> str:
    caller = request.caller
    return hashlib.sha256("\0".join((caller.project_id, caller.user_id, template, key)).encode()).hexdigest()


def _digest(request: Request) -> str:
    """Of everything that says what the request means: path, query, session and body.

    A multipart body counts by its parts: a client that repeats it may choose another boundary.
    """
    web = request.web
    said = hashlib.sha256()
    for text in (web.path_info, web.query_string, web.headers.get(SESSION_HEADER, "")):
        said.update(text.encode("utf-8", "surrogateescape") + b"\0")
    for piece in _pieces(request):
        said.update(hashlib.sha256(piece).digest())
    return said.hexdigest()


def _pieces(request: Request) -> Iterator[bytes]:
    if request.web.content_type != "multipart/form-data":
        yield json.dumps(request.body, sort_keys=True).encode()
        return
    for name, value in request.web.POST.items():
        yield name.encode("utf-8", "surrogateescape")
        if hasattr(value, "file"):
            yield str(value.filename).encode("utf-8", "surrogateescape")
            value.file.seek(0)
            content = hashlib.sha256()
            while chunk := value.file.read(CHUNK):
                content.update(chunk)
            value.file.seek(0)
            yield content.digest()
        else:
            yield str(value).encode("utf-8", "surrogateescape")
