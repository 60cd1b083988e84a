"""What catalog tests are made of: small packages, callers with tokens, and a service they call through WSGI."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import catalog_contract
import webob

from catalog import identity, service
from catalog.db.base import Database
from catalog.identity import passwords, tokens

passwords.ROUNDS = 4  # of bcrypt: a login takes a millisecond here

CLASS = """Namespaces:
  =: {namespace}
  std: io.murano
Name: {name}
Extends: std:Object
Methods:
  deploy:
    Body:
      - Return: true
"""


def package_files(
    name: str,
    *,
    version: str = "0.1.0",
    require: Mapping[str, str] | None = None,
    classes: tuple[str, ...] | None = None,
    **manifest: Any,
) -> dict[str, bytes]:
    """The files of a small package whose one class has the package's name."""
    namespace, _, _short = name.rpartition(".")
    classes = (name,) if classes is None else classes
    document: dict[str, Any] = {
        "Format": "MuranoPL/1.4",
        "Type": "Application",
        "FullName": name,
        "Name": name.rpartition(".")[2],
        "Version": version,
        "Description": f"The package {name}",
        "Author": "The tests",
        "Tags": ["test"],
        "Classes": {each: f"{each}.yaml" for each in classes},
        **manifest,
    }
    if require:
        document["Require"] = dict(require)
    files = {"manifest.yaml": json.dumps(document).encode()}
    for each in classes:
        namespace, _, short = each.rpartition(".")
        files[f"Classes/{each}.yaml"] = CLASS.format(namespace=namespace or "root", name=short).encode()
    return files


def zipped(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def archive_of(name: str, **options: Any) -> bytes:
    """The archive of a small package."""
    return zipped(package_files(name, **options))


CORE = (
    "io.murano.Object",
    "io.murano.Environment",
    "io.murano.Application",
    "io.murano.resources.NeutronNetwork",
)


@dataclasses.dataclass(frozen=True)
class Client:
    """Somebody who calls the service, logged in or not. Every answer is held against the OpenAPI document."""

    app: service.Service
    token: str | None = None
    project_id: str = ""
    user_id: str = ""

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int | None = 200,
        raw: bytes | None = None,
        **headers: str,
    ) -> webob.Response:
        request = webob.Request.blank(path, method=method)
        request.headers["Accept"] = "*/*"
        if self.token is not None:
            request.headers["X-Auth-Token"] = self.token
        if body is not None:
            request.body = json.dumps(body).encode()
            request.content_type = "application/json"
        if raw is not None:
            request.body = raw
        for name, value in headers.items():
            key = name.replace("_", "-")
            if value is None:
                request.headers.pop(key, None)
            else:
                request.headers[key] = value
        response = request.get_response(self.app)
        catalog_contract.hold(method, path, response)
        if status is not None:
            assert response.status_int == status, f"{method} {path}: {response.status}: {response.text[:2000]}"
        return response

    def json(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON value of the answer."""
        return self(method, path, body, **options).json

    def upload(
        self, archive: bytes, data: Mapping[str, Any] | None = None, *, status: int | None = 200
    ) -> webob.Response:
        """Uploads a package as python-muranoclient does."""
        fields: list[tuple[str, Any]] = [("file", ("package.zip", archive))]
        if data is not None:
            fields.append(("__metadata__", json.dumps(data)))
        body, kind = multipart(fields)
        return self("POST", "/v1/catalog/packages", raw=body, status=status, Content_Type=kind)

    def environment(self, name: str = "e1", **body: Any) -> dict[str, Any]:
        """A new environment."""
        return self.json("POST", "/v1/environments", {"name": name, **body})

    def session(self, environment_id: str) -> str:
        """The id of a new session."""
        return self.json("POST", f"/v1/environments/{environment_id}/configure")["id"]


def multipart(fields: list[tuple[str, Any]]) -> tuple[bytes, str]:
    """A multipart body; a value that is a tuple is a file name and its content."""
    lines = []
    for name, value in fields:
        disposition = f'form-data; name="{name}"'
        content = value.encode() if isinstance(value, str) else value
        if isinstance(value, tuple):
            disposition += f'; filename="{value[0]}"'
            content = value[1]
        lines.append(f"--boundary\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(lines) + b"--boundary--\r\n", "multipart/form-data; boundary=boundary"


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A running service and its people: two members of one project, one of another, an administrator, a reader."""

    app: service.Service
    database: Database
    anonymous: Client
    member: Client
    colleague: Client
    stranger: Client
    admin: Client
    reader: Client


Accounts = dict[str, tuple[str, str, str]]  # of each role: token, project id, user id


def people(app: service.Service, database: Database) -> Cloud:
    """The service's people with tokens of theirs."""
    return cloud_of(app, database, add_accounts(database))


def cloud_of(app: service.Service, database: Database, accounts: Accounts) -> Cloud:
    """The service with people whose accounts are in the database."""
    clients = {role: Client(app, *account) for role, account in accounts.items()}
    return Cloud(app, database, Client(app), **clients)


def add_accounts(database: Database) -> Accounts:
    """Adds everybody's account and logs everybody in."""
    who = {
        "member": ("ann", "one", ["member"]),
        "colleague": ("bob", "one", ["member"]),
        "stranger": ("eve", "two", ["member"]),
        "admin": ("root", "admin", ["admin", "member"]),
        "reader": ("rae", "one", ["reader"]),
    }
    accounts: Accounts = {}
    with database.transaction() as session:
        for role, (name, project, roles) in who.items():
            account = identity.add_account(session, name, project, roles, password="secret-" + name)
            user = identity.identity.user(session, id=account.user_id)
            home = identity.identity.project(session, id=account.project_id)
            text, _login = tokens.issue(session, user, home, ["password"], 3600)
            accounts[role] = (text, account.project_id, account.user_id)
    return accounts
