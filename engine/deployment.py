"""The life of one deployment, from its row to its ending (spec/engine-flow §4, §5).

Its program (`engine.running`) runs on a `DurableSystem`, so that a worker that takes over goes on where the last one
stopped. Whatever fails, the deployment ends with the reason.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dsl
from catalog.db import base, deployments, environments, masking, resources
from engine import (
    class_configs,
    closing,
    effects,
    execution,
    holding,
    models,
    outages,
    packages,
    progress,
    retry,
    running,
    tags,
    traces,
)
from engine.clouds import ports, services
from engine.journal import Journal
from engine.lease import Lease, TimeOver

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
            return running.failed(
                f"The deployment was taken up {held.fence - 1} times and its worker died or stopped each time; it is "
                f"not tried again"
            ), None
        if row.state == deployments.CANCELLING and row.fence == 1:
            return running.failed("The deployment was cancelled before it began."), None
        if row.retry_of is not None:
            gone = retry.take_over(held, row)
            if gone is not None:
                return dataclasses.replace(running.failed(gone), refused=gone), None
            row = held.read(lambda session: session.get_one(deployments.Deployment, held.deployment_id))
        self._limit(held, row)
        journal = Journal(held, veil)
        try:
            refusal = self._refusal(held, row, journal)
            if refusal is not None:
                return refusal, journal
            program = running.Run(held, row, journal, self, veil)
            return program.run(), journal
        except dsl.Interrupted:
            raise
        except Exception as error:  # a fault of ours; the user is told what it was, the log has the rest
            LOG.error("deployment %s: internal error\n%s", row.id, veil.text(traceback.format_exc()))
            return running.failed(f"Internal error: {type(error).__name__}: {error}", traceback.format_exc()), journal

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
