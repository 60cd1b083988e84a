"""What a deployment would do, found out by running it against a recording (docs/engine.md, "Plans and checks").

The same program, packages and model as in the deployment; only the world is another one. Nothing is journaled, created
or executed. The clock stands still, random names and ids are derived from their place in the program, and parallel
branches take turns in a fixed order, so that equal models in equal worlds have equal plans.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dsl
from catalog.db import masking
from engine import effects, models, steps, world
from engine.clouds import recording, services

CODE_SECONDS = 60.0  # of processor time for the package's code in a plan
SECONDS = 100.0  # for all of a plan; the API waits for [engine_rpc] plan_timeout

Action = Mapping[str, Any]  # {"object_id", "method", "args"}


class Unfinished(Exception):
    """A plan that took too long or has too many steps: half a plan is none."""


class TooLong(dsl.Interrupted):
    """The time of a plan is over."""


class Deadline:
    """When a plan has to be there. `check` is given to whatever may wait for long."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def check(self) -> None:
        """Raises `TooLong` when the time is over."""
        if time.monotonic() > self._ends:
            raise TooLong(f"the plan was not there after {self._seconds:.0f} s")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: the plan of an action on a model, or without an action, of deleting what the model has.

    `moment` is the time that the clock shows all through the plan, in seconds since the epoch.
    """

    library: dsl.Library
    model: models.Model
    action: Action | None
    context: effects.Context
    natives: Mapping[str, type]
    key: bytes
    base: services.Cloud | None = None
    configurations: Any = None
    moment: float | None = None
    deadline: Deadline | None = None


def plan(asked: Question) -> dict[str, Any]:
    """`{"steps", "hash", "moment"}`, each step with the digest of what it is (`engine.steps`).

    The cloud (`base`) is read, never changed. A program that fails half-way leaves the steps until then and a last one
    that says why. Raises `dsl.DslError` for a model that does not load, `Unfinished`.
    """
    names = _names(asked.model)
    recorded = recording.Recording(asked.base, names.get)
    moment = time.time() if asked.moment is None else asked.moment
    system = PlanSystem(asked.context, recorded, asked.natives, names, moment, asked.deadline or Deadline())
    runtime = dsl.Runtime(
        asked.library,
        system=system,
        limits=dsl.Limits(seconds=CODE_SECONDS),
        configurations=asked.configurations,
    )
    loaded = models.for_engine(asked.model, asked.context.environment_id)
    program: dsl.Program | None = None
    try:
        program = runtime.load(loaded)
        _run(program, asked, recorded)
    except dsl.Interrupted as interruption:
        raise Unfinished(str(system.interruption or interruption)) from interruption
    finally:
        if program is not None:
            program.discard()
    # A package may hand a password on under any name; what the model calls a secret is hidden wherever it turns up.
    known = masking.of_model(loaded) | masking.found_in(asked.action) | recorded.secrets
    teller = steps.Teller(asked.key, masking.spellings(known))
    told = [teller.told(step) for step in system.in_order(recorded.steps)]
    return {"steps": told, "hash": teller.digest_of(told), "moment": moment}


def deploying(environment_id: str) -> Action:
    """The action of a deployment."""
    return {"object_id": environment_id, "method": "deploy", "args": {}}


def _run(program: dsl.Program, asked: Question, recorded: recording.Recording) -> None:
    try:
        program.collect()
        if asked.action is not None:
            program.call(
                asked.action["object_id"],
                asked.action["method"],
                exposed_only=True,
                **(asked.action.get("args") or {}),
            )
        program.finalize()
    except dsl.DslError as error:
        recorded.record(_unforeseen(asked.context, error))


class PlanSystem(world.World):
    """A `dsl.System` whose effects end in a recording."""

    orderly = True  # of parallel effects: what is recorded must not depend on how quick the cloud is

    def __init__(
        self,
        context: effects.Context,
        recorded: recording.Recording,
        natives: Mapping[str, type],
        names: dict[str, str],
        moment: float,
        deadline: Deadline,
    ) -> None:
        super().__init__(context, natives)
        self.interruption: BaseException | None = None
        self._recorded = recorded
        self._performer = effects.Performer(context, recorded.cloud())
        self._names = names
        self._moment = moment
        self._deadline = deadline
        self._order: dict[str, int] = {}

    def perform(self, effect: dsl.Effect) -> Any:
        self.context.veil.learn(masking.found_in(effect.arguments))
        try:
            self._deadline.check()
            with self._recorded.during(effect.key):
                return self._carry_out(effect)
        except dsl.Interrupted as interruption:  # threads that are told of it know less than this one
            self.interruption = self.interruption or interruption
            raise

    def checkpoint(self) -> None:
        """Asked now and then by code that has no effects."""
        self._deadline.check()

    def delivered(self, number: int, key: str) -> None:
        self._order[key] = number

    def in_order(self, found: Sequence[steps.Step]) -> list[steps.Step]:
        """The steps in the order in which the program heard of them."""
        last = len(self._order) + 1
        return sorted(found, key=lambda step: self._order.get(step.effect, last))

    def _carry_out(self, effect: dsl.Effect) -> Any:
        kind = self._performer.kind(effect)
        if effect.name == "report":
            self._report(effect)
        if effect.name == "agent.register":  # a server that the package makes on the way has a name, too
            self._names.setdefault(str(effect.arguments["instance_id"]), str(effect.arguments.get("name") or ""))
        if kind in (effects.Kind.READ, effects.Kind.CLOUD):
            outcome = self._performer.perform(effect)
            if effect.name == "secret":
                self._recorded.secrets.update(_texts(outcome))
            return outcome
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
            return self._moment
        return self._performer.perform(effect)

    def _report(self, effect: dsl.Effect) -> None:
        level = str(effect.arguments.get("level") or "info")
        self._recorded.record(
            steps.Step(
                kind="report",
                target=str(effect.arguments.get("entity_id") or self.environment_id),
                type=level,
                summary=str(effect.arguments.get("text")),
            )
        )


def _unforeseen(context: effects.Context, error: dsl.DslError) -> steps.Step:
    message = getattr(error, "message", None) or str(error)
    return steps.Step(
        kind="report",
        target=context.environment_id,
        type="error",
        summary=f"The plan ends here: {message}",
        details={
            "reason": "Scripts were not run: their output is assumed to be empty. If the package goes on from it, the "
            "deployment itself may well go further",
        },
    )


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {text for item in items for text in _texts(item)}


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
