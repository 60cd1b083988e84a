"""Repositories at the command line, from keys to an import without a network, against a real service."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from cheroot import wsgi

from catalog import config, identity, packages, service
from catalog.db.base import Database
from catalog.identity import passwords
from cli import errors
from cli.main import main

CLASS = "Namespaces: {{=: org.shop}}\nName: {name}\nMethods: {{}}\n"
CORE = """Format: MuranoPL/1.4
Type: Library
FullName: io.murano
Name: Core
Version: 0.0.1
Classes: {io.murano.Object: O.yaml}
"""


def write(folder: Path, name: str, version: str = "0.1.0", **require: str) -> None:
    """The source of a package `org.shop.<name>`."""
    source = folder / name / version
    (source / "Classes").mkdir(parents=True)
    manifest = {
        "Format": "MuranoPL/1.4",
        "Type": "Application",
        "FullName": f"org.shop.{name}",
        "Name": name,
        "Version": version,
        "Classes": {f"org.shop.{name}": "C.yaml"},
        "Require": {f"org.shop.{each}": spec for each, spec in require.items()},
    }
    (source / "manifest.yaml").write_text(json.dumps(manifest))
    (source / "Classes/C.yaml").write_text(CLASS.format(name=name))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write(tmp_path / "sources", "Host")
    write(tmp_path / "sources", "Host", "0.2.0")
    write(tmp_path / "sources", "Shop", Host="<0.2")
    (tmp_path / "sources/bundles").mkdir()
    (tmp_path / "sources/bundles/shops.bundle").write_text('{"Packages": [{"Name": "org.shop.Shop"}]}')
    return tmp_path / "sources"


@pytest.fixture
def signed(tmp_path: Path, sources: Path) -> Path:
    """A signed repository of them."""
    assert main(["repository", "key", str(tmp_path / "keys")]) == 0
    assert (
        main(["repository", "build", str(sources), "-o", str(tmp_path / "repo"), "--sign", str(tmp_path / "keys")]) == 0
    )
    return tmp_path / "repo"


@pytest.fixture
def service_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starts a service with these repositories, and logs the command line in."""
    running = []

    def start(*repositories: str) -> None:
        monkeypatch.setattr(passwords, "ROUNDS", 4)
        options = {"repository": list(repositories), "refresh": 0}
        conf = config.load(
            overrides={
                "database": {"connection": f"sqlite:///{tmp_path}/catalog.sqlite"},
                "repositories": options,
                "messaging": {"exchange": tmp_path.name},
            }
        )
        database = Database(conf.database.connection)
        database.create_tables()
        with database.transaction() as session:
            identity.add_account(session, "ann", "one", ["member"], password="secret")
        core = tmp_path / "core"
        (core / "Classes").mkdir(parents=True)
        (core / "manifest.yaml").write_text(CORE)
        (core / "Classes/O.yaml").write_text("Name: io.murano.Object\n")
        packages.import_archives(database, [core], owner_id="service", is_public=True)
        app = service.create_app(conf, database=database)
        server = wsgi.Server(("127.0.0.1", 0), app, numthreads=4)
        server.prepare()
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        running.append((server, thread, app))
        for name, value in (
            ("OS_AUTH_URL", f"http://127.0.0.1:{server.bind_addr[1]}/identity/v3"),
            ("OS_USERNAME", "ann"),
            ("OS_PASSWORD", "secret"),
            ("OS_PROJECT_NAME", "one"),
        ):
            monkeypatch.setenv(name, value)

    yield start
    for server, thread, app in running:
        server.stop()
        thread.join()
        app.close()


def told(capsys: pytest.CaptureFixture[str], *arguments: str):
    """What a command says to machines."""
    capsys.readouterr()
    code = main([*arguments, "-f", "json"])
    written = capsys.readouterr()
    assert code == 0, written.err
    return json.loads(written.out)


def done(answer) -> list[tuple[str, str, str]]:
    return [(each["fqn"], each["version"], each["action"]) for each in answer]


