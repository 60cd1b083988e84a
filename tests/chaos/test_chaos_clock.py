"""Clocks that are set: leases are measured by the database's, which an administrator or NTP may move."""

from __future__ import annotations

import signal

import pytest
from chaos_worker import COMMITTED, Doom
from chaos_world import PATIENCE, check_unharmed, wait_until

from catalog.db import deployments

HOUR = 3600.0


@pytest.fixture
def clock(tmp_path):
    path = tmp_path / "clock"
    path.write_text("0")
    return path


@pytest.fixture(scope="module")
def calm(world):
    deployment_id = world.submit(world.environment("calm"))
    world.worker(once=True, lease=600.0).join(PATIENCE)
    check_unharmed(world, deployment_id, seen := world.seen(deployment_id))
    return seen


def test_a_clock_set_back_does_not_keep_a_dead_workers_deployment_for_an_hour(world, calm, clock):
    deployment_id = world.submit(world.environment("set back"))
    dying = world.worker(doom=Doom(number=20, moment=COMMITTED), once=True, clock=clock, lease=1.0)
    dying.join(PATIENCE)
    assert dying.exitcode == -signal.SIGKILL
    clock.write_text(str(-HOUR))
    world.worker(clock=clock, lease=1.0, once=True).join(PATIENCE)
    check_unharmed(world, deployment_id, calm)


def test_a_clock_set_forward_makes_deployments_change_hands_and_no_more(world, calm, clock):
    deployment_id = world.submit(world.environment("set forward"))
    first = world.worker(
        clock=clock, once=True, lease=600.0, doom=Doom(number=20, moment=COMMITTED, signal=signal.SIGSTOP)
    )
    wait_until(lambda: [entry for entry in world.told("doomed") if entry["pid"] == first.pid], what="the first half")
    clock.write_text(str(HOUR))
    second = world.worker(clock=clock, once=True, lease=600.0)
    second.join(PATIENCE)
    with world.database.reading() as session:
        assert session.get_one(deployments.Deployment, deployment_id).fence == 2
    check_unharmed(world, deployment_id, calm)
