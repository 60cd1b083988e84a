"""Every native function and operator gives what the yaql library gives: same values, same refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from dsl.errors import Thrown
from dsl.functions import table
from dsl.functions.operators import LIBRARY_NAMES
from dsl.functions.values import FrozenDict, FrozenSet, freeze

D = FrozenDict
VALUES: list[Any] = [None, True, 0, -1, 2, 2.5, "", "a", "ab c", (), (1, 2), ("a", "b"), ((1, 2), (3, 4)), (1, (2,)),
                     D(a=1), D({1: 2}), FrozenSet((1, 2))]  # fmt: skip
NEW, OLD = table("1.4"), table("1.0")
# Functions of which ours differ on purpose, or whose results are opaque
DIFFERENT = {"format", "bind", "patch", "base64encode", "base64decode", "regex", "search", "searchAll", "replaceBy",
             "matches", "escapeRegex", "isRegex", "characters", "str", "orderBy", "orderByDescending",
             "coalesce"}  # fmt: skip


def outcome(call: Callable[[], Any]) -> tuple[str, Any, Any]:
    try:
        value = freeze(call())
    except Thrown as error:
        return "error", error.names[0].rpartition(".")[2], None
    except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError, OverflowError, RecursionError) as error:
        return "error", type(error).__name__, None
    return "value", value, type(value)


def lazily(function: Any, arguments: tuple) -> tuple:
    """The arguments as the compiler passes them: lazy ones as functions."""

    def delayed(d: Any = None, *_rest: Any) -> Any:
        return d is not None and d != 0

    return tuple(
        delayed if function.lazy(position) and value is not None else value for position, value in enumerate(arguments)
    )


NATIVES = sorted({key for key in NEW._natives if key[0] not in DIFFERENT})


@pytest.mark.parametrize(("name", "method"), NATIVES, ids=[f"{'.' if m else ''}{n}" for n, m in NATIVES])
def test_native_functions_give_what_the_library_gives(name: str, method: bool) -> None:
    function = NEW.method(name) if method else NEW.function(name)
    assert function is not None
    for count in range(1 if method else 0, 4):
        values = VALUES if count < 3 else VALUES[::3]
        for arguments in itertools.product(values, repeat=count):
            given = lazily(function, arguments)
            ours = outcome(lambda given=given: function(*given))
            theirs = outcome(lambda given=given: NEW._bridge.call(name, method, given, {}))
            assert ours == theirs, arguments


@pytest.mark.parametrize("name", [name for name in LIBRARY_NAMES if name not in ("=~", "!~")])
@pytest.mark.parametrize("functions", [NEW, OLD], ids=["1.4", "1.0"])
def test_operators_give_what_the_library_gives(name: str, functions: Any) -> None:
    operator = functions.operator(name)
    for operands in itertools.product(VALUES, repeat=1 if name.startswith("unary") else 2):
        given = operands
        if name == "#indexer" and operator.lazy(1):
            given = (operands[0], (lambda value: lambda d=None, *r: value)(operands[1]))
        ours = outcome(lambda given=given: operator(*given))
        theirs = outcome(lambda given=given: functions._bridge.call(LIBRARY_NAMES[name], False, given, {}))
        assert ours == theirs, operands
