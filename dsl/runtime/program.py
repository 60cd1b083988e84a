"""A loaded object model that runs: what `dsl.Runtime.load` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dsl.errors import (
    Interrupted,
    LimitExceeded,
    MethodNotExposed,
    NoMethodFound,
    NoObjectFound,
    Thrown,
)
from dsl.functions.values import NO_VALUE, freeze
from dsl.packages import VersionSpec
from dsl.runtime import headers, hosting, natives, properties
from dsl.runtime.builtin import BUILTIN
from dsl.runtime.classes import Method, MuranoClass
from dsl.runtime.creation import Creation
from dsl.runtime.exceptions import Exceptions
from dsl.runtime.hosting import ObjectHandle
from dsl.runtime.lifecycle import Lifecycle, Swallowed
from dsl.runtime.linking import Linker
from dsl.runtime.machine import LimitReached, Machine, exceeded
from dsl.runtime.metadata import Metadata
from dsl.runtime.objects import DestroyedObject, MuranoObject, TypeReference, object_of
from dsl.runtime.packages import Registry
from dsl.runtime.serialization import Serializer
from dsl.runtime.steps import OWNED
from dsl.runtime.threads import Scheduler, first_failure
from dsl.syntax.collection import without_collections

if TYPE_CHECKING:
    from dsl.runtime.runtime import Runtime


class Program:
    """One run of one model: its objects, classes, attributes. Not to be used by several host threads at a time.

    Failures come out as `Thrown` (what package code could have caught), `LimitExceeded`, or what the System raised to
    end the program.
    """

    absent = NO_VALUE

    def __init__(self, runtime: Runtime, fixations: Mapping[str, Sequence[object]] | None = None) -> None:
        self.runtime = runtime
        self.system = runtime.system
        self.host_functions: Mapping[str, Callable[..., Any]] = runtime.functions
        self.natives_by_name: dict[str, type] = {**BUILTIN, **runtime.system.natives}
        self.machine = Machine(runtime.limits)
        self.scheduler = Scheduler(runtime.system, self.machine)
        self.machine.checkpoint = self.scheduler.checkpoint
        self.store: dict[str, MuranoObject] = {}
        self.machine.held = self.store.values
        self.attributes: dict[tuple[str, str, str], Any] = {}
        self.root: MuranoObject | None = None
        self.copy_root: MuranoObject | None = None
        self.pinned: list[MuranoObject] = []  # alive whatever refers to them: instances of metadata
        self.exceptions = Exceptions(self)
        self.natives = natives.Natives(self)
        self.creation = Creation(self)
        self.metadata = Metadata(self)
        self.lifecycle = Lifecycle(self)
        self.linker = Linker(self)
        self.registry = Registry(
            runtime.library.packages,
            self.natives_by_name,
            fixations or {},
            lambda *given: self.linker.load_class(*given),
        )
        self.types_of_headers: dict[tuple[Any, Any, Any], MuranoClass] = {}  # as headers say it: type, version, package
        self.swallowed: list[Swallowed] = []  # what destructors and handlers failed with

    # For the host

    def load(self, model: Mapping[str, Any]) -> None:
        """Load `Objects`, then what only `ObjectsCopy` has, and the attributes."""
        self.guarded(lambda: self._load(model))

    def collect(self) -> None:
        """Destroy what only ObjectsCopy still holds; what a deployment does first."""
        self.guarded(self.lifecycle.collect)

    def call(
        self, object_id: str, method: str, /, *arguments: object, exposed_only: bool = False, **keywords: object
    ) -> Any:
        """Call a method of an object; gives the result as JSON data, objects in it as their models."""
        value = self.run(object_id, method, arguments, keywords, exposed_only=exposed_only)
        return self.serialize(value)

    def call_static(
        self,
        class_name: str,
        method: str,
        /,
        *arguments: object,
        version: str | None = None,
        exposed_only: bool = False,
        **keywords: object,
    ) -> Any:
        """Call a static method; gives the result as JSON data."""
        value = self.run_static(class_name, method, arguments, keywords, version=version, exposed_only=exposed_only)
        return self.serialize(value)

    def run(
        self,
        object_id: str | None,
        method: str,
        arguments: Sequence[object] = (),
        keywords: Mapping[str, object] | None = None,
        *,
        exposed_only: bool = False,
    ) -> Any:
        """Call a method of an object (None: the root); gives the MuranoPL value."""

        target = self.root if object_id is None else self.store.get(object_id)
        if target is None:
            return self.guarded(lambda: _no_object(object_id))
        return self.evaluate(target, method, arguments, keywords, exposed_only=exposed_only)

    def run_static(
        self,
        class_name: str,
        method: str,
        arguments: Sequence[object] = (),
        keywords: Mapping[str, object] | None = None,
        *,
        version: str | None = None,
        package: str | None = None,
        exposed_only: bool = False,
    ) -> Any:
        """Call a static method; gives the MuranoPL value."""

        receiver = self.find_class(class_name, version, package)
        return self.evaluate(receiver, method, arguments, keywords, exposed_only=exposed_only)

    def evaluate(
        self,
        receiver: Any,
        method: str,
        arguments: Sequence[object] = (),
        keywords: Mapping[str, object] | None = None,
        *,
        exposed_only: bool = False,
    ) -> Any:
        """Call a method of what `object` or `find_class` gave; gives the MuranoPL value."""
        return self.guarded(lambda: self._invoke(receiver, method, arguments, keywords or {}, exposed_only))

    def object(self, object_id: str) -> MuranoObject | None:
        """An object of the store, opaque for the host; None if there is none."""
        return self.store.get(object_id)

    def find_class(self, name: str, version: str | None = None, package: str | None = None) -> TypeReference:
        """A class by its full name. Raises Thrown."""
        found: TypeReference = self.guarded(lambda: headers.type_of(self, name, version, package).reference)
        return found

    def serialize(self, value: Any) -> Any:
        """A MuranoPL value as JSON data; objects become their models, or ids where they stand elsewhere in it."""
        return self.guarded(lambda: self.result_of(value))

    def fixations(self) -> dict[str, list[str]]:
        """Package versions in use, to which the next load can be fixed (`SystemData.Packages`)."""
        return self.registry.used_versions()

    def check_classes(self, package: str, version: str | None = None) -> dict[str, Any]:
        """Load every class of a package: class name -> True, or the Thrown that came of it."""

        def check(name: str) -> Any:
            try:
                self.guarded(lambda: found.find_class(name, search_requirements=False))
            except Thrown as error:
                return error
            return True

        found = self.registry.find_package(package, VersionSpec.parse("*" if version is None else version))
        return {name: check(name) for name in found.class_names}

    def dump(self) -> dict[str, Any]:
        """The model as it is now: Objects, ObjectsCopy, Attributes. Nothing is destroyed, no method runs."""
        with without_collections():  # one tree as large as the model, and nothing to free meanwhile
            return self.guarded(self._model)

    def finalize(self) -> dict[str, Any]:
        """Destroy what is not part of the model, give the model to store, end the program."""

        def body() -> dict[str, Any]:
            self.lifecycle.finalize()
            return self._model()

        result: dict[str, Any] = self.guarded(body)
        self.discard()
        return result

    def discard(self) -> None:
        """End the program; nothing is destroyed, no effect is made."""
        self.machine.alive = False

    def handle(self, object_id: str) -> ObjectHandle | None:
        """An object for host code."""
        found = self.store.get(object_id)
        return None if found is None else ObjectHandle(self, found)

    def lineage(self, object_id: str) -> list[dict[str, str | None]]:
        """`{"id", "name", "class"}` of an object and its owners, outermost last; [] for an unknown id. Any thread may
        ask, while the program runs.
        """
        found = self.store.get(object_id)
        return [] if found is None else [_named(each) for each in (found, *found.owners())]

    def result_of(self, value: Any) -> Any:
        """A MuranoPL value as JSON data; objects become their models, or ids where they stand elsewhere in it."""
        return Serializer(self, actions=False, references=True).value(freeze(value))

    def guarded(self, body: Callable[[], Any]) -> Any:
        """Run something of the program, and turn whatever comes out into what the host expects."""
        self.machine.start_clock()
        self.scheduler.take_over()
        try:
            return body()
        except (RecursionError, MemoryError) as overrun:
            limit = self.exceptions.limit_of(overrun)
            limit.stack = self.exceptions.stack_of(overrun)
            raise limit from None
        except LimitReached as signal:
            error = exceeded(signal)
            error.stack = self.exceptions.stack_of(signal)
            raise error from None
        except Interrupted:
            if self.scheduler.dead is not None:
                raise self.scheduler.dead
            raise
        except Thrown as error:
            raise self.exceptions.surfaced(error)
        except LimitExceeded as error:
            error.stack = error.stack or self.exceptions.stack_of(error)
            raise
        except Exception as error:
            raise self.exceptions.surfaced(error) from error
        finally:
            self.machine.stop_clock()

    def _invoke(
        self,
        target: Any,
        name: str,
        arguments: Sequence[Any],
        keywords: Mapping[str, Any],
        exposed_only: bool,
    ) -> Any:
        cls: MuranoClass = target.cls
        method = cls.find_method(name)
        if method is None:
            raise NoMethodFound(f'Method "{name}" is not found')
        if exposed_only and not (method.is_public or name.startswith(".")):
            raise MethodNotExposed(f'Method "{name}" is not exposed')
        if isinstance(target, TypeReference) and not method.is_static:
            if exposed_only:
                raise Thrown("Exception", "A class instance is required")
            raise ValueError(f"Method {method} cannot be called on receiver {cls!r}")
        given = tuple(hosting.from_host(each) for each in arguments)
        named = {key: hosting.from_host(value) for key, value in keywords.items()}
        return freeze(self.linker.dispatch_of(cls).call(target, method, given, named))

    # Loading

    def _load(self, model: Mapping[str, Any]) -> None:
        self.creation.attributes(model)
        self.root = self.creation.part(model.get("Objects"))
        self.copy_root = self.creation.part(model.get("ObjectsCopy"))

    # Types, properties, methods

    def resolve_type(self, scope: MuranoClass, name: Any, spec: VersionSpec | None) -> MuranoClass:
        """The class that a name, reference or type means in code of a class."""
        if isinstance(name, TypeReference):
            return name.cls
        if isinstance(name, MuranoClass):
            return name
        if not isinstance(name, str):
            raise Thrown("ValueError", f"a class name or type was expected, found {type(name).__name__}")
        if spec is not None:
            full_name = scope.code.declaration.namespaces.resolve(name)
            return self.registry.find_package_of_class(full_name, spec).find_class(full_name)
        found = scope.types.get(name)
        if found is None:
            full_name = scope.code.declaration.namespaces.resolve(name)
            found = scope.types[name] = scope.package.find_class(full_name)
        return found

    def getter(self, cls: MuranoClass, name: str) -> properties.Getter:
        return self.linker.getter(cls, name)

    def setter(self, cls: MuranoClass, name: str) -> Callable[[Any, Any], None]:
        return properties.make_setter(cls, name, self.machine)

    def set_property(self, object_: MuranoObject, cls: MuranoClass, name: str, value: Any) -> None:
        """Host code sets a property, whatever its usage."""
        declared = object_.cls.find_property(name)
        if declared is None:
            object_.values[properties.storage_key(cls, name)] = freeze(value)
        else:
            object_.values[name] = properties.convert_all(declared, value, object_, OWNED)

    def call_method(
        self,
        object_: MuranoObject,
        name: str,
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        cls: MuranoClass,
    ) -> Any:
        method: Method | None = object_.cls.find_method(name)
        if method is None:
            raise NoMethodFound(f'Method "{name}" is not found')
        return freeze(self.linker.dispatch_of(cls).call(object_, method, arguments, keywords))

    def set_attribute(self, object_: MuranoObject, cls: MuranoClass, name: str, value: Any) -> None:
        """Attributes are per object and class; objects are kept as ids, null forgets (§17.1)."""
        key = (object_.id, cls.name, name)
        if value is None:
            self.attributes.pop(key, None)
        else:
            found = object_of(value)
            self.attributes[key] = found.id if found is not None else value

    def configured(self, cls: MuranoClass, name: str) -> Any:
        """A property's value in the class configuration, None without one (§21)."""
        found = self.runtime.configuration(cls.name, cls.version)
        value = found.get(name) if found else None
        return None if value is None else freeze(value)

    def mark_destroyed(self, object_: MuranoObject) -> None:
        """From now on its methods can not be called; its attributes are forgotten."""
        object_.__class__ = DestroyedObject
        for key in [key for key in self.attributes if key[0] == object_.id]:
            del self.attributes[key]

    # Parallel work

    def parallel(self, branches: tuple[Callable[[], Any], ...], limit: Any) -> Any:
        """`Parallel`: waits for all, then the first failure, Return or Break by position counts (§14)."""
        if limit is not None and type(limit) is not int:
            raise TypeError(f"Limit must be an integer, not {type(limit).__name__}")
        if limit is not None and limit < 0:
            raise ValueError(f"Limit must not be negative, it is {limit}")
        outcomes = self.scheduler.fork(branches, limit or 0)
        first_failure(outcomes)
        for value, error in outcomes:
            if error is not None:
                raise error
            if value is not None:
                return value
        return None

    def parallel_map(self, function: Callable[[Any], Any], items: tuple[Any, ...]) -> tuple[Any, ...]:
        """`pselect`, `psuper`: results in order."""
        branches = [lambda item=item: freeze(function(item)) for item in items]
        outcomes = self.scheduler.fork(branches, 0)
        failure = first_failure(outcomes)
        if failure is not None:
            raise failure
        return tuple(value for value, _ in outcomes)

    # Saving

    def serialize_value(self, value: Any, kind: str) -> Any:
        """`dump(value, kind)`"""
        return Serializer(self, kind, actions=False, references=True).value(value)

    def _model(self) -> dict[str, Any]:
        objects = Serializer(self)
        tree = objects.tree(self.root)
        copy = Serializer(self, actions=False)
        copy_tree = copy.tree(self.root)
        attributes = [
            [object_id, cls, name, self._attribute(value)]
            for (object_id, cls, name), value in self.attributes.items()
            if any(each.id == object_id for each in objects.written)
        ]
        return {"Objects": tree, "ObjectsCopy": copy_tree, "Attributes": attributes}

    def _attribute(self, value: Any) -> Any:
        return Serializer(self, actions=False, references=True).value(value)


def _named(object_: MuranoObject) -> dict[str, str | None]:
    own = object_.values.get("name")
    return {
        "id": object_.id,
        "name": object_.name or (own if isinstance(own, str) and own else None),
        "class": object_.cls.name,
    }


def _no_object(object_id: str | None) -> Any:
    raise NoObjectFound(f'Object "{object_id}" is not found in object store')
