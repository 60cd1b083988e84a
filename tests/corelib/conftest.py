"""Programs under test: a model, the core library, a package made for the occasion, a world that records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from corelib_world import World

import dsl
from dsl import packages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def libraries() -> list[packages.Package]:
    """The packages under test, read once: a package does not change while it is open."""
    names = ("io.murano", "io.murano.applications")
    return [packages.open_package(ROOT / "packages" / name) for name in names]


@pytest.fixture
def world(caplog) -> Iterator[World]:
    """A world. No template that it is given may refer to what is not there, and no `.destroy` may fail: such failures
    are logged and otherwise go unnoticed.
    """
    world = World()
    yield world
    assert world.refused == []
    assert [record.getMessage() for record in caplog.get_records("call") if "failed" in record.getMessage()] == []


@pytest.fixture
def start(world, libraries, tmp_path):
    """start(model, classes={file name: text}): a loaded program. Later starts begin with what the earlier one left."""

    def start(
        model: dict,
        classes: dict[str, str] | None = None,
        resources: dict[str, str] | None = None,
        configurations: dict[str, dict] | None = None,
    ):
        opened = list(libraries)
        if classes:
            opened.append(_package(tmp_path / "package", classes, resources or {}))
        settings = configurations or {}
        runtime = dsl.Runtime(
            dsl.Library(opened), system=world, configurations=lambda name, _version: settings.get(name)
        )
        return runtime.load(model)

    return start


def _package(folder: Path, classes: dict[str, str], resources: dict[str, str]) -> packages.Package:
    (folder / "Classes").mkdir(parents=True, exist_ok=True)
    manifest = "Format: 1.4\nType: Application\nFullName: test.app\nVersion: 0.0.0\n"
    manifest += "Require:\n  io.murano.applications:\nClasses:\n"
    for name, text in classes.items():
        (folder / "Classes" / f"{name}.yaml").write_text(text)
        manifest += f"  test.app.{name}: {name}.yaml\n"
    (folder / "manifest.yaml").write_text(manifest)
    for name, text in resources.items():
        path = folder / "Resources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return packages.open_package(folder)
