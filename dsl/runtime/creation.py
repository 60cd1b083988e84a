"""How objects come into being in a program: from a model, by `new`, from dicts under `class()`, from host code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dsl.functions.values import ATOMIC, FrozenDict, freeze
from dsl.packages import VersionSpec
from dsl.runtime import hosting, templates
from dsl.runtime.blueprints import Blueprint
from dsl.runtime.classes import MuranoClass
from dsl.runtime.hosting import ObjectHandle
from dsl.runtime.loading import Loader
from dsl.runtime.objects import OBJECTS, MuranoObject
from dsl.runtime.packages import CORE
from dsl.runtime.steps import Context, Wanted

if TYPE_CHECKING:
    from dsl.runtime.program import Program


class Creation:
    """Makes the objects of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._blueprints: dict[MuranoClass, Blueprint] = {}

    def attributes(self, model: Mapping[str, Any]) -> None:
        """Take over the model's attributes."""
        for row in model.get("Attributes") or ():
            if not isinstance(row, (list, tuple)) or len(row) != 4:
                raise ValueError("a row of Attributes must be [object id, class name, attribute name, value]")
            object_id, class_name, name, value = row
            self.program.attributes[(str(object_id), str(class_name), str(name))] = freeze(value)

    def part(self, description: Any) -> MuranoObject | None:
        """Load `Objects` or `ObjectsCopy`."""
        if description is None:
            return None
        return Loader(self.program, keep_ids=True).load(freeze(description), None, None, None)

    def more(self, model: Mapping[str, Any]) -> MuranoObject | None:
        """Load a further model into the running program, for tests of packages."""
        self.attributes(model)
        root = self.part(model.get("Objects"))
        if root is not None:
            self.program.pinned.append(root)
        return root

    def described(
        self,
        node: Any,
        owner: MuranoObject | None,
        loader: Loader | None,
        default: MuranoClass,
        scope: MuranoClass,
        context: Context,
    ) -> MuranoObject:
        """The object that a dict under a `class()` contract describes."""
        if loader is not None:
            return loader.object(node, owner, default, scope, context)
        return Loader(self.program, keep_ids=False, creator=scope).load(node, owner, default, scope)

    def template(
        self, value: Any, this: Any, context: Context, wanted: Wanted, cls: MuranoClass, excluded: tuple[Any, ...]
    ) -> Any:
        """The dict that a `template()` contract makes of a description (spec/muranopl.md §6)."""
        keep_ids = context.loader is not None and context.loader.keep_ids
        return templates.make(self.program, value, this, wanted, cls, excluded, keep_ids)

    def new(
        self,
        cls: MuranoClass,
        values: Mapping[Any, Any],
        owner: MuranoObject | None,
        name: str | None,
        creator: MuranoClass | None,
    ) -> MuranoObject:
        """`new(T, ...)` in code of the class `creator`."""
        given = values
        if "?" in values or not _FROZEN.issuperset(map(type, values.values())):
            given = {key: freeze(value) for key, value in values.items() if key != "?"}
        blueprint = self._blueprints.get(cls)
        if blueprint is None:
            blueprint = self._blueprints[cls] = Blueprint(self.program, cls)
        if blueprint.is_plain or blueprint.suits(given):
            return blueprint.make(given, owner, name, creator)
        header: dict[Any, Any] = {"type": cls.reference}
        if name is not None:
            header["name"] = name
        node = FrozenDict({**given, "?": FrozenDict(header)})
        return Loader(self.program, keep_ids=False, creator=creator).load(node, owner, None, creator)

    def new_from_model(self, description: Any, owner: MuranoObject | None, creator: MuranoClass) -> MuranoObject:
        """`new({...})` in any spelling."""
        return Loader(self.program, keep_ids=False, creator=creator).load(freeze(description), owner, None, creator)

    def new_handle(self, class_name: str, values: Mapping[str, Any], owner: MuranoObject | None) -> ObjectHandle:
        """An object made by host code."""
        call = hosting.running()
        cls = self.program.resolve_type(call.caller, class_name, None)
        return ObjectHandle(self.program, self.new(cls, hosting.from_host(values), owner, None, call.caller))

    def core_object(self, class_name: str, values: Mapping[str, Any]) -> MuranoObject:
        """An object of the language's own, with its values set as they are."""
        cls = self.program.registry.find_package(CORE, VersionSpec.parse("*")).find_class(class_name)
        made = MuranoObject(cls, self.program.scheduler.random_id(), None)
        made.values.update(values)
        return made


_FROZEN = ATOMIC | OBJECTS
