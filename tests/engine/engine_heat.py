"""A small Heat over HTTP: stacks that take a while, conflicts while they work, resources that fail on demand."""

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.parse
import uuid
from dataclasses import dataclass, field


@dataclass
class FakeStack:
    id: str
    name: str
    template: dict
    parameters: dict
    tags: str
    status: str
    created: str
    looks_left: int = 0  # how often it is still seen IN_PROGRESS
    updated: str | None = None
    reason: str = ""
    failed: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)


class FakeHeat:
    """Serves `/v1/p/stacks`. `fail(resource, reason)` breaks the next change; `down` answers 503 so many times."""

    def __init__(self) -> None:
        self.stacks: dict[str, FakeStack] = {}
        self.requests: list[tuple[str, str]] = []
        self.down = 0
        self.takes = 1
        self.secretive = False  # whether files and environments are kept from those who ask
        self.query: dict[str, str] = {}
        self._failing: dict[str, str] = {}
        self._clock = 0
        self._mutex = threading.Lock()
        heat = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                path, _, query = self.path.partition("?")
                with heat._mutex:
                    heat.query = dict(urllib.parse.parse_qsl(query))
                    status, content = heat.handle(self.command, path, body)
                data = json.dumps(content).encode() if content is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/p"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, resource: str, reason: str) -> None:
        self._failing = {resource: reason}

    def handle(self, method: str, path: str, body: dict | None) -> tuple[int, object]:
        path = path.removeprefix("/v1/p")
        self.requests.append((method, path))
        if self.down > 0:
            self.down -= 1
            return 503, error("the service is away")
        if method == "POST" and path == "/stacks":
            return self.create(body)
        if method == "GET" and path == "/stacks":
            return self.index()
        match = re.fullmatch(r"/stacks/([^/]+)(?:/(?!(?:template|resources|files|environment)$)[^/]+)?(/\w+)?", path)
        stack = self.find(match.group(1)) if match else None
        if stack is None:
            return 404, error("The Stack could not be found.")
        if method == "GET":
            return self.show(stack, match.group(2))
        if stack.looks_left:
            return 409, error(f"Stack {stack.name} already has an action in progress.")
        if method == "PUT":
            return self.change(stack, "UPDATE", body)
        return self.change(stack, "DELETE", None)

    def create(self, body: dict) -> tuple[int, object]:
        if "heat_template_version" not in body["template"]:
            return 400, error("The template is invalid: heat_template_version is missing.")
        if self.find(body["stack_name"]):
            return 409, error("The Stack already exists.")
        stack = FakeStack(uuid.uuid4().hex, body["stack_name"], {}, {}, "", "", self.now())
        self.stacks[stack.id] = stack
        self.change(stack, "CREATE", body)
        return 201, {"stack": {"id": stack.id, "links": []}}

    def change(self, stack: FakeStack, action: str, body: dict | None) -> tuple[int, object]:
        if body is not None:
            stack.template, stack.parameters = body["template"], body.get("parameters", {})
            stack.tags = body.get("tags") or ""
            stack.files, stack.environment = body.get("files") or {}, body.get("environment") or {}
        stack.failed = {
            name: reason for name, reason in self._failing.items() if name in stack.template.get("resources", {})
        }
        stack.status, self._failing = action, {}
        stack.updated = self.now()
        stack.looks_left = self.takes
        return 202, None

    def show(self, stack: FakeStack, part: str | None) -> tuple[int, object]:
        if part == "/template":
            return 200, stack.template
        if part in ("/files", "/environment"):
            if self.secretive:
                return 403, error("You are not authorized to use stacks.")
            added = {
                "parameters": stack.parameters,
                "encrypted_param_names": [],
                "resource_registry": {"resources": {}},
            }
            return 200, stack.files if part == "/files" else {**added, **stack.environment}
        if part == "/resources":
            return 200, {"resources": [self.resource(stack, name) for name in stack.template.get("resources", {})]}
        status = f"{stack.status}_IN_PROGRESS"
        if stack.looks_left == 0:
            status = f"{stack.status}_{'FAILED' if stack.failed else 'COMPLETE'}"
            if status == "DELETE_COMPLETE":
                del self.stacks[stack.id]
                return 404, error("The Stack could not be found.")
        stack.looks_left = max(0, stack.looks_left - 1)
        return 200, {
            "stack": {
                "id": stack.id,
                "stack_name": stack.name,
                "tags": stack.tags.split(",") if stack.tags else None,
                "stack_status": status,
                "stack_status_reason": "Resource failed" if stack.failed else "",
                "creation_time": stack.created,
                "updated_time": stack.updated,
                "parameters": {"OS::stack_id": stack.id, **stack.parameters},
                "outputs": [
                    {"output_key": name, "output_value": f"<{name}>"} for name in stack.template.get("outputs", {})
                ],
            }
        }

    def index(self) -> tuple[int, object]:
        wanted = set(filter(None, self.query.get("tags", "").split(",")))
        shown = [self.show(stack, None)[1]["stack"] for stack in list(self.stacks.values())]
        return 200, {"stacks": [each for each in shown if wanted <= set(each["tags"] or ())]}

    def resource(self, stack: FakeStack, name: str) -> dict:
        reason = stack.failed.get(name)
        state = "IN_PROGRESS" if stack.looks_left else "FAILED" if reason else "COMPLETE"
        return {
            "resource_name": name,
            "resource_type": stack.template["resources"][name]["type"],
            "physical_resource_id": f"{stack.id}-{name}",
            "links": [{"rel": "stack", "href": f"{self.url}/stacks/{stack.name}/{stack.id}"}],
            "resource_status": f"{stack.status}_{state}",
            "updated_time": stack.updated,
            "resource_status_reason": reason or "state changed",
        }

    def find(self, wanted: str) -> FakeStack | None:
        return next((stack for stack in self.stacks.values() if wanted in (stack.id, stack.name)), None)

    def now(self) -> str:
        self._clock += 1
        return f"2026-01-01T00:00:{self._clock % 60:02d}Z"


def error(message: str) -> dict:
    return {"code": 0, "title": "", "explanation": message, "error": {"message": message, "type": "Error"}}
