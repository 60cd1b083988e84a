"""The library's own tests, written in MuranoPL, and the assertions they use."""

from __future__ import annotations

import pytest

import dsl
from cli.commands import authoring
from dsl import testing
from engine import system


@pytest.mark.parametrize(("package", "tests"), [("io.murano", 20), ("io.murano.applications", 18)])
def test_a_library_passes_its_own_tests(libraries, package, tests):
    """As `chandlery package test` runs them: offline."""
    offline = lambda: testing.OfflineSystem(system.natives(), answers=authoring.OFFLINE_ANSWERS)  # noqa: E731
    results = testing.run(dsl.Library(libraries), package, system=offline)
    assert results.ok, results.text()
    assert len(results.results) == tests


FIXTURE = """
Namespaces:
  =: test.app
  std: io.murano
  test: io.murano.test

Name: Fixture

Extends: test:TestFixtureWithEnvironment

Methods:
  good:
    Body:
      - $.assertEqual({a => [1]}, {a => [1]})
      - $.assertTrue(1)
      - $.assertFalse('')
      - $.assertIn(1, [1, 2])
      - $.assertNotIn(3, [1, 2])

  different:
    Body:
      - $.assertEqual(1, 2, 'my message')

  untrue:
    Body:
      - $.assertTrue(false)

  missing:
    Body:
      - $.assertIn(5, [1])

  loaded:
    Body:
      - $.setUp()
      - Return: $.environment.name
"""


@pytest.fixture
def fixture(start):
    return start({"Objects": {"?": {"type": "test.app.Fixture", "id": "f"}}}, {"Fixture": FIXTURE})


def test_assertions_that_hold_say_nothing(fixture):
    assert fixture.call("f", "good") is None


@pytest.mark.parametrize(
    ("method", "name", "text"),
    [
        ("different", "testtools.matchers._impl.MismatchError", "1 != 2: my message"),
        ("untrue", "AssertionError", "False is not true"),
        ("missing", "testtools.matchers._impl.MismatchError", r"5 not in \[1\]"),
    ],
)
def test_assertions_that_do_not_hold_say_why(fixture, method, name, text):
    with pytest.raises(dsl.Thrown, match=text) as caught:
        fixture.call("f", method)
    assert caught.value.names == (name,)


def test_a_fixture_loads_an_environment(fixture):
    assert fixture.call("f", "loaded") == "test environment"
