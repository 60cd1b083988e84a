"""Imports of several packages at once, of files, of URLs and of offline bundles; all of it or nothing."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import webob
from catalog_cloud import CORE, Client, Cloud, archive_of, multipart, zipped
from catalog_sources import Web, shop, write_package

from catalog import config
from catalog.db.packages import Package
from catalog.repositories import offline, signing
from catalog.repositories.build import build
from catalog.repositories.registry import Registry
from catalog.repositories.signing import Keys
from dsl.packages import VersionSpec

ANY = VersionSpec.parse("*")
CLOSURE = [
    ("org.shop.Host", "0.1.0", "added"),
    ("org.shop.Server", "0.1.0", "added"),
    ("org.shop.Shop", "0.1.0", "added"),
]


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    bundles = {"shops": ["org.shop.Shop", "org.shop.Host"], "broken": ["org.shop.Host", "org.shop.Nothing"]}
    build(shop(tmp_path / "sources"), tmp_path / "repository", bundles=bundles)
    return tmp_path / "repository"


@pytest.fixture
def configured() -> bool:
    """Whether the service under test has the repository configured."""
    return True


@pytest.fixture
def overrides(repository: Path, configured: bool) -> dict[str, dict[str, Any]]:
    return {"repositories": {"repository": [f"shop={repository}"] if configured else [], "refresh": 0}}


def saved(repository: Path, *names: str, root: Path | None = None) -> bytes:
    """An offline bundle of these packages."""
    options: dict[str, Any] = {"repository": [f"source={repository}"]}
    if root is not None:
        options["root"] = [f"source={root}"]
    target = io.BytesIO()
    registry = Registry(config.load(overrides={"repositories": options}), None)
    offline.save(registry, [(name, ANY) for name in names or ("org.shop.Shop",)], target)
    return target.getvalue()


def sent(
    client: Client, data: bytes, options: Any = None, *, name: str = "file.zip", status: int = 200
) -> webob.Response:
    fields: list[tuple[str, Any]] = [("file", (name, data))]
    if options is not None:
        fields.append(("options", options if isinstance(options, str) else json.dumps(options)))
    body, kind = multipart(fields)
    return client(
        "POST", "/v1/catalog/imports/file", raw=body, Content_Type=kind, Accept="application/json", status=status
    )


def told(answer: webob.Response) -> list[tuple[str, str, str]]:
    return [(each["fqn"], each["version"], each["action"]) for each in answer.json["packages"]]


def asked(client: Client, body: Any, status: int = 200) -> webob.Response:
    return client("POST", "/v1/catalog/imports", body, Accept="application/json", status=status)


def owned(cloud: Cloud) -> int:
    with cloud.database.reading() as session:
        query = sa.select(sa.func.count()).select_from(Package).where(Package.owner_id == cloud.member.project_id)
        return session.scalar(query) or 0


def test_an_administrator_publishes_the_core_library_from_a_file(cloud: Cloud) -> None:
    core = archive_of("io.murano", version="0.0.0", classes=CORE, Type="Library")
    assert told(sent(cloud.admin, core, {"is_public": True})) == [("io.murano", "0.0.0", "added")]
    cloud.member.upload(archive_of("org.example.App"))


# --- several by name -------------------------------------------------------------------------------------------------


def test_a_bundle_of_a_repository_is_imported_with_everything_it_requires(cloud: Cloud, core: None) -> None:
    assert told(asked(cloud.member, {"bundle": "shops", "preview": True})) == CLOSURE
    assert owned(cloud) == 0
    assert told(asked(cloud.member, {"bundle": "shops"})) == CLOSURE


def test_several_packages_share_one_closure(cloud: Cloud, core: None) -> None:
    wanted = [{"name": "org.shop.Server"}, {"name": "org.shop.Host", "version": "<0.2"}]
    done = told(asked(cloud.member, {"packages": wanted}))
    assert done == [("org.shop.Host", "0.1.0", "added"), ("org.shop.Server", "0.1.0", "added")]


def test_of_several_packages_none_is_stored_when_one_is_missing(cloud: Cloud, core: None) -> None:
    assert "org.shop.Nothing" in asked(cloud.member, {"bundle": "broken"}, 404).json["message"]
    assert owned(cloud) == 0
    asked(cloud.member, {"bundle": "nobody-has-it"}, 404)
    asked(cloud.member, {"bundle": "../../etc/passwd"}, 404)


@pytest.mark.parametrize(
    "body",
    [
        {"bundle": "shops", "name": "org.shop.Shop"},
        {"bundle": "shops", "version": "1"},
        {"bundle": 5},
        {"packages": []},
        {"packages": [5]},
        {"packages": [{"name": "x", "extra": 1}]},
        {"packages": [{"version": "1"}]},
        {"packages": [{"name": "x", "version": "no version"}]},
        {"packages": [{"name": f"x.Y{number}"} for number in range(201)]},
        {"url": ""},
        {"url": "http://x/" + "y" * 2000},
    ],
)
def test_an_import_of_several_that_makes_no_sense_is_a_400(cloud: Cloud, body: Any) -> None:
    asked(cloud.member, body, 400)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_imported_with_what_it_requires_from_the_repositories(cloud: Cloud, core: None) -> None:
    mine = archive_of("org.mine.App", require={"org.shop.Host": "<0.2"})
    answer = sent(cloud.member, mine, {"preview": True}, name="mine.zip")
    assert [(each["fqn"], each["action"], each["repository"]) for each in answer.json["packages"]] == [
        ("org.shop.Host", "added", "shop"),
        ("org.mine.App", "added", "file mine.zip"),
    ]
    assert owned(cloud) == 0
    sent(cloud.member, mine, {"categories": ["Web"]})
    assert owned(cloud) == 2
    changed = archive_of("org.mine.App", require={"org.shop.Host": "<0.2"}, Description="changed")
    assert told(sent(cloud.member, changed))[-1][2] == "skipped"
    sent(cloud.member, changed, {"exists_action": "a"}, status=409)
    assert told(sent(cloud.member, changed, {"exists_action": "u"}))[-1][2] == "updated"


def test_a_file_that_requires_what_nobody_has_is_refused(cloud: Cloud, core: None) -> None:
    answer = sent(cloud.member, archive_of("org.mine.App", require={"org.no.Body": ""}), status=400)
    assert answer.json["conflict"]["requirements"][0]["package"] == "org.no.Body"
    assert owned(cloud) == 0


def test_a_list_of_packages_is_taken_from_the_repositories(cloud: Cloud, core: None) -> None:
    listed = json.dumps({"Packages": [{"Name": "org.shop.Shop", "Version": ""}]}).encode()
    assert told(sent(cloud.member, listed, name="my.bundle")) == CLOSURE


@pytest.mark.parametrize("configured", [False])
def test_an_offline_bundle_needs_no_repository(cloud: Cloud, core: None, repository: Path, configured: bool) -> None:
    bundle = saved(repository)
    assert told(sent(cloud.member, bundle, {"preview": True})) == CLOSURE
    assert told(sent(cloud.member, bundle)) == CLOSURE
    assert [action for _, _, action in told(sent(cloud.member, bundle))] == ["skipped"] * 3
    assert {each["repository"] for each in sent(cloud.member, bundle).json["packages"]} == {"file file.zip"}


def test_the_same_bundle_is_the_same_bytes(repository: Path) -> None:
    assert saved(repository) == saved(repository)
    with zipfile.ZipFile(io.BytesIO(saved(repository))) as archive:
        names = archive.namelist()
    assert "apps/org.shop.Host.0.1.0.zip" in names
    assert "apps/org.shop.Host.0.2.0.zip" not in names


def rebuilt(bundle: bytes, **changes: bytes | None) -> bytes:
    """A bundle some of whose files are others; None leaves one out."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        files: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    files |= {name.replace("__", "/"): data for name, data in changes.items()}
    return zipped({name: data for name, data in files.items() if data is not None})


