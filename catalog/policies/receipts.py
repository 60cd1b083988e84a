"""Rules of receipts, and of what is left over in clouds."""

from __future__ import annotations

from catalog.policies.base import ADMIN, ANYBODY, WRITER, rule

RULES = (
    rule("list_receipts", ANYBODY, "List the project's environments that are gone.", ("GET", "/v1/receipts")),
    rule(
        "show_receipt",
        ANYBODY,
        "Show what was made in clouds for an environment and what became of it, also after the environment is gone.",
        ("GET", "/v1/environments/{environment_id}/receipt"),
    ),
    rule(
        "reconcile",
        WRITER,
        "Compare the project's receipts with what its cloud has, and correct them.",
        ("POST", "/v1/reconciliations"),
    ),
    rule(
        "reconcile_all_tenants",
        ADMIN,
        "Do so, and remove leftovers, in other projects.",
        ("GET", "/v1/reconciliations"),
        ("POST", "/v1/reconciliations"),
        ("DELETE", "/v1/leftovers/{stack_id}"),
    ),
    rule("remove_leftover", WRITER, "Remove a stack that is left over.", ("DELETE", "/v1/leftovers/{stack_id}")),
)
