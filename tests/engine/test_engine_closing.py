"""What the end of a deployment writes, and that it is all or nothing."""

from __future__ import annotations

import pytest
from engine_world import look, new_environment, submit, texts

from catalog.db import deployments, environments, sessions, statuses
from engine import closing, models

LOCK = [{"fqn": "harbour.Ship", "version": "1.2.0", "package_id": "p1", "digest": "d1"}]
SHIP = {"?": {"type": "harbour.Ship", "id": "ship"}, "name": "Anna"}


def close(database, deployment_id, **ending):
    with database.transaction() as session:
        closing.close(session, deployment_id, closing.Ending(**ending))


def left(environment_id, *applications):
    root = {"?": {"type": "io.murano.Environment", "id": environment_id}, "applications": list(applications)}
    return {"Objects": root, "ObjectsCopy": root, "Attributes": [["ship", "harbour.Ship", "berth", 4]]}


def report(database, deployment_id, level):
    with database.transaction() as session:
        row = session.get(deployments.Deployment, deployment_id)
        statuses.add(session, deployment_id, row.environment_id, text="Something", level=level)


def test_success_keeps_the_model_under_the_catalogs_names(any_database):
    environment_id = new_environment(any_database)
    deployment_id = submit(any_database, environment_id, lock=LOCK)
    close(any_database, deployment_id, value={"berth": 4}, model=left(environment_id, SHIP))
    seen = look(any_database, deployment_id)
    assert (seen.state, seen.session_state, seen.version) == ("finished", "deployed", 1)
    assert seen.result == {"result": {"berth": 4}, "isException": False}
    assert seen.model["Objects"]["services"] == [SHIP]
    assert "applications" not in seen.model["Objects"]
    assert seen.model["ObjectsCopy"]["applications"] == [SHIP]
    assert seen.model["SystemData"] == {"Packages": {"harbour.Ship": ["1.2.0"]}}
    assert (seen.model["project_id"], seen.model["user_id"]) == ("project-1", "user-1")
    assert texts(any_database, deployment_id) == ["Action deploy is scheduled", "Deployment finished"]


def test_failure_says_why_and_keeps_what_the_program_left(database):
    environment_id = new_environment(database)
    deployment_id = submit(database, environment_id)
    complaint = closing.Complaint(message="no more berths", details="the whole story", entity_id="ship")
    close(database, deployment_id, complaints=[complaint], model=left(environment_id, SHIP))
    seen = look(database, deployment_id)
    assert (seen.session_state, seen.version) == ("deploy failure", 1)
    assert seen.result == {"result": {"message": "no more berths", "details": "the whole story"}, "isException": True}
    assert seen.reports[1:] == [
        (2, "error", "no more berths", "ship"),
        (3, "info", "Deployment finished with errors", None),
    ]
    assert seen.model["Objects"]["services"] == [SHIP]


def test_what_was_composed_is_kept_when_nothing_of_it_could_be_deployed(database):
    environment_id = new_environment(database)

    def compose(model):
        return {**model, "Objects": {**model["Objects"], "services": [SHIP]}}

    deployment_id = submit(database, environment_id, change=compose)
    close(database, deployment_id, complaints=[closing.Complaint(message="class harbour.Ship is unknown")])
    assert look(database, deployment_id).model["Objects"]["services"] == [SHIP]


@pytest.mark.parametrize(
    ("level", "text", "state"),
    [
        ("warning", "Deployment finished with warnings", "deployed"),
        ("error", "Deployment finished with errors", "deploy failure"),
    ],
)
def test_reports_of_packages_decide_on_the_closing_words(database, level, text, state):
    environment_id = new_environment(database)
    deployment_id = submit(database, environment_id)
    report(database, deployment_id, level)
    close(database, deployment_id, model=left(environment_id))
    assert texts(database, deployment_id)[-1] == text
    assert look(database, deployment_id).session_state == state


