"""Workers killed and stopped at the boundaries of a deployment's journal, in processes of their own.

Between two transactions nothing durable happens but calls of the cloud; so a worker is killed before each transaction,
with everything written and nothing committed, and after it; and while Heat and agents are at work for it.
"""

from __future__ import annotations

import os
import random
import signal
import threading

import chaos_convoy
import pytest
from chaos_worker import BEFORE, COMMITTED, MOMENTS, UNCOMMITTED, Doom
from chaos_world import PATIENCE, World, check_unharmed, effects_id, is_stopped, wait_until

from catalog.db import resources

AT_A_TIME = 8
DAILY = 5
LONG = 600.0  # a lease that ends when the test says so


@pytest.fixture(
    scope="module",
    params=["sqlite", *(pytest.param(kind, marks=pytest.mark.chaos) for kind in ("postgresql", "mariadb"))],
)
def world(request, tmp_path_factory):
    with World(request.getfixturevalue(request.param), tmp_path_factory.mktemp("world")) as found:
        found.kind = request.param
        yield found


@pytest.fixture(scope="module")
def calm(world):
    """What an undisturbed deployment leaves, and how many transactions it makes."""
    deployment_id = world.submit(world.environment("calm"))
    worker = world.worker(once=True)
    worker.join(PATIENCE)
    assert worker.exitcode == 0
    seen = world.seen(deployment_id)
    assert seen.state == ("finished", {"result": len(chaos_convoy.SHIPS), "isException": False}, "deployed", 1)
    check_unharmed(world, deployment_id, seen)
    writes = sum(1 for entry in world.told("wrote") if entry["pid"] == worker.pid)
    assert writes > chaos_convoy.EFFECTS
    return seen, writes


def kills(writes):
    return [Doom(number=number, moment=moment) for number in range(1, writes + 1) for moment in MOMENTS]


def test_killed_at_some_boundaries_a_deployment_ends_as_if_it_had_not_been(world, calm, seed):
    survive(world, calm[0], random.Random(seed).sample(kills(calm[1]), DAILY))


@pytest.mark.chaos
def test_killed_at_every_boundary_a_deployment_ends_as_if_it_had_not_been(world, calm):
    """Three moments of each transaction."""
    dooms = kills(calm[1])
    for first in range(0, len(dooms), AT_A_TIME):
        survive(world, calm[0], dooms[first : first + AT_A_TIME])


def survive(world, calm, dooms):
    """Each worker dies in its own deployment; one successor ends them all; then everything is deleted again."""
    ids = {world.environment(f"{doom.moment} {doom.number}"): doom for doom in dooms}
    ids = {world.submit(environment_id): environment_id for environment_id in ids}
    workers = {
        worker.pid: (worker, doom)
        for doom in dooms
        for worker in [world.worker(doom=doom, concurrency=1, once=True, lease=LONG)]
    }
    for worker, _doom in workers.values():
        worker.join(PATIENCE)
    assert {worker.exitcode for worker, _doom in workers.values()} == {-signal.SIGKILL}
    before = {each: world.outcomes(each) for each in ids}
    unfinished = [each for each in ids if not world.ended(each)]
    world.let_the_leases_run_out(*unfinished)
    claims = {
        entry["deployment"]: workers[entry["pid"]][1] for entry in world.told("claimed") if entry["pid"] in workers
    }
    successor = world.worker(concurrency=AT_A_TIME, lease=LONG)
    world.wait_for_the_end(*ids)
    for each in ids:
        try:
            check_unharmed(world, each, calm, before[each])
        except AssertionError as error:
            raise AssertionError(f"killed at {claims.get(each)}: {error}") from error
    deletions = [world.submit(environment_id, kind="delete") for environment_id in ids.values()]
    world.wait_for_the_end(*deletions)
    successor.kill()
    assert not [there for environment_id in ids.values() for there in world.heat.alive(environment_id)]
    for environment_id in ids.values():
        check_receipt(world, environment_id)


def check_receipt(world, environment_id):
    """The receipt has every resource that Heat ever made, and says of each what Heat's own record says."""
    made = {key: "there" if what == "created" else "gone" for key, what in world.heat.made(environment_id).items()}
    assert made
    rows = [row for row in world.receipt(environment_id) if row.type != resources.STACK]
    assert {row.physical_id: row.state for row in rows} == made
    assert len(rows) == len(made)


