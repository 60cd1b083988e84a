"""What a plan must not do: take for ever, let anybody in, or depend on how quick a cloud is."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from engine_harbour import fleet
from engine_world import MemoryCloud, new_environment
from test_engine_plan import composed, planned, question

import dsl
from catalog.db import agents as table
from engine import effects, plan
from engine.agents import http
from engine.clouds import recording


class SlowCloud(MemoryCloud):
    """Answers in the order of `ships`, whoever asked first."""

    def __init__(self, ships):
        super().__init__()
        self._gates = {f"ship-{name}": threading.Event() for name in ships}
        self._next = dict(zip([*self._gates][:-1], [*self._gates][1:], strict=True))
        self._gates[f"ship-{ships[0]}"].set()

    def outputs(self, stack):
        gate = self._gates[stack.name]
        gate.wait(10)
        following = self._next.get(stack.name)
        if following is not None:
            self._gates[following].set()
        return super().outputs(stack)


def asked(cloud=None, deadline=None):
    return question(composed(*fleet("anna")), cloud, deadline=deadline)


def test_parallel_branches_take_turns_however_quick_the_cloud_answers():
    ships = ["anna", "berta", "carla"]
    answers = [
        planned(composed(*fleet(*ships)), SlowCloud(order)) for order in (ships, ships[::-1], ships[1:] + ships[:1])
    ]
    texts = [[(step["kind"], step["summary"]) for step in answer["steps"]] for answer in answers]
    assert texts[0] == texts[1] == texts[2]
    assert len({answer["hash"] for answer in answers}) == 1


def test_a_plan_whose_time_is_over_is_none():
    with pytest.raises(plan.Unfinished, match="the plan was not there after 0 s"):
        plan.plan(asked(deadline=plan.Deadline(0.0)))


def test_a_cloud_that_waits_is_left_when_the_time_is_over():
    deadline = plan.Deadline(3600)
    cloud = MemoryCloud()

    def wait(stack):
        deadline._ends = 0.0
        deadline.check()

    cloud.current = wait
    with pytest.raises(plan.Unfinished, match="was not there"):
        plan.plan(asked(cloud, deadline))


def test_a_package_with_more_steps_than_any_deployment_may_have_has_no_plan(monkeypatch):
    monkeypatch.setattr(recording, "MOST_STEPS", 3)
    with pytest.raises(plan.Unfinished, match="more than 3 steps"):
        plan.plan(asked())


def test_a_plan_lets_no_agent_in_and_gives_the_boot_data_of_the_deployment(database):
    environment_id = new_environment(database)
    real = http.HttpAgents(database=database, url="http://127.0.0.1:9", secret=b"0123456789abcdef")
    cloud = MemoryCloud()
    base = plan.services.Cloud(orchestration=cloud, agents=real)
    recorded = recording.Recording(base)
    told = recorded.register(environment_id, "p", "server")
    with database.reading() as session:
        assert session.scalars(sa.select(table.Agent)).all() == []
    assert real.register(environment_id, "p", "server") == told


def test_a_secret_from_the_clouds_own_keeping_is_hidden_wherever_it_turns_up():
    class Vault:
        def secret(self, key):
            return "from-barbican"

    context = asked().context
    recorded = recording.Recording(
        plan.services.Cloud(orchestration=MemoryCloud(), agents=MemoryCloud(), secrets=Vault())
    )
    system = plan.PlanSystem(context, recorded, {}, {}, 0.0, plan.Deadline())
    assert system.perform(dsl.Effect("0/1", "secret", {"key": "k"}, None, None)) == "from-barbican"
    assert recorded.secrets == {"from-barbican"}


def test_the_clock_stands_still_and_names_come_from_their_places():
    context = effects.Context(
        deployment_id="d", environment_id="e", project_id="p", user_id="u", owner_project_id="p", owner_user_id="u"
    )
    systems = [plan.PlanSystem(context, recording.Recording(), {}, {}, 12.5, plan.Deadline()) for _ in range(2)]
    for name, arguments in (("clock.now", {}), ("random.name", {}), ("random.id", {}), ("random.number", {})):
        told = [system.perform(dsl.Effect("0/7", name, arguments, None, None)) for system in systems]
        assert told[0] == told[1]
    assert systems[0].perform(dsl.Effect("0/1", "clock.now", {}, None, None)) == 12.5
