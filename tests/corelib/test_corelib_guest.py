"""The library's plans, carried out by the guest agent's own code on this machine."""

from __future__ import annotations

import pytest

import dsl
from engine.agents import guest

PROBE = """
Namespaces:
  =: test.app
  std: io.murano
  res: io.murano.resources
  sys: io.murano.system
  conf: io.murano.configuration

Name: Probe

Extends: std:Application

Properties:
  server:
    Contract: $.class(res:Instance).notNull()

Methods:
  run:
    Arguments:
      - command:
          Contract: $.string()
      - ignoreErrors:
          Contract: $.bool()
          Default: false
    Body:
      - Return: conf:Linux.runCommand($.server.agent, $command, ignoreErrors => $ignoreErrors)

  runOnObject:
    Body:
      - $linux: new(conf:Linux)
      - Return: $linux.runCommand($.server.agent, 'echo as a method').stdout

  put:
    Arguments:
      - content:
          Contract: $.string()
      - path:
          Contract: $.string()
    Body:
      - Return: conf:Linux.putFile($.server.agent, $content, $path)

  files:
    Body:
      - $resources: new(sys:Resources)
      - $template: $resources.yaml('Files.template').bind(dict(who => 'Ann'))
      - Return: $.server.agent.call($template, $resources)
"""
FILES = """
FormatVersion: 2.0.0
Version: 1.0.0
Name: Files
Parameters:
  who: $who
Body: |
  return run('{0}'.format(args.who)).stdout
Scripts:
  run:
    Type: Application
    Version: 1.0.0
    EntryPoint: core/run.sh
    Files:
      - <core/data.bin>
      - text.txt
    Options:
      captureStdout: true
      captureStderr: true
"""
RESOURCES = {
    "Files.template": FILES,
    "scripts/core/run.sh": "#!/bin/sh\necho hello $1, $(cat data.bin), $(cat ../text.txt)\n",
    "scripts/core/data.bin": "data",
    "scripts/text.txt": "text",
}


@pytest.fixture
def probe(start, world, tmp_path):
    def run(plan: dict, plan_id: str, **_about: object) -> object:
        folder = tmp_path / "plans" / plan_id
        folder.mkdir(parents=True)
        return guest.execute(plan, plan_id, str(folder))

    world._agent_run = run
    server = {"?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": "vm"}, "name": "web", "flavor": "f"}
    model = {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "applications": [{"?": {"type": "test.app.Probe", "id": "probe"}, "server": server}],
        }
    }
    program = start(model, {"Probe": PROBE}, RESOURCES)
    return lambda method, *arguments, **named: program.call("probe", method, *arguments, **named)


def test_a_command_gives_its_output(probe):
    assert probe("run", "echo out; echo err >&2") == {"exitCode": 0, "stdout": "out", "stderr": "err"}
    assert probe("runOnObject") == "as a method"


def test_a_command_of_several_lines_is_a_script(probe):
    assert probe("run", "#!/bin/sh\nx=1\nif [ $x = 1 ]; then\n  echo one\nfi\n")["stdout"] == "one"


def test_a_command_that_fails_is_an_exception_with_its_output(probe):
    with pytest.raises(dsl.Thrown, match="returned error code") as caught:
        probe("run", "echo oops >&2; exit 3")
    assert caught.value.names == ("murano.engine.system.agent.AgentException",)
    assert caught.value.extra["details"] == {"exitCode": 3, "stdout": "", "stderr": "oops"}
    assert caught.value.extra["errorCode"] == 100


def test_errors_can_be_ignored(probe):
    assert probe("run", "exit 3", ignoreErrors=True)["exitCode"] == 3


@pytest.mark.parametrize("content", ["plain\n", "$HOME 'quoted' \"twice\" `x`\n", "größer\n\n"])
def test_a_file_arrives_as_it_is(probe, tmp_path, content):
    target = tmp_path / "made for it" / "file.conf"
    assert probe("put", content, str(target)) is True
    assert target.read_text() == content
    assert probe("put", "again", str(target)) is True
    assert target.read_text() == "again"


def test_scripts_find_the_files_that_came_with_them(probe):
    assert probe("files") == "hello Ann, data, text"
