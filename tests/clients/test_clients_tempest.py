"""Murano's own API tests, from its tempest plugin, unmodified against a running service: all of them pass."""

from __future__ import annotations

import pathlib
import re
import subprocess
import uuid

import clients_world
import pytest
import yaml
from clients_environment import installed, without_openstack

from catalog import identity

MODULES = "murano_tempest_tests.tests.api.application_catalog"
TESTS = 109  # all of the application catalog but those of glare, which are skipped
MEMBERS, ADMINS = 48, 24  # accounts; tests lock what they use, and count what is in a project
SECONDS = 1500
CONFIGURATION = """\
[DEFAULT]
log_dir = {folder}
log_file = tempest.log
[oslo_concurrency]
lock_path = {folder}
[auth]
use_dynamic_credentials = false
test_accounts_file = {folder}/accounts.yaml
[identity]
uri_v3 = {auth_url}
auth_version = v3
region = RegionOne
[service_available]
murano = true
glare = false
murano_cfapi = false
cinder = false
neutron = false
nova = false
glance = false
swift = false
"""


@pytest.mark.parametrize("world", ["embedded"], indirect=True)
def test_murano_s_own_api_tests_pass(world: clients_world.World, tmp_path: pathlib.Path) -> None:
    programs = installed("tempest", "tempest>=40", "murano-tempest-plugin>=2.7", "setuptools<81")
    (tmp_path / "accounts.yaml").write_text(yaml.safe_dump(accounts(world)))
    (tmp_path / "tempest.conf").write_text(CONFIGURATION.format(folder=tmp_path, auth_url=world.auth_url))
    [package] = programs.parent.glob("lib/python*/site-packages/murano_tempest_tests/tests/api/application_catalog")
    modules = [f"{MODULES}.{path.stem}" for path in sorted(package.glob("test_*.py"))]
    assert len(modules) >= 15
    finished = subprocess.run(
        [programs / "python", "-m", "unittest", *modules],
        env=without_openstack({"TEMPEST_CONFIG_DIR": str(tmp_path), "TEMPEST_CONFIG": "tempest.conf"}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    ran = re.search(r"^Ran (\d+) tests", finished.stderr, re.MULTILINE)
    assert ran, finished.stderr[-5000:]
    assert finished.returncode == 0, finished.stderr[-15000:]
    assert int(ran[1]) >= TESTS
    assert "skipped=" not in finished.stderr, finished.stderr[-3000:]


def accounts(world: clients_world.World) -> list[dict[str, object]]:
    """Users of the embedded identity, each alone in a project, as tempest's accounts file lists them."""
    listed: list[dict[str, object]] = []
    with world.database.transaction() as session:
        for number in range(MEMBERS + ADMINS):
            roles = ["member"] if number < MEMBERS else ["admin", "member"]
            name = clients_world.unique("tempest")
            made = identity.add_account(session, name, name, roles, uuid.uuid4().hex)
            listed.append(
                {
                    "username": made.name,
                    "password": made.password,
                    "project_name": made.project,
                    "domain_name": "Default",
                    "roles": roles,
                    "types": ["admin"] if "admin" in roles else [],
                }
            )
    return listed
