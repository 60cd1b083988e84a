"""A whole service over HTTP, on the embedded identity or behind a real Keystone, and the people who use its clients.

The deployments are real: a worker runs the packages' code. They need no servers, so its cloud is the recording one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import requests
import yaml
from cheroot import wsgi
from clients_environment import without_openstack
from clients_keystone import Keystone

import packages
from catalog import config, identity, service
from catalog import packages as catalog_packages
from catalog.db import base, migrations
from catalog.identity import passwords
from catalog.repositories import build
from engine import config as engine_config
from engine import service as engine_service
from engine.clouds import recording

COMMAND_SECONDS = 240
PATIENCE = 120.0  # seconds for a deployment to end
NOTICES = ("Could not initialize glance client",)  # what `murano` prints into its results where there is no Glance
LANTERN = """
Namespaces: {=: org.example, std: io.murano, m: io.murano.metadata}
Name: Lantern
Extends: std:Application
Properties:
  name: {Contract: $.string().notNull()}
  wicks: {Contract: $.int().notNull(), Default: 1}
Methods:
  deploy:
    Body:
      - $reporter: $.find(std:Environment).reporter
      - $reporter.report($this, format('{0} burns', $.name))
  trim:
    Scope: Public
    Arguments:
      - to: {Contract: $.int().notNull()}
    Body:
      - Return: format('{0} has a wick of {1} mm', $.name, $to)
  price:
    Usage: Static
    Scope: Public
    Arguments:
      - wicks: {Contract: $.int().notNull()}
    Body:
      - Return: $wicks * 7
  built:
    Usage: Static
    Scope: Public
    Meta: [{m:ModelBuilder: {}}]
    Arguments:
      - height: {Contract: $.int().notNull()}
    Body:
      - Return: new(Lantern, name => format('{0} mm high', $height))