def test_a_deletion_removes_the_environment_and_all_that_hangs_on_it(any_database):
    environment_id = new_environment(any_database)
    deployment_id = submit(any_database, environment_id, kind="delete")
    close(any_database, deployment_id, model={"Objects": None, "ObjectsCopy": None})
    assert look(any_database, deployment_id).state is None
    with any_database.reading() as session:
        assert environments.get(session, environment_id) is None
        assert session.scalar(deployments.sa.select(deployments.sa.func.count()).select_from(sessions.Session)) == 0
        assert session.scalar(deployments.sa.select(deployments.sa.func.count()).select_from(statuses.Status)) == 0


def test_a_failed_deletion_keeps_the_environment_for_another_try(database):
    environment_id = new_environment(database, [SHIP])
    deployment_id = submit(database, environment_id, kind="delete")
    close(database, deployment_id, complaints=[closing.Complaint(message="the stack stays")], model={"Objects": None})
    seen = look(database, deployment_id)
    assert seen.session_state == "delete failure"
    assert seen.model["Objects"]["services"] == [SHIP]
    assert [text for _n, _level, text, _id in seen.reports] == [
        "Action None is scheduled",
        "the stack stays",
        "Deletion finished with errors",
    ]


def test_an_ending_that_can_not_be_written_whole_is_not_written_at_all(database, monkeypatch):
    environment_id = new_environment(database)
    deployment_id = submit(database, environment_id)
    real = statuses.add

    def add(session, *arguments, **fields):
        if fields["text"].startswith("Deployment finished"):
            raise RuntimeError("power cut")
        return real(session, *arguments, **fields)

    monkeypatch.setattr(statuses, "add", add)
    before = look(database, deployment_id)
    with pytest.raises(RuntimeError):
        close(database, deployment_id, model=left(environment_id, SHIP))
    assert look(database, deployment_id) == before


def test_the_last_report_about_each_object_is_found_over_all_deployments(database):
    environment_id = new_environment(database)
    ids = [submit(database, environment_id) for _ in range(2)]
    for deployment_id, text in zip(ids, ("at sea", "moored"), strict=True):
        with database.transaction() as session:
            statuses.add(session, deployment_id, environment_id, text=text, entity_id="ship")
            statuses.add(session, deployment_id, environment_id, text=f"crew {text}", entity_id="crew")
    with database.reading() as session:
        found = statuses.last_of_entities(session, environment_id, ["ship", "crew", "nobody"])
    assert {entity: status.text for entity, status in found.items()} == {"ship": "moored", "crew": "crew moored"}


def test_the_model_for_the_engine_has_the_environments_own_id():
    model = {"Objects": {"?": {"type": "io.murano.Environment", "id": "forged"}, "services": [SHIP]}}
    loaded = models.for_engine(model, "the-environment")
    assert loaded["Objects"]["?"]["id"] == "the-environment"
    assert loaded["Objects"]["applications"] == [SHIP]
    assert models.for_engine({"Objects": None}, "e") == {"Objects": None, "Attributes": []}


def test_the_shown_state_follows_result_and_reports():
    def shown(state, result=None, **levels):
        return deployments.shown_state(deployments.Deployment(state=state, result=result), levels)

    assert shown("running") == "running"
    assert shown("queued", warning=1) == "running_w_warnings"
    assert shown("running", error=1, warning=1) == "running_w_errors"
    assert shown("finished", {"isException": False}) == "success"
    assert shown("finished", {"isException": True}) == "completed_w_errors"
    assert shown("finished", {"isException": False}, warning=2) == "completed_w_warnings"


def test_a_deployment_without_its_action_is_not_accepted(database):
    environment_id = new_environment(database)
    fields = {"environment_id": environment_id, "session_id": None, "project_id": "p", "user_id": "u"}
    with database.transaction() as session:
        with pytest.raises(ValueError, match="expected an action"):
            deployments.submit(session, **fields, kind="deploy", action=None, model={}, lock=[])
        with pytest.raises(ValueError, match="expected one of deploy, action, delete"):
            deployments.submit(session, **fields, kind="explode", action={}, model={}, lock=[])
