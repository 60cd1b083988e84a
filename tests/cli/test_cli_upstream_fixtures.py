"""The tests that Murano's own packages carry, run by ``chandlery package test``.

They are not part of this project: ``CHANDLERY_PUBLIC_PACKAGES`` names a folder with a checkout of openstack/murano-apps
and with the folder ``meta`` of openstack/murano as ``murano/meta``. docs/testing-packages.md has the reason for each
that does not pass.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import pytest

import dsl
from cli import errors, main
from cli.commands.authoring import OFFLINE_ANSWERS
from dsl import testing
from engine import system

PUBLIC = pathlib.Path(os.environ.get("CHANDLERY_PUBLIC_PACKAGES") or "/nonexistent")
META = PUBLIC / "murano" / "meta"

PASSING = {
    "io.murano.applications.tests": {
        "TestReplication": ("testCreateDefault", "testCreateMultiple", "testScale"),
        "TestPoolReplicaProvider": ("testReplicas", "testReleaseReplicas"),
        "TestRoundrobinReplicaProvider": ("testReplicas",),
        "TestCompositeReplicaProvider": ("testReplicas",),
        "TestEvents": (
            "testSubscribeAndNotify",
            "testNotifyWithNoSubscribers",
            "testUnableToNotifyWithUnexpectedArgs",
            "testUnsubscribe",
            "testSubscribeManyNotifyOnce",
            "testUnsubscribeAsManyAsSubscribe",
            "testSubscribeSimple",
            "testHandleWithNoExtraArgs",
            "testUnableToSubscribeWithWrongMethod",
            "testUnableToSubscribeWithWrongSimpleMethod",
            "testUnableToSubscribeWithoutSender",
            "testUnableToSubscribeWithoutStandardArgs",
            "testMultipleSubscribers",
            "testEmitterWithEvent",
        ),
        "TestSoftwareComponent": (
            "testInstallReportingSequence",
            "testConfigureReportingSequence",
            "testCombinedSequence",
        ),
    },
    "org.openstack.test": {"RefStackClientTest": ("testDeploy",)},
    "io.murano.test": {},
}
MOCKED_SERVERS = (
    "testCreateSingleServer",
    "testServersHaveProperName",
    "testCreateMultipleServers",
    "testCreateScaleUp",
    "testCreateScaleDown",
    "testMultipleServersReporting",
    "testMultipleServersReportingNoGroupName",
    "testNoReportingIfSingleServer",
)
# test -> what it is said to fail with, which is the package's own mistake
FAILING = {
    "io.murano.applications.tests": {
        f"TestMockedServerFactory.{name}": 'Method "prepare" is not found' for name in MOCKED_SERVERS
    },
    "org.openstack.test": {},
    "io.murano.test": {"TomcatTest.testDeploy1": "StopIteration", "TomcatTest.testDeploy2": "StopIteration"},
}
NEEDS_META = pytest.mark.skipif(not META.is_dir(), reason="CHANDLERY_PUBLIC_PACKAGES names no folder with murano/meta")
NEEDS_APPS = pytest.mark.skipif(
    not (PUBLIC / "apps").is_dir(), reason="CHANDLERY_PUBLIC_PACKAGES names no folder with apps"
)


def expected(namespace: str) -> dict[str, str]:
    passing = {f"{cls}.{test}": "" for cls, tests in PASSING[namespace].items() for test in tests}
    return {f"{namespace}.{name}": message for name, message in {**passing, **FAILING[namespace]}.items()}


def by_command(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Test -> what it failed with, empty if it passed; run on the bundled core library."""
    status = main.main(["package", "test", str(folder), "-f", "json"])
    tests = json.loads(capsys.readouterr().out)["tests"]
    failed = {test["name"]: test["message"] for test in tests if test["outcome"] != "passed"}
    assert status == (errors.FAILED if failed else errors.OK)
    return {test["name"]: failed.get(test["name"], "") for test in tests}


def agree(found: dict[str, str], wanted: dict[str, str]) -> None:
    assert found.keys() == wanted.keys()
    assert {name for name, message in found.items() if not message} == {n for n, m in wanted.items() if not m}
    for name, message in wanted.items():
        assert message in found[name]


@NEEDS_META
def test_the_applications_library_of_murano_on_our_core_library(tmp_path, capsys) -> None:
    copy = shutil.copytree(META / "io.murano.applications", tmp_path / "io.murano.applications")  # away from its core
    found = by_command(copy, capsys)
    agree(found, expected("io.murano.applications.tests"))
    assert sum(not message for message in found.values()) == 24


@NEEDS_META
def test_the_applications_library_of_murano_on_its_own_core_library() -> None:
    natives = system.natives()
    broker = {"rabbitmq/host": "localhost", "rabbitmq/login": "guest", "rabbitmq/password": "guest"}
    run = testing.run(
        dsl.Library([META / "io.murano.applications", META / "io.murano"]),
        "io.murano.applications",
        system=lambda: testing.OfflineSystem(natives, configuration=broker, answers=OFFLINE_ANSWERS),
    )
    passed = {result.test.name for result in run.results if result.outcome == "passed"}
    assert passed == {name for name, message in expected("io.murano.applications.tests").items() if not message}


@NEEDS_APPS
@pytest.mark.parametrize(
    ("folder", "namespace"), [("RefStackClient", "org.openstack.test"), ("Tomcat", "io.murano.test")]
)
def test_the_applications_that_carry_tests(folder, namespace, capsys) -> None:
    agree(by_command(PUBLIC / "apps" / folder / "package", capsys), expected(namespace))
