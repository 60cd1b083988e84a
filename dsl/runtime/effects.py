"""The one way out of a program: effects, carried out by the `System` of whoever runs it.

`LocalSystem` is the small one for using the library alone: randomness, clock and sleep of this machine, nothing else.
"""

from __future__ import annotations

import random
import string
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dsl.errors import SystemFailure


@dataclass(frozen=True)
class Effect:
    """One request to the outside. `key` is `<thread path>/<sequence>`, the same in every replay of the program."""

    key: str
    name: str
    arguments: Mapping[str, object]
    location: str | None
    object_id: str | None


class System(Protocol):
    """What a program can reach. `delivery` and `delivered` keep the order in which parallel effects ended.

    A system may have `checkpoint()`, asked now and then whether a program without effects may go on, and a true
    `orderly`: parallel effects are then delivered in the order in which they were begun, however long each takes.
    """

    @property
    def natives(self) -> Mapping[str, type]:
        """MuranoPL class name -> host class."""
        ...

    def perform(self, effect: Effect) -> object:
        """Carry out an effect; may block. Gives a JSON value. Raises SystemFailure or Interrupted."""
        ...

    def delivery(self, number: int) -> str | None:
        """The key whose outcome was the `number`-th (from 1) to be delivered, if a journal knows it."""
        ...

    def delivered(self, number: int, key: str) -> None:
        """The outcome of `key` was handed to the program as the `number`-th."""
        ...


class LocalSystem:
    """Randomness, clock and sleep of this machine. `seed` makes the randomness repeatable."""

    def __init__(self, natives: Mapping[str, type] | None = None, seed: int | None = None) -> None:
        self.natives: Mapping[str, type] = natives or {}
        self._random = random.Random(seed)  # noqa: S311  (names and examples, no secrets)

    def perform(self, effect: Effect) -> object:
        arguments = effect.arguments
        if effect.name == "random.id":
            return uuid.UUID(int=self._random.getrandbits(128), version=4).hex
        if effect.name == "random.name":
            letters = "".join(self._random.choice(string.ascii_lowercase) for _ in range(5))
            return letters + _base36(int(time.time() * 1000))
        if effect.name == "random.number":
            return _number(self._random, arguments)
        if effect.name == "clock.now":
            return time.time()
        if effect.name == "sleep":
            seconds = arguments["seconds"]
            assert isinstance(seconds, (int, float))
            time.sleep(max(0.0, seconds))
            return None
        if effect.name == "log":
            return None
        raise SystemFailure("dsl.UnknownEffect", f"this system has no {effect.name}; run the package in an engine")

    def delivery(self, number: int) -> str | None:
        return None

    def delivered(self, number: int, key: str) -> None:
        return None


def _number(source: random.Random, arguments: Mapping[str, object]) -> object:
    low, high = arguments.get("minimum"), arguments.get("maximum")
    if isinstance(low, int) and isinstance(high, int):
        return source.randint(low, high)
    return source.random()


def _base36(number: int) -> str:
    digits = string.digits + string.ascii_lowercase
    result = ""
    while number:
        number, digit = divmod(number, 36)
        result = digits[digit] + result
    return result
