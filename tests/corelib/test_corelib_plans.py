"""From plan templates to plans (spec/agent-protocol §3)."""

from __future__ import annotations

import base64
import itertools

import pytest

from engine.system.plans import build_plan

PLAN_ID = "0123456789abcdef0123456789abcdef"


class Folder:
    """The files of a package, as the Resources object gives them."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"scripts/{name.replace('__', '/').replace('_', '.')}": body for name, body in files.items()}
        self.read: list[str] = []

    def text(self, path: str) -> str:
        self.read.append(path)
        return self.files[path].decode()

    def base64(self, path: str) -> str:
        self.read.append(path)
        return base64.b64encode(self.files[path]).decode()


def build(template, folder=None):
    return build_plan(template, folder or Folder(), PLAN_ID, itertools.count(1000).__next__)


def script(entry="run.sh", files=(), kind="Application"):
    return {"Type": kind, "Version": "1.0.0", "EntryPoint": entry, "Files": list(files), "Options": {}}


def test_a_plan_gets_its_id_its_stamp_and_the_action():
    plan = build({"FormatVersion": "2.0.0", "Name": "n", "Body": "return 1", "ID": "from the template"})

    assert plan == {
        "FormatVersion": "2.0.0",
        "Name": "n",
        "Body": "return 1",
        "ID": PLAN_ID,
        "Stamp": 1000,
        "Action": "Execute",
        "Files": {},
        "Scripts": {},
    }


def test_the_template_stays_as_it_was():
    template = {"FormatVersion": "2.0.0", "Scripts": {"run": script()}}
    build(template, Folder(run_sh=b"x"))
    assert template["Scripts"]["run"]["EntryPoint"] == "run.sh"


def test_an_entry_point_becomes_a_text_file_of_the_plan():
    plan = build({"FormatVersion": "2.0.0", "Scripts": {"run": script()}}, Folder(run_sh=b"echo 1\n"))

    file_id = plan["Scripts"]["run"]["EntryPoint"]
    assert plan["Files"] == {file_id: {"Name": "run.sh", "BodyType": "Text", "Body": "echo 1\n"}}
    assert plan["Scripts"]["run"]["Files"] == []


def test_brackets_mean_base64_with_one_line_end():
    plan = build(
        {"FormatVersion": "2.0.0", "Scripts": {"run": script("run.sh", ["<sub/data.bin>"])}},
        Folder(run_sh=b"", sub__data_bin=b"\x00\xff"),
    )

    (file_id,) = plan["Scripts"]["run"]["Files"]
    assert plan["Files"][file_id] == {"Name": "sub/data.bin", "BodyType": "Base64", "Body": "AP8=\n"}


def test_a_file_can_be_given_another_name():
    files = [{"target.conf": "<etc/some.conf>"}, {"page": "http://example.org/x/y"}]
    plan = build(
        {"FormatVersion": "2.1.0", "Scripts": {"run": script("run.sh", files)}}, Folder(run_sh=b"", etc__some_conf=b"z")
    )

    renamed, page = plan["Scripts"]["run"]["Files"]
    assert plan["Files"][renamed]["Name"] == "target.conf"
    assert plan["Files"][page] == {"Name": "page", "URL": "http://example.org/x/y", "Type": "Downloadable"}


def test_a_url_is_downloaded_by_the_agent():
    plan = build(
        {"FormatVersion": "2.1.0", "Scripts": {"c": script("a::b", ["https://example.org/books/git.git"], "Chef")}}
    )

    (file_id,) = plan["Scripts"]["c"]["Files"]
    assert plan["Files"][file_id] == {
        "Name": "git.git",
        "URL": "https://example.org/books/git.git",
        "Type": "Downloadable",
    }
    assert plan["Scripts"]["c"]["EntryPoint"] == "a::b"


@pytest.mark.parametrize(
    ("kind", "entry"), [("Chef", "mysql::server"), ("Puppet", "mysql::server"), ("Puppet", "mysql::")]
)
def test_recipes_and_classes_stay_what_they_are_and_their_modules_are_downloaded(kind, entry):
    """Options travel as they are: what of them an agent knows is the agent's affair."""
    modules = {"mysql": "https://example.org/puppetlabs-mysql.git", "stdlib": "https://example.org/stdlib.git"}
    files = [{name: url} for name, url in modules.items()]
    options = {"captureStdout": True, "useBerkshelf": True, "berksfilePath": "Berksfile"}
    folder = Folder()
    plan = build(
        {"FormatVersion": "2.2.0", "Scripts": {"run": {**script(entry, files, kind), "Options": options}}}, folder
    )

    made = plan["Scripts"]["run"]
    assert (made["Type"], made["EntryPoint"], made["Options"]) == (kind, entry, options)
    assert [plan["Files"][file_id] for file_id in made["Files"]] == [
        {"Name": name, "URL": url, "Type": "Downloadable"} for name, url in modules.items()
    ]
    assert folder.read == [], "no file of the package is sent along"


def test_an_inline_file_is_found_by_its_name():
    folder = Folder()
    plan = build(
        {
            "FormatVersion": "2.0.0",
            "Files": {"f1": {"Name": "run.sh", "BodyType": "Text", "Body": "date"}},
            "Scripts": {"run": script()},
        },
        folder,
    )

    assert plan["Scripts"]["run"]["EntryPoint"] == "f1"
    assert folder.read == []


def test_a_file_of_two_scripts_is_there_once():
    scripts = {"a": script("run.sh", ["<data>"]), "b": script("run.sh", ["data", "<data>"])}
    plan = build({"FormatVersion": "2.0.0", "Scripts": scripts}, Folder(run_sh=b"", data=b"1"))

    assert plan["Scripts"]["a"]["EntryPoint"] == plan["Scripts"]["b"]["EntryPoint"]
    assert set(plan["Scripts"]["b"]["Files"]) == set(plan["Scripts"]["a"]["Files"])
    assert len(plan["Files"]) == 2


def test_building_the_same_plan_again_gives_the_same_plan():
    template = {"FormatVersion": "2.0.0", "Scripts": {"run": script("run.sh", ["<data>"])}}
    folder = Folder(run_sh=b"x", data=b"y")
    assert build(template, folder) == build(template, folder)


def test_a_version_1_plan_carries_its_scripts_as_base64():
    plan = build(
        {"Scripts": ["Join.ps1"], "Commands": [{"Name": "Join", "Arguments": {"a": 1}}], "RebootOnCompletion": 1},
        Folder(Join_ps1=b"function Join {}"),
    )

    assert plan == {
        "Scripts": [base64.b64encode(b"function Join {}").decode()],
        "Commands": [{"Name": "Join", "Arguments": {"a": 1}}],
        "RebootOnCompletion": 1,
        "Stamp": 1000,
    }


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("text", "an execution plan is a dictionary, found str"),
        (
            {"FormatVersion": "2.0.0", "Scripts": {"run": {"Type": "Application"}}},
            "script 'run' of the plan has no EntryPoint",
        ),
        ({"FormatVersion": "2.0.0", "Scripts": ["run"]}, "Scripts of a version 2 plan is a dictionary, found list"),
        ({"FormatVersion": "2.0.0", "Files": []}, None),
        ({"FormatVersion": "2.0.0", "Files": ["x"]}, "Files of a plan is a dictionary, found list"),
        ({"FormatVersion": "2.0.0", "Scripts": {"run": script({"a": "b", "c": "d"})}}, "a name or {name: file}"),
    ],
)
def test_what_is_no_plan_is_refused(template, message):
    if message is None:  # an empty list of files is as good as none
        assert build(template)["Files"] == {}
        return
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        build(template)
