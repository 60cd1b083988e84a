"""Failed deployments that are retried from the failed step, and end as if they had not failed."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from engine_harbour import BUNDLED, NETWORKS, fleet, harbour, of_harbour, publish
from engine_mortal import AFTER, BEFORE, MortalDatabase, carry
from engine_world import MemoryCloud, effects_of, look, new_environment, submit, texts

import dsl
from catalog.db import base, deployments, environments, sessions
from catalog.db import journal as entries
from engine import effects, retry
from engine import journal as engine_journal
from engine.clouds import ports, recording

SHIPS = ("anna", "berta", "clara")


class Weather(MemoryCloud):
    """A cloud that fails at chosen calls: `bad` are numbers of calls, counted from 1 over all deployments."""

    def __init__(self, *bad):
        super().__init__()
        self.bad = set(bad)
        self.number = 0
        self.before = self.blow

    def blow(self, name, arguments):
        with self.mutex:
            self.number += 1
            number = self.number
        if number in self.bad:
            raise ports.StackError(str(arguments.get("stack")), f"struck by lightning {number}")


class Voyage:
    """An environment, its deployments, and the weather."""

    def __init__(self, database, *bad, name="harbour", ships=SHIPS, **fields):
        self.database = database
        self.cloud = Weather(*bad)
        self.lock = harbour(database)
        self.environment_id = new_environment(database, name=name)
        change = of_harbour(*fleet(*ships))
        self.deployment_id = submit(database, self.environment_id, lock=self.lock, change=change, **fields)

    def sail(self, last=0, when=AFTER):
        mortal = MortalDatabase(self.database, last, when)
        carry(self.database, self.deployment_id, self.cloud, mortal)
        return mortal.count

    def retry(self):
        """As the API does it."""
        with self.database.transaction() as session:
            failed = session.get(deployments.Deployment, self.deployment_id)
            environment = environments.get(session, self.environment_id)
            opened = sessions.open_for(session, environment, "user-1")
            opened.model, opened.state = failed.model, sessions.DEPLOYING
            session.flush()
            self.deployment_id = deployments.submit(
                session,
                environment_id=self.environment_id,
                session_id=opened.id,
                project_id=failed.project_id,
                user_id=failed.user_id,
                kind=failed.kind,
                action=failed.action,
                model=failed.model,
                lock=failed.lock,
                retry_of=failed.id,
            ).id

    def state(self):
        return look(self.database, self.deployment_id).session_state

    def seen(self):
        """What is left in the end, without what differs from run to run."""
        root = look(self.database, self.deployment_id).model["Objects"]
        return {
            "ships": [{**ship, "berth": bool(ship["berth"])} for ship in root["services"]],
            "log": {ship: [line for line in root["log"] if line.startswith(ship)] for ship in SHIPS},
            "stacks": self.cloud.stacks,
            "done": Counter((name, what) for name, what, *_ in self.cloud.calls),
        }


def number_of_calls(database):
    calm = Voyage(database, name="calm")
    calm.sail()
    assert calm.state() == "deployed"
    return calm.seen(), calm.cloud.number


def test_wherever_it_fails_a_retry_ends_it_and_repeats_nothing_that_succeeded(database):
    wanted, calls = number_of_calls(database)
    assert calls == 6
    for bad in range(1, calls + 1):
        voyage = Voyage(database, bad, name=f"storm {bad}")
        voyage.sail()
        assert voyage.state() == "deploy failure"
        failed = voyage.deployment_id
        berths = {each["name"]: each["berth"] for each in look(database, failed).model["Objects"]["services"]}
        voyage.retry()
        voyage.sail()
        assert voyage.state() == "deployed", texts(database, voyage.deployment_id)
        assert voyage.seen() == wanted, f"lightning struck call {bad}"
        assert voyage.cloud.number == calls + 1
        seen = look(database, voyage.deployment_id)
        assert {each["name"]: each["berth"] for each in seen.model["Objects"]["services"]} == berths
        assert seen.version == 2
        assert texts(database, voyage.deployment_id)[1].startswith(f"Deployment {failed} is retried: ")


def test_every_branch_that_failed_is_begun_again_not_only_the_one_that_is_told_of(database):
    wanted, calls = number_of_calls(database)
    for bad in ((1, 2), (1, 2, 3), (4, 5, 6), (2, 5)):
        voyage = Voyage(database, *bad, name=f"storm {bad}")
        voyage.sail()
        while voyage.state() == "deploy failure":
            voyage.retry()
            voyage.sail()
        assert voyage.seen() == wanted
        assert voyage.cloud.number == calls + len(bad)


def test_a_retry_of_a_retry_goes_on_where_that_failed(any_database):
    wanted, _calls = number_of_calls(any_database)
    voyage = Voyage(any_database, 2, 7, 8)
    runs = 0
    while voyage.state() != "deployed":
        voyage.sail()
        runs += 1
        assert runs < 5
        if voyage.state() == "deploy failure":
            voyage.retry()
    assert runs == 4
    assert voyage.seen() == wanted
    with any_database.reading() as session:
        versions = {each.failure is None for each in deployments.of_environment(session, voyage.environment_id)[1:]}
    assert versions == {False}


def test_wherever_the_worker_of_a_retry_dies_its_successor_ends_it(database):
    wanted, _calls = number_of_calls(database)
    calm = Voyage(database, 4, name="calm retry")
    calm.sail()
    calm.retry()
    boundaries = calm.sail()
    for last in range(1, boundaries + 1):
        for when in (BEFORE, AFTER):
            voyage = Voyage(database, 4, name=f"retry {when} {last}")
            voyage.sail()
            voyage.retry()
            voyage.sail(last, when)
            if look(database, voyage.deployment_id).state != "finished":
                voyage.sail()
            assert voyage.state() == "deployed", f"{when} {last}: {texts(database, voyage.deployment_id)}"
            seen = voyage.seen()
            assert {**seen, "done": set(seen["done"])} == {**wanted, "done": set(wanted["done"])}, f"{when} {last}"
            assert set(voyage.cloud.executed.values()) == {1}
            assert len(voyage.cloud.executed) == len(SHIPS)


def test_a_script_that_failed_in_its_server_runs_again_under_another_id(database):
    wanted, _calls = number_of_calls(database)
    voyage = Voyage(database)
    voyage.cloud.spoil = {"agent-berta"}
    run = voyage.cloud.run

    def spoiled(agent_id, plan_id, plan, timeout, check=None):
        answer = run(agent_id, plan_id, plan, timeout, check)
        if agent_id in voyage.cloud.spoil:
            voyage.cloud.spoil.discard(agent_id)
            answer = {**answer, "ErrorCode": 1, "Body": {"Message": "no crane is free"}}
            voyage.cloud.results[plan_id] = answer
        return answer

    voyage.cloud.run = spoiled
    voyage.sail()
    if voyage.state() == "deployed":  # the harbour's crane does not look at error codes: it takes what it gets
        pytest.fail("the harbour has to notice scripts that fail")
    voyage.retry()
    voyage.sail()
    assert voyage.state() == "deployed"
    assert {**voyage.seen(), "done": None} == {**wanted, "done": None}
    assert len(voyage.cloud.executed) == len(SHIPS) + 1


def test_what_was_under_way_when_it_was_cancelled_is_begun_again(database):
    wanted, _calls = number_of_calls(database)
    voyage = Voyage(database)

    def cancel(name, arguments):
        if name == "run":
            with database.transaction() as session:
                deployments.cancel(session, voyage.deployment_id)
            voyage.cloud.before = None

    voyage.cloud.before = cancel
    voyage.sail()
    assert voyage.state() == "deploy failure"
    pushed = sum(name == "push" for name, *_ in voyage.cloud.calls)
    assert pushed == 3
    voyage.retry()
    voyage.sail()
    assert voyage.state() == "deployed"
    assert {**voyage.seen(), "done": None} == {**wanted, "done": None}
    assert sum(name == "push" for name, *_ in voyage.cloud.calls) == 3


def test_a_retry_that_was_cancelled_in_the_queue_is_retried_as_what_it_stood_for(database):
    wanted, calls = number_of_calls(database)
    voyage = Voyage(database, 4)
    voyage.sail()
    voyage.retry()
    with database.transaction() as session:
        deployments.cancel(session, voyage.deployment_id)
    voyage.sail()
    assert voyage.state() == "deploy failure"
    voyage.retry()
    voyage.sail()
    assert voyage.state() == "deployed"
    assert voyage.seen() == wanted
    assert voyage.cloud.number == calls + 1


def test_a_journal_that_went_meanwhile_is_a_reason_and_nothing_is_done(database):
    voyage = Voyage(database, 4)
    voyage.sail()
    failed = voyage.deployment_id
    voyage.retry()
    before = json.dumps(voyage.cloud.stacks)
    with database.transaction() as session:
        session.execute(deployments.sa.delete(entries.JournalEntry).where(entries.JournalEntry.deployment_id == failed))
    voyage.sail()
    assert voyage.state() == "deploy failure"
    assert "journal was removed meanwhile" in str(texts(database, voyage.deployment_id))
    assert json.dumps(voyage.cloud.stacks) == before
    assert effects_of(database, voyage.deployment_id) == {}


# --- what packages do about failures ---------------------------------------------------------------------------------


def action(database, method, *bad):
    """An action of the harbour that fails in the given calls; then its retry."""
    voyage = Voyage(database, *bad, kind="action", method=method, ships=())
    voyage.sail()
    assert voyage.state() == "deploy failure", texts(database, voyage.deployment_id)
    before = [call[:2] for call in voyage.cloud.calls]
    voyage.cloud.calls.clear()
    voyage.retry()
    voyage.sail()
    return voyage, before, [call[:2] for call in voyage.cloud.calls]


def test_a_failure_that_the_package_dealt_with_stays_dealt_with(database):
    voyage, before, after = action(database, "rescue", 1, 3)
    assert before == [("push", "ship-south")]
    assert after == [("push", "ship-last")]
    assert voyage.state() == "deployed"


def test_what_was_made_and_cleaned_away_is_made_again(database):
    """The clean-up took away the stack that a kept effect had made: the retry begins before that."""
    voyage, before, after = action(database, "salvage", 3)
    assert before == [("push", "ship-tug"), ("push", "ship-wreck"), ("delete", "ship-wreck")]
    assert [name for name, _ in after] == ["push", "run", "delete"]
    assert after[0] == ("push", "ship-wreck")
    assert set(voyage.cloud.stacks) == {"ship-tug"}
    assert voyage.state() == "deployed"


def test_a_failure_that_a_package_only_reported_is_not_hidden_by_a_retry(database):
    voyage, before, after = action(database, "excuse", 2)
    assert before == [("push", "ship-tug"), ("push", "ship-lighter")]
    assert after == [("push", "ship-barge"), ("push", "ship-lighter")]
    assert voyage.state() == "deployed"
    assert not [text for text in texts(database, voyage.deployment_id) if "lightning" in text]


def test_what_a_package_did_not_like_is_asked_again(database):
    """No effect failed, so the last question to the outside before the exception is asked again."""
    voyage, before, after = action(database, "demand")
    assert [name for name, _ in before] == ["push", "run"]
    assert [name for name, _ in after] == ["run"]
    assert voyage.state() == "deploy failure"
    assert len(voyage.cloud.executed) == 2


def test_stacks_of_a_way_out_that_is_not_taken_again_are_told_of(database):
    voyage, before, after = action(database, "insist", 1)
    assert before == [("push", "ship-fallback")]
    assert after == [("push", "ship-barge")]
    assert voyage.state() == "deployed"
    said = look(database, voyage.deployment_id).reports
    [warning] = [text for _n, level, text, _entity in said if level == "warning"]
    assert "Stack 'ship-fallback'" in warning
    assert said[-1][2] == "Deployment finished with warnings"


# --- the rule, on journals --------------------------------------------------------------------------------------------


def entry(key, name, delivery=None, *, failed=False, stack=None, resources=(), outcome=None, finished=True):
    arguments = {}
    if stack is not None:
        arguments = {"stack": {"name": stack}, "template": {"resources": {name: {} for name in resources}}}
    return entries.JournalEntry(
        deployment_id="d",
        key=key,
        name=name,
        digest="",
        arguments=arguments,
        outcome=outcome,
        failure={"names": ["E"], "message": "no", "extra": None} if failed else None,
        started=base.now(),
        finished=base.now() if finished else None,
        delivery=delivery,
    )


def sorted_out(journal, *places):
    found = retry.taken(journal, places)
    return [each.key for each in found.kept], [each.key for each in found.offers], dict(found.pushes)


def test_branches_beside_the_failed_one_are_offered_and_what_waited_for_it_is_not():
    journal = [
        entry("0/1", "random.id", 1),
        entry("0.1.0/1", "heat.push", 2, failed=True, stack="a"),
        entry("0.1.1/1", "heat.push", 3, stack="b"),
        entry("0.1.1.1.0/1", "agent.run", 4),
        entry("0.1.0/2", "report", 5),
        entry("0.2.0/1", "heat.push", 6, stack="c"),
        entry("0/2", "report", 7),
    ]
    assert sorted_out(journal, "0.1.0/1") == (["0/1"], ["0.1.1/1", "0.1.1.1.0/1"], {})


def test_later_pushes_of_a_failed_stack_are_made_again_and_waited_for():
    """Branches share an environment's stack: the failed push must not take away what a later one has made."""
    journal = [
        entry("0.1.0/1", "heat.push", 1, failed=True, stack="e", resources=["a"]),
        entry("0.1.1/1", "heat.push", 2, stack="e", resources=["a", "b"]),
        entry("0.1.1/2", "agent.run", 3),
    ]
    assert sorted_out(journal, "0.1.0/1") == ([], ["0.1.1/2"], {"e": ["0.1.1/1"]})


