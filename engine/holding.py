"""Whether the plan that a deployment is held to still holds, asked by the worker before the deployment's first effect.

The API has compared already, when the deployment was asked for; but it may have waited since, and the cloud is nobody's
to lock. What changes in a cloud between this look and the first effect is not seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import dsl
from catalog.db import deployments, plans
from engine import closing, effects, outages, packages, plan
from engine.clouds import services
from engine.lease import Draining, Lease, LeaseLost


def refusal(
    held: Lease,
    row: deployments.Deployment,
    clouds: Callable[[effects.Context], services.Cloud],
    context_until: Callable[[plan.Deadline], effects.Context],
    library: Callable[[packages.Lock], dsl.Library],
    natives: Mapping[str, type],
    configurations: Any,
    key: bytes,
) -> closing.Ending | None:
    """The ending of a deployment whose plan does not hold, None where it does. Nothing was changed by then.

    Raises `dsl.Interrupted` when another worker shall look.
    """
    wanted = row.plan or {}

    def made() -> dict[str, Any]:
        deadline = _Deadline(held)
        context = context_until(deadline)
        return plan.plan(
            plan.Question(
                library=library(row.lock),
                model=row.model,
                action=row.action,
                context=context,
                natives=natives,
                key=key,
                base=clouds(context),
                configurations=configurations,
                moment=wanted.get("moment"),
                deadline=deadline,
            )
        )

    try:
        now = outages.patiently(made, what=f"deployment {row.id}: its plan", pause=held.pause)
        held.check()
    except dsl.Interrupted as interruption:
        if isinstance(interruption, LeaseLost | Draining):
            raise
        return _refused(str(interruption))
    except plan.Unfinished as error:
        if isinstance(held.interruption, LeaseLost | Draining):
            raise held.interruption from error
        return _refused(str(held.interruption or f"Whether the plan still holds could not be found out: {error}"))
    except (packages.PackageMissing, dsl.PackageError, dsl.DslError) as error:
        return _refused(f"The plan does not hold any more: {error}")
    if now["hash"] == wanted["hash"]:
        return None
    kept = held.read(lambda session: plans.get(session, row.environment_id, wanted["hash"]))
    planned = None if kept is None else kept.steps
    found = plans.moved(wanted["hash"], planned, now["steps"], now["hash"])
    return _refused(plans.sentence(found), json.dumps(found, indent=1))


class _Deadline(plan.Deadline):
    """Over, too, when the worker may not go on."""

    def __init__(self, held: Lease) -> None:
        super().__init__()
        self._held = held

    def check(self) -> None:
        self._held.check()
        super().check()


def _refused(message: str, details: str | None = None) -> closing.Ending:
    text = f"{message} Nothing was changed. Make a new plan, and go on with its hash."
    return closing.Ending(complaints=(closing.Complaint(message=text, details=details),), untouched=True, refused=text)
