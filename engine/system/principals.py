"""io.murano.User and io.murano.Project: on whose behalf a deployment runs, as Keystone knows them.

spec/core-library §1 and §9.12. Looked up with the service's own credentials, which is the port's affair.
"""

from __future__ import annotations

import dsl
from engine.system.context import HostContext, host_context

# What Keystone says and packages do not get to see.
HIDDEN = frozenset(
    {"links", "enabled", "password_expires_at", "options", "default_project_id", "is_domain", "parent_id"}
)
USER_FIELDS = ("id", "name", "email")
PROJECT_FIELDS = ("id", "name", "description")


@dsl.native
class User:
    @dsl.method(static=True)
    def get_current() -> dsl.ObjectHandle:
        """The user whose request started the deployment."""
        return _user(_context().user_id)

    @dsl.method(static=True)
    def get_environment_owner() -> dsl.ObjectHandle:
        """The user who made the environment."""
        return _user(_context().owner_user_id or _context().user_id)


@dsl.native
class Project:
    @dsl.method(static=True)
    def get_current() -> dsl.ObjectHandle:
        """The project of the request that started the deployment."""
        return _project(_context().project_id)

    @dsl.method(static=True)
    def get_environment_owner() -> dsl.ObjectHandle:
        """The project that the environment belongs to."""
        return _project(_context().owner_project_id or _context().project_id)


def _context() -> HostContext:
    return host_context(dsl.system())


def _user(user_id: str) -> dsl.ObjectHandle:
    return _principal("io.murano.User", "identity.user", user_id, USER_FIELDS)


def _project(project_id: str) -> dsl.ObjectHandle:
    return _principal("io.murano.Project", "identity.project", project_id, PROJECT_FIELDS)


def _principal(class_name: str, effect: str, principal_id: str, fields: tuple[str, ...]) -> dsl.ObjectHandle:
    found = dsl.effect(effect, id=principal_id)
    if not isinstance(found, dict):
        raise KeyError(f"Keystone knows no {effect.partition('.')[2]} {principal_id}")
    known = {field: found.get(field) for field in fields}
    known["domain"] = found.get("domain_id") or "default"
    known["extra"] = {
        key: value for key, value in found.items() if key not in HIDDEN and key not in (*fields, "domain_id")
    }
    return dsl.new(class_name, **known)
