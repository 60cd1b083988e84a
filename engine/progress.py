"""What the engine says of its own work: which component a report is about, and how each long effect goes.

A deployment's reports carry it beside their text (docs/engine.md, "Reports"). What is said of an effect is written in
the transactions that write its intent and its outcome, so it is there once, whoever dies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import orm

import dsl
from catalog.db import masking, statuses
from engine.journal import Recorded

LONGEST_NAME = 80  # characters of a name in a text
LONGEST_REASON = 500  # characters of a failure in a text; all of it is in the details

Component = dict[str, Any]  # {"id", "name", "class"}


class Components:
    """Which object of the composed model an effect or a report is about, as people know it."""

    def __init__(self, model: Mapping[str, Any], environment_id: str) -> None:
        self.program: dsl.Program | None = None  # knows what the model does not say: who owns what was made on the way
        self._composed: dict[str, Component] = {}
        for part in ("ObjectsCopy", "Objects"):
            self._read(model.get(part))
        self._environment = self._composed.get(environment_id) or _component(environment_id, None, None)

    def of(self, object_id: str | None) -> Component:
        """The object if somebody composed it, else the nearest of its owners that was, else the environment."""
        if object_id is None:
            return self._environment
        known = self._composed.get(object_id)
        if known is not None:
            return known
        lineage = [] if self.program is None else self.program.lineage(object_id)
        for each in lineage:
            if each["id"] in self._composed:
                return self._composed[str(each["id"])]
        return self._environment

    def of_effect(self, effect: dsl.Effect) -> Component:
        """The server a script runs on, the object a report names, else the object whose code asked."""
        for name in ("instance_id", "entity_id"):
            named = effect.arguments.get(name)
            if isinstance(named, str):
                return self.of(named)
        return self.of(effect.object_id)

    def about(self, effect: dsl.Effect, duration: float | None = None) -> statuses.About:
        """What a report of this effect carries; a package's own report names its line as the step."""
        wording = _WORDINGS.get(effect.name)
        return statuses.About(
            component=self.of_effect(effect),
            step=effect.location if wording is None else wording(effect).step,
            effect_key=effect.key[:255],
            effect_name=effect.name,
            duration=duration,
        )

    def _read(self, value: Any) -> None:
        if isinstance(value, list):
            for each in value:
                self._read(each)
        elif isinstance(value, dict):
            header = value.get("?")
            if isinstance(header, dict) and isinstance(header.get("id"), str):
                name = header.get("name") or value.get("name")
                kind = str(header.get("type") or "").partition("/")[0].partition("@")[0]
                self._composed[header["id"]] = _component(header["id"], name, kind or None)
            for key, each in value.items():
                if key != "?":
                    self._read(each)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Writes what becomes of the long effects of one deployment."""

    deployment_id: str
    environment_id: str
    components: Components
    veil: masking.Veil = field(default_factory=masking.Veil)

    def begun(self, effect: dsl.Effect) -> Callable[[orm.Session], None] | None:
        """What to write with the effect's intent; None for one that nobody waits for."""
        wording = _wording(effect)
        if wording is None:
            return None
        return lambda session: self._add(session, effect, wording.begun)

    def ended(self, effect: dsl.Effect, recorded: Recorded, duration: float) -> Callable[[orm.Session], None] | None:
        """What to write with the effect's outcome."""
        wording = _wording(effect)
        if wording is None:
            return None
        reason = failure_of(effect, recorded)
        took = f"{duration:.1f} s"
        if reason is None:
            return lambda session: self._add(session, effect, f"{wording.ended} after {took}", duration)
        reason = self.veil.text(reason)  # before it is cut: the beginning of a secret is not recognised
        text = f"{wording.failed} after {took}: {reason[:LONGEST_REASON]}"
        return lambda session: self._add(session, effect, text, duration, details=reason)

    def _add(
        self,
        session: orm.Session,
        effect: dsl.Effect,
        text: str,
        duration: float | None = None,
        details: str | None = None,
    ) -> None:
        about = self.components.about(effect, duration)
        statuses.add_progress(
            session,
            self.deployment_id,
            self.environment_id,
            text=self.veil.text(text),
            entity_id=None if about.component is None else about.component["id"][:255],
            details=details,
            about=about,
        )


