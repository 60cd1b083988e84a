"""What a deployment would do, found out by running it against a recording (docs/architecture.md, "plan").

The same program, packages and model as in the deployment; only the world is another one. Nothing is journaled, created
or executed. Random names and ids are derived from their place in the program, so that equal models have equal plans.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import dsl
from engine import effects, models, secrets, world
from engine.clouds import recording, services

SECONDS = 60.0  # of processor time for the package's code in a plan


def plan(
    library: dsl.Library,
    model: models.Model,
    context: effects.Context,
    natives: Mapping[str, type],
    base: services.Cloud | None = None,
) -> dict[str, Any]:
    """The plan of deploying (a model without Objects: of deleting) an environment: `{"steps": [...], "hash"}`.

    `base` is the cloud as it is: it is read, never changed. A program that fails half-way leaves the steps until then
    and a last one that says why. Raises `dsl.DslError` for a model that does not load.
    """
    names = _names(model)
    recorded = recording.Recording(base, names.get)
    system = PlanSystem(context, recorded, natives)
    runtime = dsl.Runtime(library, system=system, limits=dsl.Limits(seconds=SECONDS))
    loaded = models.for_engine(model, context.environment_id)
    program = runtime.load(loaded)
    try:
        program.collect()
        if loaded.get("Objects") is not None:
            program.call(context.environment_id, "deploy")
        program.finalize()
    except dsl.DslError as error:
        recorded.record(_unforeseen(context, error))
        program.discard()
    except BaseException:
        program.discard()
        raise
    # A package may hand a password on under any name; what the model calls a secret is hidden wherever it turns up.
    known = secrets.found_in(loaded)
    steps = [secrets.hidden(step.shown(), known) for step in recorded.steps]
    return {"steps": steps, "hash": hash_of(steps)}


def hash_of(steps: list[dict[str, Any]]) -> str:
    """SHA-256 of the steps as a set: what runs in parallel may be recorded in any order."""
    texts = sorted(json.dumps(step, sort_keys=True, separators=(",", ":")) for step in steps)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


class PlanSystem(world.World):
    """A `dsl.System` whose effects end in a recording."""

    def __init__(self, context: effects.Context, recorded: recording.Recording, natives: Mapping[str, type]) -> None:
        super().__init__(context, natives)
        self._recorded = recorded
        self._performer = effects.Performer(context, recorded.cloud())
        self._now = time.time()

    def perform(self, effect: dsl.Effect) -> Any:
        kind = self._performer.kind(effect)
        if effect.name == "report":
            self._report(effect)
        if kind in (effects.Kind.READ, effects.Kind.CLOUD):
            return self._performer.perform(effect)
        if kind is effects.Kind.LOCAL:
            return self._local(effect)
        return None

    def _local(self, effect: dsl.Effect) -> Any:
        number = uuid.uuid5(uuid.NAMESPACE_OID, effect.key)
        if effect.name == "random.id":
            return number.hex
        if effect.name == "random.name":
            return "planned" + number.hex[:8]
        if effect.name == "random.number":
            low, high = effect.arguments.get("minimum"), effect.arguments.get("maximum")
            if isinstance(low, int) and isinstance(high, int):
                return low + number.int % (high - low + 1)
            return number.int / 2**128
        if effect.name == "clock.now":
            return self._now
        return self._performer.perform(effect)

    def _report(self, effect: dsl.Effect) -> None:
        level = str(effect.arguments.get("level") or "info")
        self._recorded.record(
            recording.Step(
                kind="report",
                target=str(effect.arguments.get("entity_id") or self.environment_id),
                type=level,
                summary=str(effect.arguments.get("text")),
            )
        )


def _unforeseen(context: effects.Context, error: dsl.DslError) -> recording.Step:
    message = getattr(error, "message", None) or str(error)
    return recording.Step(
        kind="report",
        target=context.environment_id,
        type="error",
        summary=f"The plan ends here: {message}",
        details={
            "reason": "Scripts were not run: their output is assumed to be empty. If the package goes on from it, the "
            "deployment itself may well go further",
        },
    )


def _names(model: models.Model) -> dict[str, str]:
    """Object ids to the names of objects, as far as they have one: what people call a server."""
    found: dict[str, str] = {}

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            header = value.get("?")
            if isinstance(header, dict) and isinstance(header.get("id"), str) and isinstance(value.get("name"), str):
                found[header["id"]] = value["name"]
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(model.get("ObjectsCopy"))
    walk(model.get("Objects"))
    return found
