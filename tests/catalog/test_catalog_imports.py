"""Community repositories: built, read, searched, and imported from by name with everything that is required."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_cloud import CORE, Cloud, archive_of, package_files, zipped

from catalog import imports, packages
from catalog.db.base import Database
from catalog.db.contents import Content
from catalog.db.packages import Package
from catalog.repositories import layout
from catalog.repositories.build import build
from catalog.repositories.transport import Directory, NotThere, RepositoryError, Web, is_public
from dsl.packages import PackageError, VersionSpec


def write_package(folder: Path, name: str, **options: Any) -> Path:
    """The folder of a package's source."""
    root = folder / f"{name}-{options.get('version', '0.1.0')}"
    for path, data in package_files(name, **options).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """A shop on a web server on a host; a cache nobody asked for; and the host in two versions."""
    folder = tmp_path / "sources"
    return [
        write_package(folder, "org.shop.Host", version="0.1.0"),
        write_package(folder, "org.shop.Host", version="0.2.0"),
        write_package(folder, "org.shop.Server", require={"org.shop.Host": ">=0.1,<1"}),
        write_package(
            folder,
            "org.shop.Shop",
            require={"org.shop.Server": "", "org.shop.Host": "<0.2"},
            Description="Sells grafana dashboards",
        ),
        write_package(folder, "org.shop.Cache"),
        write_package(folder, "org.shop.Broken", require={"org.shop.Missing": ">=3"}),
        write_package(folder, "org.shop.Above", require={"org.shop.Broken": ""}),
    ]


@pytest.fixture
def repository(tmp_path: Path, sources: list[Path]) -> Path:
    root = tmp_path / "repository"
    build(sources, root)
    return root


@pytest.fixture
def overrides(repository: Path) -> dict[str, dict[str, Any]]:
    return {"repositories": {"repository": [f"shop={repository}"], "refresh": 0}}


def imported(cloud: Cloud, name: str = "org.shop.Shop", *, client: Any = None, status: int = 200, **body: Any) -> Any:
    answer = (client or cloud.member)("POST", "/v1/catalog/imports", {"name": name, **body}, status=status)
    if status != 200:
        return answer.text
    return [(each["fqn"], each["version"], each["action"]) for each in answer.json["packages"]]


def count(database: Database) -> int:
    with database.reading() as session:
        tables = [sa.select(sa.func.count()).select_from(table) for table in (Package, Content)]
        return sum(session.scalar(query) or 0 for query in tables)


CLOSURE = [
    ("org.shop.Host", "0.1.0", "added"),
    ("org.shop.Server", "0.1.0", "added"),
    ("org.shop.Shop", "0.1.0", "added"),
]


# --- importing -------------------------------------------------------------------------------------------------------


def test_an_import_by_name_brings_what_is_required_in_versions_that_fit(cloud: Cloud, core: None) -> None:
    assert imported(cloud, preview=True) == CLOSURE
    assert count(cloud.database) == 2
    assert imported(cloud, categories=["Web"]) == CLOSURE
    listed = cloud.member.json("GET", "/v1/catalog/packages?owned=true")["packages"]
    assert {each["fully_qualified_name"] for each in listed} == {name for name, _, _ in CLOSURE}
    assert all(each["categories"] == ["Web"] for each in listed)
    assert [action for _, _, action in imported(cloud)] == ["skipped"] * 3


def test_the_dependencies_of_a_package_are_a_tree_and_a_lock(cloud: Cloud, core: None) -> None:
    imported(cloud)
    shop = cloud.member.json("GET", "/v1/catalog/packages?fqn=org.shop.Shop")["packages"][0]
    found = cloud.member.json("GET", f"/v1/catalog/packages/{shop['id']}/dependencies")
    assert found["tree"]["fqn"] == "org.shop.Shop"
    assert {each["fqn"] for each in found["tree"]["packages"]} == {"org.shop.Server", "org.shop.Host"}
    assert [(each["fqn"], each["version"]) for each in found["lock"]] == [
        ("io.murano", "0.0.1"),
        ("org.shop.Host", "0.1.0"),
        ("org.shop.Server", "0.1.0"),
        ("org.shop.Shop", "0.1.0"),
    ]
    assert all(len(each["digest"]) == 64 and each["package_id"] for each in found["lock"])


