"""Packages from texts, and a system that records and replays what programs ask of it."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Mapping
from typing import Any

import dsl
from dsl.packages import Package
from dsl.packages.archives import MemoryFiles


def package_of(
    classes: str, *, name: str = "t", version: str = "0.0.0", format: str = "1.4", require: str = "{}"
) -> Package:
    """A package of one file; its classes are those at the beginnings of `Name:` lines, in the namespace `t`."""
    text = textwrap.dedent(classes)
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Name:")]
    listed = ", ".join(f"{each if '.' in each else 't.' + each}: All.yaml" for each in names)
    manifest = (
        f'Format: "{format}"\nFullName: {name}\nVersion: {version}\nType: Library\n'
        f"Classes: {{{listed}}}\nRequire: {require}\n"
    )
    files = {"manifest.yaml": manifest.encode(), "Classes/All.yaml": ("Namespaces: {=: t}\n" + text).encode()}
    return Package(MemoryFiles(name, files))


class Journal(dsl.LocalSystem):
    """Writes down every effect, outcome and delivery; given another journal's records, replays them."""

    def __init__(
        self,
        natives: Mapping[str, type] | None = None,
        recorded: Journal | None = None,
        delays: Mapping[str, float] | None = None,
        after: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(natives)
        self.outcomes: dict[str, tuple[str, Any]] = dict(recorded.outcomes) if recorded is not None else {}
        self.known = list(recorded.deliveries) if recorded is not None else []
        self.deliveries: list[str] = []
        self.performed: list[tuple[str, str, Any]] = []
        self.delays = delays or {}
        self.after = after or {}  # effect -> the one whose delivery it waits for
        self._delivery = threading.Condition()
        self._mutex = threading.Lock()

    def perform(self, effect: dsl.Effect) -> object:
        if effect.key in self.outcomes:
            return self.outcomes[effect.key][1]
        time.sleep(self.delays.get(effect.key, 0))
        if effect.key in self.after:
            awaited = self.after[effect.key]
            with self._delivery:
                assert self._delivery.wait_for(lambda: awaited in self.deliveries, timeout=60)
        outcome = effect.arguments.get("value") if effect.name == "echo" else super().perform(effect)
        with self._mutex:
            self.outcomes[effect.key] = (effect.name, outcome)
            self.performed.append((effect.key, effect.name, outcome))
        return outcome

    def delivery(self, number: int) -> str | None:
        return self.known[number - 1] if number <= len(self.known) else None

    def delivered(self, number: int, key: str) -> None:
        assert number == len(self.deliveries) + 1
        with self._delivery:
            self.deliveries.append(key)
            self._delivery.notify_all()


@dsl.native
class Echo:
    """A host class whose only method is an effect."""

    @dsl.method(static=True)
    def say(value: Any) -> Any:
        return dsl.effect("echo", value=value)


class World:
    """A program with what it traced."""

    def __init__(self, classes: str, system: Any = None, limits: dsl.Limits | None = None, **package: Any) -> None:
        self.trace: list[Any] = []
        self.system = system if system is not None else Journal({"t.Echo": Echo})
        library = dsl.Library([package_of(classes, **package)])
        self.runtime = dsl.Runtime(library, system=self.system, limits=limits, functions={"trace": self._record})
        self.program: Any = None

    def _record(self, value: Any) -> Any:
        self.trace.append(value)
        return value

    def load(self, model: Any = None) -> World:
        root = {"?": {"type": "t.Main", "id": "main"}} if model is None else model
        self.program = self.runtime.load(root if "Objects" in root else {"Objects": root})
        return self

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self.program.call("main", method, *arguments, **keywords)
