"""A small Heat over HTTP that keeps an append-only record of what it really made, and fails as it is told.

Stacks converge: what the new template adds is created, what it changes is changed, what it lacks is deleted; each
resource has an id of its own. A server's boot data is handed to `boot`, its end to `halt`. `faults(request)` may name a
`Fault` for each request; `heard(request)` is called when a change was carried out, before it is answered.
"""

from __future__ import annotations

import enum
import http.server
import json
import random
import re
import socket
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Fault(enum.Enum):
    """What becomes of a request."""

    CONFLICT = 409
    BROKEN = 500
    AWAY = 503
    GATEWAY = 504
    DROPPED = "the connection is closed, nothing was done"
    UNHEARD = "it is done, and the connection closed in the place of an answer"
    SLOW = "it is done, and the answer comes when nobody waits for it any more"


REFUSALS = (Fault.CONFLICT, Fault.BROKEN, Fault.AWAY, Fault.GATEWAY)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    stack: str  # its name

    @property
    def changes(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True)
class Event:
    """One line of the record: `what` happened to a resource of a stack."""

    what: str  # created, changed, deleted
    stack: str
    resource: str
    type: str
    id: str


@dataclass
class Stack:
    id: str
    name: str
    template: dict = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)  # logical name to id
    status: str = ""
    looks_left: int = 0  # how often it is still seen IN_PROGRESS
    tags: list[str] = field(default_factory=list)
    created: str = ""
    updated: str | None = None


class Heat:
    """Serves `url` until `close()`."""

    def __init__(
        self, boot: Callable[[str, str], None] | None = None, halt: Callable[[str], None] | None = None, takes: int = 1
    ) -> None:
        self.record: list[Event] = []
        self.requests: Counter[str] = Counter()
        self.faults: Callable[[Request], Fault | None] = lambda request: None
        self.heard: Callable[[Request], None] = lambda request: None
        self.slow_seconds = 6.0
        self.takes = takes
        self._boot = boot or (lambda server, data: None)
        self._halt = halt or (lambda server: None)
        self._stacks: dict[str, Stack] = {}
        self._clock = 0
        self._mutex = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/p"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def alive(self, prefix: str = "") -> dict[tuple[str, str, str], list[str]]:
        """What the record says is there: ids by stack, resource and type. Every list should be of one."""
        there: dict[tuple[str, str, str], list[str]] = {}
        with self._mutex:
            for event in self.record:
                key = (event.stack, event.resource, event.type)
                if event.stack.startswith(prefix):
                    if event.what == "created":
                        there.setdefault(key, []).append(event.id)
                    elif event.what == "deleted":
                        there[key].remove(event.id)
        return {key: ids for key, ids in there.items() if ids}

    def made(self, prefix: str) -> dict[str, str]:
        """Every resource ever made, by its id: `created`, or `deleted` when that was the last of it."""
        with self._mutex:
            mine = [event for event in self.record if event.stack.startswith(prefix) and event.what != "changed"]
            return {event.id: event.what for event in mine}

    def templates(self, prefix: str) -> dict[str, dict]:
        """The templates of the stacks that are there, by name."""
        with self._mutex:
            return {stack.name: stack.template for stack in self._stacks.values() if stack.name.startswith(prefix)}

    def answer(self, method: str, path: str, body: dict | None) -> tuple[int, object, Fault | None]:
        path, _, query = path.partition("?")
        path = path.removeprefix("/v1/p")
        match = re.fullmatch(r"/stacks(?:/([^/]+))?(?:/(?!template$|resources$)[^/]+)?(/template|/resources)?", path)
        name = (match.group(1) if match else None) or (body or {}).get("stack_name") or ""
        with self._mutex:
            found = self._find(name)
        request = Request(method, path, found.name if found else name)
        fault = self.faults(request)
        self.requests[method if fault is None else f"{method} {fault.name}"] += 1
        if fault in REFUSALS:
            return fault.value, _error(f"injected: {fault.name}"), fault
        if fault is Fault.DROPPED:
            return 0, None, fault
        with self._mutex:
            if path == "/stacks" and method == "GET":
                status, content = 200, self._listed(query)
            else:
                status, content = self._handle(request, match.group(2) if match else None, body)
        if request.changes and status < 400:
            self.heard(request)
        return status, content, fault

    def _handle(self, request: Request, part: str | None, body: dict | None) -> tuple[int, object]:
        if request.method == "POST":
            if self._find(request.stack):
                return 409, _error("The Stack already exists.")
            stack = Stack(uuid.uuid4().hex, request.stack, created=self._now())
            self._stacks[stack.id] = stack
            stack.tags = (body.get("tags") or "").split(",")
            self._converge(stack, "CREATE", body["template"])
            return 201, {"stack": {"id": stack.id, "links": []}}
        found = self._find(request.stack)
        if found is None:
            return 404, _error("The Stack could not be found.")
        if request.method == "GET":
            return self._show(found, part)
        if found.looks_left:
            return 409, _error(f"Stack {found.name} already has an action in progress.")
        if request.method == "DELETE":
            self._converge(found, "DELETE", {})
            return 204, None
        found.tags = (body.get("tags") or "").split(",")
        self._converge(found, "UPDATE", body["template"])
        return 202, None

    def _converge(self, stack: Stack, action: str, template: dict) -> None:
        before, after = stack.template.get("resources", {}), template.get("resources", {})
        for name in before.keys() - after.keys():
            self._note("deleted", stack, name, before[name]["type"])
            if before[name]["type"] == "OS::Nova::Server":
                self._halt(stack.resources[name])
            del stack.resources[name]
        for name in sorted(after):
            if name not in before:
                stack.resources[name] = uuid.uuid4().hex
                self._note("created", stack, name, after[name]["type"])
                if after[name]["type"] == "OS::Nova::Server":
                    self._boot(stack.resources[name], after[name]["properties"]["user_data"])
            elif before[name] != after[name]:
                self._note("changed", stack, name, after[name]["type"])
        stack.template, stack.status, stack.looks_left, stack.updated = template, action, self.takes, self._now()

    def _note(self, what: str, stack: Stack, resource: str, kind: str) -> None:
        self.record.append(Event(what, stack.name, resource, kind, stack.resources[resource]))

    def _show(self, stack: Stack, part: str | None) -> tuple[int, object]:
        if part == "/template":
            return 200, stack.template
        if part == "/resources":
            return 200, {"resources": [self._resource(stack, name) for name in sorted(stack.resources)]}
        working = stack.looks_left > 0
        stack.looks_left = max(0, stack.looks_left - 1)
        if stack.status == "DELETE" and not working:
            del self._stacks[stack.id]
            return 404, _error("The Stack could not be found.")
        return 200, {
            "stack": {
                "id": stack.id,
                "stack_name": stack.name,
                "stack_status": f"{stack.status}_{'IN_PROGRESS' if working else 'COMPLETE'}",
                "stack_status_reason": "",
                "creation_time": stack.created,
                "updated_time": stack.updated,
                "parameters": {},
                "outputs": [
                    {"output_key": name, "output_value": f"{name} of {stack.name}"}
                    for name in stack.template.get("outputs", {})
                ],
            }
        }

    def _resource(self, stack: Stack, name: str) -> dict[str, object]:
        return {
            "resource_name": name,
            "resource_type": stack.template["resources"][name]["type"],
            "physical_resource_id": stack.resources[name],
            "resource_status": f"{stack.status}_COMPLETE",
            "resource_status_reason": "state changed",
            "links": [{"rel": "stack", "href": f"{self.url}/stacks/{stack.name}/{stack.id}"}],
        }

    def _listed(self, query: str) -> dict[str, object]:
        """The stacks with all the tags that are asked for, as Heat's list has them."""
        wanted = set(urllib.parse.parse_qs(query).get("tags", [""])[0].split(","))
        shown = [
            {
                "id": stack.id,
                "stack_name": stack.name,
                "stack_status": f"{stack.status}_COMPLETE",
                "creation_time": stack.created,
                "tags": stack.tags,
            }
            for stack in self._stacks.values()
            if stack.status != "DELETE" and wanted <= set(stack.tags)
        ]
        return {"stacks": shown}

    def _find(self, wanted: str) -> Stack | None:
        return next((stack for stack in self._stacks.values() if wanted in (stack.id, stack.name)), None)

    def _now(self) -> str:
        self._clock += 1
        return f"moment {self._clock}"


