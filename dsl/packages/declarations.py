"""What a class file declares: the frozen records that the compiler starts from (spec/muranopl.md §2, §5, §9).

Names of classes are already resolved here; contracts, defaults, bodies and metadata are still the raw structures of
`dsl.syntax`. A file is read into all its declarations at once, or refused with the first problem in it.
"""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

from dsl import syntax
from dsl.errors import Problem, SyntaxProblem, Thrown
from dsl.packages.namespaces import Namespaces, is_namespace, is_prefix
from dsl.syntax import Expression, Location, Mapping, Sequence


class _NoDefault:
    def __repr__(self) -> str:
        return "NO_DEFAULT"

    def __reduce__(self) -> str:
        return "NO_DEFAULT"  # there is one, wherever it is read from


NO_DEFAULT = _NoDefault()  # a Default was not given; `Default: null` is one


@dataclass(frozen=True, eq=False)
class PropertyDeclaration:
    """One entry of `Properties`. `usage`: In, Out, InOut, Const, Runtime, Config or Static."""

    name: str
    contract: object
    usage: str
    default: object
    meta: tuple[object, ...]
    location: Location

    @property
    def has_default(self) -> bool:
        return self.default is not NO_DEFAULT


@dataclass(frozen=True, eq=False)
class ArgumentDeclaration:
    """One argument of a method. `usage`: Standard, VarArgs or KwArgs."""

    name: str
    contract: object
    default: object
    usage: str
    meta: tuple[object, ...]
    location: Location

    @property
    def has_default(self) -> bool:
        return self.default is not NO_DEFAULT


@dataclass(frozen=True, eq=False)
class MethodDeclaration:
    """One entry of `Methods`. `usage`: Runtime, Static, Extension or Action; `scope`: Session or Public.

    `body` is the raw block: a list of statements, one statement, or None. Constructors and destructors are `.init` and
    `.destroy`, however the class spells them.
    """

    name: str
    usage: str
    scope: str
    arguments: tuple[ArgumentDeclaration, ...]
    body: object
    meta: tuple[object, ...]
    location: Location


@dataclass(frozen=True, eq=False)
class ClassDeclaration:
    """One document of a class file. `extends` and `imports` hold full names; `usage`: Class or Meta.

    `cardinality` (One, Many), `applies` (see META_TARGETS) and `inherited` matter for Meta
    classes only.
    """

    name: str
    namespaces: Namespaces
    extends: tuple[str, ...]
    usage: str
    properties: AbstractMapping[str, PropertyDeclaration]
    methods: AbstractMapping[str, MethodDeclaration]
    imports: tuple[str, ...]
    meta: tuple[object, ...]
    cardinality: str
    applies: tuple[str, ...]
    inherited: bool
    location: Location


def read_declarations(text: str | bytes, file: str, default_name: str) -> list[ClassDeclaration]:
    """All classes of a class file; one of its documents may lack `Name` and is then `default_name`.

    Raises SyntaxProblem for the first problem in the file.
    """
    classes = list(read_classes(text, file, default_name).values())
    for each in classes:
        if isinstance(each, SyntaxProblem):
            raise each
    return [each for each in classes if isinstance(each, ClassDeclaration)]


def read_classes(text: str | bytes, file: str, default_name: str) -> dict[str, ClassDeclaration | SyntaxProblem]:
    """Class name -> declaration, or what is wrong with it: a broken class does not hide its neighbours in the file.

    Raises SyntaxProblem for what concerns the file as a whole.
    """
    return read_class_file(text, file, default_name).classes


@dataclass(frozen=True)
class ClassFile:
    """The classes of a file, and whether the name of one of them is the default that the reader gave."""

    classes: dict[str, ClassDeclaration | SyntaxProblem]
    uses_default: bool


def read_class_file(text: str | bytes, file: str, default_name: str) -> ClassFile:
    """The same, for a reader that looks into the file for more than one class."""
    namespaces = Namespaces()
    classes: dict[str, ClassDeclaration | SyntaxProblem] = {}
    unnamed: Location | None = None
    for document in syntax.load(text, file):
        if document is None:
            continue
        if not isinstance(document, Mapping):
            raise _problem(
                Location(file, 1, 1, 1, 1), "a class must be a mapping", "keys like Name and Methods", document
            )
        if "Namespaces" in document:
            namespaces = _namespaces(document)
            if len(document) == 1:
                continue
        name = default_name
        if document.get("Name") is not None:
            name = _resolved(document["Name"], namespaces, document.value_location("Name"))
        elif unnamed is not None:
            raise _problem(
                document.location,
                "only one class of a file may lack a Name",
                fix=f"name it; the class at line {unnamed.line} has no Name either",
            )
        else:
            unnamed = document.location
        try:
            classes[name] = _class(document, namespaces, name)
        except SyntaxProblem as error:
            classes[name] = SyntaxProblem(error.problem, error.name)  # without the frames it has passed
    return ClassFile(classes, unnamed is not None)


