"""Where archives and logos are kept: the database, a folder, a bucket. The same promises, whichever it is.

The bucket is moto's server: a real HTTP server that answers as Amazon's S3 does, in this process, reached by boto3.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_cloud import CORE, Cloud, archive_of

from catalog import config, packages, service
from catalog.db import content_stores, contents
from catalog.db.base import Database
from catalog.db.contents import Content, Stores
from engine.packages import PackageStore

DATA = b"some content"
DIGEST = hashlib.sha256(DATA).hexdigest()
STORES = ("database", "filesystem", "s3")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server."""
    server_of_moto = pytest.importorskip("moto.server", reason="moto[server] is not installed: no S3 server to talk to")
    pytest.importorskip("boto3", reason="boto3 is not installed (the extra s3)")
    server = server_of_moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclasses.dataclass(frozen=True)
class Kept:
    """A store, and a look at what it really has beside the database."""

    options: dict[str, Any]
    store: contents.Store
    names: Callable[[], list[str]]

    def has(self, digest: str, database: Database) -> bool:
        if self.store.name == contents.DATABASE:
            with database.reading() as session:
                return session.get(Content, digest) is not None
        return digest in self.names()


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    name: str = request.param
    options = {"store": name}
    if name == "filesystem":
        options |= {"store_directory": str(tmp_path / "store")}
    if name == "s3":
        options |= bucket(request.getfixturevalue("s3_server"), tmp_path.name.replace("_", "-").lower())
    database = Database(f"sqlite:///{tmp_path}/unused.sqlite")
    content_stores.configure(database, config.load(overrides={"packages": options}))
    store = database.kept(Stores).writing
    assert store.name == name
    return Kept(options, store, lambda: [digest for digest, _ in store.listed()])


