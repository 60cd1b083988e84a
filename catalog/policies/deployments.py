"""Rules of deployments and their reports."""

from __future__ import annotations

from catalog.policies.base import ANYBODY, WRITER, rule

RULES = (
    rule(
        "list_deployments",
        ANYBODY,
        "List an environment's deployments.",
        ("GET", "/v1/environments/{environment_id}/deployments"),
    ),
    rule("list_deployments_all_environments", ANYBODY, "List the project's deployments.", ("GET", "/v1/deployments")),
    rule(
        "statuses_deployments",
        ANYBODY,
        "Read a deployment's reports, at once or as they happen.",
        ("GET", "/v1/environments/{environment_id}/deployments/{deployment_id}"),
        ("GET", "/v1/environments/{environment_id}/deployments/{deployment_id}/events"),
    ),
    rule(
        "output_deployments",
        ANYBODY,
        "Read what the scripts of a deployment print, at once or as they do.",
        ("GET", "/v1/environments/{environment_id}/deployments/{deployment_id}/output"),
        ("GET", "/v1/environments/{environment_id}/deployments/{deployment_id}/events"),
    ),
    rule(
        "cancel_deployment",
        WRITER,
        "Cancel a deployment that runs.",
        ("POST", "/v1/environments/{environment_id}/deployments/{deployment_id}/cancel"),
    ),
    rule(
        "retry_deployment",
        WRITER,
        "Go on with a deployment that failed, from the step that failed.",
        ("POST", "/v1/environments/{environment_id}/deployments/{deployment_id}/retry"),
    ),
)
