"""What a handler is given: who calls, what was sent, and the services it may use.

A handler is a function `handler(request) -> JSON value | webob.Response | None`; None is an empty body with status
200 (spec/api-v1 §1.1, "Empty results").
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import webob
from oslo_config import cfg

from catalog.api import errors
from catalog.db.base import Database
from catalog.policies import Policy

if TYPE_CHECKING:
    from catalog.api.counters import Counters
    from catalog.api.idempotency import Keeper
    from catalog.messaging import Engine
    from catalog.repositories.registry import Registry
    from catalog.trusts import Trusts

SESSION_HEADER = "X-Configuration-Session"


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who calls, as the identity middleware said (spec/api-v1 §1.1, "Auth context")."""

    user_id: str
    project_id: str
    roles: tuple[str, ...]
    is_admin: bool
    token: str

    @classmethod
    def of(cls, headers: Mapping[str, str], admin_role: str) -> Caller:
        """From the headers of a request that identity has confirmed."""
        roles = tuple(role.strip() for role in headers.get("X-Roles", "").split(",") if role.strip())
        return cls(
            user_id=headers.get("X-User-Id", ""),
            project_id=headers.get("X-Project-Id") or headers.get("X-Tenant-Id", ""),
            roles=roles,
            is_admin=admin_role.lower() in (role.lower() for role in roles),
            token=headers.get("X-Auth-Token", ""),
        )


@dataclasses.dataclass(frozen=True)
class Services:
    """What handlers work with; made once per process."""

    config: cfg.ConfigOpts
    database: Database
    policy: Policy
    engine: Engine
    repositories: Registry
    event_streams: threading.BoundedSemaphore
    counters: Counters
    keeper: Keeper
    trusts: Trusts | None  # None: engines work without


@dataclasses.dataclass(frozen=True)
class Request:
    """One call. `values` are the named parts of the path; `body` is the decoded JSON body, None where none was sent."""

    web: webob.Request
    caller: Caller
    services: Services
    values: Mapping[str, str]
    body: Any = None

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def config(self) -> cfg.ConfigOpts:
        return self.services.config

    @property
    def params(self) -> Any:
        """Query parameters; a repeated one has several values (`getall`)."""
        return self.web.GET

    @property
    def session_id(self) -> str | None:
        """The session the client works in, None when it names none."""
        return self.web.headers.get(SESSION_HEADER) or None

    def authorize(self, rule: str, **target: str) -> None:
        """Raises `errors.Forbidden` when policy does not allow the caller this."""
        self.services.policy.authorize(self.caller, rule, target)

    def flag(self, name: str) -> bool:
        """Whether a query parameter is "true", in any case."""
        return str(self.params.get(name, "")).strip().lower() == "true"

    def json_object(self) -> dict[str, Any]:
        """The body, which has to be an object. Raises `errors.BadRequest`."""
        if not isinstance(self.body, dict):
            raise errors.BadRequest(f"Request body: expected a JSON object, found {kind_of(self.body)}")
        return self.body


def kind_of(value: object) -> str:
    """What a JSON value is, for error messages."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")


def check_name(value: object, what: str, limit: int = 255) -> str:
    """The value, which has to be a non-blank string of at most `limit` characters. Raises `errors.BadRequest`."""
    if not isinstance(value, str):
        raise errors.BadRequest(f"{what}: expected a string, found {kind_of(value)}")
    if not value.strip():
        raise errors.BadRequest(f"{what}: expected at least one character that is not a blank, found none")
    if len(value) > limit:
        raise errors.BadRequest(f"{what}: expected at most {limit} characters, found {len(value)}")
    check_text(value, what)
    return value


def check_text(value: str, what: str) -> str:
    """The value, which must have no NUL and no half surrogate pair: databases cannot keep them."""
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise errors.BadRequest(f"{what}: expected Unicode text, found a NUL or half of a surrogate pair in it")
    return value
