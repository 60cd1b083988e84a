"""Package tests as a library: what is found, how it runs, what the results say."""

from __future__ import annotations

import textwrap
from xml.etree import ElementTree

import pytest

import dsl
import dsl.testing
from dsl.packages import Package
from dsl.packages.archives import MemoryFiles

FIXTURE = """
Namespaces: {=: io.murano.test}
Name: TestFixture
Methods:
  setUp: {}
  tearDown: {}
  require:
    Arguments: [condition: {Contract: $}]
    Body:
      - If: not $condition
        Then: [{Throw: 'io.murano.test.Failed', Message: it does not hold}]
"""
TESTS = """
Namespaces: {=: org.demo, t: io.murano.test}
Name: WikiTest
Extends: t:TestFixture
Methods:
  setUp:
    Body: [{$.ready: true}]
  testPasses:
    Body: [$.require($.ready)]
  testFails:
    Body: [$.require(1 = 2)]
  test_mocks_an_expression:
    Body:
      - inject(Wiki, title, mocked)
      - $.require(new(Wiki).title() = mocked)
  test_mocks_do_not_outlive_their_test:
    Body: [$.require(new(Wiki).title() = real)]
  testsuite: {Body: [$.require(false)]}
  helper: {Body: [$.require(false)]}
---
Name: Wiki
Methods:
  title: {Body: {Return: real}}
---
Name: SetUpFails
Extends: t:TestFixture
Methods:
  setUp: {Body: [$.require(false)]}
  testNever: {Body: []}
---
Name: Endless
Extends: t:TestFixture
Methods:
  testEndless:
    Body:
      - While: $.keepOn()
        Do: []
  keepOn: {Body: {Return: true}}
---
Name: Sleeps
Extends: t:TestFixture
Methods:
  testSleeps:
    Body:
      - sleep(3600)
      - now()
"""


def package(name: str, classes: dict[str, str], files: dict[str, str]) -> Package:
    listed = "{" + ", ".join(f"{cls}: {file}" for cls, file in classes.items()) + "}"
    manifest = f"Format: 1.4\nFullName: {name}\nType: Library\nClasses: {listed}\n"
    content = {"manifest.yaml": manifest, **{f"Classes/{file}": text for file, text in files.items()}}
    return Package(MemoryFiles("", {file: text.encode() for file, text in content.items()}))


@pytest.fixture
def library() -> dsl.Library:
    core = package("io.murano", {"io.murano.test.TestFixture": "F.yaml"}, {"F.yaml": FIXTURE})
    names = ("WikiTest", "Wiki", "SetUpFails", "Endless", "Sleeps")
    demo = package("org.demo", {f"org.demo.{name}": "T.yaml" for name in names}, {"T.yaml": TESTS})
    broken = package("org.broken", {"org.broken.A": "A.yaml"}, {"A.yaml": "Properties: {p: {}}"})
    return dsl.Library([core, demo, broken])


def outcomes(run: dsl.testing.TestRun) -> dict[str, str]:
    return {result.test.method: result.outcome for result in run.results}


def test_each_test_runs_in_a_program_of_its_own(library: dsl.Library) -> None:
    run = dsl.testing.run(library, "org.demo", ["org.demo.WikiTest"])
    assert outcomes(run) == {
        "testPasses": "passed",
        "testFails": "failed",
        "test_mocks_an_expression": "passed",
        "test_mocks_do_not_outlive_their_test": "passed",
    }
    assert not run.ok
    assert run.count("passed") == 3


def test_a_test_may_use_the_classes_beside_it_that_the_manifest_does_not_list() -> None:
    text = """
        Namespaces: {=: org.demo, t: io.murano.test}
        Name: AloneTest
        Extends: t:TestFixture
        Methods:
          testHelper: {Body: [$.require(new(Helper).answer() = 42)]}
        ---
        Name: Helper
        Extends: HelperOfHelper
        ---
        Name: HelperOfHelper
        Methods: {answer: {Body: {Return: 42}}}
    """
    core = package("io.murano", {"io.murano.test.TestFixture": "F.yaml"}, {"F.yaml": FIXTURE})
    demo = package("org.demo", {"org.demo.AloneTest": "T.yaml"}, {"T.yaml": textwrap.dedent(text)})
    run = dsl.testing.run(dsl.Library([core, demo]), "org.demo")
    assert outcomes(run) == {"testHelper": "passed"}, run.text()
    elsewhere = dsl.Runtime(dsl.Library([core, demo])).load({})  # where no class of the file was used
    with pytest.raises(dsl.Thrown, match="is not found"):
        elsewhere.find_class("org.demo.Helper", "*", "org.demo")


def test_a_failure_shows_the_packages_own_lines(library: dsl.Library) -> None:
    (result,) = dsl.testing.run(library, "org.demo", ["testFails"]).results
    assert result.message == "Failed: it does not hold"
    assert "in method testFails of type org.demo.WikiTest" in result.details
    assert result.test.file == "Classes/T.yaml"
    assert result.test.line == 10


def test_a_failing_set_up_is_an_error_of_that_test(library: dsl.Library) -> None:
    assert outcomes(dsl.testing.run(library, "org.demo", ["*SetUpFails*"])) == {"testNever": "error"}


def test_limits_hold_in_tests_too(library: dsl.Library) -> None:
    run = dsl.testing.run(library, "org.demo", ["testEndless"], limits=dsl.Limits(steps=100_000))
    assert outcomes(run) == {"testEndless": "failed"}
    assert "steps" in run.results[0].details


def test_sleeping_takes_no_time_and_effects_are_kept(library: dsl.Library) -> None:
    worlds: list[dsl.testing.OfflineSystem] = []

    def world() -> dsl.testing.OfflineSystem:
        worlds.append(dsl.testing.OfflineSystem())
        return worlds[-1]

    run = dsl.testing.run(library, "org.demo", ["testSleeps"], system=world)
    assert run.ok
    assert run.seconds < 60
    assert [effect.name for effect in worlds[-1].effects] == ["sleep", "clock.now"]


def test_an_effect_nobody_answers_fails_with_advice() -> None:
    system = dsl.testing.OfflineSystem(answers={"cloud.size": lambda arguments: 7})
    known = dsl.Effect("0/1", "cloud.size", {}, None, None)
    assert system.perform(known) == 7
    with pytest.raises(dsl.SystemFailure, match=r"heat.push was asked for \(at W.yaml:3:4\); replace the method"):
        system.perform(dsl.Effect("0/2", "heat.push", {}, "W.yaml:3:4", None))


def test_a_class_that_can_not_be_loaded_is_an_error(library: dsl.Library) -> None:
    run = dsl.testing.run(library, "org.broken")
    assert [result.outcome for result in run.results] == ["error"]
    assert "no Contract" in run.results[0].details


def test_no_tests_are_no_success(library: dsl.Library) -> None:
    assert not dsl.testing.run(library, "org.demo", ["nothing"]).ok
    with pytest.raises(KeyError, match=r"org.nowhere \(\*\) is not in the library"):
        dsl.testing.run(library, "org.nowhere")


def test_results_are_for_people_and_machines(library: dsl.Library) -> None:
    seen: list[str] = []
    run = dsl.testing.run(library, "org.demo", ["org.demo.WikiTest"], report=lambda result: seen.append(result.outcome))
    assert len(seen) == 4
    text = run.text()
    assert "org.demo.WikiTest.testPasses ....... OK" in text
    assert "org.demo.WikiTest.testFails ....... FAIL!" in text
    assert "3 passed, 1 failed" in text
    suite = ElementTree.fromstring(run.junit())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "0")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["testFails"]
