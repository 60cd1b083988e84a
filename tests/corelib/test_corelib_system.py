"""Small system classes: package files, loggers, principals, agents that do not answer."""

from __future__ import annotations

import pytest

import dsl

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

Methods:
  read:
    Arguments:
      - method:
          Contract: $.string()
      - name:
          Contract: $.string()
    Body:
      - $resources: new(sys:Resources)
      - Return: call($method, [$name], {}, $resources)

  readStatically:
    Arguments:
      - name:
          Contract: $.string()
    Body:
      - Return: sys:Resources.string($name)

  readOf:
    Arguments:
      - name:
          Contract: $.string()
      - class:
          Contract: $.string()
    Body:
      - Return: sys:Resources.string($name, owner => type($class))

  log:
    Body:
      - $l: logger('my.app')
      - $l.info('hello {0} and {name}', x, name => y)
      - $l.warning('nothing {5}', x)
      - $l.error('{0.__class__}', x)
      - $l.debug('{0:>1000000000}', x)
      - Try:
          - Throw: oops
            Message: dear me
        Catch:
          As: e
          Do:
            - $l.exception($e, 'it failed')

  who:
    Body:
      - $user: std:User.getCurrent()
      - $project: std:Project.getEnvironmentOwner()
      - Return: [$user.name, $user.email, $user.domain, $user.extra, $project.name, $project.extra]

  ready:
    Body:
      - Return: $.server.agent.isReady(5)

  raw:
    Body:
      - Return: $.server.agent.callRaw({FormatVersion => '2.0.0', Name => raw, Body => 'return 1'}, 7)

  send:
    Body:
      - $.server.agent.send({FormatVersion => '2.0.0', Name => sent}, new(sys:Resources))

  caught:
    Body:
      - Try:
          - $.server.agent.call({FormatVersion => '2.0.0', Name => bad}, new(sys:Resources))
        Catch:
          With: 'agent:AgentException'
          As: e
          Do:
            - Return: [$e.name, $e.extra.details.exitCode]

  workflow:
    Arguments:
      - timeout:
          Contract: $.int()
    Body:
      - $client: new(sys:MistralClient, $this)
      - $client.upload('definition')
      - Return: $client.run(name, $timeout, {a => 1})

  title:
    Body:
      - $.reportDeployed('A title', 3)
      - $.reportDestroyed()

  report:
    Body:
      - $reporter: $.find(std:Environment).reporter
      - $reporter.report($this, 'fine')
      - $reporter.report_error($this, 'bad')
      - $reporter.reportError(null, 'worse')
