"""Secrets at rest: what is sealed, with which key, what is told when a key is wrong, and changing keys."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalog_databases
import pytest
import sqlalchemy as sa
from catalog_cloud import Cloud
from sqlalchemy.dialects import sqlite

from catalog import config, service
from catalog.db import key_file, keys, migrations, repositories, resealing, sealing, tables
from catalog.db.base import Database
from catalog.db.environments import Environment
from catalog.db.idempotency import KeptAnswer
from cli import all_in_one, errors, main

SECRET = "correct horse ♥ battery staple"
MODEL = {"Objects": {"password": SECRET, "n": 1.5, "nothing": None}, "Attributes": []}


@pytest.fixture(scope="module", params=catalog_databases.KINDS)
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database of each kind, with all tables."""
    with catalog_databases.empty(request.param, tmp_path_factory.mktemp("migrated")) as url:
        migrations.upgrade(url)
        made = Database(url)
        yield made
        made.dispose()


@pytest.fixture
def database(migrated: Database) -> Iterator[Database]:
    """An empty one of each kind, with the keys that all tests share."""
    sealing.use(migrated, keys.ring_of(config.load()))
    yield migrated
    with migrated.transaction() as session:
        for table in reversed(tables.METADATA.sorted_tables):
            session.execute(sa.delete(table))


def ring(number: int, *others: int) -> sealing.Ring:
    return sealing.Ring([bytes([each]) * 32 for each in (number, *others)], "[secrets] key_ids")


def add_environment(database: Database, name: str = "e") -> str:
    with database.transaction() as session:
        row = Environment(name=name, project_id="p", model=MODEL)
        session.add(row)
        session.flush()
        return row.id


def model_of(database: Database, environment_id: str) -> Any:
    with database.reading() as session:
        return session.scalars(sa.select(Environment.model).where(Environment.id == environment_id)).one()


def stored(database: Database, column: str = "model", table: str = "environments") -> list[Any]:
    with database.reading() as session:
        return list(session.scalars(sa.text(f"SELECT {column} FROM {table}")))


def in_the_clear(database: Database, environment_id: str) -> None:
    """As a version before has left it."""
    with database.transaction() as session:
        text = json.dumps({"Objects": {"password": SECRET}})
        session.execute(
            sa.text("UPDATE environments SET model = :m, updated = '2026-01-01 00:00:00' WHERE id = :id"),
            {"m": text, "id": environment_id},
        )


def conf_of(path: Path, **secrets: Any) -> Any:
    return config.load(overrides={"secrets": {"key_file": str(path), **secrets}})


def test_every_sealed_column_knows_its_own_place() -> None:
    found = {f"{each.table.name}.{each.column.name}": each.place for each in resealing.columns()}
    assert all(name == place for name, place in found.items())
    assert set(found) == {
        "agent_plans.plan",
        "agent_plans.result",
        "deployments.action",
        "deployments.failure",
        "deployments.model",
        "deployments.result",
        "environment_templates.model",
        "environments.model",
        "idempotency_keys.body",
        "idempotency_keys.body_digest",
        "idempotency_keys.headers",
        "installation_keys.value",
        "journal.arguments",
        "journal.digest",
        "journal.failure",
        "journal.outcome",
        "output_chunks.text",
        "output_streams.held",
        "plans.steps",
        "sessions.model",
    }


def test_every_column_that_can_hold_json_or_bytes_is_decided_about() -> None:
    """Whoever adds such a column decides, too: seals it, or names it here and in docs/secrets.md."""
    from catalog.db import base

    open_ones = {
        f"{table.name}.{column.name}"
        for table in tables.METADATA.sorted_tables
        for column in table.columns
        if isinstance(column.type, base.Json | sa.LargeBinary | sa.Text) and not isinstance(column.type, sealing.Sealed)
    }
    documented = (Path(__file__).parents[2] / "docs" / "secrets.md").read_text(encoding="utf-8")
    assert {name for name in open_ones if f"`{name}`" not in documented} == set()
    assert {each.place for each in resealing.columns() if f"`{each.place}`" not in documented} == set()


def test_what_is_stored_tells_nothing_and_reads_as_it_was_written(database: Database) -> None:
    first, second = add_environment(database, "e"), add_environment(database, "f")
    one, other = stored(database)
    assert one.startswith("sealed1:")
    assert "horse" not in one + other
    assert one != other  # equal values are not told by equal texts
    assert model_of(database, first) == model_of(database, second) == MODEL