def test_a_requirement_that_nobody_has_is_a_sentence_with_the_chain_and_stores_nothing(
    cloud: Cloud, core: None
) -> None:
    before = count(cloud.database)
    said = imported(cloud, "org.shop.Above", status=400)
    assert "org.shop.Above 0.1.0 -&gt; org.shop.Broken 0.1.0 requires org.shop.Missing &gt;=3" in said
    assert "Nothing was stored" in said
    assert count(cloud.database) == before


def test_a_conflict_names_everybody_who_wants_something(cloud: Cloud, core: None, sources: list[Path]) -> None:
    folder, root = sources[0].parent, sources[0].parent.parent / "repository"
    sources.append(write_package(folder, "org.shop.New", require={"org.shop.Host": ">=0.2", "org.shop.Shop": ""}))
    build(sources, root)
    said = imported(cloud, "org.shop.New", status=400)
    assert "requires org.shop.Host &gt;=0.2" in said
    assert "requires org.shop.Host &lt;0.2" in said
    assert "0.1.0, 0.2.0" in said


def test_without_the_core_library_the_missing_requirement_is_said(cloud: Cloud) -> None:
    assert "requires io.murano 0" in imported(cloud, status=400)


def test_what_the_project_has_is_used_before_what_repositories_have(cloud: Cloud, core: None) -> None:
    cloud.member.upload(archive_of("org.shop.Host", version="0.1.5"))
    assert imported(cloud) == [("org.shop.Host", "0.1.5", "skipped"), *CLOSURE[1:]]


def test_an_import_that_meets_what_is_there_skips_aborts_or_updates_as_asked(
    cloud: Cloud, core: None, sources: list[Path], repository: Path
) -> None:
    imported(cloud)
    write_package(sources[0].parent, "org.shop.Shop", require={"org.shop.Host": "<0.2"}, Description="Better")
    build(sources, repository)
    assert imported(cloud)[-1][2] == "skipped"
    assert "already exists" in imported(cloud, exists_action="a", status=409)
    assert imported(cloud, exists_action="u", preview=True)[-1] == ("org.shop.Shop", "0.1.0", "updated")
    assert imported(cloud, exists_action="u") == [
        ("org.shop.Host", "0.1.0", "skipped"),
        ("org.shop.Shop", "0.1.0", "updated"),
    ]
    shop = cloud.member.json("GET", "/v1/catalog/packages?fqn=org.shop.Shop")["packages"]
    assert [each["description"] for each in shop] == ["Better"]


def test_one_of_several_versions_can_be_asked_for(cloud: Cloud, core: None) -> None:
    assert imported(cloud, "org.shop.Host", version="0.1.0") == [("org.shop.Host", "0.1.0", "added")]
    assert imported(cloud, "org.shop.Host") == [("org.shop.Host", "0.2.0", "added")]
    assert "only in 0.1.0, 0.2.0" in imported(cloud, "org.shop.Host", version=">=7", status=400)


def test_missing_categories_are_made_by_who_may_and_refused_to_others(cloud: Cloud, core: None) -> None:
    before = count(cloud.database)
    assert "doesn't exist" in imported(cloud, categories=["New"], status=400)
    assert count(cloud.database) == before
    imported(cloud, client=cloud.admin, categories=["New"], preview=True)
    assert imported(cloud, client=cloud.admin, categories=["New"], is_public=True) == CLOSURE
    shown = cloud.stranger.json("GET", "/v1/catalog/packages?category=New")["packages"]
    assert len(shown) == 3


def test_only_who_may_publish_imports_for_everybody(cloud: Cloud, core: None) -> None:
    imported(cloud, is_public=True, status=403)
    imported(cloud, client=cloud.reader, status=403)


def test_a_public_import_does_not_rest_on_private_packages(cloud: Cloud, core: None) -> None:
    cloud.admin.upload(archive_of("org.shop.Host", version="0.1.5"))
    assert imported(cloud, client=cloud.admin, is_public=True)[0] == ("org.shop.Host", "0.1.0", "added")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "org.nobody.Has"}, 404),
        ({"name": "../../etc/passwd"}, 404),
        ({}, 400),
        ({"name": 5}, 400),
        ({"name": "x", "version": "not a version"}, 400),
        ({"name": "x", "exists_action": "z"}, 400),
        ({"name": "x", "categories": "Web"}, 400),
        ({"name": "x", "preview": "yes"}, 400),
        ({"name": "x", "url": "http://127.0.0.1/"}, 400),
    ],
)
def test_an_import_that_makes_no_sense_is_a_4xx(cloud: Cloud, body: Any, status: int) -> None:
    cloud.member("POST", "/v1/catalog/imports", body, status=status)


