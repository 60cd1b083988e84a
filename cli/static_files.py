"""A small static web server for a built repository: ETags, no directory listings, nothing outside the folder."""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cheroot import wsgi

from cli import errors

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@contextlib.contextmanager
def serving(directory: pathlib.Path, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `directory` while the context lasts; gives the base URL. Port 0 picks a free one."""
    if not directory.is_dir():
        raise errors.CommandError(f"{directory}: expected a built repository, found no such folder.")
    server = wsgi.Server((host, port), application(directory.resolve()), numthreads=4, server_name="chandlery")
    try:
        server.prepare()
    except OSError as error:
        raise errors.CommandError(
            f"Port {port} on {host} cannot be used: {error}.", "Choose another one with --port."
        ) from None
    thread = threading.Thread(target=server.serve, name="repository", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join(timeout=5)


def wait() -> None:
    """Block until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def application(root: pathlib.Path) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """A WSGI application that answers GET and HEAD for files below `root`."""

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = (root / environ.get("PATH_INFO", "").lstrip("/")).resolve()
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return [b""]
        if not path.is_relative_to(root) or not path.is_file():
            start_response("404 Not Found", [("Content-Length", "0")])
            return [b""]
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        if environ.get("HTTP_IF_NONE_MATCH") == etag:
            start_response("304 Not Modified", [("ETag", etag)])
            return [b""]
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = [("Content-Type", kind), ("Content-Length", str(len(content))), ("ETag", etag)]
        start_response("200 OK", headers)
        return [content if environ["REQUEST_METHOD"] == "GET" else b""]

    return answer
