"""A whole service over HTTP for the dashboard's tests: catalog, worker, dashboard, and packages made to look at.

The deployments are real: a worker runs the packages' code. They need no servers, so its cloud is the recording one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import socket
import threading
from collections.abc import Iterator
from typing import Any

import requests
import yaml
from cheroot import wsgi
from cryptography import fernet

import packages
from catalog import config, identity, service
from catalog import packages as catalog_packages
from catalog.db import base
from catalog.repositories import build
from dashboard import app
from dashboard.configuration import Configuration
from engine import config as engine_config
from engine import service as engine_service
from engine.clouds import recording

PASSWORD = "correct horse"
NOTICE = "A test: nothing of this is real."
LONG = "a-name-nobody-would-choose-but-somebody-will-" * 3
STATION = """
Namespaces: {=: org.example, std: io.murano, m: io.murano.metadata.engine}
Name: Station
Extends: std:Application
Properties:
  name: {Contract: $.string().notNull()}
  pace: {Contract: $.notNull(), Default: 0}
  failing: {Contract: $.bool().notNull(), Default: false}
  needs: {Contract: [!yaql '$.class(Station)'], Default: []}
  parts: {Contract: [!yaql '$.class(Station).owned()'], Default: []}
  endpoints: {Contract: [{}], Usage: Out}
Methods:
  deploy:
    Body:
      - $reporter: $.find(std:Environment).reporter
      - $reporter.report($this, format('{0} is on its way', $.name))
      - sleep($.pace)
      - If: $.failing
        Then:
          - Throw: Stuck
            Message: !yaql "format('{0} is stuck: no <b>steam</b>', $.name)"
      - $.endpoints:
          - {scope: public, url: !yaql "format('http://192.0.2.1/{0}', $.name)"}
          - {scope: internal, url: !yaql "format('http://10.0.0.1/{0}', $.name)"}
      - $reporter.report($this, format('{0} has arrived', $.name))
  whistle:
    Usage: Action
    Arguments:
      - times: {Contract: $.int().notNull(), Default: 1}
      - tune: {Contract: $.string(), Default: plain}
    Body:
      Return: {whistled: $times, tune: $tune, who: $.name}
"""
MORE_ACTIONS = ["couple", "decouple", "fuel", "inspect", "load", "reverse", "shunt", "unload", "wash"]


@dataclasses.dataclass(frozen=True)
class Running:
    """The service's URL and its database."""

    url: str
    database: base.Database

    def api(self) -> Api:
        """The REST API as the tenant of the dashboard may use it."""
        return Api(self.url)


class Api(requests.Session):
    """The demo tenant's session with the REST API, and a few things it often does."""

    def __init__(self, url: str) -> None:
        super().__init__()
        user = {"name": "demo", "domain": {"name": "Default"}, "password": PASSWORD}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "demo", "domain": {"name": "Default"}}},
            }
        }
        token = self.post(f"{url}/identity/v3/auth/tokens", json=body).headers["X-Subject-Token"]
        self.headers.update({"X-Auth-Token": token, "Accept": "application/json"})
        self._root = f"{url}/v1"

    def create(self, name: str) -> str:
        """A new environment's id."""
        return str(self._checked(self.post(f"{self._root}/environments", json={"name": name}))["id"])

    def compose(self, environment: str, applications: list[dict[str, Any]]) -> str:
        """The id of a session with these applications."""
        base = f"{self._root}/environments/{environment}"
        session = str(self._checked(self.post(f"{base}/configure"))["id"])
        headers = {"X-Configuration-Session": session}
        self._checked(self.post(f"{base}/services", json=applications, headers=headers))
        return session

    def deploy(self, environment: str, session: str, *, wait: bool = True) -> str:
        """Deploys the session; the deployment's id."""
        base = f"{self._root}/environments/{environment}"
        self._checked(self.post(f"{base}/sessions/{session}/deploy"))
        newest = str(self.get(f"{base}/deployments").json()["deployments"][0]["id"])
        if wait:
            self.wait(environment, newest)
        return newest

    def wait(self, environment: str, deployment: str) -> None:
        """Until the deployment has ended: its event stream ends then."""
        path = f"{self._root}/environments/{environment}/deployments/{deployment}/events"
        assert "event: finished" in self.get(path, headers={"Accept": "text/event-stream"}, timeout=90).text

    def _checked(self, response: requests.Response) -> Any:
        assert response.status_code < 400, response.text
        return response.json() if response.content else None


