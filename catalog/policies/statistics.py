"""Rules of statistics."""

from __future__ import annotations

from catalog.policies.base import ADMIN, ANYBODY, rule

RULES = (
    rule(
        "get_instance_statistics",
        ANYBODY,
        "Read what instances an environment has and had.",
        ("GET", "/v1/environments/{environment_id}/instance-statistics/raw"),
        ("GET", "/v1/environments/{environment_id}/instance-statistics/raw/{instance_id}"),
    ),
    rule(
        "get_aggregated_statistics",
        ANYBODY,
        "Read sums of what instances an environment has and had.",
        ("GET", "/v1/environments/{environment_id}/instance-statistics/aggregated"),
    ),
    rule("get_statistics", ADMIN, "Read request counts of the API.", ("GET", "/v1/stats")),
)
