"""The unmodified `murano` command against a running service: each of its commands, and the effect it has."""

from __future__ import annotations

import json
import pathlib
import re
import zipfile
from typing import Protocol

import pytest
from clients_world import Person, World, application, archive, package_folder, unique


class Murano(Protocol):
    def __call__(self, *arguments: str, fails: bool = False, person: Person | None = None) -> str: ...


@pytest.fixture
def murano(programs: pathlib.Path, member: Person) -> Murano:
    """Runs `murano` as the member of a project, or as somebody else; gives what it prints."""

    def run(*arguments: str, fails: bool = False, person: Person | None = None) -> str:
        return (person or member).run(programs / "murano", *arguments, fails=fails)

    return run


def rows(table: str) -> list[dict[str, str]]:
    """The rows of the last table that was printed, by column."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    header = next(cells for cells in reversed(lines) if cells[0] in ("ID", "Id", "Property", "Created"))
    return [dict(zip(header, cells, strict=False)) for cells in lines[lines.index(header) + 1 :]]


def fields(table: str) -> dict[str, str]:
    """What a table of properties says; lines of one value are joined."""
    found: dict[str, str] = {}
    name = ""
    for row in rows(table):
        name = row["Property"] or name
        found[name] = found.get(name, "") + row["Value"]
    return found


def row_of(table: str, **wanted: str) -> dict[str, str]:
    """The one row with these values."""
    (row,) = (row for row in rows(table) if all(row[column] == value for column, value in wanted.items()))
    return row


# --- environments ----------------------------------------------------------------------------------------------------


def test_environment_create_and_environment_list(murano: Murano, member: Person) -> None:
    name = unique("shop")
    created = row_of(murano("environment-create", name), Name=name)
    assert member.get_json(f"/environments/{created['ID']}")["name"] == name
    assert row_of(murano("environment-list"), ID=created["ID"])["Status"] == "ready"


def test_environment_create_joins_a_network(murano: Murano, member: Person) -> None:
    name = unique("shop")
    made = row_of(murano("environment-create", name, "--join-net-id", "net-1", "--region", "RegionOne"), Name=name)
    model = member.get_json(f"/environments/{made['ID']}/model/")
    network = model["defaultNetworks"]["environment"]
    assert (network["?"]["type"], network["internalNetworkName"]) == (
        "io.murano.resources.ExistingNeutronNetwork",
        "net-1",
    )
    assert model["region"] == "RegionOne"


def test_environment_list_of_all_tenants_is_for_administrators(murano: Murano, member: Person, admin: Person) -> None:
    made = member.environment()
    assert row_of(murano("environment-list", "--all-tenants", person=admin), ID=made["id"])
    listed = murano("environment-list", "--tenant", member.account.project_id, person=admin)
    assert row_of(listed, ID=made["id"])
    assert "list_environments_all_tenants" in murano("environment-list", "--all-tenants", fails=True)


def test_environment_show(murano: Murano, member: Person) -> None:
    environment, lantern = member.deployed()
    shown = fields(murano("environment-show", environment))
    assert (shown["id"], shown["status"], shown["version"]) == (environment, "ready", "1")
    applications = json.loads(murano("environment-show", environment, "--only-apps"))
    assert [each["?"]["id"] for each in applications] == [lantern]


def test_environment_rename(murano: Murano, member: Person) -> None:
    environment, name = member.environment(), unique("new")
    assert row_of(murano("environment-rename", environment["name"], name), ID=environment["id"])["Name"] == name
    assert member.get_json(f"/environments/{environment['id']}")["name"] == name


def test_environment_delete(murano: Murano, member: Person) -> None:
    kept, first, second = (member.environment()["id"] for _ in range(3))
    left = murano("environment-delete", first, second, "--abandon")
    assert {row["ID"] for row in rows(left)} >= {kept}
    known = {each["id"] for each in member.get_json("/environments")["environments"]}
    assert kept in known
    assert not {first, second} & known


def test_environment_session_create(murano: Murano, member: Person) -> None:
    environment = member.environment()["id"]
    session = fields(murano("environment-session-create", environment))["id"]
    assert member.get_json(f"/environments/{environment}/sessions/{session}")["state"] == "opened"


def test_environment_apps_edit_and_environment_deploy(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    environment = member.environment()["id"]
    session = member.session(environment)
    edit = tmp_path / "edit.json"
    edit.write_text(json.dumps([{"op": "add", "path": "/-", "value": application("lamp", "a" * 32)}]))
    murano("environment-apps-edit", "--session-id", session, environment, str(edit))
    [edited] = member.get_json(f"/environments/{environment}/services", headers={"X-Configuration-Session": session})
    assert (edited["name"], edited["?"]["id"]) == ("lamp", "a" * 32)
    assert member.get_json(f"/environments/{environment}/services") == []
    deployed = fields(murano("environment-deploy", environment, "--session-id", session))
    assert deployed["status"] in ("deploying", "ready")
    member.wait_until_ready(environment)
    assert [each["name"] for each in member.get_json(f"/environments/{environment}/services")] == ["lamp"]


def test_environment_model_show_and_environment_model_edit(
    murano: Murano, member: Person, tmp_path: pathlib.Path
) -> None:
    environment = member.environment()
    shown = json.loads(murano("environment-model-show", environment["id"]))
    assert shown["name"] == environment["name"]
    assert json.loads(murano("environment-model-show", environment["id"], "--path", "/name")) == environment["name"]
    session = member.session(environment["id"])
    edit = tmp_path / "edit.json"
    edit.write_text('[{"op": "replace", "path": "/defaultNetworks/flat", "value": true}]')
    edited = json.loads(murano("environment-model-edit", environment["id"], str(edit), "--session-id", session))
    assert edited["defaultNetworks"]["flat"] is True
    path = ["environment-model-show", environment["id"], "--path", "/defaultNetworks/flat"]
    assert json.loads(murano(*path, "--session-id", session)) is True
    assert json.loads(murano(*path)) == ""  # how the client shows null


def test_environment_model_edit_removes(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    environment, _lantern = member.deployed()
    session = member.session(environment)
    edit = tmp_path / "edit.json"
    edit.write_text('[{"op": "remove", "path": "/services/0"}]')
    edited = json.loads(murano("environment-model-edit", environment, str(edit), "--session-id", session))
    assert edited["services"] == []


def test_environment_action_call_and_get_result(murano: Murano, member: Person) -> None:
    environment, lantern = member.deployed()
    called = murano("environment-action-call", environment, "--action-id", f"{lantern}_trim", "--arguments", "to=3")
    task = re.search("[0-9a-f]{32}", called)
    assert task, called
    member.wait_until_ready(environment)
    result = murano("environment-action-get-result", environment, "--task-id", task[0])
    assert "lamp has a wick of 3 mm" in result


def test_static_action_call(murano: Murano) -> None:
    called = murano("static-action-call", "org.example.Lantern", "price", "--arguments", "wicks=6")
    assert "42" in called
    versioned = ["--package-name", "org.example.Lantern", "--class-version", "<1"]
    assert "7" in murano("static-action-call", "org.example.Lantern", "price", "--arguments", "wicks=1", *versioned)
    assert 'Method "nothing" is not found' in murano("static-action-call", "org.example.Lantern", "nothing")


def test_app_show(murano: Murano, member: Person) -> None:
    environment, lantern = member.deployed()
    assert row_of(murano("app-show", environment), Id=lantern)["Name"] == "lamp"
    assert fields(murano("app-show", environment, "--path", lantern))["name"] == '"lamp"'
    assert "Could not find application" in murano("app-show", environment, "--path", "nothing", fails=True)


def test_deployment_list(murano: Murano, member: Person) -> None:
    environment, _lantern = member.deployed()
    [listed] = rows(murano("deployment-list", environment))
    assert listed["State"] == "success"
    [newest] = member.get_json(f"/environments/{environment}/deployments")["deployments"]
    assert listed["ID"] == newest["id"]
    assert row_of(murano("deployment-list", "--all-environments"), ID=newest["id"])


def test_class_schema(murano: Murano) -> None:
    schema = json.loads(murano("class-schema", "org.example.Lantern"))
    assert schema[""]["properties"]["wicks"]["type"] == "integer"
    method = json.loads(murano("class-schema", "org.example.Lantern", "built"))
    assert method["built"]["properties"]["height"]["type"] == "integer"


# --- environment templates -------------------------------------------------------------------------------------------


def test_env_template_create_and_env_template_list(murano: Murano, member: Person) -> None:
    name = unique("template")
    made = row_of(murano("env-template-create", name, "--is-public"), Name=name)
    assert member.get_json(f"/templates/{made['ID']}")["is_public"] is True
    assert row_of(murano("env-template-list"), ID=made["ID"])["Name"] == name


def test_env_template_show(murano: Murano, member: Person) -> None:
    template = member.template(services=[application("lamp", "a1")])
    shown = fields(murano("env-template-show", template["id"]))
    assert shown["name"] == template["name"]
    assert "lamp" in shown["services"]


def test_env_template_update(murano: Murano, member: Person) -> None:
    template, name = member.template(), unique("new")
    assert row_of(murano("env-template-update", template["id"], name), ID=template["id"])["Name"] == name
    assert member.get_json(f"/templates/{template['id']}")["name"] == name


def test_env_template_delete(murano: Murano, member: Person) -> None:
    kept, gone = member.template()["id"], member.template()["id"]
    left = {row["ID"] for row in rows(murano("env-template-delete", gone))}
    assert kept in left
    assert gone not in left
    assert member.get(f"{member.root}/v1/templates/{gone}").status_code == 404


def test_env_template_add_app_and_env_template_del_app(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    template = member.template()["id"]
    file = tmp_path / "applications.json"
    file.write_text(json.dumps([application("lamp", "a1"), application("lantern", "a2")]))
    murano("env-template-add-app", template, str(file))
    assert [each["name"] for each in member.get_json(f"/templates/{template}/services")] == ["lamp", "lantern"]
    murano("env-template-del-app", template, "a1")
    assert [each["name"] for each in member.get_json(f"/templates/{template}/services")] == ["lantern"]


def test_env_template_clone(murano: Murano, member: Person, admin: Person) -> None:
    template, name = admin.template(is_public=True, services=[application("lamp", "a1")]), unique("clone")
    murano("env-template-clone", template["id"], name)
    (mine,) = (each for each in member.get_json("/templates")["templates"] if each["name"] == name)
    assert mine["tenant_id"] == member.account.project_id
    assert [each["name"] for each in member.get_json(f"/templates/{mine['id']}/services")] == ["lamp"]


def test_env_template_create_env(murano: Murano, member: Person) -> None:
    template, name = member.template(services=[application("lamp", "a1")]), unique("env")
    made = fields(murano("env-template-create-env", template["id"], name, "--region", "RegionOne"))
    assert member.get_json(f"/environments/{made['environment_id']}")["name"] == name
    headers = {"X-Configuration-Session": made["session_id"]}
    (lamp,) = member.get_json(f"/environments/{made['environment_id']}/services", headers=headers)
    assert lamp["name"] == "lamp"


# --- packages --------------------------------------------------------------------------------------------------------


def test_package_import_from_a_file(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    fqn = unique("org.example.P")
    path = archive(tmp_path, fqn)
    assert fqn in murano("package-import", str(path), "-c", "Web", "--exists-action", "a")
    [first] = member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]
    assert (first["categories"], first["is_public"]) == (["Web"], False)
    murano("package-import", str(path), "--exists-action", "s")
    assert [each["id"] for each in member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]] == [first["id"]]
    murano("package-import", str(path), "--exists-action", "u")
    [second] = member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]
    assert second["id"] != first["id"]


def test_package_import_of_a_folder_by_an_administrator_is_public(
    murano: Murano, member: Person, admin: Person, tmp_path: pathlib.Path
) -> None:
    fqn = unique("org.example.P")
    package_folder(tmp_path / "p", fqn)
    murano("package-import", str(tmp_path / "p"), "--is-public", "--exists-action", "a", person=admin)
    [found] = member.get_json(f"/catalog/packages?fqn={fqn}&catalog=true")["packages"]
    assert found["is_public"]
    package_folder(tmp_path / "q", unique("org.example.P"))
    refused = murano("package-import", str(tmp_path / "q"), "--is-public", "--exists-action", "a", fails=True)
    assert "publicize_package" in refused


def test_package_import_by_name_brings_what_the_package_needs(murano: Murano, member: Person) -> None:
    names = ["org.example.repository.Lamp", "org.example.repository.Wick"]
    murano("package-import", names[0], "--exists-action", "s")
    for name in names:
        assert member.get_json(f"/catalog/packages?fqn={name}&owned=true")["packages"], name


def test_bundle_import(murano: Murano, admin: Person) -> None:
    murano("bundle-import", "lamps", "--exists-action", "s", person=admin)
    for name in ("org.example.repository.Lamp", "org.example.repository.Wick"):
        assert admin.get_json(f"/catalog/packages?fqn={name}&owned=true")["packages"], name


def test_package_save_and_bundle_save(murano: Murano, tmp_path: pathlib.Path) -> None:
    files = {"org.example.repository.Lamp.zip", "org.example.repository.Wick.zip"}
    murano("package-save", "org.example.repository.Lamp", "-p", str(tmp_path / "package"), "--no-images")
    assert {each.name for each in (tmp_path / "package").iterdir()} == files
    murano("bundle-save", "lamps", "-p", str(tmp_path / "bundle"), "--no-images")
    assert {each.name for each in (tmp_path / "bundle").iterdir()} == files | {"lamps.bundle"}


def test_package_list(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    mine = member.package(tmp_path, tags=["mine"])
    listed = row_of(murano("package-list", "--owned"), ID=mine["id"])
    assert listed["FQN"] == mine["fully_qualified_name"]
    everything = {row["FQN"] for row in rows(murano("package-list"))}
    assert {"io.murano", "org.example.Lantern", mine["fully_qualified_name"]} <= everything
    for option in ("--fqn", "--search", "--class_name"):
        found = murano("package-list", option, mine["fully_qualified_name"])
        assert [row["ID"] for row in rows(found)] == [mine["id"]], option
    assert len(rows(murano("package-list", "--limit", "1"))) == 1


def test_package_show(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    package = member.package(tmp_path)
    shown = fields(murano("package-show", package["id"]))
    assert shown["fully_qualified_name"] == package["fully_qualified_name"]
    assert (shown["type"], shown["owner_id"]) == ("Application", member.account.project_id)


def test_package_update(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    package = member.package(tmp_path)["id"]
    shown = fields(murano("package-update", package, "--name", "Glow", "--description", "It glows", "--tags", "a", "b"))
    assert shown["name"] == "Glow"
    murano("package-update", package, "--enabled", "false")
    changed = member.get_json(f"/catalog/packages/{package}")
    assert (changed["name"], changed["description"], changed["enabled"]) == ("Glow", "It glows", False)
    assert sorted(changed["tags"]) == ["a", "b"]
    assert "publicize_package" in murano("package-update", package, "--is-public", "true", fails=True)


def test_package_download(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    package = member.package(tmp_path)
    file = tmp_path / "downloaded.zip"
    murano("package-download", package["id"], str(file))
    assert "manifest.yaml" in zipfile.ZipFile(file).namelist()


def test_package_delete(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    kept, gone = member.package(tmp_path)["id"], member.package(tmp_path)["id"]
    left = {row["ID"] for row in rows(murano("package-delete", gone))}
    assert kept in left
    assert gone not in left
    assert member.get(f"{member.root}/v1/catalog/packages/{gone}").status_code == 404


def test_package_create_makes_what_can_be_imported(murano: Murano, member: Person, tmp_path: pathlib.Path) -> None:
    template = tmp_path / "stack.yaml"
    template.write_text("heat_template_version: 2013-05-23\nresources: {}\nparameters: {}\n")
    hot, fqn = tmp_path / "hot.zip", unique("org.example.Hot")
    murano("package-create", "-t", str(template), "-n", "Stack", "-f", fqn, "-d", "A stack", "-o", str(hot))
    murano("package-import", str(hot), "--exists-action", "a")
    [found] = member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]
    assert found["name"] == "Stack"
    fqn = unique("org.example.Pl")
    source = (
        f"Namespaces: {{=: org.example, std: io.murano}}\nName: {fqn.rpartition('.')[2]}\nExtends: std:Application\n"
    )
    classes = package_folder(tmp_path / "source", fqn, source) / "Classes"
    ours, form = tmp_path / "pl.zip", tmp_path / "form.yaml"
    form.write_text("Version: 2.2\nApplication:\n  ?: {type: " + fqn + "}\nForms: []\n")
    murano(
        "package-create", "-c", str(classes), "-n", "Pl", "-f", fqn, "-d", "Classes", "-u", str(form), "-o", str(ours)
    )
    murano("package-import", str(ours), "--exists-action", "a")
    assert member.get_json(f"/catalog/packages?fqn={fqn}")["packages"]


# --- categories ------------------------------------------------------------------------------------------------------


def test_categories_are_listed_shown_created_and_deleted(
    murano: Murano, member: Person, admin: Person, tmp_path: pathlib.Path
) -> None:
    name = unique("Lighting")
    made = row_of(murano("category-create", name, person=admin), Name=name)
    assert row_of(murano("category-list"), ID=made["ID"])["Name"] == name
    package = member.package(tmp_path, categories=[name])
    assert package["name"] in fields(murano("category-show", made["ID"]))["packages"]
    murano("category-delete", made["ID"], person=admin, fails=True)  # it has a package
    member.delete(f"{member.root}/v1/catalog/packages/{package['id']}")
    assert made["ID"] not in murano("category-delete", made["ID"], person=admin)
    assert name not in {each["name"] for each in member.get_json("/catalog/categories")["categories"]}


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_what_goes_wrong_is_a_sentence_and_not_a_crash_of_the_client(murano: Murano, member: Person) -> None:
    unknown = murano("environment-show", "0" * 32, fails=True)
    assert "No environment with a name or ID" in unknown or "not found" in unknown.lower()
    name = member.environment()["name"]
    assert "already exists" in murano("environment-create", name, fails=True)
    assert "add_category" in murano("category-create", unique("Mine"), fails=True)
    assert "Session" in murano("environment-deploy", member.environment()["id"], "--session-id", "0" * 32, fails=True)


def test_another_projects_things_are_refused(murano: Murano, admin: Person, tmp_path: pathlib.Path) -> None:
    theirs = admin.environment()["id"]
    assert "not authorized" in murano("environment-show", theirs, fails=True).lower()
    package = admin.package(tmp_path)["id"]
    assert murano("package-show", package, fails=True)


def test_without_a_right_password_there_is_no_way_in(programs: pathlib.Path, member: Person) -> None:
    refused = member.run(programs / "murano", "--os-password", "wrong", "environment-list", fails=True)
    assert "401" in refused or "authenti" in refused.lower()


def test_every_command_of_the_client_is_tried_here(murano: Murano, world: World) -> None:
    """A newer client may bring more."""
    commands = set(re.findall(r"^ {4}([a-z][a-z-]+)", murano("help"), re.MULTILINE)) - {"bash-completion", "help"}
    assert len(commands) >= 39
    tried = pathlib.Path(__file__).read_text()
    assert {each for each in commands if f'"{each}"' not in tried} == set()
