"""Signals of servers to wait conditions: stored as files, so that they survive the service and any order of events."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from engine.clouds.lab.site import Site
from engine.clouds.lab.state import read_json, write_json

SIGNAL_PORT = 8081
_MAX_BODY = 64 * 1024
_MAX_SIGNALS = 1000


def new_token() -> str:
    """The secret part of a handle's address."""
    return secrets.token_hex(16)


def url(site: Site, handle: str, token: str) -> str:
    """Where servers POST their signals."""
    return f"http://{site.range.service}:{SIGNAL_PORT}/signals/{handle}/{token}"


def folder(site: Site, handle: str) -> Path:
    """Where the signals of a handle are kept."""
    return site.directory / "signals" / handle


def received(site: Site, handle: str) -> list[dict[str, Any]]:
    """The signals so far, in their ids' order; a repeated id counts once."""
    return [read_json(path) for path in sorted(folder(site, handle).glob("*.json"))]


def handler_for(site: Site) -> type[BaseHTTPRequestHandler]:
    """The HTTP handler of the signal address. Its clients are tenants' servers: everything they send is checked."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            match = re.fullmatch(r"/signals/([0-9a-f-]{36})/([0-9a-f]{32})", self.path)
            handle = site.objects.get(match.group(1)) if match else None
            if match is None or handle is None or handle["kind"] != "waithandle":
                return self._answer(404, "no such handle")
            if not hmac.compare_digest(handle["token"], match.group(2)):
                return self._answer(403, "wrong token")
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > _MAX_BODY:
                return self._answer(413, f"expected a body of at most {_MAX_BODY} bytes")
            try:
                body = json.loads(self.rfile.read(int(length)) or b"{}")
            except ValueError:
                return self._answer(400, "expected a JSON body")
            return self._store(match.group(1), body)

        do_PUT = do_POST

        def _store(self, handle: str, body: object) -> None:
            if not isinstance(body, dict) or body.get("status", "SUCCESS") not in ("SUCCESS", "FAILURE"):
                return self._answer(400, 'expected {"status": "SUCCESS" or "FAILURE", "id", "reason", "data"}')
            target = folder(site, handle)
            count = len(list(target.glob("*.json")))
            identity = str(body.get("id") or count + 1)
            if count >= _MAX_SIGNALS:
                return self._answer(429, "too many signals")
            name = hashlib.sha256(identity.encode()).hexdigest()[:32]
            signal = {"id": identity, "status": body.get("status", "SUCCESS"), "reason": body.get("reason"),
                      "data": body.get("data")}  # fmt: skip
            write_json(target / f"{name}.json", signal)
            return self._answer(200, f"received signal {identity}")

        def _answer(self, code: int, text: str) -> None:
            body = (text + "\n").encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Signals are seen in the stack; servers must not fill the service's log."""

    return Handler