def test_what_took_something_away_from_a_stack_sends_the_retry_back_before_that_stack():
    journal = [
        entry("0/1", "heat.push", 1, stack="other", resources=["x"]),
        entry("0/2", "heat.current", 2, stack="e"),
        entry("0/3", "heat.push", 3, stack="e", resources=["a", "b"]),
        entry("0/4", "agent.run", 4),
        entry("0/5", "agent.run", 5, failed=True),
        entry("0/6", "heat.push", 6, stack="e", resources=["a"]),
    ]
    assert sorted_out(journal, "0/5") == (["0/1"], [], {})
    assert sorted_out(journal[:-1], "0/5") == (["0/1", "0/2", "0/3", "0/4"], [], {})


def test_a_thread_that_asked_nobody_begins_anew_or_where_the_one_above_it_asked_last():
    journal = [
        entry("0/1", "heat.push", 1, stack="a"),
        entry("0/2", "config", 2),
        entry("0.1.0/1", "config", 3),
    ]
    assert sorted_out(journal, "0.1.0/1") == (["0/1", "0/2"], [], {})
    assert sorted_out(journal, "0.1.1/0") == ([], [], {})
    assert sorted_out([], "0/0") == ([], [], {})


def test_nothing_but_what_was_under_way_is_lost_where_nothing_failed():
    journal = [
        entry("0/1", "heat.push", 1, stack="a"),
        entry("0.1.0/1", "agent.run", finished=False),
        entry("0.1.1/1", "agent.run"),
    ]
    assert sorted_out(journal) == (["0/1"], ["0.1.1/1"], {})


