"""Packages after they are there, on the command line, against a service on a port: versions, shares, the store."""

from __future__ import annotations

import io
import json
import pathlib
import threading
import zipfile

import pytest
from cheroot import wsgi

from catalog import config, identity, packages, service
from catalog.db import contents, migrations
from catalog.db.base import Database
from cli import errors, main

CLASS = "Namespaces: {=: org.example, std: io.murano}\nName: App\nExtends: std:Object\n"


def archive(version: str) -> bytes:
    manifest = {"Format": "1.4", "Type": "Application", "FullName": "org.example.App", "Name": "App"}
    manifest |= {"Version": version, "Classes": {"org.example.App": "App.yaml"}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("manifest.yaml", json.dumps(manifest))
        file.writestr("Classes/App.yaml", CLASS)
    return buffer.getvalue()


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The database of a running service; the command line is logged in as `demo`, who has a package in two versions."""
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    migrations.upgrade(url)
    database = Database(url)
    account = identity.bootstrap(database, admin_password="admin", demo_password="demo")["demo"]
    archives = [archive("0.1.0"), archive("0.2.0")]
    packages.import_archives(database, archives, owner_id=account.project_id)
    app = service.create_app(config.load(overrides={"database": {"connection": url}}), database=database)
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    for name, value in (
        ("AUTH_URL", f"http://127.0.0.1:{server.bind_addr[1]}/identity/v3"),
        ("USERNAME", "demo"),
        ("PASSWORD", "demo"),
        ("PROJECT_NAME", "demo"),
    ):
        monkeypatch.setenv(f"OS_{name}", value)
    yield database
    server.stop()
    thread.join()
    app.close()


def told(capsys, *arguments, code=errors.OK):
    """What a command prints as JSON."""
    assert main.main([*arguments, "--format", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_version_is_deprecated_yanked_and_restored(database, capsys):
    shown = told(capsys, "package", "deprecate", "org.example.App", "--version", "0.2.0", "--reason", "it leaks")
    assert (shown["version"], shown["lifecycle"], shown["lifecycle_reason"]) == ("0.2.0", "deprecated", "it leaks")
    yanked = told(capsys, "package", "yank", shown["id"])
    assert yanked["lifecycle"] == "yanked"
    assert [each["version"] for each in told(capsys, "package", "list")] == ["0.1.0"]
    assert told(capsys, "package", "restore", "org.example.App", "--version", "0.2.0")["lifecycle"] == "active"
    assert len(told(capsys, "package", "list", "--search", "exmaple")) == 2


def test_which_version_is_meant_has_to_be_said(database, capsys):
    assert main.main(["package", "yank", "org.example.App"]) != errors.OK
    said = capsys.readouterr().err
    assert "0.1.0" in said
    assert "--version" in said
    assert main.main(["package", "yank", "org.example.Nothing"]) != errors.OK
    assert "org.example.Nothing" in capsys.readouterr().err


def test_a_package_is_shared_and_unshared(database, capsys):
    chosen = ("org.example.App", "--version", "0.1.0")
    assert told(capsys, "package", "shares", *chosen) == []
    shared = told(capsys, "package", "share", *chosen, "--project", "p1", "--project", "p2")
    assert [each["project_id"] for each in shared] == ["p1", "p2"]
    told(capsys, "package", "unshare", *chosen, "--project", "p1")
    assert [each["project_id"] for each in told(capsys, "package", "shares", *chosen)] == ["p2"]
    assert main.main(["package", "unshare", *chosen, "--project", "p1"]) != errors.OK


def test_the_store_is_moved_and_swept(database, capsys, tmp_path: pathlib.Path):
    file = tmp_path / "chandlery.conf"
    folder = tmp_path / "store"
    lines = ("[database]", f"connection = {database.url}", "[packages]", "store = filesystem")
    file.write_text("\n".join([*lines, f"store_directory = {folder}", ""]))
    options = ("--config", str(file))
    assert told(capsys, "package", "store", "migrate", *options) == {"moved": 2, "store": "filesystem"}
    assert told(capsys, "package", "store", "migrate", *options) == {"moved": 0, "store": "filesystem"}
    assert told(capsys, "package", "store", "sweep", *options) == {"removed": [], "missing": []}
    [lost, _kept] = [path for path in folder.glob("*/*") if path.is_file()]
    lost.unlink()
    swept = told(capsys, "package", "store", "sweep", *options, code=errors.FAILED)
    assert swept == {"removed": [], "missing": [lost.name]}
    with database.reading() as session:
        stores = session.query(contents.Content.store).distinct().all()
    assert [store for (store,) in stores] == ["filesystem"]


def test_a_store_without_a_configuration_says_what_to_do(capsys, tmp_path: pathlib.Path):
    assert main.main(["package", "store", "sweep", "--config", str(tmp_path / "none.conf")]) != errors.OK
    assert "none.conf" in capsys.readouterr().err
