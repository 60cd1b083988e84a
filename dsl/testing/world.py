"""The world of package tests: no cloud, no agents, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dsl

Answer = Callable[[Mapping[str, object]], object]


class OfflineSystem(dsl.LocalSystem):
    """Randomness and clock of this machine; sleeping takes no time, all effects are kept in `effects`.

    `configuration` answers `config(...)`, by `name` or `group/name`; unknown options are null. `answers` stands for a
    cloud: effect name -> function of the effect's arguments. Whatever else a test asks for fails, with the advice to
    mock it.
    """

    def __init__(
        self,
        natives: Mapping[str, type] | None = None,
        configuration: Mapping[str, object] | None = None,
        answers: Mapping[str, Answer] | None = None,
    ) -> None:
        super().__init__(natives, seed=0)
        self.configuration = dict(configuration or {})
        self.answers = dict(answers or {})
        self.effects: list[dsl.Effect] = []

    def perform(self, effect: dsl.Effect) -> object:
        self.effects.append(effect)
        if effect.name in self.answers:
            return self.answers[effect.name](effect.arguments)
        if effect.name in ("log", "report", "sleep"):
            return None
        if effect.name == "config":
            group, name = effect.arguments.get("group"), effect.arguments.get("name")
            return self.configuration.get(f"{group}/{name}" if group else str(name))
        if effect.name.startswith(("random.", "clock.")):
            return super().perform(effect)
        place = f" (at {effect.location})" if effect.location else ""
        raise dsl.SystemFailure(
            "dsl.testing.Offline",
            f"tests run offline, but {effect.name} was asked for{place}; replace the method that needs it by inject()",
        )
