"""``chandlery package check`` and ``package test``: what package authors run before anybody else meets their package.

Both work on sources, without a service. The packages a package may depend on are looked for among the bundled ones, in
the folders given with ``-l``, and beside the package itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import packages as library
from cli import errors
from cli.call import Call

if TYPE_CHECKING:
    from dsl import testing
    from dsl.errors import Problem
    from dsl.packages import Package

EXTERNAL_NETWORK: dict[str, Any] = {"id": "external", "name": "ext-net", "router:external": True}
# What the tests of a package are told about the cloud they do not have; anything else they ask for must be mocked.
OFFLINE_ANSWERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "network.list": lambda asked: [EXTERNAL_NETWORK] if asked["kind"] == "networks" else [],
    "network.create_router": lambda _asked: {"id": "router"},
    "agent.register": lambda _asked: {
        "protocol": "http",
        "agent_id": "agent",
        "url": "http://offline",
        "token": "none",
    },
    "heat.current": lambda _asked: None,
    "heat.outputs": lambda _asked: {},
    "instance.track": lambda _asked: None,
    "instance.untrack": lambda _asked: None,
}

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def register(actions: Any, shared: argparse.ArgumentParser) -> None:
    """Add the two actions to ``chandlery package``."""
    check_ = actions.add_parser("check", parents=[shared], help="validate package sources without running them")
    check_.add_argument("paths", nargs="+", metavar="PATH", help="package folder or zip file, or a folder of packages")
    check_.add_argument("--sarif", metavar="FILE", help="also write the problems as SARIF, for editors and CI")
    check_.add_argument("--strict", action="store_true", help="exit code 1 for warnings, too")
    check_.set_defaults(run=check)

    test_ = actions.add_parser("test", parents=[shared], help="run the tests inside a package, offline")
    test_.add_argument("path", metavar="PATH", help="package folder or zip file")
    test_.add_argument(
        "-k", action="append", default=[], metavar="NAME", dest="names", help="class, class.method or method"
    )
    test_.add_argument("--junit", metavar="FILE", help="also write the results as JUnit XML")
    test_.add_argument("--coverage", action="store_true", help="also tell which lines of the package ran")
    test_.add_argument("--coverage-xml", metavar="FILE", help="also write that as Cobertura XML")
    test_.set_defaults(run=test)

    for parser in (check_, test_):
        parser.add_argument(
            "-l", "--library", action="append", default=[], metavar="DIR", help="folder with packages it may require"
        )


def check(call: Call) -> int:
    """Say every problem of the sources with its place; exit code 1 for errors, with --strict for warnings too."""
    from dsl import packages, testing
    from engine import system

    natives = system.natives()
    paths = [path for given in call.options.paths for path in _packages_at(pathlib.Path(given))]
    opened: list[tuple[pathlib.Path, Package]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            opened.append((path, packages.open_package(path)))
        except packages.PackageError as error:
            problems += [_from_here(path, problem) for problem in error.problems]
    given = [package for _, package in opened]
    neighbours = [*given, *_neighbours(paths, call.options.library, given)]
    for path, package in opened:
        found = testing.check(package, [other for other in neighbours if other is not package], natives)
        problems += [_from_here(path, problem) for problem in found]
    if call.options.strict:
        problems = [dataclasses.replace(problem, level="error") for problem in problems]
    if call.options.sarif:
        pathlib.Path(call.options.sarif).write_text(json.dumps(sarif(problems), indent=2), encoding="utf-8")
    failed = [problem for problem in problems if problem.level == "error"]
    lines = [str(problem) for problem in problems]
    counts = f"{len(failed)} problems, {len(problems) - len(failed)} warnings"
    summary = f"{len(paths)} packages checked, {counts}." if problems else f"{len(paths)} packages: sound."
    document = [
        {
            "level": problem.level,
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
            "expected": problem.expected,
            "found": problem.found,
            "fix": problem.fix,
        }
        for problem in problems
    ]
    call.output.result(document, "\n".join([*lines, summary]))
    return errors.FAILED if failed else errors.OK


def test(call: Call) -> int:
    """Run the package's own tests; exit code 1 if one fails or there is none."""
    import dsl
    from dsl import packages, testing
    from engine import system

    path = pathlib.Path(call.options.path)
    try:
        package = packages.open_package(path)
    except packages.PackageError as error:
        raise errors.CommandError(f"{path} is no package that can be tested.", *map(str, error.problems)) from None
    natives = system.natives()
    available = dsl.Library([package, *_neighbours([path], call.options.library, [package])])
    results = testing.run(
        available,
        package.manifest.full_name,
        call.options.names,
        version=f"=={package.manifest.version}",
        system=lambda: testing.OfflineSystem(natives, answers=OFFLINE_ANSWERS),
        coverage=call.options.coverage or bool(call.options.coverage_xml),
    )
    if call.options.junit:
        pathlib.Path(call.options.junit).write_text(results.junit(), encoding="utf-8")
    text = results.text()
    if results.coverage is not None:
        if call.options.coverage_xml:
            pathlib.Path(call.options.coverage_xml).write_text(results.coverage.cobertura(), encoding="utf-8")
        text += f"\n\n{results.coverage.text()}"
    call.output.result(_document(results), text)
    return errors.OK if results.ok else errors.FAILED


