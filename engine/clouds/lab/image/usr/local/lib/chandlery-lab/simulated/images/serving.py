"""What the simulated images share: an HTTP server that says in every answer that it is simulated."""

from __future__ import annotations

import base64
import binascii
import http.server
import json
import os
import signal
import sys
import urllib.parse

from simulated import NOTICE

BODY_LIMIT = 32 * 1024 * 1024


class Server(http.server.ThreadingHTTPServer):
    """Threads, and a queue long enough for a health check to pass under load."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_port = "CHANDLERY_LAB_LISTEN" in os.environ  # the same port may be published on all other addresses


class Handler(http.server.BaseHTTPRequestHandler):
    """One request: `path` and `query` apart, the body read, credentials of basic authentication decoded."""

    protocol_version = "HTTP/1.1"
    timeout = 75
    wbufsize = -1  # an answer leaves in one piece, not header by header ...
    disable_nagle_algorithm = True  # ... and at once

    def answer(
        self, status: int, body: str | bytes | dict | list = b"", kind: str | None = None, **headers: str
    ) -> None:
        """Sends the answer: objects as JSON. `_` in header names stands for `-`."""
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body) + "\n", kind or "application/json"
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Chandlery-Lab", NOTICE)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Type", kind or "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204 and self.command != "HEAD":
            self.wfile.write(content)

    def split(self) -> tuple[str, dict[str, str]]:
        path, _mark, query = self.path.partition("?")
        values = urllib.parse.parse_qs(query, keep_blank_values=True)
        return path, {name: value[-1] for name, value in values.items()}

    def body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def basic(self) -> tuple[str, str] | None:
        kind, _space, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            user, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return user, password

    def log_message(self, text: str, *arguments: object) -> None:
        sys.stdout.write(f"{self.log_date_time_string()} {self.client_address[0]} {text % arguments}\n")
        sys.stdout.flush()


def tree_path(name: str) -> str:
    """A file of the container's tree."""
    return os.environ.get("CHANDLERY_LAB_ROOTFS", "") + name


def serve(name: str, handler: type[Handler], port: int) -> None:
    """Serves until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    address = os.environ.get("CHANDLERY_LAB_LISTEN", "0.0.0.0")  # noqa: S104 - as the real images do
    server = Server((address, port), handler)
    print(f"{name} ({NOTICE}) listens on port {port}", flush=True)
    server.serve_forever()
