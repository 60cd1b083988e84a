"""Attack by attack: what package code can not get out of the engine's own classes, or do to them."""

from __future__ import annotations

import itertools
import resource
import time

import pytest
import yaml

import dsl

METHODS = """
  resource:
    Arguments:
      - method:
          Contract: $.string()
      - name:
          Contract: $
    Body:
      - Return: call($method, [$name], {}, new(sys:Resources))

  count:
    Arguments:
      - method:
          Contract: $.string()
      - name:
          Contract: $
    Body:
      - Return: len(call($method, [$name], {}, new(sys:Resources)))

  log:
    Arguments:
      - message:
          Contract: $
    Body:
      - $l: logger('my.app')
      - $l.info($message, $this, a => $this)

  plan:
    Arguments:
      - template:
          Contract: $
    Body:
      - Return: $.server.agent.call($template, new(sys:Resources))

  read:
    Arguments:
      - name:
          Contract: $.string()
    Body:
      - $resources: new(sys:Resources)
      - $agent: $.server.agent
      - $stack: $.find(std:Environment).stack
      - $explorer: new(sys:NetworkExplorer)
      - $logger: logger('x')
      - $all: [$resources, $agent, $stack, $explorer, $logger, $.find(std:Environment).reporter]
      - Return: EXPRESSION
"""
PROBE = """
Namespaces:
  =: test.app
  std: io.murano
  sys: io.murano.system
  res: io.murano.resources

Name: Probe
Extends: std:Application
Properties:
  server:
    Contract: $.class(res:Instance)
Methods:"""
MEGABYTES = 150
SECONDS = 6.0  # of this process


def model():
    server = {"?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": "vm"}, "name": "web", "flavor": "f"}
    return {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "applications": [{"?": {"type": "test.app.Probe", "id": "probe"}, "server": server}],
        }
    }


@pytest.fixture
def attack(start):
    """Runs a method of the probe. What comes of it, a value or the error, comes soon and costs little."""

    def run(method, *arguments, files=None, expression="null"):
        program = start(model(), {"Probe": PROBE + METHODS.replace("EXPRESSION", expression)}, files or {})
        memory, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            return program.call("probe", method, *arguments)
        except dsl.DslError as error:
            return error
        finally:
            assert time.process_time() - seconds < SECONDS
            assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024 < MEGABYTES

    return run