def sarif(problems: Iterable[Problem]) -> dict[str, Any]:
    """The problems as a SARIF 2.1.0 log; files are named by their path from where the command was called."""
    results = []
    for problem in problems:
        region = (
            {} if problem.line is None else {"region": {"startLine": problem.line, "startColumn": problem.column or 1}}
        )
        location = {"artifactLocation": {"uri": problem.file}, **region}
        results.append(
            {
                "ruleId": "package",
                "level": problem.level,
                "message": {"text": str(problem)},
                "locations": [{"physicalLocation": location}],
            }
        )
    driver = {"name": "chandlery package check", "rules": [{"id": "package", "name": "PackageProblem"}]}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _from_here(path: pathlib.Path, problem: Problem) -> Problem:
    """The problem with its file named by the path from where the command was called, in an archive too."""
    inside = problem.file.startswith(str(path))
    return problem if inside else dataclasses.replace(problem, file=(path / problem.file).as_posix())


def _packages_at(path: pathlib.Path) -> list[pathlib.Path]:
    """The path itself, or all packages below a folder that is none."""
    if not path.exists():
        raise errors.CommandError(f"{path}: there is no such file or folder.")
    if path.is_file() or (path / "manifest.yaml").exists():
        return [path]
    found = sorted(manifest.parent for manifest in path.rglob("manifest.yaml"))
    outer = [folder for folder in found if not any(other in folder.parents for other in found)]
    if not outer:
        raise errors.CommandError(f"{path}: expected a package or a folder with packages, found no manifest.yaml.")
    return outer


def _neighbours(paths: list[pathlib.Path], folders: list[str], given: Iterable[Package]) -> Iterator[Package]:
    """Packages that may be required, but none of those given: from the folders, beside the paths, bundled, the first
    of each name and version."""
    from dsl import packages

    places = [pathlib.Path(folder) for folder in folders] + [path.absolute().parent for path in paths]
    found = [place for folder in dict.fromkeys(places) for place in sorted(folder.glob("*/manifest.yaml"))]
    seen = {(package.manifest.full_name, str(package.manifest.version)) for package in given}
    own = {path.absolute() for path in paths}
    for manifest in [*found, *sorted(library.folder().glob("*/manifest.yaml"))]:
        if manifest.parent.absolute() in own:
            continue
        try:
            package = packages.open_package(manifest.parent)
        except packages.PackageError:
            continue  # a neighbour that is broken is not the package under test
        identity = (package.manifest.full_name, str(package.manifest.version))
        if identity not in seen:
            seen.add(identity)
            yield package


def _document(results: testing.TestRun) -> dict[str, Any]:
    coverage = results.coverage.files if results.coverage is not None else ()
    measured = [
        {"file": each.file, "lines": len(each.lines), "run": len(each.run), "missing": [list(m) for m in each.missing]}
        for each in coverage
    ]
    return {
        **({"coverage": measured} if results.coverage is not None else {}),
        "package": results.package,
        "seconds": round(results.seconds, 3),
        "tests": [
            {
                "name": result.test.name,
                "outcome": result.outcome,
                "seconds": round(result.seconds, 3),
                "message": result.message,
                "file": result.test.file,
                "line": result.test.line,
            }
            for result in results.results
        ],
    }