def test_an_import_larger_than_allowed_is_refused(cloud: Cloud, core: None) -> None:
    before = count(cloud.database)
    conf = cloud.app.services.config
    conf.set_override("closure_limit", 2, group="repositories")
    assert "requires 3 packages" in imported(cloud, status=400)
    conf.clear_override("closure_limit", group="repositories")
    wanted = imports.Wanted("org.shop.Shop", cloud.member.project_id, VersionSpec.parse("*"))
    registry = cloud.app.services.repositories
    with pytest.raises(imports.TooMany, match="altogether"):
        imports.import_by_name(cloud.database, registry, wanted, preview=False, most=9, most_bytes=1000)
    assert count(cloud.database) == before


def test_the_images_a_package_needs_are_named(cloud: Cloud, core: None, sources: list[Path], repository: Path) -> None:
    (sources[4] / "images.lst").write_text("Images:\n- Name: 'debian-12'\n  Hash: x\n- Name: 'other'\n")
    build(sources, repository)
    [cache] = cloud.member.json("POST", "/v1/catalog/imports", {"name": "org.shop.Cache"})["packages"]
    assert cache["images"] == ["debian-12", "other"]
    assert cache["repository"] == "shop"


# --- searching -------------------------------------------------------------------------------------------------------


def test_a_search_finds_by_all_words_in_any_text_and_tells_what_is_imported(cloud: Cloud, core: None) -> None:
    def found(query: str) -> list[tuple[str, str, bool]]:
        answer = cloud.member.json("GET", f"/v1/catalog/repositories/search?query={query}")
        assert answer["unavailable"] == []
        return [(each["fqn"], each["version"], each["imported"]) for each in answer["packages"]]

    assert found("grafana") == [("org.shop.Shop", "0.1.0", False)]
    assert found("HOST") == [("org.shop.Host", "0.2.0", False)]
    assert found("grafana+nothing") == []
    assert len(found("")) == 6
    imported(cloud)
    assert found("grafana%20sells") == [("org.shop.Shop", "0.1.0", True)]
    [each] = cloud.member.json("GET", "/v1/catalog/repositories/search?query=grafana")["packages"]
    assert each["require"] == {"org.shop.Server": "0", "org.shop.Host": "<0.2"}
    assert (each["author"], each["tags"], each["repository"]) == ("The tests", ["test"], "shop")


def test_repositories_are_listed_without_secrets_of_the_operator(cloud: Cloud) -> None:
    assert cloud.member.json("GET", "/v1/catalog/repositories") == {
        "repositories": [{"name": "shop", "location": "a directory of the service", "signed": False}]
    }
    cloud.anonymous("GET", "/v1/catalog/repositories", status=401)


# --- building --------------------------------------------------------------------------------------------------------


def test_a_repository_is_the_same_bytes_every_time(sources: list[Path], tmp_path: Path) -> None:
    roots = [tmp_path / "first", tmp_path / "second"]
    build(sources, roots[0])
    time.sleep(0.01)
    build(list(reversed(sources)), roots[1])
    trees = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in roots
    ]
    assert trees[0] == trees[1]
    assert {str(path) for path in trees[0]} >= {
        "index.json",
        "apps/org.shop.Host.zip",
        "apps/org.shop.Host.0.1.0.zip",
        "apps/org.shop.Host.0.2.0.zip",
        "bundles/all.bundle",
    }
    newest = trees[0][Path("apps/org.shop.Host.zip")]
    assert newest == trees[0][Path("apps/org.shop.Host.0.2.0.zip")]
    assert {"Name": "org.shop.Host"} in json.loads(trees[0][Path("bundles/all.bundle")])["Packages"]


