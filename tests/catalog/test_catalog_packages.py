"""Packages and categories, as spec/api-v1 §1.11 and §1.12 tell them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import PIL.Image
import pytest
import sqlalchemy as sa
from catalog_cloud import Client, Cloud, archive_of, multipart, package_files, zipped

from catalog.api.v1.package_lists import split_quoted
from catalog.db.contents import Content
from catalog.db.packages import Package

PATCH = "application/murano-packages-json-patch"
UNKNOWN = "0" * 32


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


def names(client: Client, query: str = "") -> list[str]:
    return [each["name"] for each in client.json("GET", f"/v1/catalog/packages{query}")["packages"]]


def patch(client: Client, package_id: str, *operations: Any, status: int = 200) -> Any:
    path = f"/v1/catalog/packages/{package_id}"
    return client("PATCH", path, list(operations), Content_Type=PATCH, status=status)


def test_an_upload_is_shown_with_what_its_manifest_says(cloud: Cloud) -> None:
    archive = archive_of("org.example.App", Supplier={"Name": "Us"}, Tags=["t1"])
    fields = {"categories": ["Web", "Databases"], "tags": ["t2"], "name": "ignored", "description": "ignored"}
    shown = cloud.member.upload(archive, fields).json
    assert shown["fully_qualified_name"] == "org.example.App"
    assert (shown["name"], shown["version"], shown["type"]) == ("App", "0.1.0", "Application")
    assert (shown["author"], shown["supplier"]) == ("The tests", {"Name": "Us"})
    assert (shown["categories"], shown["tags"]) == (["Databases", "Web"], ["t1", "t2"])
    assert shown["class_definitions"] == ["org.example.App"]
    assert (shown["owner_id"], shown["is_public"], shown["enabled"]) == (cloud.member.project_id, False, True)
    assert cloud.member.json("GET", f"/v1/catalog/packages/{shown['id']}") == shown


def test_its_parts_are_given_back_as_they_came(cloud: Cloud) -> None:
    files = package_files("org.example.App")
    files |= {"logo.png": png(), "UI/ui.yaml": "Version: 2\nName: ♥\n".encode()}
    archive = zipped(files)
    path = f"/v1/catalog/packages/{cloud.member.upload(archive).json['id']}"
    download = cloud.member("GET", f"{path}/download", Accept=None)
    assert (download.body, download.content_type) == (archive, "application/octet-stream")
    assert cloud.member("GET", f"{path}/logo").body == files["logo.png"]
    assert cloud.member("GET", f"{path}/supplier_logo").body == b""
    form = cloud.member("GET", f"{path}/ui", Accept=None)
    assert (form.body, form.content_type) == (files["UI/ui.yaml"], "text/plain")
    cloud.member("GET", f"{path}/ui", Accept="application/json", status=406)
    cloud.member("GET", f"{path}/logo", Accept="application/json", status=406)
    bare = cloud.member.upload(archive_of("org.example.Bare")).json["id"]
    assert cloud.member("GET", f"/v1/catalog/packages/{bare}/ui").body == b""
    assert cloud.member("GET", f"/v1/catalog/packages/{bare}/logo").body == b""


def test_an_upload_without_its_data_is_private_and_enabled(cloud: Cloud) -> None:
    package_id = cloud.member.upload(archive_of("org.example.App")).json["id"]
    assert names(cloud.stranger) == []
    cloud.stranger("GET", f"/v1/catalog/packages/{package_id}", status=403)
    cloud.stranger("GET", f"/v1/catalog/packages/{package_id}/download", status=403)
    cloud.stranger("DELETE", f"/v1/catalog/packages/{package_id}", status=403)
    for part in ("", "/ui", "/logo", "/download", "/dependencies"):
        cloud.member("GET", f"/v1/catalog/packages/{UNKNOWN}{part}", status=404)


def test_versions_of_a_package_stand_side_by_side_but_none_comes_twice(cloud: Cloud) -> None:
    cloud.member.upload(archive_of("org.example.App"))
    cloud.member.upload(archive_of("org.example.App"), status=409)
    cloud.member.upload(archive_of("org.example.App", version="0.2.0"))
    found = cloud.member.json("GET", "/v1/catalog/packages?fqn=org.example.App&owned=True&version=0.2.0")
    assert [each["version"] for each in found["packages"]] == ["0.2.0"]
    cloud.stranger.upload(archive_of("org.example.App"))


def test_a_class_belongs_to_one_package_of_a_project(cloud: Cloud) -> None:
    cloud.member.upload(archive_of("org.example.App"))
    clash = archive_of("org.example.Other", classes=("org.example.App",))
    assert "Class org.example.App" in cloud.member.upload(clash, status=409).text
    cloud.stranger.upload(clash)


def test_only_administrators_publish(cloud: Cloud) -> None:
    cloud.member.upload(archive_of("org.example.App"), {"is_public": True}, status=403)
    cloud.admin.upload(archive_of("org.example.App"), {"is_public": True})
    assert names(cloud.stranger) == ["App"]
    own = cloud.member.upload(archive_of("org.example.App")).json["id"]
    patch(cloud.member, own, {"op": "replace", "path": "/is_public", "value": True}, status=403)
    patch(cloud.admin, own, {"op": "replace", "path": "/is_public", "value": True}, status=409)
    cloud.reader.upload(archive_of("org.example.New"), status=403)


# --- what is no package ----------------------------------------------------------------------------------------------


def bomb() -> bytes:
    return zipped({**package_files("org.example.Bomb"), "Resources/zeros": b"\0" * (80 << 20)})


def traversal() -> bytes:
    return zipped({**package_files("org.example.Evil"), "../../etc/passwd": b"root"})


def duplicate() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in package_files("org.example.Twice").items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("manifest.yaml", b"FullName: other")
    return buffer.getvalue()


def broken_class() -> bytes:
    files = package_files("org.example.Broken")
    files["Classes/org.example.Broken.yaml"] = b"Namespaces: {=: org.example}\nName: Broken\nMethods: [unclosed\n"
    return zipped(files)


def with_logo(data: bytes) -> bytes:
    return zipped({**package_files("org.example.Logo"), "logo.png": data})


HOSTILE = [
    pytest.param(lambda: b"this is no zip archive", "archive", id="no zip"),
    pytest.param(bomb, "Resources/zeros", id="bomb"),
    pytest.param(traversal, "etc/passwd", id="traversal"),
    pytest.param(duplicate, "manifest.yaml", id="duplicate names"),
    pytest.param(lambda: zipped({"readme": b""}), "manifest.yaml", id="no manifest"),
    pytest.param(lambda: zipped({"manifest.yaml": b"a: [unclosed"}), "manifest.yaml:", id="broken manifest"),
    pytest.param(lambda: zipped({"manifest.yaml": b"\xff\xfe\x00"}), "manifest.yaml", id="manifest not UTF-8"),
    pytest.param(lambda: archive_of("org.example.App", Format="MuranoPL/9.9"), "Format", id="unknown format"),
    pytest.param(lambda: archive_of("org.example.App", Type="Toy"), "Type", id="unknown type"),
    pytest.param(lambda: archive_of("org.example.App", Name="n" * 81), "80", id="long name"),
    pytest.param(lambda: archive_of("o." + "x" * 200), "128", id="long full name"),
    pytest.param(lambda: archive_of("org.example.App", Tags=["t" * 81]), "80", id="long tag"),
    pytest.param(lambda: archive_of("org.example.App", require={"x.Y": "not a spec"}), "x.Y", id="broken Require"),
    pytest.param(broken_class, "Classes/org.example.Broken.yaml:4", id="broken class"),
    pytest.param(lambda: with_logo(b"<svg onload='alert(1)'/>"), "PNG", id="logo is no image"),
    pytest.param(lambda: with_logo(png((5000, 10))), "5000x10", id="logo too wide"),
    pytest.param(lambda: with_logo(png()[:40]), "logo", id="logo cut off"),
    pytest.param(lambda: with_logo(b"\x89PNG" + b"x" * (600 << 10)), "500 KiB", id="logo too large"),
]


@pytest.mark.parametrize(("make", "said"), HOSTILE)
def test_what_is_no_package_is_a_400_that_says_where_and_stores_nothing(cloud: Cloud, make: Any, said: str) -> None:
    answer = cloud.member.upload(make(), status=400)
    assert said in answer.text
    with cloud.database.reading() as session:
        for table in (Package, Content):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_every_problem_is_listed_for_machines_too(cloud: Cloud) -> None:
    archive = zipped({"manifest.yaml": b"FullName: 'not a name'\nType: Toy\nVersion: x.y\n"})
    body, kind = multipart([("f", ("p.zip", archive))])
    answer = cloud.member(
        "POST", "/v1/catalog/packages", raw=body, Content_Type=kind, Accept="application/json", status=400
    )
    problems = answer.json["problems"]
    assert len(problems) == 3
    assert {problem["line"] for problem in problems} == {1, 2, 3}
    assert all(problem["message"] and problem["file"].endswith("manifest.yaml") for problem in problems)


def test_multipart_bodies_are_taken_only_as_they_should_be(cloud: Cloud) -> None:
    archive = archive_of("org.example.App")

    def post(fields: list[tuple[str, Any]], status: int = 400) -> str:
        body, kind = multipart(fields)
        return cloud.member("POST", "/v1/catalog/packages", raw=body, Content_Type=kind, status=status).text

    assert "expected a part with the package file" in post([("JsonString", "{}")])
    assert "empty file" in post([("f", ("p.zip", b""))])
    post([("f", ("p.zip", archive)), ("a", "{}"), ("b", "{}")])
    assert "doesn't exist" in post([("f", ("p.zip", archive)), ("a", '{"categories": ["Nope"]}')])
    post([("f", ("p.zip", archive)), ("a", '{"unknown": 1}')])
    post([("f", ("p.zip", archive)), ("a", '{"tags": ["x", "x"]}')])
    post([("f", ("p.zip", archive)), ("a", '{"is_public": "yes"}')])
    post([("f", ("p.zip", archive)), ("a", json.dumps({"tags": [str(number) for number in range(101)]}))])
    cloud.member("POST", "/v1/catalog/packages", {"a": 1}, status=400)
    cloud.member("POST", "/v1/catalog/packages", status=400)
    cloud.member("POST", "/v1/catalog/packages", raw=b"x", Content_Type="multipart/form-data", status=400)
    post([("f", ("p.zip", archive)), ("a", "this is no JSON, so it is ignored")], status=200)


def test_an_archive_over_the_limit_is_refused(cloud: Cloud) -> None:
    large = b"PK" + b"\0" * (5 << 20)
    assert "at most 5 MiB" in cloud.member.upload(large, status=400).text
    cloud.member.upload(large * 2, status=413)


# --- changing and deleting -------------------------------------------------------------------------------------------


def test_a_patch_changes_tags_categories_texts_and_flags(cloud: Cloud) -> None:
    package_id = cloud.member.upload(archive_of("org.example.App")).json["id"]

    def changed(operation: str, path: str, value: Any) -> dict[str, Any]:
        answer: dict[str, Any] = patch(cloud.member, package_id, {"op": operation, "path": path, "value": value}).json
        return answer

    assert changed("add", "/tags", ["b", "test"])["tags"] == ["b", "test"]
    assert changed("replace", "/tags", ["c"])["tags"] == ["c"]
    assert changed("remove", "/tags", ["c"])["tags"] == []
    assert changed("add", "/categories", ["Web"])["categories"] == ["Web"]
    assert changed("add", "/categories", ["Web"])["categories"] == ["Web"]
    assert patch(cloud.member, package_id, {"op": "remove", "path": "/categories"}).json["categories"] == []
    assert changed("replace", "/name", "New ♥")["name"] == "New ♥"
    assert changed("replace", "/description", "")["description"] == ""
    assert changed("replace", "/enabled", False)["enabled"] is False
    assert names(cloud.member) == []
    assert names(cloud.member, "?include_disabled=TRUE") == ["New ♥"]
    assert patch(cloud.member, package_id).status_int == 200


REFUSED = [
    ({"op": "add", "path": "/tags"}, 400),
    ({"op": "add", "path": "/tags", "value": "text"}, 400),
    ({"op": "add", "path": "/tags", "value": ["a", "a"]}, 400),
    ({"op": "add", "path": "/tags", "value": [1]}, 400),
    ({"op": "add", "path": "/tags/0", "value": ["a"]}, 400),
    ({"op": "add", "path": "tags", "value": ["a"]}, 400),
    ({"op": "replace", "path": "/name", "value": "n" * 81}, 400),
    ({"op": "replace", "path": "/name", "value": "\x00"}, 400),
    ({"op": "replace", "path": "/categories", "value": ["Nope"]}, 400),
    ({"op": "replace", "path": "/enabled", "value": "yes"}, 400),
    ({"op": "remove", "path": "/tags", "value": ["nope"]}, 404),
    ({"op": "add", "path": "/name", "value": "x"}, 403),
    ({"op": "replace", "path": "/owner_id", "value": "x"}, 403),
    ({"op": "test", "path": "/tags", "value": ["a"]}, 403),
    ("text", 400),
]


@pytest.mark.parametrize(("operation", "status"), REFUSED)
def test_a_patch_that_is_not_allowed_changes_nothing(cloud: Cloud, operation: Any, status: int) -> None:
    shown = cloud.member.upload(archive_of("org.example.App")).json
    patch(cloud.member, shown["id"], {"op": "add", "path": "/tags", "value": ["new"]}, operation, status=status)
    assert cloud.member.json("GET", f"/v1/catalog/packages/{shown['id']}") == shown


def test_the_form_of_a_patch_is_checked_before_the_package_is_looked_for(cloud: Cloud) -> None:
    patch(cloud.member, UNKNOWN, {"op": "add"}, status=400)
    patch(cloud.member, UNKNOWN, {"op": "add", "path": "/nope", "value": 1}, status=403)
    patch(cloud.member, UNKNOWN, {"op": "add", "path": "/tags", "value": []}, status=404)
    path = f"/v1/catalog/packages/{UNKNOWN}"
    cloud.member("PATCH", path, [], status=400)
    cloud.member("PATCH", path, {}, Content_Type=PATCH, status=400)


def test_content_is_kept_once_and_goes_with_its_last_package(cloud: Cloud) -> None:
    archive = archive_of("org.example.App")
    mine, theirs = (client.upload(archive).json["id"] for client in (cloud.member, cloud.stranger))

    def contents() -> int:
        with cloud.database.reading() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(Content)) or 0

    assert contents() == 1
    assert cloud.member("DELETE", f"/v1/catalog/packages/{mine}").body == b""
    assert cloud.stranger("GET", f"/v1/catalog/packages/{theirs}/download").body == archive
    cloud.stranger("DELETE", f"/v1/catalog/packages/{theirs}")
    assert contents() == 0
    cloud.member("DELETE", f"/v1/catalog/packages/{mine}", status=404)


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(cloud: Cloud) -> Cloud:
    """Four packages of the member's, one public one of the administrator's."""
    fields: dict[str, Any]
    for name, fields in (
        ("org.a.Alpha", {"categories": ["Web"], "tags": ["x,y"]}),
        ("org.b.Beta", {"categories": ["Databases"], "tags": ["red"]}),
        ("org.c.Gamma", {"categories": ["Web", "SAP"]}),
    ):
        cloud.member.upload(archive_of(name, Description=f"all about {name[-3:]} 100%"), fields)
    cloud.member.upload(archive_of("org.d.Delta", Type="Library", Description="mentions alpha"), {"enabled": False})
    cloud.admin.upload(archive_of("org.p.Public", Author="Somebody else"), {"is_public": True})
    return cloud


LISTS = [
    ("", ["Alpha", "Beta", "Gamma", "Public"]),
    ("?sort_dir=desc", ["Public", "Gamma", "Beta", "Alpha"]),
    ("?order_by=fqn&sort_dir=desc", ["Public", "Gamma", "Beta", "Alpha"]),
    ("?order_by=nonsense&order_by=created", ["Alpha", "Beta", "Gamma", "Public"]),
    ("?owned=True", ["Alpha", "Beta", "Gamma"]),
    ("?owned=true&include_disabled=true", ["Alpha", "Beta", "Delta", "Gamma"]),
    ("?catalog=True&type=Application", ["Alpha", "Beta", "Gamma", "Public"]),
    ("?type=library&include_disabled=true", ["Delta"]),
    ("?category=Web", ["Alpha", "Gamma"]),
    ("?category=SAP&category=Databases", ["Beta", "Gamma"]),
    ("?category=in:SAP,Databases", ["Beta", "Gamma"]),
    ("?category=SAP,Databases", []),
    ("?category=in:", []),
    ("?category=in:%22unclosed", ["Alpha", "Beta", "Gamma", "Public"]),
    ("?tag=in:%22x,y%22,red", ["Alpha", "Beta"]),
    ("?tag=x,y", ["Alpha"]),
    ("?fqn=org.a.Alpha", ["Alpha"]),
    ("?fqn=in:org.a.Alpha", []),
    ("?class_name=org.c.Gamma", ["Gamma"]),
    ("?name=Beta&unknown=ignored&inherits=x", ["Beta"]),
    ("?search=alpha", ["Alpha"]),
    ("?search=ALPHA&include_disabled=true", ["Alpha", "Delta"]),
    ("?search=somebody%3Bred", ["Beta", "Public"]),
    ("?search=100%25", ["Alpha", "Beta", "Gamma"]),
    ("?search=10_%25", []),
    ("?search=SAP", ["Gamma"]),
    ("?limit=2", ["Alpha", "Beta"]),
]


def test_a_list_has_what_was_asked_for_in_the_order_asked_for(shelf: Cloud) -> None:
    assert {query: names(shelf.member, query) for query, _ in LISTS} == dict(LISTS)


@pytest.mark.parametrize("query", ["?limit=0", "?limit=-1", "?limit=x", "?sort_dir=up", "?name=%00"])
def test_a_list_that_makes_no_sense_is_a_400(shelf: Cloud, query: str) -> None:
    shelf.member("GET", f"/v1/catalog/packages{query}", status=400)


def test_pages_follow_each_other_until_one_is_not_full(shelf: Cloud) -> None:
    for query in ("?limit=2", "?limit=2&search=org", "?limit=1&sort_dir=desc", "?limit=3&order_by=created"):
        seen: list[str] = []
        marker = ""
        while True:
            page = shelf.member.json("GET", f"/v1/catalog/packages{query}{marker}")
            seen += [each["name"] for each in page["packages"]]
            if "next_marker" not in page:
                break
            marker = f"&marker={page['next_marker']}"
        assert sorted(seen) == ["Alpha", "Beta", "Gamma", "Public"], query
    full = shelf.member.json("GET", "/v1/catalog/packages?limit=4")
    assert full["next_marker"] == full["packages"][-1]["id"]


def test_a_marker_tells_nothing_about_other_projects_packages(shelf: Cloud) -> None:
    """The original took any id, and so said which exist (spec/api-v1 §5 B14)."""
    hidden = shelf.member.json("GET", "/v1/catalog/packages?fqn=org.a.Alpha")["packages"][0]["id"]
    for marker in (hidden, UNKNOWN):
        shelf.stranger("GET", f"/v1/catalog/packages?marker={marker}", status=404)


def test_administrators_list_everything_outside_of_catalog_mode(shelf: Cloud) -> None:
    assert names(shelf.admin) == ["Alpha", "Beta", "Gamma", "Public"]
    assert names(shelf.admin, "?catalog=true") == ["Public"]
    assert names(shelf.stranger, "?catalog=true") == ["Public"]


def test_quoted_lists_are_split_at_commas_outside_of_quotes() -> None:
    assert split_quoted('a,b,"c,d"') == ["a", "b", "c,d"]
    assert split_quoted(r'"say \"x\"",b') == ['say "x"', "b"]
    assert split_quoted("") == []
    for broken in ('"a', 'a"b', '"a"b'):
        with pytest.raises(ValueError, match="quote"):
            split_quoted(broken)


# --- categories ------------------------------------------------------------------------------------------------------


def test_a_catalog_starts_with_categories_and_counts_what_is_in_them(shelf: Cloud) -> None:
    listed = shelf.member.json("GET", "/v1/catalog/categories")["categories"]
    assert [each["name"] for each in listed] == sorted(each["name"] for each in listed)
    assert {each["name"]: each["package_count"] for each in listed if each["package_count"]} == {
        "Databases": 1,
        "SAP": 1,
        "Web": 2,
    }
    web = next(each for each in listed if each["name"] == "Web")
    shown = shelf.member.json("GET", f"/v1/catalog/categories/{web['id']}")
    assert [each["name"] for each in shown["packages"]] == ["Alpha", "Gamma"]
    seen = shelf.stranger.json("GET", f"/v1/catalog/categories/{web['id']}")
    assert (seen["packages"], seen["package_count"]) == ([], 0)


def test_administrators_add_and_remove_categories(shelf: Cloud) -> None:
    shelf.member("POST", "/v1/catalog/categories", {"name": "Mine"}, status=403)
    created = shelf.admin.json("POST", "/v1/catalog/categories", {"name": "Mine", "extra": 1})
    assert set(created) == {"id", "name", "created", "updated", "package_count"}
    shelf.admin("POST", "/v1/catalog/categories", {"name": "Mine"}, status=409)
    for bad in ({"name": ""}, {"name": "x" * 81}, {}, {"name": 5}, [], None):
        shelf.admin("POST", "/v1/catalog/categories", bad, status=400)
    shelf.member("DELETE", f"/v1/catalog/categories/{created['id']}", status=403)
    assert shelf.admin("DELETE", f"/v1/catalog/categories/{created['id']}").body == b""
    shelf.admin("DELETE", f"/v1/catalog/categories/{created['id']}", status=404)
    shelf.member("GET", f"/v1/catalog/categories/{UNKNOWN}", status=404)
    web = next(
        each for each in shelf.admin.json("GET", "/v1/catalog/categories")["categories"] if each["name"] == "Web"
    )
    shelf.admin("DELETE", f"/v1/catalog/categories/{web['id']}", status=403)


def test_categories_are_sorted_and_paged_strictly(shelf: Cloud) -> None:
    def listed(query: str) -> Any:
        return shelf.member.json("GET", f"/v1/catalog/categories?{query}")

    first = listed("limit=4&sort_keys=package_count,name&sort_dir=desc")
    assert first["categories"][0]["name"] == "Web"
    rest = listed(f"sort_keys=package_count,name&sort_dir=desc&marker={first['next_marker']}")
    assert len(rest["categories"]) == 5
    assert "next_marker" not in rest
    for bad in ("limit=0", "limit=x", "sort_dir=up", "sort_keys=color", "search=x"):
        shelf.member("GET", f"/v1/catalog/categories?{bad}", status=400)
    shelf.member("GET", f"/v1/catalog/categories?marker={UNKNOWN}", status=404)


def test_listing_packages_takes_the_same_number_of_queries_however_many_and_reads_no_archive(cloud: Cloud) -> None:
    """The original loaded whole rows, archives included (spec/api-v1 §5 B15, B17)."""

    def queries() -> int:
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        cloud.member("GET", "/v1/catalog/packages")  # reads what changed since the last list
        sa.event.listen(cloud.database.engine, "before_cursor_execute", note)
        cloud.member("GET", "/v1/catalog/packages")
        sa.event.remove(cloud.database.engine, "before_cursor_execute", note)
        assert not any("contents" in statement or "ui_definition" in statement for statement in seen)
        return len(seen)

    cloud.member.upload(archive_of("org.example.First"), {"categories": ["Web"]})
    one = queries()
    for number in range(4):
        cloud.member.upload(archive_of(f"org.example.P{number}"), {"categories": ["Web"], "tags": [f"t{number}"]})
    assert queries() == one