def test_from_a_repository_over_a_mirror_to_an_import(signed: Path, tmp_path: Path, service_of, capsys) -> None:
    root, copy = str(signed / "metadata/root.json"), str(tmp_path / "mirror")
    assert told(capsys, "repository", "mirror", str(signed), copy, "--root", root)["fetched"] == 3
    assert told(capsys, "repository", "mirror", str(signed), copy, "--root", root)["fetched"] == 0
    service_of(f"mirror={copy}")
    previewed = told(capsys, "package", "import", "org.shop.Shop", "--preview")
    assert done(previewed) == [
        ("org.shop.Host", "0.1.0", "would be added"),
        ("org.shop.Shop", "0.1.0", "would be added"),
    ]
    assert {each["repository"] for each in previewed} == {"mirror"}
    imported = done(told(capsys, "bundle", "import", "shops"))
    assert imported == [("org.shop.Host", "0.1.0", "added"), ("org.shop.Shop", "0.1.0", "added")]
    tree = told(capsys, "package", "dependencies", "org.shop.Shop")
    assert [each["fqn"] for each in tree["lock"]] == ["io.murano", "org.shop.Host", "org.shop.Shop"]
    users = told(capsys, "package", "dependents", "org.shop.Host")
    assert [(each["fqn"], each["requires"]) for each in users["packages"]] == [("org.shop.Shop", "<0.2")]
    for command in ("dependencies", "dependents"):
        assert main(["package", command, "org.shop.Host"]) == 0
    assert "org.shop.Shop" in capsys.readouterr().out
    [listed] = told(capsys, "repository", "list")
    assert (listed["name"], listed["signed"]) == ("mirror", False)


def test_without_a_network_a_bundle_is_carried_over(signed: Path, tmp_path: Path, service_of, capsys) -> None:
    file = str(tmp_path / "offline.zip")
    root = str(signed / "metadata/root.json")
    packed = told(
        capsys, "bundle", "save", "org.shop.Shop@>=0.1", "--repository", str(signed), "--root", root, "-o", file
    )
    assert [each["fqn"] for each in packed["packages"]] == ["org.shop.Host", "org.shop.Shop"]
    service_of()
    assert done(told(capsys, "bundle", "load", file, "--preview"))[0][2] == "would be added"
    assert [action for _, _, action in done(told(capsys, "bundle", "load", file))] == ["added", "added"]
    folder = next((tmp_path / "sources/Shop").iterdir())
    assert done(told(capsys, "package", "import", str(folder)))[-1] == ("org.shop.Shop", "0.1.0", "skipped")
    assert main(["package", "import", str(folder), "--exists-action", "a"]) == errors.REFUSED
    assert main(["bundle", "load", str(tmp_path / "none.zip")]) == errors.USAGE


def test_what_can_not_be_done_is_said_and_leaves_nothing(signed: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "new"
    save = ["bundle", "save", "org.shop.None", "--repository", str(signed), "-o", str(target)]
    assert main(save) == errors.FAILED
    assert "has no package org.shop.None" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert main(["repository", "mirror", str(tmp_path / "nowhere"), str(target)]) == errors.FAILED
    assert main(["repository", "sign", str(tmp_path), "--keys", str(tmp_path / "keys")]) == errors.USAGE
    assert "found none" in capsys.readouterr().err
    assert main(["repository", "sign", str(signed), "--keys", str(tmp_path)]) == errors.USAGE
    assert "Make keys first" in capsys.readouterr().err
    sign = ["repository", "sign", str(signed), "--keys", str(tmp_path / "keys"), "--valid"]
    for wrong in ("timestamp", "timestamp=x", "timestamp=0", "nobody=1"):
        assert main([*sign, wrong]) == errors.USAGE
    (signed / "index.json").write_text("{}")
    assert main(["repository", "mirror", str(signed), str(target), "--root", str(signed / "metadata/root.json")]) == 1
    assert "that its publisher signed" in capsys.readouterr().err
