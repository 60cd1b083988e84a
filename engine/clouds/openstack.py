"""An OpenStack as the cloud of deployments: with whose rights it is worked on, and the ports of each.

With the environment's trust as the user who gave it, else as the service user in the environment's project. One session
a deployment, for all regions: it logs in by itself again when its token ends, so a deployment may outlive any token.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heatclient import client as heat_client
from keystoneauth1 import adapter, identity, session
from keystoneauth1 import exceptions as keystone_exc
from oslo_config import cfg

from catalog.db import base
from engine import effects
from engine.agents import configured
from engine.clouds import heat, heat_listing, inventory, ports, services

LOG = logging.getLogger(__name__)

AUTH = (
    cfg.StrOpt("auth_url", help="Keystone, as in http://controller:5000/v3."),
    cfg.StrOpt("username", default="murano", help="The service's user: who is trusted, and who works on stacks."),
    cfg.StrOpt("password", secret=True, help="Its password."),
    cfg.StrOpt("user_domain_name", default="Default", help="Its domain."),
    cfg.StrOpt("cafile", help="PEM file with the authorities that sign OpenStack's certificates."),
    cfg.BoolOpt("insecure", default=False, help="Do not check certificates."),
)


def clouds(conf: cfg.ConfigOpts, database: base.Database) -> Callable[[effects.Context], services.Cloud]:
    """The OpenStack of `[murano_auth]`: with the environment's trust, else as the service user in its project.

    Raises `ValueError` naming the option that is missing.
    """
    for option in AUTH:
        with contextlib.suppress(cfg.DuplicateOptError):  # the API has the same ones, in one process with it
            conf.register_opt(option, group="murano_auth")
    if not conf.murano_auth.auth_url:
        raise ValueError("[murano_auth] auth_url: expected a value, found none; OpenStack deployments need it")
    agents = configured.agents(conf, database)

    def cloud(context: effects.Context) -> services.Cloud:
        trust_id = context.trust_id if conf.engine.use_trusts else None
        own = _login(conf, project_id=context.owner_project_id)
        login = own if trust_id is None else _login(conf, trust_id=trust_id)
        keystone = login.session
        return services.Cloud(
            orchestration=heat.HeatOrchestration(
                lambda region: _heat(conf, keystone, region),
                otherwise=None if trust_id is None else lambda region: _heat_if_let_in(conf, own, region),
                check=context.check,
                limit=conf.heat.stack_timeout,
                regions=lambda: heat_listing.regions(keystone, conf),
            ),
            agents=agents,
            network=heat.NeutronNetwork(
                lambda region: adapter.Adapter(keystone, service_type="network", region_name=region or conf.home_region)
            ),
            inventory=inventory.OpenStackInventory(keystone, login.auth, conf.home_region),
            trust=None if trust_id is None else KeystoneTrust(keystone, conf.murano_auth.auth_url, trust_id),
        )

    return cloud


class KeystoneTrust:
    """Implements `services.Trust` for the trust that a session is logged in with."""

    def __init__(self, keystone: session.Session, auth_url: str, trust_id: str) -> None:
        root = auth_url.rstrip("/").removesuffix("/v3") + "/v3"
        self._adapter = adapter.Adapter(keystone, endpoint_override=root)
        self._trust_id = trust_id

    def give_back(self) -> None:
        """As the user who gave it: nobody else but an administrator may."""
        try:
            self._adapter.delete(f"/OS-TRUST/trusts/{self._trust_id}")
        except keystone_exc.ClientException as error:
            raise ports.CloudError(f"trust {self._trust_id} could not be removed: {error}") from error


def _heat(conf: cfg.ConfigOpts, keystone: session.Session, region: str) -> Any:
    return heat_client.Client(
        "1",
        session=keystone,
        region_name=region or conf.home_region,
        interface=conf.heat.endpoint_type,
        service_type="orchestration",
        endpoint_override=conf.heat.url,
    )


def _heat_if_let_in(conf: cfg.ConfigOpts, own: _Login, region: str) -> Any:
    """Heat as the service user itself; None where it has no role in the project."""
    try:
        own.auth.get_access(own.session)
    except keystone_exc.ClientException as error:
        LOG.info("the service user has no role in the project: %s", error)
        return None
    return _heat(conf, own.session, region)


@dataclass(frozen=True)
class _Login:
    session: session.Session
    auth: identity.BaseIdentityPlugin


def _login(conf: cfg.ConfigOpts, *, project_id: str | None = None, trust_id: str | None = None) -> _Login:
    settings = conf.murano_auth
    auth = identity.Password(
        auth_url=settings.auth_url,
        username=settings.username,
        password=settings.password,
        user_domain_name=settings.user_domain_name,
        project_id=project_id,
        trust_id=trust_id,
    )
    verify: bool | str = False if settings.insecure else settings.cafile or True
    return _Login(session.Session(auth=auth, verify=verify, timeout=heat.ANSWER), auth)
