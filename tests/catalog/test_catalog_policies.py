"""Policy: the rules operators know from Murano (spec/api-v1 §1.2), and every route under one of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from catalog_cloud import Client, Cloud

from catalog import config, policies, service
from catalog.api import openapi

# The names in a policy file that was written for Murano; an operator's file goes on to mean what it meant.
MURANO = """
    context_is_admin admin_api default
    list_environments list_environments_all_tenants show_environment update_environment create_environment
    delete_environment list_deployments list_deployments_all_environments statuses_deployments execute_action
    list_env_templates create_env_template show_env_template update_env_template delete_env_template clone_env_template
    update_service_env_template
    get_package upload_package modify_package delete_package download_package publicize_package manage_public_package
    get_category add_category delete_category
    get_aggregated_statistics get_instance_statistics get_statistics get_schema
"""

# Routes under no rule: the document is for everybody, and what is posted to a path of an application is nowhere.
FREE = {("GET", "/v1/openapi.json"), ("POST", "/v1/environments/{}/services/{}")}


def test_every_rule_of_murano_is_there_under_its_name() -> None:
    assert set(MURANO.split()) <= {rule.name for rule in policies.list_rules()}


def test_every_route_is_under_a_rule_and_every_rule_says_which_routes() -> None:
    def plain(path: str) -> str:
        return re.sub(r"\{\w+\}", "{}", path.partition("?")[0])

    paths = openapi.document()["paths"]
    routes = {
        (method.upper(), plain(path)) for path, item in paths.items() if path.startswith("/v1/") for method in item
    }
    ruled = {
        (operation["method"], plain(operation["path"]))
        for rule in policies.list_rules()
        for operation in getattr(rule, "operations", None) or ()
    }
    assert ruled == routes - FREE


@pytest.mark.parametrize(
    ("rule", "method", "paths"),
    [
        ("show_environment", "GET", ["", "/services", "/services/a1", "/model/", "/lastStatus", "/topology"]),
        ("list_deployments", "GET", ["/deployments"]),
        ("get_instance_statistics", "GET", ["/instance-statistics/raw"]),
        ("delete_environment", "DELETE", [""]),
    ],
)
def test_what_an_operator_keeps_to_administrators_nobody_else_gets(
    rule: str, method: str, paths: list[str], tmp_path: Path, cloud: Cloud
) -> None:
    environment_id = cloud.member.environment()["id"]
    (tmp_path / "policy.yaml").write_text(f'"{rule}": "rule:admin_api"\n')
    (tmp_path / "chandlery.conf").write_text(f"[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml\n")
    app = service.create_app(config.load([str(tmp_path / "chandlery.conf")]), database=cloud.database)
    member, admin = (Client(app, each.token) for each in (cloud.member, cloud.admin))
    for path in paths:
        answer = member(method, f"/v1/environments/{environment_id}{path}", status=403)
        assert f"Policy rule {rule} does not allow this" in answer.text
    for path in paths:
        admin(method, f"/v1/environments/{environment_id}{path}")
    app.services.engine.close()
