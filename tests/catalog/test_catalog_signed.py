"""Signed repositories: what an attacker between publisher and service, or in the publisher's web server, may try."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_cloud import Cloud, archive_of
from catalog_sources import shop, write_package

from catalog import config, service
from catalog.db import repositories as stored
from catalog.db.base import Database
from catalog.db.packages import Package
from catalog.db.repositories import Trusted
from catalog.repositories import mirror, signed, signing
from catalog.repositories.build import build
from catalog.repositories.registry import Registry
from catalog.repositories.signing import Keys, SigningError
from catalog.repositories.transport import Directory, NotThere, RepositoryError

NOW = datetime.datetime.now(datetime.UTC)
LONG_AGO = NOW - datetime.timedelta(days=60)  # a root made then is still valid, everything else has run out


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    signing.make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def repository(tmp_path: Path, keys: Path) -> Path:
    build(shop(tmp_path / "sources"), tmp_path / "repository")
    signing.sign(tmp_path / "repository", Keys.of(keys))
    return tmp_path / "repository"


@pytest.fixture
def root(repository: Path, tmp_path: Path) -> Path:
    """The root as the operator was given it, by another way than the repository."""
    return Path(shutil.copy(repository / "metadata/root.json", tmp_path / "trusted-root.json"))


@pytest.fixture
def overrides(repository: Path, root: Path) -> dict[str, dict[str, Any]]:
    return {"repositories": {"repository": [f"shop={repository}"], "root": [f"shop={root}"], "refresh": 0}}


def imported(cloud: Cloud, name: str = "org.shop.Shop", status: int = 200) -> str:
    answer = cloud.member("POST", "/v1/catalog/imports", {"name": name}, Accept="application/json", status=status)
    if status == 200:
        return ""
    with cloud.database.reading() as session:
        owned = Package.owner_id == cloud.member.project_id
        assert session.scalar(sa.select(sa.func.count()).select_from(Package).where(owned)) == 0
    return str(answer.json["message"])


def changed(path: Path, change: Callable[[Any], None]) -> None:
    """A metadata file changed by somebody without its key."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_signed_repository_is_imported_from(cloud: Cloud, core: None) -> None:
    imported(cloud)
    [listed] = cloud.member.json("GET", "/v1/catalog/repositories")["repositories"]
    assert listed["signed"] is True


def test_a_tampered_archive_is_refused_though_the_index_was_changed_with_it(
    cloud: Cloud, core: None, repository: Path
) -> None:
    path = repository / "apps/org.shop.Server.0.1.0.zip"
    path.write_bytes(archive_of("org.shop.Server", require={"org.shop.Host": ">=0.1,<1"}, Description="evil"))
    said = imported(cloud, status=502)
    assert "expected the content that its publisher signed" in said
    assert "apps/org.shop.Server.0.1.0.zip" in said


def test_a_tampered_index_is_refused(cloud: Cloud, core: None, repository: Path) -> None:
    text = (repository / "index.json").read_text()
    (repository / "index.json").write_text(text.replace("org.shop.Host", "org.evil.Host"))
    assert "index.json: expected the content that its publisher signed" in imported(cloud, status=502)


def test_an_archive_nobody_signed_is_not_there(cloud: Cloud, core: None, repository: Path) -> None:
    (repository / "apps/org.shop.New.zip").write_bytes(archive_of("org.shop.New"))
    imported(cloud, "org.shop.New", status=404)


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_changed_metadata_are_refused(cloud: Cloud, core: None, repository: Path, name: str) -> None:
    changed(repository / "metadata" / name, lambda document: document["signed"].update(expires="2999-01-01T00:00:00Z"))
    said = imported(cloud, status=502)
    assert "it is configured as signed, and was refused" in said
    assert "not signed by the keys that the configured root trusts" in said


def test_metadata_of_other_keys_are_refused(cloud: Cloud, core: None, repository: Path, tmp_path: Path) -> None:
    signing.make_keys(tmp_path / "others")
    shutil.rmtree(repository / "metadata")
    signing.sign(repository, Keys.of(tmp_path / "others"))
    assert "not signed by the keys that the configured root trusts" in imported(cloud, status=502)


