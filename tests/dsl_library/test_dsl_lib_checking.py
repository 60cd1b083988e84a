"""What an author is told about a package before anything runs: statements that do not compile, unknown names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import dsl.testing
from dsl.packages import Package, open_package
from dsl.packages.archives import MemoryFiles

HEAD = "Namespaces: {=: org.demo}\nName: A\n"


def package(code: str, name: str = "org.demo", **manifest: str) -> Package:
    lines = {"Format": "1.4", "FullName": name, "Type": "Library", "Classes": f"{{{name}.A: A.yaml}}", **manifest}
    files = {
        "manifest.yaml": "\n".join(f"{key}: {value}" for key, value in lines.items()),
        "Classes/A.yaml": code.replace("org.demo", name),
    }
    return Package(MemoryFiles("demo", {file: text.encode() for file, text in files.items()}))


CORE = package("Name: io.murano.Object", "io.murano", Classes="{io.murano.Object: A.yaml}")


def said(body: str, head: str = HEAD, available: tuple[Package, ...] = (CORE,), **manifest: str) -> list[str]:
    """Problems of a method with this body, which begins at line 5; `line:column: message ...`."""
    indented = "".join(f"      {line}\n" for line in body.splitlines())
    found = dsl.testing.check(package(f"{head}Methods:\n  m:\n    Body:\n{indented}", **manifest), available)
    return [str(problem).removeprefix("demo/Classes/A.yaml:") for problem in found]


def test_sound_code_is_sound() -> None:
    body = (
        "- $x: list(1, 2).select($ + 1)\n- let(y => 1) -> $y\n- def(twice, $ * 2) -> twice(2)\n- $.m()\n- Return: $x\n"
        "- Try: [$this.m()]\n  Catch: {With: Gone, As: e, Do: [$e.message.toUpper()]}\n- $z: $1\n"
    )
    assert said(body) == []


def test_each_statement_that_does_not_parse_is_shown_where_parsing_ends() -> None:
    found = said("- $x +\n- $x: 1\n- $.m(2, * 3)\n- If: $x\n  Then:\n    - $y )\n- word\n- '$x: )'")
    places = [each.partition(": ")[0] for each in found]
    assert places == ["6:13", "8:16", "11:16", "12:9", "13:14"]
    assert "the statement '$x +' does not parse: it ends too early" in found[0]
    assert "unexpected '*'" in found[1]
    assert "unexpected ')'" in found[2]
    assert "'word' is no statement" in found[3]


def test_a_broken_statement_hides_neither_its_neighbours_nor_other_methods() -> None:
    found = said("- Iff: $x\n  Then: []\n- For: $i\n  In: [1]\n  Do: []\n- Break: 1\n- Throw: A\n  Mesage: b")
    assert [each.partition(": ")[0] for each in found] == ["6:9", "8:9", "11:9", "12:9"]


def test_unknown_functions_and_methods_are_found_with_a_hint() -> None:
    found = said("- $x: rnge(3)\n- $x.selct($).where(nothingLikeIt($))\n- $.n()\n- $.m().nothingLikeIt()")
    assert found[0].startswith("6:13: there is no function rnge; found rnge(3); did you mean range?")
    assert found[1].startswith("7:12: nothing at hand has a method selct")
    assert found[1].endswith("did you mean select?")
    assert found[2].startswith("7:27: there is no function nothingLikeIt")
    assert found[2].endswith("correct the name")
    assert found[3].startswith("8:11: warning: nothing at hand has a method n")
    assert found[4].startswith("9:15: warning: nothing at hand has a method nothingLikeIt")
    assert len(found) == 5


def test_what_may_work_all_the_same_is_a_warning() -> None:
    set_ = "- $endpoint: 1\n"
    passed, asked = said(set_ + "- $.m($endpiont)")[0], said(set_ + "- $.m($endpiont.host)")[0]
    assert passed.startswith("7:13: warning: the variable $endpiont is never set")
    assert asked.startswith("7:13: the variable $endpiont is never set")
    assert said("- $.nothingLikeIt()")[0].startswith("6:11: warning: nothing at hand has a method nothingLikeIt")
    assert said("- $.selct()")[0].startswith("6:11: nothing at hand has a method selct")


def test_methods_are_not_judged_while_a_requirement_is_missing() -> None:
    assert said("- $.whoKnows()", available=()) == []
    assert said("- $.whoKnows()", Require="{org.other: }")[0].startswith("demo/manifest.yaml: the required package")
    assert len(said("- $.whoKnows()", Require="{org.other: }")) == 1
    other = package("Name: org.demo.A\nMethods: {whoKnows: {}}", "org.other")
    assert said("- $.whoKnows()", available=(CORE, other), Require="{org.other: }") == []


def test_methods_of_host_classes_are_known() -> None:
    @dsl.native
    class Host:
        @dsl.method
        def host_only(self) -> None:
            pass

    code = package(f"{HEAD}Methods: {{m: {{Body: [$.hostOnly()]}}}}")
    assert len(dsl.testing.check(code, [CORE])) == 1
    assert dsl.testing.check(code, [CORE], {"org.demo.Host": Host}) == []


def test_a_variable_that_is_nearly_one_that_is_set_is_found() -> None:
    found = said("- $endpoint: 1\n- $x: $endpiont + $unknown\n- For: item\n  In: [1]\n  Do: [$.m($item)]")
    assert found == [
        "7:13: warning: the variable $endpiont is never set; found $endpiont + $unknown; did you mean $endpoint?",
    ]


def test_own_properties_and_arguments_that_are_nearly_there_are_found() -> None:
    head = HEAD + "Properties: {size: {Contract: $}}\n"
    found = [
        each.removeprefix("7:") for each in said("- $.size + $.siez\n- $.late: 1\n- $.laet\n- $x.select($.siez)", head)
    ]
    assert len(found) == 2
    assert found[0].endswith("20: the class has no property siez; found $.size + $.siez; did you mean size?")
    assert found[1].endswith("11: the class has no property laet; found $.laet; did you mean late?")
    assert said("- $.siez", HEAD + "Extends: Elsewhere\nProperties: {size: {Contract: $}}\n")[1:] == []
    code = HEAD + "Methods:\n  m: {Arguments: [count: {Contract: $}], Body: [$.m(conut => 1), $.m(else => 1)]}\n"
    (problem,) = dsl.testing.check(package(code), [CORE])
    assert problem.message == "the method m has no argument conut"
    assert problem.fix == "did you mean count?"


def test_texts_that_were_meant_as_expressions_are_doubted_unless_quoted() -> None:
    found = said("- Return: $.m(1\n- $x: '$.m(1'\n- $x: $5 (five) and more (\n- $x: ${HOME}/bin\n- $x: $HOME/bin")
    assert [each.partition(": ")[0] for each in found] == ["6:17"]
    assert "'$.m(1' does not parse as an expression and is a text: it ends too early" in found[0]


def test_what_new_is_given_for_no_property_is_doubted() -> None:
    head = HEAD + "Properties: {size: {Contract: $}, colour: {Contract: $}}\n"
    (found,) = said("- new(A, colur => red, other => 1)", head)
    assert found.startswith("7:16: warning: the class org.demo.A has no property colur")


def test_a_contract_that_does_not_parse_is_no_text() -> None:
    head = HEAD + "Properties:\n  p: {Contract: $.int(}\n  q: {Contract: $.strng()}\n"
    found = said("- $.m()", head)
    assert found[0].startswith("4:3: the contract of property p does not parse: it ends too early")
    assert found[1].startswith("5:19: nothing at hand has a method strng")
    assert found[1].endswith("did you mean string?")


PUBLIC = os.environ.get("CHANDLERY_PUBLIC_PACKAGES", "")
# Package -> what is wrong and keeps it from working; these are the packages that are broken as shipped
BROKEN = {
    "com.mirantis.PaloAlto": {"org.openstack.networkingSfc"},
    "com.example.conflang.puppet.MySQLPuppet": {"MySQLPuppet.yaml:1:1: the file does not define the class"},
    "com.example.docker.DockerOrion": {"DockerOrion.yaml:51:28: ", "DockerOrion.yaml:55:43: "},
    "com.mirantis.docker.kubernetes.static.KubernetesEntities": {
        "DestroyReplicationController.template:21: the plan's body opens the bracket",
        *(
            f"{file}: the class com.mirantis.docker.kubernetes.static.KubernetesCluster"
            for file in ("Pod.yaml:23:15", "Service.yaml:22:15", "ReplicationController.yaml:22:15")
        ),
    },
    "org.openstack.ci_cd_pipeline_murano_app.v2.CiCd2": {
        "CiCd2.yaml:1:1: the file does not define the class",
        "NodepoolConfigurator.yaml: the file of class",
        "LdapConfigurator.yaml:17:11: the class",
        "LdapConfigurator.yaml:18:11: the class",
        "LdapConfigurator.yaml:19:11: the class",
    },
}
# Package -> what is wrong and comes out late, or never: each was looked at and is a defect of the package
DOUBTFUL = {
    "com.example.paas.CloudFoundryDiego": {"CloudFoundryDiego.yaml:50:64: warning: the variable $securityGroupIngress"},
    "com.mirantis.clearwater.Clearwater": {
        "ui.yaml:31:14: warning: the form instanceConfiguration has no field keyPair",
        "ClearwaterComponentBase.yaml:138:39: warning: nothing at hand has a method getUninstallScriptName",
        "has no property allowedFailures",  # its constructors take it, and nothing comes of it
    },
    "io.murano.apps.lbaas.F5BigIPLTM": {"warning: the script file f5-lbaas-driver.tar.gz.bs64 does not exist"},
    "io.murano.apps.lbaas.LBaaS": {"warning: the script file lbaas.tar.gz.bs64 does not exist"},
    "org.openstack.ci_cd_pipeline_murano_app.puppet.Puppet": {"warning: nothing at hand has a method agentRun"},
}


@pytest.mark.skipif(not PUBLIC, reason="CHANDLERY_PUBLIC_PACKAGES does not name a folder of public packages")
def test_public_packages_get_the_verdicts_of_the_census_and_nothing_else_is_said() -> None:
    import packages as bundled
    from engine import system

    public = [path.parent for path in Path(PUBLIC).rglob("manifest.yaml") if not {"Resources", "meta"} & {*path.parts}]
    given = [open_package(folder) for folder in public]
    assert len(given) >= 76
    opened = [*given, *(open_package(path.parent) for path in bundled.folder().glob("*/manifest.yaml"))]
    natives = system.natives()
    found: dict[str, dict[str, list[str]]] = {"error": {}, "warning": {}}
    for each in opened:
        for problem in dsl.testing.check(each, opened, natives):
            found[problem.level].setdefault(each.full_name, []).append(str(problem))
    for verdicts, wanted in ((found["error"], BROKEN), (found["warning"], DOUBTFUL)):
        assert verdicts.keys() == wanted.keys()
        for name, parts in wanted.items():
            assert all(any(part in text for part in parts) for text in verdicts[name]), verdicts[name]
            assert all(any(part in text for text in verdicts[name]) for part in parts), verdicts[name]
