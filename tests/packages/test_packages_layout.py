"""The bundled packages as files: what a manifest, a class or a plan names is there, and nothing is there unnamed."""

from __future__ import annotations

import io
import json
import pathlib
import re
import subprocess
from collections.abc import Iterator, Mapping

import PIL.Image
import pytest
import yaml

import dsl.packages
import dsl.syntax

ROOT = pathlib.Path(__file__).parents[2] / "packages"
FOLDERS = sorted(ROOT.glob("org.chandlery.*"))
APPLICATIONS = [folder for folder in FOLDERS if folder.name != "org.chandlery.containers"]
PLANS = sorted(ROOT.glob("org.chandlery.*/Resources/*.template"))
SCRIPTS = sorted(ROOT.glob("org.chandlery.*/Resources/scripts/*.sh"))


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def opened(folder: pathlib.Path) -> dsl.packages.Package:
    return dsl.packages.open_package(folder)


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_package_is_called_like_its_folder(folder: pathlib.Path) -> None:
    assert opened(folder).full_name == folder.name


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_class_file_is_in_the_manifest_and_declares_the_class_it_is_listed_under(folder: pathlib.Path) -> None:
    package = opened(folder)
    files = {name.removeprefix("Classes/") for name in package.names if name.startswith("Classes/")}
    assert set(package.manifest.classes.values()) == files
    for class_name in package.class_names:
        assert package.declaration(class_name).name == class_name


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_the_check_of_packages_finds_nothing_wrong(folder: pathlib.Path) -> None:
    others = [opened(other) for other in [ROOT / "io.murano", *FOLDERS] if other != folder]
    assert dsl.packages.check_package(opened(folder), others) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_what_a_package_requires_is_bundled_in_a_version_that_fits(folder: pathlib.Path) -> None:
    bundled = {other.name: opened(other).version for other in FOLDERS}
    for name, specification in yaml.safe_load((folder / "manifest.yaml").read_text()).get("Require", {}).items():
        assert dsl.packages.VersionSpec.parse(specification).matches(bundled[name]), name


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_type_without_a_version_means_our_packages(folder: pathlib.Path) -> None:
    assert dsl.packages.VersionSpec.parse("0").matches(opened(folder).version)


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_logo_is_a_small_square_png_drawn_as_svg(folder: pathlib.Path) -> None:
    content = (folder / "logo.png").read_bytes()
    image = PIL.Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("PNG", (128, 128))
    assert len(content) < 10_000
    assert (folder / "logo.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_readme_names_every_property_and_action(folder: pathlib.Path) -> None:
    readme = (folder / "README.md").read_text()
    for path in sorted((folder / "Classes").glob("*.yaml")):
        text = path.read_text()
        named = re.findall(r"^  (\w+):\n    Scope: Public$", text, re.MULTILINE)
        if path.stem == folder.name.rsplit(".", 1)[-1]:
            properties = text.split("\nProperties:\n", 1)[1].split("\nMethods:\n", 1)[0]
            named += re.findall(r"^  (\w+):$", properties, re.MULTILINE)
        for name in named:
            assert f"`{name}`" in readme, f"{name} of {path.stem}"


@pytest.mark.parametrize("folder", APPLICATIONS, ids=name_of)
def test_a_form_builds_an_object_of_the_package_from_fields_it_has(folder: pathlib.Path) -> None:
    definition = yaml.safe_load(opened(folder).ui_definition or "")
    assert definition["Application"]["?"]["type"] == folder.name
    fields = {
        f"{form}.{field['name']}"
        for entry in definition["Forms"]
        for form, content in entry.items()
        for field in content["fields"]
    }
    used = set(re.findall(r"\$\.(\w+\.\w+)", json.dumps([definition["Application"], definition.get("Templates")])))
    assert used == fields


@pytest.mark.parametrize("folder", APPLICATIONS, ids=name_of)
def test_every_field_of_a_form_has_a_label_and_a_description(folder: pathlib.Path) -> None:
    definition = yaml.safe_load(opened(folder).ui_definition or "")
    for entry in definition["Forms"]:
        for content in entry.values():
            for field in content["fields"]:
                assert field["label"], field["name"]
                assert field["description"], field["name"]


@pytest.mark.parametrize("plan", PLANS, ids=name_of)
def test_a_plan_has_the_scripts_it_names_and_is_run_by_a_class(plan: pathlib.Path) -> None:
    content = yaml.safe_load(plan.read_text())
    for script in content["Scripts"].values():
        for name in [script["EntryPoint"], *script["Files"]]:
            assert (plan.parent / "scripts" / name).is_file(), name
    classes = "".join(path.read_text() for path in plan.parent.parent.glob("Classes/*.yaml"))
    assert f"({plan.stem}, " in classes


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_is_correct_bash_that_stops_at_the_first_error(script: pathlib.Path) -> None:
    assert script.read_text().startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_is_run_by_a_plan(script: pathlib.Path) -> None:
    plans = "".join(path.read_text() for path in script.parent.parent.glob("*.template"))
    assert f"EntryPoint: {script.name}\n" in plans


@pytest.mark.parametrize("bundle", sorted(ROOT.glob("bundles/*.bundle")), ids=name_of)
def test_a_bundle_lists_bundled_packages(bundle: pathlib.Path) -> None:
    listed = [entry["Name"] for entry in json.loads(bundle.read_text())["Packages"]]
    assert listed
    assert set(listed) <= {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/*.json")), ids=name_of)
def test_an_example_refers_to_what_it_has_and_gives_away_no_password(example: pathlib.Path) -> None:
    services = json.loads(example.read_text())
    identifiers = re.findall(r'"id": "([^"]+)"', example.read_text())
    assert len(identifiers) == len(set(identifiers))
    for service in services:
        assert service["?"]["type"] in {folder.name for folder in FOLDERS}
        for name, value in service.items():
            if name in ("host", "cluster", "influxDB"):
                assert value in identifiers
            if "assword" in name:
                assert re.fullmatch(r"\{\w+\}", value)


def scalars(node: object) -> Iterator[object]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from scalars(key)
            yield from scalars(value)
    elif isinstance(node, list):
        for value in node:
            yield from scalars(value)
    else:
        yield node


@pytest.mark.parametrize("path", sorted(ROOT.glob("org.chandlery.*/Classes/**/*.yaml")), ids=name_of)
def test_every_scalar_that_looks_like_an_expression_is_one(path: pathlib.Path) -> None:
    documents = dsl.syntax.load(path.read_bytes(), str(path))
    texts = [value for document in documents for value in scalars(document) if isinstance(value, str)]
    assert [text for text in texts if "$" in text or text.endswith(")")] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("org.chandlery.*/UI/ui.yaml")), ids=name_of)
def test_no_text_of_a_form_is_mistaken_for_an_expression(path: pathlib.Path) -> None:
    (document,) = dsl.syntax.load(path.read_bytes(), str(path))
    expressions = [value for value in scalars(document["Forms"]) if isinstance(value, dsl.syntax.Expression)]
    assert expressions == []