PROPERTY_USAGES = ("Config", "Const", "In", "InOut", "Out", "Runtime", "Static")
ARGUMENT_USAGES = ("KwArgs", "Standard", "VarArgs")
METHOD_USAGES = ("Action", "Extension", "Runtime", "Static")
SCOPES = ("Public", "Session")
META_TARGETS = ("Package", "Type", "Property", "Method", "Argument", "All")
_SPECIAL_METHODS = {"initialize": ".init", "destroy": ".destroy"}
_DSL_SYNTAX_ERROR = "murano.dsl.exceptions.DslSyntaxError"
_EMPTY = Mapping()


def _class(document: Mapping, namespaces: Namespaces, name: str) -> ClassDeclaration:
    usage = document.get("Usage") or "Class"
    if usage not in ("Class", "Meta"):
        raise _problem(
            document.value_location("Usage"), "unknown Usage of a class", "Class or Meta", usage, "ValueError"
        )
    default_parent = () if name == "io.murano.Object" else ("io.murano.Object",)
    # `Workflow` is the old name of `Methods`
    methods_key = "Methods" if document.get("Methods") or "Workflow" not in document else "Workflow"
    return ClassDeclaration(
        name=name,
        namespaces=namespaces,
        extends=_class_names(document, "Extends", namespaces) or default_parent,
        usage=usage,
        properties=_properties(document),
        methods=_methods(document, methods_key),
        imports=_class_names(document, "Import", namespaces),
        meta=_meta(document),
        cardinality=_cardinality(document),
        applies=_applies(document),
        inherited=_inherited(document),
        location=document.location,
    )


def _namespaces(document: Mapping) -> Namespaces:
    table = document["Namespaces"]
    if table is None:
        return Namespaces()
    if not isinstance(table, Mapping):
        raise _problem(document.value_location("Namespaces"), "Namespaces must map prefixes to namespaces", found=table)
    result: dict[str, str] = {}
    for prefix, namespace in table.items():
        if not is_prefix(prefix):
            raise _problem(table.key_location(prefix), "not a namespace prefix", "a word or =", prefix, "ValueError")
        if not is_namespace(namespace):
            place = table.value_location(prefix)
            raise _problem(place, "not a namespace", "words separated by dots", namespace, "ValueError")
        result[prefix] = namespace or ""
    return Namespaces(result)


def _class_names(document: Mapping, key: str, namespaces: Namespaces) -> tuple[str, ...]:
    value = document.get(key)
    if value is None:
        return ()
    place = document.value_location(key)
    if not isinstance(value, Sequence):
        return (_resolved(value, namespaces, place),)
    return tuple(_resolved(item, namespaces, value.item_location(index)) for index, item in enumerate(value))


def _resolved(value: object, namespaces: Namespaces, location: Location) -> str:
    if not isinstance(value, (str, Expression)):
        raise _problem(location, "not a class name", "a name like Foo, ns:Foo or a.b.Foo", value, "ValueError")
    try:
        return namespaces.resolve(str(value))
    except Thrown as error:
        raise SyntaxProblem(
            Problem(location.file, location.line, location.column, str(error.message), found=str(value)), error.names[0]
        ) from error


def _properties(document: Mapping) -> dict[str, PropertyDeclaration]:
    table = _table(document, "Properties")
    return {_name(table, key, "property"): _property(table, key) for key in table}


def _property(table: Mapping, name: str) -> PropertyDeclaration:
    place = table.key_location(name)
    spec = table[name]
    if not isinstance(spec, Mapping):
        raise _problem(table.value_location(name), f"the property {name} must be a mapping", "at least Contract", spec)
    if "Contract" not in spec:
        message = f"the property {name} has no Contract"
        raise _problem(place, message, fix="add one; `Contract: $` takes any value", name="KeyError")
    usage = spec.get("Usage", "In")
    if usage not in PROPERTY_USAGES:
        where = spec.value_location("Usage")
        raise _problem(where, f"unknown Usage of property {name}", _one_of(PROPERTY_USAGES), usage, _DSL_SYNTAX_ERROR)
    return PropertyDeclaration(name, spec["Contract"], usage, spec.get("Default", NO_DEFAULT), _meta(spec), place)


def _methods(document: Mapping, section: str) -> dict[str, MethodDeclaration]:
    table = _table(document, section)
    methods: dict[str, MethodDeclaration] = {}
    for key in table:
        name = _name(table, key, "method")
        name = _SPECIAL_METHODS.get(name, name)
        methods[name] = _method(table, key, name)
    return methods


