"""What the API asks of workers: wake-ups, and questions that need packages but no deployment.

oslo.messaging on the topic of `catalog.broker`, in threads; `fake://` within one process, a broker between several. Any
worker answers any question. Errors travel under the names MuranoPL knows them by, which the API maps to its statuses.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

import dsl
from catalog import broker
from catalog.broker import oslo_messaging
from catalog.db import masking
from engine import (
    availability,
    check,
    class_configs,
    deployment,
    effects,
    messages,
    models,
    packages,
    plan,
    questions,
    reconciling,
)

LOG = logging.getLogger(__name__)


class Fault(Exception):
    """Base of errors that are the asker's: answered under their own name, not logged as the engine's failure."""


def fault(name: str, message: str) -> Fault:
    """An error whose class has the given name: brokers carry errors by the names of their classes."""
    kind = type(name, (Fault,), {"__module__": __name__})
    return kind(message)


_checked = messages.checked(lambda malformed: fault("MalformedMessage", str(malformed)))


class Endpoint:
    """The calls of the topic. Each is answered by one worker."""

    target = oslo_messaging.Target()

    def __init__(
        self,
        store: packages.PackageStore,
        clouds: deployment.Clouds,
        natives: Mapping[str, type],
        settings: deployment.EngineSettings,
        wake: Callable[[], None],
        providers: check.Providers,
        reconciler: reconciling.Reconciler,
    ) -> None:
        self._store = store
        self._clouds = clouds
        self._natives = natives
        self._settings = settings
        self._wake = wake
        self._providers = providers
        self._reconciler = reconciler

    def deployment_ready(self, context: dict[str, Any], deployment_id: str = "", **more: Any) -> None:
        """There is something to claim. The row is the truth: whatever the message says, that is looked at."""
        LOG.debug("deployment %.40s is announced", deployment_id)
        self._wake()

    @oslo_messaging.expected_exceptions(Fault)
    @_checked
    def check(
        self, context: dict[str, Any], model: Mapping[str, Any], lock: packages.Lock, project_id: str
    ) -> dict[str, Any]:
        """What is wrong with a model, and what could not be found out.

        `{"problems": [{object_id, type, path, message, expected, found, fix}], "notes": [{region, message}]}`.
        """

        def answer() -> dict[str, Any]:
            library = self._store.library(lock)
            wrong = check.problems(library, model, self._natives, self._providers, project_id)
            asked = self._context(project_id, str(model.get("user_id") or ""), models.environment_id_of(model), model)
            lacking = availability.answer(library, model, self._clouds(asked), project_id)
            found = [_veiled(each, veil) for each in [*wrong, *lacking.problems][: check.MOST]]
            return {"problems": found, "notes": veil.value(lacking.notes)}

        veil = masking.Veil(masking.of_model(model))
        return _faults_named(answer, veil)

    @oslo_messaging.expected_exceptions(Fault)
    @_checked
    def plan(
        self,
        context: dict[str, Any],
        model: Mapping[str, Any],
        lock: packages.Lock,
        project_id: str,
        environment_id: str,
        user_id: str,
        action: Mapping[str, Any] | None,
        moment: float | None = None,
        seconds: float = plan.SECONDS,
    ) -> dict[str, Any]:
        """What the action, or without one the deletion of what the model has, would do: `{"steps", "hash", "moment"}`.

        Within `seconds`, and with the clock at `moment`, that of another plan, to compare with that.
        """

        def answer() -> dict[str, Any]:
            deadline = plan.Deadline(seconds)
            asked = self._context(project_id, user_id, environment_id, model, deadline.check, veil)
            return plan.plan(
                plan.Question(
                    library=self._store.library(lock),
                    model=model,
                    action=action,
                    context=asked,
                    natives=self._natives,
                    key=self._settings.plan_key(),
                    base=self._clouds(asked),
                    configurations=class_configs.in_folder(self._settings.class_configs),
                    moment=moment,
                    deadline=deadline,
                )
            )

        veil = masking.Veil(masking.of_model(model) | masking.found_in(action))
        return _faults_named(answer, veil)

    @oslo_messaging.expected_exceptions(Fault)
    @_checked
    def static_action(
        self,
        context: dict[str, Any],
        class_name: str,
        method_name: str,
        parameters: Mapping[str, Any],
        lock: packages.Lock,
        project_id: str,
        user_id: str,
        package_name: str | None = None,
        class_version: str | None = None,
        trust_id: str | None = None,
    ) -> Any:
        """The result of a public static method (spec/engine-flow §4)."""

        def answer() -> Any:
            asked = self._context(project_id, user_id, "", {"SystemData": {"TrustId": trust_id}}, veil=veil)
            system = questions.QuestionSystem(asked, self._clouds(asked), self._natives)
            runtime = dsl.Runtime(self._store.library(lock), system=system, limits=questions.LIMITS)
            program = runtime.load({})
            try:
                return program.call_static(
                    class_name, method_name, version=class_version, exposed_only=True, **parameters
                )
            finally:
                program.discard()

        veil = masking.Veil(masking.found_in(parameters))
        return _faults_named(answer, veil)

    @oslo_messaging.expected_exceptions(Fault)
    @_checked
    def schema(
        self,
        context: dict[str, Any],
        class_name: str,
        lock: packages.Lock,
        project_id: str,
        method_names: Sequence[str] | None = None,
        class_version: str | None = None,
        package_name: str | None = None,
    ) -> dict[str, Any]:
        """JSON schemas: of the class under "", of each of the methods under its name."""

        def answer() -> dict[str, Any]:
            library = self._store.library(lock)
            return dict(library.schemas(class_name, method_names, version=class_version, package=package_name))

        return _faults_named(answer)

    @oslo_messaging.expected_exceptions(Fault)
    @_checked
    def reconcile(
        self,
        context: dict[str, Any],
        project_id: str,
        environment_id: str | None = None,
        trust_id: str | None = None,
    ) -> dict[str, Any]:
        """What a project's cloud has and should not, or has not and should: `engine.reconciling`."""
        return self._reconciler.reconcile(project_id, environment_id, trust_id)

    @oslo_messaging.expected_exceptions(Fault)
    @_checked
    def remove_leftover(
        self, context: dict[str, Any], project_id: str, stack_id: str, trust_id: str | None = None
    ) -> dict[str, Any]:
        """Begins to remove a leftover; what it is."""
        try:
            return self._reconciler.remove(project_id, stack_id, trust_id)
        except reconciling.NotLeftOver as error:
            raise fault("NotLeftOver", str(error)) from error

    def _context(
        self,
        project_id: str,
        user_id: str,
        environment_id: str,
        model: Mapping[str, Any],
        check: Callable[[], None] | None = None,
        veil: masking.Veil | None = None,
    ) -> effects.Context:
        return effects.Context(
            deployment_id=f"question-{uuid.uuid4().hex}",
            environment_id=environment_id,
            project_id=project_id,
            user_id=user_id,
            owner_project_id=model.get("project_id") or project_id,
            owner_user_id=model.get("user_id") or user_id,
            settings=self._settings.options,
            stack_tags=self._settings.stack_tags,
            trust_id=models.trust_of(model),
            veil=masking.Veil(masking.of_model(model)) if veil is None else veil,
            check=check,
        )


