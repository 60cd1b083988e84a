"""Options of the engine, and what the core library's `config(group, name)` may read of them.

Names are Murano's where they mean what Murano's did (spec/core-library §13). `[database]`,
`[messaging]` and `[secrets]` are shared with the API, which may have registered them already in the same process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from catalog import broker
from catalog.db import keys
from engine import notices

DATABASE = (
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/chandlery/catalog.sqlite",
        secret=True,
        help="SQLAlchemy URL of the database.",
    ),
)

ENGINE = (
    cfg.StrOpt("cloud", default="heat", choices=["heat", "lab"], help="Where deployments create what they need."),
    cfg.BoolOpt(
        "use_trusts",
        default=True,
        help="With Keystone: who deploys lends the service's user the right to work in the project, by a trust. "
        "Without, the service's user needs a role in every project. For API and engine alike.",
    ),
    cfg.IntOpt("engine_workers", default=8, min=1, help="Deployments one process runs at a time."),
    cfg.IntOpt(
        "project_limit",
        default=0,
        min=0,
        help="Deployments of one project that run at a time; 0: as many as there are.",
    ),
    cfg.FloatOpt("poll", default=2.0, min=0.05, help="Seconds between two looks for deployments nobody announced."),
    cfg.FloatOpt(
        "lease", default=5.0, min=0.2, help="Seconds after which the deployments of a worker that died are taken over."
    ),
    cfg.FloatOpt("drain", default=20.0, min=0.0, help="Seconds a stopping worker gives effects in flight to end."),
    cfg.FloatOpt("keep_journals", default=7.0, min=0.0, help="Days a finished deployment's journal is kept."),
    cfg.IntOpt("most_claims", default=100, min=1, help="After so many workers died over a deployment it fails."),
    cfg.IntOpt("most_effects", default=20_000, min=100, help="Effects one deployment may have; then it fails."),
    cfg.FloatOpt(
        "deployment_timeout",
        default=86400.0,
        min=0.0,
        help="Seconds that a deployment may take once it has begun; then it ends as if it was cancelled. 0: any.",
    ),
    cfg.IntOpt("agent_timeout", default=3600, min=1, help="Seconds a script may take when its package names no limit."),
    cfg.BoolOpt("disable_murano_agent", default=False, help="Refuse to run scripts in servers."),
    cfg.StrOpt("class_configs", default="/etc/murano/class-configs", help="Folder with configuration of classes."),
    cfg.StrOpt("compile_cache", help="Folder, private to the engine, that keeps compiled packages between processes."),
    cfg.StrOpt("signing_key", help="PEM file with the RSA key that signs the plans of AMQP agents."),
    cfg.StrOpt(
        "agents", default="http", choices=["http", "amqp"], help="How agents in servers are reached: docs/agents.md."
    ),
    cfg.StrOpt("agent_source", default="chandlery-agent", help="What servers without an agent install at boot."),
    cfg.StrOpt("agent_url", help="Root URL under which agents in servers reach the API."),
    cfg.StrOpt(
        "agent_ca_certs", help="PEM file with the authority that signs the certificate of agent_url, if private."
    ),
    cfg.StrOpt("agent_proxy", help="HTTP proxy through which agents in servers reach agent_url."),
    cfg.StrOpt("agent_secret", secret=True, help="At least 16 characters, the same in all processes: boot tokens."),
)

RABBITMQ = (
    cfg.StrOpt("host", help="The broker of AMQP agents, as servers and this process reach it."),
    cfg.PortOpt("port", default=5672, help="Its AMQP port."),
    cfg.StrOpt("management_url", help="Its management API, as in https://broker:15671."),
    cfg.StrOpt("login", default="guest", help="An administrator of the broker; servers never get it."),
    cfg.StrOpt("password", default="guest", secret=True, help="Its password."),
    cfg.BoolOpt("ssl", default=False, help="Whether AMQP is over TLS."),
    cfg.BoolOpt("insecure", default=False, help="Do not check the broker's certificates."),
    cfg.StrOpt("ca_certs", help="PEM file with the authorities that sign them; servers get it, too."),
)

NETWORKING = (
    cfg.IntOpt("max_environments", default=250, min=1, help="Networks that share env_ip_template."),
    cfg.IntOpt("max_hosts", default=250, min=1, help="Addresses in each of these networks."),
    cfg.StrOpt("env_ip_template", default="10.0.0.0", help="First address of the range for environments' networks."),
    cfg.ListOpt("default_dns", default=[], help="Name servers of environments' networks."),
    cfg.StrOpt("external_network", default="ext-net", help="Id or name of the network with floating addresses."),
    cfg.StrOpt("router_name", default="murano-default-router", help="Router to which environments' networks attach."),
    cfg.BoolOpt("create_router", default=True, help="Create that router where it is missing."),
)

HEAT = (
    cfg.StrOpt("url", help="Endpoint of Heat, in place of the one in the service catalog."),
    cfg.StrOpt("endpoint_type", default="public", help="Interface looked up in the service catalog."),
    cfg.FloatOpt(
        "stack_timeout",
        default=3600.0,
        min=1.0,
        help="Seconds in which a stack has to follow its template, or be gone; then its deployment fails.",
    ),
    cfg.StrOpt("stack_tags", default="murano", help="Tags of stacks, separated by commas."),
)

DEFAULT = (cfg.StrOpt("home_region", help="Region of environments that name none."),)

GROUPS: Mapping[str | None, Sequence[cfg.Opt]] = {
    None: DEFAULT,
    "database": DATABASE,
    "messaging": broker.OPTIONS,
    "secrets": keys.OPTIONS,
    "engine": ENGINE,
    "networking": NETWORKING,
    "heat": HEAT,
    "rabbitmq": RABBITMQ,
    "notifications": notices.OPTIONS,
    "stats": notices.STATS,
}

SHARED = ("database", "messaging", "secrets")  # the API's sample has them

READABLE = (None, "engine", "networking", "heat", "rabbitmq")  # groups that `config()` of the core library may read ...
HIDDEN = ("agent_secret", "agent_url", "management_url", "login", "password")  # ... without these


def register(conf: cfg.ConfigOpts) -> None:
    """Makes the options known to a configuration; those that another part has made known stay as they are."""
    for group, options in GROUPS.items():
        for option in options:
            with contextlib.suppress(cfg.DuplicateOptError):
                conf.register_opt(option, group=group)


def list_options() -> list[tuple[str | None, list[cfg.Opt]]]:
    """For oslo-config-generator (entry point `oslo.config.opts`)."""
    return [(group, list(options)) for group, options in GROUPS.items() if group not in SHARED]


def load(files: Sequence[str] = (), overrides: Mapping[str | None, Mapping[str, Any]] | None = None) -> cfg.ConfigOpts:
    """A configuration from files, then `overrides` as `{group: {option: value}}`. Raises `oslo_config.cfg.Error`."""
    conf = cfg.ConfigOpts()
    register(conf)
    conf([], project="chandlery", default_config_files=list(files), default_config_dirs=[])
    for group, values in (overrides or {}).items():
        for name, value in values.items():
            conf.set_override(name, value, group=group)
    return conf


def readable(conf: cfg.ConfigOpts) -> dict[tuple[str | None, str], Any]:
    """What `config(group, name)` answers, by group (None: DEFAULT) and name."""
    answers: dict[tuple[str | None, str], Any] = {}
    for group in READABLE:
        for option in GROUPS[group]:
            if option.name not in HIDDEN:
                answers[group, option.name] = conf[option.name] if group is None else conf[group][option.name]
    return answers