def station(name: str, **properties: Any) -> dict[str, Any]:
    """An application object."""
    return {"?": {"type": "org.example.Station", "id": name, "name": name}, "name": name, **properties}


def write_packages(folder: pathlib.Path) -> list[pathlib.Path]:
    """The package the tests deploy, and one with long texts that nothing deploys; both without a logo."""
    methods = "".join(
        f"  {name}:\n    Usage: Action\n    Body: [{{Return: {name} is done}}]\n" for name in MORE_ACTIONS
    )
    long = "org.example." + "Long" * 20
    return [
        _package(folder / "station", "org.example.Station", "Station", STATION + methods, "Trains stop here."),
        _package(folder / "long", long, LONG[:80], f"Name: {long}\nExtends: io.murano.Application\n", "word " * 400),
    ]


def _package(folder: pathlib.Path, fqn: str, name: str, source: str, description: str) -> pathlib.Path:
    (folder / "Classes").mkdir(parents=True)
    manifest = {
        "Format": "1.4",
        "Type": "Application",
        "FullName": fqn,
        "Version": "0.1.0",
        "Name": name,
        "Description": description,
        "Author": "Somebody",
        "Tags": ["railway"],
        "Classes": {fqn: "main.yaml"},
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    (folder / "Classes" / "main.yaml").write_text(source)
    return folder


@contextlib.contextmanager
def running(data: pathlib.Path, *, simulated: bool = True) -> Iterator[Running]:
    """The service on a free port, with our containers library and the test packages in the catalog."""
    repository = data / "repository"
    ours = [packages.folder() / name for name in OURS]
    build.build(ours, repository)
    url = f"sqlite:///{data / 'catalog.sqlite'}"
    database = base.Database(url)
    database.create_tables()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = f"http://127.0.0.1:{port}"
    overrides = {
        "database": {"connection": url},
        "messaging": {"exchange": base.new_id()},  # other tests run engines in this process, too
        "repositories": {"repository": [f"community={repository}"]},
    }
    conf = config.load(overrides=overrides)
    dashboard = app.create_app(
        Configuration(
            api_url=root,
            auth_url=f"{root}/identity/v3",
            cookie_key=fernet.Fernet.generate_key(),
            notice=NOTICE,
            simulated=simulated,
        )
    )
    engine_config.register(conf)
    conf.set_override("poll", 0.2, group="engine")
    conf.set_override("lease", 2.0, group="engine")  # a worker looks for a cancellation when it renews its lease
    cloud = recording.Recording().cloud()
    worker = engine_service.EngineService(conf, database, lambda _context: cloud)
    catalog = service.create_app(conf, database=database, mounts={"/dashboard": dashboard})
    accounts = identity.bootstrap(database, admin_password=PASSWORD, demo_password=PASSWORD)
    core = [packages.folder() / "io.murano", *ours[:2]]
    catalog_packages.import_archives(
        database,
        [*core, *write_packages(data / "made")],
        owner_id=accounts["admin"].project_id,
        is_public=True,
        category_names=["Containers"],
    )
    server = wsgi.Server(("127.0.0.1", port), catalog, numthreads=16)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    worker.start()
    try:
        yield Running(root, database)
    finally:
        server.stop()
        thread.join()
        worker.stop()
        catalog.close()
        shutil.rmtree(repository, ignore_errors=True)


# In the repository; the first two are in the catalog from the beginning.
OURS = (
    "org.chandlery.containers",
    "org.chandlery.containers.Host",
    "org.chandlery.InfluxDB",
    "org.chandlery.Grafana",
    "org.chandlery.kubernetes.Cluster",
    "org.chandlery.kubernetes.Pod",
)
