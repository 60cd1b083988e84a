"""Who may do what: oslo.policy rules under the names operators know from Murano (spec/api-v1 §1.2).

`Policy(conf).authorize(caller, rule, target)` raises `catalog.api.errors.Forbidden`. Rules a policy file does not
name have the defaults registered here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any, Protocol

from oslo_config import cfg
from oslo_policy import policy

from catalog.api import errors
from catalog.policies import (
    base,
    categories,
    deployments,
    environments,
    packages,
    receipts,
    repositories,
    schemas,
    statistics,
)
from catalog.policies import templates as environment_templates


class Caller(Protocol):
    """What a rule can ask about who calls."""

    @property
    def user_id(self) -> str: ...

    @property
    def project_id(self) -> str: ...

    @property
    def roles(self) -> tuple[str, ...]: ...

    @property
    def is_admin(self) -> bool: ...


def list_rules() -> list[policy.RuleDefault]:
    """Every rule with its default, for the enforcer and for oslopolicy-sample-generator."""
    modules = (
        base,
        environments,
        receipts,
        deployments,
        environment_templates,
        packages,
        categories,
        repositories,
        schemas,
        statistics,
    )
    return list(itertools.chain.from_iterable(module.RULES for module in modules))


RELOAD_SECONDS = 1.0  # a change of the operator's file is noticed within


class _Enforcer(policy.Enforcer):
    """oslo.policy's, which looks for a changed file once a second and not with every decision."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._looked = float("-inf")

    def load_rules(self, force_reload: bool = False) -> None:
        now = time.monotonic()
        if force_reload or now - self._looked >= RELOAD_SECONDS:
            super().load_rules(force_reload)
            self._looked = now


class Policy:
    """The rules in force: the defaults, changed by the operator's policy file (`[oslo_policy] policy_file`)."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = _Enforcer(conf)
        self._enforcer.register_defaults(list_rules())
        self._enforcer.load_rules()

    def allows(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Whether the caller may; `target` is what the call is about, such as `{"environment_id": ...}`."""
        credentials = {
            "user_id": caller.user_id,
            "project_id": caller.project_id,
            "tenant": caller.project_id,
            "roles": list(caller.roles),
            "is_admin": caller.is_admin,
        }
        return bool(self._enforcer.authorize(rule, dict(target or {}), credentials, do_raise=False))

    def authorize(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Raises `errors.Forbidden` when the caller may not."""
        if not self.allows(caller, rule, target):
            raise errors.Forbidden(
                f"Policy rule {rule} does not allow this: expected a role it names, "
                f"found {', '.join(caller.roles) or 'none'}. Ask an administrator of the service."
            )
