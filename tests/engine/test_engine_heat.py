"""Orchestration by Heat, against a small HTTP server that behaves like one."""

from __future__ import annotations

import threading
import time

import pytest
from engine_heat import FakeHeat
from heatclient import client
from heatclient.v1 import resources
from keystoneauth1 import session, token_endpoint

from engine import steps
from engine.clouds import heat, heat_listing, ports, recording, services

STACK = ports.Stack(name="murano-harbour", project_id="p", tags=("murano",))
BERTH = {"type": "OS::Nova::Server", "properties": {"flavor": "m1.small"}}
TEMPLATE = {
    "heat_template_version": "2013-05-23",
    "resources": {"berth": BERTH},
    "outputs": {"berth-ip": {"value": {"get_attr": ["berth", "first_address"]}}},
}


@pytest.fixture
def server():
    fake = FakeHeat()
    yield fake
    fake.close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def orchestration(server, pauses):
    auth = token_endpoint.Token(server.url, "token")
    return heat.HeatOrchestration(lambda region: client.Client("1", session=session.Session(auth)), pause=pauses.append)


def push(orchestration, template=TEMPLATE, **parameters):
    return orchestration.push(STACK, template, {}, None, parameters)


def test_a_new_stack_is_created_and_waited_for(server, orchestration, pauses):
    server.takes = 3
    assert push(orchestration, size="4") == {"berth-ip": "<berth-ip>"}
    assert pauses == [2.0, 2.0, 2.0]
    (stack,) = server.stacks.values()
    assert (stack.tags, stack.parameters) == ("murano", {"size": "4"})


def test_a_stack_that_is_there_is_updated(server, orchestration):
    push(orchestration)
    push(orchestration, {**TEMPLATE, "resources": {"berth": BERTH, "quay": BERTH}})
    assert [method for method, _path in server.requests if method != "GET"] == ["POST", "PUT"]
    assert set(orchestration.current(STACK)["resources"]) == {"berth", "quay"}