def test_building_again_removes_what_is_gone_and_keeps_what_is_not_its_own(
    sources: list[Path], repository: Path
) -> None:
    (repository / "README").write_text("mine")
    build(sources[:1], repository, bundles={"one": ["org.shop.Host"]})
    assert sorted(path.name for path in repository.rglob("*") if path.is_file()) == [
        "README",
        "index.json",
        "one.bundle",
        "org.shop.Host.0.1.0.zip",
        "org.shop.Host.zip",
    ]


def test_a_broken_package_stops_the_build_with_all_problems_and_nothing_written(
    sources: list[Path], tmp_path: Path
) -> None:
    bad = [write_package(tmp_path / "bad", f"org.bad.B{number}", Type="Toy") for number in range(2)]
    with pytest.raises(PackageError) as failure:
        build([*sources, *bad], tmp_path / "new")
    assert len(failure.value.problems) == 2
    assert not (tmp_path / "new").exists()
    (sources[4] / "UI").mkdir()
    (sources[4] / "UI/ui.yaml").write_text("Version: 2\n")
    with pytest.raises(PackageError, match=r"UI/ui\.yaml"):
        build([sources[4]], tmp_path / "new")
    with pytest.raises(PackageError, match="twice"):
        build([sources[0], sources[0]], tmp_path / "new")


