"""Answers of Heat that a healthy cloud does not give at will, from a Heat in memory. No cloud is needed here."""

from __future__ import annotations

import types

import pytest
from heatclient import exc
from keystoneauth1 import exceptions as keystone_exc

from engine.clouds import heat as heat_cloud
from engine.clouds import ports, recording

STACK = ports.Stack(name="harbour")
TEMPLATE = {"heat_template_version": "2013-05-23", "resources": {"net": {"type": "OS::Neutron::Net"}}}


class Stacks:
    """One stack at most. `trouble` is raised by the next changes, in turn; `heard`: they are carried out."""

    def __init__(self):
        self.status = None
        self.updated = None
        self.calls = []
        self.trouble = []
        self.heard = False
        self.ticks = True

    def get(self, name):
        if self.status is None:
            raise exc.HTTPNotFound
        return types.SimpleNamespace(
            id="id", creation_time="now", updated_time=self.updated, stack_status=self.status, stack_status_reason="why"
        )

    def create(self, **fields):
        self._change("create", "CREATE_COMPLETE")

    def update(self, stack_id, **fields):
        self._change("update", "UPDATE_COMPLETE")

    def delete(self, stack_id):
        self._change("delete", None)

    def template(self, stack_id):
        raise exc.HTTPNotFound

    def _change(self, call, status):
        self.calls.append(call)
        error = self.trouble.pop(0) if self.trouble else None
        if error is None or self.heard:
            self.status = status
            self.updated = len(self.calls) if self.ticks else None
        if error is not None:
            raise error


@pytest.fixture
def stacks():
    return Stacks()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def orchestration(stacks, pauses):
    resources = types.SimpleNamespace(list=lambda stack_id, nested_depth: [])
    client = types.SimpleNamespace(stacks=stacks, resources=resources)
    return heat_cloud.HeatOrchestration(lambda region: client, pause=pauses.append)


def push(orchestration):
    return orchestration.push(STACK, TEMPLATE, {}, None, {})


@pytest.mark.parametrize(
    "error", [exc.HTTPServiceUnavailable(), exc.HTTPInternalServerError(), keystone_exc.ConnectFailure("refused")]
)
def test_a_create_that_failed_for_the_moment_is_repeated(orchestration, stacks, pauses, error):
    stacks.trouble = [error]
    assert push(orchestration) == {}
    assert (stacks.calls, pauses) == (["create", "create"], [2.0])


def test_a_create_that_was_heard_though_its_answer_was_lost_becomes_an_update(orchestration, stacks):
    stacks.trouble, stacks.heard = [exc.HTTPBadGateway()], True
    assert push(orchestration) == {}
    assert stacks.calls == ["create", "update"]


def test_a_failure_that_lasts_is_not_called_a_refusal(orchestration, stacks):
    stacks.trouble = [exc.HTTPInternalServerError("Internal Error")] * 9
    with pytest.raises(ports.StackError, match=r"Heat failed: .*Internal Error"):
        push(orchestration)
    assert stacks.calls == ["create"] * 4


def test_a_heat_that_is_not_there_is_not_asked_for_ever(orchestration, stacks):
    stacks.trouble = [exc.HTTPNotFound("no such path")]
    with pytest.raises(ports.StackError, match="no such path"):
        push(orchestration)


def test_a_delete_that_is_refused_or_fails_for_the_moment(orchestration, stacks):
    push(orchestration)
    stacks.trouble = [exc.HTTPServiceUnavailable(), exc.HTTPForbidden("by policy")]
    with pytest.raises(ports.StackError, match=r"Heat refused to delete the stack: .*by policy"):
        orchestration.delete(STACK)
    orchestration.delete(STACK)
    assert stacks.calls == ["create", "delete", "delete", "delete"]


def test_a_look_that_is_forbidden_is_a_matter_of_access(orchestration, stacks, monkeypatch):
    def forbidden(name):
        raise exc.HTTPForbidden("by policy")

    monkeypatch.setattr(stacks, "get", forbidden)
    with pytest.raises(ports.StackError, match=r"no access to Heat: .*by policy"):
        orchestration.outputs(STACK)


