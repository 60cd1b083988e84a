"""All that can be said about a package without running it, for its author.

`dsl.packages.check_package` reads declarations; this compiles every method as well, and looks for names that nothing
at hand has. Names are judged only if all required packages are at hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from yaql.language import expressions as tree

from dsl import functions, packages, syntax
from dsl.compiler import compile_class
from dsl.compiler.contracts import STEPS
from dsl.compiler.statements import names_bound
from dsl.errors import Problem, SyntaxProblem
from dsl.packages import ClassDeclaration, MethodDeclaration, Package, spelling
from dsl.packages.manifest import HEAT
from dsl.packages.structures import expressions_of, structures_of
from dsl.runtime.builtin import BUILTIN
from dsl.runtime.functions import FUNCTIONS, LEGACY_METHODS, METHODS
from dsl.runtime.natives import methods_of
from dsl.runtime.sources import Signatures
from dsl.syntax import Expression, Location, Sequence
from dsl.testing.mistakes import Surroundings


def check(
    package: Package, available: Iterable[Package] = (), natives: Mapping[str, type] | None = None
) -> list[Problem]:
    """Every problem of a package: what `check_package(thorough=True)` finds, statements that do not compile, functions,
    methods and variables that do not exist. `natives` are the host classes of the packages at hand.

    Warnings: a method that nothing at hand has, nor one spelled like it (a package that is not at hand may bring it);
    a variable that is never set, where null may do.
    """
    at_hand = (package, *available)
    problems = packages.check_package(package, at_hand[1:], thorough=True)
    if package.manifest.kind == HEAT:
        return problems
    hosts = {**BUILTIN, **(natives or {})}
    names = _Names.of(package, at_hand, hosts)
    language = {*functions.table(package.format_version).names(True), *METHODS, *LEGACY_METHODS, *STEPS}
    surroundings = Surroundings.of(at_hand, hosts, language)
    for class_name in package.class_names:
        try:
            declaration = package.declaration(class_name)
        except (SyntaxProblem, KeyError):
            continue  # check_package said so
        lines = (
            package.read(f"Classes/{package.manifest.classes[class_name]}").decode("utf-8-sig", "replace").splitlines()
        )
        found = [
            *_compile(declaration, names.signatures, lines),
            *names.check(declaration),
            *surroundings.check(declaration, lines),
        ]
        problems.extend(sorted(found, key=lambda problem: (problem.line or 0, problem.column or 0)))
    return list(dict.fromkeys(problems))


def _compile(declaration: ClassDeclaration, signatures: Signatures, lines: list[str]) -> Iterator[Problem]:
    """A problem of each property, method and statement: compiled apart, none hides the others."""
    bare = replace(declaration, properties={}, methods={})
    yield from _problem_of(bare, signatures)
    for name, prop in declaration.properties.items():
        yield from _problem_of(replace(bare, meta=(), properties={name: prop}), signatures)
    for name, method in declaration.methods.items():
        whole = list(_problem_of(replace(bare, meta=(), methods={name: method}), signatures))
        if whole and isinstance(method.body, Sequence):
            single = [_of_text(text, place, lines) for text, place in _texts(method.body)]
            for statement in method.body:
                if not isinstance(statement, str) and not any(_texts([statement])):
                    alone = replace(method, body=statement, arguments=(), meta=())
                    single += _problem_of(replace(bare, meta=(), methods={name: alone}), signatures)
            whole = single or whole
        yield from whole


def _texts(block: object) -> Iterator[tuple[str, Location]]:
    """Statements that are texts, which is what YAML makes of an expression that does not parse."""
    if not isinstance(block, list):
        return
    for index, statement in enumerate(block):
        if isinstance(statement, str) and isinstance(block, Sequence):
            yield statement, block.item_location(index)
        elif isinstance(statement, dict):
            for key in _BLOCKS & statement.keys():
                yield from _texts(statement[key])
                cases = statement[key].values() if isinstance(statement[key], dict) else ()
                for case in cases:  # of Match and Switch; Catch has its block under Do
                    yield from _texts(case)


_BLOCKS = frozenset({"Then", "Else", "Do", "Default", "Parallel", "Catch", "Try", "Finally", "Match", "Switch"})


def _of_text(text: str, place: Location, lines: list[str]) -> Problem:
    """What is wrong with a text that stands for a statement, at the character where it goes wrong."""
    fix = "correct the expression; texts are no statements"
    try:
        syntax.parse(text)
    except syntax.ExpressionError as error:
        line = lines[place.line - 1] if place.line <= len(lines) else ""
        begin = line.find(text, place.column - 1)  # behind a quote; not there if it has escapes or several lines
        column = place.column if begin < 0 else begin + 1 + (error.position or 0)
        return Problem(place.file, place.line, column, f"the statement {text[:80]!r} does not parse: {error}", fix=fix)
    return Problem(place.file, place.line, place.column, f"{text[:80]!r} is no statement", "an expression", fix=fix)


def _problem_of(declaration: ClassDeclaration, signatures: Signatures) -> Iterator[Problem]:
    try:
        compile_class(declaration, signatures)
    except SyntaxProblem as error:
        yield error.problem


@dataclass(frozen=True)
class _Names:
    """What code of one package can call."""

    signatures: Signatures
    functions: frozenset[str]
    methods: frozenset[str] | None  # None if not all required packages are at hand and sound

    @classmethod
    def of(cls, package: Package, at_hand: tuple[Package, ...], natives: Mapping[str, type]) -> _Names:
        table = functions.table(package.format_version)
        signatures = Signatures(table, frozenset(), package.full_name == "io.murano")
        methods: set[str] | None = {*table.names(True), *METHODS, *LEGACY_METHODS, *STEPS}
        required = {"io.murano", package.full_name, *package.manifest.require}
        for each in at_hand:
            found = _methods_of(each)
            if found is None and each.full_name in required:
                methods = None  # a class that can not be read may have any
            elif found is not None and methods is not None:
                methods.update(found)
        if methods is not None:
            methods.update(name for native in natives.values() for name in methods_of(native))
        if not required <= {each.full_name for each in at_hand}:
            methods = None
        callable_functions = table.names(False) | frozenset(FUNCTIONS)
        return cls(signatures, callable_functions, None if methods is None else frozenset(methods))

    def check(self, declaration: ClassDeclaration) -> Iterator[Problem]:
        for structure in structures_of(declaration):
            defined = _defined(structure)
            for expression in expressions_of(structure):
                yield from self._check_calls(expression, defined)
        for prop in declaration.properties.values():
            yield from _check_contract(f"property {prop.name}", prop.contract, prop.location)
        for method in declaration.methods.values():
            yield from _check_variables(method)
            for argument in method.arguments:
                yield from _check_contract(f"argument {argument.name}", argument.contract, argument.location)

    def _check_calls(self, expression: Expression, defined: frozenset[str]) -> Iterator[Problem]:
        pending: list[tuple[object, bool]] = [(expression.tree, False)]
        while pending:
            node, is_member = pending.pop()
            chained = isinstance(node, tree.BinaryOperator) and node.operator in (".", "?.")
            pending.extend((child, chained and index == 1) for index, child in enumerate(syntax.children(node)))
            if not isinstance(node, tree.Function) or node.name.startswith("#") or node.name in defined | _SCOPED:
                continue
            if is_member and self.methods is not None and node.name not in self.methods:
                known, what = self.methods, "nothing at hand has a method"
            elif not is_member and not self.signatures.has_function(node.name):
                known, what = self.functions, "there is no function"
            else:
                continue
            meant = spelling.close_to(node.name, known)
            problem = _unknown(expression, node.name, f"{what} {node.name}", meant)
            yield replace(problem, level="warning") if is_member and meant is None else problem


_SCOPED = frozenset({"let", "with", "def", "as", "unpack"})  # the compiler's own, on the left of `->`


def _methods_of(package: Package) -> set[str] | None:
    """Names of the methods of all classes, None if a class can not be read."""
    try:
        listed = [package.declaration(class_name) for class_name in package.class_names]
    except (SyntaxProblem, KeyError):
        return None
    others = [found for _, found in package.unlisted().values() if isinstance(found, ClassDeclaration)]
    return {name for declaration in (*listed, *others) for name in declaration.methods}


def _check_contract(what: str, contract: object, place: Location) -> Iterator[Problem]:
    """A contract that is a text was meant as an expression if it begins like one."""
    if isinstance(contract, str) and contract.startswith("$"):
        try:
            syntax.parse(contract)
        except syntax.ExpressionError as error:
            message = f"the contract of {what} does not parse: {error}"
            yield Problem(place.file, place.line, place.column, message, found=contract[:80], fix="correct it")


def _defined(structure: object) -> frozenset[str]:
    """Names of functions that `def` makes anywhere in the structure."""
    names: set[str] = set()
    for node in _nodes(structure):
        if isinstance(node, tree.Function) and node.name == "def" and node.args:
            first = node.args[0]
            if isinstance(first, (tree.KeywordConstant, tree.Constant)):
                names.add(str(first.value))
    return frozenset(names)


def _check_variables(method: MethodDeclaration) -> Iterator[Problem]:
    """Variables that are read, never set, and spelled nearly like one that is: reading them gives null.

    That may do where they are passed on, not where something is asked of them.
    """
    assigned, loops = names_bound(method.body, method.location)
    known = {*assigned, *loops, *(each.name for each in method.arguments)}
    for node in _nodes(method.body):
        if isinstance(node, tree.Function):  # let(x => 1), as($ => x), unpack(a, b), def(f, $x)
            for argument in node.args:
                pair = isinstance(argument, tree.MappingRuleExpression)
                for each in (argument.source, argument.destination) if pair else (argument,):
                    if isinstance(each, (tree.KeywordConstant, tree.Constant)) and isinstance(each.value, str):
                        known.add(each.value)
    for expression in expressions_of(method.body):
        nodes = list(_nodes(expression))
        receivers = {id(asked) for node in nodes if (asked := _asked(node)) is not None}
        for node in nodes:
            if isinstance(node, tree.GetContextValue):
                name = str(node.path.value).removeprefix("$")
                if name and name not in known and name != "this" and not name.isdecimal():
                    meant = spelling.close_to(name, sorted({*assigned, *loops, *(a.name for a in method.arguments)}))
                    if meant is not None:
                        found = _unknown(expression, f"${name}", f"the variable ${name} is never set", f"${meant}")
                        yield found if id(node) in receivers else replace(found, level="warning")


def _asked(node: object) -> object:
    """What a node asks for a property, a method or an item, if it does."""
    if isinstance(node, tree.BinaryOperator):
        return node.args[0] if node.operator == "." else None
    return node.args[0] if isinstance(node, tree.Function) and node.name == "#indexer" else None


def _nodes(structure: object) -> Iterator[object]:
    for expression in expressions_of(structure):
        pending: list[object] = [expression.tree]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(syntax.children(node))


def _unknown(expression: Expression, name: str, message: str, meant: str | None) -> Problem:
    """A complaint about a name, at the first place of the expression where it stands."""
    place = expression.location
    column = place.column
    match = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression.text)
    if match and place.line == place.end_line and place.end_column - column == len(expression.text):
        column += match.start()
    fix = f"did you mean {meant}?" if meant else "correct the name"
    return Problem(place.file, place.line, column, message, found=expression.text[:80], fix=fix)
