"""The same on SQLite, PostgreSQL and MariaDB: migrations, transactions, and a day in the life of the catalog.

PostgreSQL (127.0.0.1:5432, user postgres) and MariaDB (127.0.0.1:3306, user root) are used where they answer.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import catalog_databases
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from catalog_cloud import CORE, archive_of, people
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import exc as orm_exc

from catalog import config, packages, service
from catalog.db import (
    agent_answers,
    agents,
    base,
    content_stores,
    contents,
    deployments,
    environments,
    migrations,
    outputs,
    sealing,
    sessions,
)
from catalog.db.base import Database
from catalog.db.tables import METADATA

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=catalog_databases.KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    with catalog_databases.empty(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    migrations.upgrade(url)
    database = Database(url)
    yield database
    database.dispose()


def test_migrations_make_exactly_the_tables_the_code_expects(database: Database, url: str) -> None:
    assert migrations.check(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": differs})
        assert compare_metadata(context, METADATA) == []
    migrations.upgrade(url)  # a second time changes nothing
    assert migrations.check(url)


def differs(_context: Any, _column: Any, _wanted_column: Any, found: Any, wanted: Any) -> bool | None:
    """alembic takes our JSON for plain text on every database; on MariaDB it is the long one."""
    if isinstance(wanted, sealing.Bytes):
        return not isinstance(found, sa.LargeBinary | mysql.LONGBLOB)
    return not isinstance(found, sa.String) if isinstance(wanted, base.Json | sealing.Sealed) else None


def test_two_services_that_start_at_the_same_time_migrate_once(url: str) -> None:
    call = "import sys; from catalog.db import migrations; sys.stdin.read(1); migrations.upgrade(sys.argv[1])"
    services = [
        subprocess.Popen(
            [sys.executable, "-c", call, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    for process in services:
        assert process.stdin
        process.stdin.write("!")  # now that both have started
        process.stdin.flush()
    failures = [process.communicate()[1] for process in services]
    assert [process.returncode for process in services] == [0, 0], failures
    assert migrations.check(url)


def test_databases_are_migrated_by_several_threads_of_a_process(tmp_path: Path) -> None:
    """alembic's migrations find their context in module variables, which threads would take from each other."""
    urls = [f"sqlite:///{tmp_path}/{number}.sqlite" for number in range(4)]
    at_once([functools.partial(migrations.upgrade, url) for url in urls])
    assert all(migrations.check(url) for url in urls)


def test_a_new_sqlite_file_that_somebody_else_writes_to_is_waited_for(tmp_path: Path) -> None:
    """Two services started on a new file, and one ended at once with "database is locked": SQLite does not wait
    for the change to write-ahead logging while another connection writes, whatever the busy timeout."""
    other = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.rollback)
    release.start()
    database = Database(f"sqlite:///{tmp_path}/catalog.sqlite")
    with database.reading() as session:
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
    release.join()
    other.close()
    database.dispose()


def test_a_database_of_somebody_else_or_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.sqlite"
    database = Database(url)
    database.create_tables()
    assert not migrations.check(url)
    with pytest.raises(migrations.WrongDatabase, match="tables but no revision"):
        migrations.upgrade(url)
    with database.transaction() as session:
        session.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        session.execute(sa.text("INSERT INTO alembic_version VALUES ('9999')"))
    with pytest.raises(migrations.WrongDatabase, match="9999"):
        migrations.upgrade(url)
    database.dispose()


def test_names_differ_by_every_character_case_and_accent(database: Database) -> None:
    names = ["name", "Name", "namé", "name ", "naïve ♥ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢"]
    with database.transaction() as session:
        for name in names:
            session.add(environments.Environment(name=name, project_id="p", model={"Objects": {"name": name}}))
    with database.reading() as session:
        found = environments.list_of(session, "p")
        assert sorted(row.name for row in found) == sorted(names)
        assert [row.model["Objects"]["name"] for row in found] == [row.name for row in found]


def test_a_stale_write_of_an_environment_is_noticed(database: Database) -> None:
    with database.transaction() as session:
        session.add(environments.Environment(id="e" * 32, name="e", project_id="p", model={}))
    with database.reading() as first:
        stale = environments.get(first, "e" * 32)
        assert stale is not None
        first.expunge(stale)
    with database.transaction() as session:
        row = environments.get(session, "e" * 32)
        assert row is not None
        row.name = "newer"
    with pytest.raises(orm_exc.StaleDataError), database.transaction() as session:  # noqa: PT012
        session.add(stale)
        stale.name = "older"
    with database.reading() as session:
        row = environments.get(session, "e" * 32)
        assert row is not None
        assert row.name == "newer"


