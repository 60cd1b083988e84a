"""Rules of environment templates."""

from __future__ import annotations

from catalog.policies.base import ANYBODY, WRITER, rule

RULES = (
    rule("list_env_templates", ANYBODY, "List templates.", ("GET", "/v1/templates")),
    rule("create_env_template", WRITER, "Create a template.", ("POST", "/v1/templates")),
    rule(
        "show_env_template",
        ANYBODY,
        "Show a template and its applications; create an environment from it.",
        ("GET", "/v1/templates/{env_template_id}"),
        ("GET", "/v1/templates/{env_template_id}/services"),
        ("GET", "/v1/templates/{env_template_id}/services/{path}"),
        ("POST", "/v1/templates/{env_template_id}/create-environment"),
    ),
    rule("update_env_template", WRITER, "Change a template.", ("PUT", "/v1/templates/{env_template_id}")),
    rule("delete_env_template", WRITER, "Delete a template.", ("DELETE", "/v1/templates/{env_template_id}")),
    rule("clone_env_template", WRITER, "Clone a public template.", ("POST", "/v1/templates/{env_template_id}/clone")),
    rule(
        "update_service_env_template",
        WRITER,
        "Change the applications of a template.",
        ("POST", "/v1/templates/{env_template_id}/services"),
        ("PUT", "/v1/templates/{env_template_id}/services/{path}"),
        ("DELETE", "/v1/templates/{env_template_id}/services/{path}"),
    ),
)