# --- what the effects of a retry heed ---------------------------------------------------------------------------------


def performer(cloud, **heeded):
    context = effects.Context(
        deployment_id="d",
        environment_id="e",
        project_id="p",
        user_id="u",
        owner_project_id="p",
        owner_user_id="u",
        retry=effects.Retry(since=1000.0, **heeded),
    )
    return effects.Performer(context, cloud.cloud())


def test_a_push_that_others_have_gone_on_from_takes_nothing_away():
    cloud = Weather()
    cloud.stacks["e"] = {"resources": {"a": 1, "b": 2}, "outputs": {"b": {"value": "?"}}}
    template = {"resources": {"a": 3}, "outputs": {"a": {"value": "?"}}}
    arguments = {"stack": {"name": "e", "region": None}, "template": template}
    push = dsl.Effect(key="0.1.0/1", name="heat.push", arguments=arguments, location=None, object_id=None)
    assert performer(cloud, pushes={"e": {"0.1.1/1"}}).perform(push) == {"a": "value of a"}
    assert cloud.stacks["e"]["resources"] == {"a": 3, "b": 2}
    performer(cloud, pushes={"e": {"0.1.0/1"}}).perform(push)
    assert cloud.stacks["e"]["resources"] == {"a": 3}


@pytest.mark.parametrize(
    ("plan", "sent"),
    [
        ({"ID": "old", "Stamp": 9_000_000}, {"ID": "new", "Stamp": True}),
        ({"Stamp": 9_000_000}, {"Stamp": True}),
        ({"ID": "of now", "Stamp": 10_000_001}, {"ID": "of now", "Stamp": 10_000_001}),
        ({"ID": "old"}, {"ID": "new"}),
        ({}, {}),
    ],
)
def test_agents_get_the_plan_of_a_retry_as_one_they_do_not_know(plan, sent):
    found = effects._renewed(plan, "new", "0/4", 1000.0)
    if sent.get("Stamp") is True:
        assert 10_000_000 <= found["Stamp"] < 10_005_000
        found = {**found, "Stamp": True}
    assert found == sent


