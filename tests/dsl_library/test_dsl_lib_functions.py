"""The function library: exact results, exact refusals, and what hostile arguments meet."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.errors import CollectionTooLarge, LimitExceeded, MemoryQuotaExceeded, Thrown
from dsl.functions import FunctionLimits, table
from dsl.functions.values import NO_VALUE, FrozenDict, FrozenSet, MappingRule, freeze, thaw

NEW = table("1.4")
OLD = table("1.0")


def f(name: str, *args: Any, **kwargs: Any) -> Any:
    function = NEW.function(name)
    assert function is not None, name
    return freeze(function(*args, **kwargs))


def m(name: str, *args: Any, **kwargs: Any) -> Any:
    method = NEW.method(name)
    assert method is not None, name
    return freeze(method(*args, **kwargs))


def old(name: str, *args: Any, **kwargs: Any) -> Any:
    function = OLD.function(name)
    assert function is not None, name
    return freeze(function(*args, **kwargs))


def op(name: str, *args: Any) -> Any:
    return freeze(NEW.operator(name)(*args))


def names_of(call: Callable[[], Any]) -> str:
    with pytest.raises(Thrown) as caught:
        freeze(call())
    return caught.value.names[0].rpartition(".")[2]


D = FrozenDict


# Values


def test_values_are_immutable_hashable_and_compare_by_content() -> None:
    value = freeze({"a": [1, {"b": {2, 3}}]})
    assert value == {"a": (1, {"b": frozenset({2, 3})})}
    assert {value: 1}[freeze({"a": [1, {"b": {3, 2}}]})] == 1
    for change in (lambda: value.update(x=1), lambda: value.pop("a"), lambda: value.__setitem__("a", 1)):
        with pytest.raises(TypeError):
            change()
    assert thaw(value) == {"a": [1, {"b": [2, 3]}]}


def test_sets_are_walked_in_the_order_of_insertion_whatever_the_hashes() -> None:
    words = [f"word{number}" for number in range(50)]
    ordered = FrozenSet(reversed(words))
    assert list(ordered) == list(reversed(words))
    assert list(ordered.union(["zz", "word1"])) == [*reversed(words), "zz"]
    assert list(ordered.difference(words[1:])) == ["word0"]
    assert ordered == frozenset(words)
    assert hash(ordered) == hash(frozenset(words))


def test_keys_become_a_set_and_values_a_list_once_stored() -> None:
    assert type(m("keys", D(b=1, a=2))) is FrozenSet
    assert list(m("keys", D(b=1, a=2))) == ["b", "a"]
    assert m("values", D(b=1, a=2)) == (1, 2)


# Operators


@pytest.mark.parametrize(
    ("operator", "left", "right", "result"),
    [("+", 1, 2.5, 3.5), ("+", "a", "b", "ab"), ("+", (1,), (2,), (1, 2)), ("+", D(a=1), D(a=2, b=3), D(a=2, b=3)),
     ("-", FrozenSet("ab"), FrozenSet("b"), FrozenSet("a")), ("*", "ab", 2, "abab"), ("*", 2, (1,), (1, 1)),
     ("/", -7, 2, -4),
     ("/", 7.0, 2, 3.5), ("mod", 7, 3, 1), ("<", None, 1, True), ("<", None, None, False), ("<=", None, None, True),
     (">", 1, None, True), ("<=", "a", "b", True), ("in", "b", "abc", True), ("in", 2, (1, 2), True),
     ("=", 1, True, True),
     ("=", (1, 2), (1, 2.0), True), ("!=", "1", 1, True), ("=~", "abc", "b.", True), ("!~", "abc", "^b", True),
     ("#indexer", (1, 2, 3), -1, 3), ("#indexer", D(a=1), "a", 1)],
)  # fmt: skip
def test_operators(operator: str, left: Any, right: Any, result: Any) -> None:
    assert op(operator, left, right) == result


@pytest.mark.parametrize(
    ("operator", "left", "right"),
    [("+", "a", 1), ("+", True, 1), ("<", "x", 1), ("<", True, 1), ("in", "a", D(a=1)), ("#indexer", "abc", 0),
     ("-", "a", "b"),
     ("#indexer", None, 0), ("+", None, 1), ("unary -", "a", NO_VALUE)],
)  # fmt: skip
def test_operators_refuse_mixed_operands(operator: str, left: Any, right: Any) -> None:
    operands = (left,) if right is NO_VALUE else (left, right)
    assert names_of(lambda: op(operator, *operands)) == "NoMatchingFunctionException"


def test_dates_and_spans_work_through_the_library() -> None:
    day = f("datetime", 2020, 2, 28)
    assert op("+", day, f("timespan", days=2)).day == 1
    assert op("-", f("datetime", 2020, 3, 1), day) == datetime.timedelta(days=2)
    assert op("<", day, f("datetime", 2020, 3, 1))
    assert m("format", day, "%d.%m.%Y") == "28.02.2020"
    year = NEW.property("year")
    assert year is not None
    assert year(day) == 2020


def test_missing_keys_and_indexes_are_errors_by_their_python_names() -> None:
    with pytest.raises(KeyError):
        op("#indexer", D(a=1), "b")
    with pytest.raises(IndexError):
        op("#indexer", (1,), 5)
    assert op("#indexer", D(a=1), "b", 7) == 7
    with pytest.raises(ZeroDivisionError):
        op("/", 1, 0)


# Functions


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [("toUpper", ("ab",), "AB"), ("trim", (" a ",), "a"), ("split", ("a,b", ","), ("a", "b")),
     ("join", (("a", 1, None), "-"), "a-1-null"),
     ("join", ("-", ("a", "b")), "a-b"), ("replace", ("aab", "a", "x"), "xxb"),
     ("replace", ("ab", D(a=1, b=None)), "1null"),
     ("substring", ("abcd", 1, 2), "bc"), ("startsWith", ("abc", "x", "a"), True), ("len", ("abc",), 3),
     ("len", (D(a=1),), 1),
     ("first", ((1, 2),), 1), ("last", ((1, 2),), 2), ("first", ((), 9), 9), ("sum", ((1, 2),), 3),
     ("max", ((1, 3, 2),), 3),
     ("take", ((1, 2, 3), 2), (1, 2)), ("skip", ((1, 2, 3), 2), (3,)), ("append", ((1,), 2, 3), (1, 2, 3)),
     ("distinct", ((1, 2, 1),), (1, 2)), ("reverse", ((1, 2),), (2, 1)), ("flatten", ((1, (2, (3,))),), (1, 2, 3)),
     ("get", (D(a=1), "b"), None), ("set", (D(a=1), "b", 2), D(a=1, b=2)), ("delete", (D(a=1, b=2), "a"), D(b=2)),
     ("delete", ((1, 2, 3), 1), (1, 3)), ("containsKey", (D(a=1), "a"), True), ("insert", ((1, 3), 1, 2), (1, 2, 3)),
     ("indexOf", ((5, 6), 6), 1), ("indexOf", ("abc", "c"), 2), ("zip", ((1, 2), (3, 4)), ((1, 3), (2, 4))),
     ("mergeWith", (D(a=D(x=1), l=(1,)), D(a=D(y=2), l=(1, 2))), D(a=D(x=1, y=2), l=(1, 2))),
     ("union", (FrozenSet((2,)), FrozenSet((1,))), FrozenSet((1, 2))), ("enumerate", (("a",),), ((0, "a"),)),
     ("base64encode", ("hé",), "aMOp"), ("base64decode", ("aMOp",), "hé")],
)  # fmt: skip
def test_methods_in_daily_use(name: str, arguments: tuple, result: Any) -> None:
    assert m(name, *arguments) == result


def test_lambdas_get_the_item_first_and_may_be_lazy() -> None:
    assert m("where", (1, 2, 3), lambda d=0, *r: d > 1) == (2, 3)
    assert m("toDict", ("a", "b"), lambda d=0, *r: d, lambda d=0, *r: d + "!") == D(a="a!", b="b!")
    assert m("aggregate", (1, 2, 3), lambda d=0, *r: d * r[0]) == 6
    assert m("groupBy", (1, 2, 3), lambda d=0, *r: d % 2) == ((1, (1, 3)), (0, (2,)))
    rows = (D(a=2, b=1), D(a=1, b=2), D(a=1, b=3))
    ordered = NEW.method("orderBy")(rows, lambda d=0, *r: d["a"])  # type: ignore[misc]
    assert [row["b"] for row in m("thenByDescending", ordered, lambda d=0, *r: d["b"])] == [3, 2, 1]
    assert f("switch", MappingRule(lambda *a: False, lambda *a: 1 / 0), MappingRule(lambda *a: True, lambda *a: 2)) == 2
    assert f("coalesce", lambda *a: None, lambda *a: 5, lambda *a: 1 / 0) == 5
    assert m("any", (1, 2), lambda d=0, *r: d == 1 or 1 / 0)
    lazy = {name: NEW.method(name) for name in ("where", "len", "toDict")}
    assert [function.lazy(1) for function in lazy.values() if function] == [True, False, True]


@pytest.mark.parametrize(
    ("call", "name"),
    [(lambda: m("where", 5, lambda *a: True), "NoMatchingMethodException"), (lambda: m("first", ()), "StopIteration"),
     (lambda: m("single", (1, 2)), "StopIteration"), (lambda: f("len", None), "NoMatchingFunctionException"),
     (lambda: m("select", D(a=1), lambda *a: 1), "NoMatchingMethodException"), (lambda: f("regex", "("), "error"),
     (lambda: m("assert", 5, lambda d=0, *r: d > 30), "AssertionError"), (lambda: m("base64decode", "a"), "Error")],
)  # fmt: skip
def test_refusals_have_the_names_packages_catch(call: Callable[[], Any], name: str) -> None:
    assert names_of(call) == name


def test_conversions_follow_yaml_for_str_and_python_inside_collections() -> None:
    assert [f("str", value) for value in (None, True, 5, (1, "a", None))] == ["null", "true", "5", "(1, 'a', None)"]
    assert (f("int", None), f("int", " 7 "), f("int", 3.9), f("bool", "false")) == (0, 7, 3, True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_texts_of_collections_are_pythons(value: Any) -> None:
    frozen = freeze(value)
    if isinstance(frozen, tuple):
        assert f("str", frozen) == str(frozen)


def test_what_exists_only_in_the_first_formats() -> None:
    assert old("toLower", "AB") == "ab"
    assert old("join", ("a", "b"), ",") == "a,b"
    assert old("substr", "abc", 1, 1) == "b"
    assert old("tuple", 1, 2) == (1, 2)
    assert NEW.function("toLower") is None
    assert NEW.function("tuple") is None
    assert OLD.operator("in")("a", D(a=1)) is True
    assert freeze(OLD.operator("#indexer")(D(a=1), lambda *a: "b")) == ("a",)
    assert freeze(OLD.operator("#indexer")((5, 6), lambda *a: 1)) == 6
    assert OLD.function("list")(1) != (1,)  # type: ignore[misc]
    select = OLD.method("select")
    assert select is not None
    assert freeze(select(D(a=1), lambda d=0, *r: d)) == ("a",)
    with pytest.raises(CollectionTooLarge):
        old("range", 2)


def test_the_whole_standard_library_is_there() -> None:
    functions = """list dict set range sequence generate generateMany concat str hex characters escapeRegex regex int
    float
        bool abs round pow sign max min bitwiseAnd bitwiseOr bitwiseXor bitwiseNot shiftBitsLeft shiftBitsRight
        isInteger
        isNumber isBoolean isString isDict isList isSet isIterable isRegex switch selectCase selectAllCases examine
        coalesce datetime timespan localtz utctz isDatetime isTimespan format bind patch base64encode base64decode"""
    methods = """toList toSet toDict flatten get keys values items containsKey containsValue set delete deleteAll
    mergeWith
        insert insertMany replace replaceMany contains indexOf lastIndexOf union intersect difference
        symmetricDifference
        add remove where filter select map selectMany skip take limit skipWhile takeWhile append distinct enumerate
        any all
        count len sum min max first last single aggregate reduce accumulate orderBy orderByDescending thenBy
        thenByDescending groupBy join zip zipLongest reverse slice sliceWhere splitAt splitWhere indexWhere
        lastIndexWhere
        repeat cycle defaultIfEmpty memorize toLower toUpper trim trimLeft trimRight split rightSplit replaceBy
        substring
        startsWith endsWith matches toCharArray norm isEmpty search searchAll switchCase assert format bind patch"""
    assert [name for name in functions.split() if NEW.function(name) is None] == []
    assert [name for name in methods.split() if NEW.method(name) is None] == []


# format and bind


def test_format_fills_in_places_as_python_does() -> None:
    assert m("format", "{0} {1} {x} {{}}", None, True, x=(1, "a")) == "None True (1, 'a') {}"
    assert f("format", "{}-{:>5}-{:.2f}-{:{}}", "a", "b", 1.234, 7, 3) == "a-    b-1.23-  7"
    with pytest.raises(IndexError):
        m("format", "{} {}", 1)
    with pytest.raises(KeyError):
        m("format", "{x}")


class Secret:
    """A host's object that must stay opaque."""

    password = "hunter2"

    def __format__(self, specification: str) -> str:
        return self.password

    def __str__(self) -> str:
        return "<secret>"


