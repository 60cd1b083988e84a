"""Public packages that have no story of their own: libraries that other stories run, and what is broken as shipped."""

from __future__ import annotations

import public_cloud
import public_world
import pytest
import yaml
from test_public_stories import STORIES

from catalog import dependencies
from dsl import packages, testing
from engine import system
from engine.system import plans

PIPELINE = "org.openstack.ci_cd_pipeline_murano_app"
STATIC = "com.mirantis.docker.kubernetes.static"
LIBRARIES = {  # package: whose story runs its classes
    "com.example.databases": "com.example.databases.MySql",
    "com.mirantis.docker.Interfaces": "com.example.docker.DockerNginx",
    "io.murano.apps.lbaas.LBaaS": "io.murano.apps.lbaas.HAProxy",
    "org.openstack.murano.lbaas": "org.openstack.murano.lbaas.HAProxy",
    f"{PIPELINE}.utils.CiCdUtils": f"{PIPELINE}.CiCdEnvironment",
    f"{PIPELINE}.puppet.Puppet": f"{PIPELINE}.OpenLDAP",
    f"{PIPELINE}.puppet.SystemConfig": f"{PIPELINE}.Gerrit",
    f"{PIPELINE}.ZuulNodepoolHelper": f"{PIPELINE}.CiCdEnvironment",
}
REFUSED = {  # by every upload: package: pieces of what it is told, by file
    "com.example.conflang.puppet.MySQLPuppet": [  # the namespace repeats the name of the class
        "Classes/MySQLPuppet.yaml:1:1",
        "found com.example.conflang.puppet.MySQLPuppet.MySQLPuppet",
    ],
    f"{PIPELINE}.v2.CiCd2": [  # the manifest has another name for the class, and one whose file is missing
        "Classes/CiCd2.yaml:1:1",
        f"expected {PIPELINE}.v2.CiCdEnvironment, found {PIPELINE}.v2.CiCd2",
        "Classes/NodepoolConfigurator.yaml: the file of class",
    ],
}
LACKING = {"com.mirantis.PaloAlto": "org.openstack.networkingSfc"}  # requires what no repository has
BROKEN = {f"{STATIC}.KubernetesEntities"}  # names the class of the cluster in its own namespace


def test_every_package_of_the_folder_is_told_of(installation):
    told = {*(name.partition("/")[0] for name in STORIES), *LIBRARIES, *REFUSED, *LACKING, *BROKEN}
    found = {packages.open_package(folder).manifest.full_name for folder in installation.folders}
    assert found - told == set()
    versions = {(name, version) for name, version in installation.packages if not name.startswith("io.murano.app")}
    apaches = {version for name, version in versions if name == "com.example.apache.ApacheHttpServer"}
    assert apaches in (set(), {"0.0.0", "1.0.0"}), "both have a story"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_is_run_by_the_story_of_another_package(installation, name):
    is_there(installation, name)
    composed = STORIES[LIBRARIES[name]].compose(installation.form)
    with installation.database.reading() as session:
        lock = dependencies.lock_of(session, public_world.PROJECT, composed)
    assert name in {each["fqn"] for each in lock}


@pytest.mark.parametrize("name", REFUSED)
def test_a_package_that_contradicts_itself_is_refused_by_its_lines(installation, name):
    if name not in installation.refused:
        is_there(installation, name)
    for piece in REFUSED[name]:
        assert piece in installation.refused[name]


def test_the_puppet_plan_of_a_refused_package_is_one_that_agents_take(installation):
    """The package's classes are wrong, its plan is not: the class and its modules reach the agent by name and URL."""
    folder = next((each for each in installation.folders if each.parent.name == "MySQLPuppet"), None)
    if folder is None:
        pytest.skip("the folder has no package MySQLPuppet")
    template = next(iter(sorted((folder / "Resources").glob("*.template"))))
    plan = plans.build_plan(yaml.safe_load(template.read_text()), None, "0" * 32, lambda: 1)
    (script,) = plan["Scripts"].values()
    assert (plan["FormatVersion"], script["Type"], script["EntryPoint"]) == ("2.1.0", "Puppet", "mysql::server")
    files = [plan["Files"][file_id] for file_id in script["Files"]]
    assert [each["Name"] for each in files] == ["staging", "stdlib", "mysql"]
    assert all(each["Type"] == "Downloadable" and each["URL"].endswith(".git") for each in files)


@pytest.mark.parametrize("name", LACKING)
def test_a_package_whose_requirement_nobody_has_is_not_deployed(installation, name):
    is_there(installation, name)
    environment = installation.environment(f"lacking-{name}", public_cloud.ScriptedCloud({}))
    environment.add(installation.form(name, "app"))
    with pytest.raises(dependencies.Unresolvable, match=f"requires {LACKING[name]}.*import {LACKING[name]} first"):
        environment.deploy()


def test_the_static_entities_name_a_class_that_does_not_exist(installation):
    is_there(installation, f"{STATIC}.KubernetesEntities")
    package = installation.package(f"{STATIC}.KubernetesEntities")
    others = [each for each in installation.packages.values() if each is not package]
    problems = [str(each) for each in testing.check(package, others, system.natives())]
    for name in ("Pod", "ReplicationController", "Service"):
        told = f"the class {STATIC}.KubernetesCluster is in neither"
        assert any(f"Classes/{name}.yaml:" in each and told in each for each in problems), problems


def is_there(installation: public_world.Installation, name: str) -> None:
    if name not in {found for found, _version in installation.packages}:
        pytest.skip(f"the folder has no package {name}")
