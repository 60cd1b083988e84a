"""The harbour: a small package whose ships reach the world through every kind of effect."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from functools import cache, lru_cache

import dsl
from catalog.db import base, contents, packages
from dsl import packages as dsl_packages
from engine import deployment, system
from engine.packages import PackageStore

HERE = pathlib.Path(__file__).parent
BUNDLED = HERE.parent.parent / "packages"
CORE = BUNDLED / "io.murano"
NETWORKS = {
    "environment": {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "network"}, "name": "harbour-network"},
    "flat": None,
}


@dsl.native
class Crane:
    """Every kind of effect under a short name."""

    def __init__(self, this: dsl.ObjectHandle) -> None:
        self._this = this

    @dsl.method
    def report(self, entity: str, text: str) -> None:
        self._this.effect("report", entity_id=entity, level="info", text=text)

    @dsl.method
    def complain(self, entity: str, text: str) -> None:
        self._this.effect("report", entity_id=entity, level="error", text=text)

    @dsl.method
    def push(self, name: str, cargo: int) -> dict:
        resources = {"hull": {"type": "OS::Nova::Server", "properties": {"cargo": cargo}}}
        outputs = {"address": {"value": {"get_attr": ["hull", "first_address"]}}}
        template = {"heat_template_version": "2013-05-23", "resources": resources, "outputs": outputs}
        stack = {"name": f"ship-{name}", "region": None}
        return self._this.effect("heat.push", stack=stack, template=template, files={}, environment=None, parameters={})

    @dsl.method
    def delete(self, name: str) -> None:
        self._this.effect("heat.delete", stack={"name": f"ship-{name}", "region": None})

    @dsl.method
    def run(self, instance: str, name: str) -> str:
        plan_id = self._this.effect("random.id")
        plan = {"FormatVersion": "2.0.0", "ID": plan_id, "Name": name, "Body": "return haul().stdout", "Scripts": {}}
        answer = self._this.effect(
            "agent.run",
            environment_id="",
            instance_id=instance,
            queue="",
            plan_id=plan_id,
            plan=plan,
            timeout=60,
            wait=True,
        )
        return answer["Body"]


def natives() -> dict[str, type]:
    return {**system.natives(), "harbour.Crane": Crane}


@cache
def opened(folder: pathlib.Path) -> dsl_packages.Package:
    return dsl_packages.open_package(folder)


@cache
def opened_archive(archive: bytes) -> dsl_packages.Package:
    return dsl_packages.open_package(archive)


def publish(database: base.Database, *folders: pathlib.Path) -> list[dict]:
    """Puts packages into the catalog, unless they are there; the lock that names them."""
    return publish_packages(database, [opened(folder) for folder in folders])


def publish_packages(database: base.Database, given: Iterable[dsl_packages.Package]) -> list[dict]:
    lock = []
    with database.transaction() as session:
        for package in given:
            manifest = package.manifest
            known = packages.owned(session, "project-1", manifest.full_name)
            row = (
                known[0]
                if known
                else packages.Package(
                    fully_qualified_name=manifest.full_name,
                    version=str(manifest.version),
                    owner_id="project-1",
                    name=manifest.name,
                    type="Library",
                    format="MuranoPL/1.4",
                    description="",
                    author="",
                    supplier={},
                    require={},
                    digest=package.digest,
                    archive_digest=contents.store(session, package.archive()),
                    class_definitions=[packages.ClassDefinition(name=name) for name in manifest.classes],
                )
            )
            session.add(row)
            session.flush()
            lock.append(
                {
                    "fqn": manifest.full_name,
                    "version": str(manifest.version),
                    "package_id": row.id,
                    "digest": package.digest,
                }
            )
    return lock


def harbour(database: base.Database) -> list[dict]:
    """The harbour and the core library in the catalog; their lock."""
    return publish(database, CORE, HERE / "harbour")


def fleet(*names: str) -> list[dict]:
    return [{"?": {"type": "harbour.Ship", "id": name}, "name": name} for name in names]


def of_harbour(*ships: dict):
    """A change of an environment's model into a harbour with these ships."""

    def change(model: dict) -> dict:
        root = {**model["Objects"], "?": {**model["Objects"]["?"], "type": "harbour.Environment"}}
        return {**model, "Objects": {**root, "services": list(ships)}}

    return change


@lru_cache(maxsize=2)
def _store_of(database: base.Database) -> PackageStore:
    """One store for all workers of a test, as in a process that runs many deployments."""
    return PackageStore(database)


def deployments_on(database: base.Database, cloud, **settings) -> deployment.Deployments:
    """What a worker runs, on a cloud that the test looks into."""
    return deployment.Deployments(
        database,
        _store_of(database),
        lambda context: cloud.cloud(),
        natives(),
        deployment.EngineSettings(**settings),
    )
