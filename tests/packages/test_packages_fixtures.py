"""The tests that the packages carry themselves, run as an author runs them."""

from __future__ import annotations

import packages_cloud
import pytest

import dsl.testing
from engine import system

PACKAGES = {
    "org.chandlery.containers": 9,
    "org.chandlery.containers.Host": 4,
    "org.chandlery.kubernetes.Cluster": 5,
    "org.chandlery.kubernetes.Pod": 5,
    "org.chandlery.InfluxDB": 2,
    "org.chandlery.Grafana": 3,
}


@pytest.mark.parametrize(("name", "least"), PACKAGES.items())
def test_the_package_s_own_tests_pass(name: str, least: int) -> None:
    world = dsl.testing.OfflineSystem
    results = dsl.testing.run(packages_cloud.library(), name, system=lambda: world(system.natives()))
    assert results.ok, results.text()
    assert len(results.results) >= least
