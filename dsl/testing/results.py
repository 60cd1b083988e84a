"""What came of the tests, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from dsl.testing.coverage import Coverage
from dsl.testing.discovery import Test

PASSED, FAILED, ERROR = "passed", "failed", "error"


@dataclass(frozen=True)
class TestResult:
    """`outcome`: passed, failed (the test itself), error (setUp, tearDown, or a class that can not be loaded)."""

    __test__ = False

    test: Test
    outcome: str
    seconds: float
    message: str = ""  # one line
    details: str = ""  # with the stack of package lines


@dataclass(frozen=True)
class TestRun:
    """The results of a package's tests, in order, and which lines they ran if that was asked for."""

    __test__ = False

    package: str
    results: tuple[TestResult, ...]
    seconds: float
    coverage: Coverage | None = None

    @property
    def ok(self) -> bool:
        """Whether there were tests and all of them passed."""
        return bool(self.results) and all(result.outcome == PASSED for result in self.results)

    def count(self, outcome: str) -> int:
        return sum(1 for result in self.results if result.outcome == outcome)

    def text(self) -> str:
        """A line per test, then what went wrong, then a summary."""
        lines = [f"{result.test.name} ....... {_WORDS[result.outcome]}" for result in self.results]
        for result in self.results:
            if result.outcome != PASSED:
                place = f"{result.test.file}:{result.test.line}"
                lines.extend(["", f"{_WORDS[result.outcome]} {result.test.name} ({place})"])
                lines.extend("    " + line for line in (result.details or result.message).splitlines())
        passed, failed = self.count(PASSED), len(self.results) - self.count(PASSED)
        summary = f"Executed {len(self.results)} tests in {self.seconds:.1f} seconds: {passed} passed, {failed} failed"
        return "\n".join([*lines, "", summary] if lines else [summary])

    def junit(self) -> str:
        """The results as JUnit XML."""
        suite = ElementTree.Element(
            "testsuite",
            name=self.package,
            tests=str(len(self.results)),
            failures=str(self.count(FAILED)),
            errors=str(self.count(ERROR)),
            time=f"{self.seconds:.3f}",
        )
        for result in self.results:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=result.test.class_name,
                name=result.test.method,
                file=result.test.file,
                line=str(result.test.line),
                time=f"{result.seconds:.3f}",
            )
            if result.outcome != PASSED:
                tag = "failure" if result.outcome == FAILED else "error"
                problem = ElementTree.SubElement(case, tag, message=_printable(result.message))
                problem.text = _printable(result.details)
        ElementTree.indent(suite)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


_WORDS = {PASSED: "OK", FAILED: "FAIL!", ERROR: "ERROR!"}


def _printable(text: str) -> str:
    """Without the control characters that XML can not hold."""
    return "".join(character for character in text if character in "\t\n" or ord(character) >= 32)
