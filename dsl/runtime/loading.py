"""From object models to objects: two passes over the graph, then constructors (spec/muranopl.md §7, §8.1).

A `Loader` is one load: of a model, of one `new`, of one dict that a `class()` contract turns into an object. The same
dict met twice is one object, so no object is made in vain, and the second pass only redoes what named an object that
was not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsl.errors import (
    CircularExpressionDependencies,
    ContractViolation,
    UninitializedPropertyAccess,
)
from dsl.functions.values import FrozenDict
from dsl.runtime import constructors, headers, properties
from dsl.runtime.classes import FROM_MODEL, MuranoClass, Property
from dsl.runtime.headers import Header
from dsl.runtime.objects import MuranoObject, Unresolved, object_of
from dsl.runtime.steps import Context
from dsl.syntax.collection import without_collections

if TYPE_CHECKING:
    from dsl.runtime.program import Program


@dataclass(eq=False, slots=True)
class Entry:
    """An object of this load: what the model says about it, and what is still to be set."""

    object: MuranoObject
    values: Mapping[Any, Any]
    scope: MuranoClass | None  # whose namespaces compact forms below are read with
    pending: dict[str, Any] = field(default_factory=dict)  # property -> raw value, to be applied again
    postponed: list[Property] = field(default_factory=list)  # defaults that read what is not set yet
    existing: bool = False  # the object was there before this load and is only compared
    constructed: bool = False
    place: Any = None  # the object and property below which the description stands


_FAILED = object()


class Loader:
    """One load."""

    def __init__(self, program: Program, keep_ids: bool, dry: bool = False, creator: MuranoClass | None = None) -> None:
        self.program = program
        self.creator = creator  # the class whose code asks for the objects; None for a model
        self.keep_ids = keep_ids  # a model's ids are kept, those in code only serve references inside one literal
        self.keeps_described_ids = False  # a template that is part of a model keeps its ids
        self.dry = dry  # objects for validation only: no constructor, nothing registered
        self.entries: dict[tuple[int, object, int], Entry] = {}  # description, place, how often there
        self.by_object: dict[MuranoObject, Entry] = {}
        self.aliases: dict[str, MuranoObject] = {}
        self.final = False  # second pass: unknown ids are errors
        self.unresolved = False
        self._keep: list[object] = []  # descriptions whose identity is used
        self._place: object = None  # the object and property being set
        self._met: dict[int, int] = {}  # description -> how often it stood there so far
        self.collecting = False
        self.excluded: tuple[tuple[str, ...], ...] = ()

    def load(
        self, node: Any, owner: MuranoObject | None, default: MuranoClass | None, scope: MuranoClass | None
    ) -> MuranoObject:
        """Load one description and all it holds, and run the constructors."""
        if self.keep_ids:
            with without_collections():  # of a model: thousands of objects, all of which stay
                root = self._loaded(node, owner, default, scope)
        else:
            root = self._loaded(node, owner, default, scope)
        if not self.dry:
            try:
                self.construct_all(root)
            except BaseException:
                for entry in self.by_object.values():
                    if not entry.existing and not self.keep_ids:
                        self.program.store.pop(entry.object.id, None)
                raise
        return root

    def _loaded(
        self, node: Any, owner: MuranoObject | None, default: MuranoClass | None, scope: MuranoClass | None
    ) -> MuranoObject:
        root = self.object(node, owner, default, scope, Context(owned=True, loader=self))
        self.resolve()
        return root

    # Looking up

    def lookup(self, object_id: str) -> MuranoObject | None:
        return self.aliases.get(object_id)

    def may_be_forward(self, object_id: str) -> bool:
        """Whether an id that is not known yet may still turn up in this load."""
        return not self.final and self.program.store.get(object_id) is None

    def note_unresolved(self) -> None:
        self.unresolved = True

    # Pass 1

    def object(
        self,
        node: Any,
        owner: MuranoObject | None,
        default: MuranoClass | None,
        scope: MuranoClass | None,
        context: Context,
    ) -> MuranoObject:
        """The object for a description; the same for the same description."""
        count = self._met[id(node)] = self._met.get(id(node), 0) + 1
        key = (id(node), self._place, count)
        entry = self.entries.get(key)
        if entry is not None:
            return entry.object
        header, values = headers.read(self.program, node, default, scope)
        object_, existing = self._instance(header, owner)
        entry = Entry(object_, values, header.cls if header.compact else scope, existing=existing, place=self._place)
        self._keep.append(node)
        self.entries[key] = entry
        previous = self.by_object.get(object_)
        if previous is not None and previous.existing:
            entry.existing = True
        self.by_object[object_] = entry
        if header.id is not None:
            self.aliases[header.id] = object_
        self._apply(entry, context)
        return object_

    def _instance(self, header: Header, owner: MuranoObject | None) -> tuple[MuranoObject, bool]:
        program = self.program
        if header.id is not None and header.id in self.aliases:
            return self.aliases[header.id], False  # described twice: one object, the later values win
        if self.keep_ids and header.id is not None and not self.dry:
            existing = program.store.get(header.id)
            if existing is not None:
                return existing, True
        program.machine.count_object()
        keeps_id = self.keep_ids or self.keeps_described_ids
        object_id = header.id if keeps_id and header.id is not None else program.scheduler.random_id()
        object_ = MuranoObject(header.cls, object_id, owner, header.name, self.creator, program.machine.objects)
        object_.metadata = header.metadata
        object_.dependencies = header.dependencies()
        if not self.dry:
            program.store[object_id] = object_
        if header.destroyed:
            program.mark_destroyed(object_)
        return object_, False

    def _apply(self, entry: Entry, context: Context) -> None:
        waiting: list[Property] = []
        for declared in entry.object.cls.initial_properties():
            if self._is_excluded(entry, declared.name):
                continue
            if not self._set(entry, declared, context):
                waiting.append(declared)
        entry.postponed = self._retry(entry, waiting, context)
        if entry.postponed and not self.unresolved:
            self._fail_circle(entry, CircularExpressionDependencies(_circle(entry)))

    def _retry(self, entry: Entry, waiting: list[Property], context: Context) -> list[Property]:
        """Set properties whose defaults read others, as long as that gets any further."""
        while waiting:
            still = [declared for declared in waiting if not self._set(entry, declared, context)]
            if len(still) == len(waiting):
                return still
            waiting = still
        return []

    def _set(self, entry: Entry, declared: Property, context: Context) -> bool:
        """Give a property its first value. False if its default needs a property that has none yet."""
        name, this = declared.name, entry.object
        given = declared.usage in FROM_MODEL and name in entry.values
        if given:
            raw = entry.values[name]
        elif entry.existing:
            return True
        else:
            configured = self.program.configured(declared.cls, name)
            if configured is not None:
                raw = configured
            elif declared.code.default is not None:
                try:
                    raw = declared.cls.globals[declared.code.default](this)
                except UninitializedPropertyAccess:
                    return False
            elif declared.usage == "Runtime":
                return True
            else:
                raw = None
        self._convert(entry, declared, raw, context)
        return True

    def _convert(self, entry: Entry, declared: Property, raw: Any, context: Context) -> None:
        this = entry.object
        if not declared.names_objects:
            value, unresolved = self._accepted(declared, raw, this, context), False
        else:
            with self._at(this, declared.name) as met_unresolved:
                value = self._accepted(declared, raw, this, context)
            unresolved = met_unresolved()
        if entry.existing or value is _FAILED:
            return
        if unresolved:
            entry.pending[declared.name] = raw
        this.values[declared.name] = value

    def _accepted(self, declared: Property, raw: Any, this: MuranoObject, context: Context) -> Any:
        try:
            return properties.convert_all(declared, raw, this, context)
        except ContractViolation:
            if declared.usage == "Runtime":
                return _FAILED
            raise

    @contextmanager
    def _at(self, this: MuranoObject, name: str) -> Iterator[Callable[[], bool]]:
        """While the value of one property is converted; gives whether that met an object that is not there yet."""
        outer, self.unresolved = self.unresolved, False
        place, met = self._place, self._met
        self._place, self._met = (this, name), {}
        found = False
        try:
            yield lambda: found
        finally:
            found = self.unresolved
            self.unresolved = self.unresolved or outer
            self._place, self._met = place, met

    def _is_excluded(self, entry: Entry, name: str) -> bool:
        if not self.excluded:
            return False
        return (*self._path_of(entry), name) in self.excluded

    def _path_of(self, entry: Entry) -> tuple[str, ...]:
        """Names of the properties that lead from the root of this load to an object."""
        if entry.place is None:
            return ()
        holder, name = entry.place
        above = self.by_object.get(holder)
        return (name,) if above is None else (*self._path_of(above), name)

    # Pass 2

    def resolve(self) -> None:
        """Apply again what named objects that came later; now every id must be known."""
        self.final = True
        entries = list(self.by_object.values())
        context = Context(owned=True, loader=self, collecting=self.collecting)
        for entry in entries:
            for name, raw in list(entry.pending.items()):
                declared = entry.object.cls.find_property(name)
                assert declared is not None
                self._convert(entry, declared, raw, context)
            entry.pending.clear()
        for entry in entries:
            entry.postponed = self._retry(entry, entry.postponed, context)
        for entry in entries:
            if entry.postponed:
                self._fail_circle(entry, CircularExpressionDependencies(_circle(entry)))

    def _fail_circle(self, entry: Entry, error: Exception) -> None:
        raise error

    # Constructors

    def construct_all(self, root: MuranoObject) -> None:
        """Children before their holder's `.init`, ancestors' `.init` before the class's own."""
        self._construct(root)
        for object_ in list(self.by_object):
            self._construct(object_)

    def _construct(self, object_: MuranoObject) -> None:
        entry = self.by_object.get(object_)
        if entry is None or entry.constructed or entry.existing or object_.is_destroyed:
            return
        entry.constructed = True
        for cls in object_.cls.lineage:
            for name in cls.properties:
                if name in object_.values:
                    for child in children_in(object_.values[name]):
                        described = self.by_object.get(child)
                        if described is not None and described.place == (object_, name):
                            self._construct(child)
            if cls.native is not None:
                self.program.natives.construct(object_, cls, entry.values)
        constructors.run(self.program, object_, entry.values)


def children_in(value: Any) -> list[MuranoObject]:
    """Objects in a value, through lists and dicts, in order."""
    found: list[MuranoObject] = []
    kind = type(value)
    if kind in _SCALARS or (kind is tuple and _SCALARS.issuperset(map(type, value))):
        return found
    pending = [value]
    while pending:
        each = pending.pop()
        object_ = object_of(each)
        if object_ is not None:
            found.append(object_)
        elif isinstance(each, dict):
            pending.extend(reversed(list(each.values())))
            pending.extend(reversed(list(each)))
        elif isinstance(each, (tuple, list, frozenset)):
            pending.extend(reversed(list(each)))
    return found


def _circle(entry: Entry) -> str:
    names = ", ".join(declared.name for declared in entry.postponed)
    return f"the defaults of {names} of {entry.object.cls} need each other"


EMPTY = FrozenDict()
_SCALARS = frozenset({type(None), bool, int, float, str})


def is_unresolved(value: object) -> bool:
    return isinstance(value, Unresolved)
