"""How the demonstration speaks: numbered headings, indented facts, and a record of what held and what did not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import rich.console
import rich.padding
import rich.text

from cli import errors


class StepFailed(Exception):
    """A step of the story did not hold; the message says why."""


class Narrator:
    """Tells the story on one console."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self.failures: list[str] = []
        self.steps = 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step. A failure inside is told and recorded, and ends the story (StepFailed)."""
        self.steps += 1
        began = time.monotonic()
        self._console.print()
        self._console.print(rich.text.Text(f"{self.steps}. {title}", style="bold"))
        try:
            yield
        except (StepFailed, errors.CommandError) as failure:
            self.failures.append(f"{self.steps}. {title}: {failure}")
            self._console.print(rich.text.Text(f"   ✗ {failure}", style="bold red"))
            raise StepFailed(str(failure)) from failure
        self._console.print(rich.text.Text(f"   ✓ {time.monotonic() - began:.1f} s", style="green"))

    def fact(self, text: str, style: str = "") -> None:
        """One line."""
        self._console.print(rich.text.Text(f"   {text}", style=style))

    def show(self, thing: Any) -> None:
        """A table or tree, indented."""
        self._console.print(rich.padding.Padding(thing, (0, 0, 0, 3)))

    def hold(self, condition: object, claim: str) -> None:
        """Tell the claim if it holds. Raises StepFailed otherwise."""
        if not condition:
            raise StepFailed(f"this does not hold: {claim}")
        self.fact(claim)

    def elapsed(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._began
