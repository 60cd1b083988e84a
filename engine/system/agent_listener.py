"""io.murano.system.AgentListener: the name of the queue where a region's agents answer.

Waiting for answers is the Agents port's work; `start`, `stop`, `subscribe` and `unsubscribe` stay for packages that
call them and have nothing left to do.
"""

from __future__ import annotations

import dsl


@dsl.native
class AgentListener:
    """spec/core-library §9.3."""

    def __init__(self, this: dsl.ObjectHandle, name: str) -> None:
        self._name = name
        self._subscribers: dict[str, object] = {}

    @dsl.method
    def queue_name(self) -> str:
        return f"-execution-results-{self._name}".lower()

    @dsl.method
    def start(self) -> None:
        """Nothing: every plan's answer is waited for where the plan was sent."""

    @dsl.method
    def stop(self) -> None:
        """Forgets who subscribed."""
        self._subscribers.clear()

    @dsl.method
    def subscribe(self, message_id: str, event: object) -> None:
        self._subscribers[message_id] = event

    @dsl.method
    def unsubscribe(self, message_id: str) -> None:
        self._subscribers.pop(message_id, None)