def test_a_stale_write_of_a_session_is_noticed(database: Database) -> None:
    with database.transaction() as session:
        environment = environments.Environment(name="e", project_id="p", model={})
        session.add(environment)
        session.flush()
        session_id = sessions.open_for(session, environment, "u").id
    with database.reading() as first:
        stale = sessions.get(first, session_id)
        assert stale is not None
        first.expunge(stale)
    for model in ({"Objects": "newer"}, {"Objects": "newest"}):
        with database.transaction() as session:
            row = sessions.get(session, session_id)
            assert row is not None
            row.model = model
    with pytest.raises(orm_exc.StaleDataError), database.transaction() as session:  # noqa: PT012
        session.add(stale)
        stale.model = {"Objects": "older"}
    with database.reading() as session:
        row = sessions.get(session, session_id)
        assert row is not None
        assert row.model == {"Objects": "newest"}


def test_of_many_who_write_what_they_have_read_one_does_and_the_others_are_told(database: Database, url: str) -> None:
    app = service.create_app(config.load(overrides={"database": {"connection": url}}), database=database)
    member = people(app, database).member
    environment = member.environment("e1")["id"]
    in_session = {"X_Configuration_Session": member.session(environment)}
    path = f"/v1/environments/{environment}/services"
    member("POST", path, {"?": {"id": "a1", "type": "org.example.App"}, "name": "nobody"}, **in_session)
    etag = member("GET", path, **in_session).headers["ETag"]
    answers: dict[str, int] = {}

    def write(name: str) -> None:
        answer = member("PUT", f"{path}/a1/name", name, status=None, If_Match=etag, **in_session)
        answers[name] = answer.status_int

    at_once([functools.partial(write, f"writer-{number}") for number in range(6)])
    (winner,) = (name for name, status in answers.items() if status == 200)
    assert sorted(answers.values()) == [200, *[409] * 5]
    assert member("GET", f"{path}/a1/name", **in_session).json == winner
    app.close()


def test_of_many_that_begin_the_same_session_one_does(database: Database) -> None:
    with database.transaction() as session:
        environment = environments.Environment(name="e", project_id="p", model={})
        session.add(environment)
        session.flush()
        session_id = sessions.open_for(session, environment, "u").id
    began: list[bool] = []

    def begin() -> None:
        with database.transaction() as session:
            row = sessions.get(session, session_id)
            assert row is not None
            environments.lock(session, row.environment_id)
            began.append(sessions.begin(session, row, sessions.DEPLOYING))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(began) == [False] * 5 + [True]


