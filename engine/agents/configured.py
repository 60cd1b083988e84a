"""The way to agents that `[engine] agents` names."""

from __future__ import annotations

import pathlib
import re
import ssl

from oslo_config import cfg

from catalog.db.base import Database
from engine.agents import amqp, broker, http
from engine.clouds import services
from engine.system import signing


def agents(conf: cfg.ConfigOpts, database: Database) -> services.Agents:
    """Raises `ValueError` naming the option that is missing or wrong."""
    return _over_amqp(conf, database) if conf.engine.agents == "amqp" else _over_http(conf, database)


def _over_http(conf: cfg.ConfigOpts, database: Database) -> http.HttpAgents:
    _need(conf, ("engine", "agent_url"), ("engine", "agent_secret"))
    settings: dict[str, object] = {}
    if conf.engine.agent_ca_certs:
        settings["ca"] = _certificates(conf.engine.agent_ca_certs)
    if conf.engine.agent_proxy:
        settings["proxy"] = conf.engine.agent_proxy
    secret = conf.engine.agent_secret.encode()
    return http.HttpAgents(database=database, url=conf.engine.agent_url, secret=secret, settings=settings)


def _certificates(path: str) -> str:
    """The text of a PEM file, which goes into boot data, so without anything around the certificates."""
    try:
        text = pathlib.Path(path).read_text(encoding="ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:
        raise ValueError(f"[engine] agent_ca_certs: expected a PEM file with certificates, {path}: {error}") from None
    return "".join(f"{part}\n" for part in _CERTIFICATE.findall(text))


_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def _over_amqp(conf: cfg.ConfigOpts, database: Database) -> amqp.AmqpAgents:
    _need(conf, ("rabbitmq", "host"), ("rabbitmq", "management_url"), ("engine", "agent_secret"))
    settings, key = conf.rabbitmq, conf.engine.signing_key
    signing.signature(key, "", "")  # a wrong key is the operator's error now, not a deployment's later
    return amqp.AmqpAgents(
        database=database,
        address=amqp.Address(
            host=settings.host,
            port=settings.port,
            login=settings.login,
            password=settings.password,
            tls=settings.ssl,
            insecure=settings.insecure,
            ca_certs=settings.ca_certs,
        ),
        management=broker.Management(
            url=settings.management_url,
            user=settings.login,
            password=settings.password,
            verify=False if settings.insecure else settings.ca_certs or True,
        ),
        secret=conf.engine.agent_secret.encode(),
        installation=conf.messaging.exchange,
        sign=lambda queue, body: signing.signature(key, queue, body),
    )


def _need(conf: cfg.ConfigOpts, *options: tuple[str, str]) -> None:
    for group, option in options:
        if not conf[group][option]:
            raise ValueError(
                f"[{group}] {option}: expected a value, found none; [engine] agents = {conf.engine.agents} needs it"
            )
