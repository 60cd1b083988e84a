"""Attack by attack: package code that wants the host's time or memory ends soon, in an error that says where."""

from __future__ import annotations

import threading
import time

import pytest
from dsl_attack import attempt, caught, expression, fails, is_stopped, package
from dsl_world import World

import dsl

TEXT = """
- $s: !yaql "'x' * 10000"
- $s: $s * 50
"""  # half a megabyte, as much as one text may be
MANY = (
    TEXT
    + """
- $l: [$s]
- $l: $l * 8000
"""
)  # small, and four gigabytes when it is written out

TOO_MUCH = {
    "a_power_of_two_to_the_billion": "pow(2, pow(2, 30))",
    "a_power_of_moderate_numbers": "pow(3, 2500000)",
    "a_modular_power_of_large_numbers": "pow(3, pow(7, 1500), pow(7, 1600))",
    "a_shift_by_a_billion": "shiftBitsLeft(1, 1000000000)",
    "a_product_of_large_numbers": "pow(3, 8000) * pow(3, 8000)",
    "a_text_times_a_billion": "'x' * 1000000000",
    "a_billion_times_a_text": "1000000000 * 'x'",
    "a_list_times_a_billion": "[1] * 1000000000",
    "a_place_a_billion_wide": "'{0:999999999}'.format(1)",
    "a_precision_of_a_billion": "'{0:.999999999f}'.format(1.5)",
    "a_width_that_is_an_argument": "'{0:{1}}'.format(1, 999999999)",
    "a_sum_that_is_text": "range(1900).aggregate($1 + 'x' * 500, '')",
    "a_merge_that_multiplies": "{a => [1]}.mergeWith({a => [2]}, $1 * 100000)",
    "a_patch_that_copies_itself": "{a => [1]}.patch("
    "range(40).select({op => copy, from => '/a', path => '/a/0'}).toList())",
    "nested_lists_by_a_function": "list(" * 150 + "1" + ")" * 150,
}

ENDLESS = {
    "range_of_ten_billion": "range(10000000000).toList()",
    "length_of_a_range_of_ten_billion": "range(0, 10000000000, 3).len()",
    "sum_of_ten_billion": "range(1, 10000000000).sum()",
    "skipping_nine_billion": "range(10000000000).skip(9000000000).first()",
    "taking_nine_billion": "sequence().take(9000000000).last()",
    "sequence": "sequence(1, 1).where(false).first()",
    "cycle": "[1, 2].cycle().where($ > 5).first()",
    "generator": "generate(0, true, $ + 1).last()",
    "generator_of_many": "generateMany(1, list($ + 1, $ + 2), $, true, true).where(false).last()",
    "accumulation": "sequence().accumulate($1 + $2).last()",
    "zip": "sequence().zip(sequence()).last()",
    "longest_zip": "sequence().zipLongest([1]).last()",
    "membership": "-5 in sequence()",
    "search": "sequence().indexOf(-5)",
    "groups": "sequence().groupBy($).last()",
    "slices": "sequence().sliceWhere($ < 0).last()",
    "joined_text": "sequence().select(str($)).join('')",
    "set": "sequence().toSet().len()",
    "dictionary": "sequence().toDict($).len()",
    "sorting": "sequence().orderBy($).first()",
    "distinct": "sequence().distinct().last()",
    "any": "sequence().any($ < 0)",
    "matches": "regex(a).searchAll('a' * 5000)",
    "parts_of_a_text": "regex('').split('a' * 5000)",
    "cube_of_a_range": "range(1900).selectMany(range(1900)).selectMany(range(1900)).any($ < 0)",
}

PATTERNS = {
    "alternatives_of_one_letter": "regex('(a|aa)+$').matches('a' * 50 + 'b')",
    "in_an_operator": "('a' * 50 + 'b') =~ '(a|a|aa)+$'",
    "in_a_search": "regex('(x+x+)+y').search('x' * 5000)",
    "in_a_split": "regex('(x+x+)+y').split('x' * 5000)",
    "in_a_replacement": "regex('(x+x+)+y').replace('x' * 5000, '')",
}