def test_bytes_are_sealed_too(database: Database) -> None:
    with database.transaction() as session:
        session.add(
            KeptAnswer(id="1", body_digest="d" * 64, claim="c", status=200, headers={}, body=b"\0" + SECRET.encode())
        )
    assert b"horse" not in bytes(stored(database, "body", "idempotency_keys")[0])
    with database.reading() as session:
        row = session.get_one(KeptAnswer, "1")
        assert (row.body, row.body_digest) == (b"\0" + SECRET.encode(), "d" * 64)


def test_what_a_version_before_has_left_in_the_clear_is_read_and_sealed(database: Database) -> None:
    environment_id = add_environment(database)
    in_the_clear(database, environment_id)
    assert model_of(database, environment_id) == {"Objects": {"password": SECRET}}
    ours = sealing.ring_of(database)
    assert ours is not None
    assert resealing.survey(database)["environments.model"] == {resealing.CLEAR: 1}
    assert list(resealing.reseal(database)) == [("environments.model", 1)]
    assert resealing.survey(database)["environments.model"] == {ours.first: 1}
    assert model_of(database, environment_id) == {"Objects": {"password": SECRET}}
    with database.reading() as session:
        row = session.get_one(Environment, environment_id)
        assert (row.updated.year, row.updated.month, row.generation) == (2026, 1, 1)


def test_keys_change_while_all_stays_readable(database: Database) -> None:
    sealing.use(database, ring(1))
    resealing.agree(database, ring(1))
    ids = [add_environment(database, str(number)) for number in range(5)]
    sealing.use(database, ring(2, 1))
    resealing.agree(database, ring(2, 1))
    ids.append(add_environment(database, "new"))
    assert list(resealing.reseal(database, batch=2)) == [("environments.model", n) for n in (2, 2, 1)]
    assert list(resealing.reseal(database)) == []
    sealing.use(database, ring(2))
    resealing.agree(database, ring(2))
    assert [model_of(database, each) for each in ids] == [MODEL] * 6


def test_a_process_with_another_key_is_told_so_before_it_writes(database: Database) -> None:
    resealing.agree(database, ring(1))
    with pytest.raises(sealing.SealError, match=f"expected the key {ring(1).first}.*found {ring(2).first}"):
        resealing.agree(database, ring(2))
    resealing.agree(database, ring(2, 1))


def test_a_value_that_was_moved_to_another_column_does_not_open(database: Database) -> None:
    environment_id = add_environment(database)
    with database.transaction() as session:
        opened = (
            "INSERT INTO sessions (id, environment_id, user_id, state, version, generation, model, created, updated) "
        )
        copied = "SELECT 's', id, 'u', 'opened', 0, 1, model, created, updated FROM environments"
        session.execute(sa.text(opened + copied))
    assert model_of(database, environment_id) == MODEL
    with database.reading() as session, pytest.raises(sealing.SealError, match=r"sessions\.model.*moved"):
        session.execute(sa.select(tables.sessions.Session.model)).all()


@pytest.mark.parametrize(
    "change", [lambda text: text[:-8], lambda text: text[:-9] + ("A" if text[-9] != "A" else "B") + text[-8:]]
)
def test_a_value_that_was_changed_does_not_open(change: Any) -> None:
    text = ring(1).seal(b"value", "a.b")
    assert ring(1).open(text, "a.b") == b"value"
    with pytest.raises(sealing.SealError, match="was changed"):
        ring(1).open(change(text), "a.b")


def test_without_keys_nothing_is_written() -> None:
    bare = sqlite.dialect()
    with pytest.raises(sealing.KeyMissing, match=r"environments\.model: .*key_file") as told:
        sealing.Json("environments.model").process_bind_param(MODEL, bare)
    assert SECRET not in repr(told.value)


