"""Statements: from a block of YAML to Python statements (spec/muranopl.md §11, §13, §14).

A construct is known by its exact set of keys; anything else is a syntax error when the class is loaded.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from dsl.compiler import emit, targets
from dsl.compiler.blocks import DSL_SYNTAX_ERROR, Construct, construct_of, statements_of, syntax_error, text_names
from dsl.compiler.expressions import ExpressionCompiler
from dsl.compiler.scopes import Scope, python_name
from dsl.errors import Problem, SyntaxProblem, Thrown
from dsl.syntax import Expression, Location, Mapping


@dataclass(frozen=True)
class Place:
    """Where a statement stands: inside which loop, catch and parallel branch."""

    scope: Scope
    in_loop: bool = False  # a Python loop of the same Python function is around
    loop_outside: bool = False  # a loop is around the Parallel whose branch this is
    in_branch: bool = False
    caught: str | None = None  # the local that holds the exception being handled
    own: frozenset[str] = field(default_factory=frozenset)  # variables private to the parallel branch
    deep: int = 0  # Python blocks around it in the same Python function


class StatementCompiler:
    """Compiles the blocks of one method."""

    def __init__(self, expressions: ExpressionCompiler) -> None:
        self.expressions = expressions
        self.unit = expressions.unit
        self.has_stray_jump = False
        self.counter_used = False

    def block(self, body: object, place: Place, location: Location) -> list[ast.stmt]:
        """A list of statements, one statement, or nothing."""
        result: list[ast.stmt] = []
        for statement, where in statements_of(body, location):
            result.extend(self.statement(statement, place, where))
        return result

    def statement(self, statement: object, place: Place, location: Location) -> list[ast.stmt]:
        try:
            if isinstance(statement, Expression):
                value = self.expressions.structure(statement, place.scope)
                return self._placed([ast.Expr(value)], location)
            if isinstance(statement, Mapping) and len(statement) == 1:
                key, value = next(iter(statement.items()))
                if isinstance(key, Expression):
                    return self._placed(self._assignment(key, value, place), location)
        except Thrown as error:  # an expression that parses but means nothing
            problem = Problem(location.file, location.line, location.column, str(error.message))
            raise SyntaxProblem(problem, error.names[0]) from error
        construct = construct_of(statement, location)
        blocks = _BLOCKS.get(construct.keyword, 0)
        if place.deep + blocks > _DEEPEST:
            return self._placed(self._outlined(statement, place, location), construct.location)
        inner = replace(place, deep=place.deep + blocks) if blocks else place
        return self._placed(_CONSTRUCTS[construct.keyword](self, construct, inner), construct.location)

    def _outlined(self, statement: object, place: Place, location: Location) -> list[ast.stmt]:
        """A statement in a function of its own, which is called at once: Python has a limit of blocks in a function."""
        identifier, outcome = self.unit.fresh("branch"), self.unit.temporary()
        assigned, loops = names_bound(statement, location)
        function = self._function(identifier, statement, place, location, assigned | loops, ())
        call = emit.assign(outcome, emit.call(identifier))
        ended = emit.compare(emit.name(outcome), ast.IsNot(), emit.const(None))
        return [function, call, emit.when(ended, self._jump(outcome, place))]

    def _placed(self, nodes: list[ast.stmt], location: Location) -> list[ast.stmt]:
        self.unit.place(location, "block construct", *nodes)
        return nodes

    def _value(self, structure: object, place: Place) -> ast.expr:
        return self.expressions.structure(structure, place.scope)

    def _assignment(self, target: Expression, value: object, place: Place) -> list[ast.stmt]:
        label = targets.plain_variable(target.tree)
        if label is not None:
            local = place.scope.variables.get(label, python_name(label))
            return [emit.assign(local, self._value(value, place))]
        temporary = self.unit.temporary()
        evaluation = emit.assign(temporary, self._value(value, place))
        stores = targets.assignment(self.expressions, target, temporary, place.scope)
        if target.location is not None:
            self.unit.place(target.location, f"{target.text}: {_text(value)}", *stores)
        return [evaluation, *stores]

    # Control flow

    def _return(self, construct: Construct, place: Place) -> list[ast.stmt]:
        value = self._value(construct.get("Return"), place)
        return [ast.Return(emit.tuple_of((emit.const("return"), value)) if place.in_branch else value)]

    def _break(self, construct: Construct, place: Place) -> list[ast.stmt]:
        keyword = construct.keyword
        if construct.get(keyword) is not None:
            raise syntax_error(
                construct.location, f"{keyword} takes no value", "nothing after the colon", name=DSL_SYNTAX_ERROR
            )
        if place.in_loop:
            return [ast.Break() if keyword == "Break" else ast.Continue()]
        if place.loop_outside:
            return [ast.Return(emit.tuple_of((emit.const(keyword.lower()), emit.const(None))))]
        self.has_stray_jump = True
        return [ast.Raise(emit.call("_Stray", emit.const(keyword)), None)]

    def _do(self, construct: Construct, place: Place) -> list[ast.stmt]:
        return self.block(construct.get("Do"), place, construct.location)

    def _if(self, construct: Construct, place: Place) -> list[ast.stmt]:
        condition = self._value(construct.get("If"), place)
        then = self.block(construct.get("Then"), place, construct.location)
        otherwise = self.block(construct.get("Else"), place, construct.location)
        return [emit.when(condition, then, otherwise)]

    def _while(self, construct: Construct, place: Place) -> list[ast.stmt]:
        condition = construct.get("While")
        if not isinstance(condition, Expression):
            raise syntax_error(construct.location, "the condition of While must be an expression", found=condition)
        body = self._loop_body(construct.get("Do"), place, construct)
        return [ast.While(self._value(condition, place), body, [])]

    def _for(self, construct: Construct, place: Place) -> list[ast.stmt]:
        variable = construct.get("For")
        if not isinstance(variable, str):
            message = "For value must be of string type"
            raise syntax_error(construct.location, message, "a plain name without $", variable, DSL_SYNTAX_ERROR)
        local = place.scope.variables.get(variable, python_name(variable))
        body = self._loop_body(construct.get("Do"), place, construct)
        items = emit.call("_iterate", self._value(construct.get("In"), place))
        return [ast.For(emit.store(local), items, body, [], None)]

    def _repeat(self, construct: Construct, place: Place) -> list[ast.stmt]:
        count = construct.get("Repeat")
        if not isinstance(count, (Expression, int)):
            message = "Repeat takes a number or an expression"
            raise syntax_error(construct.location, message, found=count, name=DSL_SYNTAX_ERROR)
        body = self._loop_body(construct.get("Do"), place, construct)
        times = emit.call("_range", self._value(count, place))
        return [ast.For(emit.store(self.unit.temporary()), times, body, [], None)]

    def _loop_body(self, body: object, place: Place, construct: Construct) -> list[ast.stmt]:
        inner = replace(place, in_loop=True)
        self.counter_used = True
        return [*count_rounds(), *self.block(body, inner, construct.location)]

    def _match(self, construct: Construct, place: Place) -> list[ast.stmt]:
        cases = _cases(construct)
        value = self.unit.temporary()
        result: list[ast.stmt] = [emit.assign(value, self._value(construct.get("Value"), place))]
        chain = self.block(construct.get("Default"), place, construct.location)
        for key, body in reversed(list(cases.items())):
            if isinstance(key, Expression):
                continue  # compared as an expression, it equals no value
            test = emit.compare(emit.name(value), ast.Eq(), self.unit.constant(key))
            chain = [emit.when(test, self._branch(body, place, construct.location), chain)]
        return result + (chain or [ast.Pass()])

    def _switch(self, construct: Construct, place: Place) -> list[ast.stmt]:
        hit = self.unit.temporary()
        result: list[ast.stmt] = [emit.assign(hit, emit.const(False))]
        for key, body in _cases(construct).items():
            taken = [emit.assign(hit, emit.const(True)), *self._branch(body, place, construct.location)]
            result.append(emit.when(self._value(key, place), taken))
        default = self.block(construct.get("Default"), place, construct.location)
        if default:
            result.append(emit.when(ast.UnaryOp(ast.Not(), emit.name(hit)), default))
        return result

    def _branch(self, body: object, place: Place, location: Location) -> list[ast.stmt]:
        """A case of Match or Switch: an error in it shows only when it is taken."""
        try:
            return self.block(body, place, location)
        except SyntaxProblem as error:
            return [targets.emit_raise(self.expressions, "MuranoSyntaxError", str(error))]

    # Parallel

    def _parallel(self, construct: Construct, place: Place) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        branches: list[ast.expr] = []
        limit = self._value(construct.get("Limit"), place)
        for statement, where in statements_of(construct.get("Parallel"), construct.location):
            identifier = self.unit.fresh("branch")
            result.append(self._branch_function(identifier, statement, place, where))
            branches.append(emit.name(identifier))
        outcome = self.unit.temporary()
        result.append(emit.assign(outcome, emit.call("_parallel", emit.tuple_of(branches), limit)))
        result.append(
            emit.when(emit.compare(emit.name(outcome), ast.IsNot(), emit.const(None)), self._jump(outcome, place))
        )
        return result

    def _branch_function(self, identifier: str, statement: object, place: Place, where: Location) -> ast.stmt:
        assigned, loops = names_bound(statement, where)
        own = replace(place, own=place.own | loops)
        return self._function(identifier, statement, own, where, assigned - loops, sorted(loops))

    def _function(
        self, identifier: str, statement: object, place: Place, where: Location, shared: set[str], own: Iterable[str]
    ) -> ast.stmt:
        """`def identifier(): ...`: variables in `shared` are the method's, those in `own` begin as what they are there.

        It returns None, or a pair that says how the statement was left: by Return with what, by Break or Continue.
        """
        private = {label: python_name(label) for label in own}
        inner = replace(
            place,
            scope=place.scope.with_variables(private),
            in_loop=False,
            loop_outside=place.in_loop or place.loop_outside,
            in_branch=True,
            deep=0,
        )
        body: list[ast.stmt] = []
        if shared:
            body.append(ast.Nonlocal(sorted(python_name(label) for label in shared)))
        body.append(emit.assign(COUNTER, emit.const(0)))
        body.extend(self.statement(statement, inner, where))
        local = list(private.values())
        return emit.define(identifier, emit.parameters_of(local, [emit.name(each) for each in local]), body)

    def _jump(self, outcome: str, place: Place) -> list[ast.stmt]:
        """Carry out the Return, Break or Continue that a branch ended with."""
        kind, value = (emit.item(emit.name(outcome), emit.const(index)) for index in (0, 1))
        leave: ast.stmt = ast.Return(emit.name(outcome) if place.in_branch else value)
        if place.in_loop:
            is_break = emit.compare(kind, ast.Eq(), emit.const("break"))
            kind_again = emit.item(emit.name(outcome), emit.const(0))
            is_continue = emit.compare(kind_again, ast.Eq(), emit.const("continue"))
            return [emit.when(is_break, [ast.Break()]), emit.when(is_continue, [ast.Continue()]), leave]
        return [leave]

    # Exceptions

    def _try(self, construct: Construct, place: Place) -> list[ast.stmt]:
        location = construct.location
        body = self.block(construct.get("Try"), place, location) or [ast.Pass()]
        handlers = self._handlers(construct, place)
        otherwise = self.block(construct.get("Else"), place, location)
        finally_ = self.block(construct.get("Finally"), place, location)
        if finally_:
            # an interrupted program runs nothing of the package any more
            finally_ = [emit.when(emit.attribute("_S", "alive"), finally_)]
        if not handlers and not finally_:
            return [*body, *otherwise]
        if not handlers:  # a limit must be known as one before Finally runs, which could swallow it
            native = self.unit.fresh("x")
            limit = ast.Raise(emit.call("_caught", emit.name(native)), None)
            handler = ast.ExceptHandler(emit.name("Exception"), native, [limit])
            return [ast.Try([*body, *otherwise], [handler], [], finally_)]
        return [ast.Try(body, handlers, otherwise, finally_)]

    def _handlers(self, construct: Construct, place: Place) -> list[ast.ExceptHandler]:
        catches = construct.get("Catch")
        if catches is None:
            return []
        native, caught = self.unit.fresh("x"), self.unit.fresh("x")
        chain: list[ast.stmt] = [ast.Raise(emit.name(caught), None)]
        entries = catches if isinstance(catches, list) else [catches]
        for entry in reversed(entries):
            chain = self._catch(entry, caught, chain, place, construct.location)
        handled = emit.call("_caught", emit.name(native))
        return [ast.ExceptHandler(emit.name("Exception"), native, [emit.assign(caught, handled), *chain])]

    def _catch(
        self, entry: object, caught: str, otherwise: list[ast.stmt], place: Place, location: Location
    ) -> list[ast.stmt]:
        if not isinstance(entry, Mapping) or not set(entry) <= {"With", "As", "Do"}:
            raise syntax_error(location, "an entry of Catch is a mapping", "the keys With, As and Do", entry)
        names = text_names(entry.get("With"), entry.location)
        body: list[ast.stmt] = []
        matched = emit.tuple_of(self.unit.site("name", each) for each in names)
        if entry.get("As") is not None and entry.get("Do") is not None:
            label = str(entry["As"])
            local = place.scope.variables.get(label, python_name(label))
            body.append(emit.assign(local, emit.call("_exception", emit.name(caught), matched)))
        body.extend(self.block(entry.get("Do"), replace(place, caught=caught), entry.location))
        if not names:
            return body or [ast.Pass()]
        return [emit.when(emit.call("_matches", emit.name(caught), matched), body, otherwise)]

    def _throw(self, construct: Construct, place: Place) -> list[ast.stmt]:
        raw = construct.get("Throw")
        if not raw:
            raise syntax_error(construct.location, "Throw needs a name", "the exception's name", raw, "ValueError")
        entries = raw if isinstance(raw, list) else [raw]
        names = [
            self.unit.site("name", each) if isinstance(each, str) else self._value(each, place) for each in entries
        ]
        details = [self._value(construct.get(key), place) for key in ("Message", "Extra", "Cause")]
        return [ast.Raise(emit.call(self.unit.site("throw"), emit.tuple_of(names), *details), None)]

    def _rethrow(self, construct: Construct, place: Place) -> list[ast.stmt]:
        if place.caught is None:
            return [targets.emit_raise(self.expressions, "TypeError", "Rethrow must be inside Catch")]
        return [ast.Raise(emit.name(place.caught), None)]


_BLOCKS = {"While": 1, "For": 1, "Repeat": 1, "Try": 4}  # construct -> Python's blocks that it needs at most
_DEEPEST = 16  # of the twenty that Python allows inside each other in one function
COUNTER = "t_rounds"  # the local in which a method or branch counts the rounds of its loops
_ROUNDS = 64  # that are counted together


def count_rounds() -> list[ast.stmt]:
    """One round of a loop; the program's budget is charged for many at a time."""
    charge = emit.call(emit.attribute("_S", "charge"), emit.const(_ROUNDS))
    return [
        ast.AugAssign(ast.Name(COUNTER, ast.Store()), ast.Add(), emit.const(1)),
        emit.when(
            emit.compare(emit.name(COUNTER), ast.GtE(), emit.const(_ROUNDS)),
            [emit.assign(COUNTER, emit.const(0)), ast.Expr(charge)],
        ),
    ]