def server(conf: cfg.ConfigOpts, endpoint: Endpoint) -> Any:
    """An RPC server for the endpoint, on the broker of `[messaging] transport_url`; to be started and stopped."""
    target = broker.target(conf, server=uuid.uuid4().hex)
    return oslo_messaging.get_rpc_server(broker.transport(conf), target, [endpoint])


def _faults_named(answer: Callable[[], Any], veil: masking.Veil | None = None) -> Any:
    """The answer; its errors under their names, without what `veil` hides, nor the errors that are behind them."""
    told = (veil or masking.Veil()).text
    try:
        return answer()
    except Fault:
        raise
    except dsl.Thrown as error:
        name = error.names[0].rpartition(".")[2] if error.names else "DslError"
        raise fault(name, told(str(error.message))) from None
    except dsl.PackageError as error:
        raise fault("PackageError", told(str(error))) from None
    except dsl.DslError as error:
        raise fault("DslError", told(str(error))) from None
    except plan.Unfinished as error:
        raise fault("PlanUnfinished", told(str(error))) from None
    except packages.PackageMissing as error:
        raise fault("NoPackageFound", told(str(error))) from None
    except Exception as error:  # a fault of ours, or of a cloud: oslo.messaging would log all that it says
        LOG.error("a question failed\n%s", told(traceback.format_exc()))
        raise fault(type(error).__name__, told(str(error))) from None


def _veiled(problem: dict[str, Any], veil: masking.Veil) -> dict[str, Any]:
    """A problem without secrets: what a field for one has instead may be one, whatever its type."""
    found = problem.get("found")
    if isinstance(found, str) and masking.hides(str(problem.get("path") or "").rpartition(".")[2], found):
        veil.learn({found, found.strip("'\"")})
    return dict(veil.value(problem))
