"""Every option of the catalog, and how a configuration is made: `load(files, overrides)`.

Options are oslo.config's, in groups named after the part of the service they set. `etc/chandlery.conf.sample` is
generated from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from catalog import audit, broker
from catalog.db import content_stores, keys

DATABASE = (
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/chandlery/catalog.sqlite",
        secret=True,
        help="SQLAlchemy URL of the database: sqlite:////file, postgresql+psycopg://... or mysql+pymysql://...",
    ),
)

API = (
    cfg.URIOpt(
        "public_url",
        help="The root URL under which clients reach the service, as it goes into the service catalog and into links. "
        "By default what the request was sent to.",
    ),
    cfg.IntOpt("body_limit", default=4, min=1, help="Largest request body other than a package upload, in MiB."),
    cfg.IntOpt("page_default", default=20, min=1, help="Packages on a page when the client names no limit."),
    cfg.IntOpt("page_limit", default=100, min=1, help="Most packages on a page, whatever limit the client names."),
    cfg.IntOpt(
        "event_streams", default=64, min=1, help="Event streams one process serves at once; each holds a thread."
    ),
    cfg.FloatOpt("event_interval", default=0.5, min=0.05, help="Seconds between looks for news in an event stream."),
    cfg.IntOpt(
        "idempotency_hours", default=24, min=1, help="Hours for which an answer is kept under its Idempotency-Key."
    ),
    cfg.IntOpt(
        "idempotency_patience",
        default=600,
        min=1,
        help="Seconds after which a request that was begun under an Idempotency-Key and never ended may be sent again: "
        "its process is dead by then. Longer than any request takes.",
    ),
    cfg.StrOpt(
        "admin_role", default="admin", help="Holders of this role are administrators: they act in every project."
    ),
)

IDENTITY = (
    cfg.StrOpt(
        "auth",
        default="embedded",
        choices=[
            ("embedded", "The service's own identity: a Keystone v3 subset under /identity/v3"),
            ("keystone", "OpenStack's Keystone, through keystonemiddleware and the group [keystone_authtoken]"),
        ],
        help="Who says who a request is from.",
    ),
    cfg.StrOpt("region", default="RegionOne", help="Region of the embedded identity's service catalog."),
    cfg.IntOpt("token_lifetime", default=24 * 3600, min=60, help="Seconds for which an embedded token is valid."),
    cfg.IntOpt("failures", default=5, min=1, help="Failed logins of a user in the window after which logins wait."),
    cfg.IntOpt("failure_window", default=60, min=1, help="Seconds for which a failed login counts."),
)

PACKAGES = (
    cfg.IntOpt("size_limit", default=5, min=1, help="Largest package archive, in MiB."),
    cfg.IntOpt("unpacked_limit", default=50, min=1, help="Largest sum of a package's unpacked files, in MiB."),
    cfg.IntOpt("file_limit", default=2000, min=1, help="Most files in a package."),
    cfg.BoolOpt(
        "create_categories",
        default=True,
        help="Whether an import from a repository makes missing categories for those who may add categories. "
        "An upload of an archive always needs existing ones.",
    ),
)

REPOSITORIES = (
    cfg.MultiStrOpt(
        "repository",
        default=[],
        help="A community repository as name=URL or name=/directory. Repeatable; the first that has a package wins.",
    ),
    cfg.MultiStrOpt(
        "root",
        default=[],
        help="The root.json that a repository's signatures are verified from, as name=/file. A repository with one is "
        "believed only as far as it is signed; one without is not asked for signatures. Repeatable.",
    ),
    cfg.StrOpt(
        "bundle_root", help="The same for offline bundles that are uploaded: with it, unsigned ones are refused."
    ),
    cfg.IntOpt("bundle_limit", default=64, min=1, help="Largest offline bundle that is uploaded, in MiB."),
    cfg.ListOpt(
        "allowed_hosts",
        default=[],
        help="Hosts that redirects of repositories and imports by URL may lead to though their addresses are private.",
    ),
    cfg.FloatOpt("timeout", default=20.0, min=0.1, help="Seconds a repository may take to connect or go on."),
    cfg.IntOpt("total_timeout", default=120, min=1, help="Seconds one file of a repository may take altogether."),
    cfg.IntOpt("index_limit", default=16, min=1, help="Largest index or bundle read from a repository, in MiB."),
    cfg.IntOpt("refresh", default=60, min=0, help="Seconds an index is used without asking for it again."),
    cfg.IntOpt("closure_size", default=200, min=1, help="Largest sum of the archives one import brings, in MiB."),
    cfg.IntOpt("closure_limit", default=200, min=1, help="Most packages one import brings."),
)

ENGINE = (
    cfg.IntOpt("check_timeout", default=60, min=1, help="Seconds to wait for a check or a schema."),
    cfg.IntOpt("plan_timeout", default=120, min=1, help="Seconds to wait for the engine's plan."),
    cfg.IntOpt("reconcile_timeout", default=120, min=1, help="Seconds to wait for a look at all stacks of a project."),
    cfg.IntOpt("static_action_timeout", default=60, min=1, help="Seconds to wait for the result of a static action."),
)

TRUSTS = (
    cfg.BoolOpt(
        "use_trusts",
        default=True,
        help="With Keystone: who deploys lends the service's user the right to work in the project, by a trust. "
        "Without, the service's user needs a role in every project. For API and engine alike.",
    ),
)

# The engine has the same ones, and more: one file configures both.
SERVICE_USER = (
    cfg.StrOpt("auth_url", help="Keystone, as in http://controller:5000/v3."),
    cfg.StrOpt("username", default="murano", help="The service's user: who is trusted, and who works on stacks."),
    cfg.StrOpt("password", secret=True, help="Its password."),
    cfg.StrOpt("user_domain_name", default="Default", help="Its domain."),
    cfg.StrOpt("cafile", help="PEM file with the authorities that sign OpenStack's certificates."),
    cfg.BoolOpt("insecure", default=False, help="Do not check certificates."),
)

NETWORKING = (
    cfg.StrOpt(
        "driver",
        default="neutron",
        choices=["neutron", "nova"],
        help="Kind of the default network a new environment is given.",
    ),
    cfg.StrOpt(
        "network_config_file",
        help="JSON or YAML file with the default networks of new environments, in place of the driver's; "
        "%ENV% in it stands for the environment's name.",
    ),
)

METRICS = (
    cfg.BoolOpt("enabled", default=True, help="Whether GET /metrics has the numbers of the service for Prometheus."),
    cfg.ListOpt(
        "networks",
        default=["127.0.0.0/8", "::1/128"],
        help="Networks whose addresses may read them without a token, unless a proxy stands between.",
    ),
    cfg.StrOpt(
        "token",
        secret=True,
        help="Whoever sends this as `Authorization: Bearer ...` may read them from anywhere. By default nobody.",
    ),
)

AUDIT = (
    cfg.StrOpt(
        "driver",
        default=audit.OFF,
        choices=["noop", "messagingv2", "messaging", "log", "test"],
        help="oslo.messaging's notification driver that audit events go through; noop sends none.",
    ),
    cfg.StrOpt(
        "transport_url",
        secret=True,
        help="oslo.messaging URL of the broker of audit events, where it is not the one of [messaging] transport_url.",
    ),
    cfg.ListOpt("topics", default=["notifications"], help="Topics of audit events; consumers listen to <topic>.info."),
    cfg.StrOpt("exchange", default="chandlery", help="Exchange of audit events."),
    cfg.IntOpt("retry", default=3, min=-1, help="How often an event is tried to be sent; -1 is for ever."),
)

CORS = (
    cfg.ListOpt(
        "allowed_origin",
        default=[],
        help="Origins whose scripts may call the API from a browser, as https://portal.example.org. By default none.",
    ),
    cfg.IntOpt("max_age", default=3600, min=0, help="Seconds a browser may remember what is allowed."),
)

GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    "database": DATABASE,
    "secrets": keys.OPTIONS,
    "api": API,
    "identity": IDENTITY,
    "packages": (*PACKAGES, *content_stores.OPTIONS),
    "repositories": REPOSITORIES,
    "engine_rpc": ENGINE,
    "engine": TRUSTS,
    "murano_auth": SERVICE_USER,
    "networking": NETWORKING,
    "messaging": broker.OPTIONS,
    "metrics": METRICS,
    "audit": AUDIT,
    "cors": CORS,
}


def register(conf: cfg.ConfigOpts) -> None:
    """Makes the options known to a configuration."""
    for group, options in GROUPS.items():
        conf.register_opts(options, group=group)


def list_options() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator (entry point `oslo.config.opts`)."""
    return [(group, list(options)) for group, options in GROUPS.items()]


def load(
    files: Sequence[str] = (), overrides: Mapping[str, Mapping[str, Any]] | None = None, arguments: Sequence[str] = ()
) -> cfg.ConfigOpts:
    """A configuration from files, later ones winning, then `overrides` as `{group: {option: value}}`.

    Raises `oslo_config.cfg.Error` for a file that is missing or a value that does not fit its option.
    """
    conf = cfg.ConfigOpts()
    register(conf)
    conf(list(arguments), project="chandlery", default_config_files=list(files), default_config_dirs=[])
    for group, values in (overrides or {}).items():
        for name, value in values.items():
            conf.set_override(name, value, group=group)
    return conf
