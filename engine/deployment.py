"""The life of one deployment, from its row to its ending (spec/engine-flow §4, §5).

Packages of the lock, the model, `collect`, the action, `finalize`: run on a `DurableSystem`, so that a worker that
takes over goes on where the last one stopped. Whatever fails, the deployment ends with the reason; a model that does
not load destroys nothing.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dsl
from catalog.db import base, deployments, environments, masking, resources, statuses
from engine import (
    check,
    class_configs,
    closing,
    destruction,
    effects,
    execution,
    holding,
    models,
    outages,
    packages,
    progress,
    retry,
    tags,
    traces,
)
from engine.clouds import ports, services
from engine.journal import Journal, NonDeterministic
from engine.lease import Draining, Lease, LeaseLost, TimeOver

LOG = logging.getLogger(__name__)

CODE_SECONDS = 600.0  # in which a package's own code, its effects not counted, has to come to an end

Clouds = Callable[[effects.Context], services.Cloud]  # the cloud of a deployment, with its project's rights


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What all deployments of this engine share."""

    limits: dsl.Limits = field(default_factory=lambda: dsl.Limits(seconds=CODE_SECONDS))
    most_effects: int = 20_000  # of one deployment: each is kept in the journal
    class_configs: str | None = None  # folder with configuration of classes
    most_claims: int = 100  # a deployment that was claimed more often kills its workers: it fails
    deployment_timeout: float = 86_400.0  # seconds one may take once it has begun; 0: any number
    drain: float = 20.0  # seconds an effect in flight gets when the worker stops
    options: Mapping[tuple[str | None, str], Any] = field(default_factory=dict)  # what `config(group, name)` answers
    stack_tags: tuple[str, ...] = ("murano",)
    notices: bool = False  # whether other services are told what becomes of environments
    plan_key: Callable[[], bytes] = bytes  # of plans' digests (`catalog.db.plans.key`)