# --- reading what may be hostile -------------------------------------------------------------------------------------

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Site:
    """A web server whose answers a test writes; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers.get("If-None-Match")))
                site.answers.get(self.path, lambda handler: handler.send_error(404))(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, path: str, data: bytes, **headers: str) -> None:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            if "ETag" in headers and handler.headers.get("If-None-Match") == headers["ETag"]:
                handler.send_response(304)
                handler.end_headers()
                return
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(data)

        self.answers[path] = answer

    def redirect(self, path: str, target: str) -> None:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.end_headers()

        self.answers[path] = answer


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def web(site: Site) -> Web:
    return Web(site.url, None, timeout=10, total=60)


def test_what_is_unchanged_is_not_transferred_again(site: Site, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/cache.sqlite")
    database.create_tables()
    web = Web(site.url, database, timeout=10, total=60)
    site.serve("/index.json", b"first", ETag='"1"')
    assert [web.fetch("index.json", 100) for _ in range(2)] == [b"first", b"first"]
    site.serve("/index.json", b"second", ETag='"2"')
    assert web.fetch("index.json", 100) == b"second"
    assert [etag for _, etag in site.asked] == [None, '"1"', '"1"']
    database.dispose()


def test_a_repository_is_read_within_limits_of_size(site: Site, web: Web) -> None:
    site.serve("/large", b"x" * 1000)
    with pytest.raises(RepositoryError, match="at most 999 bytes"):
        web.fetch("large", 999)
    site.serve("/packed", b"x", Content_Encoding="gzip")
    with pytest.raises(RepositoryError, match="encoded as gzip"):
        web.fetch("packed", 999)


def test_a_repository_is_read_within_limits_of_time(site: Site) -> None:
    hasty, over = Web(site.url, None, timeout=0.5, total=1), threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.1):
            try:
                handler.wfile.write(b"x")
                handler.wfile.flush()
            except OSError:
                return

    site.answers["/drip"] = drip
    site.answers["/hang"] = lambda _handler: over.wait(120)
    try:
        with pytest.raises(RepositoryError, match=r"still sending|did not send it"):
            hasty.fetch("drip", 10**6)
        with pytest.raises(RepositoryError, match="did not send it"):
            hasty.fetch("hang", 999)
    finally:
        over.set()


def test_missing_and_failing_files_are_told_apart(site: Site, web: Web) -> None:
    with pytest.raises(NotThere):
        web.fetch("nothing", 10)
    site.answers["/broken"] = lambda handler: handler.send_error(500)
    with pytest.raises(RepositoryError, match="found 500"):
        web.fetch("broken", 10)
    with pytest.raises(RepositoryError, match="did not send it"):
        Web("http://127.0.0.1:1", None, timeout=0.5, total=1).fetch("x", 10)


def test_a_redirect_may_stay_but_not_lead_to_a_private_address(site: Site, web: Web) -> None:
    other = Site()
    other.serve("/secret", b"internal")
    site.serve("/here", b"same origin")
    site.redirect("/stays", "/here")
    site.redirect("/leaves", f"{other.url}/secret")
    site.redirect("/by-name", other.url.replace("127.0.0.1", "localhost") + "/secret")
    site.redirect("/file", "file:///etc/passwd")
    site.redirect("/loop", "/loop")
    assert web.fetch("stays", 100) == b"same origin"
    for path, said in (
        ("leaves", "public address"),
        ("by-name", "public address"),
        ("file", "http or https"),
        ("loop", "redirects"),
    ):
        with pytest.raises(RepositoryError, match=said):
            web.fetch(path, 100)
    assert other.asked == []
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "no address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_the_internets_are_refused(address: str) -> None:
    assert not is_public(address)
    assert is_public("9.9.9.9")
    assert is_public("2620:fe::fe")


def test_a_directory_gives_nothing_from_outside_of_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    for path in ("../secret", "link", "/etc/passwd"):
        with pytest.raises(RepositoryError):
            Directory(str(root)).fetch(path, 100)
    with pytest.raises(NotThere):
        Directory(str(root)).fetch("nothing", 100)


BROKEN_INDEXES = [
    b"no json",
    b"[]",
    b'{"format": 2, "packages": []}',
    b'{"format": 1, "packages": {}}',
    b'{"format": 1, "packages": [1]}',
    b'{"format": 1, "packages": [{"fqn": "../x"}]}',
    b'{"format": 1, "packages": [{"fqn": "a.B", "version": "x"}]}',
    b'{"format": 1, "packages": [{"fqn": "a.B", "version": "1", "archive": "../../etc/passwd"}]}',
    b'{"format": 1, "packages": [{"fqn": "a.B", "version": "1", "archive": "apps/a.zip", "sha256": "x"}]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", BROKEN_INDEXES)
def test_an_index_that_is_none_is_said_and_stops_only_its_repository(
    cloud: Cloud, repository: Path, data: bytes
) -> None:
    with pytest.raises(layout.MalformedIndex, match="expected"):
        layout.read_index(data, "shop")
    (repository / "index.json").write_bytes(data)
    answer = cloud.member.json("GET", "/v1/catalog/repositories/search?query=x")
    assert answer["packages"] == []
    assert [each["repository"] for each in answer["unavailable"]] == ["shop"]
    imported(cloud, status=502)


def test_a_repository_that_lies_about_a_digest_or_a_package_is_found_out(
    cloud: Cloud, core: None, repository: Path
) -> None:
    before = count(cloud.database)
    path = repository / "apps/org.shop.Server.0.1.0.zip"
    path.write_bytes(archive_of("org.shop.Server", Description="changed"))
    assert "SHA-256" in imported(cloud, status=502)
    index = json.loads((repository / "index.json").read_text())
    for entry in index["packages"]:
        if entry["fqn"] == "org.shop.Cache":
            entry["require"] = {"org.shop.Host": "0"}
    (repository / "index.json").write_text(json.dumps(index))
    assert "other requirements" in imported(cloud, "org.shop.Cache", status=502)
    assert count(cloud.database) == before


def test_a_repository_in_the_originals_layout_is_read_without_an_index(
    cloud: Cloud, core: None, repository: Path
) -> None:
    (repository / "index.json").unlink()
    (repository / "apps/org.shop.Host.zip").write_bytes((repository / "apps/org.shop.Host.0.1.0.zip").read_bytes())
    assert imported(cloud) == CLOSURE
    assert cloud.member.json("GET", "/v1/catalog/repositories/search?query=shop")["packages"] == []
    (repository / "apps/org.shop.Bad.zip").write_bytes(b"no zip")
    imported(cloud, "org.shop.Bad", status=502)


def test_packages_at_hand_are_imported_together_or_not_at_all(cloud: Cloud, sources: list[Path]) -> None:
    core = archive_of("io.murano", version="0.0.1", classes=CORE, Type="Library")
    with pytest.raises(PackageError):
        packages.import_archives(cloud.database, [core, zipped({"x": b""})], owner_id="p")
    assert count(cloud.database) == 0
    done = packages.import_archives(cloud.database, [core, sources[0]], owner_id="p", category_names=["Own"])
    assert done == [("io.murano", "0.0.1", "added"), ("org.shop.Host", "0.1.0", "added")]
    assert packages.import_archives(cloud.database, [core], owner_id="p")[0][2] == "skipped"
