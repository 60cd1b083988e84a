"""Who uses a package: packages whose `Require` it fulfils, directly or through others, and environments.

`packages_on(...)` and `environments_on(...)`. An environment uses what the lock of its newest deployment names.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import orm

from catalog import dependencies
from catalog.db import deployments, environments, packages
from dsl.packages import Version, VersionSpec

MOST = 1000  # of either kind that are told


@dataclasses.dataclass(frozen=True)
class Dependent:
    """A package version that requires another one: `requires` is what it says, of which package `through`."""

    id: str
    fqn: str
    version: str
    requires: str
    through: str
    direct: bool


@dataclasses.dataclass(frozen=True)
class User:
    """An environment that was last deployed with a package."""

    id: str
    name: str
    project_id: str


def packages_on(session: orm.Session, row: packages.Package, project_id: str) -> list[Dependent]:
    """The enabled packages a project can use that rest on this version, those that require it themselves first."""
    query = sa.select(
        packages.Package.id, packages.Package.fully_qualified_name, packages.Package.version, packages.Package.require
    ).where(packages.visible_to(project_id), packages.Package.enabled)
    requiring: dict[str, list[tuple[str, str, str, VersionSpec]]] = collections.defaultdict(list)
    for identifier, name, version, require in session.execute(query):
        specs = {each: VersionSpec.parse(spec) for each, spec in require.items()}
        if name != dependencies.CORE:
            specs.setdefault(dependencies.CORE, dependencies.CORE_SPEC)
        for each, spec in specs.items():
            requiring[each].append((identifier, name, version, spec))
    found: dict[str, Dependent] = {}
    waiting = collections.deque([(row.fully_qualified_name, row.version)])
    while waiting and len(found) < MOST:
        name, version = waiting.popleft()
        exact, direct = Version.coerce(version), name == row.fully_qualified_name
        for identifier, above, its_version, spec in requiring.get(name, ()):
            if identifier == row.id or identifier in found or not spec.matches(exact):
                continue
            found[identifier] = Dependent(identifier, above, its_version, spec.text, f"{name} {version}", direct)
            waiting.append((above, its_version))
    ordered = sorted(found.values(), key=lambda each: (not each.direct, each.fqn, Version.coerce(each.version)))
    return ordered[:MOST]


def environments_on(session: orm.Session, package_id: str, project_id: str | None) -> Sequence[User]:
    """The environments of a project, or of all, whose newest deployment was locked to this package."""
    newer = orm.aliased(deployments.Deployment)
    superseded = sa.exists().where(
        newer.environment_id == deployments.Deployment.environment_id,
        newer.created > deployments.Deployment.created,
    )
    environment = environments.Environment
    query = (
        sa.select(environment.id, environment.name, environment.project_id)
        .join(deployments.Deployment, deployments.Deployment.environment_id == environment.id)
        .where(sa.type_coerce(deployments.Deployment.lock, sa.Text).contains(f'"{package_id}"'), ~superseded)
        .order_by(environment.name, environment.id)
        .limit(MOST)
    )
    if project_id is not None:
        query = query.where(environment.project_id == project_id)
    return [User(*each) for each in dict.fromkeys(tuple(found) for found in session.execute(query))]
