"""From a package's class to its code: read and compiled once for all programs, found again by content."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from dsl.compiler import ClassCode, compile_class
from dsl.compiler.expressions import Lazy
from dsl.errors import NoClassFound, SyntaxProblem
from dsl.functions import FunctionTable
from dsl.packages import ClassDeclaration, Namespaces, read_declarations
from dsl.runtime.builtin import DECLARATIONS
from dsl.runtime.cache import CodeCache
from dsl.runtime.classes import MuranoClass
from dsl.runtime.functions import CORE_FUNCTIONS, FUNCTIONS, LAZY
from dsl.runtime.packages import LoadedPackage
from dsl.syntax import Location


class Signatures:
    """What the compiler needs to know of the functions that code of one package sees."""

    def __init__(self, table: FunctionTable, host: frozenset[str], is_core: bool) -> None:
        self._table = table
        self._host = host
        self._core = is_core

    def function(self, name: str) -> Lazy | None:
        if name in LAZY:
            return LAZY[name].__contains__
        if name in FUNCTIONS or name in self._host or (self._core and name in CORE_FUNCTIONS):
            return None
        found = self._table.function(name)
        return found.lazy if found is not None else None

    def method(self, name: str) -> Lazy | None:
        if name in LAZY:
            return LAZY[name].__contains__
        found = self._table.method(name)
        return found.lazy if found is not None else None

    def has_function(self, name: str) -> bool:
        if name in FUNCTIONS or name in self._host or (self._core and name in CORE_FUNCTIONS):
            return True
        return self._table.function(name) is not None

    def operator(self, name: str) -> Lazy | None:
        return self._table.operator(name).lazy


@dataclass(frozen=True)
class Source:
    """What decides a class's code: content, the name under which its files are shown, the functions it sees."""

    digest: str
    label: str
    name: str
    table: FunctionTable
    host: frozenset[str]
    is_core: bool
    package: LoadedPackage = field(compare=False)
    cache: CodeCache | None = field(compare=False, default=None)

    @property
    def key(self) -> tuple[object, ...]:
        """The same for another process: functions by the format that brings them."""
        return (self.digest, self.label, self.name, self.package.format_version, sorted(self.host), self.is_core)


@functools.lru_cache(maxsize=4000)
def compiled(source: Source) -> ClassCode:
    """The class's code; neither read nor compiled again for another program, or another opening of the same package."""
    cache = source.cache if source.digest else None
    found = cache.get(source.key) if cache is not None else None
    if found is not None:
        return found
    declaration = _declaration(source.package, source.name)
    code = compile_class(declaration, Signatures(source.table, source.host, source.is_core))
    if cache is not None:
        cache.put(source.key, code)
    return code


def raw(cls: MuranoClass) -> ClassDeclaration:
    """A class's declaration as its file has it, with contracts, defaults and bodies."""
    return _declaration(cls.package, cls.name)


def _declaration(package: LoadedPackage, name: str) -> ClassDeclaration:
    place = package.file_of(name)
    if package.package is None or place is None:
        return _synthetic(name)
    file, reader = place
    found = package.package.declarations.of_file(file, reader).get(name)
    if found is None:
        message = f'Class "{name}" is not found in {package.name}/{package.version}: {file} does not define it'
        raise NoClassFound(message)
    if isinstance(found, SyntaxProblem):
        raise SyntaxProblem(found.problem, found.name)  # its own would keep every caller's frames
    return found


@functools.lru_cache(maxsize=200)
def _synthetic(name: str) -> ClassDeclaration:
    """The declaration of a class that only the host implements."""
    for declaration in read_declarations(DECLARATIONS, "<io.murano>", ""):
        if declaration.name == name:
            return declaration
    extends = () if name == "io.murano.Object" else ("io.murano.Object",)
    place = Location(f"<{name}>", 1, 1, 1, 1)
    return ClassDeclaration(name, Namespaces(), extends, "Class", {}, {}, (), (), "One", ("All",), False, place)
