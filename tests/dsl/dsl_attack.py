"""Attacks on the sandbox: hostile packages, run for real, must end in a located error, soon and in little memory."""

from __future__ import annotations

import resource
import textwrap
import time
from typing import Any

from dsl_world import World

import dsl

SECONDS = 6.0  # of this process's processors; the machine may be busy with something else
MEGABYTES = 150

CAUGHT = """
Try:
{body}
Catch:
  - Do:
      - trace(caught)
      - Return: survived
Finally:
  - trace(finally)
  - Return: survived
"""


def package(body: str, more: str = "", properties: str = "{}") -> str:
    """A class t.Main whose method `run` has the body; `more` are further methods and classes."""
    text = f"Name: Main\nProperties: {properties}\nMethods:\n  run:\n    Arguments: []\n    Body:\n"
    return text + textwrap.indent(textwrap.dedent(body).strip("\n"), "      ") + "\n" + more


def expression(text: str) -> str:
    """The body of a method that returns the value of an expression."""
    return "- Return: !yaql " + '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def attempt(source: str, *, dump: bool = False, limits: dsl.Limits | None = None, **options: Any) -> Any:
    """Run a package; what comes of it, an error or a value, must come soon and cost little."""
    memory, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        world = World(source, limits=limits, **options).load()
        try:
            result: Any = world.call("run")
            if dump:
                result = world.program.dump()
        finally:
            assert "caught" not in world.trace
            assert "finally" not in world.trace
    except dsl.DslError as error:
        result = error
    seconds = time.process_time() - seconds
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
    assert seconds < SECONDS, f"it took {seconds:.1f} s: {result!r:.200}"
    assert memory < MEGABYTES, f"it took {memory} MB: {result!r:.200}"
    return result


def fails(source: str, name: str, **options: Any) -> dsl.Thrown:
    """The package ends in an error of that name, which says where."""
    error = attempt(source, **options)
    assert isinstance(error, dsl.Thrown), f"it gave {error!r:.200}"
    assert any(name in each for each in error.names), f"{error.names}: {error.message!s:.200}"
    message = str(error.message)
    assert error.stack or "All.yaml:" in message or "t." in message, f"it is not located: {message:.200}"
    assert len(message) < 1_000_000
    keep_secrets(message)
    return error


def is_stopped(source: str, limit: str, **options: Any) -> dsl.LimitExceeded:
    """The package ends at a limit, with the place in its own lines."""
    error = attempt(source, **options)
    assert isinstance(error, dsl.LimitExceeded), f"it gave {error!r:.200}"
    assert error.limit == limit, str(error)
    assert error.stack
    assert "All.yaml" in error.formatted()
    return error


def keep_secrets(text: str) -> None:
    """No address, no module and no file of the host may be in what a package can read."""
    for secret in (" at 0x", "site-packages", "/dsl/", ".py", "<function", "<bound", "<module", "builtin_function"):
        assert secret not in text, f"{secret!r} in {text[:300]!r}"


def caught(body: str) -> str:
    """The body inside a Try that catches everything and whose Finally returns."""
    inner = textwrap.indent(textwrap.dedent(body).strip("\n"), "  ")
    return textwrap.indent(CAUGHT.format(body=inner).strip("\n"), "  ").replace("  Try:", "- Try:", 1)


__all__ = ["attempt", "caught", "expression", "fails", "is_stopped", "keep_secrets", "package"]
