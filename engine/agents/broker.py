"""What servers may do on the agents' message broker: RabbitMQ, through its management API.

Every environment has a virtual host of its own, every agent in it a user of its own that may consume one queue and
publish to one exchange. The exchange leads to one queue that only the engine reads, so an agent can neither read what
is meant for another nor answer in its place. All calls are idempotent. See docs/agents.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import requests

from engine.clouds import ports

TIMEOUT = 30.0  # seconds for one call
EXPIRES = 24 * 3600 * 1000  # milliseconds without a consumer after which a queue goes (spec/agent-protocol §1)
MOST_CONNECTIONS = 8  # of one agent; the stock one has two
WAITING_RESULTS = 1000  # messages, and ...
WAITING_BYTES = 64 * 1024 * 1024  # ... bytes that an agent may have left unread; then the broker refuses more


class BrokerError(ports.CloudError):
    """The broker's management API refused or did not answer."""


@dataclasses.dataclass(frozen=True)
class Mailbox:
    """Where one agent's messages are. All names are the engine's choice but `plans`, which packages may print."""

    vhost: str
    user: str
    plans: str  # the queue the agent consumes
    exchange: str  # where it publishes; everything there goes into ...
    results: str  # ... this queue


@dataclasses.dataclass(frozen=True)
class Management:
    """`url` is that of the management plugin (`https://broker:15671`); `user` must be an administrator."""

    url: str
    user: str
    password: str = dataclasses.field(repr=False)
    verify: bool | str = True

    def admit(self, mailbox: Mailbox, password: str) -> None:
        """Makes virtual host, user, queues and exchange as they have to be. Raises BrokerError."""
        vhost = _name(mailbox.vhost)
        self._ask("PUT", f"vhosts/{vhost}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._ask("PUT", f"permissions/{vhost}/{_name(self.user)}", everything)
        for queue in (mailbox.plans, mailbox.results):
            arguments: dict[str, Any] = {"x-expires": EXPIRES}
            if queue == mailbox.results:
                arguments |= {
                    "x-max-length": WAITING_RESULTS,
                    "x-max-length-bytes": WAITING_BYTES,
                    "x-overflow": "reject-publish",
                }
            self._ask("PUT", f"queues/{vhost}/{_name(queue)}", {"durable": True, "arguments": arguments})
        self._ask("PUT", f"exchanges/{vhost}/{_name(mailbox.exchange)}", {"type": "fanout", "durable": True})
        binding = f"bindings/{vhost}/e/{_name(mailbox.exchange)}/q/{_name(mailbox.results)}"
        if not self._ask("GET", binding):
            self._ask("POST", binding, {})
        user = _name(mailbox.user)
        self._ask("PUT", f"users/{user}", {"password": password, "tags": ""})
        allowed = {"configure": "^$", "write": _only(mailbox.exchange), "read": _only(mailbox.plans)}
        self._ask("PUT", f"permissions/{vhost}/{user}", allowed)
        self._ask("PUT", f"user-limits/{user}/max-connections", {"value": MOST_CONNECTIONS})

    def dismiss(self, vhost: str) -> None:
        """Removes a virtual host with all that is in it, and the users that were let into it. Raises BrokerError."""
        for user in self._users_of(vhost):
            self._ask("DELETE", f"users/{_name(user)}", missing_ok=True)
        self._ask("DELETE", f"vhosts/{_name(vhost)}", missing_ok=True)

    def vhosts(self, prefix: str) -> list[str]:
        """Names of the virtual hosts that begin so. Raises BrokerError."""
        return [each["name"] for each in self._ask("GET", "vhosts") if each["name"].startswith(prefix)]

    def _users_of(self, vhost: str) -> Iterator[str]:
        for each in self._ask("GET", f"vhosts/{_name(vhost)}/permissions", missing_ok=True) or []:
            if each["user"] != self.user:
                yield each["user"]

    def _ask(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        url = f"{self.url.rstrip('/')}/api/{path}"
        try:
            answer = requests.request(
                method, url, json=body, auth=(self.user, self.password), timeout=TIMEOUT, verify=self.verify
            )
        except requests.RequestException as error:
            raise BrokerError(f"the agents' broker: {method} {url} failed: {error}") from None
        if missing_ok and answer.status_code == 404:
            return None
        if not answer.ok:
            raise BrokerError(
                f"the agents' broker: {method} {url} was refused with {answer.status_code}: {answer.text[:200]}; "
                f"see that [rabbitmq] login is an administrator there"
            )
        return answer.json() if answer.content else None


def _name(name: str) -> str:
    return quote(name, safe="")


def _only(name: str) -> str:
    return f"^{re.escape(name)}$"
