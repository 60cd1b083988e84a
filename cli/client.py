"""The REST API as the command line uses it: an ordinary client that logs in like any other.

Credentials come from ``OS_*`` variables (or the options of the same names); without them, from the file that
``chandlery serve`` leaves in its data directory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import requests
from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3

from cli import errors

SERVICE_TYPE = "application-catalog"
CREDENTIALS_FILE = "credentials.json"
DATABASE_FILE = "chandlery.sqlite"
KEY_FILE = "secrets.key"  # the keys that seal secrets in the database
SESSION_HEADER = "X-Configuration-Session"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credentials:
    """Who calls, and where. `auth_url` is an identity v3 endpoint, `endpoint` overrides the service catalog's."""

    auth_url: str
    username: str
    password: str
    project_name: str
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    endpoint: str | None = None

    @classmethod
    def from_environment(cls, environ: dict[str, str], data: pathlib.Path) -> Credentials:
        """The ``OS_*`` variables, or the credentials file in the data directory. Raises CommandError without either."""
        if environ.get("OS_AUTH_URL"):
            missing = [name for name in ("OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME") if not environ.get(name)]
            if missing:
                raise errors.CommandError(f"OS_AUTH_URL is set, but {', '.join(missing)} is not.")
            return cls(
                auth_url=environ["OS_AUTH_URL"],
                username=environ["OS_USERNAME"],
                password=environ["OS_PASSWORD"],
                project_name=environ["OS_PROJECT_NAME"],
                user_domain_name=environ.get("OS_USER_DOMAIN_NAME", "Default"),
                project_domain_name=environ.get("OS_PROJECT_DOMAIN_NAME", "Default"),
                endpoint=environ.get("CHANDLERY_ENDPOINT"),
            )
        return cls.from_file(data / CREDENTIALS_FILE)

    @classmethod
    def from_file(cls, path: pathlib.Path, account: str = "demo") -> Credentials:
        """One account of the file ``chandlery serve`` writes: ``{"auth_url", "accounts": {name: {...}}}``."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            chosen = content["accounts"][account]
            return cls(
                auth_url=content["auth_url"],
                username=chosen["username"],
                password=chosen["password"],
                project_name=chosen["project"],
            )
        except FileNotFoundError:
            raise errors.CommandError(
                f"No credentials: OS_AUTH_URL is not set, and there is no file {path}.",
                "Load an OpenStack RC file, or start a service of your own: chandlery serve",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise errors.CommandError(f"{path}: not a credentials file of chandlery serve ({error!r}).") from None


class Client:
    """One logged-in caller of one Chandlery service."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        auth = v3.Password(
            auth_url=credentials.auth_url,
            username=credentials.username,
            password=credentials.password,
            project_name=credentials.project_name,
            user_domain_name=credentials.user_domain_name,
            project_domain_name=credentials.project_domain_name,
        )
        self._session = keystone_session.Session(auth=auth, timeout=120, app_name="chandlery")

    @property
    def endpoint(self) -> str:
        """The service's root URL, without a trailing slash."""
        found = self.credentials.endpoint or self._guard(
            lambda: self._session.get_endpoint(service_type=SERVICE_TYPE, interface="public")
        )
        if not found:
            raise errors.CommandError(
                f"The identity service at {self.credentials.auth_url} has no endpoint of type {SERVICE_TYPE}.",
                "Register one, or set CHANDLERY_ENDPOINT.",
            )
        return str(found).rstrip("/").removesuffix("/v1")

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        session: str | None = None,
        query: dict[str, Any] | None = None,
        files: dict[str, Any] | None = None,
        accept: str = "application/json",
    ) -> Any:
        """Call ``/v1{path}``. Returns the decoded JSON body, None when it is empty, bytes for another `accept`.

        Raises CommandError with the service's own words when it refuses, and when it cannot be reached.
        """
        headers = {"Accept": accept}
        if session:
            headers[SESSION_HEADER] = session
        arguments: dict[str, Any] = {"files": files} if files else ({"json": body} if body is not None else {})
        response = self._guard(
            lambda: self._session.request(
                f"{self.endpoint}/v1{path}",
                method,
                headers=headers,
                params=query,
                raise_exc=False,
                **arguments,
            )
        )
        if response.status_code >= 400:
            raise _refusal(method, path, response)
        if not response.content:
            return None
        return response.json() if accept == "application/json" else response.content

    def events(self, path: str, *, patience: float = 60.0) -> Iterator[tuple[str, Any]]:
        """Follow server-sent events of ``/v1{path}``: ``(event, data)`` pairs until the event ``finished``.

        A service that goes away is waited for, `patience` seconds long; the stream then resumes where it broke off.
        """
        last_id: str | None = None
        deadline: float | None = None
        while True:
            try:
                headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
                response = self._session.get(
                    f"{self.endpoint}/v1{path}", headers=headers, stream=True, raise_exc=False, timeout=30
                )
                if response.status_code >= 400:
                    raise _refusal("GET", path, response)
                deadline = None
                for event, identifier, data in _parse_events(response.iter_lines(decode_unicode=True)):
                    last_id = identifier or last_id
                    yield event, data
                    if event == "finished":
                        return
            except (requests.RequestException, keystone_errors.ConnectFailure, keystone_errors.ConnectTimeout) as error:
                now = time.monotonic()
                deadline = deadline or now + patience
                if now > deadline:
                    raise errors.CommandError(
                        f"The service at {self.credentials.auth_url} has not answered for {patience:.0f} s: {error}.",
                        code=errors.UNREACHABLE,
                    ) from None
                yield "waiting", {"reason": "the service does not answer; waiting for it"}
            time.sleep(0.5)

    def _guard(self, call: Any) -> Any:
        try:
            return call()
        except keystone_errors.Unauthorized:
            raise errors.CommandError(
                f"The identity service at {self.credentials.auth_url} does not accept the password of "
                f"user {self.credentials.username!r} in project {self.credentials.project_name!r}.",
                code=errors.REFUSED,
            ) from None
        except (
            keystone_errors.ConnectFailure,
            keystone_errors.ConnectTimeout,
            keystone_errors.DiscoveryFailure,
        ) as error:
            raise errors.CommandError(
                f"The service at {self.credentials.auth_url} does not answer: {error}.",
                "Is it running? chandlery serve starts one on this machine.",
                code=errors.UNREACHABLE,
            ) from None


def _refusal(method: str, path: str, response: requests.Response) -> errors.CommandError:
    try:
        content = response.json()
        message = content.get("message") or content.get("explanation") or response.text
    except ValueError:
        content, message = {}, response.text
    text = " ".join(str(message).replace("<br />", " ").split()) or response.reason
    request_id = response.headers.get("x-openstack-request-id", "")
    return errors.CommandError(
        f"{method} {path}: {text} (HTTP {response.status_code}{', ' + request_id if request_id else ''})",
        code=errors.REFUSED,
        details=content,
    )


def _parse_events(lines: Iterator[Any]) -> Iterator[tuple[str, str | None, Any]]:
    event: str = "message"
    identifier: str | None = None
    data: list[str] = []
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield event, identifier, json.loads("\n".join(data))
            event, identifier, data = "message", None, []
        elif field == "event":
            event = value
        elif field == "id":
            identifier = value
        elif field == "data":
            data.append(value)


def default_data_directory() -> pathlib.Path:
    """Where ``chandlery serve`` keeps its data by default: ``$CHANDLERY_DATA`` or the XDG state directory."""
    if os.environ.get("CHANDLERY_DATA"):
        return pathlib.Path(os.environ["CHANDLERY_DATA"])
    state = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    return pathlib.Path(state) / "chandlery"
