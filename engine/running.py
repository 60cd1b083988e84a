"""One run of a deployment's program: its packages, the model, `collect`, the action, `finalize`, and how that ended.

Reached through `engine.deployment`, which says in which world it runs. Whatever fails, the ending has the reason and
as much of the model as there is; a model that does not load destroys nothing (spec/engine-flow §4).
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dsl
from catalog.db import deployments, masking, statuses
from engine import check, closing, destruction, execution, models, packages, progress, retry
from engine.clouds import ports
from engine.journal import Journal, NonDeterministic
from engine.lease import Draining, Lease, LeaseLost

if TYPE_CHECKING:
    from engine.deployment import Deployments

LOG = logging.getLogger(__name__)


class Run:
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
            return failed(str(error))
        except dsl.Interrupted as interruption:
            return self._interrupted(None, interruption)
        try:
            system = self._system = self._engine.system(
                self._held, self._row, self._journal, self._components, self._veil
            )
        except ports.CloudError as error:  # no way into the cloud
            return failed(str(error))
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
            LOG.warning("deployment %s: %s", self._row.id, self._veil.text(_complaint_of(each.error).details or ""))
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
        return dataclasses.replace(_complaint_of(error), about=about)

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


def failed(message: str, details: str | None = None) -> closing.Ending:
    """An ending that leaves the model as it was composed."""
    return closing.Ending(complaints=(closing.Complaint(message=message, details=details),))


def _complaint_of(error: dsl.DslError) -> closing.Complaint:
    """What a failed program has to say: the message, and the trace in the package's own lines."""
    details = error.formatted() if isinstance(error, dsl.Thrown | dsl.LimitExceeded) else str(error)
    return closing.Complaint(message=getattr(error, "message", None) or str(error), details=details)


def _why_not_loaded(
    library: dsl.Library, model: Mapping[str, Any], natives: Mapping[str, type], error: dsl.DslError
) -> Iterable[closing.Complaint]:
    """All that is wrong with the model, where the check finds it; else what loading it stumbled over."""
    found = check.violations(library, model, natives)
    if not found:
        return [_complaint_of(error)]
    details = _complaint_of(error).details
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