def _method(table: Mapping, key: str, name: str) -> MethodDeclaration:
    place = table.key_location(key)
    spec = table[key]
    if spec is None:
        spec = _EMPTY
    if not isinstance(spec, Mapping):
        raise _problem(table.value_location(key), f"the method {key} must be a mapping", "keys like Body", spec)
    usage = spec.get("Usage", "Runtime")
    if usage not in METHOD_USAGES:
        where = spec.value_location("Usage")
        raise _problem(where, f"unknown Usage of method {key}", _one_of(METHOD_USAGES), usage, "ValueError")
    scope = spec.get("Scope", "Public" if usage == "Action" else "Session")
    if usage != "Action" and scope not in SCOPES:
        scope = "Session"  # whatever else is written there exposes nothing
    if usage == "Action" and scope != "Public":
        where = spec.value_location("Scope")
        message = f"the action {key} can not have Scope {scope}"
        raise _problem(where, message, fix="leave Scope out, or write `Scope: Public` and no Usage", name="ValueError")
    return MethodDeclaration(name, usage, scope, _arguments(spec, name), spec.get("Body"), _meta(spec), place)


def _arguments(spec: Mapping, method: str) -> tuple[ArgumentDeclaration, ...]:
    value = spec.get("Arguments")
    if not value:
        return ()
    entries = value if isinstance(value, Sequence) else [value]
    arguments: dict[str, ArgumentDeclaration] = {}  # of two with one name the later one counts
    for index, entry in enumerate(entries):
        place = value.item_location(index) if isinstance(value, Sequence) else spec.value_location("Arguments")
        if not isinstance(entry, Mapping) or len(entry) != 1:
            message = f"each argument of method {method} must be a mapping with one key"
            fix = "write a list: `- name:`, with Contract and Default below it"
            raise _problem(place, message, found=entry, fix=fix, name=_DSL_SYNTAX_ERROR)
        argument = _argument(entry, method)
        arguments[argument.name] = argument
    order = [("Standard", "VarArgs", "KwArgs").index(argument.usage) for argument in arguments.values()]
    if order != sorted(order) or order.count(1) > 1 or order.count(2) > 1:
        where = spec.key_location("Arguments")
        expected = "Standard arguments, then at most one VarArgs, then at most one KwArgs"
        message = f"the arguments of method {method} are in the wrong order"
        raise _problem(where, message, expected, ", ".join(a.usage for a in arguments.values()), _DSL_SYNTAX_ERROR)
    return tuple(arguments.values())


def _argument(entry: Mapping, method: str) -> ArgumentDeclaration:
    key = next(iter(entry))
    name = _name(entry, key, "argument")
    place = entry.key_location(key)
    spec = entry[key]
    if not isinstance(spec, Mapping):
        message = f"the argument {name} of method {method} must be a mapping"
        raise _problem(entry.value_location(key), message, "at least Contract", spec)
    if "Contract" not in spec:
        message = f"the argument {name} of method {method} has no Contract"
        raise _problem(place, message, fix="add one; `Contract: $` takes any value", name="KeyError")
    usage = spec.get("Usage", "Standard")
    if usage not in ARGUMENT_USAGES:
        where = spec.value_location("Usage")
        raise _problem(where, f"unknown Usage of argument {name}", _one_of(ARGUMENT_USAGES), usage, _DSL_SYNTAX_ERROR)
    return ArgumentDeclaration(name, spec["Contract"], spec.get("Default", NO_DEFAULT), usage, _meta(spec), place)


def _cardinality(document: Mapping) -> str:
    value = document.get("Cardinality", "One")
    if value not in ("One", "Many"):
        where = document.value_location("Cardinality")
        raise _problem(where, "unknown Cardinality of a Meta class", "One or Many", value, "ValueError")
    return str(value)


def _applies(document: Mapping) -> tuple[str, ...]:
    value = document.get("Applies", "All")
    targets = tuple(value) if isinstance(value, Sequence) else (value,)
    for target in targets:
        if target not in META_TARGETS:
            where = document.value_location("Applies")
            raise _problem(where, "unknown target of a Meta class", _one_of(META_TARGETS), target, "ValueError")
    return targets


def _inherited(document: Mapping) -> bool:
    value = document.get("Inherited", False)
    if not isinstance(value, bool):
        raise _problem(
            document.value_location("Inherited"), "Inherited is a flag", "true or false", value, "ValueError"
        )
    return value


def _meta(spec: Mapping) -> tuple[object, ...]:
    value = spec.get("Meta")
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _table(document: Mapping, key: str) -> Mapping:
    value = document.get(key)
    if value is None:
        return _EMPTY
    if not isinstance(value, Mapping):
        raise _problem(document.value_location(key), f"{key} must be a mapping", "names and what they stand for", value)
    return value


def _name(table: Mapping, key: object, what: str) -> str:
    if not isinstance(key, str):
        fix = "quote it if it is meant as a name"
        raise _problem(table.key_location(key), f"not a name of a {what}", "a word", key, fix=fix)
    return key


def _one_of(values: tuple[str, ...]) -> str:
    return "one of " + ", ".join(values)


_UNSAID = object()


def _problem(
    location: Location,
    message: str,
    expected: str | None = None,
    found: object = _UNSAID,
    name: str = "SyntaxError",
    fix: str | None = None,
) -> SyntaxProblem:
    text = None if found is _UNSAID else _described(found)
    return SyntaxProblem(Problem(location.file, location.line, location.column, message, expected, text, fix), name)


def _described(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value) if isinstance(value, (str, Expression)) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
