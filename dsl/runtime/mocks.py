"""Mocks for tests: `inject`, `withOriginal`, `originalMethod` (spec/muranopl.md §24).

A mock replaces one method for receivers of one class, by name and in all versions, until `clear`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dsl.errors import AmbiguousMethodCall, NoFunctionRegistered, NoMatchingFunction, NoMethodFound
from dsl.functions.values import freeze
from dsl.runtime.classes import Method, MuranoClass
from dsl.runtime.machine import innermost
from dsl.runtime.objects import object_of

if TYPE_CHECKING:
    from dsl.runtime.linking import Linker

Call = Callable[..., Any]


class Mocks:
    """The mocks of one program."""

    def __init__(self, linker: Linker) -> None:
        self._linker = linker
        self._mocks: dict[tuple[str, str], list[Call]] = {}
        self._running: list[Callable[[], Any]] = []  # the real calls behind the mocks that are being evaluated
        self._callers: list[Any] = []  # frames of the code that called the mocked methods

    def clear(self) -> None:
        """Forget all mocks."""
        if self._mocks:
            self._mocks.clear()
            self._linker.forget_tables()

    def inject(self, cls: MuranoClass, target: Any, method_name: str, *replacement: Any) -> None:
        """Replace a method: by a method of an object (object, name), or by an expression (a closure)."""
        if not self._linker.program.runtime.mocks:
            raise NoFunctionRegistered('Unknown function "inject": only tests of packages can replace methods')
        found = object_of(target)
        target_cls = found.cls if found is not None else self._linker.program.resolve_type(cls, target, None)
        method = target_cls.find_method(method_name)
        if method is None:
            raise NoMethodFound(f'Method "{method_name}" is not found')
        if len(replacement) == 2:
            mock = self._by_method(cls, *replacement)
        elif len(replacement) == 1 and callable(replacement[0]):
            mock = self._by_expression(cls, method, replacement[0])
        else:
            raise NoMatchingFunction('No function "inject" matches supplied arguments')
        self._mocks.setdefault((target_cls.name, method_name), []).append(mock)
        self._linker.forget_tables()

    def find(self, method: Method, receiver_cls: MuranoClass) -> Call | None:
        """The mock for a method called on receivers of exactly a class."""
        mocks = self._mocks.get((receiver_cls.name, method.name)) if self._mocks else None
        if mocks is None:
            return None
        if len(mocks) > 1:
            name = method.name

            def ambiguous(*arguments: Any, **keywords: Any) -> Any:
                raise AmbiguousMethodCall(f'Method "{name}" has more than one mock')

            return ambiguous
        return mocks[0]

    def _by_method(self, cls: MuranoClass, mock: Any, name: str) -> Call:
        method = cls.find_method(name)
        if method is None:
            raise NoMethodFound(f'Method "{name}" is not found')
        dispatch = self._linker.dispatch_of(cls)

        def call(receiver: Any, *arguments: Any, **named: Any) -> Any:
            return dispatch.direct(method)(mock, *arguments, **named)

        return call

    def _by_expression(self, cls: MuranoClass, method: Method, expression: Call) -> Call:
        dispatch = self._linker.dispatch_of(cls)

        def call(receiver: Any, *arguments: Any, **named: Any) -> Any:
            self._callers.append(innermost(sys._getframe(1)))
            self._running.append(lambda: dispatch.direct(method)(receiver, *arguments, **named))
            try:
                return freeze(expression(*_shifted(expression, arguments)))
            finally:
                self._running.pop()
                self._callers.pop()

        return call

    def call_original(self) -> Any:
        """`originalMethod()`"""
        if not self._running:
            raise NoMatchingFunction('No function "originalMethod" matches supplied arguments')
        return self._running[-1]()

    def in_callers_scope(self, function: Call, names: tuple[str, ...]) -> Any:
        """Evaluate one `withOriginal` value with the locals of the code that called the mocked method."""
        frame = self._callers[-1] if self._callers else None
        if frame is None:
            raise NoMatchingFunction('No function "withOriginal" matches supplied arguments')
        local = frame.f_locals
        return freeze(function(local.get("this"), *(local.get(name) for name in names)))


def _shifted(expression: Call, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """`$` keeps its meaning, the call's arguments are `$2`, `$3` ..."""
    defaults = expression.__defaults__ or (None,)
    return (defaults[0], *arguments)
