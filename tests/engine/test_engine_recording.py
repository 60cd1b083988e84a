"""The recording cloud: what it writes down, and what it assumes where a cloud would answer."""

from __future__ import annotations

import pytest
from engine_world import MemoryCloud

from engine import steps
from engine.clouds import assumptions, ports, recording

STACK = ports.Stack(name="harbour")
NET = {"type": "OS::Neutron::Net", "properties": {"name": "basin"}}
PORT = {"type": "OS::Neutron::Port", "properties": {"network_id": {"get_resource": "net"}}}
SERVER = {
    "type": "OS::Nova::Server",
    "properties": {"flavor": "small", "networks": [{"port": {"get_resource": "port"}}]},
}


def template(outputs=None, **resources):
    return {"heat_template_version": "2013-05-23", "resources": resources, "outputs": outputs or {}}


def told(steps):
    return [(step.kind, step.target) for step in steps]


def test_resources_come_in_the_order_they_need_each_other():
    recorded = recording.Recording()
    recorded.push(STACK, template(server=SERVER, port=PORT, net=NET), {}, None, {})
    assert told(recorded.steps) == [
        ("create", "harbour"),
        ("create", "net"),
        ("create", "port"),
        ("create", "server"),
    ]
    assert recorded.steps[3].summary == "Create the server server"


def test_only_what_differs_from_the_last_push_is_a_step():
    recorded = recording.Recording()
    recorded.push(STACK, template(net=NET, port=PORT), {}, None, {})
    recorded.steps.clear()
    bigger = {**SERVER, "properties": {**SERVER["properties"], "flavor": "large"}}
    recorded.push(STACK, template(net=NET, server=SERVER), {}, None, {})
    recorded.push(STACK, template(net=NET, server=bigger), {}, None, {})
    assert told(recorded.steps) == [("create", "server"), ("delete", "port"), ("update", "server")]
    assert recorded.steps[2].details["changed"] == ["flavor"]


def test_over_a_real_cloud_what_is_there_already_is_not_created_again():
    real = MemoryCloud()
    real.stacks["harbour"] = template({"ip": {"value": "?"}}, net=NET)
    recorded = recording.Recording(real.cloud())
    outputs = recorded.push(STACK, template({"ip": {"value": "?"}}, net=NET, port=PORT), {}, None, {})
    assert told(recorded.steps) == [("create", "port")]
    assert outputs == {"ip": "value of ip"}
    recorded.delete(STACK)
    assert [kind for kind, _target in told(recorded.steps)] == ["create", "delete", "delete", "delete"]
    assert real.calls == []
    assert recorded.current(STACK) is None


def test_resources_in_a_circle_do_not_keep_the_recording_busy():
    one = {"type": "T", "properties": {"other": {"get_resource": "two"}}}
    two = {"type": "T", "depends_on": ["one"]}
    recorded = recording.Recording()
    recorded.push(STACK, template(one=one, two=two), {}, None, {})
    assert len(recorded.steps) == 3


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ({"get_attr": ["server", "addresses", "basin"]}, list),
        ({"get_attr": ["server", "networks"]}, dict),
        ({"get_attr": ["port", "fixed_ips", 0, "ip_address"]}, str),
        ({"get_attr": ["fip", "floating_ip_address"]}, str),
        ({"get_resource": "server"}, str),
        ({"str_replace": {"template": "http://host", "params": {"host": {"get_attr": ["s", "first_address"]}}}}, str),
        ({"list_join": [",", ["a", {"get_attr": ["s", "first_address"]}]]}, str),
    ],
)
def test_outputs_have_plausible_values_always_the_same(expression, shape):
    values = [assumptions.Assumptions("harbour", {}, {}).value(expression) for _ in range(2)]
    assert values[0] == values[1]
    assert isinstance(values[0], shape)


def test_addresses_are_from_the_ranges_for_documentation():
    of = assumptions.Assumptions("harbour", {}, {}).value
    (found,) = of({"get_attr": ["server", "addresses", "basin"]})
    assert found["addr"].startswith("192.0.2.")
    assert found["OS-EXT-IPS:type"] == "fixed"
    assert of({"get_attr": ["fip", "floating_ip_address"]}).startswith("203.0.113.")


def test_parameters_are_the_given_ones_or_their_defaults():
    heat = {"parameters": {"size": {"default": 4}, "color": {"default": "red"}}}
    of = assumptions.Assumptions("harbour", heat, {"color": "blue"}).value
    assert of([{"get_param": "size"}, {"get_param": "color"}, {"get_param": "none"}]) == [4, "blue", None]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("run('x')", None),
        ("return run('x').stdout", ""),
        ("return run('x')", {"exitCode": 0, "stdout": "", "stderr": ""}),
        ("out = run('x')\nreturn {'code': 7, 'out': out.stdout}", {"code": 7, "out": ""}),
        ("pods = []\nfor x in []:\n    pods.append(x)\nreturn pods", []),
        ("return len(run('x').stdout) > 3", True),
        ("return", None),
        ("this is not python (", ""),
        ("return " + "(" * 500, ""),
    ],
)
def test_a_plan_is_assumed_to_return_what_its_body_looks_like(body, result):
    assert assumptions.result_of(body, {"run": {}}) == result


def test_an_execution_shows_scripts_and_hides_secrets():
    plan = {
        "FormatVersion": "2.0.0",
        "Name": "Moor",
        "Parameters": {"adminPassword": "s3cret!", "line": "moor --key=s3cret! --berth 4", "berth": 4},
        "Files": {"f1": {"Name": "moor.sh", "BodyType": "Text", "Body": "..."}},
        "Scripts": {"moor": {"Type": "Application", "EntryPoint": "f1"}},
    }
    recorded = recording.Recording(server_name={"ship-id": "ship"}.get)
    answer = recorded.run("ship-id", "p1", plan, 60)
    (step,) = recorded.steps
    assert (step.kind, step.target, step.summary) == ("execute", "ship", "Moor on ship (moor.sh)")
    told = steps.Teller(b"key").told(step)
    assert "s3cret!" not in str(told)
    assert told["details"]["parameters"]["berth"] == 4
    assert told["details"]["scripts"] == [{"name": "moor", "type": "Application", "entry_point": "moor.sh"}]
    assert told["details"]["timeout"] == 60
    assert answer["ErrorCode"] == 0


def test_a_plan_of_the_first_format_is_answered_in_its_own_shape():
    answer = recording.Recording().run("a", "p1", {"Scripts": ["Li4u"], "Commands": [{"Name": "Install"}]}, 60)
    assert answer == {"IsException": False, "Result": [{"IsException": False, "Result": [""]}]}


def test_a_router_is_created_unless_it_is_there():
    recorded = recording.Recording()
    assert recorded.create_router("", "murano-default-router", "ext-net")["id"] == "murano-default-router"
    recorded.create_router("", "another", "ext-net")
    assert told(recorded.steps) == [("create", "another")]