"""
PROBE = PROBE.replace(
    "  res: io.murano.resources\n", "  res: io.murano.resources\n  agent: murano.engine.system.agent\n", 1
)
RESOURCES = {
    "text.txt": "one\r\ntwo\rthree\n",
    "data.yaml": "when: 2020-01-01\nlist: [1, x]\n",
    "data.json": '{"a": [1]}',
    "broken.json": '{"a":\n oops}',
    "broken.yaml": "a: [1\n",
}


@pytest.fixture
def probe(start, world):
    server = {"?": {"type": "io.murano.resources.LinuxMuranoInstance", "id": "vm"}, "name": "web", "flavor": "f"}
    model = {
        "Objects": {
            "?": {"type": "io.murano.Environment", "id": "env"},
            "name": "demo",
            "applications": [{"?": {"type": "test.app.Probe", "id": "probe"}, "server": server}],
        }
    }
    program = start(model, {"Probe": PROBE}, RESOURCES)
    return lambda method, *arguments: program.call("probe", method, *arguments)


def test_texts_have_one_kind_of_line_end(probe):
    assert probe("read", "string", "text.txt") == "one\ntwo\nthree\n"
    assert probe("readStatically", "text.txt") == "one\ntwo\nthree\n"


def test_dates_in_yaml_stay_texts(probe):
    assert probe("read", "yaml", "data.yaml") == {"when": "2020-01-01", "list": [1, "x"]}
    assert probe("read", "json", "data.json") == {"a": [1]}


def test_files_of_another_package_are_read_through_one_of_its_classes(probe):
    assert "muranoagent" in probe("readOf", "murano-init.sh", "io.murano.Environment")


@pytest.mark.parametrize(
    ("method", "name", "error", "text"),
    [
        ("string", "missing.txt", "FileNotFoundError", "missing.txt"),
        ("string", "../manifest.yaml", None, "manifest.yaml"),
        ("json", "broken.json", "ValueError", "broken.json:2:2"),
        ("yaml", "broken.yaml", "ValueError", "broken.yaml"),
    ],
)
def test_what_cannot_be_read_is_named(probe, method, name, error, text):
    with pytest.raises(dsl.Thrown, match=text) as caught:
        probe("read", method, name)
    if error is not None:
        assert caught.value.names == (error,)


def test_loggers_fill_in_numbers_and_names_and_nothing_else(probe, world):
    probe("log")
    records = [(effect.arguments["level"], effect.arguments["message"]) for effect in world.named("log")]
    assert records[0] == ("info", "hello x and y")
    assert records[1][0] == "warning"
    assert records[1][1].startswith("nothing {5} [not filled in")
    assert records[2][1].startswith("{0.__class__} [not filled in")
    assert records[3][1].startswith("{0:>1000000000} [not filled in")
    assert records[4][1].startswith("it failed\n")
    assert "dear me" in records[4][1]
    assert {effect.arguments["name"] for effect in world.named("log")} == {"my.app"}


def test_users_and_projects_are_looked_up_without_what_is_none_of_a_packages_business(probe):
    assert probe("who") == ["ann", "ann@example.org", "default", {"team": "blue"}, "demo", {}]


def test_an_agent_that_answers_is_ready(probe, world):
    assert probe("ready") is True
    (_, plan) = world.plans[0]
    assert plan["Files"] == {}
    assert plan["Scripts"] == {}
    assert plan["Stamp"] > 0


def test_an_agent_that_does_not_answer_in_time_is_not_ready(probe, world):
    timeout = dsl.SystemFailure(("murano.common.exceptions.TimeoutException",), "agent did not respond")
    world.answers["Is the agent there?"] = timeout
    assert probe("ready") is False


def test_a_raw_plan_goes_as_it_is(probe, world):
    world.answers["raw"] = 1
    assert probe("raw") == 1
    (run,) = world.named("agent.run")
    assert run.arguments["plan"] == {"FormatVersion": "2.0.0", "Name": "raw", "Body": "return 1"}
    assert run.arguments["timeout"] == 7
    assert len(run.arguments["plan_id"]) == 32


def test_a_plan_that_is_only_sent_is_not_waited_for(probe, world):
    assert probe("send") is None
    (run,) = world.named("agent.run")
    assert run.arguments["wait"] is False


def test_a_failed_plan_can_be_caught_by_its_name(probe, world):
    world.answers["bad"] = {
        "FormatVersion": "2.0.0",
        "ErrorCode": 100,
        "Body": {"Message": "no", "AdditionalInfo": {"exitCode": 2}},
    }
    assert probe("caught") == ["murano.engine.system.agent.AgentException", 2]


def test_agents_can_be_switched_off(probe, world):
    world.settings[("engine", "disable_murano_agent")] = True
    with pytest.raises(dsl.Thrown, match="switched off") as caught:
        probe("raw")
    assert caught.value.names == ("murano.common.exceptions.PolicyViolationException",)


def test_reports_say_about_what_and_how_grave(probe, world):
    probe("report")
    assert world.reports == [("probe", "info", "fine"), ("probe", "error", "bad"), ("env", "error", "worse")]


def test_a_workflow_gives_its_output_without_what_is_mistrals_own(probe, world):
    world.workflow = {"result": 1, "openstack": {}, "__execution": {}, "task": {}}
    assert probe("workflow", 60) == {"result": 1}
    (run,) = world.named("mistral.run")
    assert run.arguments == {"region": "", "name": "name", "inputs": {"a": 1}, "params": {}, "timeout": 60}
    assert world.named("mistral.upload")[0].arguments["definition"] == "definition"


def test_a_workflow_that_is_not_waited_for_gives_its_id(probe, world):
    world.workflow = "execution-1"
    assert probe("workflow", 0) == "execution-1"


def test_applications_are_counted_under_a_title(probe, world):
    probe("title")
    (tracked,), (untracked,) = world.named("instance.track"), world.named("instance.untrack")
    assert tracked.arguments == {
        "environment_id": "env",
        "instance_id": "probe",
        "kind": 100,
        "type_name": "test.app.Probe",
        "title": "A title",
        "unit_count": 3,
    }
    assert untracked.arguments == {"environment_id": "env", "instance_id": "probe", "kind": 100}
