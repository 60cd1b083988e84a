"""Keys from a real Barbican, through Castellan: what seals secrets in the database where no key file is kept."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

from catalog import config
from catalog.db import base, environments, keys, resealing, sealing, tables  # noqa: F401  all tables
from cli import main

pytestmark = pytest.mark.openstack

MODEL = {"Objects": {"password": "correct horse"}, "Attributes": []}


@pytest.fixture
def configuration(auth_url, user, tmp_path):
    """`configuration(ids)`: the file of a service that has its keys in Barbican; keys that were made go afterwards."""
    made = []

    def write(*ids):
        made.extend(ids)
        environ = os.environ
        file = tmp_path / "chandlery.conf"
        file.write_text(
            f"[database]\nconnection = sqlite:///{tmp_path}/catalog.sqlite\n"
            f"[secrets]\nkey_ids = {','.join(ids)}\n"
            f"[key_manager]\nbackend = barbican\nauth_type = keystone_password\nauth_url = {auth_url}\n"
            f"username = {environ['OS_USERNAME']}\npassword = {environ['OS_PASSWORD']}\n"
            f"project_name = {environ['OS_PROJECT_NAME']}\n"
            f"user_domain_name = {environ.get('OS_USER_DOMAIN_NAME', 'Default')}\n"
            f"project_domain_name = {environ.get('OS_PROJECT_DOMAIN_NAME', 'Default')}\n"
            f"[barbican]\nauth_endpoint = {auth_url}\n"
        )
        return file

    yield write
    conf = config.load([str(write())])
    for each in set(made) & set(_ids(user)):
        keys.manager(conf).delete(keys.credentials(conf), each)


def _ids(user):
    """The keys in Barbican that were made here."""
    found = user.get("/v1/secrets?name=chandlery", endpoint_filter={"service_type": "key-manager"}).json()["secrets"]
    return [each["secret_ref"].rpartition("/")[2] for each in found]


def _database(file):
    conf = config.load([str(file)])
    database = base.Database(conf.database.connection)
    database.create_tables()
    keys.configure(database, conf)
    return database


def test_a_key_that_the_command_makes_in_barbican_seals_and_opens_in_every_process(configuration, capsys):
    assert main.main(["secrets", "new-key", "--config", str(configuration()), "-f", "json"]) == 0
    made = capsys.readouterr().out.split('"')[3]
    file = configuration(made)
    one, other = _database(file), _database(file)
    with one.transaction() as session:
        session.add(environments.Environment(id="e", name="e", project_id="p", model=MODEL))
    with other.reading() as session:
        assert session.scalars(sa.select(environments.Environment.model)).one() == MODEL
        text = session.scalar(sa.text("SELECT model FROM environments"))
    assert text.startswith(f"{sealing.MARK}{sealing.ring_of(one).first}:")
    assert main.main(["secrets", "new-key", "--config", str(file), "-f", "json"]) == 0
    newer = capsys.readouterr().out.split('"')[3]
    again = _database(configuration(newer, made))
    assert list(resealing.reseal(again)) == [("environments.model", 1)]
    last = _database(configuration(newer))
    with last.reading() as session:
        assert session.scalars(sa.select(environments.Environment.model)).one() == MODEL
    assert main.main(["secrets", "forget-key", made, "--config", str(file)]) == 2
    assert "keeps the keys" in capsys.readouterr().err
    for each in (one, other, again, last):
        each.dispose()


def test_a_key_that_barbican_does_not_have_is_named(configuration):
    unknown = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(ValueError, match=rf"\[secrets\] key_ids: {unknown}: the key manager does not give it"):
        keys.ring_of(config.load([str(configuration(unknown))]))


def test_credentials_that_keystone_refuses_are_told_without_the_password(configuration, monkeypatch):
    file = configuration("00000000-0000-4000-8000-000000000000")
    file.write_text(file.read_text().replace(f"password = {os.environ['OS_PASSWORD']}", "password = not-this-one"))
    with pytest.raises(ValueError, match="key manager does not give it") as told:
        keys.ring_of(config.load([str(file)]))
    assert "not-this-one" not in str(told.value)
