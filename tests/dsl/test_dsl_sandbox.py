"""Attack by attack: package code reaches nothing but values it was given (CVE-2024-29156 and all its relatives)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from dsl_attack import attempt, expression, fails, keep_secrets, package
from dsl_world import Journal

import dsl

SECRET = "hunter2"


class Vault:
    """What a careless host might hand out: an object of Python, with a secret in every corner."""

    secret = SECRET

    def __init__(self) -> None:
        self.password = SECRET

    def __repr__(self) -> str:
        return f"Vault(password={self.password!r})"

    def __getitem__(self, key: object) -> str:
        return SECRET

    def reveal(self) -> str:
        return SECRET


@dsl.native
class Host:
    """A native class with a careless method, one that fails in Python, and one that takes keyword arguments."""

    def __init__(self, this: dsl.ObjectHandle, setting: str = "default") -> None:
        self._this = this
        self.setting = setting

    @dsl.method
    def vault(self) -> Any:
        return Vault()

    @dsl.method
    def read(self) -> str:
        return Path("/etc/a-secret-path-of-the-host").read_text()

    @dsl.method
    def greet(self, first_name: str = "you") -> str:
        return f"{first_name} {self.setting}"

    def hidden(self) -> str:
        return SECRET


HOST = "---\nName: Host\nProperties: {setting: {Contract: $.string(), Default: given}}\n"


def with_host() -> Journal:
    return Journal({"t.Host": Host})


def value(text: str, *, more: str = "", **options: Any) -> Any:
    return attempt(package(expression(text), more), **options)


def gives_nothing_away(result: Any) -> None:
    text = str(result.message) if isinstance(result, dsl.Thrown) else str(result)
    assert SECRET not in text
    keep_secrets(text)


WALKS = [
    "$.__class__",
    "$.__class__.__mro__",
    "$?.__class__",
    "$.cls.globals",
    "$.native",
    "$['__class__']",
    "$.get('__class__')",
    "$.getAttr('__class__').x",
    "'x'.__class__.__base__.__subclasses__()",
    "'x'.join.__self__",
    "[].__class__",
    "{}.__class__",
    "{}.get.__globals__",
    "null.__class__",
    "(1).real",
    "1.numerator",
    "now().tzinfo",
    "now().__reduce__()",
    "now().strftime('%c')",
    "timespan(days => 1).resolution",
    "regex(a)._compiled",
    "regex(a).pattern",
    "regex(a).text",
    "list(1).select($).__next__()",
    "list(1).select($).gi_frame",
    "sequence().gi_frame.f_globals",
    "{a => 1}.items().mapping",
    "set(1)._order",
    "typeinfo($).cls",
    "typeinfo($).code",
    "typeinfo($).globals",
    "typeinfo($).package.registry",
    "typeinfo($).package.package.files",
    "typeinfo($).methods.first().entry",
    "typeinfo($).methods.first().native.function",
    "typeinfo($).methods.first().code.body",
    "typeinfo($).methods.first().invoke.__globals__",
    "typeinfo($).properties.first().transform",
    ":Main.cls",
    ":Main.__class__",
    "type($).cls.methods",
    "$.super($).object",
    "call('__getattribute__', ['__class__'], {}, $)",
    "call('.__class__', [], {}, $)",
    "call('#property#__class__', [$], {})",
    "call('#operator_.', [$, '__class__'], {})",
    "call('#call', [], {}, $)",
    "call(getattr, [$, '__class__'], {})",
    "call(eval, ['1'], {})",
    "let(x => $) -> $x.__dict__",
    "with($) -> $1.__dict__",
    "def(f, $.__class__) -> f($)",
    "[$].as($.first() => o) -> $o.__class__",
    "[$].unpack(o) -> $o.__class__",
    "[$].__class__.toList()",
    "[$].select($.__class__).toList()",
    "[$].orderBy($.__class__).toList()",
    "{a => $}.a.values",
    "dump($, Inline).keys().first().globals",
    "originalMethod().__globals__",
]


@pytest.mark.parametrize("text", WALKS)
def test_no_walk_leads_into_python(text: str) -> None:
    error = value(text)
    assert isinstance(error, dsl.Thrown), f"it gave {error!r:.200}"
    gives_nothing_away(error)


FORMATS = [
    "{0.__class__}",
    "{0.__class__.__init__.__globals__}",
    "{0[__class__]}",
    "{0[0]}",
    "{.__class__}",
    "{o.cls.globals}",
    "{o[secret]}",
    "{0!r.__class__}",
    "{0:{1.__class__}}",
    "{0:{0[0]}}",
    "{0.cls!s:>10}",
    "{__class__}",
    "{self}",
    "{limits}",
]


@pytest.mark.parametrize("text", FORMATS)
@pytest.mark.parametrize("call", ["'{}'.format($, 1, o => $)", "'{}'.format([$], {{a => $}}, o => now())"])
def test_format_of_the_cve_and_its_variants_reaches_no_attribute(text: str, call: str) -> None:
    error = value(call.replace("'{}'", f"'{text}'").replace("{{", "{").replace("}}", "}"))
    assert isinstance(error, dsl.Thrown), f"it gave {error!r:.200}"
    gives_nothing_away(error)


@pytest.mark.parametrize(
    "text", ["'${x.__class__}'.bind({x => $})", "'$x.cls'.bind({x => $})", "'%(x)s %s'.bind({x => 1})"]
)
def test_templates_of_bind_reach_no_attribute(text: str) -> None:
    gives_nothing_away(value(text))


@pytest.mark.parametrize(
    "text",
    [
        "str($)",
        "str([$, :Main, typeinfo($), typeinfo($).methods, typeinfo($).package])",
        "str(list(1 => 2))",
        "str(regex(a))",
        "str(sequence())",
        "str([1].orderBy($))",
        "str([1].select($))",
        "str({a => $}.items())",
        "str([1, 2].groupBy($).toList())",
        "str(def(f, $) -> f)",
        "'{0} {1!r}'.format($, list(1 => 2))",
        "'${x}'.bind({x => list(1 => 2)})",
        "[regex(a), list(1 => 2)].join(',')",
        "str(now()) + str(timespan(days => 1))",
        "[1, a, null, {}].orderBy($).toList()",
        "$.noSuch(list(1 => 2), regex(a))",
        "list(1 => 2).noSuch()",
        "regex('(').matches(a)",
        "{}[list(1 => 2)]",
        "int(list(1 => 2))",
    ],
)
def test_texts_and_messages_show_no_address_and_no_part_of_the_host(text: str) -> None:
    gives_nothing_away(value(text))


@pytest.mark.parametrize(
    "text",
    [
        "$h.vault().secret",
        "$h.vault().password",
        "$h.vault()?.password",
        "$h.vault()['password']",
        "$h.vault()[0]",
        "$h.vault().reveal()",
        "call(reveal, [], {}, $h.vault())",
        "str($h.vault())",
        "'{0}'.format($h.vault())",
        "'{0!r}'.format($h.vault())",
        "'{0.password}'.format($h.vault())",
        "'${x}'.bind({x => $h.vault()})",
        "[$h.vault()].join(',')",
        "str({a => $h.vault()}.values())",
        "$h.vault().noSuchMethod()",
        "{}[$h.vault()]",
        "int($h.vault())",
        "{a => $h.vault()}.patch([{op => add, path => '/a/password', value => 1}])",
        "{a => $h.vault()}.patch([{op => copy, from => '/a/password', path => '/b'}])",
        "{a => $h.vault()}.patch([{op => test, path => '/a/password', value => x}])",
        "$h.vault().password.select($)",
        "list($h.vault()).password.toList()",
        "list($h.vault()).select($.password).toList()",
        "dump($h.vault())",
        "$h.vault()",
        "$h.setting(1)",
        "$h.hidden()",
        "$h.native",
        "$h._this",
    ],
)
def test_an_object_of_the_host_that_leaks_is_opaque(text: str) -> None:
    gives_nothing_away(value(f"let(h => new(Host)) -> {text}", more=HOST, system=with_host()))


def test_a_failing_host_tells_no_path() -> None:
    error = value("new(Host).read()", more=HOST, system=with_host())
    assert isinstance(error, dsl.Thrown)
    assert "a-secret-path" not in str(error.message)
    body = "- $h: new(Host)\n- Try: [$h.read()]\n"
    body += "  Catch: {As: e, Do: [{Return: !yaql '$e.message + $e.stackTrace.toString()'}]}"
    text = attempt(package(body, HOST), system=with_host())
    assert "in method run of type t.Main" in text
    assert "a-secret-path" not in text
    gives_nothing_away(text)


@pytest.mark.parametrize(
    "keyword", ["this", "self", "_this", "__class__", "more", "named", "receiver", "function", "call"]
)
def test_keyword_arguments_do_not_inject_parameters_of_python(keyword: str) -> None:
    for text in (
        f"call(run, [], {{'{keyword}' => 5}}, $)",
        f"call(greet, [], {{'{keyword}' => 5}}, new(Host))",
        f"call(upper, ['a'], {{'{keyword}' => 5}})",
        f"call(toUpper, [], {{'{keyword}' => 5}}, 'a')",
        f"call(len, [[1]], {{'{keyword}' => 5, '__context' => 1, '__engine' => 2, 'context' => 3}})",
        f"call(new, [Host], {{'{keyword}' => 5, 'program' => 1}}).greet()",
        f"call(select, [$], {{'{keyword}' => 5}}, [1])",
        f"typeinfo($).methods.where($.name = run).first().invoke($, {keyword.strip('_')} => 5)",
    ):
        result = value(text, more=HOST, system=with_host())
        assert isinstance(result, dsl.Thrown) or result == "you given", f"{text} gave {result!r:.200}"
        gives_nothing_away(result)


@pytest.mark.parametrize(
    "name", ["5", "null", "[1]", "{a => 1}", "$", "''", "'.init'", "'.destroy'", "'#map'", "'a b'"]
)
def test_call_takes_names_of_what_can_be_called_and_nothing_else(name: str) -> None:
    for text in (f"call({name}, [], {{}})", f"call({name}, [], {{}}, $)", f"call({name}, [1, 2], {{a => 1}}, 'x')"):
        result = value(text)
        assert isinstance(result, dsl.Thrown) or result == {}, result
        assert "AttributeError" not in getattr(result, "names", ())
        gives_nothing_away(result)


EXCEPTIONS = [
    "$e.nativeException.error",
    "$e.nativeException.__traceback__",
    "$e.nativeException.args",
    "$e.stackTrace.frames.first().f_globals",
    "$e.stackTrace.frames.tb_frame.toList()",
    "$e.extra.error",
    "$e.__cause__",
    "str($e.nativeException)",
    "$e.stackTrace.toString()",
    "str($e.stackTrace.frames)",
    "str($e.extra)",
    "$e.message",
    "dump($e)",
    "$e.nativeException",
]


@pytest.mark.parametrize("text", EXCEPTIONS)
def test_a_caught_exception_leads_nowhere(text: str) -> None:
    for failing in ("$x: 1 / 0", "$x: regex('(')", "$x: $.noSuch()", "$x: int(abc)", "Throw: X"):
        body = f'- Try: [{{{failing}}}]\n  Catch: {{As: e, Do: [{{Return: !yaql "{text}"}}]}}'
        gives_nothing_away(attempt(package(body)))


@pytest.mark.parametrize(
    "target",
    [
        "$x.name",
        "$x.package.classes",
        "$x.methods[0].entry",
        "$y.text",
        "$z.error",
        "$w.cls",
        ":Main.cls",
        "$v.x",
    ],
)
def test_nothing_of_the_runtime_can_be_assigned(target: str) -> None:
    prepare = "- $x: typeinfo($)\n- $y: regex(a)\n- $w: type($)\n- $v: now()\n- $z: null\n"
    prepare += "- Try: [{Throw: X}]\n  Catch: {As: e, Do: [{$z: $e.nativeException}]}\n"
    error = attempt(package(f"{prepare}- {target}: 1"))
    assert isinstance(error, dsl.Thrown)
    gives_nothing_away(error)


def test_names_of_the_runtime_s_own_are_ordinary_property_names() -> None:
    body = "- $.cls: 2\n- $.values: 3\n- $.owner: 4\n- $.program: 5\n- Return: [$.cls, $.values, $.owner, $.program]"
    assert attempt(package(body)) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc/passwd", "a/../../b", "__builtins__.eval", "dsl.runtime.Program", ".", ":", "a b"]
)
def test_class_names_are_not_paths(name: str) -> None:
    for text in (
        f"new('{name}')",
        f"type('{name}')",
        f"typeinfo('{name}')",
        f"cast($, '{name}')",
        f"new({{'?' => {{type => '{name}'}}}})",
    ):
        error = value(text)
        assert isinstance(error, dsl.Thrown), f"{text} gave {error!r:.200}"
        gives_nothing_away(error)


def test_a_decoded_lambda_is_not_code() -> None:
    fails(package(expression("call(lambda, ['1'], {})")), "NoFunctionRegistered")
    fails(package(expression("yaqlize($)")), "NoFunctionRegistered")


def test_only_the_core_library_asks_for_configuration() -> None:
    fails(package(expression("config(database, connection)")), "NoFunctionRegistered")
    fails(package(expression("call(config, [database, connection], {})")), "NoFunctionRegistered")


PROGRAM = """
import json, sys
sys.path[:0] = [{root!r}, {tests!r}]
from dsl_world import Journal, World
from pathlib import Path
world = World(Path({file!r}).read_text()).load()
world.call("run")
world.program.finalize()
print(json.dumps([sorted([key, name] for key, name, _ in world.system.performed), world.trace]))
"""


def test_runs_under_different_hash_seeds_are_the_same(tmp_path: Path) -> None:
    source = package(
        """
        - $words: !yaql "set(zeta, alpha, omega, beta, gamma, 1, 2.5, null)"
        - trace($words.toList())
        - trace(str($words.union(set(delta, epsilon))))
        - trace(set(a, b, c, d).difference(set(b)).toList())
        - trace($words.toDict($, 1).keys().toList())
        - trace(characters(digits => true, octdigits => true))
        - !yaql "$words.pselect(randomName())"
        - Parallel:
            - $x: randomName()
            - $y: [random(), now()]
        - trace(list(b, a, c, a).distinct().toList())
        - trace(list(b, a, c, a).groupBy($).toList())
        """
    )
    file = tmp_path / "source"
    file.write_text(source)
    root, tests = Path(dsl.__file__).parent.parent, Path(__file__).parent
    program = textwrap.dedent(PROGRAM).format(root=str(root), tests=str(tests), file=str(file))
    outcomes = []
    for seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        outcomes.append(json.loads(done.stdout))
    assert outcomes[0] == outcomes[1]
    effects, trace = outcomes[0]
    assert len(effects) > 10
    assert len(trace) == 7


def test_a_program_can_not_replace_methods_of_other_packages() -> None:
    """`inject` is for the tests of packages: in a deployment it would let one application rewrite another."""
    result = value("inject(Main, run, 5)")
    assert isinstance(result, dsl.Thrown)
    assert result.names == ("yaql.language.exceptions.NoFunctionRegisteredException",)
    assert "only tests of packages" in str(result.message)
