"""What a user fills into the packages' forms becomes a composition that the check accepts (spec/dynamic-ui §2, §7)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import packages_cloud
import pytest
import yaql
from packages_cloud import Cloud, Environment
from yaql.language import factory

import dsl.syntax

SERVERS = {
    "flavor": "m1.medium",
    "image": "debian-12",
    "keyPair": "",
    "availabilityZone": "nova",
    "assignFloatingIp": False,
}
CLUSTER = {
    "name": "kube",
    "minionCount": 2,
    "gatewayCount": 1,
    "version": "1.31.4",
    "imageRepository": "",
    "registryMirror": "",
    "packageMirror": "https://pkgs.k8s.io/core:/stable:",
}
ANSWERS: dict[str, dict[str, dict[str, object]]] = {
    "org.chandlery.kubernetes.Cluster": {"cluster": CLUSTER, "servers": SERVERS},
    "org.chandlery.kubernetes.Pod": {
        "pod": {"name": "pod", "cluster": "org.chandlery.kubernetes.Cluster", "replicas": 2}
    },
    "org.chandlery.containers.Host": {
        "host": {"name": "containers", "registryMirror": "mirror.example:5000"},
        "server": {**SERVERS, "unitNamingPattern": "host-#"},
    },
    "org.chandlery.InfluxDB": {
        "application": {"name": "influxdb", "host": "org.chandlery.kubernetes.Pod", "public": True},
        "database": {
            "database": "metrics",
            "user": "metrics",
            "password": "Secret-1",
            "adminPassword": "Secret-2",
            "dataFolder": "",
        },
    },
    "org.chandlery.Grafana": {
        "application": {
            "name": "grafana",
            "host": "org.chandlery.containers.Host",
            "influxDB": "org.chandlery.InfluxDB",
            "public": True,
        },
        "access": {"adminUser": "admin", "adminPassword": "Secret-3"},
    },
}


class Form:
    """A UI definition and the answers to its fields, evaluated like the dashboard does it."""

    def __init__(self, name: str, answers: Mapping[str, object]) -> None:
        path = packages_cloud.ROOT / name / "UI" / "ui.yaml"
        (self.definition,) = dsl.syntax.load(path.read_bytes(), str(path))
        self.engine = factory.YaqlFactory(keyword_operator="=>").create()
        self.context = yaql.create_context()
        self.context["$"] = answers
        for template, content in self.definition.get("Templates", {}).items():
            self.context[template] = content
        self.context.register_function(lambda template, times: self._repeat(template, times), name="repeat")
        self.context.register_function(lambda pattern, number: self._hostname(pattern, number), name="generateHostname")

    def result(self) -> dict:
        application = self.evaluate(self.definition["Application"], self.context)
        assert isinstance(application, dict)
        return application

    def evaluate(self, value: object, context: object) -> object:
        if isinstance(value, dsl.syntax.Expression):
            return self.evaluate(self.engine(value.text).evaluate(context=context), context)
        if isinstance(value, Mapping):
            return {key: self.evaluate(item, context) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.evaluate(item, context) for item in value]
        return value

    def _repeat(self, template: object, times: int) -> list[object]:
        results = []
        for index in range(1, times + 1):
            context = self.context.create_child_context()
            context["$index"] = index
            results.append(self.evaluate(template, context))
        return results

    @staticmethod
    def _hostname(pattern: str, number: int) -> str:
        return pattern.replace("#", str(number)) if pattern else f"host{number}"


def identified(name: str) -> dict:
    application = Form(name, ANSWERS[name]).result()
    application["?"]["id"] = name
    return application


def test_the_answers_are_complete() -> None:
    for name, answers in ANSWERS.items():
        definition = Form(name, answers).definition
        fields: dict[str, set[str]] = {}
        for entry in definition["Forms"]:
            for form, content in entry.items():
                fields[form] = {field["name"] for field in content["fields"]}
        assert fields == {form: set(values) for form, values in answers.items()}


def test_forms_make_a_composition_that_the_check_accepts() -> None:
    environment = Environment(Cloud(), [identified(name) for name in ANSWERS])
    assert environment.check() == []


def test_the_cluster_has_as_many_servers_as_were_asked_for() -> None:
    cluster = identified("org.chandlery.kubernetes.Cluster")
    nodes = [cluster["master"], *cluster["minions"], *cluster["gateways"]]
    assert [node["instance"]["name"] for node in nodes] == [
        "kube-master",
        "kube-minion-1",
        "kube-minion-2",
        "kube-gateway-1",
    ]


@pytest.mark.parametrize("name", ANSWERS)
def test_the_values_that_a_form_proposes_are_accepted(name: str) -> None:
    proposed: dict[str, dict[str, object]] = {form: dict(values) for form, values in ANSWERS[name].items()}
    for entry in Form(name, {}).definition["Forms"]:
        for form, content in entry.items():
            for field in content["fields"]:
                if "initial" in field:
                    proposed[form][field["name"]] = field["initial"]
    application = Form(name, proposed).result()
    application["?"]["id"] = uuid.uuid4().hex
    others = [identified(other) for other in ANSWERS]
    assert Environment(Cloud(), [*others, application]).check() == []
