"""Which tests a package has."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

import dsl
from dsl.errors import Thrown
from dsl.packages import Package, VersionSpec
from dsl.runtime.program import Program

FIXTURE = "io.murano.test.TestFixture"


@dataclass(frozen=True)
class Test:
    """One test method. `file` and `line` are where it stands."""

    __test__ = False  # no test class of pytest's

    class_name: str
    method: str
    file: str
    line: int

    @property
    def name(self) -> str:
        return f"{self.class_name}.{self.method}"


@dataclass(frozen=True)
class BrokenClass:
    """A class of the package that can not be loaded, so that its tests are unknown."""

    class_name: str
    error: Thrown


def discover(program: Program, package: Package, names: Iterable[str] = ()) -> tuple[list[Test], list[BrokenClass]]:
    """The tests of a package, in the order of its manifest, and its classes that can not be loaded.

    `names` chooses: `Class.fqn`, `Class.fqn.method`, `method`, each with `*` and `?` if wanted; none means all.
    """
    wanted = list(names)
    tests: list[Test] = []
    broken: list[BrokenClass] = []
    for class_name in package.class_names:
        try:
            cls = program.find_class(class_name, f"=={package.version}", package.full_name).cls
        except Thrown as error:
            broken.append(BrokenClass(class_name, error))
            continue
        if not any(ancestor.name == FIXTURE for ancestor in cls.ancestors):
            continue
        for method in package.declaration(class_name).methods.values():
            test = Test(class_name, method.name, method.location.file, method.location.line)
            if _TEST_METHOD.match(method.name) and (not wanted or any(_chosen(test, name) for name in wanted)):
                tests.append(test)
    return tests, broken


def find_package(library: dsl.Library, name: str, spec: str = "*") -> Package:
    """The highest version of a package that fits. Raises KeyError."""
    versions = {package.version: package for package in library.packages if package.full_name == name}
    best = VersionSpec.parse(spec).select(versions)
    if best is None:
        found = ", ".join(str(version) for version in versions) or "no version of it"
        raise KeyError(f"the package {name} ({spec}) is not in the library; found {found}")
    return versions[best]


_TEST_METHOD = re.compile(r"test(?![a-z])")


def _chosen(test: Test, name: str) -> bool:
    return any(fnmatch.fnmatchcase(text, name) for text in (test.class_name, test.name, test.method))
