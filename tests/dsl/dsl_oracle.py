"""What any package must keep to when it is read and run: errors of the language only, soon, with no secrets."""

from __future__ import annotations

import time
from typing import Any

from dsl_attack import keep_secrets
from dsl_world import Journal, World

import dsl

LIMITS = dsl.Limits(steps=20_000, seconds=1.0, objects=200, recursion=60, branches=20)
SECONDS = 6.0  # of this process: a few contracts, defaults and regular expressions
OF_PYTHON = {
    "AttributeError",
    "AssertionError",
    "NameError",
    "UnboundLocalError",
    "SystemError",
    "RecursionError",
    "NotImplementedError",
}


def run(source: str) -> str:
    """Read, check and run a package; what came of it in a word. Raises AssertionError, or what should not be raised."""
    started = time.process_time()
    outcome = "value"
    try:
        world = World(source, system=Journal(), limits=LIMITS)
        world.runtime.check({"Objects": {"?": {"type": "t.Main", "id": "main"}}})
        world.load()
        world.call("run")
        world.program.finalize()
    except dsl.LimitExceeded as error:
        outcome = error.limit
        keep_secrets(str(error))
    except dsl.Thrown as error:
        outcome = error.names[0] if error.names else "nameless"
        _judge(error)
    except dsl.DslError as error:
        outcome = type(error).__name__
        keep_secrets(str(error))
    seconds = time.process_time() - started
    assert seconds < SECONDS, f"{outcome} took {seconds:.1f} s"
    return outcome


def _judge(error: Any) -> None:
    names = OF_PYTHON.intersection(error.names)
    assert not names, f"{error.names}: {error.message}\n{error.__cause__!r}"
    keep_secrets(str(error.message))
