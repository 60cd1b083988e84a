"""io.murano.system.HeatStack: the template a stack is to have, in memory, and the effects that make the cloud follow.

The YAML class calls `push_now`, `output_now` and `delete_now` one at a time. Everything else here touches memory only
(after the first look at what the cloud has) and so is atomic between two effects.
"""

from __future__ import annotations

import copy

import dsl
from engine.system.templates import merge_templates

TEMPLATE_VERSION = "2013-05-23"  # the only one that updateTemplate takes (spec/core-library §9.1)


@dsl.native
class HeatStack:
    """spec/core-library §9.1."""

    def __init__(
        self,
        this: dsl.ObjectHandle,
        name: str,
        description: str | None = None,
        region_name: str | None = None,
    ) -> None:
        self._this = this
        self._name = name
        self._description = description
        self._region = region_name
        self._template: dict[str, object] | None = None  # None: what the cloud has is not known yet
        self._parameters: dict[str, object] = {}
        self._files: dict[str, str] = {}
        self._environment: object = None
        self._applied = True
        self._outputs: dict[str, object] | None = None  # as the last push of this run left them

    @dsl.method
    def current(self) -> dict[str, object]:
        """The template as it is to be: what was set, else what the cloud has, else {}."""
        return copy.deepcopy(self._known())

    @dsl.method
    def parameters(self) -> dict[str, object]:
        """The stack's parameters, without Heat's own."""
        self._known()
        return copy.deepcopy(self._parameters)

    @dsl.method
    def reload(self) -> dict[str, object]:
        """Forgets what was set and not pushed, looks at the cloud again."""
        self._template = None
        self._outputs = None
        return self.current()

    @dsl.method
    def set_template(self, template: dict) -> None:
        """Replaces the template; the parameters of the former one go with it."""
        self._template = copy.deepcopy(template)
        self._parameters = {}
        self._applied = False

    @dsl.method
    def set_parameters(self, parameters: dict) -> None:
        self._parameters = copy.deepcopy(parameters)
        self._applied = False

    @dsl.method
    def set_files(self, files: dict) -> None:
        """{name used by get_file: text}."""
        self._files = dict(files)
        self._applied = False

    @dsl.method
    def set_hot_environment(self, hot_environment: object) -> None:
        self._environment = copy.deepcopy(hot_environment)
        self._applied = False

    @dsl.method
    def update_template(self, template: dict) -> None:
        """Merges into the template; raises HeatStackError for another template version, TypeError for a misfit."""
        version = template.get("heat_template_version")
        if version is not None and str(version) != TEMPLATE_VERSION:
            raise dsl.SystemFailure(
                ("murano.engine.system.heat_stack.HeatStackError",),
                f"Stack {self._name}: updateTemplate takes heat_template_version {TEMPLATE_VERSION}, found {version}; "
                "use setTemplate for a template of another version",
            )
        known = self._known()
        merged = merge_templates(known, copy.deepcopy(template))
        if merged != known:
            self._template = merged
            self._applied = False

    @dsl.method
    def push_now(self) -> None:
        """Makes the cloud follow and waits for it; nothing happens if it already does.

        What another thread changes while this waits stays to be pushed.
        """
        if self._applied or self._template is None:
            return
        pushed = self._complete()
        parameters = copy.deepcopy(self._parameters)
        files = dict(self._files)
        environment = copy.deepcopy(self._environment)
        outputs = self._this.effect(
            "heat.push",
            stack=self._identity(),
            template=pushed,
            files=files,
            environment=environment,
            parameters=parameters,
        )
        self._outputs = _as_mapping(outputs)
        self._applied = (self._complete(), self._parameters, self._files, self._environment) == (
            pushed,
            parameters,
            files,
            environment,
        )

    @dsl.method
    def output_now(self) -> dict[str, object]:
        """{output name: value}, {} if there is no stack."""
        if self._outputs is None:
            self._outputs = _as_mapping(self._this.effect("heat.outputs", stack=self._identity()))
        return copy.deepcopy(self._outputs)

    @dsl.method
    def delete_now(self) -> None:
        """Deletes the stack and waits until it is gone. A stack that never had a template has nothing to delete."""
        if self._known():
            self._this.effect("heat.delete", stack=self._identity())
        self._template = {}
        self._parameters = {}
        self._outputs = {}
        self._applied = True

    def _known(self) -> dict[str, object]:
        if self._template is None:
            found = self._this.effect("heat.current", stack=self._identity())
            # The look may have taken a while: what another thread set meanwhile is newer.
            if self._template is None:
                stack = _as_mapping(found)
                self._template = _as_mapping(stack.get("template"))
                self._parameters = _as_mapping(stack.get("parameters"))
                self._applied = True
        return self._template

    def _complete(self) -> dict[str, object]:
        template = copy.deepcopy(self._template or {})
        template.setdefault("heat_template_version", TEMPLATE_VERSION)
        if self._description:
            template.setdefault("description", self._description)
        return template

    def _identity(self) -> dict[str, object]:
        environment = self._this.find_owner("io.murano.Environment")
        return {
            "name": self._name,
            "region": self._region or None,
            "environment_id": environment.id if environment else None,
        }


def _as_mapping(value: object) -> dict[str, object]:
    return copy.deepcopy(value) if isinstance(value, dict) else {}
