"""What the compiler collects while it compiles a class or a method: constants, link sites, temporary names, positions.

Generated code reaches the outside only through *sites*: global names that the runtime fills in when it links the class
for one program (a property getter, a library function, a type reference ...). So code objects can be shared by all
programs, and there is no way for generated code to name anything the runtime did not hand over.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace

from dsl.compiler import emit
from dsl.errors import Problem, SyntaxProblem
from dsl.functions.values import freeze
from dsl.syntax import Expression, Location, Mapping, Sequence

MAX_PLACES = 10_000  # statements and expressions; an alias in the YAML counts as often as it is used


@dataclass(frozen=True)
class Site:
    """One thing that linking provides. `kind` names the runtime's factory, `arguments` are its arguments."""

    kind: str
    arguments: tuple[object, ...]


@dataclass
class Unit:
    """The collected parts of one segment under compilation."""

    type_name: str
    file: str
    suffix: str = ""  # of the globals' names: units of one class share their globals
    constants: dict[str, object] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    instructions: dict[tuple[int, int], str] = field(default_factory=dict)
    body: list[ast.stmt] = field(default_factory=list)
    _names: dict[Site, str] = field(default_factory=dict)
    _count: int = 0
    _placed: int = 0

    def temporary(self) -> str:
        """A Python local that no variable of the package can be called."""
        self._count += 1
        return f"t_{self._count}"

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"

    def site(self, kind: str, *arguments: object) -> ast.expr:
        """The global that linking fills with what `kind` and `arguments` describe."""
        site = Site(kind, arguments)
        if site not in self._names:
            identifier = f"_s{len(self.sites)}{self.suffix}"
            self._names[site] = identifier
            self.sites[identifier] = site
        return emit.name(self._names[site])

    def constant(self, value: object) -> ast.expr:
        """A value that never changes; scalars go into the code object, all else into a global."""
        if value is None or type(value) in (bool, int, float, str):
            return emit.const(value)
        identifier = f"_k{len(self.constants)}{self.suffix}"
        self.constants[identifier] = freeze(value)
        return emit.name(identifier)

    def place(self, location: Location, instruction: str, *nodes: ast.AST) -> None:
        """Put nodes at a place of the YAML, under the name by which a stack trace shows them."""
        self._placed += 1
        if self._placed > MAX_PLACES:
            message = f"{self.type_name} has too much code in one piece"
            problem = Problem(location.file, location.line, location.column, message)
            expected = f"at most {MAX_PLACES} statements and expressions in one method"
            raise SyntaxProblem(replace(problem, expected=expected, fix="split the method"))
        self.instructions.setdefault((location.line, location.column), instruction)
        emit.at(location, *nodes)


def is_constant(structure: object) -> bool:
    """Whether a structure of `dsl.syntax` holds no expression."""
    if isinstance(structure, Mapping):
        return all(is_constant(key) and is_constant(value) for key, value in structure.items())
    if isinstance(structure, Sequence):
        return all(is_constant(value) for value in structure)
    return not isinstance(structure, Expression)