SERVER = "apps__org.shop.Server.0.1.0.zip"


@pytest.mark.parametrize("configured", [False])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({SERVER: archive_of("org.shop.Server", Description="evil")}, "SHA-256"),
        ({SERVER: b"\0" * (6 << 20)}, "at most"),
        ({SERVER: None}, "org.shop.Server"),
        ({"index.json": b"no json"}, "index.json"),
        ({"bundle.json": b"no json"}, "bundle.json"),
        ({"bundle.json": b'{"packages": [{"name": "org.no.Body"}]}'}, "org.no.Body"),
        ({"bundle.json": b'{"packages": []}'}, "bundle.json"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_is_refused_and_nothing_stored(
    cloud: Cloud, core: None, repository: Path, configured: bool, changes: dict[str, Any], said: str
) -> None:
    answer = sent(cloud.member, rebuilt(saved(repository), **changes), status=None)  # type: ignore[arg-type]
    assert answer.status_int in (400, 404)
    assert said in answer.json["message"]
    assert owned(cloud) == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [("{", 400), ("[]", 400), ({"name": "x"}, 400), ({"preview": "yes"}, 400), ({"exists_action": "z"}, 400)],
)
def test_options_of_a_file_are_checked(cloud: Cloud, core: None, options: Any, status: int) -> None:
    sent(cloud.member, archive_of("org.mine.App"), options, status=status)
    assert owned(cloud) == 0