def test_errors_of_the_database_do_not_tell_what_was_written(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/c.sqlite")
    with pytest.raises(sa.exc.OperationalError) as told, database.transaction() as session:
        session.execute(sa.text("INSERT INTO nowhere VALUES (:password)"), {"password": SECRET})
    assert SECRET not in str(told.value)
    database.dispose()


# --- the service -----------------------------------------------------------------------------------------------------


def test_a_service_without_its_key_file_does_not_start(tmp_path: Path) -> None:
    conf = conf_of(tmp_path / "none.key")
    with pytest.raises(ValueError, match=r"\[secrets\] key_file = .*none\.key: expected the file .*new-key"):
        service.create_app(conf, database=Database(f"sqlite:///{tmp_path}/c.sqlite"))


def test_a_service_with_the_key_of_another_installation_does_not_start(cloud: Cloud, tmp_path: Path) -> None:
    conf = conf_of(tmp_path / "other.key")
    made = keys.make(conf)
    again = Database(cloud.database.url)
    with pytest.raises(ValueError, match=f"other.key: expected the key [0-9a-f]{{16}}.*found {made}"):
        service.create_app(conf, database=again)
    again.dispose()


def test_a_value_that_does_not_open_is_no_traceback_for_whoever_asked(cloud: Cloud, caplog: Any) -> None:
    environment = cloud.member.environment()
    sealing.use(cloud.database, ring(3))
    answer = cloud.member("GET", f"/v1/environments/{environment['id']}", status=503)
    assert "its log has the reason" in answer.text.lower()
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.exc_info is None
    assert "environments.model is sealed with the key" in record.getMessage()


def test_a_running_service_learns_of_a_key_that_another_process_has_begun_to_use(tmp_path: Path) -> None:
    conf = conf_of(tmp_path / "k" / "secrets.key")
    keys.make(conf)
    before = keys.ring_of(conf)
    newer = keys.make(conf)
    after = keys.ring_of(conf)
    assert after.ids == (newer, before.first)
    assert before.open(after.seal(b"x", "a.b"), "a.b") == b"x"
    assert before.seal(b"x", "a.b").startswith(f"sealed1:{before.ids[0]}")


# --- the file of keys ------------------------------------------------------------------------------------------------


def test_the_file_of_keys_is_for_its_owner_alone(tmp_path: Path) -> None:
    conf = conf_of(tmp_path / "secrets.key")
    keys.make(conf)
    path = tmp_path / "secrets.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secrets.key"]
    path.chmod(0o644)
    with pytest.raises(ValueError, match=r"secrets\.key: .*mode 0644: chmod"):
        keys.ring_of(conf)


