"""Effects through the journal: once, again, interrupted, failed."""

from __future__ import annotations

import contextlib
import datetime
import threading
import time

import pytest
import sqlalchemy as sa
from engine_world import PROJECT, USER, MemoryCloud, effects_of, look, new_environment, submit, texts, wait_until

import dsl
from catalog.db import deployments, instance_stats
from catalog.db import journal as entries
from engine import effects, execution, journal, lease
from engine.clouds import ports

STACK = {"name": "harbour-stack", "region": None, "environment_id": "another one, which does not matter"}
TEMPLATE = {"heat_template_version": "2013-05-23", "resources": {}, "outputs": {"address": {"value": "?"}}}


class Stage:
    """A deployment and a succession of workers that take it over."""

    def __init__(self, database, tmp_path=None):
        self.database = database
        self.cloud = MemoryCloud()
        self.environment_id = new_environment(database)
        self.deployment_id = submit(database, self.environment_id)
        self.leases = []

    def worker(self, **more):
        """A worker that takes the deployment over, as after the death of the one before."""
        if self.leases:
            self.leases[-1].release()
        name = f"worker-{len(self.leases)}"
        with self.database.transaction() as session:
            fence = deployments.claim(session, self.deployment_id, name, 30.0)
        held = lease.Lease(self.database, self.deployment_id, name, fence, seconds=more.pop("seconds", 30.0), **more)
        self.leases.append(held)
        context = effects.Context(
            deployment_id=self.deployment_id,
            environment_id=self.environment_id,
            project_id=PROJECT,
            user_id=USER,
            owner_project_id=PROJECT,
            owner_user_id=USER,
        )
        return execution.DurableSystem(
            held=held,
            journal=journal.Journal(held),
            performer=effects.Performer(context, self.cloud.cloud()),
            natives={},
            drain_seconds=0.5,
        )


@pytest.fixture
def stage(database):
    return Stage(database)


def effect(key, name, **arguments):
    return dsl.Effect(key=key, name=name, arguments=arguments, location="Ship.yaml:12", object_id="ship")


def push(key="0/1", template=TEMPLATE):
    return effect(key, "heat.push", stack=STACK, template=template, files={}, environment=None, parameters={})


def test_a_recorded_outcome_is_given_again_and_nothing_is_done(stage):
    first = stage.worker().perform(push())
    again = stage.worker().perform(push())
    assert first == again == {"address": "value of address"}
    assert [call[0] for call in stage.cloud.calls] == ["push"]


@pytest.mark.parametrize("name", ["random.id", "random.name", "random.number", "clock.now"])
def test_what_is_random_stays_what_it_was_when_something_has_followed(stage, name):
    asked = effect("0/1", name)
    system = stage.worker()
    drawn = system.perform(asked)
    assert effects_of(stage.database, stage.deployment_id) == {}  # until then it needs no transaction
    system.perform(effect("0/2", "report", level="info", text="It was drawn"))
    assert stage.worker().perform(asked) == drawn


def test_what_only_looks_at_a_cloud_has_no_intent_and_is_kept_like_what_is_random(stage):
    asked = effect("0/1", "heat.current", stack=STACK)
    system = stage.worker()
    assert system.perform(asked) is None
    assert effects_of(stage.database, stage.deployment_id) == {}
    system.perform(push("0/2"))
    assert stage.worker().perform(asked) is None
    assert list(effects_of(stage.database, stage.deployment_id)) == ["0/1", "0/2"]


def test_what_an_earlier_release_intended_is_concluded_where_it_stands(stage):
    """It wrote an intent for what only looks at a cloud, too."""
    asked = effect("0/1", "heat.current", stack=STACK)
    stage.worker()
    journal.Journal(stage.leases[-1]).intend(asked)
    assert stage.worker().perform(asked) is None
    assert effects_of(stage.database, stage.deployment_id)["0/1"].finished is not None


def test_many_outcomes_that_nothing_follows_from_are_written_by_and_by(stage):
    system = stage.worker()
    for number in range(journal.MOST_KEPT):
        system.perform(effect(f"0/{number}", "clock.now"))
    assert len(effects_of(stage.database, stage.deployment_id)) == journal.MOST_KEPT


def test_a_transaction_whose_answer_was_lost_is_not_written_twice(stage, monkeypatch):
    """The commit came through, the connection broke before that was told: the worker can only try again."""
    real = stage.database.transaction

    @contextlib.contextmanager
    def losing():
        with real() as session:
            yield session
        if answers.pop():
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))

    system = stage.worker()
    monkeypatch.setattr(stage.database, "transaction", losing)
    for key, name, more in (
        ("0/2", "report", {"level": "info", "text": "Once"}),
        ("0/4", "heat.delete", {"stack": STACK}),
    ):
        answers = [False, True, False, True]
        system.perform(effect(f"0/{int(key[2:]) - 1}", "random.id"))
        system.perform(effect(key, name, **more))
    monkeypatch.undo()
    assert texts(stage.database, stage.deployment_id)[1:] == ["Once"]
    kept = effects_of(stage.database, stage.deployment_id)
    assert [kept[f"0/{number}"].finished is not None for number in (1, 2, 3, 4)] == [True] * 4


