"""From a method and a path to a handler, and from what it returns to an answer.

`Api(routes, services)` is a WSGI application on pecan: its root controller looks a request up in the URL map
(`v1.urls`), reads the body as the route says, calls the handler, and turns every exception into an answer. An
unknown path and a wrong method are both 404 (spec/api-v1 §1.3).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pecan
import pecan.core as core
import sqlalchemy as sa
import webob
from sqlalchemy.orm import exc as orm_exc

from catalog.api import bodies, conditional, errors
from catalog.api.bodies import Body
from catalog.api.request import Caller, Request, Services
from catalog.db import contents, masking, sealing

LOG = logging.getLogger(__name__)

JSON = "application/json"
TEXT = "text/plain"
OCTETS = "application/octet-stream"
EVENTS = "text/event-stream"
ROUTE = "chandlery.route"  # in the WSGI environment: the template of the path, below the version
TARGET = "chandlery.target"  # the id of what the call is about
ATTEMPTS = 4  # a handler whose write lost against another one is run again, this often altogether

Handler = Callable[[Request], Any]


@dataclasses.dataclass(frozen=True)
class Route:
    """One entry of the URL map. `{name}` in `path` is one segment, `{name...}` is the rest, slashes included."""

    method: str
    path: str
    handler: Handler
    body: Body = Body.NONE
    produces: str = JSON
    carries_bundle: bool = False  # the body may be as large as an offline bundle


class Api:
    """The WSGI application of one API version. The caller's headers have been confirmed by identity before."""

    def __init__(self, routes: Iterable[Route], services: Services) -> None:
        self._routes = [(route, _pattern(route.path)) for route in routes]
        self._services = services
        self._admin_role = services.config.api.admin_role
        self._pecan = _Application(_Root(), force_canonical=False, guess_content_type_from_ext=False)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        web = webob.Request(environ)
        try:
            route, values = self._find(web)
            environ[ROUTE], environ[TARGET] = route.path, [None, *values.values()][-1]
            _check_accept(web, route)
            _check_query(web)
            body = None
            if route.body is Body.MULTIPART:
                bodies.read_parts(web, self._limit(route))
            else:
                bodies.read(web, self._limit(route))
                body = bodies.decode(web, route.body)
            caller = Caller.of(web.headers, self._admin_role)
            environ["chandlery.call"] = (route, Request(web, caller, self._services, values, body))
            if route.body is not Body.MULTIPART:  # decoded already: pecan shall not parse it a second time
                web.body = b""
                web.content_type = ""
            return self._pecan(environ, start_response)
        except Exception as failure:  # the last resort: whatever it is, the client gets an answer it can read
            return answer_for(failure, environ)(environ, start_response)

    def _find(self, web: webob.Request) -> tuple[Route, Mapping[str, str]]:
        path = decoded_path(web.environ)
        for route, pattern in self._routes:
            if route.method == web.method and (match := pattern.fullmatch(path)):
                return route, {name: value or "" for name, value in match.groupdict().items()}
        raise errors.NotFound(f"{web.method} {path}: there is no such resource")

    def _limit(self, route: Route) -> int:
        if route.carries_bundle:
            return self._services.config.repositories.bundle_limit * (1 << 20) + bodies.MULTIPART_OVERHEAD
        if route.body is Body.MULTIPART:
            return self._services.config.packages.size_limit * (1 << 20) + bodies.MULTIPART_OVERHEAD
        return self._services.config.api.body_limit * (1 << 20)


class _Application(pecan.Pecan):
    """pecan whose controller is found already.

    It leaves an empty 200 as it is, does not read a stream to see whether it is empty, and does not look at the
    controller's signature with every request, which would take longer than most of what there is to do.
    """

    def find_controller(self, _state: Any) -> Any:
        found = core.state
        found.request, found.response, found.controller = _state.request, _state.response, self.root.run
        found.arguments = _state.arguments = core.Arguments([], [], {})
        _state.controller = self.root.run
        return self.root.run, [], {}

    def invoke_controller(self, controller: Any, args: Any, kwargs: Any, state: Any) -> None:
        state.response = controller()

    def _handle_empty_response_body(self, state: Any) -> None:
        return


class _Root:
    """The root controller: one controller, which runs the handler that was found."""

    @pecan.expose()
    def run(self) -> webob.Response:
        environ = pecan.request.environ
        route, request = environ["chandlery.call"]
        try:
            answer = request.services.keeper.once(request, route.path, lambda: _respond(_run(route, request)))
            return conditional.answered(request.web, answer)
        except Exception as failure:  # as above
            return answer_for(failure, environ)


