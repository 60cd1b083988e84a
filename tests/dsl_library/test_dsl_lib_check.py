"""Checking packages without running them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dsl.packages import Package, check_package, open_package
from dsl.packages.archives import MemoryFiles
from dsl.packages.check import MAX_PROBLEMS


def package(files: dict[str, str], **manifest: str) -> Package:
    lines = {"Format": "1.3", "FullName": "org.demo", "Type": "Library", **manifest}
    content = {"manifest.yaml": "\n".join(f"{key}: {value}" for key, value in lines.items())}
    return Package(MemoryFiles("demo", {name: text.encode() for name, text in {**content, **files}.items()}))


def problems(files: dict[str, str], available: tuple[Package, ...] = (), **manifest: str) -> list[str]:
    return [str(problem) for problem in check_package(package(files, **manifest), available)]


def test_a_class_the_file_does_not_define_is_found_out() -> None:
    found = problems({"Classes/A.yaml": "Namespaces: {=: org.demo.A}\nName: A"}, Classes="{org.demo.A: A.yaml}")
    assert len(found) == 1
    assert "does not define the class org.demo.A" in found[0]
    assert "found org.demo.A.A" in found[0]


def test_a_missing_class_file_is_found_out() -> None:
    assert "does not exist" in problems({}, Classes="{org.demo.A: A.yaml}")[0]


def test_each_broken_class_is_reported_with_its_line() -> None:
    files = {"Classes/A.yaml": "Name: A\nProperties:\n  p: {}", "Classes/B.yaml": "Name: [B"}
    found = problems(files, Classes="{A: A.yaml, B: B.yaml}")
    assert found[0].startswith("demo/Classes/A.yaml:3:3: the property p has no Contract")
    assert found[1].startswith("demo/Classes/B.yaml:")


def test_an_unknown_prefix_and_an_unknown_class_are_found_in_expressions() -> None:
    body = (
        "Namespaces: {=: org.demo}\nName: A\nMethods:\n  m:\n    Body:\n      - new(zzz:B)\n      - $x: new(Missing)\n"
    )
    found = problems({"Classes/A.yaml": body}, Classes="{org.demo.A: A.yaml}")
    assert "demo/Classes/A.yaml:6:9: Unknown namespace prefix zzz" in found[0]
    assert "demo/Classes/A.yaml:7:13: the class org.demo.Missing is in neither this package" in found[1]


def test_hints_for_a_hostile_package_do_not_take_for_ever() -> None:
    calls = "".join(f"      - $r.yaml('{'a' * 40}{number}.b')\n" for number in range(1000))
    files = {f"Resources/{'a' * 40}{number}.c": "" for number in range(1000)}
    started = time.process_time()
    found = problems({"Classes/A.yaml": f"Name: A\nMethods:\n  m:\n    Body:\n{calls}", **files}, Classes="{A: A.yaml}")
    assert len(found) == MAX_PROBLEMS
    assert time.process_time() - started < 20


def test_classes_of_requirements_that_are_not_at_hand_are_not_judged() -> None:
    body = "Namespaces: {=: org.demo, o: org.other}\nName: A\nExtends: o:Base"
    arguments = {"Classes": "{org.demo.A: A.yaml}", "Require": "{org.other: }"}
    assert problems({"Classes/A.yaml": body}, **arguments) == []
    other = package({"Classes/B.yaml": "Name: Thing"}, FullName="org.other", Classes="{Thing: B.yaml}")
    assert "the class org.other.Base" in problems({"Classes/A.yaml": body}, (other,), **arguments)[0]


def test_a_class_that_only_its_file_knows_is_seen_from_there_and_doubtful_from_elsewhere() -> None:
    files = {
        "Classes/A.yaml": "Namespaces: {=: org.demo}\nName: A\nMethods: {m: {Body: [new(Helper)]}}\n---\nName: Helper",
        "Classes/B.yaml": "Namespaces: {=: org.demo}\nName: B\nMethods: {m: {Body: [new(Helper)]}}",
    }
    (found,) = problems(files, Classes="{org.demo.A: A.yaml, org.demo.B: B.yaml}")
    assert found.startswith("demo/Classes/B.yaml:3:22: warning: the class org.demo.Helper is not listed")
    assert found.endswith("list org.demo.Helper: A.yaml under Classes in manifest.yaml")


def test_a_requirement_in_the_wrong_version_is_missing() -> None:
    other = package({}, FullName="org.other", Version="2.0.0")
    found = problems({}, (other,), Require="{org.other: 1}")
    assert "the required package org.other is missing; expected >=1.0.0,<2.0.0, found 2.0.0" in found[0]


def test_a_resource_that_does_not_exist_is_found_at_the_expression() -> None:
    body = "Name: A\nMethods:\n  m:\n    Body:\n      - $x: $r.yaml('Deploy.template')"
    assert "the resource Deploy.template does not exist" in problems({"Classes/A.yaml": body}, Classes="{A: A.yaml}")[0]
    assert problems({"Classes/A.yaml": body, "Resources/Deploy.template": ""}, Classes="{A: A.yaml}") == []


def test_a_resource_or_prefix_that_is_nearly_right_is_suggested() -> None:
    body = (
        "Namespaces: {=: org.demo, resources: io.murano.resources}\nName: A\nMethods:\n  m:\n    Body:\n"
        "      - $r.yaml('Deploi.template')\n      - new(resource:Instance)\n"
    )
    files = {"Classes/A.yaml": body, "Resources/Deploy.template": ""}
    missing, prefix = problems(files, Classes="{org.demo.A: A.yaml}")
    assert missing.endswith("did you mean Deploy.template?")
    assert "did you mean resources:? If not, declare the prefix" in prefix


PLAN = """\
FormatVersion: 2.0.0
Version: 1.0.0
Name: Deploy
Body: |
  deploy('%s')
  return done(
      args.x
Scripts:
  deploy:
    Type: Application
    EntryPoint: depoy.sh
    Files: [<conf/a.bin>, <conf/b.bin>, {c.txt: d.txt}, inline.txt, https://example.org/x, $bound]
  done: {Type: Application}
  recipe: {Type: Chef, EntryPoint: 'book::recipe'}
Files:
  one: {Name: inline.txt, BodyType: Text, Body: ''}
"""


def details(files: dict[str, str]) -> list[str]:
    return [str(problem) for problem in check_package(package(files), thorough=True)]


def test_scripts_that_plans_name_must_exist() -> None:
    scripts = {"Resources/scripts/deploy.sh": "", "Resources/scripts/conf/a.bin": ""}
    found = details({"Resources/Deploy.template": PLAN, **scripts})
    places = [each.partition(": ")[0] for each in found]
    file = "demo/Resources/Deploy.template"
    assert places == [f"{file}:6", f"{file}:11:17", f"{file}:12:27", f"{file}:12:49", f"{file}:13:3"]
    assert "opens the bracket ( and never closes it" in found[0]
    assert "the script file depoy.sh does not exist; did you mean deploy.sh? If not, add" in found[1]
    assert "the script file conf/b.bin does not exist" in found[2]
    assert "the script file d.txt does not exist" in found[3]
    assert "the script done has no EntryPoint" in found[4]


def test_scripts_of_old_plans_must_exist() -> None:
    plan = '{"Scripts": ["Install.ps1", "Gone.ps1"], "Commands": []}'
    (missing,) = details({"Resources/Install.template": plan, "Resources/scripts/Install.ps1": ""})
    assert missing.startswith("demo/Resources/Install.template:1:29: the script file Gone.ps1 does not exist")


def test_resources_that_are_no_plans_are_not_judged() -> None:
    files = {
        "Resources/a.template": "resources: {}",
        "Resources/b.yaml": "{%s",
        "Resources/c.json": '{"Scripts": 1}',
        "Resources/scripts/d.yaml": "{FormatVersion: 2.0.0, Scripts: {a: {}}}",
        "Resources/e.yaml": "{FormatVersion: 2.0.0, Scripts: }",
    }
    assert details(files) == []


UI = """\
Version: %s
Templates:
  box:
    size: $.server.flavour
Application:
  ?: {type: org.demo.A}
  name: $.main.nam
  note: $.man.name
  other: $.elsewhere.entirely
Forms:
  - main:
      fields:
        - name: name
          type: strng
          requird: false
        - type: string
        - name: host
          type: [org.demo.Host, org.demo.Pod]
        - name: pod
          type: org.demo.Pod
        - name: size
  - server:
      fields:
        - {name: flavor, type: flavor}
"""


def test_forms_are_looked_at_closely() -> None:
    found = details({"UI/ui.yaml": UI % "2.2"})
    said = {each.partition(": ")[0].removeprefix("demo/UI/ui.yaml:"): each for each in found}
    assert len(found) == len(said)
    assert said["4:11"].endswith("the form server has no field flavour; did you mean flavor?")
    assert said["7:9"].endswith("the form main has no field nam; did you mean name?")
    assert said["8:9"].endswith("there is no form man; did you mean main?")
    assert "the type of the field name is unknown: strng; did you mean string?" in said["14:17"]
    assert said["15:11"].endswith("did you mean required?")
    assert "a field of form main has no name" in said["16:11"]
    assert "the field size has no type" in said["21:11"]
    assert len(said) == 7


@pytest.mark.parametrize("version", ["2.5", "3", "soon"])
def test_a_form_of_a_version_that_no_dashboard_reads_is_found_out(version: str) -> None:
    found = details({"UI/ui.yaml": f"Version: {version}\nApplication: {{}}"})
    assert [each.partition(";")[0] for each in found] == [
        "demo/UI/ui.yaml:1:10: no dashboard knows this version of UI definitions"
    ]
    assert details({"UI/ui.yaml": "Version: 2\nApplication: {}"}) == []


def test_what_keeps_no_package_from_being_used_does_not_keep_it_out() -> None:
    assert problems({"UI/ui.yaml": UI % "2.5", "Resources/Deploy.template": PLAN}) == []


def test_ui_definitions_and_logos_are_looked_at() -> None:
    found = problems({"UI/ui.yaml": "Forms: {a: 1}", "logo.png": "no image"})
    assert any("has no Application" in each for each in found)
    assert any("Forms must be a list" in each for each in found)
    assert any("of no known kind" in each for each in found)


def test_a_heat_package_gets_its_class_and_form_from_the_template() -> None:
    template = """
heat_template_version: 2013-05-23
parameters:
  key: {type: string, constraints: [{allowed_pattern: "[a-z]'+", description: lower case}]}
  size: {type: number, default: 3, constraints: [{range: {min: 1, max: 9}}]}
resources: {server: {type: OS::Nova::Server}}
outputs: {address: {value: x}}
"""
    hot = package(
        {"template.yaml": template, "Resources/HotFiles/a.sh": "x"}, Format="Heat.HOT/1.0", FullName="org.Hot"
    )
    assert check_package(hot) == []
    declaration = hot.declaration("org.Hot")
    assert declaration.extends == ("io.murano.Application",)
    assert set(declaration.properties["templateParameters"].contract) == {"key", "size"}
    assert hot.resource("org.Hot") == template.encode()
    assert "group1" in str(hot.ui_definition)


def test_a_heat_parameter_may_have_a_default_with_dates_for_keys() -> None:
    template = "resources: {x: {}}\nparameters: {p: {default: [{2000-01-01: a}]}}"
    hot = package({"template.yaml": template}, Format="Heat.HOT/1.0", FullName="org.Hot")
    assert "2000-01-01" in str(hot.ui_definition)


PUBLIC = os.environ.get("CHANDLERY_PUBLIC_PACKAGES", "")
# What spec/packages-census.md says about packages that are broken as shipped, as far as it shows without running them
BROKEN = {
    "com.example.conflang.puppet.MySQLPuppet": "does not define the class",
    "org.openstack.ci_cd_pipeline_murano_app.v2.CiCd2": "NodepoolConfigurator",
    "com.mirantis.docker.kubernetes.static.KubernetesEntities": "static.KubernetesCluster",
    "com.mirantis.PaloAlto": "org.openstack.networkingSfc",
}


@pytest.mark.skipif(not PUBLIC, reason="CHANDLERY_PUBLIC_PACKAGES does not name a folder of public packages")
def test_public_packages_get_the_verdicts_of_the_census() -> None:
    folders = [path.parent for path in Path(PUBLIC).rglob("manifest.yaml") if not {"Resources", "meta"} & {*path.parts}]
    packages = [open_package(folder) for folder in folders]
    verdicts: dict[str, str] = {}
    for each in packages:
        found = [
            str(problem) for problem in check_package(each, packages) if "io.murano.applications" not in str(problem)
        ]
        if found:
            verdicts[each.full_name] = "\n".join(found)
    assert verdicts.keys() == BROKEN.keys()
    for name, expected in BROKEN.items():
        assert expected in verdicts[name]


def test_misspelt_keys_are_found_and_remarks_left_alone() -> None:
    text = "Name: A\nPropertys: {p: {Contract: $}}\nRemark: x\nMethods:\n  m:\n    body: []\n"
    text += "    Arguments: [a: {Contract: $, Defualt: 1}]\n"
    found = problems({"Classes/A.yaml": text}, Classes="{A: A.yaml}")
    assert [each.split(": ", 1)[1] for each in found] == [
        "the key Propertys of a class is ignored; did you mean Properties?",
        "the key body of a method is ignored; did you mean Body?",
        "the key Defualt of an argument is ignored; did you mean Default?",
    ]


def test_unknown_classes_get_a_spelling_hint() -> None:
    files = {"Classes/A.yaml": "Namespaces: {=: org.demo}\nName: Database\n---\nName: Wiki\nExtends: Databse"}
    found = problems(files, Classes="{org.demo.Database: A.yaml, org.demo.Wiki: A.yaml}")
    assert len(found) == 1
    assert "did you mean org.demo.Database?" in found[0]
