"""Everything that can be said about a package without running it (spec/muranopl.md §1 to §6).

What depends on other packages is judged only as far as they are at hand: an unknown class is a problem once every
package that could have it was looked into.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from yaql.language import expressions as tree

from dsl import syntax
from dsl.errors import Problem, SyntaxProblem, Thrown
from dsl.packages import forms, plans, spelling
from dsl.packages.declarations import ClassDeclaration
from dsl.packages.manifest import HEAT
from dsl.packages.package import Package
from dsl.packages.structures import expressions_of, structures_of
from dsl.syntax import Expression, Location

MAX_LOGO = 500 * 1024  # bytes
MAX_PROBLEMS = 500  # of classes
MAX_HINTS = 5  # searches for the name that was meant: they are slow, and packages are anybody's
CORE = "io.murano"  # required by every package without saying so


def check_package(package: Package, available: Iterable[Package] = (), *, thorough: bool = False) -> list[Problem]:
    """All problems of a package, in the order of its files; empty for a sound one.

    Given the packages it may depend on, `Require`, parents, contracts and type references are checked against them.
    `thorough` adds what an author wants to know and what keeps no package from being used: scripts that plan templates
    name, fields of the UI definition.
    """
    problems: list[Problem] = []
    unlisted = {name: file for name, (file, _) in package.unlisted().items()}
    hints = itertools.count() if thorough else iter(range(MAX_HINTS))
    neighbours = _Neighbours(package, tuple(available), hints, unlisted)
    problems.extend(neighbours.missing())
    for name in package.class_names:
        try:
            declaration = package.declaration(name)
        except SyntaxProblem as error:
            problems.append(error.problem)
        except KeyError:
            problems.append(_undefined_class(package, name))
        else:
            room = max(0, MAX_PROBLEMS - len(problems))
            found = itertools.islice(_check_class(declaration, package, neighbours), room)
            problems.extend(sorted(found, key=_place))
    problems.extend(_check_keys(package))
    if thorough:
        problems.extend(plans.check_plans(package))
    problems.extend(forms.check_forms(package, thorough=thorough))
    problems.extend(_check_logos(package))
    return list(dict.fromkeys(problems))


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0


@dataclass(frozen=True)
class _Neighbours:
    package: Package
    available: tuple[Package, ...]
    hints: Iterator[int]  # one item for each search for what was meant that may still be made
    unlisted: Mapping[str, str]  # class of the package that its manifest does not list -> file

    def missing(self) -> Iterator[Problem]:
        """Requirements that nothing at hand fulfils, if anything is at hand."""
        if not self.available:
            return
        file = self.package.location_of("manifest.yaml")
        for name, spec in self.package.manifest.require.items():
            versions = [other.version for other in self.available if other.full_name == name]
            if spec.select(versions) is None:
                found = ", ".join(str(version) for version in versions) or "no version of it"
                fix = "add the package, or correct Require"
                yield Problem(file, None, None, f"the required package {name} is missing", str(spec), found, fix)

    def may_hint(self) -> bool:
        return next(self.hints, None) is not None

    def class_names(self) -> list[str]:
        """All classes at hand, for spelling hints."""
        return [name for package in (self.package, *self.available) for name in package.class_names]

    def has_class(self, name: str) -> bool | None:
        """Whether code of the package can see a class; None if that can not be told."""
        if name in self.package.class_names or name in self.unlisted:
            return True
        certain = True
        core = [other for other in self.available if other.full_name == CORE]
        if any(name in other.class_names for other in core):
            return True
        if not core and name.startswith(f"{CORE}."):
            certain = False
        for required, spec in self.package.manifest.require.items():
            candidates = {other.version: other for other in self.available if other.full_name == required}
            chosen = spec.select(candidates)
            if chosen is None:
                certain = False
            elif name in candidates[chosen].class_names:
                return True
        return False if certain else None


def _check_class(declaration: ClassDeclaration, package: Package, neighbours: _Neighbours) -> Iterator[Problem]:
    for parent in (*declaration.extends, *declaration.imports):
        if neighbours.has_class(parent) is False:
            yield _unknown_class(declaration.location, parent, package, neighbours)
        yield from _check_unlisted(declaration.location, parent, neighbours)
    for structure in structures_of(declaration):
        for expression in expressions_of(structure):
            yield from _check_expression(expression, declaration, package, neighbours)


def _check_unlisted(place: Location, name: str, neighbours: _Neighbours) -> Iterator[Problem]:
    """A class of another file that the manifest does not list: whether it is known depends on what was used before."""
    file = neighbours.unlisted.get(name)
    if file is not None and place.file != neighbours.package.location_of(f"Classes/{file}"):
        message = f"the class {name} is not listed in the manifest and known only once another class of {file} was used"
        fix = f"list {name}: {file} under Classes in manifest.yaml"
        yield Problem(place.file, place.line, place.column, message, fix=fix, level="warning")


def _check_expression(
    expression: Expression, declaration: ClassDeclaration, package: Package, neighbours: _Neighbours
) -> Iterator[Problem]:
    place = expression.location
    pending: list[object] = [expression.tree]
    while pending:
        node = pending.pop()
        pending.extend(syntax.children(node))
        for text in _class_names(node):
            try:
                name = declaration.namespaces.resolve(text)
            except Thrown as error:
                prefix, known_prefixes = text.partition(":")[0], declaration.namespaces.table
                meant = spelling.close_to(prefix, known_prefixes) if neighbours.may_hint() else None
                hint = f"did you mean {meant}:? If not, " if meant else ""
                fix = f"{hint}declare the prefix under Namespaces, or quote the text if it is none"
                yield Problem(place.file, place.line, place.column, str(error.message), found=text, fix=fix)
                continue
            if neighbours.has_class(name) is False:
                yield _unknown_class(place, name, package, neighbours)
            yield from _check_unlisted(place, name, neighbours)
        resource = _resource(node)
        if resource is not None and f"Resources/{resource}" not in package.names and package.manifest.kind != HEAT:
            message = f"the resource {resource} does not exist"
            known = [each.removeprefix("Resources/") for each in package.names if each.startswith("Resources/")]
            meant = spelling.close_to(resource, known) if neighbours.may_hint() else None
            fix = f"did you mean {meant}?" if meant else f"add Resources/{resource}, or correct the name"
            yield Problem(place.file, place.line, place.column, message, fix=fix)


def _class_names(node: object) -> Iterator[str]:
    """Names of classes that a node certainly means: `ns:Foo`, `:Foo`, `new(Foo)`, `class(Foo)`, `cast(x, Foo)`."""
    if isinstance(node, tree.UnaryOperator) and node.operator == ":" and _is_word(node.args[0]):
        yield f":{node.args[0].value}"
    elif isinstance(node, tree.BinaryOperator) and node.operator == ":" and all(map(_is_word, node.args)):
        yield f"{node.args[0].value}:{node.args[1].value}"
    elif isinstance(node, tree.Function) and node.name in _CLASS_ARGUMENT:
        position = _CLASS_ARGUMENT[node.name]
        if len(node.args) > position and _is_word(node.args[position]):
            yield str(node.args[position].value)


_CLASS_ARGUMENT = {"new": 0, "class": 0, "template": 0, "cast": 1}  # which argument names a class
_RESOURCE_METHODS = ("yaml", "json", "string")


def _resource(node: object) -> str | None:
    """The file that `x.yaml('name')` and its like read, if it is written out."""
    if isinstance(node, tree.BinaryOperator) and node.operator == "." and isinstance(node.args[1], tree.Function):
        call = node.args[1]
        if call.name in _RESOURCE_METHODS and len(call.args) == 1 and isinstance(call.args[0], tree.Constant):
            name = call.args[0].value
            if isinstance(name, str) and "." in name:
                return name
    return None


def _is_word(node: object) -> bool:
    return isinstance(node, tree.KeywordConstant)


def _undefined_class(package: Package, name: str) -> Problem:
    file = package.manifest.classes[name]
    defined = package.declarations.of_file(file, name)
    place = package.location_of(f"Classes/{file}")
    message = f"the file does not define the class {name} that the manifest says it does"
    found = ", ".join(defined) or "no class"
    return Problem(place, 1, 1, message, name, found, "correct Name or Namespaces there, or Classes in manifest.yaml")


def _unknown_class(place: Location, name: str, package: Package, neighbours: _Neighbours) -> Problem:
    message = f"the class {name} is in neither this package nor its requirements"
    meant = spelling.close_class(name, neighbours.class_names()) if neighbours.may_hint() else None
    hint = f"did you mean {meant}? If not, " if meant else ""
    fix = f"{hint}correct the name or its prefix, or add the package that has it to Require"
    required = ", ".join(package.manifest.require) or "nothing but io.murano"
    return Problem(place.file, place.line, place.column, message, found=f"Require: {required}", fix=fix)


def _check_keys(package: Package) -> Iterator[Problem]:
    for file in dict.fromkeys(package.manifest.classes.values()):
        name = f"Classes/{file}"
        if package.manifest.kind != HEAT and name in package.names:
            try:
                yield from spelling.misspelt_keys(package.read(name), package.location_of(name))
            except SyntaxProblem:
                continue  # reported with the class


def _check_logos(package: Package) -> Iterator[Problem]:
    manifest = package.manifest
    for key, file, content in (
        ("Logo", manifest.logo or "logo.png", package.logo),
        ("Supplier.Logo", manifest.supplier_logo or "supplier_logo.png", package.supplier_logo),
    ):
        place = package.location_of(file)
        if content is None:
            if (manifest.logo if key == "Logo" else manifest.supplier_logo) != "":
                yield Problem(place, None, None, f"the image named by {key} does not exist", fix="add it")
        elif len(content) > MAX_LOGO:
            yield Problem(place, None, None, "the image is too large", f"at most {MAX_LOGO} bytes", str(len(content)))
        elif not content.startswith(_IMAGES):
            yield Problem(place, None, None, "the image is of no known kind", "PNG, JPEG or GIF", fix="convert it")


_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
