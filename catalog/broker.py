"""The broker between API and engine: oslo.messaging, told to work with threads and with a configuration of our own.

Import `oslo_messaging` from here, on either side: oslo.service has to know before the first import of it that there is
no eventlet. `transport(conf)` connects; `target(conf, ...)` addresses the engine of this installation, and of no other
that shares the broker or, with `fake://`, the process.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg
from oslo_service import backend
from oslo_service.backend.exceptions import BackendAlreadySelected

from catalog.db import masking

# futurist loads eventlet wherever it finds it, 19 MiB for nothing: it is not to be found while oslo.messaging loads.
_eventlet: Any = sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]
with contextlib.suppress(BackendAlreadySelected):  # a process that has chosen already says so itself
    backend.init_backend(backend.BackendType.THREADING)
import oslo_messaging  # noqa: E402

if _eventlet is None:
    del sys.modules["eventlet"]

__all__ = ["OPTIONS", "notification_transport", "oslo_messaging", "target", "transport"]

OPTIONS = (
    cfg.StrOpt(
        "transport_url",
        default="fake://",
        secret=True,
        help="oslo.messaging URL of the broker between API and engine: rabbit://user:password@host:5672/vhost, "
        "or fake:// for one process that is both.",
    ),
    cfg.StrOpt(
        "exchange",
        default="chandlery",
        help="Name that the processes of one installation share; another installation on the same broker has another.",
    ),
)


def transport(conf: cfg.ConfigOpts) -> Any:
    """A connection, made when first used, to the broker of `[messaging] transport_url`."""
    _register_strays(conf)
    with _told_without_secrets("[messaging] transport_url"):
        found = oslo_messaging.get_rpc_transport(conf, url=conf.messaging.transport_url)
    with contextlib.suppress(cfg.NoSuchOptError, cfg.NoSuchGroupError):  # another driver
        # Before the first connection: replicated queues, unless the configuration says otherwise.
        conf.set_default("rabbit_quorum_queue", True, group="oslo_messaging_rabbit")
    return found


def notification_transport(conf: cfg.ConfigOpts, url: str | None, exchange: str | None = None) -> Any:
    """A connection for events, to a broker of their own or the one of `[messaging] transport_url`.

    `exchange` is the one of `[audit]` where none is given.
    """
    _register_strays(conf)
    if "control_exchange" not in conf:  # the library makes it known with the first transport only
        oslo_messaging.get_notification_transport(conf, url="fake://").cleanup()
    conf.set_override("control_exchange", exchange or conf.audit.exchange)
    with _told_without_secrets("transport_url" if url else "[messaging] transport_url"):
        return oslo_messaging.get_notification_transport(conf, url=url or conf.messaging.transport_url)


def target(conf: cfg.ConfigOpts, server: str | None = None) -> Any:
    """The engine of this installation; with `server`, one process of it."""
    # On RabbitMQ a topic is a queue, and queues are the virtual host's: the exchange's name alone keeps nobody apart.
    exchange = conf.messaging.exchange
    return oslo_messaging.Target(exchange=exchange, topic=f"{exchange}-engine", server=server)


@contextlib.contextmanager
def _told_without_secrets(option: str) -> Iterator[None]:
    """The library's own errors quote the whole URL, its password included."""
    try:
        yield
    except (ValueError, oslo_messaging.InvalidTransportURL, oslo_messaging.DriverLoadFailure) as failure:
        url = str(getattr(failure, "url", ""))
        told = str(failure).replace(url, masking.masked_text(url)) if url else str(failure)
        raise ValueError(f"{option}: expected a URL such as rabbit://user:password@host:5672/vhost: {told}") from None


def _register_strays(conf: cfg.ConfigOpts) -> None:
    """Options that oslo.messaging reads on every call and makes known to its global configuration only."""
    for module, options, group in (
        ("oslo_messaging._tracing.client", "oslo_messaging_tracing", "oslo_messaging_tracing"),  # since 18
        ("oslo_messaging._metrics.client", "oslo_messaging_metrics", "oslo_messaging_metrics"),
    ):
        with contextlib.suppress(ImportError, AttributeError):  # a release that has no such options
            conf.register_opts(getattr(importlib.import_module(module), options), group=group)
