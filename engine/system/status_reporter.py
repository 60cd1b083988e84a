"""io.murano.system.StatusReporter: what a package tells the user while it is being deployed.

spec/core-library §9.6.
"""

from __future__ import annotations

import dsl


@dsl.native
class StatusReporter:
    def __init__(self, this: dsl.ObjectHandle, environment: dsl.ObjectHandle | str | None = None) -> None:
        self._this = this
        owner = environment or this.find_owner("io.murano.Environment")
        self._environment_id = owner.id if isinstance(owner, dsl.ObjectHandle) else owner

    @dsl.method
    def report(self, instance: dsl.ObjectHandle | None, msg: str) -> None:
        self._report(instance, msg, "info")

    # Both spellings are in use.
    @dsl.method(name="report_error")
    def report_error(self, instance: dsl.ObjectHandle | None, msg: str) -> None:
        self._report(instance, msg, "error")

    @dsl.method(name="reportError")
    def report_error_too(self, instance: dsl.ObjectHandle | None, msg: str) -> None:
        self._report(instance, msg, "error")

    def _report(self, instance: dsl.ObjectHandle | None, text: object, level: str) -> None:
        self._this.effect(
            "report",
            environment_id=self._environment_id,
            entity_id=instance.id if instance is not None else self._environment_id,
            level=level,
            text=str(text),
        )
