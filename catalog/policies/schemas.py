"""The rule of class schemas."""

from __future__ import annotations

from catalog.policies.base import ANYBODY, rule

RULES = (
    rule(
        "get_schema",
        ANYBODY,
        "Read the JSON schema of a class.",
        ("GET", "/v1/schemas/{class_name}"),
        ("GET", "/v1/schemas/{class_name}/{methods}"),
    ),
)
