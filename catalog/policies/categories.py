"""Rules of categories."""

from __future__ import annotations

from catalog.policies.base import ADMIN, ANYBODY, rule

RULES = (
    rule(
        "get_category",
        ANYBODY,
        "List and show categories.",
        ("GET", "/v1/catalog/categories"),
        ("GET", "/v1/catalog/categories/{category_id}"),
    ),
    rule("add_category", ADMIN, "Add a category.", ("POST", "/v1/catalog/categories")),
    rule("delete_category", ADMIN, "Delete a category.", ("DELETE", "/v1/catalog/categories/{category_id}")),
)