@pytest.mark.parametrize(
    "template",
    ["{0.password}", "{0[password]}", "{0.__class__}", "{x.__init__.__globals__}", "{0!x}", "{0:{0.password}}",
     "{ 0}", "{0 }",
     "{0.}", "{.a}", "{[a]}", "{0:{1:{2}}}", "{", "}", "{0", "{:{}{}}"],
)  # fmt: skip
def test_format_reaches_no_attribute_and_no_index(template: str) -> None:
    with pytest.raises((ValueError, KeyError, IndexError, TypeError)) as caught:
        m("format", template, Secret(), x=Secret())
    assert "hunter2" not in str(caught.value)


def test_format_never_calls_a_format_method_of_the_host() -> None:
    assert m("format", "{0} {0!s} {0!r}", Secret()) == "<Secret> <Secret> <Secret>"
    with pytest.raises(TypeError):
        m("format", "{0:>20}", Secret())


def test_bind_replaces_values_with_their_type_and_places_with_their_text() -> None:
    assert f("bind", D({"$a": "$b", "x": ("${a}-${b}", "$q", "plain", 5)}), D(a="k", b=None, q=(1, 2))) == {
        "k": "$b",
        "x": ("k-$None", (1, 2), "plain", 5),
    }
    with pytest.raises(KeyError):
        f("bind", "$missing", D())


