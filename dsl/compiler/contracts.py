"""Contracts: from the YAML of a `Contract` to a small tree that the runtime turns into closures (spec/muranopl.md §6).

Chains like `$.int().notNull()` become data. Whatever else an expression computes becomes a function of the value, with
the chain's steps as calls inside.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from yaql.language import expressions as tree

from dsl.compiler import emit
from dsl.compiler.expressions import ExpressionCompiler
from dsl.compiler.scopes import Scope
from dsl.compiler.trees import unwrapped
from dsl.errors import DslContractSyntaxError, Problem, SyntaxProblem, Thrown
from dsl.syntax import Expression, Location, Mapping, Sequence


@dataclass(frozen=True)
class Function:
    """An argument of a contract step that must be computed: the global function (value, this) that does it."""

    name: str


Argument = str | int | float | bool | None | Function | tuple[object, ...]


@dataclass(frozen=True)
class Step:
    """One call in a chain: `int()`, `class(Foo)`, `check($ > 0, "too small")`."""

    name: str
    arguments: tuple[tuple[str, Argument], ...] = ()

    def get(self, name: str) -> Argument:
        return dict(self.arguments).get(name)


@dataclass(frozen=True)
class Chain:
    """`$` with steps; without steps anything is accepted."""

    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class ListContract:
    """`[a, b, min, max]`; the last item contract serves for all further items. No items: any list."""

    items: tuple[Contract, ...]
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class DictContract:
    """`{key: contract, <expression>: contract}`. Nothing inside: any mapping."""

    fixed: tuple[tuple[object, Contract], ...]
    rest: tuple[Contract, Contract] | None = None
    rests: int = 0


@dataclass(frozen=True)
class Literal:
    """A scalar that the value must equal."""

    value: object


@dataclass(frozen=True)
class Computed:
    """Any other expression: the global function (value, this, context) that gives the result."""

    function: str


Contract = Chain | ListContract | DictContract | Literal | Computed

# step -> the names of its arguments, in order
STEPS: dict[str, tuple[str, ...]] = {
    "string": (),
    "int": (),
    "bool": (),
    "notNull": (),
    "check": ("predicate", "msg"),
    "class": ("name", "defaultName", "versionSpec"),
    "template": ("type", "defaultType", "versionSpec", "excludeProperties"),
    "owned": (),
    "notOwned": (),
}


_OPERATORS = (tree.BinaryOperator, tree.UnaryOperator)


@dataclass
class ContractCompiler:
    """Compiles the contracts of one class."""

    expressions: ExpressionCompiler
    this_is_object: bool = False
    _inner: _StepExpressions = field(init=False)

    def __post_init__(self) -> None:
        self._inner = _StepExpressions(self.expressions.unit, self.expressions.signatures)
        self._inner.contracts = self

    def compile(self, structure: object, location: Location) -> Contract:
        """The contract that a structure of the YAML describes. Raises SyntaxProblem."""
        try:
            return self._contract(structure)
        except Thrown as error:
            problem = Problem(location.file, location.line, location.column, str(error.message))
            raise SyntaxProblem(problem, error.names[0]) from error

    def _contract(self, structure: object) -> Contract:
        if isinstance(structure, Expression):
            chain = self._chain(structure.tree)
            return chain if chain is not None else self._computed(structure)
        if isinstance(structure, Mapping):
            fixed: list[tuple[object, Contract]] = []
            rests: list[tuple[Contract, Contract]] = []
            for key, value in structure.items():
                if isinstance(key, Expression):
                    rests.append((self._contract(key), self._contract(value)))
                else:
                    fixed.append((key, self._contract(value)))
            return DictContract(tuple(fixed), rests[0] if rests else None, len(rests))
        if isinstance(structure, Sequence):
            return self._list(list(structure))
        return Literal(structure)

    def _list(self, entries: list[object]) -> ListContract:
        bounds: list[int] = []
        while len(entries) > 1 and len(bounds) < 2 and type(entries[-1]) is int:
            bounds.insert(0, entries.pop())  # type: ignore[arg-type]
        low = bounds[0] if bounds else None
        high = bounds[1] if len(bounds) > 1 else None
        return ListContract(tuple(self._contract(entry) for entry in entries), low, high)

    def _chain(self, node: tree.Expression) -> Chain | None:
        """The chain if the expression is `$` followed by steps only."""
        steps: list[Step] = []
        node = unwrapped(node)
        while isinstance(node, tree.BinaryOperator) and node.operator == ".":
            left, right = node.args
            if not isinstance(right, tree.Function) or right.name not in STEPS or not right.uses_receiver:
                return None
            steps.insert(0, self.step(right))
            node = unwrapped(left)
        if isinstance(node, tree.GetContextValue) and node.path.value == "$":
            return Chain(tuple(steps))
        return None

    def step(self, call: tree.Function) -> Step:
        """One call of a contract function."""
        names = STEPS[call.name]
        arguments: dict[str, object] = {}
        for position, node in enumerate(call.args):
            if isinstance(node, tree.MappingRuleExpression) and isinstance(node.source, tree.KeywordConstant):
                label, value = node.source.value, node.destination
            elif position < len(names):
                label, value = names[position], node
            else:
                label, value = "", node
            if label not in names:
                expected = ", ".join(names) or "no arguments"
                raise DslContractSyntaxError(f"{call.name}() in a contract takes {expected}")
            arguments[label] = value
        return Step(
            call.name, tuple((label, self._argument(call.name, label, node)) for label, node in arguments.items())
        )

    def _argument(self, step: str, label: str, node: object) -> Argument:
        node = unwrapped(node)
        if isinstance(node, tree.Constant) and label != "predicate":
            return node.value
        if label != "predicate" and isinstance(node, _OPERATORS) and node.operator == ":":
            names = [each.value for each in node.args if isinstance(each, tree.KeywordConstant)]
            if len(names) == len(node.args):
                return ":".join(names if len(names) == 2 else ["", *names])
        return Function(self._function(node))

    def _function(self, node: tree.Expression) -> str:
        """A global function (value, this) for an expression with `$` as the value."""
        unit = self.expressions.unit
        identifier = unit.fresh("_x")
        scope = Scope("value", "this")
        unit.body.append(
            emit.assign(identifier, emit.function_of(["value", "this"], self.expressions.settled(node, scope)))
        )
        return identifier

    def _computed(self, structure: Expression) -> Computed:
        unit = self.expressions.unit
        identifier = unit.fresh("_x")
        scope = Scope("value", "this")
        value = self._inner.settled(structure.tree, scope)
        if structure.location is not None:
            unit.place(structure.location, structure.text, value)
        unit.body.append(emit.assign(identifier, emit.function_of(["value", "this", "context"], value)))
        return Computed(identifier)


class _StepExpressions(ExpressionCompiler):
    """Expressions of contracts: the contract functions are methods there."""

    contracts: ContractCompiler

    def method_call(self, receiver: ast.expr, node: tree.Function, scope: Scope) -> ast.expr:
        if node.name not in STEPS:
            return super().method_call(receiver, node, scope)
        step = self.contracts.step(node)
        return emit.call(self.unit.site("contract", Chain((step,))), receiver, emit.name("this"), emit.name("context"))


def names_objects(contract: Contract) -> bool:
    """Whether a value may name or describe an object for this contract."""
    if isinstance(contract, Chain):
        return any(step.name in ("class", "template") for step in contract.steps)
    if isinstance(contract, ListContract):
        return any(names_objects(each) for each in contract.items)
    if isinstance(contract, DictContract):
        inner = [each for _, each in contract.fixed] + list(contract.rest or ())
        return contract.rests > 1 or any(names_objects(each) for each in inner)
    return isinstance(contract, Computed)


def fast_type(contract: Contract) -> str | None:
    """The exact Python type whose values pass the contract unchanged, if one test can tell."""
    if not isinstance(contract, Chain):
        return None
    names = {step.name for step in contract.steps} - {"notNull"}
    return {"int": "int", "string": "str", "bool": "bool"}.get(names.pop()) if len(names) == 1 else None
