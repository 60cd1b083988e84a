"""Rules of community repositories."""

from __future__ import annotations

from catalog.policies.base import ANYBODY, rule

RULES = (
    rule(
        "get_repository",
        ANYBODY,
        "List the configured repositories, search them.",
        ("GET", "/v1/catalog/repositories"),
        ("GET", "/v1/catalog/repositories/search"),
    ),
)
