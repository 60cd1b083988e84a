"""io.murano.system.Agent: carries plans to the agent inside a server and gives back what it answered.

A plan's id and stamp come from effects, so a deployment that is taken over sends the very same plan again and the agent
knows it. See spec/agent-protocol.
"""

from __future__ import annotations

import dsl
from engine.agents import boot
from engine.system import plans, results, signing

DEFAULT_TIMEOUT = 3600  # seconds, where `[engine] agent_timeout` is not set
READY_TIMEOUT = 100  # seconds that isReady and waitReady wait
STAMPS_PER_SECOND = 10_000
TIMEOUT_EXCEPTION = "murano.common.exceptions.TimeoutException"
POLICY_EXCEPTION = "murano.common.exceptions.PolicyViolationException"


@dsl.native
class Agent:
    """spec/core-library §9.2, spec/agent-protocol §2."""

    def __init__(self, this: dsl.ObjectHandle, host: dsl.ObjectHandle) -> None:
        self._this = this
        self._host = host
        self._last_stamp = 0
        self._settings: dict[str, object] = {}

    @dsl.method
    def queue_name(self) -> str:
        """Name of the queue that this agent's plans go to; with the plan it is what the engine signs."""
        return f"e{self._environment_id()}-h{self._host.id}".lower()

    @dsl.method
    def signing_key(self, line_prefix: str = "") -> str:
        """The engine's public key (PEM) with every line prefixed; '' if the engine signs nothing."""
        return signing.public_key(self._config("signing_key"), line_prefix)

    @dsl.method
    def boot_data(self) -> dict[str, object]:
        """{"protocol", "userData", "broker"}: what brings the agent up.

        For `amqp` the data are null: the YAML classes write them, with what the service says of its broker beside the
        region's configuration (`login`, `password`, `virtual_host`, `result_exchange`, `result_routing_key`).
        """
        access = self._this.effect(
            "agent.register",
            environment_id=self._environment_id(),
            instance_id=self._host.id,
            name=self._host.get("name"),
            queue=self.queue_name(),
            region=self._host.call("getRegion").get("name"),
        )
        if not isinstance(access, dict) or "protocol" not in access:
            raise ValueError(f"agent of {self._host.id}: the service offers no way to reach it, found {access!r}")
        if access["protocol"] == "amqp":
            return {"protocol": "amqp", "userData": None, "broker": access.get("broker") or {}}
        user_data = access.get("user_data") or boot.user_data(access)  # journals of early releases lack it
        return {"protocol": access["protocol"], "userData": user_data, "broker": {}}

    @dsl.method
    def build_execution_plan(self, template: dict, resources: dsl.ObjectHandle) -> dict[str, object]:
        """The plan that `call` would send."""
        return plans.build_plan(template, _HandedScripts(resources), self._new_id(), self._stamp)

    @dsl.method
    def call(self, template: dict, resources: dsl.ObjectHandle, timeout: int | None = None) -> object:
        """Runs the plan and returns its result. Raises AgentException for a failed plan, TimeoutException."""
        self._check_enabled()
        return self._run(self.build_execution_plan(template, resources), timeout)

    @dsl.method
    def send(self, template: dict, resources: dsl.ObjectHandle) -> None:
        """Sends the plan and does not wait for its result."""
        self._check_enabled()
        self._run(self.build_execution_plan(template, resources), None, wait=False)

    @dsl.method
    def call_raw(self, plan: dict, timeout: int | None = None) -> object:
        """Runs a plan as it is: no id, stamp or files are added."""
        self._check_enabled()
        return self._run(plan, timeout)

    @dsl.method
    def send_raw(self, plan: dict) -> None:
        """Sends a plan as it is and does not wait for its result."""
        self._check_enabled()
        self._run(plan, None, wait=False)

    @dsl.method
    def wait_ready(self, timeout: int = READY_TIMEOUT) -> bool:
        """Waits until the agent answers: true. Raises TimeoutException."""
        self._check_enabled()
        # Stock agents refuse a plan without Files and never forget one without a Stamp (spec/agent-protocol §2).
        probe = {"FormatVersion": "2.0.0", "Name": "Is the agent there?", "Body": "return", "Scripts": {}, "Files": {}}
        self._run(plans.build_plan(probe, _NoScripts(), self._new_id(), self._stamp), timeout)
        return True

    @dsl.method
    def is_ready(self, timeout: int = READY_TIMEOUT) -> bool:
        """Whether the agent answers within `timeout` seconds."""
        try:
            return self.wait_ready(timeout)
        except dsl.SystemFailure as failure:
            if TIMEOUT_EXCEPTION in failure.names:
                return False
            raise

    def _run(self, plan: dict[str, object], timeout: int | None, *, wait: bool = True) -> object:
        answer = self._this.effect(
            "agent.run",
            environment_id=self._environment_id(),
            instance_id=self._host.id,
            queue=self.queue_name(),
            plan_id=str(plan.get("ID") or self._new_id()),
            plan=plan,
            timeout=timeout if timeout is not None else self._config("agent_timeout") or DEFAULT_TIMEOUT,
            wait=wait,
        )
        return results.result_value(answer) if wait else None

    def _check_enabled(self) -> None:
        if self._config("disable_murano_agent"):
            raise dsl.SystemFailure(
                (POLICY_EXCEPTION,),
                f"agent of {self._host.id}: agents are switched off in this service ([engine] disable_murano_agent)",
            )

    def _new_id(self) -> str:
        return str(self._this.effect("random.id"))

    def _stamp(self) -> int:
        now = self._this.effect("clock.now")
        self._last_stamp = max(int(float(str(now)) * STAMPS_PER_SECOND), self._last_stamp + 1)
        return self._last_stamp

    def _environment_id(self) -> str:
        environment = self._host.find_owner("io.murano.Environment")
        if environment is None:
            raise ValueError(f"agent of {self._host.id}: the server belongs to no environment")
        return environment.id

    def _config(self, name: str) -> object:
        # As an effect, because a replay has to see what the deployment saw.
        if name not in self._settings:
            self._settings[name] = self._this.effect("config", group="engine", name=name, readAsFile=False)
        return self._settings[name]


class _HandedScripts:
    """Files through the Resources object that the package handed over: they are its own, not the agent's."""

    def __init__(self, resources: dsl.ObjectHandle) -> None:
        self._resources = resources

    def text(self, path: str) -> str:
        return str(self._resources.call("string", path))

    def base64(self, path: str) -> str:
        return str(self._resources.call("base64", path))


class _NoScripts:
    def text(self, path: str) -> str:
        raise ValueError(f"this plan has no files, asked for {path}")

    base64 = text
