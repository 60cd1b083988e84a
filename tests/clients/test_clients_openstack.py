"""The `openstack` command with python-muranoclient's plugin against a running service: each of its commands.

What they have in common with `murano` is tried there; here it is that every one of them gets through, and its effect.
"""

from __future__ import annotations

import json
import pathlib
import re
import zipfile
from typing import Any, Protocol

import pytest
from clients_world import Person, application, archive, package_folder, unique


class Openstack(Protocol):
    def __call__(self, *arguments: str, person: Person | None = None) -> Any: ...


@pytest.fixture
def openstack(programs: pathlib.Path, member: Person) -> Openstack:
    """Runs `openstack` as the member of a project, or as somebody else; what it prints, as JSON where it is JSON."""

    def run(*arguments: str, person: Person | None = None) -> Any:
        text = (person or member).run(programs / "openstack", *arguments)
        return json.loads(text.removeprefix("Waiting for result...\n")) if "json" in arguments else text

    return run


JSON = ("-f", "json")


def test_environment_create_list_show_rename_and_delete(openstack: Openstack, member: Person) -> None:
    name, renamed = unique("shop"), unique("new")
    (made,) = (each for each in openstack("environment", "create", name, *JSON) if each["Name"] == name)
    assert member.get_json(f"/environments/{made['Id']}")["name"] == name
    assert made["Id"] in {each["Id"] for each in openstack("environment", "list", *JSON)}
    assert openstack("environment", "show", made["Id"], *JSON)["name"] == name
    openstack("environment", "rename", made["Id"], renamed, *JSON)
    assert member.get_json(f"/environments/{made['Id']}")["name"] == renamed
    left = openstack("environment", "delete", renamed, "--abandon", *JSON)
    assert made["Id"] not in {each["Id"] for each in left}
    assert member.get(f"{member.root}/v1/environments/{made['Id']}").status_code == 404


def test_environment_session_apps_model_deploy_and_deployment_list(
    openstack: Openstack, member: Person, tmp_path: pathlib.Path
) -> None:
    environment = member.environment()["id"]
    session = openstack("environment", "session", "create", environment, *JSON)["id"]
    edit = tmp_path / "edit.json"
    edit.write_text(json.dumps([{"op": "add", "path": "/-", "value": application("lamp", "a1")}]))
    openstack("environment", "apps", "edit", environment, str(edit), "--session-id", session)
    headers = {"X-Configuration-Session": session}
    assert [each["name"] for each in member.get_json(f"/environments/{environment}/services", headers=headers)] == [
        "lamp"
    ]
    edit.write_text('[{"op": "replace", "path": "/services/0/name", "value": "torch"}]')
    openstack("environment", "model", "edit", environment, str(edit), "--session-id", session, *JSON)
    shown = openstack("environment", "model", "show", environment, "--session-id", session, *JSON)
    assert [each["name"] for each in shown["services"]] == ["torch"]
    openstack("environment", "deploy", environment, "--session-id", session, *JSON)
    member.wait_until_ready(environment)
    [deployment] = openstack("deployment", "list", environment, *JSON)
    assert deployment["State"] == "success"
    assert deployment["Id"] in {each["Id"] for each in openstack("deployment", "list", "--all-environments", *JSON)}


def test_static_action_call_and_class_schema(openstack: Openstack) -> None:
    called = openstack("static-action", "call", "org.example.Lantern", "price", "--arguments", "wicks=6", *JSON)
    assert called["Static action result"] in (42, "42")
    schema = openstack("class-schema", "org.example.Lantern", *JSON)
    assert schema[""]["properties"]["wicks"]["type"] == "integer"


def test_package_import_list_show_update_download_and_delete(
    openstack: Openstack, member: Person, tmp_path: pathlib.Path
) -> None:
    fqn = unique("org.example.P")
    openstack("package", "import", str(archive(tmp_path, fqn)), "--categories", "Web", "--exists-action", "a")
    [found] = member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]
    assert found["categories"] == ["Web"]
    listed = openstack("package", "list", "--owned", *JSON)
    assert fqn in {each["Fully_qualified_name"] for each in listed}
    assert openstack("package", "show", found["id"], *JSON)["fully_qualified_name"] == fqn
    openstack("package", "update", found["id"], "--name", "Glow", "--tags", "a", "b", *JSON)
    changed = member.get_json(f"/catalog/packages/{found['id']}")
    assert (changed["name"], sorted(changed["tags"])) == ("Glow", ["a", "b"])
    file = tmp_path / "downloaded.zip"
    openstack("package", "download", found["id"], str(file))
    assert "manifest.yaml" in zipfile.ZipFile(file).namelist()
    left = openstack("package", "delete", found["id"], *JSON)
    assert found["id"] not in {each["Id"] for each in left}
    assert member.get(f"{member.root}/v1/catalog/packages/{found['id']}").status_code == 404


def test_package_create(openstack: Openstack, member: Person, tmp_path: pathlib.Path) -> None:
    fqn = unique("org.example.Pl")
    name = fqn.rpartition(".")[2]
    source = f"Namespaces: {{=: org.example, std: io.murano}}\nName: {name}\nExtends: std:Application\n"
    classes = package_folder(tmp_path / "source", fqn, source) / "Classes"
    made, form = tmp_path / "made.zip", tmp_path / "form.yaml"
    form.write_text("Version: 2.2\nApplication:\n  ?: {type: " + fqn + "}\nForms: []\n")
    about = ("-n", "Made", "-f", fqn, "-d", "Classes", "-u", str(form))
    openstack("package", "create", "-c", str(classes), *about, "-o", str(made))
    openstack("package", "import", str(made), "--exists-action", "a")
    assert member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]


def test_bundle_import(openstack: Openstack, admin: Person) -> None:
    openstack("bundle", "import", "lamps", "--exists-action", "s", person=admin)
    for name in ("org.example.repository.Lamp", "org.example.repository.Wick"):
        assert admin.get_json(f"/catalog/packages?fqn={name}&owned=true")["packages"], name


def test_category_create_list_show_and_delete(openstack: Openstack, admin: Person) -> None:
    name = unique("Lighting")
    (made,) = (each for each in openstack("category", "create", name, *JSON, person=admin) if each["Name"] == name)
    assert made["ID"] in {each["ID"] for each in openstack("category", "list", *JSON)}
    assert openstack("category", "show", made["ID"], *JSON)["name"] == name
    openstack("category", "delete", made["ID"], *JSON, person=admin)
    assert name not in {each["name"] for each in admin.get_json("/catalog/categories")["categories"]}


def test_every_command_of_the_plugin_is_tried_here(programs: pathlib.Path, openstack: Openstack) -> None:
    """A newer plugin may bring more."""
    [points] = programs.parent.glob("lib/python*/site-packages/python_muranoclient-*.dist-info/entry_points.txt")
    section = points.read_text().partition("[openstack.application_catalog.v1]")[2].partition("[")[0]
    commands = re.findall(r"^([\w-]+) = ", section, re.MULTILINE)
    assert len(commands) >= 25
    tried = re.sub(r'", "', "_", pathlib.Path(__file__).read_text())
    assert [each for each in commands if f'openstack("{each}' not in tried] == []
