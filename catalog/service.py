"""The catalog as one WSGI application: API, identity, agents, and whatever is mounted beside them.

`create_app(config)` makes it. From the outside in: request ids and the last resort for failures, then the mounts by
the path's first segment; behind `/v1` identity guards the API. Everything else is the version document (spec/api-v1
§1.1).
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
import webob
from oslo_config import cfg

from catalog import trusts
from catalog.api import agents, cross_origin, errors, openapi, routing
from catalog.api.counters import Counters
from catalog.api.idempotency import Keeper
from catalog.api.metrics import Metrics
from catalog.api.request import Caller, Services
from catalog.api.v1 import urls
from catalog.audit import Audit, Call
from catalog.db import content_stores, keys, tables  # noqa: F401  all tables are known before the first is used
from catalog.db.base import Database
from catalog.identity import api as identity_api
from catalog.identity import catalog as service_catalog
from catalog.identity import middleware
from catalog.messaging import Engine
from catalog.policies import Policy
from catalog.repositories.registry import Registry

LOG = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
DASHBOARD = "/dashboard"
REQUEST_ID = "openstack.request_id"
MOUNT = "chandlery.mount"  # in the WSGI environment: the prefix of the application that answers
LONGEST_PATH = 2000  # characters of a path in an audit event
LONGEST_AGENT = 255  # characters of a User-Agent in one


def create_app(
    conf: cfg.ConfigOpts, *, database: Database | None = None, mounts: Mapping[str, Wsgi] | None = None
) -> Service:
    """The application of a configuration (`catalog.config.load`).

    `mounts` are further WSGI applications by path prefix, as `{"/dashboard": app}`; each sees its prefix as
    SCRIPT_NAME. Raises `ValueError` for a repository, database or key that is configured wrongly.
    """
    database = database or Database(conf.database.connection)
    keys.configure(database, conf)
    content_stores.configure(database, conf)
    services = Services(
        config=conf,
        database=database,
        policy=Policy(conf),
        engine=Engine(conf),
        repositories=Registry(conf, database),
        event_streams=threading.BoundedSemaphore(conf.api.event_streams),
        counters=Counters(),
        keeper=Keeper(),
        trusts=trusts.configured(conf),
    )
    return Service(services, mounts or {})


class Service:
    """The application; `services` is what it works with. `close` ends its connections."""

    def __init__(self, services: Services, mounts: Mapping[str, Wsgi]) -> None:
        self.services = services
        self._conf = services.config
        guarded = middleware.guard(routing.Api(urls.ROUTES, services), services.config, services.database)
        self._agents = agents.agents_app(services.database)
        self._mounts: dict[str, Wsgi] = {"/agents/v1": self._agents, "/v1": self._counted(guarded), **mounts}
        self._mounts["/v1/openapi.json"] = openapi.openapi_app(
            lambda environ: service_catalog.root_url(services.config, environ)
        )
        if services.config.identity.auth == "embedded":
            self._mounts["/identity"] = identity_api.Identity(services.config, services.database)
        self._prefixes = sorted(self._mounts, key=len, reverse=True)
        self._metrics = Metrics(services.config, services.database)
        self._audit = Audit(services.config)
        self._app = cross_origin.allow(self._serve, services.config)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request_id = f"req-{uuid.uuid4()}"
        environ[REQUEST_ID] = request_id
        began = time.monotonic()
        asked = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))[:LONGEST_PATH]

        def start(status: str, headers: list[tuple[str, str]], *details: Any) -> Any:
            kept = [(name, value) for name, value in headers if name.lower() != "x-openstack-request-id"]
            self._observe(environ, asked, int(status[:3]), time.monotonic() - began)
            return start_response(status, [*kept, ("x-openstack-request-id", request_id)], *details)

        return self._app(environ, start)

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            return self._find(environ)(environ, start_response)
        except Exception as failure:  # the last resort: a client always gets an answer it can read
            return routing.answer_for(failure, environ)(environ, start_response)

    def close(self) -> None:
        """Ends waiting agents, and the connections to broker and database."""
        self._agents.close()
        self._audit.close()
        self.services.engine.close()
        self.services.database.dispose()

    def _find(self, environ: dict[str, Any]) -> Wsgi:
        """The application for a path, which is cut after the application's prefix. Doubled slashes do not matter."""
        path = re.sub(r"^/*", "/", environ.get("PATH_INFO", ""))
        for prefix in self._prefixes:
            if path == prefix or path.startswith(prefix + "/"):
                rest = path[len(prefix) :]
                if prefix == "/v1":
                    rest = re.sub(r"^/+", "/", rest)
                environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
                environ["PATH_INFO"] = rest
                environ[MOUNT] = prefix
                return self._mounts[prefix]
        found = {"/healthcheck": self._healthcheck, "/metrics": self._show_metrics}.get(path)
        environ[MOUNT] = path if found else "/"
        return found or self._versions

    def _observe(self, environ: dict[str, Any], asked: str, status: int, seconds: float) -> None:
        """Counts an answer, and tells the audit of a call that is to change something."""
        template = environ.get(routing.ROUTE, "")
        method = environ.get("REQUEST_METHOD", "")
        self._metrics.count(method, environ.get(MOUNT, "/") + template, str(status), seconds)
        if not (template and self._audit.enabled) or method in ("GET", "HEAD"):
            return
        caller = Caller.of(webob.Request(environ).headers, self._conf.api.admin_role)
        self._audit.record(
            Call(
                method=method,
                template=template,
                path=asked,
                target_id=environ.get(routing.TARGET),
                status=status,
                user_id=caller.user_id,
                project_id=caller.project_id,
                roles=caller.roles,
                address=environ.get("REMOTE_ADDR", ""),
                agent=environ.get("HTTP_USER_AGENT", "")[:LONGEST_AGENT],
                request_id=environ[REQUEST_ID],
            )
        )

    def _counted(self, app: Wsgi) -> Wsgi:
        def counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            began = time.monotonic()
            seen: list[str] = []

            def start(status: str, headers: list[tuple[str, str]], *details: Any) -> Any:
                seen.append(status)
                return start_response(status, headers, *details)

            body = app(environ, start)
            self.services.counters.count(
                seconds=time.monotonic() - began,
                failed=not seen or seen[-1].startswith("5"),
                project_id=environ.get("HTTP_X_PROJECT_ID", ""),
            )
            return body

        return counted

    def _versions(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The version document; a browser at the root goes to the dashboard, if there is one."""
        web = webob.Request(environ)
        if (
            DASHBOARD in self._mounts
            and web.path_info in ("", "/")
            and web.method in ("GET", "HEAD")
            and _is_browser(web)
        ):
            redirect = webob.Response(status=302, headers={"Location": f"{web.script_name}{DASHBOARD}/"})
            redirect.headers["Vary"] = "Accept, User-Agent"
            return redirect(environ, start_response)
        root = service_catalog.root_url(self._conf, environ)
        links = [{"rel": "self", "href": f"{root}/v1/"}]
        document = {"versions": [{"id": "v1.0", "status": "CURRENT", "links": links}]}
        answer = webob.Response(
            body=json.dumps(document).encode(), status=300, content_type="application/json", charset=None
        )
        return answer(environ, start_response)

    def _show_metrics(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The numbers of the service for Prometheus, to whom `[metrics]` lets read them."""
        if environ.get("REQUEST_METHOD") != "GET":
            raise errors.NotFound("/metrics: there is nothing but GET")
        text, kind = self._metrics.page(environ)
        answer = webob.Response(body=text, headers={"Content-Type": kind, "Cache-Control": "no-store"})
        return answer(environ, start_response)

    def _healthcheck(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """200 when the database answers, 503 otherwise."""
        try:
            with self.services.database.reading() as session:
                session.execute(sa.text("SELECT 1"))
        except sa.exc.SQLAlchemyError:
            LOG.exception("healthcheck: the database does not answer")
            failure = errors.Unavailable("The database does not answer")
            return errors.response(failure, environ.get("HTTP_ACCEPT"), environ[REQUEST_ID])(environ, start_response)
        return webob.Response(text="OK", content_type="text/plain")(environ, start_response)


def _is_browser(web: webob.Request) -> bool:
    accept = web.environ.get("HTTP_ACCEPT", "")
    return accept.startswith("text/html") and (web.user_agent or "").startswith("Mozilla/")
