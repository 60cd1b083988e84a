"""The examples of docs/packages.md and docs/testing-packages.md do what the pages say."""

from __future__ import annotations

import json
import pathlib
import re
import zipfile

import pytest

from catalog import packages as catalog_packages
from cli import errors, main
from dsl.packages import ArchiveLimits, Version, VersionSpec, open_package

DOCS = pathlib.Path(__file__).parents[2] / "docs"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def written(page: str, folder: pathlib.Path) -> pathlib.Path:
    """The files that a page shows, in a folder."""
    files = dict(FILE.findall((DOCS / page).read_text(encoding="utf-8")))
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def page(tmp_path: pathlib.Path) -> pathlib.Path:
    return written("packages.md", tmp_path / "org.example.Page")


def test_the_example_has_the_files_that_the_page_lists(page: pathlib.Path) -> None:
    listed = re.findall(r"^      ([\w./]+)  ", (DOCS / "packages.md").read_text(), re.MULTILINE)
    assert {path.relative_to(page).as_posix() for path in page.rglob("*.*")} == set(listed) - {"logo.png"}


def test_the_example_is_sound(page: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["package", "check", str(page)]) == errors.OK, capsys.readouterr().out


def test_the_tests_of_the_example_pass_and_run_every_line(
    page: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["package", "test", str(page), "--coverage", "-f", "json"]) == errors.OK
    document = json.loads(capsys.readouterr().out)
    assert [test["outcome"] for test in document["tests"]] == ["passed"] * 3
    [measured] = document["coverage"]
    assert measured["missing"] == []


def test_a_slip_of_the_pen_in_the_example_is_shown(page: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, right, wrong in (
        ("Classes/Page.yaml", "$.server.deploy()", "$.server.deplyo()"),
        ("Resources/Publish.template", "EntryPoint: publish.sh", "EntryPoint: publsh.sh"),
        ("UI/ui.yaml", "$.page.text", "$.page.txt"),
    ):
        path = page / name
        path.write_text(path.read_text().replace(right, wrong))
    assert main.main(["package", "check", str(page), "-f", "json"]) == errors.FAILED
    problems = json.loads(capsys.readouterr().out)
    assert [(pathlib.Path(each["file"]).name, each["fix"].partition("?")[0]) for each in problems] == [
        ("Publish.template", "did you mean publish.sh"),
        ("ui.yaml", "did you mean text"),
        ("Page.yaml", "did you mean deploy"),
    ]


def test_the_example_goes_into_a_repository(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "repository"
    assert main.main(["repository", "build", str(page), "-o", str(repository)]) == errors.OK
    archives = [path for path in repository.rglob("*") if path.is_file() and zipfile.is_zipfile(path)]
    assert {open_package(path).full_name for path in archives} == {"org.example.Page"}


def test_the_catalog_takes_the_example(page: pathlib.Path) -> None:
    opened = catalog_packages.open_archive(open_package(page).archive(), ArchiveLimits(), forms=True)
    assert (opened.name, opened.version) == ("org.example.Page", "0.1.0")


def test_the_table_of_conditions_is_true() -> None:
    rows = re.findall(
        r"^\| (\(empty\)|`[^`]+`) \| (\S*) \| (\S*) ?\|$", (DOCS / "packages.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 6
    for condition, taken, refused in rows:
        spec = VersionSpec.parse(condition.strip("`").replace("(empty)", ""))
        assert spec.matches(Version.coerce(taken)), condition
        assert not refused or not spec.matches(Version.coerce(refused)), condition


def test_the_counter_of_the_other_page_is_tested_as_shown(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written("testing-packages.md", tmp_path / "counter")
    monkeypatch.chdir(tmp_path)
    assert main.main(["package", "check", "counter"]) == errors.OK, capsys.readouterr().out
    capsys.readouterr()
    assert main.main(["package", "test", "counter", "--coverage"]) == errors.OK
    said = re.sub(r"in \d+\.\d seconds", "in 0.1 seconds", capsys.readouterr().out)
    shown = re.findall(r"```text\n(.*?)```", (DOCS / "testing-packages.md").read_text(), re.DOTALL)
    assert said.startswith(shown[0])
    source = tmp_path / "counter" / "Classes" / "Counter.yaml"
    source.write_text(source.read_text().replace("$.limit()", "$.limti()"))
    assert main.main(["package", "test", "counter"]) == errors.FAILED
    assert shown[1].strip() in capsys.readouterr().out
