"""Orchestration by OpenStack Heat, through python-heatclient and keystoneauth (spec/core-library §9.1).

A push converges: whatever a worker that died has left is waited for and then updated to the wanted template. A stack
that fails is reported with the resources that failed and why. Neutron is read for network explorers.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from heatclient import exc
from keystoneauth1 import exceptions as keystone_exc

from catalog.db import masking
from engine.clouds import heat_listing, ports

LOG = logging.getLogger(__name__)

POLL = 2.0  # seconds between two looks at a stack that works
CONFLICT_PAUSE = 3.0  # seconds before a call is repeated that came while the stack was worked on
BEGINS = 60.0  # seconds within which Heat begins with a change it has accepted
RETRIES = (2.0, 4.0, 8.0)  # pauses after a failed look; the count begins anew with every success
ANSWER = 60.0  # seconds in which a service answers, or the question counts as lost
TRANSIENT_STATUS = (429, 500, 502, 503, 504)  # of answers that may be better the next time
CONNECTION = (
    exc.CommunicationError,
    keystone_exc.ConnectionError,  # time-outs, too
    keystone_exc.RetriableConnectionFailure,
)
REFUSED = (exc.HTTPException, keystone_exc.ClientException, *CONNECTION)
# Heat makes a trust of its own from an environment's, and answers so when Keystone does not let it.
TRUST_TROUBLE = (exc.HTTPInternalServerError, exc.HTTPForbidden, exc.HTTPUnauthorized)
TRUST_HINT = (
    "Perhaps Heat was not let make a trust of its own from the environment's: what Keystone and Heat have to allow is "
    'in docs/openstack.md, "Trusts".'
)
STACK_TIMEOUT = 3600.0  # seconds in which a stack has to follow its template, or be gone
ANOTHER_LOOK = 60.0  # seconds that a worker waits at least that took a change over: it may be as good as done
DEEPEST = 3  # levels of nested stacks searched for the resource that failed

Answer = TypeVar("Answer")


class HeatOrchestration:
    """Stacks of one project. `connect(region)` gives a heatclient for the region, "" for the default one; `regions` are
    those that there are.

    With a trust `otherwise(region)` gives one with other rights, or None, for what Heat does not do with the trust.
    `check` raises what ends the call before its time, when its worker may change nothing any more.
    """

    def __init__(
        self,
        connect: Callable[[str], Any],
        *,
        otherwise: Callable[[str], Any] | None = None,
        pause: Callable[[float], None] = time.sleep,
        poll: float = POLL,
        check: Callable[[], None] | None = None,
        limit: float = STACK_TIMEOUT,
        regions: Callable[[], Sequence[str]] = lambda: ("",),
    ) -> None:
        self._connect = connect
        self._regions = regions
        self._otherwise = otherwise
        self._sleep = pause
        self._poll = poll
        self._check = check or (lambda: None)
        self._limit = limit

    def push(
        self,
        stack: ports.Stack,
        template: dict[str, Any],
        files: dict[str, str],
        environment: dict[str, Any] | str | None,
        parameters: dict[str, Any],
    ) -> dict[str, Any]:
        """Makes the stack what the template says, and waits. Raises `ports.StackError` with the resource at fault."""
        heat, stack = self._heat(stack), self._limited(stack)
        fields = {
            "timeout_mins": max(1, math.ceil(self._limit / 60)),  # Heat, too, shall not go on for longer
            "template": template,
            "files": files,
            "environment": environment or {},
            "parameters": parameters,
            "tags": ",".join(stack.tags) or None,
            "disable_rollback": True,  # what failed is looked at, mended and pushed again
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        if not template.get("resources"):
            self._delete(heat, stack)
            return {}

        def change(heat: Any, before: Any) -> Any:
            if before is None:
                return heat.stacks.create(stack_name=stack.name, **fields)
            return heat.stacks.update(before.id, **fields)

        before = self._changed(heat, stack, change, "refused the template")
        after = self._idle(heat, stack, since=_stamp(before))
        wanted = "CREATE_COMPLETE" if before is None else "UPDATE_COMPLETE"
        if after is None or after.stack_status != wanted:
            raise self._failure(heat, stack, after, wanted)
        return _outputs(stack, after)

    def current(self, stack: ports.Stack) -> dict[str, Any] | None:
        """The template last pushed, None when there is no such stack."""
        heat = self._heat(stack)
        found = self._look(heat, stack)
        if found is None:
            return None
        try:
            return dict(self._patiently(stack, lambda: heat.stacks.template(found.id)))
        except exc.HTTPNotFound:  # deleted in this moment
            return None

    def parameters(self, stack: ports.Stack) -> dict[str, Any]:
        """The parameters of the last push."""
        found = self._look(self._heat(stack), stack)
        if found is None:
            return {}
        return {name: value for name, value in found.parameters.items() if not name.startswith("OS::")}

    def files(self, stack: ports.Stack) -> dict[str, str] | None:
        """The files of the last push; None where policy keeps them from this user."""
        return self._kept(stack, "files")

    def environment(self, stack: ports.Stack) -> dict[str, Any] | None:
        """The environment of the last push, with what Heat has added to it; None as with files."""
        return self._kept(stack, "environment")

    def _kept(self, stack: ports.Stack, what: str) -> dict[str, Any] | None:
        heat = self._heat(stack)
        found = self._look(heat, stack)
        if found is None:
            return {}
        try:
            return dict(self._patiently(stack, lambda: getattr(heat.stacks, what)(found.id)) or {})
        except exc.HTTPNotFound:  # deleted in this moment
            return {}
        except ports.StackError as error:
            if isinstance(error.__cause__, exc.HTTPForbidden):
                return None
            raise

    def outputs(self, stack: ports.Stack) -> dict[str, Any]:
        """`{output name: value}` once nobody works on the stack, {} when there is none."""
        found = self._idle(self._heat(stack), self._limited(stack))
        return {} if found is None else _outputs(stack, found)

    def delete(self, stack: ports.Stack) -> None:
        """Removes the stack with its resources and waits. Raises `ports.StackError` with the resource at fault."""
        self._delete(self._heat(stack), self._limited(stack))

    def resources(self, stack: ports.Stack) -> ports.Holdings | None:
        """What the stack has now, with what nested stacks in it have; None when there is none. Raises `CloudError`."""
        heat = self._heat(stack)
        found = self._look(heat, stack)
        if found is None:
            return None
        try:
            listed = self._patiently(stack, lambda: heat.resources.list(found.id, nested_depth=heat_listing.ALL_LEVELS))
        except exc.HTTPNotFound:  # deleted in this moment
            return None
        return ports.Holdings(
            id=found.id,
            resources=heat_listing.held(listed),
            status=found.stack_status,
            reason=found.stack_status_reason,
        )

    def tagged(self, project_id: str, tag: str) -> Sequence[ports.Found]:
        """The project's stacks that have the tag. Raises `CloudError` naming the region that can not be asked."""
        found: dict[str, ports.Found] = {}
        for region in self._asked_regions():
            place = ports.Stack(name=f"with the tag {tag}", project_id=project_id, region_name=region)
            heat = self._heat(place)
            for each in self._patiently(place, lambda heat=heat: list(heat.stacks.list(filters={"tags": tag}))):  # type: ignore[misc]
                if each.stack_status != "DELETE_COMPLETE" and each.id not in found:
                    found[each.id] = ports.Found(
                        id=each.id,
                        name=each.stack_name,
                        region_name=region or None,
                        tags=tuple(getattr(each, "tags", None) or ()),
                        status=each.stack_status,
                        created=each.creation_time,
                    )
        return list(found.values())

    def _asked_regions(self) -> Sequence[str]:
        try:
            return self._regions()
        except keystone_exc.ClientException as error:
            raise ports.CloudError(f"the regions can not be told: {error}") from error

    def _delete(self, heat: Any, stack: ports.Stack) -> None:
        def change(heat: Any, before: Any) -> Any:
            return before and heat.stacks.delete(before.id)

        before = self._changed(heat, stack, change, "refused to delete the stack")
        after = before and self._idle(heat, stack, since=_stamp(before))
        if after is not None:
            raise self._failure(heat, stack, after, "DELETE_COMPLETE")

    def _changed(self, heat: Any, stack: ports.Stack, change: Callable[[Any, Any], Any], refusal: str) -> Any:
        """Has Heat begun with a change, with other rights if it does not with a trust; the stack as it was before."""
        try:
            return self._begun(heat, stack, change, refusal)
        except ports.StackError as error:
            if self._otherwise is None or not isinstance(error.__cause__, TRUST_TROUBLE):
                raise
            other = self._otherwise(stack.region_name or "")
            if other is None:
                raise ports.StackError(stack.name, f"{error.reason} {TRUST_HINT}") from error
            LOG.warning("stack %s: %s With the trust, that is; tried as the service user", stack.name, error.reason)
            return self._begun(other, stack, change, refusal)

    def _begun(self, heat: Any, stack: ports.Stack, change: Callable[[Any, Any], Any], refusal: str) -> Any:
        """Has Heat begun with a change: `change(heat, stack as it was)`, once nobody works on it; the stack as it was.

        A call that failed may have been heard: after a look at the stack it is repeated, for both changes converge.
        """
        pauses = iter(RETRIES)
        while True:
            before = self._idle(heat, stack)
            self._check()
            try:
                change(heat, before)
                return before
            except exc.HTTPConflict:  # somebody works on the stack: another worker's push that is still under way
                self._in_time(heat, stack, before)
                self._pause(CONFLICT_PAUSE)
            except REFUSED as error:
                if _is_transient(error):
                    pause = next(pauses, None)
                    if pause is None:
                        raise ports.StackError(stack.name, f"Heat failed: {_message(error)}") from error
                    told = masking.masked_text(_message(error))
                    LOG.warning("stack %s: Heat failed (%s); asked again in %.0f s", stack.name, told, pause)
                    self._pause(pause)
                elif not isinstance(error, exc.HTTPException):
                    raise ports.StackError(stack.name, f"no access to Heat: {error}") from error
                elif before is None or not isinstance(error, exc.HTTPNotFound):  # else somebody has just deleted it
                    raise ports.StackError(stack.name, f"Heat {refusal}: {_message(error)}") from error

    def _idle(self, heat: Any, stack: ports.Stack, since: tuple[object, ...] | None = None) -> Any:
        """The stack once nobody works on it, None when there is none.

        `since` is the stamp before a change: until the stamp differs, Heat has not begun with it. Stamps have whole
        seconds, so that a very quick change may leave none.
        """
        unchanged = 0.0
        while True:
            found = self._look(heat, stack)
            if found is None:
                return None
            if "IN_PROGRESS" not in found.stack_status:
                if _stamp(found) != since or unchanged >= BEGINS:
                    return found
                unchanged += self._poll
            self._in_time(heat, stack, found)
            self._pause(self._poll)

    def _look(self, heat: Any, stack: ports.Stack) -> Any:
        """The stack, None when there is none: Heat shows a deleted one, without its resources, for a moment more."""
        try:
            found = self._patiently(stack, lambda: heat.stacks.get(stack.name))
        except exc.HTTPNotFound:
            return None
        return None if found.stack_status == "DELETE_COMPLETE" else found

    def _patiently(self, stack: ports.Stack, ask: Callable[[], Answer]) -> Answer:
        """Repeats a question that changes nothing over short failures. Raises `ports.StackError` when they last."""
        pauses = iter(RETRIES)
        while True:
            try:
                return ask()
            except exc.HTTPNotFound:
                raise
            except REFUSED as error:
                if not _is_transient(error):
                    raise ports.StackError(stack.name, f"no access to Heat: {_message(error)}") from error
                pause = next(pauses, None)
                if pause is None:
                    raise ports.StackError(stack.name, f"Heat does not answer: {_message(error)}") from error
                found = masking.masked_text(_message(error))
                LOG.warning("stack %s: Heat does not answer (%s); asked again in %.0f s", stack.name, found, pause)
                self._pause(pause)

    def _limited(self, stack: ports.Stack) -> ports.Stack:
        """The stack with the time at which nobody waits for its change any more, counted from when it was intended."""
        left = max(self._limit - stack.waited, min(self._limit, ANOTHER_LOOK))
        return dataclasses.replace(stack, ends=time.monotonic() + left)

    def _in_time(self, heat: Any, stack: ports.Stack, found: Any) -> None:
        """Raises `ports.StackError` when the time for a change is over, with what Heat is still at."""
        if time.monotonic() < stack.ends:
            return
        state = "no stack" if found is None else found.stack_status
        reason = f"not done within {self._limit:g} s ([heat] stack_timeout): its state is {state}"
        for resource in () if found is None else self._resources(heat, found.id, "IN_PROGRESS"):
            since = _seconds_since(getattr(resource, "updated_time", None))
            lasted = "" if since is None else f" for {since:.0f} s"
            raise ports.StackError(
                stack.name,
                f"{reason}; the resource is {resource.resource_status}{lasted}",
                resource=resource.resource_name,
                resource_type=resource.resource_type,
            )
        raise ports.StackError(stack.name, reason)

    def _pause(self, seconds: float) -> None:
        self._sleep(seconds)
        self._check()

    def _failure(self, heat: Any, stack: ports.Stack, found: Any, wanted: str) -> ports.StackError:
        if found is None:
            return ports.StackError(stack.name, f"expected state {wanted}, found the stack gone")
        reason = f"expected state {wanted}, found {found.stack_status}: {found.stack_status_reason}"
        for resource in self._resources(heat, found.id, "FAILED"):
            return ports.StackError(
                stack.name,
                resource.resource_status_reason or reason,
                resource=resource.resource_name,
                resource_type=resource.resource_type,
            )
        return ports.StackError(stack.name, reason)

    def _resources(self, heat: Any, stack_id: str, state: str) -> Iterator[Any]:
        """Resources in such a state, those of nested stacks, which are nearest to the cause, first."""
        try:
            found = [
                resource
                for resource in heat.resources.list(stack_id, nested_depth=DEEPEST)
                if resource.resource_status.endswith(state)
            ]
        except REFUSED:  # the reason of the stack has to do
            return
        yield from sorted(found, key=lambda resource: "parent_resource" not in resource.to_dict())

    def _heat(self, stack: ports.Stack) -> Any:
        try:
            return self._connect(stack.region_name or "")
        except keystone_exc.ClientException as error:
            raise ports.StackError(stack.name, f"no access to Heat: {error}") from error


