"""A catalog with packages nobody here wrote, an engine, and a cloud that records: all that a story needs.

The catalog is a real database, the packages are checked and locked as uploads and deployments are, deployments run with
their journal. Only the cloud is played: what it was asked for is written down in order, and agents answer by script.
"""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import public_forms
from public_cloud import ScriptedCloud

import dsl
from catalog import dependencies
from catalog import packages as catalog_packages
from catalog.db import base, deployments, environments, instance_stats, sessions, statuses
from dsl import packages
from engine import check, deployment, lease, system
from engine.packages import PackageStore

PROJECT = "project-1"
USER = "user-1"
BUNDLED = Path(__file__).parents[2] / "packages"
LIMITS = packages.ArchiveLimits()
REGIONS = """
regionConfigs:
  RegionOne: {agentRabbitMq: {host: broker.one, login: agents, password: secret}}
  RegionTwo: {agentRabbitMq: {host: broker.two, login: agents, password: secret}}
"""
BUILT = {  # what a build script of the package's repository would put into it
    "io.murano.apps.lbaas.LBaaS": "lbaas.tar.gz.bs64",
    "io.murano.apps.lbaas.F5BigIPLTM": "f5-lbaas-driver.tar.gz.bs64",
}


class Installation:
    """The catalog of one project with all packages of a folder. `refused` are those that no upload would get in."""

    def __init__(self, database: base.Database, folder: Path, workplace: Path) -> None:
        (workplace / "io.murano.Environment.yaml").write_text(REGIONS)
        self.database = database
        self.refused: dict[str, str] = {}
        self.packages: dict[tuple[str, str], packages.Package] = {}
        self.folders = [
            path.parent for path in sorted(folder.rglob("manifest.yaml")) if (path.parent / "Classes").is_dir()
        ]
        self._natives = system.natives()
        self._store = PackageStore(database, str(workplace / "compiled"))
        self._clouds: dict[str, ScriptedCloud] = {}
        self._deployments = deployment.Deployments(
            database,
            self._store,
            lambda context: self._clouds[context.environment_id].cloud(),
            self._natives,
            deployment.EngineSettings(class_configs=str(workplace)),
        )
        with database.transaction() as session:
            for path in [BUNDLED / "io.murano", BUNDLED / "io.murano.applications", *self.folders]:
                package = packages.open_package(path)
                if package.manifest.full_name in BUILT:
                    package = _built(package.manifest.full_name, path, workplace)
                self._upload(session, package)

    def _upload(self, session: Any, package: packages.Package) -> None:
        manifest = package.manifest
        try:
            opened = catalog_packages.open_archive(package.archive(), LIMITS)
        except dsl.PackageError as error:
            self.refused[manifest.full_name] = str(error)
            return
        catalog_packages.store(session, opened, owner_id=PROJECT)
        self.packages[manifest.full_name, str(manifest.version)] = package

    def environment(self, name: str, cloud: ScriptedCloud) -> Environment:
        environment_id = base.new_id()
        network = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "network"}, "name": f"{name}-network"}
        root = {
            "?": {"type": "io.murano.Environment", "id": environment_id},
            "name": name,
            "defaultNetworks": {"environment": network, "flat": None},
            "services": [],
        }
        model = {"Objects": root, "Attributes": [], "project_id": PROJECT, "user_id": USER}
        with self.database.transaction() as session:
            session.add(environments.Environment(id=environment_id, name=name, project_id=PROJECT, model=model))
        self._clouds[environment_id] = cloud
        return Environment(self, environment_id, cloud)

    def form(self, name: str, key: str, /, **values: Any) -> dict[str, Any]:
        """The object that the form of a package posts. `name` may end with `/` and the beginning of a version."""
        values = {field.replace("__", "."): value for field, value in values.items()}
        return public_forms.fill_in(self.package(name), key, values)

    def package(self, name: str) -> packages.Package:
        full_name, _, version = name.partition("/")
        return next(
            package
            for (found, number), package in self.packages.items()
            if found == full_name and number.startswith(version or "0")
        )

    def problems(self, model: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the check finds in a model."""
        with self.database.reading() as session:
            lock = dependencies.lock_of(session, PROJECT, model)
        return check.problems(self._store.library(lock), model, self._natives, check.Providers(self.database), PROJECT)

    def run(self, deployment_id: str) -> None:
        """Claims a deployment and runs it to its end, as a worker does."""
        with self.database.transaction() as session:
            fence = deployments.claim(session, deployment_id, "worker", 60.0)
        assert fence == 1
        with lease.Lease(self.database, deployment_id, "worker", fence, seconds=60.0) as held:
            self._deployments.run(held)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a client sees of a deployment that has ended."""

    state: str | None  # of its session
    result: Mapping[str, Any]
    reports: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass
class Environment:
    """One environment, through its deployments."""

    installation: Installation
    id: str
    cloud: ScriptedCloud
    acted: set[tuple[str, str]] = field(default_factory=set)

    def add(self, *applications: dict[str, Any]) -> None:
        self._change(lambda services: [*services, *applications])

    def remove(self, *keys: str) -> None:
        self._change(lambda services: [each for each in services if each["?"]["id"] not in keys])

    def set(self, key: str, **properties: Any) -> None:
        """Changes properties of an application of the composition."""
        self._change(lambda services: [each | properties if each["?"]["id"] == key else each for each in services])

    def _change(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        with self.installation.database.transaction() as session:
            environment = environments.get(session, self.id)
            root = environment.model["Objects"]
            environment.model = {**environment.model, "Objects": {**root, "services": change(root["services"])}}

    @property
    def model(self) -> dict[str, Any]:
        with self.installation.database.reading() as session:
            return environments.get(session, self.id).model

    def object(self, key: str) -> dict[str, Any]:
        """The object of the model with an id."""
        return next(found for found in objects_of(self.model["Objects"]) if found["?"]["id"] == key)

    def actions(self, classes: Collection[str]) -> set[tuple[str, str]]:
        """(id, name) of the actions that a dashboard offers for objects of these classes."""
        return {
            (found["?"]["id"], action["name"])
            for found in objects_of(self.model["Objects"])
            for action in (found["?"].get("_actions") or {}).values()
            if found["?"]["type"].partition("/")[0] in classes
        }

    def problems(self) -> list[dict[str, Any]]:
        return self.installation.problems(self.model)

    def deploy(self) -> Outcome:
        return self._run("deploy", {"object_id": self.id, "method": "deploy", "args": {}})

    def act(self, key: str, method: str, **arguments: Any) -> Outcome:
        self.acted.add((key, method))
        return self._run("action", {"object_id": key, "method": method, "args": arguments})

    def delete(self) -> Outcome:
        return self._run("delete", None)

    def _run(self, kind: str, action: dict[str, Any] | None) -> Outcome:
        database = self.installation.database
        with database.transaction() as session:
            environment = environments.get(session, self.id)
            opened = sessions.open_for(session, environment, USER)
            lock = dependencies.lock_of(session, PROJECT, opened.model)
            if kind == "delete":
                opened.model = {**opened.model, "Objects": None}
            opened.state = sessions.DELETING if kind == "delete" else sessions.DEPLOYING
            row = deployments.submit(
                session,
                environment_id=self.id,
                session_id=opened.id,
                project_id=PROJECT,
                user_id=USER,
                kind=kind,
                action=action,
                model=opened.model,
                lock=lock,
            )
            deployment_id, session_id = row.id, opened.id
        self.installation.run(deployment_id)
        with database.reading() as session:
            row = session.get(deployments.Deployment, deployment_id)
            opened = session.get(sessions.Session, session_id)
            told = statuses.of_deployment(session, deployment_id)
            return Outcome(
                state=opened and opened.state,
                result=(row and row.result) or {},
                reports=tuple(self.cloud.named(status.text) for status in told),
                errors=tuple(status.text for status in told if status.level == "error"),
            )

    def is_gone(self) -> bool:
        with self.installation.database.reading() as session:
            return environments.get(session, self.id) is None

    def counted(self, kind: int = instance_stats.SERVER) -> dict[str, bool]:
        """The servers (or applications) that were counted in, and whether they still are."""
        with self.installation.database.reading() as session:
            rows = session.query(instance_stats.InstanceStats).filter_by(environment_id=self.id).all()
            return {row.instance_id: row.destroyed is None for row in rows if row.instance_type == kind}


def _built(name: str, folder: Path, workplace: Path) -> packages.Package:
    """A copy of a package with the archive of its own scripts that it is shipped without."""
    copied = workplace / name
    shutil.copytree(folder, copied)
    scripts = copied / "Resources" / "scripts"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(scripts, arcname="scripts")
    (scripts / BUILT[name]).write_bytes(base64.encodebytes(packed.getvalue()))
    return packages.open_package(copied)


def objects_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("?"), dict):
            yield value
        for item in value.values():
            yield from objects_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_of(item)