GROWING_TEXTS = {
    "replace": "$s.replace('x', $s)",
    "replace_of_nothing": "$s.replace('', $s)",
    "replace_by_a_dictionary": "$s.replace({x => $s})",
    "replace_by_a_pattern": "regex(x).replace($s, $s)",
    "replace_by_back_references": "regex('x+').replace($s, '\\g<0>' * 500)",
    "replace_by_a_function": "regex(x).replaceBy($s, $.value * 1000)",
    "join": "$s.join([1, 2, 3])",
    "sum": "$s + $s",
    "format": "'{0}{0}'.format($s)",
    "bind": "'${x}{x}'.bind({x => $s})",
    "base64": "base64encode($s)",
    "list_of_letters": "$s.toCharArray()",
    "string_of_a_list": "str([$s, $s])",
    "string_of_a_view": "str({a => $s, b => $s}.values())",
    "upper": "($s.replace(x, 'ß') * 2).toUpper()",
}

WRITTEN = {
    "as_the_result": "- Return: $l",
    "as_text": "- Return: str($l)",
    "as_text_of_a_view": '- Return: !yaql "str({a => $l}.values())"',
    "as_the_key_that_is_missing": '- Return: !yaql "{a => 1}[$l]"',
    "as_a_message": "- Throw: X\n  Message: $l",
    "in_the_model": "- $.p: $l",
    "as_an_attribute": "- $.setAttr(a, $l)",
    "in_an_effect": "- :Echo.say($l)",
    "in_a_template": '- Return: !yaql "dump(new(:Main, p => {a => $l}))"',
}


