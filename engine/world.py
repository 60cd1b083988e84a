"""What every `dsl.System` of the engine shares: the context that natives read of `this.system`.

Deployments, plans and questions differ in what becomes of an effect, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import effects


class World:
    """The context's fields and options, and no journal: a system that keeps one says which deliveries it knows."""

    def __init__(self, context: effects.Context, natives: Mapping[str, type]) -> None:
        self.natives = natives
        self.context = context
        self.environment_id = context.environment_id
        self.project_id = context.project_id
        self.user_id = context.user_id
        self.owner_project_id = context.owner_project_id
        self.owner_user_id = context.owner_user_id

    def config(self, group: str | None, name: str) -> Any:
        """The value of an option, None if there is no such option."""
        return self.context.config(group, name)

    def delivery(self, number: int) -> str | None:
        """No delivery is known beforehand."""
        return None

    def delivered(self, number: int, key: str) -> None:
        """Nobody will ask again."""