OUTSIDE = [
    "../manifest.yaml",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "..\\manifest.yaml",
    "./../manifest.yaml",
    "a/../../manifest.yaml",
    "%2e%2e/manifest.yaml",
    "file:///etc/passwd",
    "text.txt\0.png",
    "",
    ".",
    "text.txt/",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("method", ["string", "base64", "yaml", "json"])
def test_no_name_leads_out_of_the_resources(attack, method, name):
    found = attack("resource", method, name, files={"text.txt": "public"})
    assert isinstance(found, dsl.Thrown), found
    assert "root:" not in str(found)


@pytest.mark.parametrize("name", [["text.txt"], {"a": "text.txt"}])
def test_a_name_that_is_no_text_is_no_name(attack, name):
    assert isinstance(attack("resource", "string", name, files={"text.txt": "t"}), dsl.Thrown)


@pytest.mark.parametrize("reference", [f"<{name}>" for name in OUTSIDE] + OUTSIDE)
def test_no_file_of_a_plan_comes_from_outside_the_scripts(attack, reference):
    if "://" in reference:
        pytest.skip("a URL, which the server fetches and the engine does not")
    plan = {"FormatVersion": "2.0.0", "Body": "x", "Scripts": {"x": {"Type": "Application", "EntryPoint": reference}}}
    found = attack("plan", plan, files={"scripts/run.sh": "true"})
    assert isinstance(found, dsl.Thrown), found
    assert "root:" not in str(found)


@pytest.mark.parametrize(
    "plan",
    [
        None,
        [],
        "text",
        {"FormatVersion": "2.0.0", "Scripts": [1]},
        {"FormatVersion": "2.0.0", "Scripts": {"x": None}},
        {"FormatVersion": "2.0.0", "Scripts": {"x": {"Type": "Application", "EntryPoint": {"a": "b", "c": "d"}}}},
        {"FormatVersion": "2.0.0", "Scripts": {"x": {"Type": "Application", "EntryPoint": "run.sh", "Files": 5}}},
        {"FormatVersion": "2.0.0", "Files": [1]},
        {"FormatVersion": "1.0.0", "Scripts": {"a": 1}},
        {"FormatVersion": "1.0.0", "Scripts": [[[]]]},
    ],
)
def test_a_plan_that_is_none_is_the_authors_error(attack, plan):
    found = attack("plan", plan, files={"scripts/run.sh": "true"})
    assert isinstance(found, dsl.Thrown), found
    assert not {"AttributeError", "TypeError", "RecursionError", "KeyError"} & set(found.names), found


@pytest.mark.parametrize(
    "message",
    [
        "{0.__class__}",
        "{0.__init__.__globals__}",
        "{a.program}",
        "{0[__class__]}",
        "{a!r}",
        "{0!s}",
        "{:{a}}",
        "{0:>100000000}",
        "{" * 10_000,
        "{0.name}",
    ],
)
def test_a_log_message_reaches_no_attribute(attack, world, message):
    assert attack("log", message) is None
    logged = world.named("log")[-1].arguments["message"]
    assert "<" not in logged.replace(message, "") or "object" not in logged
    assert " at 0x" not in logged
    assert "__main__" not in logged
    assert len(logged) < 100_000


def test_an_alias_bomb_in_a_resource_is_defused(attack):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(12):
        lines.append(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]")
    found = attack("resource", "yaml", "bomb.yaml", files={"bomb.yaml": "\n".join(lines)})
    assert isinstance(found, dsl.DslError), found


def test_an_alias_to_itself_is_refused(attack):
    found = attack("resource", "yaml", "loop.yaml", files={"loop.yaml": "a: &a [*a]"})
    assert isinstance(found, dsl.DslError), found


@pytest.mark.parametrize("method", ["json", "yaml"])
def test_a_deep_resource_is_refused(attack, method):
    deep = "[" * 100_000 + "]" * 100_000
    found = attack("resource", method, "deep", files={"deep": deep})
    assert isinstance(found, dsl.DslError), found
    assert "RecursionError" not in getattr(found, "names", ())


@pytest.mark.parametrize("method", ["json", "yaml"])
def test_a_number_without_end_is_refused(attack, method):
    found = attack("resource", method, "long", files={"long": "[" + "9" * 100_000 + "]"})
    assert isinstance(found, dsl.DslError), found


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [id]",
        "!!python/name:os.system ''",
        "!!python/object:engine.system.resources.Resources {}",
        "!yaql '$'",
        "!!binary aGk=",
        "!!set {a, b}",
    ],
)
def test_tags_of_a_resource_make_no_objects(attack, text):
    found = attack("resource", "yaml", "tags.yaml", files={"tags.yaml": text})
    assert isinstance(found, dsl.DslError | str | bytes | dict | list), type(found)
    assert "uid=" not in str(found)


def test_json_that_python_alone_takes_is_refused_or_plain(attack):
    found = attack("resource", "json", "nan.json", files={"nan.json": '{"a": NaN, "b": Infinity}'})
    assert isinstance(found, dsl.DslError | dict)


PRIVATE = ["_this", "_package", "__class__", "__dict__", "_cache", "_name", "perform", "effect", "_log", "_listener"]


@pytest.mark.parametrize(("number", "name"), list(itertools.product(range(6), PRIVATE)))
def test_no_attribute_of_the_engines_objects_is_a_property_or_method(attack, number, name):
    for expression in (f"$all[{number}].{name}", f"$all[{number}].{name}()", f"$all[{number}].get('{name}')"):
        found = attack("read", name, expression=expression)
        assert isinstance(found, dsl.DslError) or found == expression, (expression, found)  # no expression: a text
        assert "engine/" not in str(found)


def test_the_recorded_effects_are_plain_data(attack, world):
    attack("log", "hello")
    for effect in world.effects:
        yaml.safe_dump(dict(effect.arguments))
