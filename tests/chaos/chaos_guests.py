"""Scripted guests on the agents' real API: each carries a plan out once, and loses or doubles answers as it is told."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable

import cheroot.wsgi
import requests

from catalog.api import agents as agents_api
from catalog.db import base

SECRET = b"a secret of the chaos tests, 32 bytes"
POLL = 5.0  # seconds an empty poll waits


class Mishaps:
    """What goes wrong between guests and API, at random by a seed; each with the given share."""

    def __init__(self, seed: int = 0, share: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._share = share
        self._mutex = threading.Lock()
        self.happened: Counter[str] = Counter()

    def happens(self, what: str) -> bool:
        with self._mutex:
            if self._random.random() >= self._share:
                return False
            self.happened[what] += 1
            return True


class Guests:
    """The agents' API on a port of its own, and the servers that talk to it. `ran` counts executions by plan."""

    def __init__(self, database: base.Database) -> None:
        self.ran: Counter[str] = Counter()
        self.mishaps = Mishaps()
        self.done: Callable[[str, str], None] = lambda agent, plan_id: None  # called when a plan was carried out
        self._app = agents_api.agents_app(database, wait=POLL, waiters=48)
        self._server = cheroot.wsgi.Server(("127.0.0.1", 0), self._app, numthreads=64)
        self._server.expiration_interval = 0.05
        self._server.prepare()
        self.url = f"http://127.0.0.1:{self._server.bind_addr[1]}"
        self._serving = threading.Thread(target=self._server.serve, daemon=True)
        self._serving.start()
        self._halted: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def boot(self, server: str, data: str) -> None:
        """A server starts: its agent enrols with its boot data, and asks for plans."""
        self._halted[server] = threading.Event()
        guest = threading.Thread(target=self._live, args=(json.loads(data), self._halted[server]), daemon=True)
        self._threads.append(guest)
        guest.start()

    def halt(self, server: str) -> None:
        self._halted.pop(server).set()

    def close(self) -> None:
        for halted in self._halted.values():
            halted.set()
        self._app.close()
        for guest in self._threads:
            guest.join(30)
        self._server.stop()
        self._serving.join()

    def _live(self, access: dict, halted: threading.Event) -> None:
        agent = _Agent(access)
        results: dict[str, dict] = {}  # what an agent keeps on its disk
        while not halted.is_set() and not agent.enrolled():
            halted.wait(0.05)
        while not halted.is_set():
            offer = agent.ask("poll", {"wait": POLL, "version": "chaos"})
            if offer is None:
                halted.wait(0.02)
                continue
            if self.mishaps.happens("a plan was lost on its way to the guest"):
                continue
            plan_id = offer["id"]
            if plan_id not in results:
                self.ran[plan_id] += 1
                body = f"done {offer['plan']['Name']}"
                results[plan_id] = {"FormatVersion": "2.0.0", "ErrorCode": 0, "Body": body}
                self.done(access["agent_id"], plan_id)
            if self.mishaps.happens("a result was lost on its way to the service"):
                continue
            agent.ask(f"results/{plan_id}", results[plan_id])
            if self.mishaps.happens("a result was sent twice"):
                agent.ask(f"results/{plan_id}", results[plan_id])


class _Agent:
    def __init__(self, access: dict) -> None:
        self._access = access
        self._token = uuid.uuid4().hex
        self._session = requests.Session()

    def enrolled(self) -> bool:
        session = hashlib.sha256(self._token.encode()).hexdigest()
        return self.ask("enrol", {"session": session}, self._access["token"]) is not None

    def ask(self, call: str, body: dict, token: str | None = None) -> dict | None:
        """The answer's content, None if it has none or there was no answer."""
        url = f"{self._access['url']}/agents/v1/{self._access['agent_id']}/{call}"
        headers = {"Authorization": f"Bearer {token or self._token}"}
        try:
            answer = self._session.post(url, data=json.dumps(body), headers=headers, timeout=60)
            return answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError):
            return None