def test_a_new_root_that_the_old_one_has_not_signed_is_refused(
    cloud: Cloud, core: None, repository: Path, tmp_path: Path
) -> None:
    signing.make_keys(tmp_path / "others")
    evil = tmp_path / "evil"
    shutil.copytree(repository, evil)
    shutil.rmtree(evil / "metadata")
    signing.sign(evil, Keys.of(tmp_path / "others"))
    (evil / "metadata/1.root.json").rename(repository / "metadata/2.root.json")
    assert "was refused" in imported(cloud, status=502)


def test_without_signatures_it_is_refused_with_what_to_do(cloud: Cloud, core: None, repository: Path) -> None:
    shutil.rmtree(repository / "metadata")
    assert "it has no signatures; sign it with chandlery repository sign" in imported(cloud, status=502)


def test_a_repository_that_is_rolled_back_is_refused_by_every_process(
    cloud: Cloud, core: None, repository: Path, keys: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository, tmp_path / "old")
    write_package(tmp_path / "sources", "org.shop.Host", version="0.3.0")
    build(sorted((tmp_path / "sources").iterdir()), repository)
    signing.sign(repository, Keys.of(keys))
    imported(cloud, "org.shop.Host")
    shutil.rmtree(repository)
    shutil.copytree(tmp_path / "old", repository)
    for app in (cloud.app, service.create_app(cloud.app.services.config, database=cloud.database)):
        registry = app.services.repositories
        with pytest.raises(RepositoryError, match="older metadata than it did before"):
            registry.read_index(registry.repositories[0])
        if app is not cloud.app:
            app.services.engine.close()


def test_an_old_timestamp_alone_is_a_rollback_too(
    cloud: Cloud, core: None, repository: Path, keys: Path, tmp_path: Path
) -> None:
    old = (repository / "metadata/timestamp.json").read_bytes()
    build([write_package(tmp_path / "more", "org.shop.More")], repository)
    signing.sign(repository, Keys.of(keys))
    imported(cloud, "org.shop.More")
    (repository / "metadata/timestamp.json").write_bytes(old)
    with pytest.raises(RepositoryError, match="rolled back"):
        cloud.app.services.repositories.read_index(cloud.app.services.repositories.repositories[0])


def test_a_frozen_repository_is_refused_when_its_signatures_run_out(
    cloud: Cloud, core: None, repository: Path, keys: Path
) -> None:
    for path in (repository / "metadata").glob("*.json"):
        if "root" not in path.name:
            path.unlink()
    signing.sign(repository, Keys.of(keys), now=LONG_AGO)
    said = imported(cloud, status=502)
    assert "signatures have run out" in said
    assert "its publisher has to sign it again" in said
    signing.sign(repository, Keys.of(keys))
    imported(cloud)


def test_only_the_part_that_ran_out_is_signed_again(repository: Path, keys: Path) -> None:
    before = {path.name: path.read_bytes() for path in (repository / "metadata").iterdir()}
    assert signing.sign(repository, Keys.of(keys)) == []
    written = signing.sign(repository, Keys.of(keys), now=NOW + datetime.timedelta(days=6))
    assert written == ["metadata/timestamp.json"]
    after = {path.name: path.read_bytes() for path in (repository / "metadata").iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"timestamp.json"}


def test_the_same_is_signed_with_the_same_bytes(repository: Path, keys: Path, tmp_path: Path) -> None:
    trees = []
    for name in ("first", "second"):
        build(shop(tmp_path / "sources"), tmp_path / name)
        signing.sign(tmp_path / name, Keys.of(keys), now=NOW)
        root = tmp_path / name
        trees.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    assert trees[0] == trees[1]


def test_keys_are_replaced_and_clients_follow(cloud: Cloud, core: None, repository: Path, keys: Path) -> None:
    for role in ("targets", "snapshot", "timestamp"):
        (keys / f"{role}.pem").unlink()
    (keys / "root.pem").rename(keys / "saved")
    signing.make_keys(keys)
    (keys / "root.pem").rename(keys / "root-next.pem")
    (keys / "saved").rename(keys / "root.pem")
    assert "metadata/2.root.json" in signing.sign(repository, Keys.of(keys))
    imported(cloud)
    (keys / "root-next.pem").replace(keys / "root.pem")  # from now on it is the only one
    assert signing.sign(repository, Keys.of(keys)) == []
    signing.make_keys(keys / "foreign")
    shutil.copy(keys / "foreign/root.pem", keys / "root.pem")
    with pytest.raises(SigningError, match="expected the root key this repository was signed with"):
        signing.sign(repository, Keys.of(keys))


