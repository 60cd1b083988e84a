"""Every case of the conformance suite, one test per case (see README.md beside this file)."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conformance_case import Case

HERE = Path(__file__).parent
OWN_CASES = HERE / "cases"


def test_case(case: Path) -> None:
    run = Case(case)
    expected = _comparable(run.expected())
    try:
        actual = _comparable(_with_deviations(case, run.run()))
    except Exception as error:
        if _is_known(case):
            pytest.xfail(f"known failure: {error}")
        raise
    if actual == expected:
        if _is_known(case):
            pytest.fail("passes now: remove it from known_failures.txt")
        return
    if _is_known(case):
        pytest.xfail("known failure")
    pytest.fail(_difference(expected, actual), pytrace=False)


def _comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without what a reimplementation need not repeat: messages, and the modules in the names of host errors."""
    return {"steps": [_comparable_entry(entry) for entry in outcome["steps"]]}


def _comparable_entry(entry: dict[str, Any]) -> dict[str, Any]:
    result = dict(entry)
    error = result.get("error")
    if entry["step"] == "classes" and isinstance(entry.get("result"), dict):
        classes = entry["result"].items()
        result["result"] = {name: ok if ok is True else _comparable_error(ok) for name, ok in classes}
    if error is not None:
        result["error"] = _comparable_error(error)
    return result


def _comparable_error(error: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in error.items() if key not in ("message", "stack", "cause")}
    kept["names"] = [str(name).rpartition(".")[2] if "." in str(name) else name for name in error["names"]]
    if error["muranopl"] and not _is_engine_error(error):
        kept["message"] = error["message"]  # a package's own message is data
        kept["names"] = error["names"]
    if "stack" in error:
        kept["stack"] = [{key: frame.get(key) for key in ("line", "method")} for frame in error["stack"]]
    return kept


def _is_engine_error(error: dict[str, Any]) -> bool:
    name = str(error["names"][-1])
    return "." not in name or bool(re.match(r"(murano|yaql|yaml|testtools|jsonpatch|re|binascii)\.", name))


def _with_deviations(case: Path, outcome: dict[str, Any]) -> dict[str, Any]:
    """Where this engine mends a defect of the original on purpose, deviations.json has both outcomes of the step.

    Cases go by area and name, wherever their directory is.
    """
    table = json.loads((HERE / "deviations.json").read_text())
    for deviation in table.get("/".join(case.parts[-2:]), ()):
        if deviation["step"] >= len(outcome["steps"]):
            continue
        entry = outcome["steps"][deviation["step"]]
        if _comparable_entry(entry) == _comparable_entry(deviation["ours"]):
            outcome["steps"][deviation["step"]] = deviation["original"]
    return outcome


def _is_known(case: Path) -> bool:
    if not case.is_relative_to(OWN_CASES):
        return False
    listed = (HERE / "known_failures.txt").read_text().splitlines()
    return case.relative_to(OWN_CASES).as_posix() in listed


def _difference(expected: Any, actual: Any) -> str:
    def lines(value: Any) -> list[str]:
        return json.dumps(value, indent=1, sort_keys=True).splitlines()

    return "\n".join(difflib.unified_diff(lines(expected), lines(actual), "expected", "actual", lineterm="", n=6))
