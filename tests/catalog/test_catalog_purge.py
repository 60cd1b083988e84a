"""What `chandlery db purge` removes, and what it must not, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalog_databases
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from catalog.db import (
    agents,
    deployments,
    environments,
    identity,
    journal,
    migrations,
    purge,
    resources,
    sessions,
    statuses,
)
from catalog.db.base import Database, now
from catalog.db.idempotency import KeptAnswer
from cli import main

DAY = datetime.timedelta(days=1)


@pytest.fixture(params=catalog_databases.KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with catalog_databases.empty(request.param, tmp_path) as url:
        migrations.upgrade(url)
        made = Database(url)
        yield made
        made.dispose()


def environment(session: orm.Session, name: str, version: int = 0) -> environments.Environment:
    row = environments.Environment(name=name, project_id="p", model={}, version=version)
    session.add(row)
    session.flush()
    return row


def deployment(session: orm.Session, environment_id: str, days: float | None, **fields: Any) -> str:
    """A deployment that ended so many days ago, or is still going on, with two reports and a journal of two effects."""
    ended = None if days is None else now() - days * DAY
    row = deployments.Deployment(
        environment_id=environment_id,
        project_id="p",
        user_id="u",
        kind="deploy",
        model={},
        lock=[],
        state="running" if ended is None else deployments.FINISHED,
        finished=ended,
        **fields,
    )
    session.add(row)
    session.flush()
    for number in (1, 2):
        session.add(
            statuses.Status(
                deployment_id=row.id, environment_id=environment_id, level="info", text="t", sequence=number
            )
        )
        session.add(
            journal.JournalEntry(
                deployment_id=row.id, key=f"key-{number}", name="sleep", digest="", arguments={}, started=now()
            )
        )
    return row.id


def draft(session: orm.Session, environment_id: str, state: str, version: int, days: float) -> str:
    row = sessions.Session(
        environment_id=environment_id, user_id="u", state=state, version=version, model={}, updated=now() - days * DAY
    )
    session.add(row)
    session.flush()
    return row.id


def ids(session: orm.Session, column: Any) -> set[str]:
    return set(session.scalars(sa.select(column)))


def test_old_deployments_go_with_reports_and_journals_but_for_the_last_of_each_environment(database: Database) -> None:
    with database.transaction() as session:
        one, other = environment(session, "one").id, environment(session, "other").id
        gone = [deployment(session, one, days) for days in (400, 300, 200)]
        kept = [deployment(session, one, 10), deployment(session, one, None), deployment(session, other, 500)]
    before = now() - 90 * DAY
    counted = purge.count(database, before)
    assert (counted["deployments"], counted["reports"], counted["journals"]) == (3, 6, 8)
    with database.reading() as session:
        assert ids(session, deployments.Deployment.id) == {*gone, *kept}  # counting removes nothing
    assert purge.purge(database, before, batch=2) == counted
    with database.reading() as session:
        assert ids(session, deployments.Deployment.id) == set(kept)
        assert ids(session, statuses.Status.deployment_id) == set(kept)
        assert ids(session, journal.JournalEntry.deployment_id) == set(kept[:2])  # nobody takes over what has ended
    assert set(purge.purge(database, before).values()) == {0}


def test_sessions_that_nobody_can_deploy_go_and_no_status_changes(database: Database) -> None:
    with database.transaction() as session:
        deployed, failed, busy, edited = (environment(session, name, 3).id for name in ("d", "f", "b", "e"))
        gone = {
            draft(session, deployed, sessions.DEPLOYED, 1, 300),
            draft(session, deployed, sessions.OPENED, 1, 290),
            draft(session, failed, sessions.DEPLOYED, 1, 300),
        }
        kept = {
            draft(session, deployed, sessions.DEPLOYED, 2, 200),
            draft(session, deployed, sessions.OPENED, 1, 10),
            draft(session, failed, sessions.DEPLOY_FAILURE, 2, 200),
            draft(session, busy, sessions.DEPLOYED, 1, 50),
            draft(session, busy, sessions.DEPLOYING, 0, 300),
            draft(session, edited, sessions.OPENED, 3, 300),
        }
        before = environments.statuses(session, [deployed, failed, busy, edited])
    assert purge.purge(database, now() - 90 * DAY, kinds=["sessions"], batch=1) == {"sessions": 3}
    with database.reading() as session:
        assert ids(session, sessions.Session.id) == kept
        assert not gone & kept
        assert environments.statuses(session, [deployed, failed, busy, edited]) == before


def test_of_receipts_goes_what_is_gone_and_stays_what_is_left(database: Database) -> None:
    def resource(environment_id: str, name: str) -> resources.Seen:
        return resources.Seen(physical_id=f"{environment_id}-{name}", name=name, type=resources.STACK)

    with database.transaction() as session:
        for ended in ("all-gone", "one-left", "recent"):
            for name in ("a", "b"):
                place = resources.Place(environment_id=ended, project_id="p", stack=name)
                resources.see(session, place, [resource(ended, name)])
                if (ended, name) != ("one-left", "b"):
                    resources.see(session, place, None)
            resources.end(
                session, environment_id=ended, project_id="p", name=ended, user_id="u", how=resources.ABANDONED
            )
        for row in session.scalars(sa.select(resources.CloudResource).where(resources.CloudResource.gone.is_not(None))):
            row.gone = now() - (10 if row.environment_id == "recent" else 200) * DAY
        for receipt in session.scalars(sa.select(resources.Receipt)):
            receipt.ended = now() - 200 * DAY
    wanted = {"resources": 3, "receipts": 1}
    assert purge.purge(database, now() - 90 * DAY, kinds=["resources", "receipts"], batch=2) == wanted
    with database.reading() as session:
        assert ids(session, resources.Receipt.environment_id) == {"one-left", "recent"}
        assert [row.state for row in resources.of_environment(session, "one-left")] == [resources.LEFT]
        assert len(resources.of_environment(session, "recent")) == 2


def test_expired_tokens_old_answers_and_plans_that_are_over_go(database: Database) -> None:
    with database.transaction() as session:
        user = identity.User(name="u", password_hash="")
        session.add(user)
        session.flush()
        for digest, days in (("expired", -1), ("valid", 1)):
            times = {"issued": now() - 2 * DAY, "expires": now() + days * DAY}
            session.add(identity.Token(digest=digest, user_id=user.id, methods=[], audit_id="a", **times))
        for key, days in (("old", 100), ("new", 1)):
            session.add(KeptAnswer(id=key, body_digest="d", claim="c", created=now() - days * DAY))
        quiet, working = environment(session, "quiet").id, environment(session, "working").id
        deployment(session, working, None)
        for name, where in (("a", quiet), ("b", working)):
            agent = agents.Agent(
                id=name, environment_id=where, project_id="p", instance_id="i", token_hash="t", session_hash=None
            )
            session.add(agent)
            session.flush()
            for plan, state, days in (("done", agents.DONE, 100), ("sent", agents.SENT, 100), ("new", agents.DONE, 1)):
                session.add(
                    agents.AgentPlan(
                        id=f"{name}-{plan}", agent_id=name, plan={}, state=state, created=now() - days * DAY
                    )
                )
    removed = purge.purge(database, now() - 90 * DAY)
    assert {kind: found for kind, found in removed.items() if found} == {"tokens": 1, "answers": 1, "plans": 1}
    with database.reading() as session:
        assert ids(session, identity.Token.digest) == {"valid"}
        assert ids(session, KeptAnswer.id) == {"new"}
        assert ids(session, agents.AgentPlan.id) == {"a-sent", "a-new", "b-done", "b-sent", "b-new"}


def test_the_command_counts_first_and_removes_what_it_counted(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    with database.transaction() as session:
        where = environment(session, "e").id
        for days in (50, 40, 1):
            deployment(session, where, days)
    command = ["db", "purge", "--url", url, "--days", "30", "--only", "deployments", "--only", "reports", "-f", "json"]
    assert main.main([*command, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out) == {"reports": 4, "deployments": 2}
    assert main.main(command) == 0
    assert json.loads(capsys.readouterr().out) == {"reports": 4, "deployments": 2}
    with database.reading() as session:
        assert len(ids(session, deployments.Deployment.id)) == 1


def test_a_wrong_kind_or_age_and_a_database_of_another_version_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    assert main.main(["db", "purge", "--url", url]) == 2
    assert "not at this version's revision" in capsys.readouterr().err
    migrations.upgrade(url)
    assert main.main(["db", "purge", "--url", url, "--only", "environments"]) == 2
    assert "environments: expected some of journals" in capsys.readouterr().err
    assert main.main(["db", "purge", "--url", url, "--days", "0"]) == 2
