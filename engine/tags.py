"""The tags by which stacks are found again: whose installation, whose environment. Heat: 80 characters, no comma.

They come after those of `[heat] stack_tags`, which every stack of ours has and stacks of others may have, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from catalog.db import base
from catalog.db import installation as installations

INSTALLATION = "chandlery-installation:"
ENVIRONMENT = "chandlery-environment:"


class Tags:
    """The tags of one installation's stacks."""

    def __init__(self, database: base.Database, first: Iterable[str] = ()) -> None:
        self.first = tuple(first)
        self._database = database
        self._installation: str | None = None

    @property
    def installation(self) -> str:
        """The tag that no other installation's stacks have. Asks the database, once."""
        if self._installation is None:
            self._installation = INSTALLATION + installations.id_of(self._database)
        return self._installation

    def of(self, environment_id: str) -> tuple[str, ...]:
        """All tags of an environment's stacks."""
        return (*self.first, self.installation, ENVIRONMENT + environment_id)


def environment_of(tags: Iterable[str]) -> str | None:
    """The environment that tags name, None where none does."""
    return next((tag.removeprefix(ENVIRONMENT) for tag in tags if tag.startswith(ENVIRONMENT)), None)
