"""Clouds that fail now and then, and answers that are lost, late or doubled: deployments end as on a good day."""

from __future__ import annotations

import pytest
from chaos_convoy import SHIPS
from chaos_guests import Mishaps
from chaos_heat import REFUSALS, Fault, Trouble
from chaos_world import PATIENCE, check_unharmed

from catalog.db import deployments

LONG = 600.0  # a lease that outlasts any busy moment: these workers do not die


@pytest.fixture(scope="module")
def calm(world):
    worker = world.worker(once=True, lease=LONG)
    deployment_id = world.submit(world.environment("calm"))
    worker.join(PATIENCE)
    seen = world.seen(deployment_id)
    check_unharmed(world, deployment_id, seen)
    return seen


@pytest.fixture
def weather(world):
    """The world, which is fair again afterwards."""
    yield world
    world.end_workers()
    world.heat.faults = lambda request: None
    world.guests.mishaps = Mishaps()


def test_a_bad_day_of_heat_and_agents_is_not_seen_in_the_end(weather, calm, seed):
    """Refused, broken, away, dropped and unheard requests; plans and results lost on their way, or sent twice."""
    trouble = Trouble(seed, 0.3)
    mishaps = Mishaps(seed, 0.4)
    weather.heat.faults, weather.guests.mishaps = trouble, mishaps
    ids = [weather.submit(weather.environment(f"bad day {number}")) for number in range(4)]
    weather.worker(lease=LONG)
    weather.wait_for_the_end(*ids)
    for each in ids:
        check_unharmed(weather, each, calm)
    assert trouble.happened.total() > 4
    assert mishaps.happened.total() > 2


@pytest.mark.chaos
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_each_kind_of_failure_of_each_kind_of_request(weather, calm, method):
    """The first requests of a kind fail in every way, one after the other."""
    kinds = [
        kind for kind in (*REFUSALS, Fault.DROPPED, Fault.UNHEARD) if method != "GET" or kind is not Fault.CONFLICT
    ]
    left = {}

    def fail(request):
        """Two failures, then none: Heat is asked four times before a deployment fails."""
        number = SHIPS.index(request.stack.rpartition("-")[2])
        waiting = left.setdefault(number, kinds[2 * number : 2 * number + 2])
        return waiting.pop(0) if request.method == method and waiting else None

    weather.heat.faults = fail
    deployment_id = weather.submit(weather.environment(f"failing {method}"))
    weather.worker(lease=LONG, once=True).join(PATIENCE)
    check_unharmed(weather, deployment_id, calm)
    assert not any(left.values())


@pytest.mark.chaos
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(weather, calm, method):
    late = []

    def fail(request):
        if request.method == method and len(late) < 2:
            late.append(request)
            return Fault.SLOW
        return None

    weather.heat.faults, weather.heat.slow_seconds = fail, 12.0
    deployment_id = weather.submit(weather.environment(f"late {method}"))
    weather.worker(lease=LONG, once=True, heat_timeout=10.0).join(PATIENCE)
    check_unharmed(weather, deployment_id, calm)
    assert len(late) == 2


def test_a_heat_that_stays_away_fails_the_deployment_with_the_reason(weather):
    weather.heat.faults = lambda request: Fault.AWAY
    deployment_id = weather.submit(weather.environment("away"))
    weather.worker(lease=LONG, once=True).join(PATIENCE)
    with weather.database.reading() as session:
        result = session.get_one(deployments.Deployment, deployment_id).result
    assert result["isException"]
    assert "Heat does not answer" in result["result"]["message"]