class NeutronNetwork:
    """Neutron as network explorers see it. `connect(region)` gives a keystoneauth adapter for Neutron."""

    def __init__(self, connect: Callable[[str], Any]) -> None:
        self._connect = connect

    def list(self, region: str, kind: str) -> list[dict[str, Any]]:
        """All `networks`, `subnets`, `ports`, `routers` or `extensions`. Raises `ports.CloudError`."""
        return list(self._ask(region, lambda neutron: neutron.get(f"/v2.0/{kind}").json()[kind]))

    def create_router(self, region: str, name: str, external_network_id: str) -> dict[str, Any]:
        """The router of that name, made if there is none."""
        for router in self.list(region, "routers"):
            if router["name"] == name:
                return dict(router)
        wanted = {"name": name, "external_gateway_info": {"network_id": external_network_id}}
        return dict(
            self._ask(region, lambda neutron: neutron.post("/v2.0/routers", json={"router": wanted}).json()["router"])
        )

    def _ask(self, region: str, question: Callable[[Any], Any]) -> Any:
        try:
            return question(self._connect(region))
        except keystone_exc.ClientException as error:
            raise ports.CloudError(f"Neutron in region {region or 'default'}: {error}") from error


def _seconds_since(moment: Any) -> float | None:
    """Seconds since a time as Heat writes it, None for what is none."""
    try:
        told = datetime.datetime.fromisoformat(str(moment))
    except ValueError:
        return None
    told = told if told.tzinfo is not None else told.replace(tzinfo=datetime.UTC)
    return max(0.0, (datetime.datetime.now(datetime.UTC) - told).total_seconds())


def _stamp(found: Any) -> tuple[object, ...] | None:
    """Differs before and after a change of the stack; None for no stack."""
    if found is None:
        return None
    return (found.id, found.creation_time, getattr(found, "updated_time", None), found.stack_status)


def _is_transient(error: Exception) -> bool:
    status = getattr(error, "http_status", None) or getattr(error, "code", None)
    return isinstance(error, CONNECTION) or status in TRANSIENT_STATUS


def _outputs(stack: ports.Stack, found: Any) -> dict[str, Any]:
    """Null for an output that Heat could not work out. Raises `ports.StackError` for what are no outputs."""
    told = getattr(found, "outputs", None) or []
    outputs: dict[str, Any] = {}
    for output in told if isinstance(told, list) else [None]:
        if not isinstance(output, dict) or not isinstance(output.get("output_key"), str):
            raise ports.StackError(stack.name, f"expected outputs with names from Heat, found {str(told)[:200]}")
        outputs[output["output_key"]] = output.get("output_value")
    return outputs


def _message(error: Exception) -> str:
    try:
        return str(error).removeprefix("ERROR: ")
    except Exception:  # heatclient reads an answer's body for its text, and a proxy's has another form
        return f"{type(error).__name__} with an answer of unknown form"