@pytest.mark.parametrize("line", ["c2hvcnQ=", "not base64!", base64.b64encode(b"x" * 33).decode()])
def test_a_file_with_something_else_names_the_line_and_does_not_tell_what_is_there(line: str, tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    path.touch(mode=0o600)
    path.write_text(f"# keys\n{line}\n")
    with pytest.raises(ValueError, match="line 2: expected 32 bytes in base64") as told:
        keys.ring_of(conf_of(path))
    assert line not in str(told.value)


def test_a_file_without_keys_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    path.touch(mode=0o600)
    with pytest.raises(ValueError, match="expected at least one key"):
        keys.ring_of(conf_of(path))


class Elsewhere(key_file.KeyFile):
    """A key manager that Castellan loads by its name and that wants credentials, as Barbican's does."""

    def get(self, context: Any, managed_object_id: str, metadata_only: bool = False) -> Any:
        assert (context.username, context.password) == ("chandlery", "of the key manager")
        return super().get(context, managed_object_id, metadata_only)


def elsewhere(path: Path, *ids: str) -> Any:
    conf = conf_of(path, key_ids=list(ids))
    assert keys.is_file(conf)
    from castellan.common import utils

    conf.register_opts(utils.credential_opts, group="key_manager")
    options = {"backend": f"{__name__}.Elsewhere", "auth_type": "password", "username": "chandlery"}
    for name, value in {**options, "password": "of the key manager"}.items():
        conf.set_override(name, value, group="key_manager")
    return conf


def test_another_key_manager_gives_the_keys_whose_ids_are_configured(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.key"
    ids = [keys.make(conf_of(path)) for _ in range(3)]
    assert keys.ring_of(elsewhere(path, ids[1], ids[0])).ids == (ids[1], ids[0])
    with pytest.raises(ValueError, match=r"\[secrets\] key_ids: expected ids of keys, found none"):
        keys.ring_of(elsewhere(path))
    with pytest.raises(ValueError, match=r"\[secrets\] key_ids: nobodys"):
        keys.ring_of(elsewhere(path, "nobodys"))


def test_a_key_manager_that_is_not_there_is_named(tmp_path: Path) -> None:
    conf = elsewhere(tmp_path / "x", "1")
    conf.set_override("backend", "no.such.Manager", group="key_manager")
    with pytest.raises(ValueError, match=r"\[key_manager\] backend = no\.such\.Manager"):
        keys.ring_of(conf)


# --- the command -----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    return main.main(["secrets", *arguments])


def test_an_operator_changes_the_key_of_a_data_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHANDLERY_CONFIG", raising=False)
    data = ("--data", str(tmp_path))
    url = f"sqlite:///{tmp_path}/chandlery.sqlite"
    migrations.upgrade(url)
    assert run("status", *data) == 2
    assert "chandlery secrets new-key" in capsys.readouterr().err
    assert run("new-key", *data) == 0
    database = Database(url)
    keys.configure(database, conf_of(tmp_path / "secrets.key"))
    in_the_clear(database, add_environment(database))
    assert run("status", *data) == 1
    assert "clear" in capsys.readouterr().out
    assert run("seal", *data) == 0
    assert "1 of environments.model" in capsys.readouterr().out
    assert run("status", *data) == 0
    old = keys.ring_of(conf_of(tmp_path / "secrets.key")).first
    assert run("forget-key", old, *data) == 2  # it seals
    assert run("new-key", *data) == 0
    assert run("forget-key", old, *data) == 1  # it has sealed
    assert "Seal them anew" in capsys.readouterr().err
    assert run("seal", *data) == 0
    assert run("forget-key", old, *data) == 0
    assert run("status", *data) == 0
    assert old not in keys.ring_of(conf_of(tmp_path / "secrets.key")).ids
    assert SECRET not in capsys.readouterr().out
    database.dispose()


def test_the_command_reads_the_services_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OS_SECRETS__KEY_FILE")  # it would win over the file
    url = f"sqlite:///{tmp_path}/c.sqlite"
    migrations.upgrade(url)
    path = tmp_path / "chandlery.conf"
    path.write_text(f"[database]\nconnection = {url}\n[secrets]\nkey_file = {tmp_path}/k.key\n")
    assert run("new-key", "--config", str(path)) == 0
    assert (tmp_path / "k.key").exists()
    assert run("status", "--config", str(path), "-f", "json") == 0
    assert run("status", "--config", str(tmp_path / "none.conf")) == 2
    assert "none.conf" in capsys.readouterr().err


# --- the all-in-one service ------------------------------------------------------------------------------------------


def test_the_all_in_one_service_makes_its_key_and_seals_what_was_there_before(tmp_path: Path) -> None:
    settings = all_in_one.Settings(data=tmp_path)
    migrations.upgrade(settings.database_url)
    database = Database(settings.database_url)
    in_the_clear(database, add_environment(database))
    conf = conf_of(settings.key_file)
    all_in_one._unlock(settings, conf, database)
    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600
    assert all(text.startswith("sealed1:") for text in stored(database))
    again = Database(settings.database_url)
    all_in_one._unlock(settings, conf, again)
    assert model_of(again, stored(again, "id")[0]) == {"Objects": {"password": SECRET}}
    again.dispose()
    database.dispose()


def test_the_all_in_one_service_makes_no_new_key_in_place_of_one_that_was_lost(tmp_path: Path) -> None:
    settings = all_in_one.Settings(data=tmp_path)
    migrations.upgrade(settings.database_url)
    database = Database(settings.database_url)
    conf = conf_of(settings.key_file)
    all_in_one._unlock(settings, conf, database)
    settings.key_file.unlink()
    with pytest.raises(errors.CommandError, match=r"secrets\.key: expected the file"):
        all_in_one._unlock(settings, conf, database)
    assert not settings.key_file.exists()
    database.dispose()


def test_the_address_of_a_repository_is_kept_without_its_password(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/c.sqlite")
    database.create_tables()
    url = "https://ann:correct-horse@packages.example.org/index.json"
    with database.transaction() as session:
        repositories.put(session, url, b"{}", etag=None, last_modified=None)
    with database.reading() as session:
        found = repositories.get(session, url)
        assert found is not None
        assert found.url == "https://packages.example.org/index.json"
    database.dispose()
