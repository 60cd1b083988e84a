"""io.murano.system.MistralClient: runs workflows of the cloud. spec/core-library §9.8."""

from __future__ import annotations

import dsl

DEFAULT_TIMEOUT = 600  # seconds
INTERNAL_KEYS = ("openstack", "__execution", "task")  # of an execution's output: Mistral's own


@dsl.native
class MistralClient:
    def __init__(self, this: dsl.ObjectHandle, region_name: str | None = None) -> None:
        self._this = this
        self._region = region_name or self._environment_region()

    @dsl.method
    def upload(self, definition: str) -> None:
        """Makes workflows from their definition, replacing those of the same names. Raises MistralError."""
        self._this.effect("mistral.upload", region=self._region, definition=definition)

    @dsl.method
    def run(
        self, name: str, timeout: int = DEFAULT_TIMEOUT, inputs: dict | None = None, params: dict | None = None
    ) -> object:
        """Output of the workflow; with timeout 0 the id of the execution at once. Raises MistralError."""
        output = self._this.effect(
            "mistral.run", region=self._region, name=name, inputs=inputs or {}, params=params or {}, timeout=timeout
        )
        if isinstance(output, dict):
            return {key: value for key, value in output.items() if key not in INTERNAL_KEYS}
        return output

    def _environment_region(self) -> str:
        environment = self._this.find_owner("io.murano.Environment")
        return str(environment.get("region") or "") if environment else ""
