"""Every table of the database, by importing every module that defines some: for migrations and for tests."""

from __future__ import annotations

from catalog.db import (
    agents,
    categories,
    deployments,
    environments,
    idempotency,
    identity,
    installation,
    instance_stats,
    journal,
    notices,
    outputs,
    packages,
    plans,
    repositories,
    resealing,
    resources,
    session_locks,
    sessions,
    statuses,
    templates,
)
from catalog.db.base import Base

__all__ = [
    "METADATA",
    "agents",
    "categories",
    "deployments",
    "environments",
    "idempotency",
    "identity",
    "installation",
    "instance_stats",
    "journal",
    "notices",
    "outputs",
    "packages",
    "plans",
    "repositories",
    "resealing",
    "resources",
    "session_locks",
    "sessions",
    "statuses",
    "templates",
]

METADATA = Base.metadata
