"""Applications that nobody here wrote, unmodified, from model to finished deployment with agents that answer.

`CHANDLERY_PUBLIC_PACKAGES` names a folder with checkouts of openstack/murano-apps, ci-cd-pipeline-app-murano and
k8s-docker-suite-app-murano, or some of them.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

import dsl
from dsl import packages

FOLDER = os.environ.get("CHANDLERY_PUBLIC_PACKAGES")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CHANDLERY_PUBLIC_PACKAGES names no folder with packages")

_numbers = itertools.count(1)


def server(kind: str = "io.murano.resources.LinuxMuranoInstance") -> dict:
    name = f"vm{next(_numbers)}"
    return {"?": {"type": kind, "id": name}, "name": name, "flavor": "f", "image": "i", "assignFloatingIp": True}


def application(kind: str, version: str | None = None, identifier: str = "app", **properties: object) -> dict:
    header = {"type": kind, "id": identifier, "name": identifier}
    if version is not None:
        header["classVersion"] = version
    return {"?": header, "name": identifier, **properties}


def group(count: int) -> dict:
    provider = {
        "?": {"type": "io.murano.applications.TemplateServerProvider", "id": "provider"},
        "serverNamePattern": "server-{}",
        "template": server(),
    }
    header = {"type": "io.murano.applications.ServerReplicationGroup", "id": "group", "name": "group"}
    return {"?": header, "numItems": count, "provider": provider}


DATABASE = {"database": "d", "username": "u", "password": "p"}
MYSQL = "com.example.databases.MySql"
APACHE = "com.example.apache.ApacheHttpServer"
CASSANDRA = "com.example.apache.CassandraNode"
GOCD = "com.mirantis.GoCDNode"
PIPELINE = "org.openstack.ci_cd_pipeline_murano_app"
SITE = {"dbName": "n", "dbUser": "u", "dbPassword": "p"}

# What the dashboard would post; the text is part of one of the reports.
APPLICATIONS = {
    "tomcat": (lambda: [application("com.example.apache.Tomcat", instance=server())], "Tomcat is available at http://"),
    "apache": (lambda: [application(APACHE, instance=server(), enablePHP=True)], "Apache is available at http://"),
    "apache 1.0": (lambda: [application(APACHE, "1", servers=group(2))], "Apache is available at http://"),
    "bursting apache": (
        lambda: [application("com.example.apache.BurstingApacheHttpServer", servers=group(2))],
        "Apache is available at http://",
    ),
    "percona": (
        lambda: [application("com.mirantis.applications.percona.XtraDBCluster", servers=group(3), rootPassword="x")],
        "MySQL is available at",
    ),
    "mysql": (lambda: [application(MYSQL, instance=server(), **DATABASE)], "MySQL is available at"),
    "postgresql": (
        lambda: [application("com.example.databases.PostgreSql", instance=server(), **DATABASE)],
        "PostgreSQL is available at",
    ),
    "zabbix": (
        lambda: [application("com.example.ZabbixServer", instance=server(), **DATABASE)],
        "/zabbix",
    ),
    "wordpress": (
        lambda: [
            application(MYSQL, identifier="mysql", instance=server(), **DATABASE),
            application(APACHE, identifier="apache", instance=server(), enablePHP=True),
            application("com.example.ZabbixServer", identifier="zabbix", instance=server(), **DATABASE),
            application("com.example.ZabbixAgent", identifier="za", hostname="h", probe="ICMP", server="zabbix"),
            application("com.example.WordPress", server="apache", database="mysql", monitoring="za", **SITE),
        ],
        "/wordpress",
    ),
    "sugarcrm": (
        lambda: [
            application(MYSQL, identifier="mysql", instance=server(), **DATABASE),
            application(APACHE, identifier="apache", instance=server(), enablePHP=True),
            application(
                "com.example.SugarCRM",
                server="apache",
                database="mysql",
                adminUser="a",
                adminPassword="p",
                demoData=True,
                **SITE,
            ),
        ],
        "/Sugar",
    ),
    "bind": (
        lambda: [application("com.mirantis.network.dns.Bind", instance=server(), zoneName="z.org", dnsSecKey="k")],
        "BIND configured",
    ),
    "cassandra": (
        lambda: [
            application(
                "com.example.apache.CassandraCluster",
                seedNodes=[application(CASSANDRA, identifier="seed", instance=server())],
                regularNodes=[application(CASSANDRA, identifier="regular", instance=server())],
            )
        ],
        "nodetool status",
    ),
    "chef": (
        lambda: [
            application("com.example.conflang.chef.GitChef", instance=server("io.murano.resources.ConfLangInstance"))
        ],
        "Git Chef is installed",
    ),
    "gocd": (
        lambda: [
            application(
                "com.mirantis.GoCDApp",
                server=application(GOCD, identifier="server", instance=server()),
                agentNodes=[application(GOCD, identifier="agent", instance=server())],
            )
        ],
        "Running at http://",
    ),
    "cloud foundry": (
        lambda: [application("com.example.paas.CloudFoundry", instance=server(), appName="a")],
        "Ubuntu 14.04",
    ),
    "operations manager": (
        lambda: [
            application(
                "com.example.pivotal.OpsManager",
                instance=server("com.example.pivotal.OpsManagerInstance"),
                auth_url="u",
                username="a",
                password="b",
                osUser="o",
                osPass="p",
                osTenant="t",
                sshKey="k",
            )
        ],
        "OpsManager is available at",
    ),
    "load balancer": (
        lambda: [
            application("org.openstack.murano.lbaas.HAProxy", instance=server(), user="u", port=8, **{"pass": "p"})
        ],
        "HA-proxy is available at",
    ),
    "openldap": (
        lambda: [
            application(
                f"{PIPELINE}.OpenLDAP",
                instance=server(f"{PIPELINE}.puppet.PuppetInstance"),
                domain="x.org",
                ldapRootUser="r",
                ldapRootPass="p",
                ldapRootEmail="e",
                ldapUser="u",
                ldapPass="p",
                ldapEmail="e",
            )
        ],
        "OpenLDAP is deployed",
    ),
    "docker host": (
        lambda: [
            application("com.mirantis.docker.DockerStandaloneHost", identifier="host", instance=server()),
            application("com.example.docker.DockerNginx", host="host", publish=True),
        ],
        "is available at http://",
    ),
}


@pytest.fixture(scope="module")
def public(libraries) -> dsl.Library:
    found = list(libraries)
    for manifest in sorted(Path(FOLDER or ".").rglob("manifest.yaml")):
        if (manifest.parent / "Classes").is_dir():
            found.append(packages.open_package(manifest.parent))
    return dsl.Library(found)


class Shells:
    """Agents whose scripts print what the packages want to read."""

    def __init__(self, world) -> None:
        self.world = world

    def get(self, _name: str, _default: object = None) -> object:
        return self.answer

    @staticmethod
    def answer(plan: dict) -> object:
        if "stdout" not in str(plan.get("Body")):
            return {"exitCode": 0, "stdout": "printed", "stderr": ""}
        return "Ubuntu 14.04"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_unmodified_application_is_deployed_and_stored(public, world, name):
    make, text = APPLICATIONS[name]
    applications = make()
    if not any(applications[-1]["?"]["type"] in package.manifest.classes for package in public.packages):
        pytest.skip(f"the folder has no package of {applications[-1]['?']['type']}")
    world.answers = Shells(world)
    network = {"?": {"type": "io.murano.resources.NeutronNetwork", "id": "network"}, "name": "net"}
    environment = {
        "?": {"type": "io.murano.Environment", "id": "env", "name": "environment"},
        "name": "demo",
        "defaultNetworks": {"environment": network, "flat": None},
        "applications": applications,
    }

    program = dsl.Runtime(public, system=world).load({"Objects": environment})
    program.call("env", "deploy")
    model = program.finalize()

    assert any(text in report for _, level, report in world.reports), world.reports
    assert not [report for report in world.reports if report[1] == "error"]
    pushed = len(world.pushes)
    again = dsl.Runtime(public, system=world).load(model)
    again.collect()
    assert len(world.pushes) == pushed
    again.discard()
