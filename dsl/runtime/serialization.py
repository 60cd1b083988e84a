"""Objects back to the model (spec/muranopl.md §23)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from dsl.errors import MemoryQuotaExceeded
from dsl.functions.values import freeze
from dsl.packages import Version
from dsl.runtime import nesting
from dsl.runtime.classes import MuranoClass
from dsl.runtime.loading import children_in
from dsl.runtime.objects import MuranoObject, TypeReference, object_of

if TYPE_CHECKING:
    from dsl.runtime.program import Program

MAX_PARTS = 5_000_000  # of one model, whatever its objects share counted each time
MAX_TEXT = 64 * 1024 * 1024  # characters of all its texts
TITLE = "io.murano.metadata.Title"
DESCRIPTION = "io.murano.metadata.Description"
HELP_TEXT = "io.murano.metadata.HelpText"
SERIALIZE = "io.murano.metadata.engine.Serialize"


class Serializer:
    """One walk from a root. `kind`: Serializable, Mixed or Inline (`dump`, §17.1)."""

    def __init__(
        self, program: Program, kind: str = "Serializable", actions: bool = True, references: bool = False
    ) -> None:
        self.program = program
        self.kind = kind
        self.actions = actions
        self.references = references  # whether objects outside of the tree become their ids instead of parts of it
        self.written: set[MuranoObject] = set()
        self._planned: set[MuranoObject] = set()
        self._saved: dict[MuranoClass, list[tuple[str, bool]]] = {}  # property, whether it holds references only
        self._parts = 0
        self._text = 0

    def tree(self, root: MuranoObject | None) -> Any:
        """The model of a root object and all it owns."""
        if root is None:
            return None
        self._plan(root)
        return self._object(root)

    def value(self, value: Any) -> Any:
        """Any value; objects in it become their models."""
        for found in children_in(value):
            self._plan(found)
        return self._value(value, None, False)

    def template_of(self, root: MuranoObject, excluded: tuple[tuple[str, ...], ...]) -> Any:
        """The model of an object without the excluded dotted paths."""
        self._plan(root)
        return _without(self._object(root), excluded)

    def _plan(self, root: MuranoObject) -> None:
        """Find which objects have a place of their own: where their owner holds them."""
        pending = [root]
        while pending:
            each = pending.pop()
            if each in self._planned:
                continue
            self._planned.add(each)
            for name in each.cls.saved_names:
                if name in each.values:
                    pending.extend(child for child in children_in(each.values[name]) if child.owner is each)

    def _object(self, object_: MuranoObject) -> dict[Any, Any]:
        self.written.add(object_)
        cls = object_.cls
        header = self._header(object_)
        values = {}
        saved = self._saved.get(cls)
        if saved is None:
            saved = self._saved[cls] = [(name, self._is_reference(cls, name)) for name in cls.saved_names]
        for name, by_reference in saved:
            if name in object_.values:
                values[name] = self._value(object_.values[name], object_, by_reference)
        if self.kind == "Inline":
            return {cls: values, **header}
        return {"?": header, **values}

    def _is_reference(self, cls: MuranoClass, name: str) -> bool:
        declared = cls.find_property(name)
        if declared is None:
            return False
        if not any(each.code.declaration.meta for each in cls.declarations(name)):
            return False
        metadata = self.program.metadata
        found = metadata.find(metadata.of_property(declared), SERIALIZE)
        return found is not None and found.values.get("as") == "reference"

    def _header(self, object_: MuranoObject) -> dict[str, Any]:
        cls = object_.cls
        header: dict[str, Any] = {}
        if self.kind == "Mixed":
            header["type"] = cls
        elif self.kind == "Serializable":
            header["type"] = str(cls.reference)
        header.update(id=object_.id, name=object_.name, metadata=_plain(object_.metadata))
        if object_.is_destroyed:
            header["destroyed"] = True
        if self.kind == "Serializable":
            dependencies = self._dependencies(object_)
            if dependencies:
                header["dependencies"] = {"onDestruction": dependencies}
            if self.actions:
                header["_actions"] = actions_of(self.program, object_)
        return header

    def _dependencies(self, object_: MuranoObject) -> list[dict[str, str | None]]:
        alive = self.program.store
        return [
            {"subscriber": subscriber, "handler": handler}
            for subscriber, handler in object_.dependencies
            if subscriber in alive and not alive[subscriber].is_destroyed
        ]

    def _value(self, value: Any, holder: MuranoObject | None, by_reference: bool) -> Any:
        kind = type(value)
        if kind is str:
            self._text += len(value)
            if self._text > MAX_TEXT:
                raise MemoryQuotaExceeded(f"the model would have texts of more than {MAX_TEXT} characters")
            return value
        if kind is int:
            nesting.check_integer(value)
            return value
        if value is None or kind in (float, bool):
            return value
        found = object_of(value)
        if found is not None:
            return self._reference(found, holder, by_reference)
        if isinstance(value, (dict, tuple, list, frozenset)):
            self._parts += len(value)
            if self._parts > MAX_PARTS:
                raise MemoryQuotaExceeded(f"the model would have more than {MAX_PARTS} parts")
        if isinstance(value, dict):
            return {
                self._value(key, holder, by_reference): self._value(item, holder, by_reference)
                for key, item in value.items()
            }
        if isinstance(value, (tuple, list, frozenset)):
            return [self._value(item, holder, by_reference) for item in value]
        if isinstance(value, TypeReference):
            return value if self.kind != "Serializable" else str(value)
        if isinstance(value, MuranoClass):
            return value if self.kind != "Serializable" else str(value.reference)
        if isinstance(value, Version):
            return str(value)
        if isinstance(value, (datetime.datetime, datetime.timedelta, datetime.date)):
            raise ValueError(f"A value of type {type(value).__name__} cannot be stored in the object model")
        settled = freeze(value)
        if type(settled) in (tuple, str, int, float, bool) or isinstance(settled, (dict, frozenset)):
            return self._value(settled, holder, by_reference)
        raise ValueError(f"A value of type {type(value).__name__} cannot be stored in the object model")

    def _reference(self, found: MuranoObject, holder: MuranoObject | None, by_reference: bool) -> Any:
        if by_reference or found in self.written:
            return found.id
        if found.owner is holder and holder is not None:
            return self._object(found)
        if found in self._planned and (holder is not None or self._has_place(found)):
            return found.id
        if self.references and holder is not None:
            return found.id
        self._plan(found)
        return self._object(found)

    def _has_place(self, found: MuranoObject) -> bool:
        return found.owner is not None and found.owner in self._planned and found.owner not in (None, found)


def actions_of(program: Program, object_: MuranoObject) -> dict[str, Any]:
    """What users can start on an object: its public methods, with the texts of their metadata."""
    result: dict[str, Any] = {}
    cls = object_.cls
    for name in cls.method_names():
        found = [each.methods[name] for each in cls.lineage if name in each.methods]
        method = found[0]
        if not any(each.is_public for each in found):
            continue
        meta = program.metadata.of_method(method)
        texts = {label: program.metadata.find(meta, kind) for label, kind in _TEXTS.items()}
        action: dict[str, Any] = {"name": name, "enabled": True}
        title = texts["title"]
        action["title"] = title.values.get("text") if title is not None else name
        for label in ("description", "helpText"):
            text = texts[label]
            if text is not None:
                action[label] = text.values.get("text")
        result[f"{object_.id}_{name}"] = action
    return result


_TEXTS = {"title": TITLE, "description": DESCRIPTION, "helpText": HELP_TEXT}


def _without(node: Any, paths: tuple[tuple[str, ...], ...]) -> Any:
    if not isinstance(node, dict) or not paths:
        return node
    result = {}
    for key, value in node.items():
        if (key,) in paths:
            continue
        result[key] = _without(value, tuple(path[1:] for path in paths if path[0] == key and len(path) > 1))
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
