"""Generated code in pieces: one of a class's own level, one for each method that is made when it is first called.

Most methods of most classes are never called by a deployment, so neither Python's compiler nor the linker sees them. A
segment that was read from a compile cache keeps its bytes until then.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType

from dsl.compiler import emit
from dsl.compiler.unit import Site, Unit
from dsl.errors import Problem, SyntaxProblem
from dsl.syntax import Location


@dataclass(frozen=True)
class Parts:
    """What linking needs of a piece of code: itself, its constants, its link sites, and texts for stack traces."""

    code: CodeType
    constants: Mapping[str, object]
    sites: Mapping[str, Site]
    instructions: Mapping[tuple[int, int], str]  # (line, column) -> text


_MAKING = threading.RLock()  # making one may need another


class Segment:
    """A piece of code, made at the first need, by one thread at a time: making it uses up the unit it is made of."""

    __slots__ = ("_make", "_parts")

    def __init__(self, make: Callable[[], Parts]) -> None:
        self._make: Callable[[], Parts] | None = make
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """The code. Raises SyntaxProblem if Python can not compile it."""
        if self._parts is None:
            with _MAKING:
                if self._parts is None:  # no other thread has made it since
                    assert self._make is not None
                    self._parts = self._make()
                    self._make = None
        return self._parts


def compiled(unit: Unit, location: Location, renamed: Mapping[str, str]) -> Parts:
    """The unit's code as Python's compiler gives it; functions in `renamed` get the names that the package knows."""
    if not unit.body:
        return Parts(_NOTHING.replace(co_filename=location.file), unit.constants, unit.sites, unit.instructions)
    module = ast.Module(unit.body, [])
    emit.at(location, module)
    try:
        code = compile(module, location.file, "exec", dont_inherit=True)
    except (SyntaxError, RecursionError) as error:  # Python allows twenty loops and Trys inside each other
        message = f"the class {unit.type_name} can not be compiled: {getattr(error, 'msg', error)}"
        fix = "split the method whose blocks are nested deepest"
        line = getattr(error, "lineno", None) or location.line
        raise SyntaxProblem(Problem(location.file, line, None, message, fix=fix)) from error
    unit.body = []
    return Parts(_renamed(code, renamed), unit.constants, unit.sites, unit.instructions)


_NOTHING = compile("", "", "exec", dont_inherit=True)


def _renamed(code: CodeType, bodies: Mapping[str, str]) -> CodeType:
    """Bodies under the names that the package gives them, for profilers; `co_qualname` keeps ours."""
    constants = tuple(
        each.replace(co_name=bodies[each.co_name]) if isinstance(each, CodeType) and each.co_name in bodies else each
        for each in code.co_consts
    )
    return code.replace(co_consts=constants)