def failure_of(effect: dsl.Effect, recorded: Recorded) -> str | None:
    """Why an effect failed, None if it did not. A script that failed is an answer of its agent."""
    if recorded.failure is not None:
        return recorded.failure.message
    if effect.name == "agent.run":
        return answered_failure(recorded.outcome)
    return None


def answered_failure(answer: Any) -> str | None:
    """What an agent's answer says of a plan that failed, None for one that did not (spec/agent-protocol §6)."""
    if not isinstance(answer, Mapping):
        return None
    if answer.get("ErrorCode"):
        body = answer.get("Body")
        return str(body.get("Message") if isinstance(body, Mapping) else body)
    failed = [answer, *(each for each in _listed(answer.get("Result")) if isinstance(each, Mapping))]
    for each in failed:
        if each.get("IsException"):
            parts = [str(part) for part in _listed(each.get("Result")) if part is not None]
            return ": ".join(parts) or "the script failed"
    return None


@dataclass(frozen=True)
class _Wording:
    step: str
    begun: str
    ended: str
    failed: str


def _wording(effect: dsl.Effect) -> _Wording | None:
    found = _WORDINGS.get(effect.name)
    return None if found is None else found(effect)


def _push(effect: dsl.Effect) -> _Wording:
    name = _stack(effect)
    return _Wording(
        f"push stack {name}",
        f"Stack {name}: made to follow its template",
        f"Stack {name}: as its template says",
        f"Stack {name}: failed",
    )


def _delete(effect: dsl.Effect) -> _Wording:
    name = _stack(effect)
    return _Wording(
        f"delete stack {name}", f"Stack {name}: being deleted", f"Stack {name}: deleted", f"Stack {name}: not deleted"
    )


def _run(effect: dsl.Effect) -> _Wording:
    plan: Any = effect.arguments.get("plan")
    scripts = plan.get("Scripts") if isinstance(plan, Mapping) else None
    name = plan.get("Name") if isinstance(plan, Mapping) else None
    if not name and isinstance(scripts, Mapping) and scripts:
        name = next(iter(scripts))
    named = f" {_short(name)!r}" if name else ""
    what = f"Script{named}"
    where = f"server {_short(effect.arguments.get('instance_id'))}"
    if not effect.arguments.get("wait", True):
        return _Wording(
            f"send script{named} to {where}", f"{what}: on its way to {where}", f"{what}: sent", f"{what}: not sent"
        )
    return _Wording(f"run script{named} on {where}", f"{what}: runs on {where}", f"{what}: ended", f"{what}: failed")


def _workflow(effect: dsl.Effect) -> _Wording:
    name = _short(effect.arguments.get("name"))
    return _Wording(
        f"run workflow {name}", f"Workflow {name}: runs", f"Workflow {name}: ended", f"Workflow {name}: failed"
    )


def _router(effect: dsl.Effect) -> _Wording:
    name = _short(effect.arguments.get("name"))
    return _Wording(
        f"create router {name}", f"Router {name}: being created", f"Router {name}: there", f"Router {name}: not created"
    )


_WORDINGS: Mapping[str, Callable[[dsl.Effect], _Wording]] = {
    "heat.push": _push,
    "heat.delete": _delete,
    "agent.run": _run,
    "mistral.run": _workflow,
    "network.create_router": _router,
}


def _component(object_id: str, name: Any, kind: Any) -> Component:
    return {"id": object_id, "name": name if isinstance(name, str) and name else None, "class": kind}


def _stack(effect: dsl.Effect) -> str:
    stack: Any = effect.arguments.get("stack")
    return _short(stack.get("name") if isinstance(stack, Mapping) else None)


def _short(name: Any) -> str:
    text = str(name if name is not None else "?")
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []
