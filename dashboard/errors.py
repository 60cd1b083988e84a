"""Every failure becomes a page that says what happened and what to do; an ended login leads to the login page."""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import webob
import webob.exc

from dashboard import api, rendering

LOG = logging.getLogger(__name__)


class Pages:
    """WSGI middleware around the pages."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = webob.Request(environ)
        try:
            response = request.get_response(self._application)
        except api.Refused as refused:
            response = self._refused(request, refused)
        except api.Unreachable as unreachable:
            LOG.warning("the API does not answer: %s", unreachable)
            response = page(502, "The catalog does not answer", "It may be restarting. Try again in a moment.")
        except Exception:  # whatever it is, a person gets a page, and the log the reason
            LOG.exception("%s %s failed", request.method, request.path)
            response = page(500, "The dashboard failed", "This is our fault, and it is in the log. Try again.")
        if response.status_int == 404 and response.content_type == "text/html" and b"<main" not in response.body:
            response = page(404, "Nothing here", "The address is wrong, or what it named is gone.")
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _refused(self, request: webob.Request, refused: api.Refused) -> webob.Response:
        if refused.status == 401:
            wanted = request.path_qs if request.method == "GET" else _came_from(request) or ""
            return webob.exc.HTTPSeeOther(location=f"{rendering.MOUNT}/login?next={urllib.parse.quote(wanted)}")
        titles = {403: "Not allowed", 404: "Nothing here", 409: "Somebody else was faster"}
        title = titles.get(refused.status, "The catalog refuses")
        return page(refused.status, title, refused.message, details=refused.details, back=_came_from(request))


def page(
    status: int, title: str, message: str, *, details: Sequence[str] = (), back: str | None = None
) -> webob.Response:
    """An error page; `back` is the page of ours the visitor came from."""
    text = rendering.render("error.html", title=title, message=message, details=details, back=back, login=None)
    return webob.Response(status=status, text=text, content_type="text/html", charset="utf-8")


def _came_from(request: webob.Request) -> str | None:
    """The page of this dashboard whose form or link led here."""
    source = urllib.parse.urlsplit(request.referer or "")
    inside = source.netloc == request.host and source.path.startswith(f"{rendering.MOUNT}/")
    return source._replace(scheme="", netloc="").geturl() if inside and "//" not in source.path else None
