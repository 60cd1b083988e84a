"""The rules other rules are made of."""

from __future__ import annotations

from oslo_policy import policy

ANYBODY = "rule:default"
ADMIN = "rule:admin_api"
WRITER = "rule:writer"  # whoever is more than a reader: existing role names keep their rights

RULES = (
    policy.RuleDefault("context_is_admin", "role:admin", "Holders of the administrator's role."),
    policy.RuleDefault("admin_api", "is_admin:True", "What only administrators may do."),
    policy.RuleDefault("default", "", "What everybody who is logged in may do."),
    policy.RuleDefault(
        "writer",
        "is_admin:True or role:member or not role:reader",
        "What changes something: everybody but those whose role is to read.",
    ),
)


def rule(name: str, default: str, description: str, *operations: tuple[str, str]) -> policy.DocumentedRuleDefault:
    """A documented rule; `operations` are (method, path) pairs."""
    documented: list[policy.Operation] = [{"method": method, "path": path} for method, path in operations]
    return policy.DocumentedRuleDefault(name, default, description, documented)