def test_killed_in_the_middle_of_a_deletion_the_receipt_has_every_resource_that_heat_ever_made(world, calm, seed):
    """Killed when Heat has heard of the deletion and nobody will hear its answer, and at a boundary of the journal."""
    environments = [world.environment(f"torn down {number}", chaos_convoy.SHIPS[:2]) for number in range(2)]
    ids = [world.submit(each) for each in environments]
    worker = world.worker(lease=LONG)
    world.wait_for_the_end(*ids)
    worker.kill()
    worker.join()
    for each in environments:
        check_receipt(world, each)
    deletions = {each: world.submit(each, kind="delete") for each in environments}
    workers = []  # the first is killed while Heat is at work, the second by its doom

    def kill(request):
        claims = {entry["deployment"]: entry["pid"] for entry in world.told("claimed")}
        mine = next((each for each in environments if request.stack.startswith(each)), None)
        if request.method == "DELETE" and mine is not None and claims[deletions[mine]] == workers[0].pid:
            os.kill(workers[0].pid, signal.SIGKILL)

    world.heat.heard = kill
    try:
        doom = Doom(number=random.Random(seed).randint(2, 5), moment=UNCOMMITTED)
        for each in (None, doom):
            workers.append(world.worker(doom=each, concurrency=1, once=True, lease=LONG))
        for each in workers:
            each.join(PATIENCE)
    finally:
        world.heat.heard = lambda request: None
    assert [each.exitcode for each in workers] == [-signal.SIGKILL] * 2
    world.let_the_leases_run_out(*deletions.values())
    successor = world.worker(lease=LONG)
    world.wait_for_the_end(*deletions.values())
    successor.kill()
    for each in environments:
        assert not world.heat.alive(each)
        check_receipt(world, each)
        assert {row.state for row in world.receipt(each)} == {resources.GONE}


def test_killed_while_heat_or_an_agent_is_at_work_a_deployment_ends_as_if_it_had_not_been(world, calm):
    """The world has heard the worker, who will never hear the answer."""
    creating, updating, running = (
        world.environment(f"killed while {what}") for what in ("creating", "updating", "running")
    )
    ids = {each: world.submit(each) for each in (creating, updating, running)}
    killed, mutex = set(), threading.Lock()

    def kill(environment_id):
        pids = {entry["deployment"]: entry["pid"] for entry in world.told("claimed")}
        with mutex:
            if environment_id not in killed:
                killed.add(environment_id)
                os.kill(pids[ids[environment_id]], signal.SIGKILL)

    def heard(request):
        if request.method == "POST" and request.stack.startswith(creating):
            kill(creating)
        if request.method == "PUT" and request.stack.startswith(updating):
            kill(updating)

    def done(_agent, plan_id):
        if plan_id in plans_of(running):
            kill(running)

    def plans_of(environment_id):
        performed = [entry for entry in world.told("performs") if entry["deployment"] == ids[environment_id]]
        return [effects_id(ids[environment_id], entry["key"]) for entry in performed if entry["name"] == "agent.run"]

    world.heat.heard, world.guests.done = heard, done
    try:
        workers = [world.worker(concurrency=1, once=True, lease=LONG) for _ in ids]
        for worker in workers:
            worker.join(PATIENCE)
    finally:
        world.heat.heard, world.guests.done = (lambda request: None), (lambda agent, plan_id: None)
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 3
    world.let_the_leases_run_out(*ids.values())
    successor = world.worker(lease=LONG)
    world.wait_for_the_end(*ids.values())
    successor.kill()
    for each in ids.values():
        check_unharmed(world, each, calm[0])


def test_stopped_for_longer_than_its_lease_a_worker_that_wakes_changes_nothing_any_more(world, calm, seed):
    moments = (BEFORE, COMMITTED) if world.kind == "sqlite" else MOMENTS  # SQLite has one lock for all writers
    dooms = [
        Doom(number=number, moment=moment, signal=signal.SIGSTOP)
        for number in random.Random(seed).sample(range(1, calm[1] + 1), 1 if world.kind == "sqlite" else 3)
        for moment in moments
    ]
    ids = [world.submit(world.environment(f"stopped {doom.moment} {doom.number}")) for doom in dooms]
    stopped = [world.worker(doom=doom, concurrency=1, once=True, lease=2.0) for doom in dooms]
    wait_until(lambda: all(not each.is_alive() or is_stopped(each) for each in stopped), what="that all have stopped")
    awake = world.worker(lease=LONG, concurrency=AT_A_TIME)
    world.wait_for_the_end(*ids)
    ended = all_that_is(world, ids)
    for each in stopped:
        if each.is_alive():
            os.kill(each.pid, signal.SIGCONT)
    for each in stopped:
        each.join(PATIENCE)
        assert each.exitcode == 0
    awake.kill()
    assert all_that_is(world, ids) == ended
    for each in ids:
        check_unharmed(world, each, calm[0], woken=tuple(each.pid for each in stopped))


def all_that_is(world, ids):
    there = [world.seen(each) for each in ids], [world.outcomes(each) for each in ids]
    return (*there, list(world.heat.record), dict(world.guests.ran))
