"""io.murano.system.InstanceNotifier: tells the catalog which servers and applications an environment has.

spec/core-library §9.5, spec/engine-flow §7 and §10.
"""

from __future__ import annotations

import dsl

APPLICATION = 100
SERVER = 200


@dsl.native
class InstanceNotifier:
    def __init__(self, this: dsl.ObjectHandle, environment: dsl.ObjectHandle | None = None) -> None:
        self._this = this
        owner = environment or this.find_owner("io.murano.Environment")
        self._environment_id = owner.id if owner else None

    @dsl.method
    def track_application(
        self, instance: dsl.ObjectHandle, title: str | None = None, unit_count: int | None = None
    ) -> None:
        self._track(instance, APPLICATION, title, unit_count)

    @dsl.method
    def untrack_application(self, instance: dsl.ObjectHandle) -> None:
        self._untrack(instance, APPLICATION)

    @dsl.method
    def track_cloud_instance(self, instance: dsl.ObjectHandle) -> None:
        self._track(instance, SERVER, None, 1)

    @dsl.method
    def untrack_cloud_instance(self, instance: dsl.ObjectHandle) -> None:
        self._untrack(instance, SERVER)

    def _track(self, instance: dsl.ObjectHandle, kind: int, title: str | None, unit_count: int | None) -> None:
        self._this.effect(
            "instance.track",
            environment_id=self._environment_id,
            instance_id=instance.id,
            kind=kind,
            type_name=str(instance.type),
            title=title,
            unit_count=unit_count,
        )

    def _untrack(self, instance: dsl.ObjectHandle, kind: int) -> None:
        self._this.effect("instance.untrack", environment_id=self._environment_id, instance_id=instance.id, kind=kind)
