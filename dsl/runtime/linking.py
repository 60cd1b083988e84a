"""Linking: a compiled class becomes a class of one program (docs/muranopl.md, "How it runs").

Code objects are cached by content and shared. Linking runs one in fresh globals that hold what the code's sites ask
for, and nothing else: there are no Python builtins in reach but the few that generated code itself uses.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from dsl import errors, functions
from dsl.compiler import MethodCode
from dsl.compiler.contracts import Chain, names_objects
from dsl.compiler.segments import Parts
from dsl.compiler.unit import Site
from dsl.errors import InvalidInheritance, NoClassFound, NoFunctionRegistered
from dsl.functions import Function, FunctionLimits, FunctionTable
from dsl.functions.values import NO_VALUE, FrozenDict, MappingRule, freeze
from dsl.packages import ClassDeclaration
from dsl.runtime import (
    contracts,
    dispatch,
    exceptions,
    merging,
    natives,
    nesting,
    properties,
    reflection,
    sources,
    values,
)
from dsl.runtime.classes import Method, MuranoClass, Property
from dsl.runtime.functions import CORE_FUNCTIONS, FUNCTIONS, LEGACY_METHODS, METHODS, Mismatch
from dsl.runtime.machine import StrayJump
from dsl.runtime.mocks import Mocks
from dsl.runtime.objects import MuranoObject, StaticKey
from dsl.runtime.packages import CORE, LoadedPackage
from dsl.runtime.sources import Source
from dsl.runtime.steps import Context, Convert

if TYPE_CHECKING:
    from dsl.runtime.program import Program


class Linker:
    """Links classes for one program and knows the functions their code may call."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.mocks = Mocks(self)
        self._dispatches: dict[MuranoClass, dispatch.Dispatch] = {}
        self._loading: list[str] = []
        self._host = frozenset(program.host_functions)
        self._cache = program.runtime.library.cache
        limits = program.machine.limits
        self._limits = FunctionLimits(iterators=limits.iterators, memory=limits.memory)

    # Classes

    def load_class(self, package: LoadedPackage, name: str) -> MuranoClass:
        """Read, compile and link a class. Raises SyntaxProblem and whatever else is wrong with it."""
        label = f"{name}@{package.name}/{package.version}"
        if label in self._loading:
            raise NoClassFound(f"Class {name} inherits from itself: {' -> '.join([*self._loading, label])}")
        self._loading.append(label)
        try:
            return self._load(package, name)
        finally:
            self._loading.pop()

    def _load(self, package: LoadedPackage, name: str) -> MuranoClass:
        table = functions.table(package.format_version, self._limits)
        place = package.file_of(name)
        if place is not None:
            package.files.setdefault(*place)
        digest, label = ("", "") if package.package is None else (package.package.digest, package.package.label)
        code = sources.compiled(
            Source(digest, label, name, table, self._host, package.name == CORE, package, self._cache)
        )
        parents = self._parents(package, code.declaration)
        cls = MuranoClass(name, package, code, merging.merged(package, parents, self._relinked))
        cls.native = self.program.natives_by_name.get(name)
        package.classes[name] = cls
        try:
            self._link(cls)
            for imported in code.declaration.imports:
                package.home_of(imported)
            self.program.metadata.check(cls)
        except BaseException:
            del package.classes[name]
            raise
        return cls

    def _relinked(self, cls: MuranoClass, parents: tuple[MuranoClass, ...]) -> MuranoClass:
        """The same class once more, with other versions of its parents."""
        again = MuranoClass(cls.name, cls.package, cls.code, parents)
        again.native = cls.native
        self._link(again)
        return again

    def _parents(self, package: LoadedPackage, declaration: ClassDeclaration) -> tuple[MuranoClass, ...]:
        parents = tuple(package.find_class(each) for each in declaration.extends)
        for parent in parents:
            if declaration.usage == "Class" and parent.usage != "Class":
                message = (
                    f"Cannot inherit class {declaration.name} of Usage Class from {parent.name} of Usage {parent.usage}"
                )
                raise InvalidInheritance(message)
        return parents

    def _link(self, cls: MuranoClass) -> None:
        calls = self._dispatches[cls] = dispatch.Dispatch(cls, self)
        space = cls.globals
        space.update(self._common())
        space.update({"_murano_class": cls, "_T": calls.objects, "_F": calls.foreign, "_K": calls.with_keywords})
        space["_L"] = calls.with_closures
        program = self.program
        space["_resolve_type"] = lambda name, spec: program.resolve_type(cls, name, spec)
        _define(cls, cls.code.own)
        for name, code in cls.code.properties.items():
            transform = contracts.build(code.contract, cls)
            label = f"{cls.name}.{name}{{}}"
            refers = names_objects(code.contract)
            cls.properties[name] = Property(name, cls, code.declaration.usage, code, transform, label, refers)
        for name, method_code in cls.code.methods.items():
            declared = method_code.declaration
            cls.methods[name] = Method(name, cls, declared.usage, declared.scope, method_code, self._entry)
        if cls.native is not None:
            for name, native in natives.methods_of(cls.native).items():
                usage = "Static" if native.options.static and not native.options.instance else "Runtime"
                usage = "Static" if native.options.static else usage
                cls.methods[name] = Method(name, cls, usage, "Session", None, None, native)
        self._provide_all(cls, cls.code.own)  # last: what a name means depends on all properties

    def _entry(self, method: Method) -> Callable[..., Any]:
        """Link one method's code, at its first call."""
        assert method.code is not None
        parts = method.cls.code.segments[method.name].parts
        _define(method.cls, parts)
        self._provide_all(method.cls, parts)
        entry: Callable[..., Any] = method.cls.globals[method.code.entry]
        return entry

    def _provide_all(self, cls: MuranoClass, parts: Parts) -> None:
        """Put everything that a segment's functions ask for into the class's globals."""
        space, calls = cls.globals, self._dispatches[cls]
        for identifier, site in parts.sites.items():
            space[identifier] = self._provide(site, cls, calls)

    def _common(self) -> dict[str, Any]:
        """Globals that all generated code uses."""
        program = self.program
        return {
            "__builtins__": {},  # what the code uses is in its globals, where Python finds it faster
            "type": type,
            "len": len,
            "int": int,
            "str": str,
            "bool": bool,
            "Exception": Exception,
            "_S": program.machine,
            "_tick": program.machine.tick,
            "_recursive": program.machine.recursive,
            "_Object": MuranoObject,
            "_A": _SCALARS,
            "_nested": nesting.checked,
            "_M": NO_VALUE,
            "_null": dispatch.LITERAL_NULL,
            "_FrozenDict": FrozenDict,
            "_MappingRule": MappingRule,
            "_Stray": StrayJump,
            "_stray": exceptions.stray,
            "_freeze": values.settle,
            "_frozen": freeze,
            "_listed": values.listed,
            "_islice": itertools.islice,
            "_iterate": values.iterate,
            "_range": values.times,
            "_unpack": values.unpack,
            "_each": values.convert_each,
            "_parallel": program.parallel,
            "_caught": program.exceptions.caught,
            "_exception": program.exceptions.as_object,
            "_matches": exceptions.matches,
            "_find_object": program.store.get,
            "_load_object": program.creation.described,
            "_make_template": program.creation.template,
            "_receiver_contract": _receiver_contract,
        }

    # Sites

    def _provide(self, site: Site, cls: MuranoClass, calls: dispatch.Dispatch) -> Any:
        first = site.arguments[0] if site.arguments else ""
        name = str(first)
        if site.kind == "key":
            return self._key(cls, name)
        if site.kind == "get":
            return self.getter(cls, name)
        if site.kind == "set":
            return properties.make_setter(cls, name, self.program.machine)
        if site.kind == "setters":
            return properties.Setters(cls, name, self.program.machine)
        if site.kind == "assign":
            return properties.make_assign(
                cls, self.program.machine, lambda label: self.getter(cls, label), self._limits
            )
        if site.kind == "type":
            return functools.cache(lambda: self.program.resolve_type(cls, name, None).reference)
        if site.kind == "name":
            return exceptions.name_site(cls, name)
        if site.kind == "function":
            return self.function_named(cls, name) or _unknown_function(name)
        if site.kind == "mismatched":
            return _mismatched(name)
        if site.kind == "operator":
            return self._operator(cls, name)
        if site.kind == "query":
            weight, *names = site.arguments
            return calls.query_source(cast(int, weight), tuple(map(str, names)), self._limits.iterators)
        if site.kind == "error":
            return _ERRORS.get(name) or getattr(errors, name)
        if site.kind == "throw":
            return exceptions.make_throw(cls)
        if site.kind == "contract":
            assert isinstance(first, Chain)
            return contracts.build(first, cls)
        if site.kind == "mismatch":
            return lambda this: dispatch.mismatch(name, this)
        if site.kind == "locked":
            return self._locked(cls, cls.methods[name])
        assert site.kind == "argument"
        return self._argument(cls, cls.code.methods[name], str(site.arguments[1]))

    def _key(self, cls: MuranoClass, name: str) -> object:
        try:
            return properties.storage_key(cls, name)
        except errors.AmbiguousPropertyName as error:
            problem = error

            def fail() -> None:
                raise problem

            return StaticKey(fail)

    def getter(self, cls: MuranoClass, name: str) -> properties.Getter:
        """`x.name` in code of a class."""
        table = self.table_of(cls)
        legacy = cls.package.format_version in ("1.0", "1.1")

        def on_value(receiver: Any, label: str) -> Any:
            return values.member(receiver, label, get, table, legacy, self.program)

        get = properties.make_getter(cls, name, on_value)
        return get

    def _operator(self, cls: MuranoClass, name: str) -> Callable[..., Any]:
        table = self.table_of(cls)
        if name == "in":
            found = table.function("#operator_in")
            return found.invoke if found is not None else _unknown_function("#operator_in")
        return table.operator(name).invoke

    def _locked(self, cls: MuranoClass, method: Method) -> Callable[..., Any]:
        """Calls a body under its method's lock; used only while several logical threads exist."""
        scheduler = self.program.scheduler
        key_of = self.program.metadata.lock_key(method)

        def locked(body: Callable[..., Any], *arguments: Any) -> Any:
            key = key_of(arguments)
            return body(*arguments) if key is None else scheduler.locked(key, body, arguments)

        return locked

    def _argument(self, cls: MuranoClass, method: MethodCode, name: str) -> Callable[[Any, Any], Any]:
        """Converts one argument of one method: default, contract, and the label for what goes wrong."""
        argument = next(each for each in method.arguments if each.declaration.name == name)
        contract = contracts.build(argument.contract, cls)
        label = f"{cls.name}::{method.declaration.name}({name}{{}})"
        context = Context(owned=method.declaration.name == ".init")
        space = cls.globals

        def convert(value: Any, this: Any) -> Any:
            if value is NO_VALUE:
                value = space[argument.default](this) if argument.default is not None else None
            elif value is dispatch.LITERAL_NULL:
                return None
            try:
                return contract(contracts.frozen(value), this, context)
            except errors.ContractViolation as violation:
                raise violation.labelled(label) from None

        return convert

    # Functions

    def table_of(self, cls: MuranoClass) -> FunctionTable:
        """The function library that code of a class sees."""
        return functions.table(cls.package.format_version, self._limits)

    def function_named(self, cls: MuranoClass, name: str) -> Callable[..., Any] | None:
        """What `name(...)` means in code of a class."""
        if name in self.program.host_functions:
            return self.program.host_functions[name]
        make = FUNCTIONS.get(name)
        if make is None and cls.package.name == CORE:
            make = CORE_FUNCTIONS.get(name)
        if make is not None:
            function = make(self.program, cls)
            return function if name == "new" else _checked(name, function)  # `new` takes whatever it is given
        found = self.table_of(cls).function(name)
        return found.invoke if isinstance(found, Function) else None

    def library_method(self, cls: MuranoClass, name: str) -> Callable[..., Any] | None:
        """What `x.name(...)` means in code of a class, if nothing in x's class is called so."""
        make = METHODS.get(name)
        if make is None and cls.package.format_version in ("1.0", "1.1"):
            make = LEGACY_METHODS.get(name)
        if make is not None:
            return _as_method(name, _checked(name, make(self.program, cls)))
        found = self.table_of(cls).method(name)
        return found.invoke if isinstance(found, Function) else None

    def reflection_method(self, cls: MuranoClass, receiver: Any, name: str) -> Callable[..., Any] | None:
        return reflection.method(self.program, cls, receiver, name)

    def native_call(self, method: Method, caller: MuranoClass) -> Callable[..., Any]:
        return self.program.natives.call(method, caller)

    def mock_for(self, method: Method, receiver_cls: MuranoClass) -> Callable[..., Any] | None:
        return self.mocks.find(method, receiver_cls)

    def dispatch_of(self, cls: MuranoClass) -> dispatch.Dispatch:
        return self._dispatches[cls]

    def forget_tables(self) -> None:
        """After a mock was injected: every table is filled anew."""
        for each in self._dispatches.values():
            each.objects.clear()
            each.foreign.clear()

    def imports_of(self, cls: MuranoClass) -> Iterable[MuranoClass]:
        return [cls.package.find_class(name) for name in cls.code.declaration.imports]


