"""Keystone trusts of environments: who deploys lends the service's user the right to work in the project.

A trust is made from a request's token while that is at hand, kept as `SystemData.TrustId` of the environment's model,
used by engines, and removed with the environment. No token is kept. spec/engine-flow §9.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from keystoneauth1 import adapter, identity, session, token_endpoint
from keystoneauth1 import exceptions as keystone_exc
from oslo_config import cfg

LOG = logging.getLogger(__name__)

ANSWER = 20.0  # seconds in which Keystone answers, or counts as away
REFUSALS = (401, 403, 404)  # with which Keystone says that a trust does not work (any more)


class Refused(Exception):
    """Keystone makes no trust for this user and project; the message has its reason and what to do."""


class Away(Exception):
    """Keystone does not answer, or does not know the service's user."""


def trust_of(model: Mapping[str, Any]) -> str | None:
    """The trust of an environment's model."""
    found = (model.get("SystemData") or {}).get("TrustId")
    return str(found) if found else None


def with_trust(model: Mapping[str, Any], trust_id: str | None) -> dict[str, Any]:
    """A model that names this trust, or none."""
    rest = {key: value for key, value in (model.get("SystemData") or {}).items() if key != "TrustId"}
    return {**model, "SystemData": {**rest, "TrustId": trust_id} if trust_id else rest}


def configured(conf: cfg.ConfigOpts) -> Trusts | None:
    """The trusts of a configuration; None where deployments do without."""
    if conf.identity.auth != "keystone" or not conf.engine.use_trusts:
        return None
    if not conf.murano_auth.auth_url:
        LOG.warning("[murano_auth] auth_url is not set here: no trusts are made, deployments need roles in projects")
        return None
    return Trusts(conf)


class Trusts:
    """The trusts whose trustee is the service's user, `[murano_auth]`."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._settings = conf.murano_auth
        self._trustee: str | None = None  # id of the service's user

    def work(self, trust_id: str, project_id: str) -> bool:
        """Whether the service can still act in the project with this trust. Raises `Away`.

        Not when it was revoked, when its user is gone or disabled, or has lost a role that it names.
        """
        auth = self._service(trust_id=trust_id)
        try:
            return bool(auth.get_access(self._session(auth)).project_id == project_id)
        except keystone_exc.HttpError as error:
            if error.http_status in REFUSALS:
                LOG.info("trust %s does not work: %s", trust_id, error)
                return False
            raise _away(error) from error
        except keystone_exc.ClientException as error:
            raise _away(error) from error

    def make(
        self,
        token: str,
        user_id: str,
        project_id: str,
        roles: Sequence[Mapping[str, str]],
        *,
        seconds: int | None = None,
    ) -> str:
        """Has the user of a token trust the service's user with `roles` in the token's project; the trust's id.

        Heat makes a trust of its own from it, so it may be handed on; one that ends after `seconds` may not. Raises
        `Refused`, `Away`.
        """
        wanted: dict[str, Any] = {
            "trustor_user_id": user_id,
            "trustee_user_id": self._trustee_id(),
            "project_id": project_id,
            "impersonation": True,
            "roles": [dict(role) for role in roles],
            "allow_redelegation": seconds is None,
        }
        if seconds is not None:
            ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
            wanted["expires_at"] = ends.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        keystone = self._keystone(token_endpoint.Token(self._url, token))
        try:
            made = keystone.post("/OS-TRUST/trusts", json={"trust": wanted}).json()["trust"]
        except keystone_exc.HttpError as error:
            if 400 <= error.http_status < 500:
                raise Refused(
                    f"Keystone lets user {user_id} lend the service no rights in project {project_id}: {error.message} "
                    "Log in with a password: a token of an application credential or of a trust can make none. The "
                    "operator can do without trusts ([engine] use_trusts)."
                ) from error
            raise _away(error) from error
        except keystone_exc.ClientException as error:
            raise _away(error) from error
        return str(made["id"])

    def remove(self, trust_id: str) -> None:
        """Ends a trust, as the user whose it is. What fails is logged: nothing else may depend on it."""
        try:
            self._keystone(self._service(trust_id=trust_id)).delete(f"/OS-TRUST/trusts/{trust_id}")
        except keystone_exc.ClientException as error:
            LOG.warning("trust %s could not be removed: %s", trust_id, error)

    def _trustee_id(self) -> str:
        if self._trustee is None:
            auth = self._service()
            try:
                self._trustee = str(auth.get_user_id(self._session(auth)))
            except keystone_exc.ClientException as error:
                raise _away(error) from error
        return self._trustee

    def _service(self, trust_id: str | None = None) -> identity.Password:
        settings = self._settings
        return identity.Password(
            auth_url=settings.auth_url,
            username=settings.username,
            password=settings.password,
            user_domain_name=settings.user_domain_name,
            trust_id=trust_id,
        )

    def _keystone(self, auth: Any) -> adapter.Adapter:
        return adapter.Adapter(self._session(auth), endpoint_override=self._url)

    def _session(self, auth: Any) -> session.Session:
        verify: bool | str = False if self._settings.insecure else self._settings.cafile or True
        return session.Session(auth=auth, verify=verify, timeout=ANSWER)

    @property
    def _url(self) -> str:
        return str(self._settings.auth_url).rstrip("/").removesuffix("/v3") + "/v3"


def _away(error: Exception) -> Away:
    return Away(f"Keystone does not let the service work with trusts now ([murano_auth]): {error}")
