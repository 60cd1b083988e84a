"""The engine, seen from the API: wake-ups that may get lost, and questions it answers in time or not at all.

oslo.messaging on the topic of `catalog.broker`. The deployment's row is the truth: a wake-up that fails is logged and
costs the deployment the seconds until a worker polls. Errors the engine raises come back under their names and
become answers here.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from catalog import broker
from catalog.api import errors
from catalog.broker import oslo_messaging
from catalog.db import masking

LOG = logging.getLogger(__name__)

NOT_FOUND = (  # spec/api-v1 §1.9: which failures of a static action are a 404
    "NoClassFound",
    "NoMethodFound",
    "NoPackageFound",
    "NoPackageForClassFound",
    "MethodNotExposed",
    "NoMethodRegistered",
    "NotLeftOver",
)
BAD_REQUEST = (
    "NoMatchingMethod",  # arguments that do not fit are the caller's: the original's tests want a 400 (§4.1)
    "NoMatchingMethodException",
    "ContractViolation",
    "ContractViolationException",
    "ValueError",
    "PackageError",
    "DslError",
)


TIMEOUT = ("PlanUnfinished",)
PLAN_SHARE = 0.85  # of the time the API waits for a plan: what the engine may take for it


class Engine:
    """The workers, whichever of them is there."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._timeouts = conf.engine_rpc
        self.transport = broker.transport(conf)
        self._client = oslo_messaging.get_rpc_client(self.transport, broker.target(conf))

    def wake(self, deployment_id: str) -> None:
        """Tells a worker that a deployment is ready. Never fails: workers look for themselves, too."""
        try:
            self._client.prepare(retry=1).cast({}, "deployment_ready", deployment_id=deployment_id)
        except Exception:  # whatever the broker's trouble is, the row is stored and will be found
            LOG.warning(
                "deployment %s: no worker could be woken; one will find it by itself", deployment_id, exc_info=True
            )

    def check(self, model: Mapping[str, Any], lock: Sequence[Mapping[str, str]], project_id: str) -> Any:
        """`{"problems", "notes"}` of a model. Raises `errors.ApiError`."""
        return self._ask("check", self._timeouts.check_timeout, model=model, lock=lock, project_id=project_id)

    def plan(self, **arguments: Any) -> Any:
        """What an action would do: `{"steps": [...], "hash", "moment"}`. Raises `errors.ApiError`."""
        timeout = self._timeouts.plan_timeout
        return self._ask("plan", timeout, seconds=timeout * PLAN_SHARE, **arguments)

    def static_action(self, **arguments: Any) -> Any:
        """The result of a public static method. Raises `errors.ApiError`."""
        return self._ask("static_action", self._timeouts.static_action_timeout, **arguments)

    def schema(self, **arguments: Any) -> Any:
        """JSON schemas of a class and its model builders. Raises `errors.ApiError`."""
        return self._ask("schema", self._timeouts.check_timeout, **arguments)

    def reconcile(self, project_id: str, environment_id: str | None = None, trust_id: str | None = None) -> Any:
        """What a project's cloud has and should not, or has not and should. Raises `errors.ApiError`."""
        timeout = self._timeouts.reconcile_timeout
        asked = {"project_id": project_id, "environment_id": environment_id, "trust_id": trust_id}
        return self._ask("reconcile", timeout, **asked)

    def remove_leftover(self, project_id: str, stack_id: str, trust_id: str | None = None) -> Any:
        """Begins to remove a leftover stack; what it is. Raises `errors.ApiError`."""
        timeout = self._timeouts.reconcile_timeout
        return self._ask("remove_leftover", timeout, project_id=project_id, stack_id=stack_id, trust_id=trust_id)

    def close(self) -> None:
        """Closes the connection to the broker."""
        self.transport.cleanup()

    def _ask(self, method: str, timeout: float, **arguments: Any) -> Any:
        try:
            return self._client.prepare(timeout=timeout).call({}, method, **arguments)
        except oslo_messaging.MessagingTimeout:
            raise errors.Timeout(
                f"The engine did not answer within {timeout:.0f} s. Repeat the request; if it stays silent, "
                "see that a worker runs (chandlery-engine) and reaches the same broker."
            )
        except oslo_messaging.MessageDeliveryFailure:
            raise errors.Unavailable("The message broker does not take messages now. Repeat the request in a while.")
        except Exception as failure:  # the engine's own error, by name: over a broker it arrives as RemoteError
            raise _translated(failure, masking.spellings(masking.found_in(arguments)))


def _translated(failure: Exception, known: frozenset[str]) -> errors.ApiError:
    name = getattr(failure, "exc_type", None) or type(failure).__name__
    text = masking.masked_text(str(getattr(failure, "value", None) or failure), known)
    names = {name, *(base.__name__ for base in type(failure).__mro__)}
    thrown = getattr(failure, "names", None)
    if isinstance(thrown, list | tuple):
        names.update(str(each).rpartition(".")[2] for each in thrown)
    if names & set(NOT_FOUND):
        return errors.NotFound(f"{text}")
    if names & set(TIMEOUT):
        return errors.Timeout(f"The engine gave up: {text}")
    if names & set(BAD_REQUEST):
        return errors.BadRequest(f"{text}")
    LOG.error("the engine failed: %s", masking.masked_text("".join(traceback.format_exception(failure)), known))
    return errors.Unavailable(f"The engine failed: {name}: {text}")
