"""oslo.messaging, told to work with threads and with a configuration of our own.

Import `oslo_messaging` from here: oslo.service has to know before the first import of it that there is no eventlet.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from oslo_config import cfg
from oslo_service import backend

# futurist loads eventlet wherever it finds it, 19 MiB for nothing: it is not to be found while oslo.messaging loads.
_eventlet: Any = sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]
backend.init_backend(backend.BackendType.THREADING)
import oslo_messaging  # noqa: E402
from oslo_messaging._metrics import client as _metrics  # noqa: E402

if _eventlet is None:
    del sys.modules["eventlet"]

__all__ = ["oslo_messaging", "rpc_transport"]


def rpc_transport(conf: cfg.ConfigOpts) -> Any:
    """The transport of `[messaging] transport_url`.

    oslo.messaging reads two groups of options on every call that it makes known to its global configuration only.
    """
    conf.register_opts(_metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    with contextlib.suppress(ImportError):  # since 18
        from oslo_messaging._tracing import client as tracing

        conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
    return oslo_messaging.get_rpc_transport(conf, url=conf.messaging.transport_url)
