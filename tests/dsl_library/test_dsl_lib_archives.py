"""Packages as folders and archives: what is read, what is refused, what stays the same."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

import dsl
from dsl.packages import ArchiveLimits, PackageError, check_package, open_package

MANIFEST = b"Format: 1.3\nFullName: org.demo.Wiki\nType: Application\nClasses: {org.demo.Wiki: Wiki.yaml}\n"
WIKI = b"Namespaces: {=: org.demo}\nName: Wiki\n"
FILES = {
    "manifest.yaml": MANIFEST,
    "Classes/Wiki.yaml": WIKI,
    "Resources/a/b.txt": b"text",
    "UI/ui.yaml": b"Application: {}",
}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def refusal(source: bytes | Path, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(PackageError) as caught:
        open_package(source, limits or ArchiveLimits())
    assert caught.value.problems
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def test_a_folder_and_its_archive_are_the_same_package(folder: Path) -> None:
    package = open_package(folder)
    assert (package.full_name, str(package.version), package.class_names) == (
        "org.demo.Wiki",
        "0.0.0",
        ("org.demo.Wiki",),
    )
    assert package.resource("a/b.txt") == b"text"
    assert package.ui_definition == "Application: {}"
    packed = open_package(package.archive())
    assert packed == package
    assert packed.digest == package.digest
    assert packed.archive() == package.archive()
    assert check_package(package) == []


def test_a_zip_file_on_disk_opens_like_its_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("zips") / "wiki.zip"
    path.write_bytes(zipped(FILES))
    assert open_package(path) == open_package(folder)


def test_an_archive_is_the_same_whatever_order_and_dates_it_was_built_with() -> None:
    backwards = dict(reversed(FILES.items()))
    assert open_package(zipped(FILES)).archive() == open_package(zipped(backwards, zipfile.ZIP_STORED)).archive()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\x1f\x8b123", "a gzip file"),
        (b"<html>", "a web page"),
        (b"PK\x03\x04zz", "damaged zip"),
    ],
)
def test_what_is_no_zip_is_named(content: bytes, found: str) -> None:
    message = refusal(content)
    assert "not a zip archive" in message
    assert found in message


@pytest.mark.parametrize(
    "name", ["../evil.txt", "Classes/../../evil", "/etc/passwd", "C:/x", "a\\b", "a//b", "x/./y", "a\nb"]
)
def test_paths_that_leave_the_package_are_refused(name: str) -> None:
    assert "path" in refusal(zipped({**FILES, name: b""}))


def test_links_in_archives_are_refused() -> None:
    stream = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(stream, "a") as archive:
        entry = zipfile.ZipInfo("Resources/link")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert "symbolic link" in refusal(stream.getvalue())


def test_links_that_leave_a_folder_are_refused(folder: Path) -> None:
    (folder / "Resources" / "inside").symlink_to(folder / "manifest.yaml")
    assert open_package(folder).resource("inside") == MANIFEST
    (folder / "Resources" / "outside").symlink_to("/etc/passwd")
    assert "the link leaves the package" in refusal(folder)


def test_special_files_in_a_folder_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "Resources" / "pipe")
    assert "not a regular file" in refusal(folder)


def test_duplicates_are_refused() -> None:
    stream = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("manifest.yaml", b"x")
    assert "twice" in refusal(stream.getvalue())
    assert "a file and a folder of one name" in refusal(zipped({**FILES, "Classes": b""}))


def test_encrypted_archives_are_refused() -> None:
    content = bytearray(zipped(FILES))
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1  # the flag in the central directory
    assert "encrypted" in refusal(bytes(content))


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    bomb = zipped({**FILES, "Resources/zeros": b"\0" * 20_000_000})
    assert "suspiciously much" in refusal(bomb)
    assert "too large" in refusal(bomb, ArchiveLimits(ratio=10_000, total_bytes=10_000_000))
    assert "too large" in refusal(bomb, ArchiveLimits(ratio=10_000, file_bytes=1_000_000))
    assert "too large" in refusal(bomb, ArchiveLimits(archive_bytes=100))
    assert "too many entries" in refusal(zipped({f"f{n}": b"" for n in range(50)}), ArchiveLimits(entries=10))


def test_damaged_content_is_reported_when_it_is_read() -> None:
    content = bytearray(zipped({**FILES, "Resources/x": os.urandom(5000)}, zipfile.ZIP_STORED))
    at = content.index(b"Resources/x") + 100
    content[at] ^= 0xFF
    package = open_package(bytes(content))
    with pytest.raises(PackageError, match="damaged"):
        package.resource("x")


def test_a_missing_manifest_is_explained() -> None:
    assert "this is not a package" in refusal(zipped({"x": b""}))
    nested = refusal(zipped({f"wiki/{name}": content for name, content in FILES.items()}))
    assert "zip the content of the folder" in nested


def test_every_problem_of_a_manifest_is_reported_at_its_line() -> None:
    manifest = (
        b"Format: 1.5\nFullName: a..b\nType: Gadget\nVersion: x\n"
        b"Require: {a.b: nonsense}\nClasses: {a.B: ../x}\nTags: 5\n"
    )
    message = refusal(zipped({"manifest.yaml": manifest}))
    places = (":1:9: unsupported Format", ":2:11: FullName", ":3:7: unknown Type", ":4:10: Version")
    for expected in (*places, ":5:16: the version", ":6:16: the file of class", ":7:7: Tags"):
        assert expected in message


@pytest.mark.parametrize(
    ("written", "normalised"),
    [("", "MuranoPL/1.0"), ("Format: 1.4", "MuranoPL/1.4"), ("Format: '1.2'", "MuranoPL/1.2"),
     ("Format: 1", "MuranoPL/1.0"), ("Format: MuranoPL/1.3", "MuranoPL/1.3")],
)  # fmt: skip
def test_spellings_of_the_format(written: str, normalised: str) -> None:
    manifest = f"{written}\nFullName: a.b\nType: Library\n".encode()
    assert open_package(zipped({"manifest.yaml": manifest})).manifest.format == normalised


def test_a_path_that_does_not_exist_is_one_clear_sentence(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "nothing")
        == f"{tmp_path}/nothing: it can not be opened: No such file or directory; check the path"
    )


def test_a_package_without_a_path_goes_by_its_full_name() -> None:
    files = {**FILES, "Classes/Wiki.yaml": b"Name: Wiki\nProperties: {p: {}}", "UI/ui.yaml": b"Forms: []"}
    package = open_package(zipped(files))
    assert package.location_of("Classes/Wiki.yaml") == "org.demo.Wiki/Classes/Wiki.yaml"
    places = [problem.file for problem in check_package(package)]
    assert "org.demo.Wiki/Classes/Wiki.yaml" in places
    assert "org.demo.Wiki/UI/ui.yaml" in places
    assert not any(place.startswith("package/") for place in places)


def test_a_folder_called_package_keeps_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "manifest.yaml").write_bytes(MANIFEST)
    monkeypatch.chdir(tmp_path)
    assert open_package("package").location_of("manifest.yaml") == "package/manifest.yaml"


def test_stack_traces_of_a_package_from_an_archive_name_the_package() -> None:
    code = WIKI + b"Methods: {fail: {Usage: Static, Body: [{Throw: Broken, Message: no}]}}"
    program = dsl.Runtime(dsl.Library([zipped({**FILES, "Classes/Wiki.yaml": code})])).load({})
    with pytest.raises(dsl.Thrown) as caught:
        program.call_static("org.demo.Wiki", "fail")
    program.discard()
    assert [frame.file for frame in caught.value.stack] == ["org.demo.Wiki/Classes/Wiki.yaml"]
