"""The service catalog of the embedded identity: itself and the application catalog, under one root URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import webob
from oslo_config import cfg

DOMAIN = {"id": "default", "name": "Default"}
INTERFACES = ("public", "internal", "admin")


def root_url(conf: cfg.ConfigOpts, environ: Mapping[str, Any]) -> str:
    """Where the service is reached, without a slash at its end: as configured, or as this request reached it."""
    return str(conf.api.public_url or _host_url(environ)).rstrip("/")


def _host_url(environ: Mapping[str, Any]) -> str:
    """As webob finds it, which takes a copy: the original shall not be marked by it."""
    keys = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT")
    return str(webob.Request({key: environ[key] for key in keys if key in environ}).host_url)


def services(root: str, region: str) -> list[dict[str, Any]]:
    """The catalog as it goes into tokens. The application catalog's endpoint has no version (spec/api-v1 §1.1)."""
    return [
        _service("identity", "keystone", f"{root}/identity/v3", region),
        _service("application-catalog", "chandlery", root, region),
    ]


def _service(kind: str, name: str, url: str, region: str) -> dict[str, Any]:
    endpoints = [
        {"id": f"{kind}-{interface}", "interface": interface, "region": region, "region_id": region, "url": url}
        for interface in INTERFACES
    ]
    return {"id": kind, "type": kind, "name": name, "endpoints": endpoints}
