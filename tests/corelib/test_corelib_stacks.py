"""Stacks: the template in memory, what is pushed and when, packages that are nothing but a Heat template."""

from __future__ import annotations

import pytest

import dsl
from dsl import packages

STACK = """
Namespaces:
  =: test.app
  std: io.murano
  sys: io.murano.system

Name: Stacked

Extends: std:Application

Methods:
  .init:
    Body:
      - $._stack: new(sys:HeatStack, $this, name => mine, description => 'what it is')

  do:
    Arguments:
      - method:
          Contract: $.string()
      - args:
          Contract: $
          Usage: VarArgs
    Body:
      - Return: call($method, $args, {}, $._stack)

  growWhilePushing:
    Body:
      - $._stack.setTemplate({resources => {a => {type => A}}})
      - Parallel:
          - $._stack.push()
          - Do:
              - $._stack.updateTemplate({resources => {b => {type => B}}})
              - $._stack.push(async => true)
          - $._stack.push(isAsync => true)
"""


@pytest.fixture
def stack(start, world):
    """stack(method, *arguments): calls a HeatStack."""
    model = {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "applications": [{"?": {"type": "test.app.Stacked", "id": "app"}}],
        }
    }
    program = start(model, {"Stacked": STACK})
    call = lambda method, *arguments: program.call("app", "do", method, *arguments)  # noqa: E731
    call.program = program
    return call


RESOURCES = {"resources": {"a": {"type": "A"}}}


def test_nothing_is_asked_of_the_cloud_before_the_template_is_needed(stack, world):
    assert world.named("heat.current") == []
    assert stack("current") == {}
    assert stack("current") == {}
    assert len(world.named("heat.current")) == 1


def test_a_push_completes_the_template_and_gives_the_outputs(stack, world):
    stack("setTemplate", {**RESOURCES, "outputs": {"o": {"value": 1}}})
    stack("push")
    assert world.template == {
        **RESOURCES,
        "outputs": {"o": {"value": 1}},
        "heat_template_version": "2013-05-23",
        "description": "what it is",
    }
    assert stack("output") == {"o": 1}


def test_what_the_cloud_has_already_is_not_pushed(stack, world):
    stack("push")
    assert world.pushes == []
    stack("updateTemplate", RESOURCES)
    stack("push")
    stack("updateTemplate", RESOURCES)
    stack("push")
    assert len(world.pushes) == 1


def test_a_new_template_takes_the_parameters_away(stack, world):
    stack("setTemplate", RESOURCES)
    stack("setParameters", {"p": 1})
    assert stack("parameters") == {"p": 1}
    stack("push")
    assert world.named("heat.push")[0].arguments["parameters"] == {"p": 1}
    stack("setTemplate", RESOURCES)
    assert stack("parameters") == {}


def test_only_one_template_version_is_merged(stack):
    stack("updateTemplate", {"heat_template_version": "2013-05-23", **RESOURCES})
    with pytest.raises(dsl.Thrown, match="takes heat_template_version 2013-05-23, found 2015-10-15") as caught:
        stack("updateTemplate", {"heat_template_version": "2015-10-15"})
    assert caught.value.names == ("murano.engine.system.heat_stack.HeatStackError",)


def test_reloading_forgets_what_was_not_pushed(stack):
    stack("setTemplate", RESOURCES)
    stack("push")
    stack("updateTemplate", {"resources": {"b": {"type": "B"}}})
    assert set(stack("reload")["resources"]) == {"a"}


def test_deleting_a_stack_leaves_nothing(stack, world):
    stack("setTemplate", RESOURCES)
    stack("push")
    stack("delete")
    assert world.cloud.stacks == {}
    assert stack("current") == {}
    stack("delete")
    assert len(world.named("heat.delete")) == 1


def test_parallel_pushes_follow_each_other_and_end_with_all_that_was_wanted(stack, world):
    stack.program.call("app", "growWhilePushing")
    assert set(world.template["resources"]) == {"a", "b"}
    assert [set(push["resources"]) for push in world.pushes][-1] == {"a", "b"}


TEMPLATE = """
heat_template_version: 2015-10-15
parameters:
  size:
    type: number
    constraints:
      - range: {min: 1, max: 5}
resources:
  disk:
    type: OS::Cinder::Volume
    properties:
      size: {get_param: size}
      note: {get_file: notes/a.txt}
outputs:
  id:
    value: {get_resource: disk}
"""


@pytest.fixture
def heat_package(tmp_path):
    folder = tmp_path / "hot"
    (folder / "Resources" / "HotFiles" / "notes").mkdir(parents=True)
    (folder / "Resources" / "HotFiles" / "notes" / "a.txt").write_text("noted")
    (folder / "manifest.yaml").write_text("Format: Heat.HOT/1.0\nType: Application\nFullName: test.Hot\nName: Hot\n")
    (folder / "template.yaml").write_text(TEMPLATE)
    return packages.open_package(folder)


def heat_model(**properties: object) -> dict:
    return {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "applications": [{"?": {"type": "test.Hot", "id": "hot"}, "name": "hot", **properties}],
        }
    }


def test_a_heat_package_gets_a_stack_of_its_own(libraries, heat_package, world):
    runtime = dsl.Runtime(dsl.Library([*libraries, heat_package]), system=world)
    program = runtime.load(heat_model(templateParameters={"size": 2}))

    program.call("env", "deploy")
    model = program.finalize()

    (push,) = world.named("heat.push")
    assert push.arguments["parameters"] == {"size": 2}
    assert push.arguments["files"] == {"notes/a.txt": "noted"}
    assert push.arguments["template"]["heat_template_version"] == "2015-10-15"
    assert push.arguments["stack"]["name"].endswith("_env")
    assert model["Objects"]["applications"][0]["templateOutputs"] == {"id": "disk!"}

    ending = runtime.load({"Objects": None, "ObjectsCopy": model["Objects"], "Attributes": model["Attributes"]})
    ending.collect()
    ending.finalize()
    assert world.cloud.stacks == {}


def test_parameters_of_a_heat_package_are_checked(libraries, heat_package, world):
    runtime = dsl.Runtime(dsl.Library([*libraries, heat_package]), system=world)
    (violation,) = runtime.check(heat_model(templateParameters={"size": 9}))
    assert violation.object_id == "hot"
