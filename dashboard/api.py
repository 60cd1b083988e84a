"""The REST API and the identity service as the dashboard calls them, on behalf of the person who is logged in."""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import requests

# Seconds to connect, and to wait for an answer. A check or a plan runs package code, so the latter is generous.
TIMEOUT = (3.05, 60)


class Refused(Exception):
    """The service answered with an error: `status` is its HTTP code, `message` its words, `details` single problems."""

    def __init__(self, status: int, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


class Unreachable(Exception):
    """The service did not answer."""


@dataclasses.dataclass(frozen=True)
class Login:
    """What the identity service told about a person; sealed into the cookie."""

    token: str
    user: str
    project: str


def log_in(auth_url: str, username: str, password: str, project: str) -> Login:
    """A token scoped to the project. Raises Refused (401) for a wrong password, Unreachable."""
    domain = {"name": "Default"}
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": username, "domain": domain, "password": password}},
            },
            "scope": {"project": {"name": project, "domain": domain}},
        }
    }
    response = _send("POST", f"{auth_url}/auth/tokens", json=body)
    token = response.json()["token"]
    return Login(response.headers["X-Subject-Token"], token["user"]["name"], token["project"]["name"])


def path(*segments: str) -> str:
    """The path of these segments, each quoted. Raises Refused (404) for one that would lead to another path."""
    if any(segment in ("", ".", "..") for segment in segments):
        raise Refused(404, "The address is wrong.")
    return "".join("/" + urllib.parse.quote(segment, safe="") for segment in segments)


class Api:
    """The REST API with one person's token. Every method raises Refused or Unreachable."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"X-Auth-Token": token, "Accept": "application/json"}

    def get(self, path: str, **query: str) -> Any:
        """The decoded JSON of ``GET /v1{path}``; None when the body is empty."""
        response = _send("GET", f"{self._url}/v1{path}", headers=self._headers, params=query)
        return response.json() if response.content else None

    def post(self, path: str, body: Any = None, session: str | None = None) -> Any:
        """The decoded JSON of ``POST /v1{path}``; None when the body is empty."""
        headers = {**self._headers, **({"X-Configuration-Session": session} if session else {})}
        arguments = {"json": body} if body is not None else {}
        response = _send("POST", f"{self._url}/v1{path}", headers=headers, **arguments)
        return response.json() if response.content else None

    def delete(self, path: str) -> None:
        """``DELETE /v1{path}``."""
        _send("DELETE", f"{self._url}/v1{path}", headers=self._headers)

    def raw(self, path: str) -> bytes:
        """The bytes of ``GET /v1{path}``: logos."""
        headers = {**self._headers, "Accept": "application/octet-stream"}
        return _send("GET", f"{self._url}/v1{path}", headers=headers).content

    def events(self, path: str, last_event_id: str | None) -> Iterator[bytes]:
        """The bytes of an event stream as they arrive. What is refused is refused now, not while iterating."""
        headers = {**self._headers, "Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        return _lines(_send("GET", f"{self._url}/v1{path}", headers=headers, stream=True))


def _lines(response: requests.Response) -> Iterator[bytes]:
    """The lines of a stream until it ends or breaks: the browser asks again from the last event it has."""
    with response, contextlib.suppress(requests.RequestException):
        for line in response.iter_lines():
            yield line + b"\n"


def _send(method: str, url: str, **arguments: Any) -> requests.Response:
    try:
        response = requests.request(method, url, timeout=TIMEOUT, allow_redirects=False, **arguments)
    except requests.RequestException as error:
        raise Unreachable(str(error)) from None
    if response.status_code >= 400:
        raise Refused(response.status_code, _message(response), _problems(response))
    return response


def _message(response: requests.Response) -> str:
    try:
        content = response.json()
    except ValueError:
        return str(response.reason)
    if not isinstance(content, dict):
        return str(response.reason)
    if isinstance(content.get("error"), dict):
        return str(content["error"].get("message", response.reason))
    text = content.get("message") or content.get("explanation") or response.reason
    return " ".join(str(text).replace("<br />", " ").split())


def _problems(response: requests.Response) -> list[str]:
    """The single problems of a broken package, each as one line."""
    try:
        found = response.json().get("problems", [])
    except (ValueError, AttributeError):
        return []
    return [_line(problem) for problem in found] if isinstance(found, list) else []


def _line(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    place = ":".join(str(problem[key]) for key in ("file", "line", "column") if problem.get(key))
    parts = [str(problem.get(key)) for key in ("message", "fix") if problem.get(key)]
    return f"{place}: {'; '.join(parts)}" if place else "; ".join(parts)
