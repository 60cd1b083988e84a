"""What package authors see: problems at their place, tests with their outcome."""

from __future__ import annotations

import json
import shutil
import zipfile
from xml.etree import ElementTree

import pytest

import packages
from cli import errors, main

MANIFEST = """\
Format: 1.4
Type: Application
FullName: org.example.App
Name: App
Classes:
  org.example.App: App.yaml
  org.example.AppTest: AppTest.yaml
"""
APP = """\
Namespaces:
  =: org.example
  std: io.murano

Name: App
Extends: std:Application
Properties:
  size:
    Contract: $.int().notNull()
Methods:
  double:
    Body:
      Return: $.size * 2
"""
APP_TEST = """\
Namespaces:
  =: org.example
  test: io.murano.test

Name: AppTest
Extends: test:TestFixture
Methods:
  testDoubling:
    Body:
      - $app: new(App, size => 4)
      - $.assertEqual(8, $app.double())
"""


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "app"
    (folder / "Classes").mkdir(parents=True)
    (folder / "manifest.yaml").write_text(MANIFEST)
    (folder / "Classes" / "App.yaml").write_text(APP)
    (folder / "Classes" / "AppTest.yaml").write_text(APP_TEST)
    return folder


def test_a_sound_package_is_sound(package, capsys):
    assert main.main(["package", "check", str(package)]) == errors.OK
    assert "1 packages: sound." in capsys.readouterr().out


def test_the_bundled_packages_are_sound(capsys):
    assert main.main(["package", "check", str(packages.folder())]) == errors.OK, capsys.readouterr().out


def test_a_problem_has_its_file_line_and_column_in_text_json_and_sarif(package, tmp_path, capsys):
    (package / "Classes" / "App.yaml").write_text(APP.replace("$.size * 2", "!yaql '$.size *'"))
    report = tmp_path / "report.sarif"
    assert main.main(["package", "check", str(package), "--sarif", str(report)]) == errors.FAILED
    assert f"{package}/Classes/App.yaml:13:30: " in capsys.readouterr().out
    assert main.main(["package", "check", str(package), "-f", "json"]) == errors.FAILED
    [problem] = json.loads(capsys.readouterr().out)
    assert (problem["file"], problem["line"], problem["column"]) == (f"{package}/Classes/App.yaml", 13, 30)
    [result] = json.loads(report.read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"{package}/Classes/App.yaml"
    assert place["region"] == {"startLine": 13, "startColumn": 30}


def test_warnings_fail_only_where_that_is_asked_for(package, tmp_path, capsys):
    (package / "Classes" / "App.yaml").write_text(APP.replace("$.size * 2", "$.somewhereElse()"))
    report = tmp_path / "report.sarif"
    arguments = ["package", "check", str(package), "--sarif", str(report)]
    assert main.main(arguments) == errors.OK
    said = capsys.readouterr().out
    assert f"{package}/Classes/App.yaml:13:17: warning: nothing at hand has a method somewhereElse" in said
    assert "1 packages checked, 0 problems, 1 warnings." in said
    assert json.loads(report.read_text())["runs"][0]["results"][0]["level"] == "warning"
    assert main.main([*arguments, "-f", "json"]) == errors.OK
    assert json.loads(capsys.readouterr().out)[0]["level"] == "warning"
    assert main.main([*arguments, "--strict"]) == errors.FAILED
    assert "1 packages checked, 1 problems, 0 warnings." in capsys.readouterr().out
    assert json.loads(report.read_text())["runs"][0]["results"][0]["level"] == "error"


def test_a_problem_in_an_archive_names_the_archive(package, tmp_path, capsys):
    (package / "Classes" / "App.yaml").unlink()
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in package.rglob("*.yaml"):
            file.write(path, path.relative_to(package))
    assert main.main(["package", "check", str(archive)]) == errors.FAILED
    assert f"{archive}/Classes/App.yaml: the file of class org.example.App does not exist" in capsys.readouterr().out


def test_what_is_no_package_is_said(tmp_path, capsys):
    assert main.main(["package", "check", str(tmp_path)]) == errors.USAGE
    assert "found no manifest.yaml" in capsys.readouterr().err
    (tmp_path / "x.zip").write_bytes(b"not a zip")
    assert main.main(["package", "check", str(tmp_path / "x.zip")]) == errors.FAILED


def test_a_packages_own_tests_are_run(package, tmp_path, capsys):
    report = tmp_path / "junit.xml"
    assert main.main(["package", "test", str(package), "--junit", str(report)]) == errors.OK
    assert "1 passed, 0 failed" in capsys.readouterr().out
    assert ElementTree.parse(report).getroot().get("tests") == "1"


def test_a_failing_test_shows_the_authors_lines(package, capsys):
    (package / "Classes" / "App.yaml").write_text(APP.replace("* 2", "* 3"))
    assert main.main(["package", "test", str(package)]) == errors.FAILED
    said = capsys.readouterr().out
    assert "8 != 12" in said
    assert "AppTest.yaml" in said
    assert ".py" not in said


def test_a_neighbour_of_the_same_name_and_version_does_not_stand_in_for_the_package(package, tmp_path, capsys):
    other = shutil.copytree(package, tmp_path / "earlier")
    (other / "Classes" / "App.yaml").write_text(APP.replace("* 2", "* 3"))
    (other / "Classes" / "AppTest.yaml").write_text(APP_TEST.replace("testDoubling", "testSomethingElse"))
    assert main.main(["package", "test", str(package)]) == errors.OK
    assert "testDoubling ....... OK" in capsys.readouterr().out


def test_a_test_loads_objects_described_in_code_and_as_the_service_stores_them(package, capsys):
    body = """\
      - $stored: $.load({Objects => {'?' => {type => 'org.example.App'}, size => 3}})
      - $.assertEqual(6, $stored.double())
      - $code:
          Objects:
            :App:
              size: 5
      - $.assertEqual(10, $.load($code).double())
      - $bare:
          :App:
            size: 7
      - $.assertEqual(14, $.load($bare).double())
"""
    kept = APP_TEST.partition("      - $app")[0]
    (package / "Classes" / "AppTest.yaml").write_text(kept + body)
    assert main.main(["package", "test", str(package)]) == errors.OK, capsys.readouterr().out


def test_a_package_without_tests_does_not_pass(package, capsys):
    shutil.rmtree(package / "Classes")
    (package / "Classes").mkdir()
    (package / "Classes" / "App.yaml").write_text(APP)
    (package / "manifest.yaml").write_text(MANIFEST.replace("  org.example.AppTest: AppTest.yaml\n", ""))
    assert main.main(["package", "test", str(package)]) == errors.FAILED
    assert "Executed 0 tests" in capsys.readouterr().out


def test_coverage_tells_which_lines_the_tests_ran(package, tmp_path, capsys):
    unused = "  triple:\n    Body:\n      - $three: 3\n      - Return: $.size * $three\n"
    (package / "Classes" / "App.yaml").write_text(APP + unused)
    report = tmp_path / "coverage.xml"
    arguments = ["package", "test", str(package), "--coverage-xml", str(report)]
    assert main.main([*arguments, "--coverage"]) == errors.OK
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{package}/Classes/App.yaml"))
    assert row.split()[1:] == ["3", "1", "33", "16-17"]
    figures = ElementTree.parse(report).getroot()
    assert (figures.get("lines-valid"), figures.get("lines-covered")) == ("3", "1")
    assert main.main([*arguments, "-f", "json"]) == errors.OK
    [measured] = json.loads(capsys.readouterr().out)["coverage"]
    assert (measured["lines"], measured["run"], measured["missing"]) == (3, 1, [[16, 17]])
