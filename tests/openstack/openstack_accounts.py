"""Users, projects and roles of a real Keystone, made for a test run and removed after it."""

from __future__ import annotations

import dataclasses
import os
import uuid
from typing import Any

from keystoneauth1 import adapter, identity, session


@dataclasses.dataclass(frozen=True)
class Account:
    """A user that was made, with its password."""

    id: str
    name: str
    password: str


class Accounts:
    """Acts through an administrator's adapter for Keystone."""

    def __init__(self, keystone: adapter.Adapter) -> None:
        self._keystone = keystone
        self._made: list[str] = []

    def user(self) -> Account:
        """A new user without any role."""
        account = Account(id="", name=f"chandlery-test-{uuid.uuid4().hex[:10]}", password=uuid.uuid4().hex)
        fields = {"name": account.name, "password": account.password, "domain_id": "default"}
        return dataclasses.replace(account, id=self._make("user", fields)["id"])

    def project(self) -> dict[str, Any]:
        """A new, empty project."""
        return self._make("project", {"name": f"chandlery-test-{uuid.uuid4().hex[:10]}", "domain_id": "default"})

    def project_named(self, name: str) -> dict[str, Any]:
        """A project that is there."""
        return self._named("project", name)

    def user_named(self, name: str) -> dict[str, Any]:
        """A user that is there."""
        return self._named("user", name)

    def grant(self, user_id: str, project_id: str, role: str) -> None:
        """Gives a role in a project."""
        role_id = self._named("role", role)["id"]
        self._keystone.put(f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def grant_inherited(self, user_id: str, domain_id: str, role: str) -> None:
        """Gives a role in all projects of a domain, those to come included."""
        role_id = self._named("role", role)["id"]
        where = f"/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"
        self._keystone.put(where)

    def endpoint(self, service_type: str, url: str) -> None:
        """Registers a service in the catalog, at one address for everybody."""
        service = self._make("service", {"type": service_type, "name": "chandlery-test"})
        for interface in ("public", "internal"):
            fields = {"service_id": service["id"], "interface": interface, "url": url}
            self._make("endpoint", {**fields, "region_id": os.environ.get("OS_REGION_NAME", "RegionOne")})

    def remove(self) -> None:
        """Removes whatever was made here, the last first."""
        while self._made:
            self._keystone.delete(self._made.pop(), raise_exc=False)

    def _make(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        made = self._keystone.post(f"/{kind}s", json={kind: fields}).json()[kind]
        self._made.append(f"/{kind}s/{made['id']}")
        return dict(made)

    def _named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = self._keystone.get(f"/{kind}s", params={"name": name}).json()[f"{kind}s"]
        return dict(found)


def login(auth_url: str, username: str, password: str, project: str) -> session.Session:
    """A session of a user in a project."""
    auth = identity.Password(
        auth_url=auth_url,
        username=username,
        password=password,
        project_name=project,
        user_domain_name=os.environ.get("OS_USER_DOMAIN_NAME", "Default"),
        project_domain_name=os.environ.get("OS_PROJECT_DOMAIN_NAME", "Default"),
    )
    return session.Session(auth=auth)
