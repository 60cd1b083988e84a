"""A compiled class as bytes, for compile caches, and back.

Python's own format for code objects holds everything: it is read several times as fast as pickles are. A contract is
made once per process; what is rarer than scalars in a constant is pickled, and nothing but MuranoPL's values is made
from such a pickle. Code is code: bytes from anywhere but an own cache must not be read at all.
"""

from __future__ import annotations

import functools
import io
import marshal
import pickle
from collections.abc import Mapping
from typing import Any, TypeVar

from dsl.compiler.contracts import (
    Argument,
    Chain,
    Computed,
    Contract,
    DictContract,
    Function,
    ListContract,
    Literal,
    Step,
)
from dsl.compiler.methods import ArgumentCode, ClassCode, MethodCode, PropertyCode
from dsl.compiler.segments import Parts, Segment
from dsl.compiler.unit import Site
from dsl.packages import (
    NO_DEFAULT,
    ArgumentDeclaration,
    ClassDeclaration,
    MethodDeclaration,
    Namespaces,
    PropertyDeclaration,
)
from dsl.syntax import Location

Record = TypeVar("Record")


def dumped(code: ClassCode) -> bytes:
    """The class as bytes. Methods that were not made yet are made."""
    declaration = code.declaration
    head = (
        declaration.name,
        dict(declaration.namespaces.table),
        declaration.extends,
        declaration.usage,
        declaration.imports,
        declaration.meta,
        declaration.cardinality,
        declaration.applies,
        declaration.inherited,
        tuple(declaration.location),
    )
    properties = [
        (name, _contract_bytes(each.contract), each.default, _member(each.declaration))
        for name, each in code.properties.items()
    ]
    pieces: list[bytes] = []
    methods = [
        (
            name,
            each.entry,
            each.body,
            [(_contract_bytes(one.contract), one.default, _member(one.declaration)) for one in each.arguments],
            (each.declaration.usage, each.declaration.scope, each.declaration.meta, tuple(each.declaration.location)),
            _noted(_parts_bytes(code.segments[name].parts), pieces),
        )
        for name, each in code.methods.items()
    ]
    own = _parts_bytes(code.own)
    table: Any = (head, properties, methods, own)
    content = marshal.dumps(table)
    return b"".join([len(content).to_bytes(_LENGTH, "big"), content, *pieces])


_LENGTH = 8  # bytes that tell how long the table of contents is


def _noted(piece: bytes, pieces: list[bytes]) -> tuple[int, int]:
    """Where the piece begins and ends among the pieces behind the table."""
    begin = sum(map(len, pieces))
    pieces.append(piece)
    return begin, begin + len(piece)


def loaded(content: memoryview) -> ClassCode:
    """The class of such bytes, which stay in use for methods that were not called yet.

    Raises whatever it raises if they are none.
    """
    behind = _LENGTH + int.from_bytes(content[:_LENGTH], "big")
    table, pieces = content[_LENGTH:behind], content[behind:]
    head, stored_properties, stored_methods, own = marshal.loads(table)  # noqa: S302  (only from an own cache)
    properties: dict[str, PropertyCode] = {}
    for name, contract, default, (usage, has_default, meta, place) in stored_properties:
        declared = _made(
            PropertyDeclaration,
            name=name,
            contract=None,
            usage=usage,
            default=None if has_default else NO_DEFAULT,
            meta=meta,
            location=_location(place),
        )
        properties[name] = _made(PropertyCode, declaration=declared, contract=_contract(contract), default=default)
    methods: dict[str, MethodCode] = {}
    segments: dict[str, Segment] = {}
    for name, entry, body, stored_arguments, (usage, scope, meta, place), (begin, end) in stored_methods:
        arguments = tuple([_argument_code(*each) for each in stored_arguments])
        method = _made(
            MethodDeclaration,
            name=name,
            usage=usage,
            scope=scope,
            arguments=tuple([each.declaration for each in arguments]),
            body=None,
            meta=meta,
            location=_location(place),
        )
        methods[name] = _made(MethodCode, declaration=method, arguments=arguments, entry=entry, body=body)
        segments[name] = Segment(functools.partial(_piece, pieces, begin, end))
    name, prefixes, extends, usage, imports, meta, cardinality, applies, inherited, place = head
    declaration = ClassDeclaration(
        name=name,
        namespaces=Namespaces(prefixes),
        extends=extends,
        usage=usage,
        properties={name: each.declaration for name, each in properties.items()},
        methods={name: each.declaration for name, each in methods.items()},
        imports=imports,
        meta=meta,
        cardinality=cardinality,
        applies=applies,
        inherited=inherited,
        location=_location(place),
    )
    bodies = {each.body: name for name, each in methods.items()}
    return ClassCode(declaration, _parts(own), segments, bodies, methods, properties)


