"""A client of the API: one kept connection, JSON in and out, errors with the server's own message."""

from __future__ import annotations

import http.client
import json
import urllib.parse


class ApiError(Exception):
    """The server refused; `status` is the HTTP status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Unreachable(Exception):
    """There is no server."""


class Client:
    """Not for use by several threads."""

    def __init__(self, server: str, token: str | None) -> None:
        self.server, self.token = server, token
        parts = urllib.parse.urlsplit(server)
        self.address = (parts.hostname or "", parts.port or 6443)
        self.connection: http.client.HTTPConnection | None = None

    @classmethod
    def of_config(cls, config: dict) -> Client:
        """From a kubeconfig."""
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        return cls(cluster["server"], user.get("token"))

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        kind: str = "application/json",
        accept: str = "application/json",
        timeout: float = 30,
    ) -> dict:
        status, text = self.raw(method, path, body, kind, accept, timeout)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text}
        if status >= 400:
            raise ApiError(status, answer.get("reason", ""), answer.get("message", text))
        return answer

    def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        kind: str = "application/json",
        accept: str = "*/*",
        timeout: float = 30,
    ) -> tuple[int, str]:
        headers = {"Accept": accept, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body), kind
        for again in (True, False):
            connection = self.connection or http.client.HTTPConnection(*self.address, timeout=timeout)
            fresh = self.connection is None
            try:
                connection.request(method, path, content, headers)
                answer = connection.getresponse()
                text = answer.read().decode("utf-8", "replace")
                self.connection = None if answer.will_close else connection
                return answer.status, text
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self.connection = None
                if fresh or not again:
                    raise Unreachable(
                        f"the API server {self.server} cannot be reached: {error or type(error).__name__}"
                    ) from None
        raise AssertionError("unreachable")

    def get(self, path: str, **query: str) -> dict:
        return self.call("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))
