"""From Python's tracebacks and frames to MuranoPL's stacks (spec/muranopl.md §13).

Generated code carries the positions of the package's YAML, so nothing has to be recorded while a program runs.
"""

from __future__ import annotations

import builtins
import functools
from types import CodeType, FrameType, TracebackType

from dsl.errors import Frame, SyntaxProblem, Thrown
from dsl.functions import scalars


def location(frame: FrameType | None) -> str | None:
    """`file:line:column` of the innermost line of a package."""
    while frame is not None:
        found = _frame(frame, frame.f_lasti)
        if found is not None:
            return f"{found.file}:{found.line}:{found.column}"
        frame = frame.f_back
    return None


def of_traceback(traceback: TracebackType | None) -> list[tuple[Frame, bool]]:
    """The package's frames that an exception passed, outermost first; the flag marks inner functions of a method."""
    found: list[tuple[Frame, bool]] = []
    while traceback is not None:
        frame = _frame(traceback.tb_frame, traceback.tb_lasti)
        if frame is not None:
            found.append((frame, _is_inner(traceback.tb_frame.f_code)))
        traceback = traceback.tb_next
    return found


def of_callers(frame: FrameType | None) -> list[tuple[Frame, bool]]:
    """The package's frames that are running, outermost first."""
    found: list[tuple[Frame, bool]] = []
    while frame is not None:
        entry = _frame(frame, frame.f_lasti)
        if entry is not None:
            found.append((entry, _is_inner(frame.f_code)))
        frame = frame.f_back
    return found[::-1]


def stack(frames: list[tuple[Frame, bool]]) -> tuple[Frame, ...]:
    """One entry per running method: a branch or lambda tells only where its method stands."""
    result: list[Frame] = []
    for frame, inner in frames:
        if inner and result and (result[-1].method, result[-1].type) == (frame.method, frame.type):
            result[-1] = frame
        else:
            result.append(frame)
    return tuple(result)


def as_thrown(error: BaseException) -> Thrown:
    """Any Python exception as what package code can catch; the same object if it is that already."""
    if isinstance(error, Thrown):
        return error
    if isinstance(error, SyntaxProblem):
        thrown = Thrown(error.name, str(error))
    else:
        thrown = Thrown(_python_name(type(error)), scalars.error_text(error))
    thrown.__cause__ = error
    thrown.__traceback__ = error.__traceback__
    return thrown


def _python_name(kind: type) -> str:
    if getattr(builtins, kind.__name__, None) is kind:
        return kind.__name__
    return f"{kind.__module__}.{kind.__name__}"


def _is_inner(code: CodeType) -> bool:
    return "." in code.co_qualname


def _frame(frame: FrameType, instruction: int) -> Frame | None:
    cls = frame.f_globals.get("_murano_class")
    if cls is None:
        return None
    code = frame.f_code
    method = cls.code.bodies.get(code.co_qualname.partition(".")[0])
    if method is None:
        return None
    line, end_line, column, end_column = _positions(code)[instruction // 2]
    line = line or frame.f_lineno or 0
    start = (line, (column or 0) + 1)
    text = cls.code.segments[method].parts.instructions.get(start, "block construct")
    file = code.co_filename
    return Frame(text, file, *start, end_line or line, (end_column or 0) + 1, method, cls.name)


@functools.lru_cache(maxsize=2000)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(code.co_positions())