def count_step() -> list[ast.stmt]:
    """One step of the program's budget."""
    steps = ast.Attribute(emit.name("_S"), "steps", ast.Store())
    used_up = emit.compare(emit.attribute("_S", "steps"), ast.Lt(), emit.const(0))
    return [
        ast.AugAssign(steps, ast.Sub(), emit.const(1)),
        emit.when(used_up, [ast.Expr(emit.call(emit.attribute("_S", "exhausted")))]),
    ]


def names_bound(body: object, location: Location) -> tuple[set[str], set[str]]:
    """(variables assigned, those of loops and Catch) anywhere in a statement or block."""
    assigned: set[str] = set()
    loops: set[str] = set()
    pending: list[object] = [body]
    while pending:
        each = pending.pop()
        if isinstance(each, Mapping):
            if isinstance(each.get("For"), str):
                loops.add(each["For"])
            if "As" in each and isinstance(each["As"], str):
                loops.add(each["As"])
            for key, value in each.items():
                if isinstance(key, Expression):
                    variable = targets.root_variable(key.tree)
                    if variable is not None and not variable.isdecimal():
                        assigned.add(variable)
                pending.append(value)
        elif isinstance(each, list):
            pending.extend(each)
    return assigned, loops


def _cases(construct: Construct) -> Mapping:
    cases = construct.get(construct.keyword)
    if not isinstance(cases, Mapping):
        message = f"{construct.keyword} takes a mapping of cases"
        raise syntax_error(construct.location, message, found=cases, name=DSL_SYNTAX_ERROR)
    return cases


def _text(value: object) -> str:
    text = value.text if isinstance(value, Expression) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_CONSTRUCTS: dict[str, Callable[[StatementCompiler, Construct, Place], list[ast.stmt]]] = {
    "Return": StatementCompiler._return,
    "Break": StatementCompiler._break,
    "Continue": StatementCompiler._break,
    "Do": StatementCompiler._do,
    "If": StatementCompiler._if,
    "While": StatementCompiler._while,
    "For": StatementCompiler._for,
    "Repeat": StatementCompiler._repeat,
    "Match": StatementCompiler._match,
    "Switch": StatementCompiler._switch,
    "Parallel": StatementCompiler._parallel,
    "Try": StatementCompiler._try,
    "Throw": StatementCompiler._throw,
    "Rethrow": StatementCompiler._rethrow,
}
