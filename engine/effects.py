"""Every effect by its name: what it does to the world, and through which port.

The names and argument shapes are those of `engine.system` (the natives of the core library) and of the language itself.
A `Performer` carries effects out; whether and how they are journaled is decided by its caller (`engine.execution`,
`engine.plan`). Adding an effect is adding a row to `EFFECTS`.
"""

from __future__ import annotations

import enum
import itertools
import logging
import pathlib
import secrets
import string
import time
import traceback
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import orm

import dsl
from catalog.db import instance_stats, masking, statuses
from engine import outages
from engine.agents import boot
from engine.clouds import ports, services

LOG = logging.getLogger(__name__)
PACKAGE_LOG = logging.getLogger("applications")  # what packages log, by their logger's name (spec/core-library §9.10)


class Kind(enum.Enum):
    """How an effect is made durable."""

    LOCAL = enum.auto()  # no trace in the world: its outcome is written with what comes next
    READ = enum.auto()  # looks at a cloud and leaves no trace either
    DATABASE = enum.auto()  # rows of ours only: written in the same transaction as its outcome, so exactly once
    SLEEP = enum.auto()  # ends at a time that counts from its intent
    CLOUD = enum.auto()  # intent before, outcome after; repeated if its worker died meanwhile


@dataclass(frozen=True, kw_only=True)
class Retry:
    """What a retry has to heed: when it was submitted, in seconds since the epoch, and the stacks that branches beside
    the failed one have pushed after it, by name, with the keys of those pushes that are still to be made again.
    """

    since: float
    pushes: Mapping[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Context:
    """On whose behalf a program runs. `settings` answers `config(group, name)` of the core library."""

    deployment_id: str
    environment_id: str
    project_id: str
    user_id: str
    owner_project_id: str
    owner_user_id: str
    settings: Mapping[tuple[str | None, str], Any] = field(default_factory=dict)
    stack_tags: tuple[str, ...] = ()
    trust_id: str | None = None  # Keystone trust of the environment's first deployer (spec/engine-flow §9)
    veil: masking.Veil = field(default_factory=masking.Veil)  # hides the program's secrets from those who read
    check: Callable[[], None] | None = None  # for ports that wait for long; raises `dsl.Interrupted` to leave the call
    retry: Retry | None = None

    def config(self, group: str | None, name: str) -> Any:
        return self.settings.get((group, name))


class Performer:
    """Carries effects out on a cloud, for a context."""

    def __init__(
        self,
        context: Context,
        cloud: services.Cloud,
        about: Callable[[dsl.Effect], statuses.About] = lambda _effect: statuses.NOTHING,
    ) -> None:
        self.context = context
        self.cloud = cloud
        self.about = about  # what a report of an effect carries beside its text
        self._since: float | None = None  # of the monotonic clock: when the effect was intended

    def after(self, passed: float) -> Performer:
        """One for an effect that was intended `passed` seconds ago: time limits count from there."""
        other = Performer(self.context, self.cloud, self.about)
        other._since = time.monotonic() - max(0.0, passed)
        return other

    def waited(self) -> float:
        """Seconds that workers have waited for the effect's end, 0 at its beginning."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def kind(self, effect: dsl.Effect) -> Kind:
        """Raises `dsl.SystemFailure` for an effect nobody knows."""
        return _known(effect).kind

    def perform(self, effect: dsl.Effect) -> Any:
        """Carries out all but a DATABASE effect: its JSON outcome. Raises `dsl.SystemFailure`, or what may heal."""
        known = _known(effect)
        try:
            return known.perform(self, effect)
        except ports.AgentTimeout as error:
            raise dsl.SystemFailure((_TIMEOUT,), str(error)) from error
        except ports.CloudError as error:
            raise dsl.SystemFailure(known.failure_names, str(error)) from error
        except dsl.DslError:
            raise
        except Exception as error:  # an unforeseen answer of a cloud: the package may handle it, the log explains it
            if outages.is_outage(error):  # of our own database, which agents are reached through
                raise
            LOG.error(
                "environment %s: effect %s %s failed\n%s",
                self.context.environment_id,
                effect.key,
                effect.name,
                self.context.veil.text(traceback.format_exc()),
            )
            raise dsl.SystemFailure((type(error).__name__,), str(error) or repr(error)) from error

    def rows(self, effect: dsl.Effect) -> Callable[[orm.Session], None]:
        """What a DATABASE effect writes."""
        return lambda session: _known(effect).perform(self, effect, session)

    def stack(self, effect: dsl.Effect) -> ports.Stack:
        """The stack that a `heat.` effect is about."""
        return _stack(self, effect)

    def remaining(self, effect: dsl.Effect, passed: float) -> float:
        """Seconds that a SLEEP effect still has to wait, `passed` seconds after it was first intended."""
        return max(0.0, float(_given(effect)["seconds"]) - max(0.0, passed))


def failure_names(effect: dsl.Effect) -> tuple[str, ...]:
    """By which names package code catches that the effect failed."""
    return _known(effect).failure_names


@dataclass(frozen=True)
class _Known:
    kind: Kind
    perform: Callable[..., Any]
    failure_names: tuple[str, ...] = ("OSError",)  # by which package code catches a `CloudError` (spec/core-library §9)


_TIMEOUT = "murano.common.exceptions.TimeoutException"
_STACK = ("OSError", "murano.engine.system.heat_stack.HeatStackError")
_AGENT = ("murano.engine.system.agent.AgentException",)
_WORKFLOW = ("murano.engine.system.workflowclient.MistralError",)


def _given(effect: dsl.Effect) -> Mapping[str, Any]:
    """The arguments; natives give them the types that the table of effects promises."""
    return effect.arguments


def _known(effect: dsl.Effect) -> _Known:
    known = EFFECTS.get(effect.name)
    if known is None:
        raise dsl.SystemFailure(
            ("RuntimeError",), f"effect {effect.name!r}: expected one of {', '.join(sorted(EFFECTS))}"
        )
    return known


# --- the language ----------------------------------------------------------------------------------------------------

_ALPHANUMERIC = string.digits + string.ascii_lowercase
_counter = itertools.count()


def _random_id(_performer: Performer, _effect: dsl.Effect) -> str:
    return uuid.uuid4().hex


def _random_name(_performer: Performer, _effect: dsl.Effect) -> str:
    """Five letters, the time in milliseconds and a counter (spec/core-library §10): fit for host and stack names."""
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
    return letters + _base36(int(time.time() * 1000))[-8:] + _base36(next(_counter) % 1296).zfill(2)


def _random_number(_performer: Performer, effect: dsl.Effect) -> float | int:
    low, high = _given(effect).get("minimum"), _given(effect).get("maximum")
    if low is None or high is None:
        return secrets.SystemRandom().random()
    return secrets.SystemRandom().randint(int(low), int(high))


def _config(performer: Performer, effect: dsl.Effect) -> Any:
    """`config(group, name, readAsFile)` of the core library; null for what is not set."""
    given = _given(effect)
    value = performer.context.config(given.get("group") or None, given["name"])
    if not given.get("readAsFile") or not value:
        return value
    try:
        return pathlib.Path(str(value)).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        option = f"[{given.get('group') or 'DEFAULT'}] {given['name']}"
        raise dsl.SystemFailure(("OSError",), f"option {option}: the file {value} can not be read: {error}") from error


def _clock_now(_performer: Performer, _effect: dsl.Effect) -> float:
    return time.time()


def _sleep(_performer: Performer, effect: dsl.Effect) -> None:
    time.sleep(float(_given(effect)["seconds"]))


def _log(performer: Performer, effect: dsl.Effect) -> None:
    level = logging.getLevelName(str(_given(effect).get("level", "info")).upper())
    PACKAGE_LOG.getChild(str(_given(effect).get("name") or "package")).log(
        level if isinstance(level, int) else logging.INFO,
        "environment %s: %s",
        performer.context.environment_id,
        performer.context.veil.text(str(_given(effect).get("message"))),
    )


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _ALPHANUMERIC[digit] + digits
    return digits or "0"


# --- our own database ------------------------------------------------------------------------------------------------


def _report(performer: Performer, effect: dsl.Effect, session: orm.Session) -> None:
    context = performer.context
    entity_id = _given(effect).get("entity_id")
    statuses.add(
        session,
        context.deployment_id,
        context.environment_id,
        text=context.veil.text(str(_given(effect).get("text"))),
        level=str(_given(effect).get("level") or "info"),
        entity_id=None if entity_id is None else str(entity_id)[:255],
        details=None if _given(effect).get("details") is None else context.veil.text(str(_given(effect)["details"])),
        status_id=uuid.uuid5(_REPORTS, f"{context.deployment_id}/{effect.key}").hex,
        about=performer.about(effect),
    )


# Name spaces of ids that come from effects: the same effect has the same id, whoever repeats it.
_PLANS = uuid.UUID("a6a1fb52-2df2-4f0e-8e0c-6d0b0f1f8a11")
_REPORTS = uuid.UUID("3c9fd4c6-63f5-4f8a-9a53-0c8e3f7a5f52")


def _track(performer: Performer, effect: dsl.Effect, session: orm.Session) -> None:
    instance_stats.track(
        session,
        environment_id=performer.context.environment_id,
        instance_id=str(_given(effect)["instance_id"])[:255],
        instance_type=int(_given(effect).get("kind") or instance_stats.UNCLASSIFIED),
        type_name=str(_given(effect).get("type_name") or "")[:512],
        type_title=None if _given(effect).get("type_title") is None else str(_given(effect)["type_title"])[:512],
        unit_count=_given(effect).get("unit_count"),
        project_id=performer.context.project_id,
    )


def _untrack(performer: Performer, effect: dsl.Effect, session: orm.Session) -> None:
    instance_stats.untrack(
        session,
        environment_id=performer.context.environment_id,
        instance_id=str(_given(effect)["instance_id"])[:255],
    )


# --- clouds ----------------------------------------------------------------------------------------------------------


def _heat_push(performer: Performer, effect: dsl.Effect) -> dict[str, Any]:
    stack, template = _stack(performer, effect), _given(effect)["template"]
    parameters = _given(effect).get("parameters") or {}
    files, environment = _given(effect).get("files") or {}, _given(effect).get("environment")
    retry = performer.context.retry
    if retry is None or not retry.pushes.get(stack.name, set()) - {effect.key}:
        return performer.cloud.orchestration.push(stack, template, files, environment, parameters)
    # Others have added to the stack since this push failed, and push again soon: nothing of theirs goes meanwhile.
    known = _heat_current(performer, effect) or {"template": {}, "parameters": {}}
    kept = {part: {**(known["template"].get(part) or {}), **(template.get(part) or {})} for part in _PARTS}
    united = {**template, **{part: content for part, content in kept.items() if content}}
    there = performer.cloud.orchestration
    if isinstance(there, services.KeepsFiles):
        files = {**(there.files(stack) or {}), **files}
    outputs = there.push(stack, united, files, environment, {**(known["parameters"] or {}), **parameters})
    return {name: value for name, value in outputs.items() if name in (template.get("outputs") or {})}


_PARTS = ("parameters", "resources", "outputs")  # of a template


def _heat_current(performer: Performer, effect: dsl.Effect) -> dict[str, Any] | None:
    orchestration, stack = performer.cloud.orchestration, _stack(performer, effect)
    template = orchestration.current(stack)
    if template is None:
        return None
    kept = orchestration.parameters(stack) if isinstance(orchestration, services.KeepsParameters) else {}
    return {"template": template, "parameters": kept}


def _heat_outputs(performer: Performer, effect: dsl.Effect) -> dict[str, Any]:
    return performer.cloud.orchestration.outputs(_stack(performer, effect))


def _heat_delete(performer: Performer, effect: dsl.Effect) -> None:
    performer.cloud.orchestration.delete(_stack(performer, effect))


def _stack(performer: Performer, effect: dsl.Effect) -> ports.Stack:
    """The stack, always in the program's own environment: a package can name stacks, not environments."""
    stack = _given(effect)["stack"]
    return ports.Stack(
        name=stack["name"],
        project_id=performer.context.project_id,
        region_name=stack.get("region") or None,
        environment_id=performer.context.environment_id,
        description=_given(effect)["template"].get("description") if "template" in _given(effect) else None,
        tags=performer.context.stack_tags,
        waited=performer.waited(),
    )


def _agent_register(performer: Performer, effect: dsl.Effect) -> dict[str, Any]:
    context = performer.context
    access = performer.cloud.agents.register(context.environment_id, context.project_id, _given(effect)["instance_id"])
    outcome = {"protocol": "http", **access}
    if outcome["protocol"] == "http":  # a later release has another agent, and replays what this one gave to a stack
        outcome["user_data"] = boot.user_data(outcome)
    return outcome


def _agent_run(performer: Performer, effect: dsl.Effect) -> dict[str, Any] | None:
    """The plan's id in the service comes from the effect, so it is the same for whoever repeats it, and never a
    package's choice."""
    context, agents = performer.context, performer.cloud.agents
    agent_id = agents.agent_id(context.environment_id, context.project_id, _given(effect)["instance_id"])
    plan_id = plan_id_of(context.deployment_id, effect.key)
    plan, timeout = _given(effect)["plan"], float(_given(effect)["timeout"])
    if context.retry is not None:
        plan = _renewed(plan, plan_id, effect.key, context.retry.since)
    if isinstance(agents, services.ShowsOutput):
        agents.watch(context.deployment_id, str(_given(effect)["instance_id"]), agent_id, plan_id, plan)
    if _given(effect).get("wait", True):
        return agents.run(agent_id, plan_id, plan, timeout, context.check)
    agents.send(agent_id, plan_id, plan, timeout)
    return None


def plan_id_of(deployment_id: str, key: str) -> str:
    """The id in the service of the plan that an effect has carried out."""
    return uuid.uuid5(_PLANS, f"{deployment_id}/{key}").hex


def _renewed(plan: dict[str, Any], plan_id: str, key: str, since: float) -> dict[str, Any]:
    """The plan of a retry: agents know plans by id and stamp, and answer one they know with what came of it.

    A stamp that is from before the retry is moved past all that the agent has seen (spec/agent-protocol §2).
    """
    least = int(since * _STAMPS_PER_SECOND)
    stamp = plan.get("Stamp")
    if stamp is None or not isinstance(stamp, int | float) or stamp >= least:
        return plan if stamp is not None or "ID" not in plan else {**plan, "ID": plan_id}
    moved = least + zlib.crc32(key.encode()) % (_STAMPS_PER_SECOND // 2)
    return {**plan, "Stamp": moved, **({"ID": plan_id} if "ID" in plan else {})}


_STAMPS_PER_SECOND = 10_000


def _network_list(performer: Performer, effect: dsl.Effect) -> list[dict[str, Any]]:
    return _network(performer).list(_given(effect).get("region") or "", _given(effect)["kind"])


def _network_create_router(performer: Performer, effect: dsl.Effect) -> dict[str, Any]:
    return _network(performer).create_router(
        _given(effect).get("region") or "", _given(effect)["name"], _given(effect)["external_network_id"]
    )


def _network(performer: Performer) -> services.Network:
    if performer.cloud.network is None:
        raise ports.CloudError("this cloud has no network service (Neutron)")
    return performer.cloud.network


def _namespaces(performer: Performer, effect: dsl.Effect) -> list[dict[str, Any]]:
    service = performer.cloud.metadata_definitions
    return (
        []
        if service is None
        else service.namespaces(_given(effect).get("region") or "", _given(effect)["resource_type"])
    )


def _objects(performer: Performer, effect: dsl.Effect) -> list[dict[str, Any]]:
    service = performer.cloud.metadata_definitions
    return [] if service is None else service.objects(_given(effect).get("region") or "", _given(effect)["namespace"])


def _user(performer: Performer, effect: dsl.Effect) -> dict[str, Any] | None:
    return None if performer.cloud.identity is None else performer.cloud.identity.user(_given(effect)["id"])


def _project(performer: Performer, effect: dsl.Effect) -> dict[str, Any] | None:
    return None if performer.cloud.identity is None else performer.cloud.identity.project(_given(effect)["id"])


def _secret(performer: Performer, effect: dsl.Effect) -> Any:
    if performer.cloud.secrets is None:
        raise ports.CloudError("this cloud has no service for secrets (Barbican)")
    return performer.cloud.secrets.secret(_given(effect)["key"])


def _workflow_upload(performer: Performer, effect: dsl.Effect) -> None:
    _workflow(performer).upload(_given(effect).get("region") or "", _given(effect)["definition"])


def _workflow_run(performer: Performer, effect: dsl.Effect) -> dict[str, Any] | str:
    return _workflow(performer).run(
        _given(effect).get("region") or "",
        _given(effect)["name"],
        _given(effect).get("inputs") or {},
        _given(effect).get("params") or {},
        float(_given(effect)["timeout"]),
    )


def _workflow(performer: Performer) -> services.Workflow:
    if performer.cloud.workflow is None:
        raise ports.CloudError("this cloud has no workflow service (Mistral)")
    return performer.cloud.workflow


EFFECTS: Mapping[str, _Known] = {
    "random.id": _Known(Kind.LOCAL, _random_id),
    "random.name": _Known(Kind.LOCAL, _random_name),
    "random.number": _Known(Kind.LOCAL, _random_number),
    "clock.now": _Known(Kind.LOCAL, _clock_now),
    "config": _Known(Kind.LOCAL, _config),
    "log": _Known(Kind.LOCAL, _log),
    "sleep": _Known(Kind.SLEEP, _sleep),
    "report": _Known(Kind.DATABASE, _report),
    "instance.track": _Known(Kind.DATABASE, _track),
    "instance.untrack": _Known(Kind.DATABASE, _untrack),
    "heat.push": _Known(Kind.CLOUD, _heat_push, _STACK),
    "heat.current": _Known(Kind.READ, _heat_current, _STACK),
    "heat.outputs": _Known(Kind.READ, _heat_outputs, _STACK),
    "heat.delete": _Known(Kind.CLOUD, _heat_delete, _STACK),
    "agent.register": _Known(Kind.CLOUD, _agent_register, _AGENT),
    "agent.run": _Known(Kind.CLOUD, _agent_run, _AGENT),
    "network.list": _Known(Kind.READ, _network_list),
    "network.create_router": _Known(Kind.CLOUD, _network_create_router),
    "metadef.namespaces": _Known(Kind.READ, _namespaces),
    "metadef.objects": _Known(Kind.READ, _objects),
    "identity.user": _Known(Kind.READ, _user),
    "identity.project": _Known(Kind.READ, _project),
    "secret": _Known(Kind.CLOUD, _secret),
    "mistral.upload": _Known(Kind.CLOUD, _workflow_upload, _WORKFLOW),
    "mistral.run": _Known(Kind.CLOUD, _workflow_run, _WORKFLOW),
}