class Trouble:
    """Faults at random, by a seed. Never so many in a row that a deployment may fail: Heat is asked four times."""

    MOST_IN_A_ROW = 2

    def __init__(self, seed: int, share: float, kinds: tuple[Fault, ...] = (*REFUSALS, Fault.DROPPED, Fault.UNHEARD)):
        self._random = random.Random(seed)
        self._share = share
        self._kinds = kinds
        self.happened: Counter[str] = Counter()
        self._row: Counter[tuple[str, bool]] = Counter()
        self._mutex = threading.Lock()

    def __call__(self, request: Request) -> Fault | None:
        with self._mutex:
            key = (request.stack, request.changes)
            if self._random.random() >= self._share or self._row[key] >= self.MOST_IN_A_ROW:
                self._row[key] = 0
                return None
            self._row[key] += 1
            fault = self._random.choice(self._kinds)
            if fault is Fault.CONFLICT and not request.changes:
                fault = Fault.AWAY
            self.happened[fault.name] += 1
            return fault


def _handler(heat: Heat) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            if len(sent) < length:  # who asked was killed in the middle of it
                self.close_connection = True
                return
            body = json.loads(sent) if sent else None
            status, content, fault = heat.answer(self.command, self.path, body)
            if fault is Fault.SLOW:
                time.sleep(heat.slow_seconds)
            if fault in (Fault.DROPPED, Fault.UNHEARD, Fault.SLOW):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the worker at the other end was killed, or hung up
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = answer

    return Handler


def _error(message: str) -> dict:
    return {"code": 0, "title": "", "explanation": message, "error": {"message": message, "type": "Error"}}