def test_an_update_is_not_taken_for_done_before_heat_has_begun_with_it(server, orchestration, monkeypatch):
    push(orchestration)
    stack = next(iter(server.stacks.values()))
    real, pending = server.change, []

    def late(stack, action, body):
        pending.append((stack, action, body))
        return 202, None

    monkeypatch.setattr(server, "change", late)
    looks = []

    def pause(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            real(*pending[0])

    orchestration._pause = pause
    push(orchestration, {**TEMPLATE, "outputs": {"new": {"value": 1}}})
    assert stack.template["outputs"] == {"new": {"value": 1}}
    assert len(looks) == 3


def test_a_push_that_another_worker_left_under_way_is_waited_for_and_repeated(server, orchestration):
    server.takes = 2
    orchestration._connect("").stacks.create(stack_name=STACK.name, template=TEMPLATE)
    assert push(orchestration) == {"berth-ip": "<berth-ip>"}
    assert [stack.name for stack in server.stacks.values()] == [STACK.name]


def test_a_conflict_is_waited_out(server, orchestration, pauses, monkeypatch):
    push(orchestration)
    real, refusals = server.handle, iter([True, False])

    def handle(method, path, body):
        if method == "PUT" and next(refusals):
            return 409, {"error": {"message": "action in progress", "type": "ActionInProgress"}}
        return real(method, path, body)

    monkeypatch.setattr(server, "handle", handle)
    push(orchestration)
    assert heat.CONFLICT_PAUSE in pauses


@pytest.fixture
def impatient(server):
    """Waits for a twentieth of a second."""
    auth = token_endpoint.Token(server.url, "token")
    return heat.HeatOrchestration(
        lambda region: client.Client("1", session=session.Session(auth)), pause=lambda _: time.sleep(0.02), limit=0.05
    )


def test_a_stack_that_takes_too_long_is_told_with_what_heat_is_at(server, impatient):
    server.takes = 10**6
    with pytest.raises(ports.StackError, match=r"not done within 0\.05 s \(\[heat\] stack_timeout\)") as raised:
        push(impatient)
    assert "CREATE_IN_PROGRESS" in raised.value.reason
    assert "the resource is CREATE_IN_PROGRESS for " in raised.value.reason
    assert (raised.value.resource, raised.value.resource_type) == ("berth", "OS::Nova::Server")


def test_a_conflict_that_does_not_end_is_told(server, impatient, monkeypatch):
    real = server.handle
    refusal = 409, {"error": {"message": "action in progress", "type": "ActionInProgress"}}
    monkeypatch.setattr(server, "handle", lambda *call: refusal if call[0] == "POST" else real(*call))
    with pytest.raises(ports.StackError, match=r"not done within 0\.05 s .*its state is no stack"):
        push(impatient)


def test_a_deletion_that_takes_too_long_is_told(server, impatient, orchestration):
    push(orchestration)
    server.takes = 10**6
    with pytest.raises(ports.StackError, match="DELETE_IN_PROGRESS"):
        impatient.delete(STACK)


def test_who_takes_a_change_over_goes_on_with_what_is_left_of_the_time(server, monkeypatch):
    """... and looks at least for a minute, for what the worker before has waited for may be as good as done."""
    clock = [0.0]
    monkeypatch.setattr(heat.time, "monotonic", lambda: clock[0])

    def pause(seconds):
        clock[0] += seconds

    auth = token_endpoint.Token(server.url, "token")
    heirs = heat.HeatOrchestration(
        lambda region: client.Client("1", session=session.Session(auth)), pause=pause, limit=600.0
    )
    for waited, left in ((0.0, 600.0), (400.0, 200.0), (590.0, 60.0), (10_000.0, 60.0)):
        server.takes = 10**6
        server.stacks.clear()
        began = clock[0]
        with pytest.raises(ports.StackError, match="not done within 600 s"):
            heirs.push(ports.Stack(name="murano-harbour", waited=waited), TEMPLATE, {}, None, {})
        assert left <= clock[0] - began <= left + 2 * heat.POLL
    server.takes = 3
    server.stacks.clear()
    assert heirs.push(ports.Stack(name="murano-harbour", waited=10_000.0), TEMPLATE, {}, None, {})


def test_heat_is_told_the_time_too(server, orchestration, monkeypatch):
    bodies = []
    real = server.handle
    monkeypatch.setattr(server, "handle", lambda method, path, body: bodies.append(body) or real(method, path, body))
    push(orchestration)
    push(orchestration, {**TEMPLATE, "outputs": {}})
    assert [body["timeout_mins"] for body in bodies if body] == [60, 60]


@pytest.mark.parametrize("moment", [None, "", "yesterday", 7])
def test_what_is_no_time_has_no_age(moment):
    assert heat._seconds_since(moment) is None


def test_a_failed_resource_is_named_with_its_reason(server, orchestration):
    server.fail("berth", "ResourceInError: no valid host was found")
    with pytest.raises(ports.StackError, match=r"resource 'berth' \(OS::Nova::Server\): .*no valid host") as raised:
        push(orchestration)
    assert (raised.value.resource, raised.value.resource_type) == ("berth", "OS::Nova::Server")


def test_a_stack_that_failed_is_mended_by_the_next_push(server, orchestration):
    server.fail("berth", "no valid host")
    with pytest.raises(ports.StackError):
        push(orchestration)
    assert push(orchestration) == {"berth-ip": "<berth-ip>"}


def test_a_template_heat_refuses_is_told_in_heats_words(orchestration):
    with pytest.raises(ports.StackError, match="heat_template_version is missing"):
        push(orchestration, {"resources": {"berth": BERTH}})


def test_short_outages_are_waited_out_and_long_ones_reported(server, orchestration, pauses):
    push(orchestration)
    server.down = 2
    assert orchestration.outputs(STACK) == {"berth-ip": "<berth-ip>"}
    assert pauses[-2:] == [2.0, 4.0]
    server.down = 99
    with pytest.raises(ports.StackError, match="Heat does not answer"):
        orchestration.outputs(STACK)


def test_what_is_not_there_has_no_template_no_outputs_and_is_deleted_already(orchestration):
    assert orchestration.current(STACK) is None
    assert orchestration.outputs(STACK) == {}
    assert orchestration.parameters(STACK) == {}
    orchestration.delete(STACK)


def test_deleting_waits_for_the_end(server, orchestration):
    push(orchestration)
    server.takes = 2
    orchestration.delete(STACK)
    assert server.stacks == {}


def test_a_stack_that_can_not_be_deleted_says_why(server, orchestration):
    push(orchestration)
    server.fail("berth", "volume is in use")
    with pytest.raises(ports.StackError, match="volume is in use"):
        orchestration.delete(STACK)


def test_a_template_without_resources_removes_the_stack(server, orchestration):
    push(orchestration)
    assert push(orchestration, {"heat_template_version": "2013-05-23", "resources": {}}) == {}
    assert server.stacks == {}


def test_parameters_of_the_last_push_are_remembered_without_heats_own(orchestration):
    push(orchestration, size="4")
    assert orchestration.parameters(STACK) == {"size": "4"}


def test_two_workers_may_push_the_same_stack(server, orchestration):
    server.takes = 2
    threads = [threading.Thread(target=push, args=(orchestration,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [stack.status for stack in server.stacks.values()] in (["UPDATE"], ["CREATE"])


def test_what_a_stack_has_is_told_by_the_ids_of_the_cloud(server, orchestration):
    assert orchestration.resources(STACK) is None
    push(orchestration)
    (stack,) = server.stacks.values()
    before = len(server.requests)
    found = orchestration.resources(STACK)
    assert (found.id, found.status) == (stack.id, "CREATE_COMPLETE")
    assert len(server.requests) - before == 2
    assert found.resources == [
        ports.Held(id=f"{stack.id}-berth", name="berth", type="OS::Nova::Server", status="CREATE_COMPLETE")
    ]
    orchestration.delete(STACK)
    assert orchestration.resources(STACK) is None


def test_what_failed_is_listed_with_the_reason(server, orchestration):
    server.fail("berth", "no valid host was found")
    with pytest.raises(ports.StackError):
        push(orchestration)
    [berth] = orchestration.resources(STACK).resources
    assert (berth.status, berth.reason) == ("CREATE_FAILED", "no valid host was found")


def test_stacks_are_found_by_their_tag_in_every_region_once(server, orchestration):
    push(orchestration)
    orchestration._regions = lambda: ("", "RegionOne")  # the same Heat under two names
    [found] = orchestration.tagged("p", "murano")
    assert (found.name, found.tags, found.region_name) == ("murano-harbour", ("murano",), None)
    assert orchestration.tagged("p", "somebody-elses") == []


def listed(*entries):
    """Resources as heatclient gives them: (name, type, id, id of the stack it is in, status)."""
    return [
        resources.Resource(
            None,
            {
                "resource_name": name,
                "resource_type": kind,
                "physical_resource_id": physical,
                "resource_status": status,
                "resource_status_reason": "why",
                "links": [{"rel": "self", "href": "x"}, {"rel": "stack", "href": f"http://heat/v1/p/stacks/n/{stack}"}],
            },
        )
        for name, kind, physical, stack, status in entries
    ]


def test_resources_of_nested_stacks_are_named_below_those_that_they_are_in():
    found = heat_listing.held(
        listed(
            ("group", "OS::Heat::ResourceGroup", "s1", "root", "CREATE_COMPLETE"),
            ("0", "file:///berth.yaml", "s2", "s1", "CREATE_COMPLETE"),
            ("hull", "OS::Nova::Server", "n1", "s2", "CREATE_FAILED"),
            ("gone", "OS::Nova::Server", "n2", "s2", "DELETE_COMPLETE"),
            ("never", "OS::Nova::Server", "", "s2", "INIT_COMPLETE"),
        )
    )
    assert [(each.id, each.name, each.parent_type, each.reason) for each in found] == [
        ("s1", "group", None, None),
        ("s2", "group/0", "OS::Heat::ResourceGroup", None),
        ("n1", "group/0/hull", "file:///berth.yaml", "why"),
    ]


def test_links_in_a_circle_end():
    """A cloud's answer is not believed to be a tree."""
    entries = listed(("a", "T", "s1", "s2", "CREATE_COMPLETE"), ("b", "T", "s2", "s1", "CREATE_COMPLETE"))
    assert len(heat_listing.held(entries)) == 2


def planned(orchestration, template, files, environment, parameters):
    """The steps of a push, told over what this Heat has."""
    recorded = recording.Recording(services.Cloud(orchestration=orchestration, agents=recording.Recording()))
    recorded.push(STACK, template, files, environment, parameters)
    return [steps.Teller(b"key").told(step) for step in recorded.steps]


def test_a_plan_compares_with_files_environment_and_parameters_as_heat_tells_them(server, orchestration):
    web = {"type": "OS::Nova::Server", "properties": {"flavor": {"get_param": "size"}}}
    kinds = {"size": {"type": "number"}, "pin": {"type": "string", "hidden": True}}
    template = {"heat_template_version": "2013-05-23", "parameters": kinds, "resources": {"web": web}}
    environment = {"parameter_defaults": {"x": 1}}
    orchestration.push(STACK, template, {"a.sh": "echo 1"}, environment, {"size": 4, "pin": "1234"})
    (stack,) = server.stacks.values()
    stack.parameters = {"size": "4", "pin": "******"}
    asked = len(server.requests)
    (step,) = planned(orchestration, template, {"a.sh": "echo 1"}, environment, {"size": 4, "pin": "1234"})
    assert [(each["path"], each["note"]) for each in step["details"]["changes"]] == [
        ("parameters.pin", "Heat hides what it was: it may be the same")
    ]
    changed = planned(orchestration, template, {"a.sh": "echo 2"}, {}, {"size": 5, "pin": "1234"})
    assert [each["path"] for step in changed for each in step["details"]["changes"]] == [
        "parameters.size",
        "parameters.pin",
        "environment.parameter_defaults",
        'files["a.sh"]',
        "properties.flavor",
    ]
    server.secretive = True
    (step,) = planned(orchestration, template, {"a.sh": "echo 2"}, environment, {"size": 4, "pin": "1234"})
    assert "whether environment and files change" in step["details"]["unknown"]
    assert {method for method, _path in server.requests[asked:]} == {"GET"}