def test_random_names_differ_and_begin_with_a_letter(stage):
    system = stage.worker()
    names = {system.perform(effect(f"0/{n}", "random.name")) for n in range(20)}
    assert len(names) == 20
    assert all(name[0].isalpha() and name.isalnum() for name in names)


def test_a_null_outcome_is_an_outcome(stage):
    gone = effect("0/1", "heat.delete", stack=STACK)
    assert stage.worker().perform(gone) is None
    assert stage.worker().perform(gone) is None
    assert [call[0] for call in stage.cloud.calls] == ["delete"]


def test_a_recorded_failure_is_raised_again_with_its_names(stage):
    def refuse(name, arguments):
        raise ports.StackError("harbour-stack", "no more quota", "berth", "OS::Nova::Server")

    stage.cloud.before = refuse
    for _worker in range(2):
        system = stage.worker()
        with pytest.raises(dsl.SystemFailure) as raised:
            system.perform(push())
        assert "murano.engine.system.heat_stack.HeatStackError" in raised.value.names
        assert "'berth' (OS::Nova::Server): no more quota" in str(raised.value.message)
        assert len(system.failures) == 1
        stage.cloud.before = None


def test_an_effect_in_flight_is_repeated(stage):
    class Killed(BaseException):
        pass

    def die(name, arguments):
        raise Killed

    stage.cloud.before = die
    with pytest.raises(Killed):
        stage.worker().perform(push())
    assert effects_of(stage.database, stage.deployment_id)["0/1"].finished is None
    stage.cloud.before = None
    assert stage.worker().perform(push()) == {"address": "value of address"}


def test_another_effect_in_the_same_place_is_a_loud_error(stage):
    stage.worker().perform(push())
    changed = push(template={**TEMPLATE, "description": "changed"})
    with pytest.raises(journal.NonDeterministic, match=r"effect 0/1 .* at Ship\.yaml:12: expected 'heat\.push'"):
        stage.worker().perform(changed)


def test_after_a_non_deterministic_replay_no_other_thread_goes_on(stage):
    stage.worker().perform(push())
    system = stage.worker()
    with pytest.raises(journal.NonDeterministic):
        system.perform(effect("0/1", "random.id"))
    with pytest.raises(journal.NonDeterministic):
        system.perform(effect("0.1.1/1", "random.id"))


def test_deliveries_are_written_with_the_next_effect_and_known_to_the_successor(stage):
    system = stage.worker()
    for key in ("0.1.1/1", "0.1.2/1"):
        system.perform(effect(key, "random.id"))
    system.delivered(1, "0.1.2/1")
    system.delivered(2, "0.1.1/1")
    assert stage.worker().delivery(1) is None  # nothing followed from it, so the successor may deliver otherwise
    system = stage.worker()
    system.perform(effect("0.1.1/1", "random.id"))
    system.perform(effect("0.1.2/1", "random.id"))
    system.delivered(1, "0.1.2/1")
    system.perform(push("0.1.2/2"))
    successor = stage.worker()
    assert [successor.delivery(number) for number in (1, 2)] == ["0.1.2/1", None]


def test_a_report_becomes_a_status_at_once_and_exactly_once(stage):
    said = effect("0/1", "report", environment_id="e", entity_id="ship", level="info", text="Setting sail")
    stage.worker().perform(said)
    stage.worker().perform(said)
    assert look(stage.database, stage.deployment_id).reports[1:] == [(2, "info", "Setting sail", "ship")]


def test_tracked_instances_are_counted_for_the_project(stage):
    system = stage.worker()
    about = {"environment_id": "e", "instance_id": "ship", "kind": 200}
    system.perform(effect("0/1", "instance.track", **about, type_name="T", type_title=None, unit_count=1))
    system.perform(effect("0/2", "instance.untrack", **about))
    with stage.database.reading() as session:
        row = session.get(instance_stats.InstanceStats, (stage.environment_id, "ship"))
        assert (row.instance_type, row.project_id, row.destroyed is not None) == (200, PROJECT, True)


def test_an_unknown_effect_fails_and_names_the_known_ones(stage):
    with pytest.raises(dsl.SystemFailure, match=r"'heat\.explode': expected one of .*heat\.push"):
        stage.worker().perform(effect("0/1", "heat.explode"))