def test_the_root_key_is_needed_only_for_the_root(repository: Path, keys: Path, tmp_path: Path) -> None:
    (keys / "root.pem").rename(tmp_path / "offline.pem")
    write_package(tmp_path / "sources", "org.shop.Host", version="0.3.0")
    build(sorted((tmp_path / "sources").iterdir()), repository)
    assert signing.sign(repository, Keys.of(keys)) == [
        "metadata/2.targets.json",
        "metadata/2.snapshot.json",
        "metadata/timestamp.json",
    ]
    with pytest.raises(SigningError, match=r"expected root\.pem"):
        signing.sign(repository, Keys.of(keys), now=NOW + datetime.timedelta(days=300))
    (keys / "targets.pem").unlink()
    with pytest.raises(SigningError, match=r"expected targets\.pem"):
        Keys.of(keys)


def test_keys_are_private_and_may_have_a_password(tmp_path: Path) -> None:
    signing.make_keys(tmp_path / "keys", b"secret")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    with pytest.raises(SigningError, match="its password"):
        Keys.of(tmp_path / "keys")
    assert set(Keys.of(tmp_path / "keys", b"secret").signers) == set(signing.ROLES)
    (tmp_path / "keys/root.pem").write_text("no key")
    with pytest.raises(SigningError, match=r"root\.pem: expected a private key"):
        Keys.of(tmp_path / "keys", b"secret")


def test_a_mirror_carries_the_signatures_and_is_verified_when_it_is_made(
    repository: Path, root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "mirror"
    registry = registry_of(repository, root)
    assert mirror.mirror(registry, copy) == (4, 4)
    assert mirror.mirror(registry, copy) == (4, 0)
    trees = [
        {path.relative_to(tree): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
        for tree in (repository, copy)
    ]
    assert trees[0] == trees[1]
    guarded = registry_of(copy, root)
    assert len(guarded.read_index(guarded.repositories[0])) == 4
    (repository / "apps/org.shop.Server.0.1.0.zip").write_bytes(archive_of("org.shop.Server"))
    with pytest.raises(RepositoryError, match="that its publisher signed"):
        mirror.mirror(registry_of(repository, root), tmp_path / "other")


def registry_of(repository: Path, root: Path) -> Registry:
    options = {"repository": [f"shop={repository}"], "root": [f"shop={root}"]}
    return Registry(config.load(overrides={"repositories": options}), None)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"no json", b'{"signed": {"_type": "timestamp"}}', b"[" * 9999])
def test_a_root_that_is_none_is_said_at_start(tmp_path: Path, repository: Path, text: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(text)
    with pytest.raises(ValueError, match="root"):
        registry_of(repository, tmp_path / "bad.json")
    with pytest.raises(ValueError, match="No such file"):
        registry_of(repository, tmp_path / "missing.json")
    conf = config.load(overrides={"repositories": {"repository": [f"a={repository}"], "root": ["b=/x"]}})
    with pytest.raises(ValueError, match="names of repositories, found b"):
        Registry(conf, None)


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 9999, b"\xff", b'{"signed": {}, "signatures": []}', b"x" * 17000])
def test_metadata_that_are_garbage_are_refused(repository: Path, root: Path, text: bytes) -> None:
    (repository / "metadata/timestamp.json").write_bytes(text)
    registry = registry_of(repository, root)
    with pytest.raises(RepositoryError, match="refused"):
        registry.read_index(registry.repositories[0])


def test_what_is_older_than_what_another_process_saw_is_not_remembered(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/trust.sqlite")
    database.create_tables()
    for version, text in ((2, "newer"), (1, "older")):
        with database.transaction() as session:
            stored.trust(session, "k", "shop", {"timestamp.json": text}, version)
    with database.reading() as session:
        assert stored.trusted(session, "k") == {"timestamp.json": "newer"}
        assert session.scalar(sa.select(sa.func.count()).select_from(Trusted)) == 1
    database.dispose()


def test_a_missing_file_and_a_long_one_are_told_apart(repository: Path, root: Path) -> None:
    guarded = signed.Signed("s", Directory(str(repository)), root.read_bytes(), signed.InMemory(), refresh=60)
    with pytest.raises(NotThere, match="signed no such file"):
        guarded.fetch("apps/none.zip", 100)
    with pytest.raises(RepositoryError, match="at most 10 bytes"):
        guarded.fetch("index.json", 10)
    assert json.loads(guarded.fetch("index.json", 1 << 20))["format"] == 1