# Limits


@pytest.mark.parametrize(
    "call",
    [lambda: op("*", "x", 10**9), lambda: op("*", 10**9, (1,)), lambda: f("pow", 10, 10**9),
     lambda: f("shiftBitsLeft", 1, 10**12),
     lambda: m("replace", "a" * 100_000, "a", "b" * 100_000), lambda: m("join", ("b" * 300_000,) * 5, ","),
     lambda: m("format", "{:>1000000000}", 1), lambda: m("format", "{:.999999999f}", 1.5), lambda: op("+",
     "x" * 400_000, "x" * 400_000),
     lambda: m("toCharArray", "x" * 400_000), lambda: f("bind", "$" + "{a}" * 1000, D(a="x" * 10_000))],
)  # fmt: skip
def test_huge_results_are_refused_before_they_are_built(call: Callable[[], Any]) -> None:
    started = time.process_time()
    with pytest.raises(MemoryQuotaExceeded):
        call()
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "call",
    [lambda: m("len", f("range", 3000)), lambda: freeze(NEW.function("sequence")()),
     lambda: freeze(NEW.method("cycle")((1,))),  # type: ignore[misc]
     lambda: m("toList", NEW.method("repeat")(1)),
     lambda: m("select", tuple(range(2001)), lambda *a: 1),  # type: ignore[misc]
     lambda: f("generate", 0, lambda *a: True, lambda *a: 1),
     lambda: m("sum", NEW.function("range")(10**12))],  # type: ignore[misc]
)  # fmt: skip
def test_endless_collections_end_at_the_limit(call: Callable[[], Any]) -> None:
    with pytest.raises(CollectionTooLarge):
        call()