def test_a_stack_that_has_just_been_deleted_is_none_and_its_name_is_free(orchestration, stacks):
    stacks.status = "DELETE_COMPLETE"
    assert orchestration.current(STACK) is None
    orchestration.delete(STACK)
    push(orchestration)
    assert stacks.calls == ["create"]


def test_a_stack_that_goes_between_two_looks_has_no_template(orchestration, stacks):
    stacks.status = "CREATE_COMPLETE"
    assert orchestration.current(STACK) is None


def test_a_change_so_quick_that_it_leaves_no_trace_ends_too(orchestration, stacks, pauses):
    stacks.status, stacks.ticks = "UPDATE_COMPLETE", False
    assert push(orchestration) == {}
    assert sum(pauses) == heat_cloud.BEGINS


@pytest.mark.parametrize("told", [{"output_key": "a"}, [{"output_value": 1}], ["text"], [None], "text"])
def test_outputs_of_another_shape_are_a_failure_of_heat_with_what_it_said(orchestration, stacks, told, monkeypatch):
    push(orchestration)
    answer = types.SimpleNamespace(id="id", creation_time="now", stack_status="CREATE_COMPLETE", outputs=told)
    monkeypatch.setattr(stacks, "get", lambda name: answer)
    with pytest.raises(ports.StackError, match="expected outputs with names from Heat, found"):
        orchestration.outputs(STACK)


def test_an_output_that_heat_could_not_work_out_is_null(orchestration, stacks, monkeypatch):
    outputs = [{"output_key": "a", "output_error": "no such attribute"}, {"output_key": "b", "output_value": [1]}]
    answer = types.SimpleNamespace(id="id", creation_time="now", stack_status="CREATE_COMPLETE", outputs=outputs)
    monkeypatch.setattr(stacks, "get", lambda name: answer)
    assert orchestration.outputs(STACK) == {"a": None, "b": [1]}


def with_trust(stacks, pauses, other):
    """An orchestration that works with a trust, and with `other` where that does not do."""
    client = types.SimpleNamespace(
        stacks=stacks, resources=types.SimpleNamespace(list=lambda stack_id, nested_depth: [])
    )
    return heat_cloud.HeatOrchestration(lambda region: client, otherwise=lambda region: other, pause=pauses.append)


@pytest.mark.parametrize("error", [exc.HTTPInternalServerError("Internal Error"), exc.HTTPForbidden("by policy")])
def test_what_heat_does_not_do_with_a_trust_the_service_user_does_if_it_has_a_role(stacks, pauses, error):
    stacks.trouble = [error] * (4 if error.code == 500 else 1)
    own = types.SimpleNamespace(stacks=stacks, resources=None)
    assert push(with_trust(stacks, pauses, own)) == {}
    assert stacks.calls[-2:] == ["create", "create"]
    assert stacks.status == "CREATE_COMPLETE"


def test_without_a_role_it_is_told_what_heat_may_lack(stacks, pauses):
    stacks.trouble = [exc.HTTPInternalServerError("Internal Error")] * 9
    with pytest.raises(ports.StackError, match=r"Heat failed: .*Internal Error.* trust of its own"):
        push(with_trust(stacks, pauses, None))


def test_a_template_that_is_refused_is_not_tried_with_other_rights(stacks, pauses):
    stacks.trouble = [exc.HTTPBadRequest("no such type")]
    with pytest.raises(ports.StackError, match=r"refused the template: .*no such type"):
        push(with_trust(stacks, pauses, types.SimpleNamespace(stacks=stacks)))
    assert stacks.calls == ["create"]


def test_a_router_that_a_plan_would_make_is_there_for_the_rest_of_the_plan():
    recorded = recording.Recording()
    made = recorded.create_router("north", "harbour", "ext-net")
    assert made in recorded.list("north", "routers")
    assert made not in recorded.list("south", "routers")
    assert recorded.create_router("north", "harbour", "ext-net") == made
    assert [step.target for step in recorded.steps] == ["harbour"]