def test_an_agent_plan_is_carried_out_once_whoever_asks(stage):
    asked = {"environment_id": "e", "instance_id": "ship", "queue": "q", "plan_id": "p1", "timeout": 60, "wait": True}
    run = effect("0/1", "agent.run", **asked, plan={"Name": "Moor"})

    class Killed(BaseException):
        pass

    real = stage.cloud.run

    def die_after(*arguments):
        real(*arguments)
        raise Killed

    stage.cloud.run = die_after
    with pytest.raises(Killed):
        stage.worker().perform(run)
    stage.cloud.run = real
    assert stage.worker().perform(run)["Body"] == "done Moor"
    assert list(stage.cloud.executed.values()) == [1]


def test_a_sleep_that_was_interrupted_goes_on_for_the_rest_only(stage):
    draining = threading.Event()
    sleep = effect("0/1", "sleep", seconds=86_400.0)

    def drain_when_it_sleeps():
        wait_until(lambda: "0/1" in effects_of(stage.database, stage.deployment_id), what="the intent")
        draining.set()

    threading.Thread(target=drain_when_it_sleeps, daemon=True).start()
    with pytest.raises(lease.Draining):
        stage.worker(draining=draining).perform(sleep)
    with stage.database.transaction() as session:  # as if the successor came nearly a day later
        entry = session.get_one(entries.JournalEntry, (stage.deployment_id, "0/1"))
        entry.started -= datetime.timedelta(seconds=86_399.8)
    stage.worker().perform(sleep)  # slept again as a whole, it would outlast any test


def test_cancellation_ends_a_long_call_of_the_cloud_at_once(stage):
    released = threading.Event()
    stage.cloud.before = lambda name, arguments: released.wait(120)
    system = stage.worker(seconds=0.2)
    raised = []

    def program():
        try:
            system.perform(push())
        except lease.Cancelled as cancelled:
            raised.append(cancelled)

    with stage.leases[-1]:
        thread = threading.Thread(target=program)
        thread.start()
        wait_until(lambda: effects_of(stage.database, stage.deployment_id))
        with stage.database.transaction() as session:
            deployments.cancel(session, stage.deployment_id)
        thread.join(60)
    assert raised
    assert effects_of(stage.database, stage.deployment_id)["0/1"].finished is None
    released.set()


def test_a_draining_worker_lets_an_effect_in_flight_end_and_begins_no_other(stage):
    draining = threading.Event()

    def slowly(name, arguments):
        draining.set()
        time.sleep(0.3)

    stage.cloud.before = slowly
    system = stage.worker(draining=draining)
    assert system.perform(push()) == {"address": "value of address"}
    with pytest.raises(lease.Draining):
        system.perform(push("0/2"))
    assert list(effects_of(stage.database, stage.deployment_id)) == ["0/1"]


def test_a_fenced_out_worker_begins_no_effect(stage):
    paused = stage.worker()
    stage.worker()
    with pytest.raises(lease.LeaseLost):
        paused.perform(push())
    assert stage.cloud.calls == []
    with pytest.raises(lease.LeaseLost):
        paused.perform(effect("0/2", "report", level="info", text="from the grave"))
    assert texts(stage.database, stage.deployment_id) == ["Action deploy is scheduled"]


def test_secrets_among_arguments_are_not_in_the_journal(stage):
    asked = {"environment_id": "e", "instance_id": "ship", "queue": "q", "plan_id": "p1", "timeout": 60}
    plan = {"Name": "Moor", "Parameters": {"adminPassword": "s3cret!", "berth": 4}}
    stage.worker().perform(effect("0/1", "agent.run", **asked, plan=plan))
    kept = effects_of(stage.database, stage.deployment_id)["0/1"].arguments
    assert kept["plan"]["Parameters"] == {"adminPassword": "*** SANITIZED ***", "berth": 4}


def test_an_unforeseen_error_of_a_port_is_a_failure_the_package_can_handle(stage):
    def stumble(name, arguments):
        raise KeyError("links")

    stage.cloud.before = stumble
    with pytest.raises(dsl.SystemFailure) as raised:
        stage.worker().perform(push())
    assert raised.value.names == ("KeyError",)


def test_an_outage_of_our_own_database_is_no_failure_of_an_effect(stage):
    """Agents are reached through the database: a package must not hear that it restarted."""
    outages = [sa.exc.OperationalError("SELECT", {}, Exception("server closed the connection"))] * 2

    def away(name, arguments):
        if outages:
            raise outages.pop()

    stage.cloud.before = away
    assert stage.worker().perform(push()) == {"address": "value of address"}
    assert outages == []
    assert effects_of(stage.database, stage.deployment_id)["0/1"].failure is None