def test_limits_can_be_set() -> None:
    wide = table("1.4", FunctionLimits(iterators=10_000))
    select = wide.method("select")
    assert select is not None
    assert sum(1 for _ in select(tuple(range(5000)), lambda d=0, *r: d)) == 5000


def test_values_that_share_parts_do_not_explode_when_written_out() -> None:
    value: tuple = (1,)
    for _ in range(60):
        value = (value, value)
    with pytest.raises(MemoryQuotaExceeded):
        f("str", value)


@pytest.mark.parametrize("pattern", ["(a|a)*$", "(.*)*b$x", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
@pytest.mark.parametrize("keywords", [False, True])
def test_catastrophic_patterns_end_in_time(pattern: str, keywords: bool) -> None:
    quick = table("1.4", FunctionLimits(regex_seconds=0.2)).method("matches")
    assert quick is not None
    text = "a" * 5000 + "!"
    started = time.process_time()
    try:
        result: object = quick(text, regexp=pattern) if keywords else quick(text, pattern)
    except LimitExceeded as error:
        result = error.limit
    assert result in (False, "regex_seconds")
    assert time.process_time() - started < 10


def test_patterns_search_split_and_replace() -> None:
    digits = f("regex", "(?P<d>[0-9])+")
    assert m("search", digits, "a12b") == "12"
    assert m("search", digits, "a12b", lambda d=0, *r: (d["start"], r[0]["value"])) == (1, "2")
    assert m("searchAll", digits, "1a22") == ("1", "22")
    assert m("replaceBy", digits, "a1b2", lambda d=0, *r: "<" + d["value"] + ">") == "a<1>b<2>"
    assert m("split", "a1b", f("regex", "[0-9]")) == ("a", "b")
    assert m("matches", "AB", f("regex", "b", ignoreCase=True)._compiled.pattern.upper()) is True
    assert f("isRegex", digits)


def bomb() -> tuple:
    """A small value that is 2**60 items when shared parts are counted each time."""
    value: tuple = (1,)
    for _ in range(60):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    "use",
    [
        lambda: op("=", bomb(), bomb()),
        lambda: op("!=", bomb(), bomb()),
        lambda: op("in", bomb(), (bomb(),)),
        lambda: op("#indexer", D(a=1), bomb()),
        lambda: f("set", bomb()),
        lambda: f("dict", MappingRule(bomb(), 1)),
        lambda: m("toSet", (bomb(),)),
        lambda: m("distinct", (bomb(), bomb())),
        lambda: m("get", D(a=1), bomb()),
        lambda: m("containsValue", D(a=bomb()), bomb()),
        lambda: m("indexOf", (bomb(),), bomb()),
        lambda: m("groupBy", (1, 2), lambda *a: bomb()),
        lambda: m("toDict", (1,), lambda *a: bomb()),
        lambda: m("mergeWith", D(a=(bomb(),)), D(a=(bomb(),))),
        lambda: m("lastIndexOf", (bomb(),), bomb()),
        lambda: f("str", bomb()),
    ],
)
def test_values_that_share_parts_are_not_walked_for_ever(use: Callable[[], Any]) -> None:
    with pytest.raises(MemoryQuotaExceeded):
        use()


def test_every_function_that_makes_more_than_it_got_keeps_the_limit() -> None:
    big = tuple(range(1500))
    for call in (
        lambda: m("append", big, *big),
        lambda: m("concat", big, big),
        lambda: m("selectMany", big, lambda d=None, *r: (d, d)),
        lambda: m("flatten", (big, big)),
        lambda: m("join", big[:50], big[:50], lambda *a: True, lambda d=None, *r: d),
        lambda: f("list", NEW.function("range")(1500), NEW.function("range")(3000)),  # type: ignore[misc]
    ):
        with pytest.raises(CollectionTooLarge):
            call()
    wide = table("1.4", FunctionLimits(iterators=9000))
    select, ranged = wide.method("select"), wide.function("range")
    assert select is not None
    assert ranged is not None
    assert len(freeze(select(ranged(5000), lambda d=None, *r: d))) == 5000
