"""A regular expression has its processor time, whatever else the process computes; no more, and no less."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dsl.errors import LimitExceeded
from dsl.functions.limits import FunctionLimits
from dsl.functions.patterns import Pattern

CATASTROPHE = "(a|aa)+$"
BAIT = "a" * 60 + "b"


@pytest.fixture
def busy() -> Iterator[None]:
    """Threads that want the interpreter all the time, as programs of other deployments do."""
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join()


def test_a_harmless_expression_succeeds_however_busy_the_process_is(busy: None) -> None:
    """Six threads use up 20 ms of the process's time while this one waits for its first turn."""
    pattern = Pattern("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", 0, 0.02)
    for number in range(20):
        assert pattern.search(f"grafana-on-server-{number}")


def test_a_catastrophe_is_stopped_however_busy_the_process_is(busy: None) -> None:
    began = time.thread_time()
    with pytest.raises(LimitExceeded, match=r"'\(a\|aa\)\+\$' took longer than 0\.05 s on one text"):
        Pattern(CATASTROPHE, 0, 0.05).search(BAIT)
    assert time.thread_time() - began < 0.05 * 6


def test_a_try_in_which_others_took_the_time_is_repeated_without_them() -> None:
    tries: list[dict[str, Any]] = []

    class Robbed:
        groups = 0

        def search(self, text: str, **allowed: Any) -> str:
            tries.append(allowed)
            if len(tries) < 4:
                raise TimeoutError
            return "found"

    pattern = Pattern("a", 0, 0.5)
    pattern._compiled = Robbed()
    assert pattern.search("a") == "found"
    assert tries == [
        {"timeout": 0.005, "concurrent": False},
        {"timeout": 0.5, "concurrent": True},
        {"timeout": 0.5, "concurrent": False},
        {"timeout": 1.0, "concurrent": False},
    ]


def test_the_package_s_own_code_in_a_replacement_runs_once_for_each_match_and_is_not_counted() -> None:
    asked = []

    def slowly(match: Any) -> str:
        asked.append(match.group())
        ends = time.thread_time() + 0.03
        while time.thread_time() < ends:
            pass
        return match.group().upper()

    assert Pattern("[a-z]", 0, 0.02).replace("a-b-c-d", slowly, 0, FunctionLimits()) == "A-B-C-D"
    assert asked == ["a", "b", "c", "d"]


def test_what_fails_in_a_replacement_is_no_reason_to_try_again() -> None:
    def fail(_match: Any) -> str:
        raise TimeoutError("of the package's own")

    with pytest.raises(TimeoutError, match="of the package's own"):
        Pattern("a", 0, 0.5).replace("aa", fail, 0, FunctionLimits())
