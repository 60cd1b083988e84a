"""Tests of packages, written in MuranoPL (spec/muranopl.md §24).

A test class extends `io.murano.test.TestFixture`; its own methods named `test...` are tests. Each runs in a program of
its own: `setUp`, the test, `tearDown`.

    results = dsl.testing.run(library, "org.example.Wiki", system=lambda: dsl.testing.OfflineSystem(natives))
    print(results.text())
"""

from __future__ import annotations

from dsl.testing.checking import check
from dsl.testing.coverage import Coverage, FileCoverage
from dsl.testing.discovery import FIXTURE, Test, discover
from dsl.testing.execution import run
from dsl.testing.results import TestResult, TestRun
from dsl.testing.world import OfflineSystem

__all__ = [
    "FIXTURE",
    "Coverage",
    "FileCoverage",
    "OfflineSystem",
    "Test",
    "TestResult",
    "TestRun",
    "check",
    "discover",
    "run",
]
