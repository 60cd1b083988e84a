"""Running the tests of a package."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

import dsl
from dsl.compiler import ClassCode
from dsl.errors import LimitExceeded, Thrown
from dsl.packages import Package
from dsl.runtime.program import Program
from dsl.testing.coverage import Recorder
from dsl.testing.discovery import FIXTURE, Test, discover, find_package
from dsl.testing.hints import Hints
from dsl.testing.results import ERROR, FAILED, PASSED, TestResult, TestRun
from dsl.testing.world import OfflineSystem

Report = Callable[[TestResult], None]


def run(
    library: dsl.Library,
    package: str,
    names: Iterable[str] = (),
    *,
    version: str = "*",
    system: Callable[[], dsl.System] = OfflineSystem,
    limits: dsl.Limits | None = None,
    report: Report | None = None,
    coverage: bool = False,
) -> TestRun:
    """Run the tests of a package of the library, each in a program and a world (`system()`) of its own.

    `names` chooses tests, see `discover`; `report` is called after each; with `coverage` the result tells which lines
    of the package ran. The library must have `io.murano` and what the package requires, the system the host classes of
    both. Raises KeyError for a package that is not in the library.
    """
    started = time.perf_counter()
    found = find_package(library, package, version)
    results: list[TestResult] = []

    def add(result: TestResult) -> None:
        results.append(result)
        if report is not None:
            report(result)

    program = dsl.Runtime(library, system=system(), limits=limits, mocks=True).load({})
    try:
        tests, broken = discover(program, found, names)
        recorder = Recorder(_measured(program, found, {each.class_name for each in broken})) if coverage else None
    finally:
        program.discard()
    for each in broken:
        test = Test(each.class_name, "(loading)", found.location_of("manifest.yaml"), 1)
        add(TestResult(test, ERROR, 0.0, str(each.error.message), each.error.formatted()))
    hints = Hints(found, library.packages, system)
    for test in tests:
        with recorder.recording() if recorder is not None else contextlib.nullcontext():
            result = _run(test, found, dsl.Runtime(library, system=system(), limits=limits, mocks=True), hints)
        add(result)
    measured = recorder.coverage(package) if recorder is not None else None
    return TestRun(package, tuple(results), time.perf_counter() - started, measured)


def _measured(program: Program, package: Package, broken: set[str]) -> Iterator[ClassCode]:
    """The package's classes that are no tests themselves."""
    for name in package.class_names:
        if name not in broken:
            cls = program.find_class(name, f"=={package.version}", package.full_name).cls
            if not any(ancestor.name == FIXTURE for ancestor in cls.ancestors):
                yield cls.code


def _run(test: Test, package: Package, runtime: dsl.Runtime, hints: Hints) -> TestResult:
    started = time.perf_counter()
    outcome, message, details = PASSED, "", ""
    failing = ERROR  # what a failure means at this point
    program: Program | None = None
    try:
        header = {"type": f"{test.class_name}/{package.version}@{package.full_name}", "id": "fixture"}
        program = runtime.load({"Objects": {"?": header}})
        program.run(None, "setUp")
        failing = FAILED
        program.run(None, test.method)
        failing = ERROR
        program.run(None, "tearDown")
    except (Thrown, LimitExceeded) as error:
        outcome, message, details = failing, _summary(error), "\n".join([error.formatted(), *hints.of(error)])
    finally:
        if program is not None:
            program.discard()
    return TestResult(test, outcome, time.perf_counter() - started, message, details)


def _summary(error: Thrown | LimitExceeded) -> str:
    name = error.names[0].rpartition(".")[2]
    return f"{name}: {error.message}".splitlines()[0]
