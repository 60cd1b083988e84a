"""Options of the conformance run: `pytest tests/conformance --cases DIR` runs any other directory of cases."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the runner's own modules


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", default=str(HERE / "cases"), help="directory of conformance cases")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        root = Path(metafunc.config.getoption("--cases"))
        found = sorted(path.parent for path in root.rglob("expected.json"))
        metafunc.parametrize("case", found, ids=[path.relative_to(root).as_posix() for path in found])
