"""What Prometheus scrapes: requests by route, deployments by state. No project, user or resource is named in it.

`Metrics(conf, database)` counts for one service; `page` is the answer to `GET /metrics`. Where a server runs several
processes, set PROMETHEUS_MULTIPROC_DIR to an empty folder: the numbers of all processes are then added up.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Iterable, Mapping
from typing import Any

import prometheus_client
import sqlalchemy as sa
from oslo_config import cfg
from prometheus_client import multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from catalog.api import errors
from catalog.db import base
from catalog.db.deployments import FINISHED, QUEUED, UNFINISHED, Deployment
from catalog.db.environments import Environment
from catalog.db.packages import Package

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # others are counted together
OTHER = "other"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)  # bounds of the histogram
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")  # headers that proxies add


class Metrics:
    """The numbers of one service. Threads may share it."""

    def __init__(self, conf: cfg.ConfigOpts, database: base.Database) -> None:
        self._options = conf.metrics
        self._networks = [ipaddress.ip_network(text, strict=False) for text in conf.metrics.networks]
        self._tables = _Tables(database)
        self._registry = prometheus_client.CollectorRegistry()
        if not _several_processes():
            for collector in (
                prometheus_client.ProcessCollector,
                prometheus_client.PlatformCollector,
                prometheus_client.GCCollector,
            ):
                collector(registry=self._registry)
        self._requests = prometheus_client.Counter(
            "chandlery_http_requests",
            "Answered requests.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = prometheus_client.Histogram(
            "chandlery_http_request_duration_seconds",
            "Time until the answer began.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )

    def count(self, method: str, route: str, status: str, seconds: float) -> None:
        """One more answer; `route` is the template of the path, such as `/v1/environments/{environment}`."""
        method = method if method in METHODS else OTHER
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def page(self, environ: Mapping[str, Any]) -> tuple[bytes, str]:
        """The text of all numbers and its content type. Raises `errors.NotFound`, `errors.Forbidden`."""
        self._check_access(environ)
        registry = self._registry
        if _several_processes():
            registry = prometheus_client.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        text = prometheus_client.generate_latest(registry)
        tables = prometheus_client.CollectorRegistry()
        tables.register(self._tables)
        return text + prometheus_client.generate_latest(tables), prometheus_client.CONTENT_TYPE_LATEST

    def _check_access(self, environ: Mapping[str, Any]) -> None:
        """Lets pass who knows the token, and who calls directly from a network that may.

        The address of a proxy says nothing about who is behind it, so a proxied request needs the token.
        """
        if not self._options.enabled:
            raise errors.NotFound("GET /metrics: there is no such resource ([metrics] enabled = false)")
        sent = environ.get("HTTP_AUTHORIZATION", "")
        token = self._options.token
        if token and hmac.compare_digest(sent.encode("latin-1"), f"Bearer {token}".encode()):
            return
        proxied = any(header in environ for header in FORWARDED)
        if not proxied and self._is_near(environ.get("REMOTE_ADDR", "")):
            return
        raise errors.Forbidden(
            "Metrics: expected the token of [metrics] token as `Authorization: Bearer ...`, or a direct request from "
            "one of [metrics] networks"
        )

    def _is_near(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


class _Tables(Collector):
    """What the database says at the moment of the scrape; the same from every process of the installation."""

    def __init__(self, database: base.Database) -> None:
        self._database = database

    def collect(self) -> Iterable[GaugeMetricFamily]:
        counting = sa.select(Deployment.state, sa.func.count().label("number")).group_by(Deployment.state)
        with self._database.reading() as session:
            counted = {row.state: row.number for row in session.execute(counting)}
            oldest = session.scalar(sa.select(sa.func.min(Deployment.created)).where(Deployment.state == QUEUED))
            environments = session.scalar(sa.select(sa.func.count()).select_from(Environment)) or 0
            packages = session.scalar(sa.select(sa.func.count()).select_from(Package)) or 0
        deployments = GaugeMetricFamily("chandlery_deployments", "Deployments by state.", labels=["state"])
        for state in (*UNFINISHED, FINISHED):
            deployments.add_metric([state], counted.get(state, 0))
        yield deployments
        waited = 0.0 if oldest is None else max((base.now() - oldest).total_seconds(), 0.0)
        yield GaugeMetricFamily(
            "chandlery_deployment_queue_seconds", "Age of the oldest deployment no worker took yet.", value=waited
        )
        yield GaugeMetricFamily("chandlery_environments", "Environments of all projects.", value=environments)
        yield GaugeMetricFamily("chandlery_packages", "Package versions of all projects.", value=packages)


def _several_processes() -> bool:
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ
