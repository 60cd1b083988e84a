"""The commands, one module per subject; each has ``register(subparsers, shared)``."""

from __future__ import annotations

from cli.commands import (
    action,
    bundle,
    database,
    demo,
    deployment,
    environment,
    lab,
    package,
    plan,
    repository,
    secrets,
    serve,
)

COMMANDS = (serve, demo, repository, package, bundle, environment, plan, deployment, action, lab, database, secrets)
