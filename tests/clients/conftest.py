"""The service on the embedded identity and behind a real Keystone, and the clients' own environments."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import clients_keystone
import clients_world
import pytest
from clients_environment import installed
from clients_world import Person, World

HERE = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is in this folder installs programs from the registry: `tox -e clients`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.clients)


@pytest.fixture(scope="session")
def programs() -> pathlib.Path:
    """Where `murano` and `openstack` are."""
    return installed("murano", "python-muranoclient>=2.8", "python-openstackclient>=6", "setuptools<81")


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clients_keystone.Keystone]:
    """A real Keystone."""
    with clients_keystone.running(tmp_path_factory.mktemp("keystone")) as running:
        yield running


@pytest.fixture(scope="session", params=["embedded", "keystone"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The service, once with each identity."""
    known = request.getfixturevalue("keystone") if request.param == "keystone" else None
    with clients_world.running(tmp_path_factory.mktemp("world"), known) as running:
        yield running


@pytest.fixture
def member(world: World) -> Person:
    """Somebody who works in a project."""
    return world.member


@pytest.fixture
def admin(world: World) -> Person:
    """An administrator."""
    return world.admin
