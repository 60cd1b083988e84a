"""Cross-origin requests (CORS) from browsers: refused unless an operator names origins; oslo.middleware does the rest.

The library takes half a second to load, so it is loaded only where it is used.
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

SENT = (  # headers a script of another origin may send, beside the harmless ones (spec/api-v1 §1.1)
    "X-Auth-Token",
    "X-Configuration-Session",
    "X-OpenStack-Request-ID",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "Last-Event-ID",
)
SHOWN = ("X-OpenStack-Request-ID", "X-Configuration-Session", "ETag", "Idempotent-Replayed", "Retry-After")
METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")


def allow(app: Any, conf: cfg.ConfigOpts) -> Any:
    """The application for the origins of `[cors] allowed_origin`; as it is without any."""
    origins = conf.cors.allowed_origin
    if not origins:
        return app
    from oslo_middleware import cors

    settings = cfg.ConfigOpts()
    settings.register_opts(cors.OPTS, "cors")
    settings.set_override("allow_credentials", False, "cors")  # who calls is said by a token, never by a cookie
    wrapped = cors.CORS(app, settings)
    wrapped.add_origin(
        list(origins),
        allow_credentials=False,
        expose_headers=list(SHOWN),
        max_age=conf.cors.max_age,
        allow_methods=list(METHODS),
        allow_headers=list(SENT),
    )
    return wrapped
