"""Searching packages: what is found, in which order, with how many mistakes, and that nobody's answer is an old one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from catalog_cloud import Client, Cloud, archive_of, cloud_of, package_files, zipped

from catalog import config, service
from catalog.db.base import Database

PATCH = "application/murano-packages-json-patch"


def page(client: Client, search: str, **parameters: str) -> Any:
    query = "&".join(f"{name}={quote(value)}" for name, value in {"search": search, **parameters}.items())
    return client.json("GET", f"/v1/catalog/packages?{query}")


def found(client: Client, search: str, **parameters: str) -> list[str]:
    return [each["name"] for each in page(client, search, **parameters)["packages"]]


@pytest.fixture
def shop(cloud: Cloud) -> Cloud:
    """A shop of databases and things around them, and one package that another project keeps for itself."""
    form = b"Version: 2\nForms:\n  - settings: {fields: [{name: tablespace, type: string, label: Where it grows}]}\n"
    files = package_files("org.shop.Oracle", Description="A large one", Tags=["sql"]) | {"UI/ui.yaml": form}
    cloud.member.upload(zipped(files), {"categories": ["Databases"]})
    for name, options, fields in (
        ("org.shop.Postgres", {"Description": "A database, well kept", "Tags": ["sql", "free"]}, ["Databases"]),
        ("org.shop.PostgresBackup", {"Description": "Copies", "Author": "Monitoring Guild"}, ["Databases"]),
        ("org.shop.Grafana", {"Description": "Shows what Postgres does", "Tags": ["free"]}, ["Web"]),
        ("org.postgres.Tools", {"Description": "Small helpers", "Type": "Library"}, []),
    ):
        cloud.member.upload(archive_of(name, **options), {"categories": fields})
    cloud.stranger.upload(archive_of("org.secret.Kraken", Description="Postgres of somebody else"))
    return cloud


def test_a_word_is_found_anywhere_and_the_earlier_field_counts_more(shop: Cloud) -> None:
    """Names first, then full names, descriptions, ... (spec/api-v1 §1.11)."""
    assert found(shop.member, "postgres") == ["Postgres", "PostgresBackup", "Tools", "Grafana"]
    assert found(shop.member, "POSTGRES", sort_dir="desc") == ["PostgresBackup", "Postgres", "Tools", "Grafana"]
    assert found(shop.member, "stgresb") == ["PostgresBackup"]
    assert found(shop.member, "well kept") == ["Postgres"]
    assert found(shop.member, "tablespace") == ["Oracle"]
    assert found(shop.member, "monitoring guild") == ["PostgresBackup"]
    assert found(shop.member, "tablespace;web") == ["Grafana", "Oracle"]
    assert found(shop.member, "postgres", category="Web") == ["Grafana"]
    assert found(shop.member, "postgres", tag="free", type="application") == ["Postgres", "Grafana"]


def test_each_letter_that_is_typed_leaves_what_begins_like_it(shop: Cloud) -> None:
    for length in range(1, len("grafana") + 1):
        assert "Grafana" in found(shop.member, "grafana"[:length])
    assert found(shop.member, "grafa") == ["Grafana"]


def test_by_relevance_the_exact_name_comes_before_what_only_contains_it(shop: Cloud) -> None:
    shop.member.upload(archive_of("org.shop.APostgresTutorial"))
    assert found(shop.member, "postgres")[0] == "APostgresTutorial"
    assert found(shop.member, "postgres", order_by="relevance")[:3] == [
        "Postgres",
        "PostgresBackup",
        "APostgresTutorial",
    ]


@pytest.mark.parametrize(
    ("typed", "meant", "name"),
    [
        ("grafna", "grafana", "Grafana"),  # a letter less
        ("grafanna", "grafana", "Grafana"),  # one more
        ("garfana", "grafana", "Grafana"),  # two exchanged
        ("grifana", "grafana", "Grafana"),  # another one
        ("postgrsebckup", "postgresbackup", "PostgresBackup"),  # two mistakes in a long word
        ("monitorig", "monitoring", "PostgresBackup"),  # of an author
        ("grafx", "grafa", "Grafana"),  # half a word, not finished
    ],
)
def test_a_mistyped_word_finds_what_was_meant_and_the_answer_says_so(
    shop: Cloud, typed: str, meant: str, name: str
) -> None:
    answer = page(shop.member, typed)
    assert name in [each["name"] for each in answer["packages"]]
    assert meant in answer["similar"][typed]


def test_a_word_that_is_there_is_taken_as_it_is(shop: Cloud) -> None:
    assert "similar" not in page(shop.member, "postgres")
    assert page(shop.member, "qwertzuiop") == {"packages": []}
    assert page(shop.member, "xy") == {"packages": []}


def test_similar_words_tell_nothing_about_other_projects_packages(shop: Cloud) -> None:
    assert found(shop.stranger, "krakne") == ["Kraken"]
    assert page(shop.member, "krakne") == {"packages": []}
    assert page(shop.member, "kraken") == {"packages": []}


def test_facets_count_all_pages_of_what_the_project_may_see(shop: Cloud) -> None:
    answer = page(shop.member, "postgres", facets="true", limit="1")
    assert len(answer["packages"]) == 1
    assert answer["total"] == 4
    assert answer["facets"] == {
        "category": {"Databases": 2, "Web": 1},
        "tag": {"free": 2, "test": 2, "sql": 1},
        "type": {"Application": 3, "Library": 1},
        "author": {"The tests": 3, "Monitoring Guild": 1},
    }
    everything = shop.member.json("GET", "/v1/catalog/packages?facets=true&limit=2")
    second = shop.member.json("GET", f"/v1/catalog/packages?facets=true&limit=2&marker={everything['next_marker']}")
    assert (everything["total"], second["total"]) == (5, 5)
    assert len({each["id"] for each in everything["packages"] + second["packages"]}) == 4


def test_pages_of_a_search_follow_each_other_in_its_order(shop: Cloud) -> None:
    """The original's second page skipped what weighed less (spec/api-v1 §5 B13)."""
    for parameters in ({}, {"sort_dir": "desc"}, {"order_by": "relevance"}, {"order_by": "fqn"}):
        whole = found(shop.member, "postgres", **parameters)
        pages: list[str] = []
        marker: dict[str, str] = {}
        while True:
            answer = page(shop.member, "postgres", limit="1", **parameters, **marker)
            pages += [each["name"] for each in answer["packages"]]
            if "next_marker" not in answer:
                break
            marker = {"marker": answer["next_marker"]}
        assert pages == whole


