"""What an author is told of ten mistakes: by a check, by a test of the package, and by a deployment.

A check knows names only; a test names the values and hints; a deployment's message is the one that packages written
for Murano know, with the stack of the package's own lines.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import dsl
from dsl import packages, testing
from engine import system

APP = """\
Namespaces:
  =: org.example
  std: io.murano
  conf: io.murano.configuration
Name: App
Extends: std:Application
Properties:
  size:
    Contract: $.int().notNull()
  parent:
    Contract: $.class(App)
Methods:
  grow:
    Arguments:
      - amount:
          Contract: $.int().notNull()
    Body:
      - Return: $.size + $amount
  deploy:
    Body:
      - STATEMENT
---
Name: AppTest
Extends: std:test.TestFixture
Methods:
  testDeploy:
    Body:
      - $app: new(App, size => 4)
      - $app.deploy()
"""
LINE = 21
# mistake: (the statement, what the check says from the column on or "", what test and deployment say, the test's hint)
MISTAKES = {
    "method": (
        "Return: $.grwo(amount => 1)",
        "19: nothing at hand has a method grwo; found $.grwo(amount => 1); did you mean grow?",
        'Unknown method "grwo" for receiver <org.example.App/0.0.0',
        "Hint: nothing at hand has a method grwo; did you mean grow?",
    ),
    "property": (
        "Return: $.siez + 1",
        "19: the class has no property siez; found $.siez + 1; did you mean size?",
        'Access to uninitialized property "siez" in class "org.example.App" is forbidden',
        "Hint: the class has no property siez; did you mean size?",
    ),
    "class": (
        "Return: new(std:Exeption)",
        "17: the class io.murano.Exeption is in neither this package nor its requirements; found Require: nothing but "
        "io.murano; did you mean io.murano.Exception? If not, correct the name or its prefix",
        'Class "io.murano.Exeption" is not found in io.murano/0.0.0, org.example.App/0.0.0',
        "did you mean io.murano.Exception?",
    ),
    "function": (
        "Return: rnge(3)",
        "17: there is no function rnge; found rnge(3); did you mean range?",
        'Unknown function "rnge"',
        "Hint: there is no function rnge; did you mean range?",
    ),
    "argument": (
        "Return: $.grow(amuont => 1)",
        "24: the method grow has no argument amuont; found $.grow(amuont => 1); did you mean amount?",
        'No method "grow" for receiver <org.example.App/0.0.0',
        "Hint: the method grow has no argument amuont; did you mean amount?",
    ),
    "contract": (
        "Return: $.grow(amount => many)",
        "",
        "[org.example.App::grow(amount)] Value 'many' violates int() contract",
        "",
    ),
    "indentation": (
        "$x: 1\n     - Return: $x",
        "the YAML is not valid: did not find expected",
        "the YAML is not valid: did not find expected",
        "",
    ),
    "namespace": (
        "Return: cnf:Linux",
        "17: Unknown namespace prefix cnf (known: conf, std); found cnf:Linux; did you mean conf:?",
        "Unknown namespace prefix cnf (known: conf, std)",
        "did you mean conf:?",
    ),
    "null receiver": (
        "Return: $.parent.grow(1)",
        "",
        'No method "grow" for receiver None matches supplied arguments',
        "Hint: what stands before the call is null; ?. instead of . gives null for null",
    ),
    "expression": (
        "Return: $.grow(1, * 2)",
        "17: warning: '$.grow(1, * 2)' does not parse as an expression and is a text: unexpected '*'; correct it",
        None,  # it is a text, in Murano too
        "",
    ),
}
NATIVES = system.natives()


def library(folder: Path, libraries: list[packages.Package], statement: str) -> dsl.Library:
    (folder / "Classes").mkdir()
    names = "{org.example.App: App.yaml, org.example.AppTest: App.yaml}"
    (folder / "manifest.yaml").write_text(
        f"Format: 1.4\nType: Application\nFullName: org.example.App\nClasses: {names}\n"
    )
    (folder / "Classes" / "App.yaml").write_text(APP.replace("STATEMENT", statement))
    return dsl.Library([packages.open_package(folder), *libraries])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_was_meant(mistake, libraries, world, tmp_path) -> None:
    statement, checked, said, hint = MISTAKES[mistake]
    found = library(tmp_path, libraries, statement)
    file = f"{tmp_path}/Classes/App.yaml"

    problems = [str(problem) for problem in testing.check(found.packages[0], found.packages[1:], NATIVES)]
    assert bool(problems) == bool(checked), problems
    if checked:
        assert any(each.startswith(f"{file}:") and checked in each for each in problems), problems
        if checked[0].isdigit():
            assert any(each.startswith(f"{file}:{LINE}:{checked}") for each in problems), problems

    run = testing.run(found, "org.example.App", system=lambda: testing.OfflineSystem(NATIVES))
    details = "\n".join(result.details for result in run.results)
    assert run.ok == (said is None), details
    assert (said or "") in details
    assert hint in details

    model = {"Objects": {"?": {"type": "io.murano.Environment", "id": "env"}, "name": "demo", "applications": [
        {"?": {"type": "org.example.App", "id": "app"}, "size": 4}]}}  # fmt: skip
    told = ""
    try:
        dsl.Runtime(found, system=world).load(model).call("env", "deploy")
    except dsl.Thrown as error:
        told = error.formatted()
    assert bool(told) == (said is not None)
    assert (said or "") in told
    if said is not None and mistake != "indentation":
        for text in (told, details):
            assert f'File "{file}", line {LINE}:' in text
            assert f"in method deploy of type org.example.App\n{'':6}{statement.partition(': ')[2]}" in textwrap.dedent(
                text
            )
