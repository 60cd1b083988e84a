"""The world of static actions: they answer a question, and have no deployment in which effects could be journaled.

They may look at the clock, draw random names, log, and read what a cloud has; whatever changes a cloud is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dsl
from catalog.db import masking
from engine import effects, world
from engine.clouds import services

LIMITS = dsl.Limits(seconds=30.0, steps=5_000_000)  # somebody waits for the answer


class QuestionSystem(world.World):
    """A `dsl.System` that answers from the world as it is and changes nothing."""

    def __init__(self, context: effects.Context, cloud: services.Cloud, natives: Mapping[str, type]) -> None:
        super().__init__(context, natives)
        self._performer = effects.Performer(context, cloud)

    def perform(self, effect: dsl.Effect) -> Any:
        self.context.veil.learn(masking.found_in(effect.arguments))
        if self._performer.kind(effect) in (effects.Kind.LOCAL, effects.Kind.READ):
            return self._performer.perform(effect)
        raise dsl.SystemFailure(
            ("RuntimeError",),
            f"{effect.name}: a static action answers a question and can not change anything; make it an action of an "
            f"object, which is deployed with its environment",
        )
