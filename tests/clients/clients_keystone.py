"""A real Keystone: the program from the package registry, on SQLite with Fernet tokens, while the tests run."""

from __future__ import annotations

import contextlib
import getpass
import grp
import json
import os
import pathlib
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import requests
from clients_environment import installed, without_openstack
from keystoneauth1 import adapter, identity, session

PATIENCE = 120.0  # seconds for Keystone to answer
SECONDS = 300  # for one command of keystone-manage
CONFIGURATION = """\
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/tokens
[fernet_receipts]
key_repository = {folder}/tokens
[credential]
key_repository = {folder}/credentials
[identity]
password_hash_algorithm = bcrypt
password_hash_rounds = 4
"""
# Keystone reads its options from the command line, so the server's are taken away first.
SERVER = """
import sys
address, sys.argv[1:] = (sys.argv[1], int(sys.argv[2])), []
from cheroot import wsgi
from keystone.wsgi.api import application
wsgi.Server(address, application).start()
"""

# Issues one token with whatever the configuration says, without a server.
ISSUER = """
import sys
body, sys.argv[1:] = sys.stdin.buffer.read(), []
import webob
from keystone.wsgi.api import application
options = {"method": "POST", "body": body, "content_type": "application/json"}
print(webob.Request.blank("/v3/auth/tokens", **options).get_response(application).headers["X-Subject-Token"])
"""


class Keystone:
    """What an administrator does with it."""

    def __init__(self, url: str, password: str, programs: pathlib.Path, configuration: pathlib.Path) -> None:
        self.url = url
        self._programs = programs
        self._configuration = configuration
        self._admin = adapter.Adapter(self.session("admin", password, "admin"), endpoint_override=url)
        self._domain = "default"

    def session(self, name: str, password: str, project: str | None, **scope: Any) -> session.Session:
        """A session of a user in a project; `unscoped` or `system_scope` for one without."""
        where = {"project_name": project, "project_domain_name": "Default"} if project else {}
        auth = identity.V3Password(
            auth_url=self.url, username=name, password=password, user_domain_name="Default", **where, **scope
        )
        return session.Session(auth=auth)

    def project(self, name: str) -> str:
        """The id of a project, made where it is missing."""
        return self._found("project", name) or self._made("project", {"name": name, "domain_id": self._domain})

    def user(self, name: str, password: str, roles: dict[str, list[str]]) -> str:
        """The id of a new user who has these roles in these projects."""
        user = self._made("user", {"name": name, "password": password, "domain_id": self._domain})
        for project, names in roles.items():
            for role in names:
                self.grant(user, project, role)
        return user

    def grant(self, user: str, project: str, role: str) -> None:
        """Gives a user a role in a project; the role is made where it is missing."""
        role_id = self._found("role", role) or self._made("role", {"name": role})
        self._admin.put(f"/projects/{self.project(project)}/users/{user}/roles/{role_id}")

    def brief_token(self, name: str, password: str, project: str) -> str:
        """A token that is valid for a second, as of a user who logged in long ago."""
        brief = self._configuration.with_name("brief.conf")
        brief.write_text("[token]\nexpiration = 1\n")
        user = {"name": name, "password": password, "domain": {"id": self._domain}}
        scope = {"project": {"name": project, "domain": {"id": self._domain}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        issued = subprocess.run(
            [self._programs / "python", "-c", ISSUER],
            env=without_openstack({"OS_KEYSTONE_CONFIG_FILES": f"{self._configuration};{brief}"}),
            input=json.dumps(body),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert issued.returncode == 0, issued.stderr[-3000:]
        return issued.stdout.strip().splitlines()[-1]

    def disable(self, user: str) -> None:
        """Ends whatever the user is logged in with."""
        self._admin.patch(f"/users/{user}", json={"user": {"enabled": False}})

    def endpoint(self, kind: str, url: str, region: str = "RegionOne") -> None:
        """Registers a service at one address for everybody."""
        service = self._made("service", {"type": kind, "name": "chandlery"})
        for interface in ("public", "internal", "admin"):
            fields = {"service_id": service, "interface": interface, "url": url, "region_id": region}
            self._made("endpoint", fields)

    def _made(self, kind: str, fields: dict[str, Any]) -> str:
        return str(self._admin.post(f"/{kind}s", json={kind: fields}).json()[kind]["id"])

    def _found(self, kind: str, name: str) -> str | None:
        found = self._admin.get(f"/{kind}s", params={"name": name}).json()[f"{kind}s"]
        return str(found[0]["id"]) if found else None


@contextlib.contextmanager
def running(folder: pathlib.Path) -> Iterator[Keystone]:
    """Keystone on a free port of this machine, with its files in the folder. Skips where it cannot be installed."""
    programs = installed("keystone", "keystone>=27", "cheroot>=10", "bcrypt>=4.1")
    configuration = folder / "keystone.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    for name in ("tokens", "credentials"):
        (folder / name).mkdir(mode=0o700)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host, port = probe.getsockname()
    url = f"http://{host}:{port}/v3"
    password = uuid.uuid4().hex
    where = ["--bootstrap-region-id", "RegionOne"]
    for interface in ("public", "internal", "admin"):
        where += [f"--bootstrap-{interface}-url", url]
    owner = ["--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name]
    for command in (
        ["db_sync"],
        ["fernet_setup", *owner],
        ["credential_setup", *owner],
        ["bootstrap", "--bootstrap-password", password, *where],
    ):
        _manage(programs, configuration, *command)
    with (folder / "keystone.log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "python", "-c", SERVER, host, str(port)],
            env=without_openstack({"OS_KEYSTONE_CONFIG_FILES": str(configuration)}),
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, url, folder / "keystone.log")
        yield Keystone(url, password, programs, configuration)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _manage(programs: pathlib.Path, configuration: pathlib.Path, *arguments: str) -> None:
    command = [programs / "keystone-manage", "--config-file", configuration, *arguments]
    finished = subprocess.run(command, env=without_openstack(), capture_output=True, text=True, timeout=SECONDS)
    assert finished.returncode == 0, f"keystone-manage {arguments[0]}:\n{finished.stderr[-3000:]}"


def _wait(process: subprocess.Popen[bytes], url: str, log: pathlib.Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Keystone ended with {process.returncode}:\n{log.read_text()[-3000:]}"
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=10).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"Keystone does not answer after {PATIENCE:.0f} s:\n{log.read_text()[-3000:]}")