"""


@dataclasses.dataclass(frozen=True)
class Account:
    """Somebody who can log in."""

    name: str
    password: str
    project: str
    project_id: str


class Person(requests.Session):
    """Somebody logged in: the REST API directly (`/v1/...`), and the two command lines."""

    def __init__(self, account: Account, auth_url: str, root: str, repository: str, home: pathlib.Path) -> None:
        super().__init__()
        self.account = account
        self.root = root
        self._environ = {
            "OS_AUTH_URL": auth_url,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": account.name,
            "OS_PASSWORD": account.password,
            "OS_PROJECT_NAME": account.project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "RegionOne",
            "MURANO_REPO_URL": repository,
            "HOME": str(home),
            "COLUMNS": "250",
        }
        self.home = home
        self.headers.update({"X-Auth-Token": self._token(auth_url), "Accept": "application/json"})

    def run(self, program: pathlib.Path, *arguments: str, fails: bool = False) -> str:
        """Runs a command line as this person; what it prints. `fails` says what is expected of its exit code."""
        finished = subprocess.run(
            [program, *arguments],
            env=without_openstack(self._environ),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        said = f"{program.name} {' '.join(arguments)}: {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
        assert (finished.returncode != 0) is fails, said
        assert "Traceback" not in finished.stderr, said
        said = finished.stdout + (finished.stderr if fails else "")
        return "".join(line for line in said.splitlines(keepends=True) if not line.startswith(NOTICES))

    def get_json(self, path: str, **options: Any) -> Any:
        """`GET /v1{path}`."""
        return self._checked(self.get(f"{self.root}/v1{path}", **options))

    def post_json(self, path: str, body: Any = None, **options: Any) -> Any:
        """`POST /v1{path}`."""
        return self._checked(self.post(f"{self.root}/v1{path}", json=body, **options))

    def environment(self) -> dict[str, Any]:
        """A new environment with a name of its own."""
        return dict(self.post_json("/environments", {"name": unique("env")}))

    def session(self, environment_id: str) -> str:
        """The id of a new session of an environment."""
        return str(self.post_json(f"/environments/{environment_id}/configure")["id"])

    def template(self, **fields: Any) -> dict[str, Any]:
        """A new environment template."""
        return dict(self.post_json("/templates", {"name": unique("template"), **fields}))

    def package(self, folder: pathlib.Path, **metadata: Any) -> dict[str, Any]:
        """A new package of a name of its own, uploaded from an archive."""
        path = archive(folder, unique("org.example.P"))
        files = {"JsonString": (None, json.dumps(metadata)), "file": (path.name, path.read_bytes())}
        return dict(self._checked(self.post(f"{self.root}/v1/catalog/packages", files=files)))

    def deployed(self) -> tuple[str, str]:
        """The ids of a new environment with a lantern that has been deployed, and of the lantern."""
        environment, lantern = self.environment()["id"], uuid.uuid4().hex
        session = self.session(environment)
        headers = {"X-Configuration-Session": session}
        self.post_json(f"/environments/{environment}/services", application("lamp", lantern), headers=headers)
        self.post_json(f"/environments/{environment}/sessions/{session}/deploy")
        self.wait_until_ready(environment)
        return environment, lantern

    def wait_until_ready(self, environment: str) -> None:
        """Until what is being deployed there has been."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status = self.get_json(f"/environments/{environment}")["status"]
            if status == "ready":
                return
            assert status == "deploying", status
            time.sleep(0.1)
        raise AssertionError(f"environment {environment} is not ready after {PATIENCE:.0f} s")

    def _token(self, auth_url: str) -> str:
        user = {"name": self.account.name, "domain": {"name": "Default"}, "password": self.account.password}
        scope = {"project": {"name": self.account.project, "domain": {"name": "Default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        answer = self.post(f"{auth_url}/auth/tokens", json=body)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def _checked(self, response: requests.Response) -> Any:
        assert response.status_code == 200, f"{response.status_code} {response.text}"
        return response.json() if response.content else None


@dataclasses.dataclass(frozen=True)
class World:
    """A running service, its database, and who may use it: a member of a project, and an administrator."""

    url: str
    auth_url: str
    repository: str
    database: base.Database
    member: Person
    admin: Person


@contextlib.contextmanager
def running(folder: pathlib.Path, keystone: Keystone | None = None) -> Iterator[World]:
    """The service on a free port, with the core library and the lantern public, and a community repository."""
    with contextlib.ExitStack() as stack:
        repository = stack.enter_context(_repository(folder / "repository"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        root = f"http://127.0.0.1:{port}"
        database_url = f"sqlite:///{folder / 'catalog.sqlite'}"
        migrations.upgrade(database_url)
        database = base.Database(database_url)
        conf = config.load(
            [str(_configuration(folder, keystone))],
            overrides={
                "database": {"connection": database_url},
                "messaging": {"exchange": base.new_id()},  # other tests run engines in this process, too
            },
        )
        engine_config.register(conf)
        conf.set_override("poll", 0.2, group="engine")
        cloud = recording.Recording().cloud()
        worker = engine_service.EngineService(conf, database, lambda _context: cloud)
        catalog = service.create_app(conf, database=database)
        stack.callback(catalog.close)
        server = wsgi.Server(("127.0.0.1", port), catalog, numthreads=16)
        server.prepare()
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.stop)
        worker.start()
        stack.callback(worker.stop)
        accounts = _accounts(database) if keystone is None else _accounts_of(keystone, root)
        catalog_packages.import_archives(
            database,
            [packages.folder() / "io.murano", package_folder(folder / "lantern", "org.example.Lantern", LANTERN)],
            owner_id=accounts["admin"].project_id,
            is_public=True,
        )
        auth_url = f"{root}/identity/v3" if keystone is None else keystone.url
        (folder / "home").mkdir()
        people = {
            role: Person(account, auth_url, root, repository, folder / "home") for role, account in accounts.items()
        }
        yield World(root, auth_url, repository, database, **people)


def _configuration(folder: pathlib.Path, keystone: Keystone | None) -> pathlib.Path:
    path = folder / "chandlery.conf"
    lines = ["[identity]", f"auth = {'embedded' if keystone is None else 'keystone'}"]
    if keystone is not None:
        lines += service_user(keystone)
    path.write_text("\n".join(lines) + "\n")
    return path


def service_user(keystone: Keystone) -> list[str]:
    """The part of the configuration with the service's own user, who is made."""
    name, password = unique("chandlery"), uuid.uuid4().hex
    keystone.user(name, password, {"service": ["service"]})
    return [
        "[keystone_authtoken]",
        "auth_type = password",
        f"auth_url = {keystone.url}",
        f"www_authenticate_uri = {keystone.url}",
        f"username = {name}",
        f"password = {password}",
        "project_name = service",
        "user_domain_name = Default",
        "project_domain_name = Default",
    ]


def _accounts(database: base.Database) -> dict[str, Account]:
    passwords.ROUNDS = 4  # of bcrypt: a login takes a millisecond here
    made = identity.bootstrap(database)
    found = {role: made[name] for role, name in (("member", "demo"), ("admin", "admin"))}
    return {
        role: Account(each.name, each.password or "", each.project, each.project_id) for role, each in found.items()
    }


def _accounts_of(keystone: Keystone, root: str) -> dict[str, Account]:
    keystone.endpoint("application-catalog", root)
    accounts = {}
    for role, roles in (("member", ["member"]), ("admin", ["admin", "member"])):
        project, password = unique("project"), uuid.uuid4().hex
        account = Account(unique(role), password, project, keystone.project(project))
        keystone.user(account.name, password, {project: roles})
        accounts[role] = account
    return accounts


@contextlib.contextmanager
def _repository(folder: pathlib.Path) -> Iterator[str]:
    """The URL of a community repository with two packages, one of which needs the other."""
    sources = folder.with_name("sources")
    wick = package_folder(sources / "wick", "org.example.repository.Wick")
    lamp = package_folder(sources / "lamp", "org.example.repository.Lamp", Require={"org.example.repository.Wick": 0})
    lamps = ["org.example.repository.Lamp"]
    build.build([wick, lamp], folder, bundles={"lamps": lamps})

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, directory=str(folder), **options)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def package_folder(folder: pathlib.Path, fqn: str, source: str | None = None, **manifest: Any) -> pathlib.Path:
    """A package with one class, which has the package's name."""
    (folder / "Classes").mkdir(parents=True)
    document = {
        "Format": "1.4",
        "Type": "Application",
        "FullName": fqn,
        "Version": "0.1.0",
        "Name": fqn.rpartition(".")[2],
        "Description": f"The package {fqn}",
        "Author": "The tests",
        "Tags": ["light"],
        "Classes": {fqn: "main.yaml"},
        **manifest,
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(document))
    (folder / "Classes" / "main.yaml").write_text(source or f"Name: {fqn}\nExtends: io.murano.Application\n")
    return folder


def archive(folder: pathlib.Path, fqn: str, **manifest: Any) -> pathlib.Path:
    """The archive of a package with one class."""
    source = package_folder(folder / fqn, fqn, **manifest)
    path = folder / f"{fqn}.zip"
    with zipfile.ZipFile(path, "w") as written:
        for each in sorted(source.rglob("*")):
            written.write(each, each.relative_to(source))
    return path


def application(name: str, object_id: str) -> dict[str, Any]:
    """A lantern as an environment has it."""
    return {"?": {"type": "org.example.Lantern", "id": object_id}, "name": name}


def unique(name: str) -> str:
    """A name nothing else has."""
    return f"{name}-{uuid.uuid4().hex[:8]}" if "." not in name else f"{name}{uuid.uuid4().hex[:8]}"