class Deployments:
    """Runs deployments: `run(lease)` is what a `Worker` calls."""

    def __init__(
        self,
        database: base.Database,
        store: packages.PackageStore,
        clouds: Clouds,
        natives: Mapping[str, type],
        settings: EngineSettings | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._clouds = clouds
        self._natives = natives
        self._settings = settings or EngineSettings()
        self._tags = tags.Tags(database, self._settings.stack_tags)

    def run(self, held: Lease) -> None:
        """Runs the deployment to its end. Raises `dsl.Interrupted` when another worker shall go on with it."""
        row = held.read(lambda session: session.get(deployments.Deployment, held.deployment_id))
        if row is None:
            LOG.info("deployment %s: its environment was abandoned", held.deployment_id)
            return
        veil = context_of(row, self._settings).veil
        ending, journal = self._ending(held, row, veil)
        veil.learn(masking.of_model(ending.model))
        ending = ending.veiled(veil)
        if journal is not None:
            ending = _within(ending, journal.largest)
        if ending.failed:
            LOG.warning("deployment %s: failed: %.1000s", row.id, ending.complaints[0].message)

        def close(session: Any) -> None:
            closing.close(session, row.id, ending, told=self._settings.notices)

        if journal is None:
            held.write(close)
        else:
            journal.end(close)
        held.end()
        LOG.info("deployment %s: finished", row.id)
        if row.kind == "delete" and self._is_gone(row.environment_id):
            self._forget(held, row)

    def _is_gone(self, environment_id: str) -> bool:
        """A deletion that went well may have had an error reported: then the environment stays, with what it has."""
        with self._database.reading() as session:
            return environments.get(session, environment_id) is None

    def _forget(self, held: Lease, row: deployments.Deployment) -> None:
        """The environment is gone: so is what its servers were let into, and the trust. What fails here is logged."""
        cloud = self._clouds(self._context(held, row))
        left: str | None = None
        try:
            cloud.agents.forget(row.environment_id)
        except (ports.CloudError, dsl.Interrupted) as error:
            LOG.warning("environment %s: its agents could not be forgotten: %s", row.environment_id, error)
            left = f"{error}; it is tried again with a later server that is let in"
        try:
            if cloud.trust is not None:
                cloud.trust.give_back()
        except ports.CloudError as error:
            LOG.warning("environment %s: %s", row.environment_id, error)
        with self._database.transaction() as session:
            resources.settle(session, row.environment_id, traces.ON_BROKER, left=left)

    def _ending(
        self, held: Lease, row: deployments.Deployment, veil: masking.Veil
    ) -> tuple[closing.Ending, Journal | None]:
        if held.fence > self._settings.most_claims:
            return _failed(
                f"The deployment was taken up {held.fence - 1} times and its worker died or stopped each time; it is "
                f"not tried again"
            ), None
        if row.state == deployments.CANCELLING and row.fence == 1:
            return _failed("The deployment was cancelled before it began."), None
        if row.retry_of is not None:
            gone = retry.take_over(held, row)
            if gone is not None:
                return dataclasses.replace(_failed(gone), refused=gone), None
            row = held.read(lambda session: session.get_one(deployments.Deployment, held.deployment_id))
        self._limit(held, row)
        journal = Journal(held, veil)
        try:
            refusal = self._refusal(held, row, journal)
            if refusal is not None:
                return refusal, journal
            program = _Program(held, row, journal, self, veil)
            return program.run(), journal
        except dsl.Interrupted:
            raise
        except Exception as error:  # a fault of ours; the user is told what it was, the log has the rest
            LOG.error("deployment %s: internal error\n%s", row.id, veil.text(traceback.format_exc()))
            return _failed(f"Internal error: {type(error).__name__}: {error}", traceback.format_exc()), journal

    def _refusal(self, held: Lease, row: deployments.Deployment, journal: Journal) -> closing.Ending | None:
        """Why a deployment that is held to a plan must not begin. One that has begun goes on."""
        if row.plan is None or len(journal):
            return None
        settings = self._settings
        return holding.refusal(
            held,
            row,
            self._clouds,
            lambda deadline: context_of(row, settings, deadline.check),
            self._store.library,
            self._natives,
            class_configs.in_folder(settings.class_configs),
            settings.plan_key(),
        )

    def _limit(self, held: Lease, row: deployments.Deployment) -> None:
        """Counts from when the first worker began, by the clocks of two machines if another one goes on."""
        limit = self._settings.deployment_timeout
        if limit and row.started is not None:
            reason = TimeOver(
                f"The deployment has taken {limit:g} s, the most one may take ([engine] deployment_timeout). What it "
                f"was at is not waited for any more; retry it to go on from there."
            )
            held.limit(limit - (base.now() - row.started).total_seconds(), reason)

    def system(
        self,
        held: Lease,
        row: deployments.Deployment,
        journal: Journal,
        components: progress.Components,
        veil: masking.Veil,
    ) -> execution.DurableSystem:
        """The world in which the deployment's program runs."""
        context = dataclasses.replace(self._context(held, row), veil=veil)
        if row.retry_of is not None:
            context = dataclasses.replace(context, retry=retry.heeded(row, journal))
        return execution.DurableSystem(
            held=held,
            journal=journal,
            performer=effects.Performer(context, self._clouds(context), components.about),
            natives=self._natives,
            drain_seconds=self._settings.drain,
            most_effects=self._settings.most_effects,
            told=progress.Progress(
                deployment_id=row.id, environment_id=row.environment_id, components=components, veil=veil
            ),
        )

    def _context(self, held: Lease, row: deployments.Deployment) -> effects.Context:
        found = outages.patiently(
            lambda: self._tags.of(row.environment_id), what=f"deployment {row.id}", pause=held.pause
        )
        return dataclasses.replace(context_of(row, self._settings, held.check), stack_tags=found)

    def library(self, lock: packages.Lock, pause: Callable[[float], None]) -> dsl.Library:
        return self._store.library(lock, pause)

    def runtime(self, library: dsl.Library, system: execution.DurableSystem) -> dsl.Runtime:
        return dsl.Runtime(
            library,
            system=system,
            limits=self._settings.limits,
            configurations=class_configs.in_folder(self._settings.class_configs),
        )


class _Program:
    """One run of a deployment's program."""

    def __init__(
        self, held: Lease, row: deployments.Deployment, journal: Journal, engine: Deployments, veil: masking.Veil
    ) -> None:
        self._veil = veil
        self._held = held
        self._row = row
        self._journal = journal
        self._engine = engine
        self._components = progress.Components(row.model, row.environment_id)
        self._step = "load"  # what the deployment is doing, as reports say it
        self._program: dsl.Program | None = None
        self._system: execution.DurableSystem | None = None

    def run(self) -> closing.Ending:
        """How it ended, and what it leaves. Raises `dsl.Interrupted` when another worker shall go on with it."""
        ending = self._ended()
        if self._system is None:
            return ending
        return destruction.accounted(ending, self._row, self._program, self._system, self._components, self._held)

    def _ended(self) -> closing.Ending:
        try:
            library = self._engine.library(self._row.lock, self._pause)
        except (packages.PackageMissing, dsl.PackageError) as error:
            return _failed(str(error))
        except dsl.Interrupted as interruption:
            return self._interrupted(None, interruption)
        try:
            system = self._system = self._engine.system(
                self._held, self._row, self._journal, self._components, self._veil
            )
        except ports.CloudError as error:  # no way into the cloud
            return _failed(str(error))
        runtime = self._engine.runtime(library, system)
        model = models.for_engine(self._row.model, self._row.environment_id)
        program: dsl.Program | None = None
        try:
            program = self._program = runtime.load(model)
            self._components.program = program
            self._step = "collect"
            program.collect()
            self._step = "act"
            return self._act(program, system)
        except dsl.Interrupted as interruption:
            return self._interrupted(program, interruption)
        except dsl.DslError as error:
            if program is None:
                return closing.Ending(complaints=tuple(_why_not_loaded(library, model, system.natives, error)))
            return closing.Ending(
                complaints=(self._complaint(error, system),),
                model=self._as_it_stands(program),
                places=self._places(error, system),
            )
        finally:
            if program is not None:
                program.discard()

    def _pause(self, seconds: float) -> None:
        """Waits while packages can not be fetched; raises what ends the deployment meanwhile."""
        ended = threading.Event()
        with self._held.watched(ended.set):
            ended.wait(seconds)
        self._held.check()

    def _interrupted(self, program: dsl.Program | None, interruption: dsl.Interrupted) -> closing.Ending:
        """The ending of a program that was stopped for good. Raises when another worker shall go on with it.

        A program with several threads tells of the interruption of another thread only; the lease knows the reason.
        """
        reason = self._held.interruption or interruption.__cause__ or interruption
        if isinstance(reason, LeaseLost | Draining):
            raise reason
        trace = "".join(traceback.format_exception(interruption))
        LOG.warning("deployment %s: stopped: %s", self._row.id, self._veil.text(f"{reason}\n{trace}"))
        message = str(reason)
        if not isinstance(reason, dsl.Interrupted | dsl.DslError):
            message = f"Internal error: {type(reason).__name__}: {reason}"
        about = statuses.About(component=self._components.of(None), step=self._step)
        complaint = closing.Complaint(message=message, about=about)
        refused = message if isinstance(reason, NonDeterministic | dsl.NonDeterministic) else None
        return closing.Ending(complaints=(complaint,), model=self._as_it_stands(program), refused=refused)

    def _act(self, program: dsl.Program, system: execution.DurableSystem) -> closing.Ending:
        value: Any = None
        complaints: list[closing.Complaint] = []
        places: set[str] = set()
        try:
            if self._row.action is not None:
                action = self._row.action
                self._step = str(action["method"])
                value = program.call(
                    action["object_id"], action["method"], exposed_only=True, **(action.get("args") or {})
                )
        except dsl.DslError as error:
            complaints.append(self._complaint(error, system))
            places |= self._places(error, system)
            if isinstance(error, dsl.LimitExceeded | dsl.NonDeterministic):  # no code of the package runs any more
                return closing.Ending(
                    complaints=complaints, model=self._as_it_stands(program), places=frozenset(places)
                )
        self._step = "finalize"
        try:
            model = program.finalize()
        except dsl.DslError as error:
            complaints.append(self._complaint(error, system))
            places |= self._places(error, system)
            return closing.Ending(complaints=complaints, model=self._as_it_stands(program), places=frozenset(places))
        for each in program.swallowed:  # what the language only says that it was
            LOG.warning("deployment %s: %s", self._row.id, self._veil.text(complaint_of(each.error).details or ""))
        complaints.extend(_stacks_left(self._row, system, self._components))
        if self._row.kind == "delete" and not models.is_empty(model):
            complaints.append(closing.Complaint(message="The deletion left objects in the environment's model."))
        places |= self._places_of_destruction(program, system)
        return closing.Ending(
            value=value,
            complaints=complaints,
            model=model,
            places=frozenset(places | set(system.complained)),
            warnings=() if complaints else tuple(_strays(self._row, system)),
        )

    def _complaint(self, error: dsl.DslError, system: execution.DurableSystem) -> closing.Complaint:
        """What a failed program has to say, about the effect that failed if it was one."""
        effect = next((system.troubles[place] for place in sorted(dsl.places(error)) if place in system.troubles), None)
        if effect is None:
            about = statuses.About(component=self._components.of(None), step=self._step)
        else:
            about = self._components.about(effect)
        return dataclasses.replace(complaint_of(error), about=about)

    def _places(self, error: dsl.DslError, system: execution.DurableSystem) -> frozenset[str]:
        """Where a retry begins; nowhere but at what was under way, where nothing failed but time or patience."""
        if isinstance(error, dsl.LimitExceeded | dsl.NonDeterministic):
            return frozenset()
        return frozenset({*dsl.places(error), *system.complained})

    def _places_of_destruction(self, program: dsl.Program, system: execution.DurableSystem) -> set[str]:
        """The same for what destructors failed with: effects that failed in them; of a deletion, whatever it was."""
        found = {effect.key for effect, _ in system.failures if effect.name == "heat.delete"}
        for each in program.swallowed:
            places = dsl.places(each.error)
            if self._row.kind == "delete" or places & system.troubles.keys():
                found |= places
        return found

    def _as_it_stands(self, program: dsl.Program | None) -> Mapping[str, Any] | None:
        """The model after the program was stopped, nothing destroyed; None if it can not be told any more.

        Objects that were to be destroyed and may not have been stay in ObjectsCopy, with their attributes: the next
        deployment destroys them.
        """
        if program is None:
            return None
        try:
            model = program.dump()
        except (dsl.DslError, dsl.Interrupted):
            trace = self._veil.text(traceback.format_exc())
            LOG.warning("deployment %s: the model could not be kept\n%s", self._row.id, trace)
            return None
        submitted = self._row.model
        copied = model["ObjectsCopy"]
        if self._step in ("load", "collect"):
            copied = submitted.get("ObjectsCopy")
        else:
            loaded = models.for_engine(submitted, self._row.environment_id)["Objects"]
            if not models.ids(loaded) <= models.ids(model["Objects"]):  # the program let go of some
                copied = loaded
        known = {tuple(row[:3]) for row in model["Attributes"]}
        orphans = models.ids(copied) - models.ids(model["Objects"])
        forgotten = [
            row for row in submitted.get("Attributes") or [] if tuple(row[:3]) not in known and row[0] in orphans
        ]
        return {**model, "ObjectsCopy": copied, "Attributes": [*model["Attributes"], *forgotten]}


def context_of(
    row: deployments.Deployment, settings: EngineSettings, check: Callable[[], None] | None = None
) -> effects.Context:
    """On whose behalf a deployment runs: its requester, in an environment that may be another user's."""
    return effects.Context(
        deployment_id=row.id,
        environment_id=row.environment_id,
        project_id=row.project_id,
        user_id=row.user_id,
        owner_project_id=row.model.get("project_id") or row.project_id,
        owner_user_id=row.model.get("user_id") or row.user_id,
        settings=settings.options,
        stack_tags=settings.stack_tags,
        trust_id=models.trust_of(row.model),
        veil=masking.Veil(masking.of_model(row.model) | masking.found_in(row.action)),
        check=check,
    )


def complaint_of(error: dsl.DslError) -> closing.Complaint:
    """What a failed program has to say: the message, and the trace in the package's own lines."""
    details = error.formatted() if isinstance(error, dsl.Thrown | dsl.LimitExceeded) else str(error)
    return closing.Complaint(message=getattr(error, "message", None) or str(error), details=details)


def _within(ending: closing.Ending, largest: int) -> closing.Ending:
    """The ending, without a model or a result that the database could not take."""
    model, result = _size(ending.model), _size(ending.value)
    if model > largest:
        ending = dataclasses.replace(ending, model=None, complaints=_and_too_large(ending, "model", model, largest))
    if result > largest:
        ending = dataclasses.replace(ending, value=None, complaints=_and_too_large(ending, "result", result, largest))
    return ending


def _size(value: Any) -> int:
    return 0 if value is None else len(json.dumps(value))


def _and_too_large(ending: closing.Ending, what: str, size: int, largest: int) -> tuple[closing.Complaint, ...]:
    message = f"The {what} has become {size} bytes long, of which the database takes {largest} at most."
    return (*ending.complaints, closing.Complaint(message=message))


def _failed(message: str, details: str | None = None) -> closing.Ending:
    return closing.Ending(complaints=(closing.Complaint(message=message, details=details),))


def _why_not_loaded(
    library: dsl.Library, model: Mapping[str, Any], natives: Mapping[str, type], error: dsl.DslError
) -> Iterable[closing.Complaint]:
    """All that is wrong with the model, where the check finds it; else what loading it stumbled over."""
    found = check.violations(library, model, natives)
    if not found:
        return [complaint_of(error)]
    details = complaint_of(error).details
    return [
        closing.Complaint(message=str(violation), entity_id=violation.object_id, details=details) for violation in found
    ]


def _strays(row: deployments.Deployment, system: execution.DurableSystem) -> Iterable[closing.Complaint]:
    """Stacks of the deployment that was retried for which this one had no use."""
    for name in retry.untouched(row, system.pushed):
        yield closing.Complaint(
            message=f"Stack {name!r} was made by the deployment that was retried, after its failure, and this one had "
            f"no use for it: it may still run. Look at it, and delete it if it does."
        )


def _stacks_left(
    row: deployments.Deployment, system: execution.DurableSystem, components: progress.Components
) -> Iterable[closing.Complaint]:
    """Failures to delete stacks, which destructors must not hide: what runs on unseen is paid for."""
    for effect, failure in system.failures:
        if effect.name == "heat.delete":
            stack: Any = effect.arguments["stack"]
            name = stack["name"]
            yield closing.Complaint(
                message=f"Stack {name!r} could not be deleted and may still run: {failure.message}",
                entity_id=effect.object_id or row.environment_id,
                about=components.about(effect),
            )