@pytest.mark.parametrize("text", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_value_is_refused_before_it_is_made(text: str) -> None:
    fails(package(expression(text)), "MemoryQuota")


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_ended(text: str) -> None:
    fails(package(expression(text)), "CollectionTooLarge")


@pytest.mark.parametrize("text", PATTERNS.values(), ids=PATTERNS)
def test_a_catastrophic_pattern_ends_the_program_and_can_not_be_caught(text: str) -> None:
    is_stopped(package(caught(expression(text))), "regex_seconds")


def test_a_pattern_can_not_call_itself() -> None:
    fails(package(expression("regex('(a(?R)?b|(?R))').matches('aaaa')")), "re.error")
    assert attempt(package(expression(r"regex('\\(?1[(?R]').matches('(1(')"))) is True


@pytest.mark.parametrize(
    "text",
    ["((((a{1,1000}){1,1000}){1,1000}){1,1000})", "(" * 1000 + ")" * 1000, "(?:a?){500}a", "(a*)*$", "(?:b){e<=14}"],
)
def test_a_pattern_that_is_large_when_spelled_out_costs_little(text: str) -> None:
    assert attempt(package(expression(f"regex('{text}').matches('b')"))) in (True, False)


@pytest.mark.parametrize("text", GROWING_TEXTS.values(), ids=GROWING_TEXTS)
def test_a_text_can_not_outgrow_its_limit(text: str) -> None:
    fails(package(TEXT + expression(text)), "MemoryQuota")


@pytest.mark.parametrize("body", WRITTEN.values(), ids=WRITTEN)
def test_many_references_to_one_text_are_not_written_out(body: str) -> None:
    properties = "{p: {Contract: $, Usage: Out}}"
    result = attempt(package(MANY + body, properties=properties), dump=True)
    assert isinstance(result, dsl.Thrown), result
    assert "MemoryQuota" in result.names[0] or "too large to be shown" in str(result.message), result


def test_integers_can_not_outgrow_what_can_be_saved_by_additions() -> None:
    body = "- $n: pow(2, 13990)\n- Repeat: 400\n  Do: [{$n: $n + $n}]\n- Return: $n"
    error = attempt(package(body))
    assert isinstance(error, dsl.Thrown)
    assert "MemoryQuota" in error.names[0]


def test_a_long_decimal_is_no_integer() -> None:
    fails(package(expression("int('9' * 5000)")), "ValueError")


@pytest.mark.parametrize(
    "number", ["9" * 100_000, "0b" + "1" * 100_000, "1" + ":59" * 30_000, "1" + ":59" * 5_000 + ".5"]
)
def test_a_long_number_in_yaml_is_refused_where_it_stands(number: str) -> None:
    fails(package(f"- Return: {number}"), "SyntaxError")


@pytest.mark.parametrize(
    "body",
    [
        "- $x: $y = $z",
        "- $x: $y in [$z]",
        '- $x: !yaql "{$y => 1}"',
        "- $x: set($y)",
        "- $x: !yaql '[$y, $z].distinct().toList()'",
        "- Match: {a: []}\n  Value: $y",
        "- Return: $y",
        "- Return: str($y)",
        "- Throw: X\n  Extra: {a: $y}",
        "- $.p: $y",
        "- :Echo.say($y)",
        "- Return: $y.flatten().len()",
        "- Return: dump($y)",
    ],
)
def test_a_list_doubled_sixty_times_is_refused(body: str) -> None:
    bomb = "- $y: [1]\n- $z: [1]\n- Repeat: 60\n  Do:\n    - $y: [$y, $y]\n    - $z: [$z, $z]\n"
    fails(package(bomb + body, properties="{p: {Contract: $, Usage: Out}}"), "MemoryQuota")


@pytest.mark.parametrize("step", ["{a: $x}", "{$x: 1}", "[[$x]]", "$x.append($x).toList()", "$x + $x"])
def test_values_nested_or_doubled_in_a_loop_are_refused(step: str) -> None:
    fails(package(f"- $x: [1]\n- Repeat: 100000\n  Do:\n    - $x: {step}"), "")


HOARDS = {
    "a_list_of_texts": "- $l: []\n- While: $this != null\n  Do:\n    - $l: $l + [$s + str($l.len())]",
    "objects_with_texts": "- $l: []\n- While: $this != null\n  Do:\n"
    "    - $l: $l + [new(Main, $this, p => $s + str($l.len()))]",
    "a_dictionary_by_path": "- $d: {}\n- While: $this != null\n  Do:\n    - $d[$d.len()]: $s + str($d.len())",
    "one_call_of_a_function": '- Return: !yaql "dict(range(1900).select([$, $s + str($)]))"',
    "attributes": "- $i: 0\n- While: $this != null\n  Do:\n    - $i: $i + 1\n    - $.setAttr(str($i), $s + str($i))",
}


@pytest.mark.parametrize("body", HOARDS.values(), ids=HOARDS)
def test_a_program_that_hoards_memory_is_stopped_in_the_middle(body: str) -> None:
    text = TEXT.replace("50", "40")
    limits = dsl.Limits(total=48 * 1024 * 1024)
    is_stopped(package(text + caught(body), properties="{p: {Contract: $, Default: 1}}"), "total", limits=limits)


def test_slow_steps_do_not_outrun_the_clock() -> None:
    body = '- While: $this != null\n  Do:\n    - $x: !yaql "$s.replace(x, yx).len()"'
    text = TEXT.replace("50", "20")
    is_stopped(package(text + caught(body)), "seconds", limits=dsl.Limits(seconds=0.3))


RECURSIONS = {
    "in_a_method": package("- Return: $.run()"),
    "in_finally": package(caught("- $.run()")),
    "in_a_lambda": package(expression("list(1).select($this.run()).toList()")),
    "in_a_condition": package("- If: $.run()\n  Then: []"),
    "in_a_constructor": "Name: Main\nMethods:\n  .init: {Body: [new(Main)]}\n  run: {Body: []}\n",
    "in_a_contract": package(
        "- $.f(1)", "  f:\n    Arguments: [{a: {Contract: $.int().check($this.f(2))}}]\n    Body: []\n"
    ),
    "in_an_argument's_default": package(
        "- $.f()", "  f:\n    Arguments: [{a: {Contract: $, Default: $.f()}}]\n    Body: []\n"
    ),
    "in_an_extension": "Name: Main\nImport: Main\nMethods:\n  run: {Body: [{Return: !yaql '5.more()'}]}\n"
    "  more: {Usage: Extension, Arguments: [{x: {Contract: $}}], Body: [{Return: $x.more()}]}\n",
    "in_a_static": "Name: Main\nMethods:\n  run: {Usage: Static, Body: [{Return: !yaql ':Main.run()'}]}\n",
    "by_call": package(expression("call(run, [], {}, $)")),
    "by_reflection": package(expression("typeinfo($).methods.where($.name = run).first().invoke($)")),
    "of_two_constructors": "Name: Main\nMethods:\n  .init: {Body: [new(Other)]}\n  run: {Body: []}\n---\n"
    "Name: Other\nMethods:\n  .init: {Body: [new(Main)]}\n",
}


@pytest.mark.parametrize("source", RECURSIONS.values(), ids=RECURSIONS)
def test_recursion_ends(source: str) -> None:
    is_stopped(source, "recursion")


DEFAULTS = {
    "new_in_a_default": "{a: {Contract: $, Default: new(Main)}}",
    "a_described_object_in_a_default": "{a: {Contract: $.class(Main), Default: {'?': {type: t.Main}}}}",
    "a_template_in_a_default": "{a: {Contract: $.template(Main), Default: {'?': {type: t.Main}}}}",
}


@pytest.mark.parametrize("properties", DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_that_make_their_own_class_end(properties: str) -> None:
    error = attempt(package("- Return: 1", properties=properties))
    assert isinstance(error, dsl.LimitExceeded)
    assert error.limit in ("recursion", "objects")


LOOPS = {
    "in_a_loop": "- While: $this != null\n  Do: []",
    "in_a_repeat": "- Repeat: pow(10, 30)\n  Do: []",
    "in_lambdas": "- $r: !yaql 'range(1900).toList()'\n- Return: !yaql '$r.select($r.select($r.len()).sum()).sum()'",
    "in_a_hostile_sort_key": "- $r: !yaql 'range(1900).toList()'\n"
    "- Return: !yaql '$r.orderBy($r.where($ < 0).len()).last()'",
    "in_parallel": "- Parallel: [{While: $this != null, Do: []}, {While: $this != null, Do: []}]",
    "in_a_parallel_select": "- Return: !yaql 'range(4).pselect($this.forever())'",
}
FOREVER = "  forever: {Body: [{While: $this != null, Do: []}]}\n"


@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS)
def test_no_catch_and_no_finally_outlives_the_budget_of_steps(body: str) -> None:
    is_stopped(package(caught(body), FOREVER), "steps", limits=dsl.Limits(steps=100_000))


@pytest.mark.parametrize("depth", [1, 5])
def test_a_catch_around_a_catch_around_a_limit_sees_nothing(depth: int) -> None:
    body = "- While: $this != null\n  Do: []"
    for _ in range(depth):
        body = caught(body)
    is_stopped(package(body), "steps", limits=dsl.Limits(steps=50_000))


def test_a_finally_that_never_ends_does_not_run_after_a_limit() -> None:
    body = "- Try:\n    - $.forever()\n  Finally:\n    - $.forever()"
    is_stopped(package(body, FOREVER), "steps", limits=dsl.Limits(steps=50_000))


def test_a_destructor_that_never_ends_is_stopped() -> None:
    source = package(
        "- $x: new(Other)", "---\nName: Other\nMethods:\n  .destroy: {Body: [{While: $this != null, Do: []}]}\n"
    )
    world = World(source, limits=dsl.Limits(steps=50_000)).load()
    world.call("run")
    world.program.finalize()
    (told,) = world.program.swallowed
    assert isinstance(told.error, dsl.LimitExceeded)
    assert told.error.limit == "steps"


BRANCHES = {
    "parallel_in_itself": "- Parallel: [$.run(), $.run()]",
    "parallel_select_in_itself": "- Return: !yaql '[1, 2].pselect($this.run())'",
    "parallel_selects_inside_each_other": "- Return: !yaql 'range(60).pselect(range(60).pselect(range(9).pselect($)))'",
}


@pytest.mark.parametrize("body", BRANCHES.values(), ids=BRANCHES)
def test_branches_do_not_use_up_the_host_s_threads(body: str) -> None:
    before = threading.active_count()
    error = attempt(package(body), limits=dsl.Limits(branches=100))
    assert isinstance(error, dsl.LimitExceeded)
    assert error.limit in ("branches", "recursion")
    for _ in range(100):
        if threading.active_count() <= before + 1:  # the watch may have begun
            return
        time.sleep(0.02)
    raise AssertionError(f"{threading.active_count() - before} threads are left")


def test_many_objects_are_too_many() -> None:
    body = "- While: $this != null\n  Do: [{$x: new(Main)}]"
    is_stopped(package(caught(body)), "objects", limits=dsl.Limits(objects=500))


@pytest.mark.parametrize("seconds", ["pow(10, 9)", "pow(10, 30)", "float(inf)", "float(nan)"])
def test_nobody_sleeps_for_ever(seconds: str) -> None:
    fails(package(expression(f"sleep({seconds})")), "ValueError")


@pytest.mark.parametrize("bounds", ["5, 1", "1, pow(10, 300)", "float(nan), 5"])
def test_a_senseless_random_number_is_the_author_s_error(bounds: str) -> None:
    fails(package(expression(f"random({bounds})")), "ValueError")