def _define(cls: MuranoClass, parts: Parts) -> None:
    """Define a segment's functions in the class's globals."""
    cls.globals.update(parts.constants)
    exec(parts.code, cls.globals)  # noqa: S102  (generated by dsl.compiler, with no builtins in reach)


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrong numbers of arguments are MuranoPL's error, not Python's."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except TypeError as error:
            traceback = error.__traceback__
            if traceback is not None and traceback.tb_next is None:  # the call itself failed
                raise Mismatch(name) from None
            raise

    return call


def _as_method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrong arguments of what was called as a method are told so."""

    def call(receiver: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            return function(receiver, *arguments, **keywords)
        except Mismatch as error:
            if error.function != name:
                raise
            raise dispatch.mismatch(name, receiver) from None

    return call


def _unknown_function(name: str) -> Callable[..., Any]:
    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise NoFunctionRegistered(f'Unknown function "{name}"')

    return fail


def _mismatched(name: str) -> Callable[..., Any]:
    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise errors.NoMatchingFunction(f'No function "{name}" matches supplied arguments')

    return fail


def _receiver_contract(method: Method) -> Convert:
    assert method.code is not None
    return contracts.build(method.code.arguments[0].contract, method.cls)


_SCALARS = frozenset({type(None), bool, int, float, str, MuranoObject})  # types that nothing can be inside of
_ERRORS: dict[str, type[BaseException]] = {"ValueError": ValueError, "TypeError": TypeError}
