"""Stands before a service of the cloud, at an address of its own: hands everything on, remembers what it heard."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import requests

HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive")


class Relay:
    """`heard`: methods and paths, without queries."""

    def __init__(self, endpoint: str) -> None:
        self.heard: list[str] = []
        self._endpoint = urllib.parse.urlsplit(endpoint)
        there = f"{self._endpoint.scheme}://{self._endpoint.netloc}"
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments: Any) -> None:
                pass

            def answer(self) -> None:
                relay.heard.append(f"{self.command} {self.path.partition('?')[0]}")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                got = requests.request(
                    self.command, there + self.path, headers=headers, data=body, timeout=60, allow_redirects=False
                )
                content = got.content.replace(there.encode(), relay.here.encode())
                self.send_response(got.status_code)
                for name, value in got.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value.replace(there, relay.here))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.here = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def url_template(self, project_id: str) -> str:
        """The address for Keystone's catalog, for whichever project."""
        return self.here + self._endpoint.path.replace(project_id, "$(project_id)s")

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def before(endpoint: str) -> Iterator[Relay]:
    """A relay before the service at an endpoint, until the end of the block."""
    relay = Relay(endpoint)
    try:
        yield relay
    finally:
        relay.close()