def bucket(url: str, name: str) -> dict[str, str]:
    """The options for a new bucket."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket=name)
    return {
        "s3_bucket": name,
        "s3_endpoint": url,
        "s3_region": "us-east-1",
        "s3_access_key": "testing",
        "s3_secret_key": "testing",
    }


@pytest.fixture
def overrides(kept: Kept) -> dict[str, dict[str, Any]]:
    return {"packages": kept.options}


# --- through the API -------------------------------------------------------------------------------------------------


def test_an_archive_goes_in_once_comes_out_as_it_was_and_goes_with_its_last_package(cloud: Cloud, kept: Kept) -> None:
    archive = archive_of("org.example.App")
    digest = hashlib.sha256(archive).hexdigest()
    mine, theirs = (client.upload(archive).json["id"] for client in (cloud.member, cloud.stranger))
    with cloud.database.reading() as session:
        [(store, size, inline)] = session.execute(sa.select(Content.store, Content.size, Content.data)).all()
    assert (store, size) == (kept.store.name, len(archive))
    assert inline == (archive if store == contents.DATABASE else b"")
    assert kept.has(digest, cloud.database)
    for client, package_id in ((cloud.member, mine), (cloud.stranger, theirs)):
        assert client("GET", f"/v1/catalog/packages/{package_id}/download", Accept=None).body == archive
    cloud.member("DELETE", f"/v1/catalog/packages/{mine}")
    assert kept.has(digest, cloud.database)
    cloud.stranger("DELETE", f"/v1/catalog/packages/{theirs}")
    assert not kept.has(digest, cloud.database)
    assert kept.names() == []


def test_an_upload_that_is_refused_leaves_nothing(cloud: Cloud, kept: Kept) -> None:
    cloud.member.upload(archive_of("org.example.App"), {"categories": ["Nope"]}, status=400)
    cloud.member.upload(archive_of("org.example.App"))
    other = archive_of("org.example.App", Description="another content, the same version")
    cloud.member.upload(other, status=409)
    assert not kept.has(hashlib.sha256(other).hexdigest(), cloud.database)
    assert len(kept.names()) == (0 if kept.store.name == contents.DATABASE else 1)


def test_the_engine_reads_what_the_api_stored(cloud: Cloud, core: None) -> None:
    package_id = cloud.member.upload(archive_of("org.example.App")).json["id"]
    lock = cloud.member.json("GET", f"/v1/catalog/packages/{package_id}/dependencies")["lock"]
    library = PackageStore(cloud.database).library([entry for entry in lock if entry["package_id"] == package_id])
    assert [package.full_name for package in library.packages] == ["org.example.App"]


# --- transactions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(cloud: Cloud) -> Database:
    return cloud.database


def test_a_transaction_that_fails_after_storing_leaves_nothing(database: Database, kept: Kept) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as session:  # noqa: PT012
        contents.store(session, DATA)
        raise ZeroDivisionError
    assert not kept.has(DIGEST, database)
    assert kept.names() == []


def test_a_removal_that_is_taken_back_removes_nothing(database: Database) -> None:
    with database.transaction() as session:
        contents.store(session, DATA)
    with pytest.raises(ZeroDivisionError), database.transaction() as session:  # noqa: PT012
        contents.remove(session, DIGEST)
        raise ZeroDivisionError
    with database.reading() as session:
        assert contents.read(session, DIGEST) == DATA


def test_content_that_is_removed_and_stored_again_in_one_transaction_stays(database: Database) -> None:
    with database.transaction() as session:
        contents.store(session, DATA)
    with database.transaction() as session:
        contents.remove(session, DIGEST)
        contents.store(session, DATA)
    with database.reading() as session:
        assert contents.read(session, DIGEST) == DATA


def test_of_many_that_store_remove_and_fail_with_the_same_content_what_stays_can_be_read(
    database: Database, kept: Kept
) -> None:
    """Whoever fails takes nothing away from those who succeed."""
    unexpected: list[BaseException] = []

    def work(number: int) -> None:
        for step in range(6):
            try:
                with database.transaction() as session:
                    contents.store(session, DATA)
                    if (number + step) % 3 == 0:
                        contents.remove(session, DIGEST)
                    if (number + step) % 3 == 1:
                        raise ZeroDivisionError
            except (ZeroDivisionError, sa.exc.IntegrityError):
                continue
            except Exception as failure:
                unexpected.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    with database.reading() as session:
        is_known = session.get(Content, DIGEST) is not None
        if is_known:
            assert contents.read(session, DIGEST) == DATA
    assert kept.has(DIGEST, database) == is_known


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_content_that_was_damaged_is_not_given_out(cloud: Cloud, kept: Kept) -> None:
    package_id = cloud.member.upload(archive_of("org.example.App")).json["id"]
    with cloud.database.transaction() as session:
        digest = session.scalars(sa.select(Content.digest)).one()
        session.execute(sa.update(Content).values(data=kept.store.inline(b"something else")))
    kept.store.put(digest, b"something else")
    assert cloud.member("GET", f"/v1/catalog/packages/{package_id}/download", Accept=None, status=503).body
    with cloud.database.reading() as session, pytest.raises(contents.Damaged, match="14 other bytes"):
        contents.read(session, digest)
    with cloud.database.reading() as session, pytest.raises(LookupError, match="no such row"):
        contents.read(session, DIGEST)


def test_a_sweep_removes_what_a_killed_process_left_and_tells_what_is_missing(database: Database, kept: Kept) -> None:
    if kept.store.name == contents.DATABASE:
        assert contents.sweep(database, grace=0) == ([], [])
        return
    with database.transaction() as session:
        contents.store(session, b"in use")
        lost = contents.store(session, b"lost")
    kept.store.put(DIGEST, DATA)
    kept.store.delete(lost)
    assert contents.sweep(database) == ([], [lost])  # it is young: its transaction may be under way
    assert contents.sweep(database, grace=-60) == ([DIGEST], [lost])
    assert kept.names() == [hashlib.sha256(b"in use").hexdigest()]


def test_content_moves_to_another_store_and_can_be_read_all_the_while(cloud: Cloud, kept: Kept, tmp_path: Path) -> None:
    """From the database into the store of the test, and from there into a second folder."""
    contents.use(cloud.database, Stores())
    archives = [archive_of(f"org.example.P{number}") for number in range(3)]
    ids = [cloud.member.upload(archive).json["id"] for archive in archives]
    folder = content_stores.Filesystem(tmp_path / "second")
    folder.name = "folder"  # type: ignore[misc]
    for stores in (Stores(kept.store), Stores(folder, (kept.store,))):
        contents.use(cloud.database, stores)
        moved = list(contents.migrate(cloud.database))
        assert len(moved) == (0 if stores.writing.name == contents.DATABASE else 3)
        for package_id, archive in zip(ids, archives, strict=True):
            assert cloud.member("GET", f"/v1/catalog/packages/{package_id}/download", Accept=None).body == archive
    assert kept.names() == []
    assert len(list(folder.listed())) == 3
    contents.use(cloud.database, Stores())
    with cloud.database.reading() as session, pytest.raises(contents.Damaged, match="'folder'"):
        contents.read(session, moved[0])


def test_a_file_is_for_the_service_alone_and_appears_whole(tmp_path: Path) -> None:
    store = content_stores.Filesystem(tmp_path / "store")
    store.put(DIGEST, DATA)
    path = tmp_path / "store" / DIGEST[:2] / DIGEST
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    unfinished = path.parent / ".unfinished"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))
    assert [digest for digest, _ in store.listed()] == [DIGEST]
    assert not unfinished.exists()
    store.delete(DIGEST)
    store.delete(DIGEST)
    assert store.get(DIGEST, b"") is None


def test_a_store_that_does_not_answer_is_a_503_and_nothing_is_stored(cloud: Cloud, tmp_path: Path) -> None:
    if cloud.database.kept(Stores).writing.name != "filesystem":
        contents.use(cloud.database, Stores(content_stores.Filesystem(tmp_path / "gone")))
    broken = cloud.database.kept(Stores).writing
    assert isinstance(broken, content_stores.Filesystem)
    broken._root = tmp_path / "a file"
    broken._root.write_bytes(b"")
    answer = cloud.member.upload(archive_of("org.example.App"), status=503)
    assert "store of packages" in answer.text
    assert cloud.member.json("GET", "/v1/catalog/packages")["packages"] == []


def test_s3_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed (the extra s3)")
    options = {"store": "s3", "s3_bucket": "b", "s3_endpoint": "http://127.0.0.1:9", "s3_timeout": 0.5}
    options |= {"s3_access_key": "x", "s3_secret_key": "y", "s3_region": "us-east-1"}
    database = Database(f"sqlite:///{tmp_path}/c.sqlite")
    content_stores.configure(database, config.load(overrides={"packages": options}))
    with pytest.raises(contents.Unreachable, match="bucket b"):
        database.kept(Stores).writing.get(DIGEST, b"")


def test_a_store_without_its_options_is_refused_at_the_start(tmp_path: Path) -> None:
    for store, missing in (("filesystem", "store_directory"), ("s3", "s3_bucket")):
        conf = config.load(
            overrides={"database": {"connection": f"sqlite:///{tmp_path}/c.sqlite"}, "packages": {"store": store}}
        )
        with pytest.raises(ValueError, match=missing):
            service.create_app(conf)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="store_directory"):
        content_stores.Filesystem(tmp_path / "file" / "store")


def test_bundled_packages_go_into_the_store_too(cloud: Cloud, kept: Kept) -> None:
    archive = archive_of("io.murano", version="0.0.1", classes=CORE, Type="Library")
    packages.import_archives(cloud.database, [archive], owner_id=cloud.admin.project_id, is_public=True)
    assert kept.has(hashlib.sha256(archive).hexdigest(), cloud.database)
