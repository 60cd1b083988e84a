"""What generated requests are led to: one of each kind of thing in a running service, made again when it is removed."""

from __future__ import annotations

import io
import itertools
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import requests

from cli import client

TIMEOUT = 60  # seconds for one answer, on a machine that does much else
SESSION = "X-Configuration-Session"
APP = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web"}
CLASS = """Namespaces: {=: org.example}
Name: App
Methods:
  greet:
    Scope: Public
    Usage: Static
    Body:
      - Return: hello
"""
MANIFEST = {
    "Format": "MuranoPL/1.4",
    "Type": "Application",
    "FullName": "org.example.App",
    "Name": "App",
    "Description": "An application",
    "Author": "The tests",
}
# What goes when one of a kind is removed: itself, and what was inside it.
INSIDE = {
    "environment": ("environment", "session", "deployment"),
    "session": ("session",),
    "deploy": ("session",),
    "package": ("package",),
    "category": ("category",),
    "template": ("template",),
}


class Ground:
    """`id(kind)` is the id of something of a kind: environment, session, deployment, package, category, template."""

    def __init__(self, url: str, credentials: dict[str, client.Credentials]) -> None:
        self.url = url
        self.tokens = {account: self._log_in(each) for account, each in credentials.items()}
        self._ids: dict[str, str] = {}
        self._numbers = itertools.count()

    def id(self, kind: str) -> str:
        if kind not in self._ids:
            self._ids[kind] = MAKERS[kind](self)
        return self._ids[kind]

    def forget(self, kind: str) -> None:
        """One of this kind is no longer there."""
        for each in INSIDE.get(kind, ()):
            self._ids.pop(each, None)

    def call(self, method: str, path: str, body: Any = None, *, account: str = "demo", **options: Any) -> Any:
        """The answer's JSON value, None for an empty one. An error raises."""
        headers = {"X-Auth-Token": self.tokens[account], **options.pop("headers", {})}
        arguments = {"json": body, **options} if body is not None else options
        answer = requests.request(method, f"{self.url}/v1{path}", headers=headers, timeout=TIMEOUT, **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def name(self) -> str:
        return f"one-{next(self._numbers)}"

    def _log_in(self, who: client.Credentials) -> str:
        user = {"name": who.username, "domain": {"id": "default"}, "password": who.password}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": who.project_name, "domain": {"id": "default"}}},
        }
        answer = requests.post(f"{who.auth_url}/auth/tokens", json={"auth": auth}, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"]


def environment(ground: Ground) -> str:
    return str(ground.call("POST", "/environments", {"name": ground.name()})["id"])


def session(ground: Ground) -> str:
    while True:
        where = f"/environments/{ground.id('environment')}"
        try:
            opened = str(ground.call("POST", f"{where}/configure")["id"])
            ground.call("POST", f"{where}/services", APP, headers={SESSION: opened})
        except requests.HTTPError:  # it is being deployed, or was removed: another one
            ground.forget("environment")
        else:
            return opened


def deployment(ground: Ground) -> str:
    """A deployment of the environment that has ended: of an application less, so that there is nothing to do."""
    where = f"/environments/{ground.id('environment')}"
    opened = ground.call("POST", f"{where}/configure")["id"]
    ground.call("POST", f"{where}/sessions/{opened}/deploy")
    deadline = time.monotonic() + 2 * TIMEOUT
    while True:
        [newest, *_] = ground.call("GET", f"{where}/deployments")["deployments"]
        if newest["finished"]:
            return str(newest["id"])
        assert time.monotonic() < deadline, f"the deployment of an empty environment takes more than {2 * TIMEOUT} s"
        time.sleep(0.1)


def package(ground: Ground) -> str:
    buffer = io.BytesIO()
    name = f"org.example.App{next(ground._numbers)}"
    short = name.rpartition(".")[2]
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.yaml", json.dumps({**MANIFEST, "FullName": name, "Classes": {name: "App.yaml"}}))
        archive.writestr("Classes/App.yaml", CLASS.replace("Name: App", f"Name: {short}"))
    files = {"file": ("package.zip", buffer.getvalue()), "__metadata__": (None, json.dumps({"tags": ["one"]}))}
    return str(ground.call("POST", "/catalog/packages", files=files)["id"])


def category(ground: Ground) -> str:
    return str(ground.call("POST", "/catalog/categories", {"name": ground.name()}, account="admin")["id"])


def template(ground: Ground) -> str:
    body = {"name": ground.name(), "is_public": True, "services": [APP]}
    return str(ground.call("POST", "/templates", body)["id"])


MAKERS: dict[str, Callable[[Ground], str]] = {
    "environment": environment,
    "session": session,
    "deployment": deployment,
    "package": package,
    "category": category,
    "template": template,
    "action": lambda ground: ground.id("deployment"),
    "path": lambda _ground: "a1",
    "class": lambda _ground: "io.murano.Environment",
}