def test_a_search_is_bounded(shop: Cloud) -> None:
    for search in ("x" * 501, ",".join("abc" for _ in range(21))):
        shop.member("GET", f"/v1/catalog/packages?search={search}", status=400)
    assert len(found(shop.member, "%")) == 0
    assert len(found(shop.member, ",;  ,")) == 5


# --- never an old answer ---------------------------------------------------------------------------------------------


@pytest.fixture
def second(cloud: Cloud, tmp_path: Path) -> Iterator[Cloud]:
    """Another process of the same installation, as far as it can tell: nothing is shared but the database."""
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    database = Database(url)
    app = service.create_app(config.load(overrides={"database": {"connection": url}}), database=database)
    accounts = {
        role: (str(client.token), client.project_id, client.user_id)
        for role in ("member", "colleague", "stranger", "admin", "reader")
        for client in (getattr(cloud, role),)
    }
    yield cloud_of(app, database, accounts)
    app.close()


def test_what_one_process_changes_the_others_show_with_the_next_answer(cloud: Cloud, second: Cloud) -> None:
    assert found(second.member, "app") == []
    package_id = cloud.member.upload(archive_of("org.example.App")).json["id"]
    assert found(second.member, "app") == ["App"]
    path = f"/v1/catalog/packages/{package_id}"
    change = [
        {"op": "replace", "path": "/name", "value": "Renamed"},
        {"op": "add", "path": "/tags", "value": ["fresh"]},
        {"op": "add", "path": "/categories", "value": ["Web"]},
    ]
    second.member("PATCH", path, change, Content_Type=PATCH)
    assert found(cloud.member, "renamed", tag="fresh", category="Web") == ["Renamed"]
    assert cloud.member.json("GET", path)["tags"] == ["fresh", "test"]
    assert found(cloud.stranger, "renamed") == []
    second.member("PUT", f"{path}/shares/{cloud.stranger.project_id}")
    assert found(cloud.stranger, "renamed") == ["Renamed"]
    cloud.member("DELETE", path)
    for client in (cloud.member, second.member, second.stranger):
        assert found(client, "renamed") == []
        client("GET", path, status=404)
    again = cloud.member.upload(archive_of("org.example.App")).json["id"]
    cloud.member.upload(archive_of("org.example.Other"))
    cloud.member("DELETE", f"/v1/catalog/packages/{again}")
    assert found(second.member, "org.example") == ["Other"]


def test_a_change_that_fails_changes_no_answer(cloud: Cloud, second: Cloud) -> None:
    package_id = cloud.member.upload(archive_of("org.example.App")).json["id"]
    before = second.member.json("GET", "/v1/catalog/packages")
    change = [
        {"op": "replace", "path": "/name", "value": "Renamed"},
        {"op": "replace", "path": "/categories", "value": ["No such category"]},
    ]
    cloud.member("PATCH", f"/v1/catalog/packages/{package_id}", change, Content_Type=PATCH, status=400)
    assert second.member.json("GET", "/v1/catalog/packages") == before
    assert cloud.member.json("GET", "/v1/catalog/packages") == before


def test_whoever_is_told_that_an_upload_succeeded_finds_it_whatever_others_upload(cloud: Cloud, second: Cloud) -> None:
    failures: list[str] = []

    def work(writer: Client, reader: Client, name: str) -> None:
        for number in range(5):
            fqn = f"org.{name}.P{number}"
            writer.upload(archive_of(fqn))
            seen = [each["fully_qualified_name"] for each in page(reader, fqn)["packages"]]
            if seen != [fqn]:
                failures.append(f"{fqn}: {seen}")

    threads = [
        threading.Thread(target=functools.partial(work, *pair))
        for pair in (
            (cloud.member, second.member, "first"),
            (second.member, cloud.member, "second"),
            (cloud.stranger, second.stranger, "third"),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(cloud.member.json("GET", "/v1/catalog/packages?limit=100")["packages"]) == 10
