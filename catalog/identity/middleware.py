"""What guards the API: a token in, the headers of Keystone's middleware out, or a 401.

Headers by these names that a client sends are removed first: only identity may say who somebody is.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import webob
from oslo_config import cfg

from catalog.api import errors
from catalog.db.base import Database
from catalog.identity import catalog, tokens

CLAIMS = (
    "IDENTITY_STATUS",
    "USER_ID",
    "USER_NAME",
    "USER_DOMAIN_ID",
    "USER_DOMAIN_NAME",
    "PROJECT_ID",
    "PROJECT_NAME",
    "PROJECT_DOMAIN_ID",
    "PROJECT_DOMAIN_NAME",
    "TENANT_ID",
    "TENANT_NAME",
    "TENANT",
    "USER",
    "ROLE",
    "ROLES",
    "SERVICE_CATALOG",
    "DOMAIN_ID",
    "DOMAIN_NAME",
    "SYSTEM_SCOPE",
)


def guard(app: Any, conf: cfg.ConfigOpts, database: Database) -> Any:
    """The application behind whichever identity is configured: `[identity] auth`."""
    if conf.identity.auth == "keystone":
        from keystonemiddleware import auth_token  # takes a tenth of a second that the embedded identity can do without

        return auth_token.AuthProtocol(InProject(app, conf), {"oslo_config_config": conf})
    return EmbeddedAuth(app, conf, database)


class InProject:
    """Behind keystonemiddleware: lets those pass who are confirmed to act in a project.

    A valid token may be without a project (unscoped, of a domain, of the system), and an operator may have told the
    middleware to leave the decision to the application (`delay_auth_decision`).
    """

    def __init__(self, app: Any, conf: cfg.ConfigOpts) -> None:
        self._app = app
        self._conf = conf

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        confirmed = environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed"
        if not confirmed or not environ.get("HTTP_X_PROJECT_ID"):
            settings = self._conf.keystone_authtoken
            return _refusal(environ, settings.www_authenticate_uri or "")(environ, start_response)
        return self._app(environ, start_response)


class EmbeddedAuth:
    """The guard for tokens of the embedded identity."""

    def __init__(self, app: Any, conf: cfg.ConfigOpts, database: Database) -> None:
        self._app = app
        self._conf = conf
        self._database = database
        self._services = functools.lru_cache(maxsize=100)(
            lambda root: json.dumps(catalog.services(root, conf.identity.region))
        )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        for claim in CLAIMS:
            environ.pop(f"HTTP_X_{claim}", None)
        text = environ.get("HTTP_X_AUTH_TOKEN", "")
        login = None
        if text:
            with self._database.reading() as session:
                login = tokens.look_up(session, text)
        if login is None or login.project is None:
            uri = catalog.root_url(self._conf, environ) + "/identity"
            return _refusal(environ, uri)(environ, start_response)
        environ.update({f"HTTP_X_{claim}": value for claim, value in self._claims(environ, login).items()})
        return self._app(environ, start_response)

    def _claims(self, environ: dict[str, Any], login: tokens.Login) -> dict[str, str]:
        assert login.project is not None
        root = catalog.root_url(self._conf, environ)
        return {
            "IDENTITY_STATUS": "Confirmed",
            "USER_ID": login.user.id,
            "USER_NAME": login.user.name,
            "USER_DOMAIN_ID": catalog.DOMAIN["id"],
            "USER_DOMAIN_NAME": catalog.DOMAIN["name"],
            "PROJECT_ID": login.project.id,
            "PROJECT_NAME": login.project.name,
            "PROJECT_DOMAIN_ID": catalog.DOMAIN["id"],
            "PROJECT_DOMAIN_NAME": catalog.DOMAIN["name"],
            "TENANT_ID": login.project.id,
            "TENANT_NAME": login.project.name,
            "ROLES": ",".join(login.roles),
            "SERVICE_CATALOG": self._services(root),
        }


def _refusal(environ: dict[str, Any], uri: str) -> webob.Response:
    """The 401 that tells where to log in."""
    refusal = errors.Unauthorized(
        "The request you have made requires authentication: expected a valid token, scoped to a project, in the "
        "header X-Auth-Token. Log in again.",
        headers={"WWW-Authenticate": f'Keystone uri="{uri}"' if uri else "Keystone"},
    )
    return errors.response(refusal, environ.get("HTTP_ACCEPT"), environ.get("openstack.request_id", ""))
