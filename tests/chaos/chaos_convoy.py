"""The convoy: a package whose deployment has ten effects for each ship, on a cloud with stacks and agents."""

from __future__ import annotations

import json
import pathlib
from functools import cache

import dsl
from dsl import packages as dsl_packages
from engine import system

HERE = pathlib.Path(__file__).parent
FOLDERS = (HERE.parents[1] / "packages" / "io.murano", HERE / "convoy")
SHIPS = ("anna", "berta", "clara")
EFFECTS = 31  # of a deployment: ten of each ship, and one id
PROJECT = "project-1"


@dsl.native
class Rigging:
    """Effects on clouds, as the core library's classes make them."""

    def __init__(self, this: dsl.ObjectHandle) -> None:
        self._this = this

    @dsl.method
    def report(self, entity: str, text: str) -> None:
        self._this.effect("report", entity_id=entity, level="info", text=text)

    @dsl.method
    def enrol(self, instance: str) -> dict:
        return self._this.effect("agent.register", instance_id=instance)

    @dsl.method
    def push(self, name: str, hull: str, access: dict, rigged: bool) -> dict:
        """A server whose boot data starts an agent, and a volume; a floating address when rigged."""
        server = {"name": hull, "user_data": json.dumps(access), "metadata": {"rigged": rigged}}
        resources = {
            "hull": {"type": "OS::Nova::Server", "properties": server},
            "hold": {"type": "OS::Cinder::Volume", "properties": {"size": 1}},
        }
        if rigged:
            resources["pennant"] = {"type": "OS::Nova::FloatingIP", "properties": {"pool": "ext-net"}}
        template = {
            "heat_template_version": "2013-05-23",
            "resources": resources,
            "outputs": {"address": {"value": {"get_attr": ["hull", "first_address"]}}},
        }
        stack = self._stack(name)
        return self._this.effect("heat.push", stack=stack, template=template, files={}, environment=None, parameters={})

    @dsl.method
    def run(self, instance: str, name: str) -> str:
        plan_id = self._this.effect("random.id")
        plan = {"FormatVersion": "2.0.0", "ID": plan_id, "Name": name, "Body": "return 0", "Scripts": {}}
        answer = self._this.effect(
            "agent.run",
            environment_id="",
            instance_id=instance,
            queue="",
            plan_id=plan_id,
            plan=plan,
            timeout=600,
            wait=True,
        )
        return answer["Body"]

    @dsl.method
    def delete(self, name: str) -> None:
        self._this.effect("heat.delete", stack=self._stack(name))

    def _stack(self, name: str) -> dict:
        return {"name": f"{self._this.system.environment_id}-{name}", "region": None}


def natives() -> dict[str, type]:
    return {**system.natives(), "convoy.Rigging": Rigging}


@cache
def opened() -> tuple[dsl_packages.Package, ...]:
    return tuple(dsl_packages.open_package(folder) for folder in FOLDERS)


def lock() -> list[dict]:
    """What a deployment of the convoy runs with. Workers have the packages open before they begin."""
    return [
        {
            "fqn": package.manifest.full_name,
            "version": str(package.manifest.version),
            "package_id": package.manifest.full_name,
            "digest": package.digest,
        }
        for package in opened()
    ]


def ships(environment_id: str, names: tuple[str, ...] = SHIPS) -> list[dict]:
    """The applications of an environment; ids are of the environment, as agents' ids are made of them."""
    return [{"?": {"type": "convoy.Ship", "id": f"{environment_id}-{name}"}, "name": name} for name in names]