def test_a_reader_imports_nothing(cloud: Cloud, core: None) -> None:
    sent(cloud.reader, archive_of("org.mine.App"), status=403)
    sent(cloud.member, archive_of("org.mine.App"), {"is_public": True}, status=403)
    sent(cloud.admin, archive_of("org.mine.App"), {"is_public": True})


# --- signed bundles --------------------------------------------------------------------------------------------------


def test_where_bundles_have_to_be_signed_others_are_refused(
    cloud: Cloud, core: None, repository: Path, tmp_path: Path
) -> None:
    unsigned = saved(repository)
    signing.make_keys(tmp_path / "keys")
    signing.sign(repository, Keys.of(tmp_path / "keys"))
    root = repository / "metadata/root.json"
    cloud.app.services.config.set_override("bundle_root", str(root), group="repositories")
    good = saved(repository, root=root)
    assert "it has no signatures" in sent(cloud.member, unsigned, status=400).json["message"]
    evil = rebuilt(good, **{SERVER: archive_of("org.shop.Server", Description="evil")})
    assert "that its publisher signed" in sent(cloud.member, evil, status=400).json["message"]
    assert owned(cloud) == 0
    assert told(sent(cloud.member, good)) == CLOSURE


# --- URLs ------------------------------------------------------------------------------------------------------------


def test_a_url_is_fetched_from_allowed_hosts(cloud: Cloud, core: None, web: Web, repository: Path) -> None:
    cloud.app.services.config.set_override("allowed_hosts", ["127.0.0.1"], group="repositories")
    web.serve("/app.zip?x=1", archive_of("org.mine.App"))
    web.serve("/shops.bundle", b'{"Packages": [{"Name": "org.shop.Shop"}]}')
    web.serve("/offline.zip", saved(repository))
    [done] = asked(cloud.member, {"url": f"{web.url}/app.zip?x=1"}).json["packages"]
    assert (done["fqn"], done["action"], done["repository"]) == ("org.mine.App", "added", f"{web.url}/app.zip")
    assert told(asked(cloud.member, {"url": f"{web.url}/shops.bundle", "preview": True})) == CLOSURE
    assert told(asked(cloud.member, {"url": f"{web.url}/offline.zip"})) == CLOSURE
    asked(cloud.member, {"url": f"{web.url}/nothing"}, 502)


def test_a_url_that_leads_to_a_private_address_is_not_fetched(cloud: Cloud, core: None, web: Web) -> None:
    web.serve("/app.zip", archive_of("org.mine.App"))
    by_name = web.url.replace("127.0.0.1", "localhost")
    for url in (f"{web.url}/app.zip", f"{by_name}/app.zip", "http://169.254.169.254/latest", "http://[::1]/"):
        assert "public address" in asked(cloud.member, {"url": url}, 400).json["message"]
    for url in ("file:///etc/passwd", "ftp://example.org/x", "//example.org/x", "http://user:pw@example.org/", "x"):
        assert "expected a URL like" in asked(cloud.member, {"url": url}, 400).json["message"]
    asked(cloud.member, {"url": "http://127.0.0.1:notaport/"}, 400)
    asked(cloud.member, {"url": "http://[broken/"}, 400)
    assert web.asked == []
    assert owned(cloud) == 0


def test_a_redirect_of_a_repository_may_lead_to_an_allowed_host_only(
    cloud: Cloud, core: None, web: Web, tmp_path: Path
) -> None:
    outside = Web()
    write_package(tmp_path / "more", "org.more.App")
    build([tmp_path / "more/org.more.App-0.1.0"], tmp_path / "redirected")
    outside.folder = tmp_path / "redirected"
    for name in ("index.json", "apps/org.more.App.0.1.0.zip"):
        web.redirect(f"/{name}", f"{outside.url.replace('127.0.0.1', 'localhost')}/{name}")
    for allowed, reachable in (([], False), (["localhost"], True)):
        options = {"repository": [f"web={web.url}"], "allowed_hosts": allowed, "refresh": 0}
        registry = Registry(config.load(overrides={"repositories": options}), None)
        found = registry.search("")
        assert bool(found.entries) is reachable
        assert bool(outside.asked) is reachable
        assert reachable or "public address" in found.unavailable[0][1]
    outside.close()