# --- the main job -----------------------------------------------------------------------------------------------------


class Machinery(recording.Recording):
    """The recording as a world in which chosen calls fail."""

    def __init__(self, *bad):
        super().__init__()
        self.bad, self.number, self.scripts = set(bad), 0, []

    def _strike(self, what):
        self.number += 1
        if self.number in self.bad:
            raise ports.StackError(what, f"struck by lightning {self.number}")

    def push(self, stack, *arguments):
        self._strike(stack.name)
        return super().push(stack, *arguments)

    def run(self, agent_id, plan_id, plan, timeout, check=None):
        self._strike(agent_id)
        self.scripts.append(f"{agent_id} {plan.get('Name')}")
        return super().run(agent_id, plan_id, plan, timeout, check)

    def left(self):
        """What is there: how many resources of each kind, and what was carried out."""
        kinds = Counter(
            resource["type"] for pushed in self._stacks.values() for resource in pushed.template["resources"].values()
        )
        return kinds, sorted(self.scripts)


def main_job(database, name, *bad):
    lock = publish(database, *sorted(path.parent for path in BUNDLED.glob("*/manifest.yaml")))
    services = json.loads((BUNDLED / "examples" / "grafana-on-kubernetes.json").read_text())

    def compose(model):
        return {**model, "Objects": {**model["Objects"], "services": services, "defaultNetworks": NETWORKS}}

    voyage = Voyage.__new__(Voyage)
    voyage.database, voyage.cloud = database, Machinery(*bad)
    voyage.environment_id = new_environment(database, name=name)
    voyage.deployment_id = submit(database, voyage.environment_id, lock=lock, change=compose)
    voyage.sail()
    return voyage


