"""What is left when a deployment has ended: errors that destructors swallowed, and what clouds still have.

MuranoPL goes on with a destruction whatever fails in it (spec/engine-flow §4); here that is told. What leaves something
in a cloud is an error; anything else a destructor failed with is a warning, and a deletion goes through with it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import dsl
from catalog.db import deployments, resources, statuses
from engine import closing, execution, progress, traces
from engine.lease import Draining, Lease, LeaseLost

CHANGES = ("heat.push", "heat.delete", "mistral.run", "mistral.upload", "network.create_router")
GONE_BEFORE = "it was gone already when the environment was deleted"


def accounted(
    ending: closing.Ending,
    row: deployments.Deployment,
    program: dsl.Program | None,
    system: execution.DurableSystem,
    components: progress.Components,
    held: Lease,
) -> closing.Ending:
    """The ending, with all that destructors failed with and what clouds have. Raises `LeaseLost` and `Draining`."""
    errors, warnings = list(ending.complaints), list(ending.warnings)
    for complaint, cause, is_error in () if program is None else _swallowed(program, system, components):
        if not any(cause in error.message for error in errors):
            (errors if is_error else warnings).append(complaint)
    looks = list(_unfinished(system))
    if row.kind == "delete" and not errors:
        looks += _verified(row, system, held)
        if any(each.holdings is not None for each in looks):  # what failed may be why it is there
            errors, warnings = warnings, []
    return dataclasses.replace(ending, complaints=errors, warnings=warnings, looks=looks)


def _swallowed(
    program: dsl.Program, system: execution.DurableSystem, components: progress.Components
) -> Iterator[tuple[closing.Complaint, str, bool]]:
    """What destructors and handlers failed with, the cause in their own words, and whether it left something.

    Not that they wanted something of an object that was destroyed before them: what they were about to take from a
    server went with it. Packages count on that.
    """
    failed = {failure.message for effect, failure in system.failures if effect.name in CHANGES}
    for each in program.swallowed:
        if dsl.errors.ObjectDestroyed.name in each.error.names:
            continue
        cause = str(getattr(each.error, "message", None) or each.error)
        complaint = closing.Complaint(
            message=f"An object of class {each.type} could not be destroyed in order ({each.what}): {cause}",
            details=each.error.formatted(),
            entity_id=each.object_id,
            about=statuses.About(component=components.of(each.object_id), step=f"{each.what} of {each.type}"),
        )
        yield complaint, cause, cause in failed


def _unfinished(system: execution.DurableSystem) -> Iterator[traces.Look]:
    """What an effect that was interrupted for good has made so far."""
    for effect in list(system.unfinished.values()):
        if effect.name in ("heat.push", "heat.delete"):
            _stack, place = traces.place_of(system.performer, effect)
            yield _spared(functools.partial(traces.look, system.performer, effect), place)


def _verified(row: deployments.Deployment, system: execution.DurableSystem, held: Lease) -> Iterator[traces.Look]:
    """The cloud's word on every stack of a deleted environment that is not known to be gone."""
    orchestration, tags = system.performer.cloud.orchestration, system.performer.context.stack_tags
    for known in held.read(lambda session: resources.stacks(session, environment_id=row.environment_id)):
        stack, place = traces.stack_of_row(known, tags), traces.place_of_row(known, row.id)
        left = known.reason if known.state == resources.LEFT else None
        look = functools.partial(traces.look_at, orchestration, stack, place, left=left, vanished=GONE_BEFORE)
        yield _spared(look, place)


def _spared(look: Callable[[], traces.Look], place: resources.Place) -> traces.Look:
    """A look by a deployment that may have been cancelled: that ends calls of clouds, and shall not end this."""
    try:
        return look()
    except (LeaseLost, Draining):
        raise
    except dsl.Interrupted as interruption:
        return traces.Look(place=place, failure=f"what it has was not listed to the end: {interruption}")
