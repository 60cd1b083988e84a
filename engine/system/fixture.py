"""io.murano.test.TestFixture: assertions for tests written in MuranoPL. spec/core-library §7, spec/muranopl §24."""

from __future__ import annotations

import dsl

MISMATCH = "testtools.matchers._impl.MismatchError"  # the name packages know


@dsl.native
class TestFixture:
    __test__ = False  # no test class of pytest's

    def __init__(self, this: dsl.ObjectHandle) -> None:
        self._this = this

    @dsl.method
    def load(self, model: dict) -> object:
        """Loads a model as the service stores it, {"Objects": ...}, or one object of it, described as there or as in
        code, and returns its root object.
        """
        return self._this.load(model if "Objects" in model else {"Objects": model})

    @dsl.method
    def start_env(self) -> None:
        """Nothing to start: pushes and agents are effects, carried out when they are performed."""

    @dsl.method
    def finish_env(self) -> None:
        """Nothing is left pending at the end, for the same reason."""

    @dsl.method
    def assert_equal(self, expected: object, observed: object, message: str | None = None) -> None:
        if expected != observed:
            raise _mismatch(f"{expected!r} != {observed!r}", message)

    @dsl.method
    def assert_in(self, needle: object, haystack: object, message: str | None = None) -> None:
        if not _contains(haystack, needle):
            raise _mismatch(f"{needle!r} not in {haystack!r}", message)

    @dsl.method
    def assert_not_in(self, needle: object, haystack: object, message: str | None = None) -> None:
        if _contains(haystack, needle):
            raise _mismatch(f"{haystack!r} matches Contains({needle!r})", message)

    @dsl.method
    def assert_true(self, expr: object, message: str | None = None) -> None:
        if not expr:
            raise AssertionError(message or f"{expr!r} is not true")

    @dsl.method
    def assert_false(self, expr: object, message: str | None = None) -> None:
        if expr:
            raise AssertionError(message or f"{expr!r} is not false")


def _contains(haystack: object, needle: object) -> bool:
    if isinstance(haystack, str):
        return isinstance(needle, str) and needle in haystack
    return needle in haystack if isinstance(haystack, list | tuple | dict | set | frozenset) else False


def _mismatch(text: str, message: str | None) -> dsl.SystemFailure:
    return dsl.SystemFailure((MISMATCH,), f"{text}: {message}" if message else text)
