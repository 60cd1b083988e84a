"""The commands, one module per subject; each has ``register(subparsers, shared)``."""

from __future__ import annotations

from cli.commands import action, database, demo, deployment, environment, lab, package, repository, serve

COMMANDS = (serve, demo, repository, package, environment, deployment, action, lab, database)
