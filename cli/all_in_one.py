"""The all-in-one service: API, identity, worker, dashboard and lab cloud in one process, one port, one data directory.

It puts together what each part offers; no part knows of another here. Everything that must survive is in the data
directory: database, keys and other secrets, the lab's servers.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

from cheroot import wsgi

import packages as library
from catalog import config, identity, service
from catalog import packages as catalog_packages
from catalog.db import base, deployments, keys, migrations, resealing, sealing
from cli import client, errors, exclusive
from dashboard import app as dashboard_app
from dashboard.configuration import Configuration
from engine import config as engine_config
from engine import service as engine_service
from engine.agents import http
from engine.clouds import lab, services

LOG = logging.getLogger(__name__)

# Long polls of agents and event streams each hold a thread; a lab has a dozen servers, a person a few tabs.
THREADS = 48
# The worker lives and dies with the process, so nobody waits for its lease; it only has to outlast a busy moment.
LEASE_SECONDS = 15.0
# What everybody who looks at the dashboard is told, by how well the lab can isolate servers here.
NOTICES = {
    "full": "This service runs on the lab cloud: servers are sandboxes here, and what runs in them is simulated.",
    "user": "This service runs on the lab cloud, without root: servers are sandboxes here, what runs in them "
    "is simulated, and their endpoints are reached by: chandlery lab forward URL",
    "none": "This service runs on the lab cloud, but this machine cannot isolate: scripts are recorded and not run.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator chooses."""

    data: pathlib.Path
    host: str = "127.0.0.1"
    port: int = 8082
    repositories: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The service's root URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def database_url(self) -> str:
        """The SQLite file in the data directory."""
        return f"sqlite:///{(self.data / 'chandlery.sqlite').absolute()}"

    @property
    def key_file(self) -> pathlib.Path:
        """The keys that seal secrets in the database."""
        return self.data / client.KEY_FILE


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[wsgi.Server]:
    """Start everything, give the bound web server (to be served by the caller), stop everything in reverse order.

    Raises CommandError when the data directory or the port belongs to another process.
    """
    with contextlib.ExitStack() as stack:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        what = f"service runs with the data in {settings.data}"
        other = "Stop it, or choose another folder with --data."
        stack.enter_context(exclusive.holding(settings.data / "service.pid", what, other))
        server = wsgi.Server((settings.host, settings.port), None, numthreads=THREADS, server_name="chandlery")
        try:
            server.prepare()
        except OSError as error:
            raise errors.CommandError(
                f"Port {settings.port} on {settings.host} cannot be used: {error.strerror or error}.",
                "Stop what listens there, or choose another port with --port (make demo PORT=...).",
            ) from None
        stack.callback(server.stop)
        kept = _Secrets.of(settings.data / "secrets.json")
        migrations.upgrade(settings.database_url)
        database = base.Database(settings.database_url)
        conf = config.load(
            overrides={
                "database": {"connection": settings.database_url},
                "secrets": {"key_file": str(settings.key_file)},
                "messaging": {"exchange": base.new_id()},  # a second one in this process would answer for this one
                "repositories": {"repository": list(settings.repositories)},
            }
        )
        _unlock(settings, conf, database)
        _bootstrap(settings, database)
        _start_engine(settings, conf, database, kept, stack)
        dashboard = dashboard_app.create_app(
            Configuration(
                api_url=settings.url,
                auth_url=f"{settings.url}/identity/v3",
                cookie_key=kept.cookie_key,
                notice=NOTICES[lab.isolation().level],
                simulated=True,
            )
        )
        catalog = service.create_app(conf, database=database, mounts={"/dashboard": dashboard})
        stack.callback(catalog.close)
        server.wsgi_app = catalog
        yield server


def _unlock(settings: Settings, conf: Any, database: base.Database) -> None:
    """Give the database its keys; make them at the first start, and seal what a version before left in the clear."""
    fresh = not settings.key_file.exists() and not resealing.known(database)
    try:
        if fresh:
            keys.make(conf)
        keys.configure(database, conf)
        if fresh:
            for place, number in resealing.reseal(database):
                LOG.info("sealed %d values of %s", number, place)
    except (ValueError, sealing.SealError) as error:
        raise errors.CommandError(str(error), "It belongs to the data: restore both from the same backup.") from None


def _start_engine(
    settings: Settings, conf: Any, database: base.Database, kept: _Secrets, stack: contextlib.ExitStack
) -> None:
    """Start the lab, the worker and the in-process messaging; `stack` stops them."""
    cloud = lab.LabOrchestration(settings.data / "lab", settings.url)
    engine_config.register(conf)
    conf.set_override("cloud", "lab", group="engine")
    compiled = settings.data / "compiled"
    compiled.mkdir(mode=0o700, exist_ok=True)
    conf.set_override("compile_cache", str(compiled), group="engine")
    conf.set_override("lease", LEASE_SECONDS, group="engine")
    conf.set_override("env_ip_template", cloud.ip_template, group="networking")
    if cloud.isolation.level == "none":
        missing = "; ".join(cloud.isolation.missing)
        LOG.warning("the lab cannot isolate servers here and only records their scripts: %s", missing)
    if cloud.servers():
        cloud.start()
    stack.callback(cloud.close)
    retries: dict[str, object] = {
        "retry_limit": 1.0
    }  # seconds: the way to this service is short, and it may just be restarting
    access = http.HttpAgents(database=database, url=cloud.agent_url, secret=kept.agent_key, settings=retries)
    offered = services.Cloud(orchestration=cloud, agents=access, network=cloud.network, inventory=cloud.inventory)
    with database.transaction() as session:
        # The data directory is ours alone: whoever held these leases is dead.
        taken_up = deployments.release_all(session)
    if taken_up:
        LOG.info("%d deployments of an earlier process go on", taken_up)
    engine = engine_service.EngineService(conf, database, lambda _context: offered)
    engine.start()
    stack.callback(engine.stop)


def _bootstrap(settings: Settings, database: base.Database) -> None:
    """Accounts and core library, at the first start; the credentials file always names this port."""
    path = settings.data / client.CREDENTIALS_FILE
    known = json.loads(path.read_text(encoding="utf-8"))["accounts"] if path.exists() else {}
    accounts = identity.bootstrap(
        database,
        admin_password=known.get("admin", {}).get("password"),
        demo_password=known.get("demo", {}).get("password"),
    )
    content = {
        "auth_url": f"{settings.url}/identity/v3",
        "accounts": {
            name: {"username": account.name, "password": account.password, "project": account.project}
            for name, account in accounts.items()
        },
    }
    _write_private(path, json.dumps(content, indent=2))
    done = catalog_packages.import_archives(
        database, library.core_library(), owner_id=accounts["admin"].project_id, is_public=True, exists="u"
    )
    for name, version, action in done:
        LOG.info("core library: %s %s %s", name, version, action)


@dataclasses.dataclass(frozen=True)
class _Secrets:
    """Keys that must outlive the process: the cookies' and the agents' tokens'."""

    cookie_key: bytes
    agent_key: bytes

    @classmethod
    def of(cls, path: pathlib.Path) -> _Secrets:
        if not path.exists():
            fresh = {"cookie_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}
            fresh["agent_key"] = secrets.token_hex(32)
            _write_private(path, json.dumps(fresh))
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["cookie_key"].encode(), content["agent_key"].encode())


def _write_private(path: pathlib.Path, text: str) -> None:
    """Whole or not at all, readable by nobody else."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
