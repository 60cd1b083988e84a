"""Which lines of a package its tests ran."""

from __future__ import annotations

import sys
import threading
from xml.etree import ElementTree

import pytest

import dsl
import dsl.testing
from dsl.packages import Package
from dsl.packages.archives import MemoryFiles

CORE = {
    "manifest.yaml": "{Format: 1.4, FullName: io.murano, Type: Library, Classes: {io.murano.test.TestFixture: F.yaml}}",
    "Classes/F.yaml": "{Name: io.murano.test.TestFixture, Methods: {setUp: {}, tearDown: {}}}",
}
MANIFEST = """
Format: 1.4
FullName: org.demo
Type: Library
Classes: {org.demo.Shop: Shop.yaml, org.demo.Empty: Empty.yaml, org.demo.ShopTest: Test.yaml}
"""
SHOP = """\
Namespaces: {=: org.demo}
Name: Shop
Properties:
  tax:
    Contract: $.int()
    Default: 2 + 3
Methods:
  price:
    Arguments:
      - net:
          Contract: $.int().check($ > 0)
    Body:
      - If: $net > 100
        Then:
          - $net: $net - 10
          - Return: $net
        Else:
          $net: $net
      - Return:
          net: $net
          gross: $net + $.tax
  prices:
    Body:
      - $seen: []
      - Parallel:
          - $a: $.price(1)
          - Do:
              - $b: $.price(2)
              - If: false
                Then:
                  $b: $.price(3)
      - Return: list(1, 2).select($ +
          1)
  never:
    Body:
      - Try:
          - Throw: Broken
            Message: never
        Catch:
          Do:
            - $.price(1)
  short: {Body: [{Return: $.tax}]}
"""
TEST = """\
Namespaces: {=: org.demo, t: io.murano.test}
Name: ShopTest
Extends: t:TestFixture
Methods:
  testPrice: {Body: [$x: new(Shop).price(1)]}
  testPrices: {Body: [$x: new(Shop).prices()]}
  testBroken: {Body: [$x: new(Shop).price('x')]}
"""


@pytest.fixture
def library() -> dsl.Library:
    demo = {
        "manifest.yaml": MANIFEST,
        "Classes/Shop.yaml": SHOP,
        "Classes/Empty.yaml": "Name: org.demo.Empty",
        "Classes/Test.yaml": TEST,
    }
    packages = []
    for label, files in (("core", CORE), ("shop", demo)):
        packages.append(Package(MemoryFiles(label, {name: text.encode() for name, text in files.items()})))
    return dsl.Library(packages)


def measured(library: dsl.Library, *names: str) -> dsl.testing.Coverage:
    coverage = dsl.testing.run(library, "org.demo", names, coverage=True).coverage
    assert coverage is not None
    return coverage


def test_the_lines_of_methods_that_ran_and_those_that_did_not(library: dsl.Library) -> None:
    (shop,) = measured(library, "testPrice").files
    assert shop.file == "shop/Classes/Shop.yaml"
    text = SHOP.splitlines()
    ran = [text[line - 1].strip() for line in sorted(shop.run)]
    assert ran == ["- If: $net > 100", "$net: $net", "- Return:", "net: $net", "gross: $net + $.tax"]
    assert shop.missing[0] == (15, 16)  # the branch that was not taken
    assert text[shop.missing[1][0] - 1].strip() == "- $seen: []"  # all methods that were not called
    assert shop.missing[1][1] == len(text)


def test_branches_of_parallel_and_lambdas_count_too(library: dsl.Library) -> None:
    (shop,) = measured(library, "testPrices").files
    text = SHOP.splitlines()
    ran = {text[line - 1].strip() for line in shop.run}
    assert {"- $a: $.price(1)", "- $b: $.price(2)", "- Return: list(1, 2).select($ +"} <= ran
    missing = [text[line - 1].strip() for line in sorted(shop.lines - shop.run)]
    assert "$b: $.price(3)" not in ran
    assert missing[-1] == "short: {Body: [{Return: $.tax}]}"


def test_contracts_and_defaults_and_tests_are_not_counted(library: dsl.Library) -> None:
    (shop,) = measured(library).files
    assert shop.lines.isdisjoint({5, 6, 11})
    assert "Test.yaml" not in measured(library).text()


def test_a_call_that_is_refused_runs_no_line(library: dsl.Library) -> None:
    assert measured(library, "testBroken").total.run == frozenset()


def test_coverage_is_for_people_and_machines(library: dsl.Library) -> None:
    coverage = measured(library, "testPrice")
    (shop,) = coverage.files
    header, row, total = coverage.text().splitlines()
    assert header.split() == ["File", "Lines", "Run", "%", "Missing"]
    percent = str(int(100 * 5 / len(shop.lines)))
    assert row.split()[:4] == ["shop/Classes/Shop.yaml", str(len(shop.lines)), "5", percent]
    assert row.endswith("15-16, 24-42")
    assert total.split() == ["TOTAL", str(len(shop.lines)), "5", percent]
    root = ElementTree.fromstring(coverage.cobertura())
    assert (root.get("lines-valid"), root.get("lines-covered")) == (str(len(shop.lines)), "5")
    (cls,) = root.iter("class")
    assert cls.get("filename") == "shop/Classes/Shop.yaml"
    hits = {int(line.get("number", "")): line.get("hits") for line in cls.iter("line")}
    assert (hits[13], hits[15]) == ("1", "0")


def test_nothing_is_traced_without_coverage_or_afterwards(library: dsl.Library) -> None:
    before = sys.gettrace(), threading.gettrace()
    assert dsl.testing.run(library, "org.demo").coverage is None
    assert measured(library).files
    assert (sys.gettrace(), threading.gettrace()) == before
