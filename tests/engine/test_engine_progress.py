"""Reports with what they are about beside their text, and what the engine says of its own work."""

from __future__ import annotations

import pytest
from engine_harbour import fleet, harbour, of_harbour
from engine_mortal import MortalDatabase, carry
from engine_world import MemoryCloud, new_environment, submit

import dsl
from catalog.db import deployments, statuses
from engine import progress
from engine.clouds import ports
from engine.journal import Failure, Recorded


def sailed(database, cloud=None, **fields):
    """A deployment of one ship that has ended; all its reports."""
    deployment_id = submit(
        database, new_environment(database), lock=harbour(database), change=of_harbour(*fleet("anna")), **fields
    )
    assert carry(database, deployment_id, cloud or MemoryCloud(), MortalDatabase(database))
    with database.reading() as session:
        return statuses.of_deployment(session, deployment_id, progress=True)


def test_the_engine_says_what_it_does_and_how_long_that_took(any_database):
    reports = sailed(any_database)
    said = [(each.text.partition(" after ")[0], each.step) for each in reports if each.level == statuses.PROGRESS]
    assert said == [
        ("Stack ship-anna: made to follow its template", "push stack ship-anna"),
        ("Stack ship-anna: as its template says", "push stack ship-anna"),
        ("Script 'Unload 1': runs on server anna", "run script 'Unload 1' on server anna"),
        ("Script 'Unload 1': ended", "run script 'Unload 1' on server anna"),
    ]
    begun, ended = [each for each in reports if each.effect_name == "agent.run"]
    assert begun.duration is None
    assert ended.duration >= 0
    assert begun.effect_key == ended.effect_key
    assert ended.component == {"id": "anna", "name": "anna", "class": "harbour.Ship"}
    assert ended.entity_id == "anna"


def test_reports_of_packages_and_of_the_engine_say_what_they_are_about(database):
    reports = {each.text: each for each in sailed(database)}
    comes_in = reports["anna comes in"]
    assert comes_in.component == {"id": "anna", "name": "anna", "class": "harbour.Ship"}
    assert comes_in.effect_name == "report"
    assert "Ship.yaml" in comes_in.step
    assert reports["Action deploy is scheduled"].step == "queue"
    assert reports["Deployment finished"].duration > 0


def test_what_failed_is_reported_with_the_effect_the_reason_and_the_time(database):
    def refuse(name, arguments):
        if name == "push":
            raise ports.StackError("ship-anna", "no valid host, token=abcdef", "hull", "OS::Nova::Server")

    cloud = MemoryCloud(before=refuse)
    reports = sailed(database, cloud)
    [error] = [each for each in reports if each.level == "error"]
    assert (error.effect_name, error.step) == ("heat.push", "push stack ship-anna")
    ended = [each for each in reports if each.level == statuses.PROGRESS][-1]
    assert ended.text.startswith("Stack ship-anna: failed after ")
    assert "no valid host" in ended.details
    assert "abcdef" not in ended.text + ended.details
    assert error.effect_key == ended.effect_key


def test_what_the_engine_says_counts_nowhere_and_is_read_by_who_asks(database):
    reports = sailed(database)
    deployment_id, environment_id = reports[0].deployment_id, reports[0].environment_id
    with database.reading() as session:
        assert statuses.levels(session, [deployment_id])[deployment_id].keys() == {"info", "progress"}
        row = session.get(deployments.Deployment, deployment_id)
        assert deployments.shown_state(row, statuses.levels(session, [deployment_id])[deployment_id]) == "success"
        asked = statuses.of_deployment(session, deployment_id)
        assert [each.text for each in asked] == [each.text for each in reports if each.level != "progress"]
        assert statuses.last_of_entities(session, environment_id, ["anna"])["anna"].text == "anna is unloaded"


MODEL = {
    "Objects": {
        "?": {"id": "e", "type": "io.murano.Environment"},
        "name": "harbour",
        "services": [{"?": {"id": "a", "type": "org.App/1.0@org"}, "name": "web", "host": {"?": {"id": "h"}}}],
    }
}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("a", {"id": "a", "name": "web", "class": "org.App"}),
        ("h", {"id": "h", "name": None, "class": None}),
        ("made on the way", {"id": "e", "name": "harbour", "class": "io.murano.Environment"}),
        (None, {"id": "e", "name": "harbour", "class": "io.murano.Environment"}),
    ],
)
def test_a_component_is_what_somebody_composed(asked, found):
    assert progress.Components(MODEL, "e").of(asked) == found


def test_what_was_made_on_the_way_counts_to_the_owner_that_was_composed():
    class Program:
        def lineage(self, object_id):
            return [{"id": object_id}, {"id": "neither"}, {"id": "a"}, {"id": "e"}]

    components = progress.Components(MODEL, "e")
    components.program = Program()
    assert components.of("stack")["id"] == "a"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"ErrorCode": 0, "Body": "fine"}, None),
        ({"ErrorCode": 2, "Body": {"Message": "exit status 1"}}, "exit status 1"),
        ({"IsException": False, "Result": [{"IsException": False, "Result": 1}]}, None),
        ({"IsException": True, "Result": ["OSError", "no such file"]}, "OSError: no such file"),
        ({"IsException": False, "Result": [{"IsException": True, "Result": ["E", "bad"]}]}, "E: bad"),
        (None, None),
        ("odd", None),
    ],
)
def test_a_script_that_failed_is_a_failure_though_its_agent_answered(answer, reason):
    effect = dsl.Effect(key="0/1", name="agent.run", arguments={}, location=None, object_id=None)
    assert progress.failure_of(effect, Recorded(outcome=answer)) == reason


def test_a_failure_of_the_effect_itself_is_one_whatever_the_effect():
    effect = dsl.Effect(key="0/1", name="heat.push", arguments={}, location=None, object_id=None)
    assert progress.failure_of(effect, Recorded(failure=Failure(names=("E",), message="no"))) == "no"


@pytest.mark.parametrize("arguments", [{}, {"plan": None, "stack": 3, "name": "x" * 1000}, {"plan": {"Scripts": []}}])
@pytest.mark.parametrize("name", ["heat.push", "heat.delete", "agent.run", "mistral.run", "network.create_router"])
def test_odd_arguments_of_packages_have_words_too(name, arguments):
    effect = dsl.Effect(key="0/1", name=name, arguments=arguments, location=None, object_id=None)
    about = progress.Components({}, "e").about(effect)
    assert 0 < len(about.step) < statuses.LONGEST_STEP


def test_a_worker_that_dies_says_nothing_twice(database):
    """Between the intent and the outcome, so that the successor repeats the effect."""
    calm = [each.text for each in sailed(database) if each.level == "progress" and "after" not in each.text]
    for last in (2, 3, 4, 5):
        cloud = MemoryCloud()
        deployment_id = submit(
            database,
            new_environment(database, name=str(last)),
            lock=harbour(database),
            change=of_harbour(*fleet("anna")),
        )
        carry(database, deployment_id, cloud, MortalDatabase(database, last))
        carry(database, deployment_id, cloud, MortalDatabase(database))
        with database.reading() as session:
            found = statuses.of_deployment(session, deployment_id, progress=True)
        assert [each.text for each in found if each.level == "progress" and "after" not in each.text] == calm
        assert [each.sequence for each in found] == list(range(1, len(found) + 1))