def test_grafana_on_a_cluster_that_failed_is_built_on(database):
    """Both applications set the cluster up, whichever comes first: what one has done when the other had failed counts
    for both. Their servers share a stack: no push takes away what another one has made.
    """
    calm = main_job(database, "calm")
    assert calm.state() == "deployed"
    kinds, scripts = calm.cloud.left()
    for bad in (1, 9, 16):
        voyage = main_job(database, f"storm {bad}", bad)
        assert voyage.state() == "deploy failure"
        succeeded = list(voyage.cloud.scripts)
        voyage.retry()
        voyage.sail()
        assert voyage.state() == "deployed", f"{bad}: {texts(database, voyage.deployment_id)}"
        left, ran = voyage.cloud.left()
        assert left == kinds
        assert {script.partition(" ")[2] for script in ran} == {script.partition(" ")[2] for script in scripts}
        again = set(voyage.cloud.scripts[len(succeeded) :]) & set(succeeded)
        assert not again, f"lightning struck call {bad}, and these ran again: {again}"
        assert not [step for step in voyage.cloud.steps if step.kind == "delete"], f"{bad}: something was taken away"


def test_the_same_script_on_the_same_server_is_known_whatever_its_ids():
    def plan(number, **more):
        files = {f"f{number}": {"Name": "deploy.sh", "Body": "echo"}, f"g{number}": {"Name": "lib.sh", "Body": ":"}}
        scripts = {"deploy": {"EntryPoint": f"f{number}", "Files": [f"g{number}"]}}
        fields = {"ID": f"id{number}", "Stamp": number, "Name": "Deploy", "Scripts": scripts, "Files": files, **more}
        return {"instance_id": "server", "plan": fields}

    assert engine_journal._likeness(plan(1)) == engine_journal._likeness(plan(2))
    for other in (plan(2, Name="Remove"), {**plan(2), "instance_id": "another"}, plan(2, Files={}), {"plan": None}, {}):
        assert engine_journal._likeness(other) != engine_journal._likeness(plan(1))