def _run(route: Route, request: Request) -> Any:
    """Runs the handler; again when another request wrote the same row first, as nothing of the first try is kept."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return route.handler(request)
        except (orm_exc.StaleDataError, sa.exc.OperationalError, sa.exc.IntegrityError) as failure:
            if attempt == ATTEMPTS or not _is_contention(failure):
                raise
            LOG.info("%s %s: written meanwhile, trying again (%d)", route.method, route.path, attempt)
    raise AssertionError("the last attempt returns or raises")


def _is_contention(failure: Exception) -> bool:
    """Whether the database refused because of another transaction: stale, the same row made meanwhile, deadlock."""
    if isinstance(failure, orm_exc.StaleDataError | sa.exc.IntegrityError):
        return True
    text = str(getattr(failure, "orig", failure)).lower()
    return any(word in text for word in ("deadlock", "serialize", "could not serialize", "record has changed"))


def _respond(result: Any) -> webob.Response:
    if isinstance(result, dict) and isinstance(result.get("id"), str):
        pecan.request.environ[TARGET] = result["id"]
    if isinstance(result, webob.Response):
        return result
    body = b"" if result is None else json.dumps(result).encode()
    return webob.Response(body=body, content_type=JSON, charset=None)


def answer_for(failure: Exception, environ: Mapping[str, Any]) -> webob.Response:
    """The answer for anything that was raised: what it means where it is known, a 500 with the request id otherwise."""
    request_id = environ.get("openstack.request_id", "")
    if isinstance(failure, errors.ApiError):
        known: errors.ApiError = failure
    elif isinstance(failure, orm_exc.StaleDataError | sa.exc.IntegrityError):
        known = errors.Conflict("It was changed by another request meanwhile. Read it again, then repeat the change.")
    elif isinstance(failure, UnicodeError):
        known = errors.BadRequest("Request: expected UTF-8 text in path, query and headers, found other bytes")
    elif isinstance(failure, sa.exc.OperationalError | sa.exc.TimeoutError | sa.exc.InterfaceError):
        LOG.exception("%s: the database does not answer", request_id)
        known = errors.Unavailable("The database does not answer. Repeat the request in a while.")
    elif isinstance(failure, sealing.SealError):
        LOG.error("%s: %s", request_id, failure)
        known = errors.Unavailable(
            "A value of the database can not be opened: the service lacks the key, or the value was damaged. Its log "
            f"has the reason under the request id {request_id}."
        )
    elif isinstance(failure, contents.Unreachable | contents.Damaged):
        LOG.error("%s: %s", request_id, failure)
        known = errors.Unavailable("The store of packages does not give or take this content. Repeat it in a while.")
    else:
        trace = masking.masked_text("".join(traceback.format_exception(failure)))
        LOG.error("%s: unexpected failure\n%s", request_id, trace)
        known = errors.ApiError(f"The service failed. Its log has the reason under the request id {request_id}.")
    return errors.response(known, environ.get("HTTP_ACCEPT"), request_id)


def decoded_path(environ: Mapping[str, Any]) -> str:
    """The path as text. Raises `UnicodeError` for bytes that are not UTF-8, and for a NUL, which no database takes."""
    path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8")
    if "\x00" in path:
        raise UnicodeError("a NUL in the path")
    return path


def _check_query(web: webob.Request) -> None:
    """Decodes the query while what is wrong with it can still be said. Raises `UnicodeError`."""
    for name, value in web.GET.items():
        if "\x00" in name or "\x00" in value:
            raise UnicodeError("a NUL in the query")


def _pattern(path: str) -> re.Pattern[str]:
    """`/environments/{E}/services{path...}` as a regular expression over the path below the version."""
    parts = re.split(r"(\{\w+(?:\.\.\.)?\})", path)
    expression = ""
    for part in parts:
        if part.endswith("...}"):
            rest = ".*" if expression.endswith("/") else "(?:/.*)?"
            expression += f"(?P<{part[1:-4]}>{rest})"
        elif part.startswith("{"):
            expression += f"(?P<{part[1:-1]}>[^/]+)"
        else:
            expression += re.escape(part)
    return re.compile(expression, re.DOTALL)


def _check_accept(web: webob.Request, route: Route) -> None:
    accept = web.environ.get("HTTP_ACCEPT")
    named = web.path_info.rpartition("/")[2].rpartition(".")[2]  # the end of a path counts more (spec/api-v1 §1.1)
    if not accept or f"application/{named}" == route.produces:
        return
    try:
        offers = web.accept.acceptable_offers([route.produces])
    except ValueError:
        offers = []
    if not offers:
        raise errors.NotAcceptable(f"Accept: expected a type that admits {route.produces}, found {accept[:200]}")
