"""The dashboard for a WSGI server of its own: ``dashboard.wsgi:application``, to be mounted at ``/dashboard``.

Configured by three environment variables: ``CHANDLERY_API_URL`` and ``CHANDLERY_AUTH_URL`` (identity v3) say where it
sends its requests, ``CHANDLERY_COOKIE_KEY`` (32 url-safe base64 bytes, the same in all processes) seals its cookies.
``CHANDLERY_NOTICE``, if set, is what every page tells its readers; ``CHANDLERY_SIMULATED=yes`` says that the cloud is
the lab.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from dashboard import app
from dashboard.configuration import Configuration


def configuration(environ: Mapping[str, str]) -> Configuration:
    """The configuration of the environment variables. Raises ValueError that names those that are missing."""
    needed = ("CHANDLERY_API_URL", "CHANDLERY_AUTH_URL", "CHANDLERY_COOKIE_KEY")
    missing = [name for name in needed if not environ.get(name)]
    if missing:
        raise ValueError(f"the dashboard needs the environment variables {', '.join(missing)}")
    return Configuration(
        api_url=environ["CHANDLERY_API_URL"].rstrip("/"),
        auth_url=environ["CHANDLERY_AUTH_URL"].rstrip("/"),
        cookie_key=environ["CHANDLERY_COOKIE_KEY"].encode(),
        notice=environ.get("CHANDLERY_NOTICE", ""),
        simulated=environ.get("CHANDLERY_SIMULATED", "").lower() in ("yes", "true", "1"),
    )


def __getattr__(name: str) -> object:
    # Made when a server asks for it, so that importing the module does not need the variables.
    if name == "application":
        return app.create_app(configuration(os.environ))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
