"""Sources of packages for tests: folders of a small shop, and a web server whose answers a test writes."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog_cloud import package_files

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def write_package(folder: Path, name: str, **options: Any) -> Path:
    """The folder of a package's source."""
    root = folder / f"{name}-{options.get('version', '0.1.0')}"
    for path, data in package_files(name, **options).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def shop(folder: Path) -> list[Path]:
    """A shop on a server on a host, and the host in two versions."""
    return [
        write_package(folder, "org.shop.Host", version="0.1.0"),
        write_package(folder, "org.shop.Host", version="0.2.0"),
        write_package(folder, "org.shop.Server", require={"org.shop.Host": ">=0.1,<1"}),
        write_package(folder, "org.shop.Shop", require={"org.shop.Server": "", "org.shop.Host": "<0.2"}),
    ]


class Web:
    """A web server; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.folder: Path | None = None
        self.asked: list[str] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(self.path)
                if self.path in web.answers:
                    web.answers[self.path](self)
                elif web.folder is not None and (web.folder / self.path.lstrip("/")).is_file():
                    send(self, (web.folder / self.path.lstrip("/")).read_bytes())
                else:
                    self.send_error(404)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, path: str, data: bytes) -> None:
        self.answers[path] = lambda handler: send(handler, data)

    def redirect(self, path: str, target: str) -> None:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.end_headers()

        self.answers[path] = answer

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def send(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    """A 200 with these bytes."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
