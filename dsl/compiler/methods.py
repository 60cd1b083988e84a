"""A class: contracts, defaults and metadata at once; for each method a body and an entry function at its first call.

The *entry* takes the arguments as a caller gives them, converts them by their contracts, counts the call against the
limits, takes the method's lock if other threads run, and calls the *body*, which is nothing but the package's code.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dsl.compiler import emit
from dsl.compiler.contracts import Chain, Contract, ContractCompiler, fast_type
from dsl.compiler.expressions import ExpressionCompiler, Signatures
from dsl.compiler.rehearsal import rehearse
from dsl.compiler.scopes import Scope, python_name
from dsl.compiler.segments import Parts, Segment, compiled
from dsl.compiler.statements import COUNTER, Place, StatementCompiler, count_step, names_bound
from dsl.compiler.unit import Unit, is_constant
from dsl.errors import Problem, SyntaxProblem, Thrown
from dsl.packages import NO_DEFAULT, ArgumentDeclaration, ClassDeclaration, MethodDeclaration, PropertyDeclaration
from dsl.syntax import Expression, Location
from dsl.syntax.collection import without_collections

ENTERED = "t_entered"  # the local of an entry function with the number of objects made before the call


@dataclass(frozen=True)
class ArgumentCode:
    """An argument: its contract, and the global function of `this` that computes its default, if it has one."""

    declaration: ArgumentDeclaration
    contract: Contract
    default: str | None


@dataclass(frozen=True)
class PropertyCode:
    """A property: its contract, and the global function of `this` that computes its default, if it has one."""

    declaration: PropertyDeclaration
    contract: Contract
    default: str | None
    is_constant: bool = False  # the default holds no expression

    @property
    def fast(self) -> str | None:
        """The exact Python type whose values pass the contract unchanged."""
        return fast_type(self.contract)


@dataclass(frozen=True)
class MethodCode:
    """A method: the names of its two global functions."""

    declaration: MethodDeclaration
    arguments: tuple[ArgumentCode, ...]
    entry: str
    body: str


@dataclass(frozen=True)
class ClassCode:
    """A compiled class. It never changes, and is the same for every program that uses the class.

    `declaration` holds no contracts, defaults and bodies any more; an entry of metadata in it is the name of a class,
    or the name with the global function of the class's own level that computes the values.
    """

    declaration: ClassDeclaration
    own: Parts  # functions for contracts, defaults and metadata
    segments: Mapping[str, Segment]  # method -> its code
    bodies: Mapping[str, str]  # name of a body function -> name of the method
    methods: Mapping[str, MethodCode]
    properties: Mapping[str, PropertyCode]

    def all_parts(self) -> list[Parts]:
        """All code of the class; what was not made yet is made."""
        return [self.own, *(each.parts for each in self.segments.values())]


def compile_class(declaration: ClassDeclaration, signatures: Signatures) -> ClassCode:
    """Compile a class. Raises SyntaxProblem with the place of the first thing that is wrong."""
    with without_collections():
        return _ClassCompiler(declaration, signatures).compile()


class _ClassCompiler:
    def __init__(self, declaration: ClassDeclaration, signatures: Signatures) -> None:
        self.declaration = declaration
        self.unit = Unit(declaration.name, declaration.location.file)
        self.expressions = ExpressionCompiler(self.unit, signatures)
        self.contracts = ContractCompiler(self.expressions)

    def compile(self) -> ClassCode:
        declaration = self.declaration
        properties = {name: self._property(each) for name, each in declaration.properties.items()}
        methods: dict[str, MethodCode] = {}
        segments: dict[str, Segment] = {}
        for number, (name, each) in enumerate(declaration.methods.items()):
            methods[name], segments[name] = self._method(each, number)
        brief = replace(
            declaration,
            properties={name: each.declaration for name, each in properties.items()},
            methods={name: each.declaration for name, each in methods.items()},
            meta=self._metadata(declaration.meta),
        )
        own = compiled(self.unit, declaration.location, {})
        bodies = {each.body: name for name, each in methods.items()}
        return ClassCode(brief, own, segments, bodies, methods, properties)

    def _property(self, declaration: PropertyDeclaration) -> PropertyCode:
        contract = self.contracts.compile(declaration.contract, declaration.location)
        default = None
        if declaration.has_default:
            default = self._value(declaration.default, declaration.location, declaration.usage != "Static")
        brief = PropertyDeclaration(
            declaration.name,
            None,
            declaration.usage,
            _brief(declaration.default),
            self._metadata(declaration.meta),
            declaration.location,
        )
        return PropertyCode(brief, contract, default, is_constant(declaration.default))

    def _metadata(self, entries: tuple[object, ...]) -> tuple[object, ...]:
        """Each entry as the name of its class, or as {name: global function for its values}; None for what is none."""
        if not entries:
            return ()
        result: list[object] = []
        for entry in entries:
            if isinstance(entry, dict) and len(entry) == 1:
                label, value = next(iter(entry.items()))
                location = self.declaration.location
                result.append({str(label): self._value(value, location, False)} if value is not None else str(label))
            else:
                result.append(str(entry) if isinstance(entry, (str, Expression)) else None)
        return tuple(result)

    def _value(self, structure: object, location: Location, this_is_object: bool) -> str:
        """A global function of `this` for a structure with expressions."""
        identifier = self.unit.fresh("_x")
        scope = Scope("this", "this", this_is_object=this_is_object)
        try:
            value = self.expressions.structure(structure, scope)
        except Thrown as error:
            problem = Problem(location.file, location.line, location.column, str(error.message))
            raise SyntaxProblem(problem, error.names[0]) from error
        function = emit.function_of(["this"], value)
        emit.at(location, function)
        self.unit.body.append(emit.assign(identifier, function))
        return identifier

    def _method(self, declaration: MethodDeclaration, number: int) -> tuple[MethodCode, Segment]:
        is_instance = declaration.usage in ("Runtime", "Action")
        arguments: list[ArgumentCode] = []
        for each in declaration.arguments:
            contract = self.contracts.compile(each.contract, each.location)
            default = self._value(each.default, each.location, is_instance) if each.has_default else None
            meta = self._metadata(each.meta)
            brief = ArgumentDeclaration(each.name, None, _brief(each.default), each.usage, meta, each.location)
            arguments.append(ArgumentCode(brief, contract, default))
        unit = Unit(self.unit.type_name, self.unit.file, f"_m{number}")
        code = MethodCode(
            MethodDeclaration(
                declaration.name,
                declaration.usage,
                declaration.scope,
                tuple(each.declaration for each in arguments),
                None,
                self._metadata(declaration.meta),
                declaration.location,
            ),
            tuple(arguments),
            f"e_{number}",
            f"b_{number}",
        )
        compiler = _MethodCompiler(declaration, code, ExpressionCompiler(unit, self.expressions.signatures))
        segment = Segment(compiler.compile)
        if not rehearse(declaration, unit, self.expressions):
            segment.parts  # noqa: B018  (made now)
        return code, segment


class _MethodCompiler:
    """Makes the two functions of one method."""

    def __init__(self, declaration: MethodDeclaration, code: MethodCode, expressions: ExpressionCompiler) -> None:
        self.declaration = declaration
        self.code = code
        self.expressions = expressions
        self.unit = expressions.unit

    def compile(self) -> Parts:
        with without_collections():
            stray = self._body(self.declaration, self.declaration.usage in ("Runtime", "Action"))
            self._entry(self.declaration, list(self.code.arguments), self.code.body, stray)
            return compiled(self.unit, self.declaration.location, {self.code.body: self.declaration.name})

    def _body(self, declaration: MethodDeclaration, is_instance: bool) -> bool:
        """Whether a Break or Continue may leave the body."""
        parameters = [each.name for each in declaration.arguments]
        assigned, loops = names_bound(declaration.body, declaration.location)
        labels = {*parameters, *assigned, *loops}
        scope = Scope(
            "this", "this", {label: python_name(label) for label in sorted(labels)}, this_is_object=is_instance
        )
        compiler = StatementCompiler(self.expressions)
        statements = compiler.block(declaration.body, Place(scope), declaration.location)
        unset = [python_name(label) for label in sorted(labels - set(parameters))]
        if unset:
            statements.insert(0, ast.Assign([emit.store(local) for local in unset], emit.const(None)))
        if compiler.counter_used:
            statements.insert(0, emit.assign(COUNTER, emit.const(0)))
        locals_ = ["this", *(python_name(label) for label in parameters)]
        function = emit.define(self.code.body, emit.parameters_of(locals_), statements)
        emit.at(declaration.location, function)
        self.unit.body.append(function)
        return compiler.has_stray_jump

    def _entry(self, declaration: MethodDeclaration, arguments: list[ArgumentCode], body: str, stray: bool) -> None:
        standard = [each for each in arguments if each.declaration.usage == "Standard"]
        locals_ = [python_name(each.declaration.name) for each in standard]
        statements: list[ast.stmt] = []
        rest = next((each for each in arguments if each.declaration.usage == "VarArgs"), None)
        named = next((each for each in arguments if each.declaration.usage == "KwArgs"), None)
        for each, local in zip(standard, locals_, strict=True):
            statements.append(self._converted(declaration, each, local))
        if rest is None:  # only now: a value that a contract refuses is told first
            too_many = ast.Raise(emit.call(self.unit.site("mismatch", declaration.name), emit.name("this")), None)
            statements.append(emit.when(emit.name("more"), [too_many]))
        given = [emit.name("this"), *(emit.name(local) for local in locals_)]
        for extra, source in ((rest, "more"), (named, "named")):
            if extra is not None:
                convert = self.unit.site("argument", declaration.name, extra.declaration.name)
                given.append(emit.call("_each", convert, emit.name(source), emit.name("this")))
        statements.extend(self._guarded(declaration, body, given, stray))
        defaults: list[ast.expr] = [emit.name("_M") for _ in locals_]
        parameters = emit.parameters_of(["this", *locals_], defaults, "more")
        if named is not None:
            parameters.kwonlyargs.append(ast.arg("named"))
            parameters.kw_defaults.append(emit.const(None))
        function = emit.define(self.code.entry, parameters, statements)
        emit.at(declaration.location, function)
        self.unit.body.append(function)

    def _converted(self, declaration: MethodDeclaration, argument: ArgumentCode, local: str) -> ast.stmt:
        convert = self.unit.site("argument", declaration.name, argument.declaration.name)
        value = emit.assign(local, emit.call(convert, emit.name(local), emit.name("this")))
        if argument.contract == Chain():
            return emit.when(emit.compare(emit.type_of(emit.name(local)), ast.NotIn(), emit.name("_A")), [value])
        kind = fast_type(argument.contract)
        if kind is None:
            return value
        return emit.when(emit.compare(emit.type_of(emit.name(local)), ast.IsNot(), emit.name(kind)), [value])

    def _guarded(self, declaration: MethodDeclaration, body: str, given: list[ast.expr], stray: bool) -> list[ast.stmt]:
        """Count the call, keep the depth, take the lock where it matters, call the body."""
        depth = emit.attribute("_S", "depth")
        deeper = ast.AugAssign(ast.Attribute(emit.name("_S"), "depth", ast.Store()), ast.Add(), emit.const(1))
        back = ast.AugAssign(ast.Attribute(emit.name("_S"), "depth", ast.Store()), ast.Sub(), emit.const(1))
        too_deep = emit.compare(depth, ast.Gt(), emit.attribute("_S", "max_depth"))
        locked = emit.call(self.unit.site("locked", declaration.name), emit.name(body), *given)
        call: list[ast.stmt] = [
            emit.when(too_deep, [ast.Expr(emit.call(emit.attribute("_S", "too_deep")))]),
            emit.when(emit.attribute("_S", "forked"), [ast.Return(locked)]),
            ast.Return(emit.call(body, *given)),
        ]
        guarded: list[ast.stmt] = [ast.Try(call, [], [], [back])]
        if stray:
            handler = ast.ExceptHandler(
                emit.name("_Stray"), "jump", [ast.Raise(emit.call("_stray", emit.name("jump")), emit.const(None))]
            )
            guarded = [ast.Try(guarded, [handler], [], [])]
        # what existed when the method was entered may be held by an unfinished expression of a caller
        entered = emit.assign(ENTERED, emit.attribute("_S", "objects"))
        return [*count_step(), entered, deeper, *guarded]


def _brief(default: object) -> object:
    """What remains of a default: whether there is one."""
    return NO_DEFAULT if default is NO_DEFAULT else None