def _member(declaration: PropertyDeclaration | ArgumentDeclaration) -> tuple[Any, ...]:
    place = tuple(declaration.location)
    if isinstance(declaration, PropertyDeclaration):
        return declaration.usage, declaration.has_default, declaration.meta, place
    return declaration.name, declaration.usage, declaration.has_default, declaration.meta, place


def _argument_code(contract: bytes, default: str | None, member: tuple[Any, ...]) -> ArgumentCode:
    name, usage, has_default, meta, place = member
    declared = _made(
        ArgumentDeclaration,
        name=name,
        contract=None,
        default=None if has_default else NO_DEFAULT,
        usage=usage,
        meta=meta,
        location=_location(place),
    )
    return _made(ArgumentCode, declaration=declared, contract=_contract(contract), default=default)


def _made(kind: type[Record], **fields: object) -> Record:
    """A frozen record with all its fields, in a quarter of the time that its constructor takes."""
    record = object.__new__(kind)
    object.__setattr__(record, "__dict__", fields)
    return record


def _location(place: tuple[Any, ...]) -> Location:
    return tuple.__new__(Location, place)


# Code


def _parts_bytes(parts: Parts) -> bytes:
    sites = [
        (identifier, each.kind, [_site_argument(argument) for argument in each.arguments])
        for identifier, each in parts.sites.items()
    ]
    constants = pickle.dumps(dict(parts.constants), pickle.HIGHEST_PROTOCOL) if parts.constants else b""
    return marshal.dumps((parts.code, constants, sites, dict(parts.instructions)))


def _parts(content: bytes | memoryview) -> Parts:
    code, stored_constants, stored_sites, instructions = marshal.loads(content)  # noqa: S302  (only from an own cache)
    constants: Mapping[str, object] = _unpickled(stored_constants) if stored_constants else {}
    sites = {identifier: Site(kind, tuple(map(_site_value, arguments))) for identifier, kind, arguments in stored_sites}
    return Parts(code, constants, sites, instructions)


def _piece(pieces: memoryview, begin: int, end: int) -> Parts:
    return _parts(pieces[begin:end])


def _site_argument(argument: object) -> object:
    return (_contract_bytes(argument),) if isinstance(argument, Chain) else argument


def _site_value(argument: object) -> object:
    return _contract(argument[0]) if type(argument) is tuple else argument


# Contracts


def _contract_bytes(contract: Contract) -> bytes:
    try:
        return marshal.dumps(_written(contract))
    except ValueError:  # a date or the like in it
        return b"P" + pickle.dumps(contract, pickle.HIGHEST_PROTOCOL)


def _written(contract: Contract) -> tuple[Any, ...]:
    if isinstance(contract, Chain):
        steps = [
            (step.name, [(label, _written_argument(each)) for label, each in step.arguments]) for step in contract.steps
        ]
        return "chain", steps
    if isinstance(contract, ListContract):
        return "list", list(map(_written, contract.items)), contract.low, contract.high
    if isinstance(contract, DictContract):
        fixed = [(key, _written(value)) for key, value in contract.fixed]
        return "dict", fixed, contract.rest and list(map(_written, contract.rest)), contract.rests
    if isinstance(contract, Literal):
        return "literal", contract.value
    return "computed", contract.function


def _written_argument(argument: Argument) -> object:
    return [argument.name] if isinstance(argument, Function) else argument


@functools.lru_cache(maxsize=4000)
def _contract(content: bytes) -> Contract:
    if content[:1] == b"P":
        found = _unpickled(content[1:])
        assert isinstance(found, (Chain, ListContract, DictContract, Literal, Computed))
        return found
    return _read(marshal.loads(content))  # noqa: S302  (only from an own cache)


def _read(written: tuple[Any, ...]) -> Contract:
    kind = written[0]
    if kind == "chain":
        return Chain(
            tuple(
                [Step(name, tuple([(label, _argument(each)) for label, each in given])) for name, given in written[1]]
            )
        )
    if kind == "list":
        return ListContract(tuple(map(_read, written[1])), written[2], written[3])
    if kind == "dict":
        rest = (_read(written[2][0]), _read(written[2][1])) if written[2] else None
        return DictContract(tuple([(key, _read(value)) for key, value in written[1]]), rest, written[3])
    if kind == "literal":
        return Literal(written[1])
    return Computed(written[1])


def _argument(written: Any) -> Argument:
    return Function(written[0]) if type(written) is list else written


# What marshal can not hold

_ALLOWED: dict[str, frozenset[str]] = {
    "dsl.compiler.contracts": frozenset(
        {"Chain", "Computed", "DictContract", "Function", "ListContract", "Literal", "Step"}
    ),
    "dsl.functions.values": frozenset({"FrozenDict", "FrozenSet"}),
    "datetime": frozenset({"date", "datetime", "timedelta", "timezone"}),
}


def _unpickled(content: bytes) -> Any:
    return _Unpickler(io.BytesIO(content)).load()


class _Unpickler(pickle.Unpickler):
    """Makes nothing but values of MuranoPL and contracts."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a compiled class")
        return super().find_class(module, name)
