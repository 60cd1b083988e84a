"""Users, projects and roles of a real Keystone, made for a test run and removed after it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Iterator
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

    def withdraw(self, user_id: str, project_id: str, role: str) -> None:
        """Takes a role in a project away."""
        role_id = self._named("role", role)["id"]
        self._keystone.delete(f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def revoke(self, token: str) -> None:
        """Ends a token before its time."""
        self._keystone.delete("/auth/tokens", headers={"X-Subject-Token": token})

    def grant_inherited(self, user_id: str, domain_id: str, role: str) -> None:
        """Gives a role in all projects of a domain, those to come included."""
        role_id = self._named("role", role)["id"]
        where = f"/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects"
        self._keystone.put(where)

    def endpoint(self, service_type: str, url: str) -> None:
        """Registers a service in the catalog, at one address for everybody."""
        service = self._make("service", {"type": service_type, "name": "chandlery-test"})
        self._endpoints(service["id"], url, os.environ.get("OS_REGION_NAME", "RegionOne"))

    @contextlib.contextmanager
    def region(self, **urls: str) -> Iterator[str]:
        """Another region, with these services at these addresses, by the services' types; its name."""
        made = len(self._made)
        region = self._make("region", {"id": f"chandlery-test-{uuid.uuid4().hex[:10]}"})["id"]
        for service_type, url in urls.items():
            services = self._keystone.get("/services", params={"type": service_type}).json()["services"]
            self._endpoints(services[0]["id"], url, region)
        try:
            yield region
        finally:
            self._remove_from(made)

    def _endpoints(self, service_id: str, url: str, region: str) -> None:
        for interface in ("public", "internal"):
            self._make("endpoint", {"service_id": service_id, "interface": interface, "url": url, "region_id": region})

    def remove(self) -> None:
        """Removes whatever was made here, the last first."""
        self._remove_from(0)

    def _remove_from(self, first: int) -> None:
        while len(self._made) > first:
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