def at_once(calls: list[Callable[[], object]]) -> None:
    """Makes all calls at the same time, and raises what one of them raised."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()


def test_of_many_that_store_and_remove_the_same_content_at_once_what_stays_can_be_read(
    database: Database, tmp_path: Path
) -> None:
    """Rows and files agree at the end, although every third transaction fails."""
    folder = content_stores.Filesystem(tmp_path / "store")
    contents.use(database, contents.Stores(folder))
    data = b"the same for all"

    def work(number: int) -> None:
        for step in range(8):
            # the API repeats a request whose transaction met another one's: a duplicate, a deadlock
            met = (sa.exc.IntegrityError, sa.exc.OperationalError)
            with contextlib.suppress(ZeroDivisionError, *met), database.transaction() as session:
                digest = contents.store(session, data)
                if (number + step) % 3 == 0:
                    contents.remove(session, digest)
                if (number + step) % 3 == 1:
                    raise ZeroDivisionError

    at_once([functools.partial(work, number) for number in range(4)])
    with database.reading() as session:
        known = session.scalars(sa.select(contents.Content.digest)).all()
        assert [contents.read(session, digest) for digest in known] == [data] * len(known)
    assert [digest for digest, _ in folder.listed()] == list(known)


def test_generations_are_seen_in_their_order_by_who_reads_while_others_write(database: Database, url: str) -> None:
    """Whoever sees a generation sees every change up to it: no list misses a package that another one had."""
    app = service.create_app(config.load(overrides={"database": {"connection": url}}), database=database)
    cloud = people(app, database)
    seen: list[int] = []

    def write(number: int) -> None:
        for step in range(4):
            cloud.member.upload(archive_of(f"org.many.P{number}x{step}"))

    def read() -> None:
        while len(seen) < 200 and (not seen or seen[-1] < 12):
            seen.append(cloud.member.json("GET", "/v1/catalog/packages?facets=true")["total"])

    at_once([read, *(functools.partial(write, number) for number in range(3))])
    assert seen == sorted(seen)
    assert cloud.member.json("GET", "/v1/catalog/packages?facets=true")["total"] == 12
    app.close()


def test_a_day_in_the_life_of_the_catalog(database: Database, url: str) -> None:
    app = service.create_app(config.load(overrides={"database": {"connection": url}}), database=database)
    cloud = people(app, database)
    packages.import_archives(
        database,
        [archive_of("io.murano", version="0.0.1", classes=CORE, Type="Library")],
        owner_id=cloud.admin.project_id,
        is_public=True,
    )
    member = cloud.member
    uploaded = member.upload(archive_of("org.example.App"), {"categories": ["Web"], "tags": ["tâg"]}).json
    member.upload(archive_of("org.example.App"), status=409)
    member.upload(archive_of("org.example.App", version="0.2.0"))
    found = member.json("GET", "/v1/catalog/packages?search=EXAMPLE.app;nothing&order_by=created&category=Web")
    assert [each["id"] for each in found["packages"]] == [uploaded["id"]]
    assert [each["name"] for each in member.json("GET", "/v1/catalog/packages?tag=t%C3%A2g")["packages"]] == ["App"]
    first = member.json("GET", "/v1/catalog/packages?limit=1&search=app")
    second = member.json("GET", f"/v1/catalog/packages?limit=1&search=app&marker={first['next_marker']}")
    assert len({each["id"] for page in (first, second) for each in page["packages"]}) == 2
    uploads = [archive_of(f"org.many.P{number}", Tags=["all the same, and new"]) for number in range(6)]
    at_once([functools.partial(member.upload, archive) for archive in uploads])
    assert (
        len(member.json("GET", "/v1/catalog/packages?tag=all the same, and new".replace(" ", "%20"))["packages"]) == 6
    )
    member("GET", "/v1/environments/%00", status=400)
    environment_id = member.environment("e1")["id"]
    session_id = member.session(environment_id)
    services = f"/v1/environments/{environment_id}/services"
    bodies: list[Any] = [{"?": {"id": f"a{number}", "type": "org.example.App"}} for number in range(6)]
    add = functools.partial(member, "POST", services, X_Configuration_Session=session_id)
    at_once([functools.partial(add, body) for body in bodies])
    apps = member.json("GET", services, X_Configuration_Session=session_id)
    assert len(apps) == 6
    member("POST", f"/v1/environments/{environment_id}/sessions/{session_id}/deploy")
    assert member.json("GET", "/v1/environments")["environments"][0]["status"] == "deploying"
    [deployment] = member.json("GET", "/v1/deployments")["deployments"]
    reports = member.json("GET", f"/v1/environments/{environment_id}/deployments/{deployment['id']}")["reports"]
    assert [each["text"] for each in reports] == ["Action deploy is scheduled"]
    member("DELETE", f"/v1/environments/{environment_id}?abandon=true")
    member("DELETE", f"/v1/catalog/packages/{uploaded['id']}")
    shown = cloud.stranger.json("GET", "/v1/catalog/packages?catalog=true")["packages"]
    assert [each["fully_qualified_name"] for each in shown] == ["io.murano"]
    app.close()


def test_of_many_agents_that_send_output_at_once_nothing_is_lost_and_numbers_have_no_gap(database: Database) -> None:
    with database.transaction() as session:
        session.add(environments.Environment(id="e", name="e", project_id="p", model={"Objects": None}))
        session.flush()
        deployment = deployments.submit(
            session,
            environment_id="e",
            session_id=None,
            project_id="p",
            user_id="u",
            kind="delete",
            action=None,
            model={},
            lock=[],
        )
        deployment_id = deployment.id
        for name in "abcd":
            of = {"environment_id": "e", "project_id": "p", "instance_id": name}
            agents.register(session, agent_id=name * 32, token_hash="0" * 64, **of)
            session.flush()
            plan = agents.queue(session, agent_id=name * 32, plan_id=name, plan={"password": "s3cret"}, timeout=None)
            watched = {"deployment_id": deployment_id, "agent_id": name * 32, "entity_id": name}
            outputs.watch(session, **watched, plan_id=name, plan=plan.plan)

    def send(name: str) -> None:
        for number in range(5):
            text = f"{name}{number} ♥ s3cret\n"
            with database.transaction() as session:
                plan = session.get_one(agents.AgentPlan, name)
                piece = outputs.Piece(begin=number, end=number + 1, texts=[("run", "stdout", text)])
                assert outputs.add(session, plan, piece) == number + 1

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for sent in [pool.submit(send, name) for name in "abcd"]:
            sent.result()
    with database.reading() as session:
        found = outputs.of_deployment(session, deployment_id)
    assert [chunk.number for chunk in found] == list(range(1, 21))
    for name in "abcd":
        texts = [chunk.text for chunk in found if chunk.entity_id == name]
        assert texts == [f"{name}{number} ♥ *** SANITIZED ***\n" for number in range(5)]


def test_the_largest_result_a_guest_may_send_is_kept_by_every_database(database: Database) -> None:
    """Ten megabytes of quotes and backslashes: each grows in JSON, and once more on its way to MariaDB."""
    answer = {"ErrorCode": 0, "Body": {"stdout": '\\"♥' * 3_000_000, "n": 1}}
    result = agent_answers.checked_result(answer)
    assert "characters left out" in result["Body"]["stdout"]
    with database.transaction() as session:
        session.add(environments.Environment(id="e", name="e", project_id="p", model={"Objects": None}))
        session.flush()
        agents.register(session, agent_id="a", environment_id="e", project_id="p", instance_id="i", token_hash="0" * 64)
        session.flush()
        agents.queue(session, agent_id="a", plan_id="plan", plan={}, timeout=None)
        agents.sent(session, "plan")
        assert agents.finish(session, "a", "plan", result) == agents.SENT
    with database.reading() as session:
        assert session.get_one(agents.AgentPlan, "plan").result == result
