"""Rules of environments, their models, sessions and applications."""

from __future__ import annotations

from catalog.policies.base import ADMIN, ANYBODY, WRITER, rule

RULES = (
    rule("list_environments", ANYBODY, "List the project's environments.", ("GET", "/v1/environments")),
    rule(
        "list_environments_all_tenants",
        ADMIN,
        "List the environments of other projects.",
        ("GET", "/v1/environments?all_tenants=true"),
        ("GET", "/v1/environments?tenant={project}"),
    ),
    rule(
        "show_environment",
        ANYBODY,
        "Show an environment, its applications, model, sessions and topology; check and plan it.",
        ("GET", "/v1/environments/{environment_id}"),
        ("GET", "/v1/environments/{environment_id}/lastStatus"),
        ("GET", "/v1/environments/{environment_id}/services"),
        ("GET", "/v1/environments/{environment_id}/services/{path}"),
        ("GET", "/v1/environments/{environment_id}/model/"),
        ("GET", "/v1/environments/{environment_id}/model/{path}"),
        ("GET", "/v1/environments/{environment_id}/sessions/{session_id}"),
        ("GET", "/v1/environments/{environment_id}/topology"),
        ("POST", "/v1/environments/{environment_id}/check"),
        ("POST", "/v1/environments/{environment_id}/plan"),
    ),
    rule(
        "update_environment",
        WRITER,
        "Rename an environment, change its model.",
        ("PUT", "/v1/environments/{environment_id}"),
        ("PATCH", "/v1/environments/{environment_id}/model/"),
    ),
    rule(
        "create_environment",
        WRITER,
        "Create an environment, from a template, too.",
        ("POST", "/v1/environments"),
        ("POST", "/v1/templates/{env_template_id}/create-environment"),
    ),
    rule("delete_environment", WRITER, "Delete an environment.", ("DELETE", "/v1/environments/{environment_id}")),
    rule(
        "change_session",
        WRITER,
        "Open, delete and deploy sessions; add, change and remove applications in them.",
        ("POST", "/v1/environments/{environment_id}/configure"),
        ("DELETE", "/v1/environments/{environment_id}/sessions/{session_id}"),
        ("POST", "/v1/environments/{environment_id}/sessions/{session_id}/deploy"),
        ("POST", "/v1/environments/{environment_id}/services"),
        ("PUT", "/v1/environments/{environment_id}/services"),
        ("PUT", "/v1/environments/{environment_id}/services/{path}"),
        ("DELETE", "/v1/environments/{environment_id}/services"),
        ("DELETE", "/v1/environments/{environment_id}/services/{path}"),
    ),
    rule(
        "execute_action",
        WRITER,
        "Run actions of applications and static actions; read their results.",
        ("POST", "/v1/environments/{environment_id}/actions/{action_id}"),
        ("GET", "/v1/environments/{environment_id}/actions/{task_id}"),
        ("POST", "/v1/actions"),
    ),
)
