"""io.murano.system.MetadefBrowser: the cloud's metadata definitions (Glance metadefs). spec/core-library §9.9."""

from __future__ import annotations

import dsl


@dsl.native
class MetadefBrowser:
    def __init__(self, this: dsl.ObjectHandle, region_name: str | None = None, cache: bool = True) -> None:
        self._this = this
        self._region = region_name or ""
        self._cache = cache
        self._found: dict[tuple[str, str], list[dict]] = {}

    @dsl.method
    def get_namespaces(self, resource_type: str) -> list[dict]:
        """Namespaces that are associated with the type of resource (`OS::Nova::Server` ...)."""
        return self._look_up("metadef.namespaces", "resource_type", resource_type)

    @dsl.method
    def get_objects(self, namespace: str) -> list[dict]:
        """Object definitions of a namespace."""
        return self._look_up("metadef.objects", "namespace", namespace)

    def _look_up(self, effect: str, parameter: str, value: str) -> list[dict]:
        found = self._found.get((effect, value))
        if found is None:
            answer = self._this.effect(effect, region=self._region, **{parameter: value})
            found = [dict(item) for item in answer] if isinstance(answer, list | tuple) else []
            if self._cache:
                self._found[(effect, value)] = found
        return found
