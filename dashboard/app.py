"""The dashboard's WSGI application: pages on pecan, static files, security headers.

It is a client of the REST API and of nothing else: all it knows of a catalog is two URLs.
"""

from __future__ import annotations

import mimetypes
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import pecan

from dashboard import errors, security
from dashboard.configuration import Configuration
from dashboard.controllers import root

HERE = pathlib.Path(__file__).parent
# URL below the mount point -> file. The two libraries come from npm by lock file (make setup).
VENDOR = {
    "htmx.js": HERE / "node_modules" / "htmx.org" / "dist" / "htmx.min.js",
    "dagre.js": HERE / "node_modules" / "@dagrejs" / "dagre" / "dist" / "dagre.min.js",
}
STATIC = HERE / "static"

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def create_app(configuration: Configuration) -> Application:
    """The dashboard as a WSGI application, to be mounted at ``rendering.MOUNT``."""
    pages = pecan.make_app(
        root.RootController(configuration, security.Sealer(configuration.cookie_key)),
        debug=False,
        wrap_app=errors.Pages,
        force_canonical=False,
    )
    return security.headers(static(pages))


def static(pages: Application) -> Application:
    """Answers ``/static/...`` and ``/vendor/...`` from files, everything else by the pages."""

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        file = None
        if path.startswith("/vendor/"):
            file = VENDOR.get(path.removeprefix("/vendor/"))
        elif path.startswith("/static/"):
            wanted = (STATIC / path.removeprefix("/static/")).resolve()
            file = wanted if wanted.is_relative_to(STATIC) else None
        else:
            return pages(environ, start_response)
        if file is None or not file.is_file():
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        headers = [("Content-Type", kind), ("Content-Length", str(len(content))), ("Cache-Control", "max-age=300")]
        start_response("200 OK", headers)
        return [content]

    return answer
