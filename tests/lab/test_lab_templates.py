"""Templates: functions, parameters, conditions, and mistakes told where they are. Nothing is started."""

from __future__ import annotations

from typing import Any

import pytest

from engine.clouds.lab import functions, template
from engine.clouds.lab.functions import Context, FunctionError, evaluate
from engine.clouds.lab.resources import TYPES
from engine.clouds.lab.template import TemplateError

ATTRIBUTES = {"addresses": {"net": [{"addr": "10.0.0.5"}]}, "json": '{"a": [1, 2]}', "none": None}


def context(**parameters: Any) -> Context:
    def reference(name: str) -> str:
        return f"id-of-{name}"

    def attribute(name: str, key: str) -> Any:
        return ATTRIBUTES[key]

    return Context(parameters, {"boot.sh": "#!/bin/sh"}, reference, attribute, lambda name: name == "yes")


def parse(body: dict[str, Any], parameters: dict[str, Any] | None = None, environment: Any = None) -> template.Template:
    return template.parse(body, {}, environment, parameters or {}, {"OS::stack_name": "s"}, TYPES)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ({"get_resource": "web"}, "id-of-web"),
        ({"get_attr": ["web", "addresses", "net", 0, "addr"]}, "10.0.0.5"),
        ({"get_attr": ["web", "addresses", "other", 0, "addr"]}, None),
        ({"get_attr": ["web", "json", "a", 1]}, 2),
        ({"get_attr": ["web", "none", "x"]}, None),
        ({"get_file": "boot.sh"}, "#!/bin/sh"),
        ({"get_param": "size"}, 3),
        ({"get_param": ["deep", "list", 1]}, "b"),
        ({"str_replace": {"template": "$a$ab", "params": {"$a": "1", "$ab": "$a"}}}, "1$a"),
        ({"str_replace": {"template": "x", "params": {}}}, "x"),
        ({"str_replace": {"template": "v=V", "params": {"V": {"get_param": "deep"}}}}, 'v={"list": ["a", "b"]}'),
        ({"list_join": [", ", ["a", 1], ["b", None, True]]}, "a, 1, b, , true"),
        ({"str_split": [",", "a,b,c", 1]}, "b"),
        ({"map_merge": [{"a": 1}, {"a": 2, "b": 3}]}, {"a": 2, "b": 3}),
        ({"list_concat": [[1], [2], None]}, [1, 2]),
        ({"digest": ["md5", "a"]}, "0cc175b9c0f1b6a831c399e269772661"),
        ({"repeat": {"template": "port-%p%", "for_each": {"%p%": [1, 2]}}}, ["port-1", "port-2"]),
        ({"repeat": {"template": ["%p"], "for_each": {"%p": {"get_param": ["deep", "list"]}}}}, [["a"], ["b"]]),
        ({"if": ["yes", 1, {"get_attr": ["broken"]}]}, 1),
        ({"if": ["no", 1, 2]}, 2),
        ({"if": [{"and": ["yes", {"not": "no"}]}, {"equals": [1, 1]}, 0]}, True),
        ({"a": [{"get_resource": "x"}, {"b": {"get_param": "size"}}]}, {"a": ["id-of-x", {"b": 3}]}),
        ({"get_param": "size", "more": 1}, {"get_param": "size", "more": 1}),
    ],
)  # fmt: skip
def test_a_function_gives_its_value(written: Any, value: Any) -> None:
    assert evaluate(written, context(size=3, deep={"list": ["a", "b"]})) == value


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"get_param": "size"}, "no parameter 'size'; the template has: other"),
        ({"get_file": "missing.sh"}, "no file 'missing.sh'.*given: boot.sh"),
        ({"get_attr": "web"}, r"expected \[resource id, attribute"),
        ({"str_replace": ["a"]}, "expected {template, params}"),
        ({"str_replace_strict": {"template": "a", "params": {"b": 1}}}, "'b' does not occur"),
        ({"list_join": "a"}, r"expected \[separator, list"),
        ({"digest": ["rot13", "a"]}, r"expected \[algorithm, text\]"),
    ],
)
def test_a_wrongly_used_function_says_what_it_expects(written: Any, told: str) -> None:
    with pytest.raises(FunctionError, match=told):
        evaluate(written, context(other=1))


def test_replaced_text_is_not_replaced_again() -> None:
    written = {"str_replace": {"template": "A B", "params": {"A": "B", "B": "A"}}}
    assert evaluate(written, context()) == "B A"


def test_references_and_depends_on_give_the_order() -> None:
    parsed = parse(
        {
            "resources": {
                "web": {
                    "type": "OS::Nova::Server",
                    "properties": {"networks": [{"port": {"get_resource": "port"}}]},
                    "depends_on": "first",
                },
                "port": {"type": "OS::Neutron::Port", "properties": {"network": {"get_attr": ["net", "id"]}}},
                "net": {"type": "OS::Neutron::Net"},
                "first": {"type": "OS::Heat::RandomString", "depends_on": ["net"]},
            }
        }
    )
    order = list(parsed.order)
    assert order.index("net") < order.index("port") < order.index("web")
    assert order.index("net") < order.index("first") < order.index("web")


def test_ports_servers_and_floating_addresses_wait_for_what_their_network_needs() -> None:
    net = {"get_resource": "net"}
    body = {
        "resources": {
            "fip": {"type": "OS::Neutron::FloatingIP", "properties": {"floating_network": "ext-net"}},
            "by-name": {"type": "OS::Nova::Server", "properties": {"networks": [{"network": "n"}]}},
            "port": {"type": "OS::Neutron::Port", "properties": {"network": net}},
            "ri": {"type": "OS::Neutron::RouterInterface", "properties": {"subnet": {"get_resource": "subnet"}}},
            "subnet": {"type": "OS::Neutron::Subnet", "properties": {"network_id": net}},
            "other": {"type": "OS::Neutron::Subnet", "properties": {"network": "elsewhere"}},
            "net": {"type": "OS::Neutron::Net", "properties": {"name": "n"}},
        }
    }
    requires = {name: set(item.requires) for name, item in parse(body).resources.items()}
    assert requires["fip"] == {"ri"}
    assert requires["by-name"] == requires["port"] == {"net", "subnet"}
    assert requires["other"] == set()
    body["resources"]["subnet"]["depends_on"] = "port"
    assert list(parse(body).order).index("port") < list(parse(body).order).index("subnet")


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("string", 5, "5"),
        ("number", "5", 5),
        ("number", "0.5", 0.5),
        ("boolean", "Yes", True),
        ("comma_delimited_list", "a, b", ["a", "b"]),
        ("json", '{"a": 1}', {"a": 1}),
    ],
)
def test_parameters_have_their_types(kind: str, given: Any, value: Any) -> None:
    parsed = parse({"parameters": {"p": {"type": kind}}}, {"p": given})
    assert parsed.parameters["p"] == value


def test_the_environment_gives_parameters_and_defaults_and_type_aliases() -> None:
    environment = (
        "parameters: {a: 1}\nparameter_defaults: {b: 2, c: 3}\nresource_registry: {My::Net: 'OS::Neutron::Net'}"
    )
    body = {
        "parameters": {name: {"type": "number"} for name in "abc"},
        "resources": {"n": {"type": "My::Net"}},
    }
    parsed = parse(body, {"c": 4}, environment)
    assert [parsed.parameters[name] for name in "abc"] == [1, 2, 4]
    assert parsed.resources["n"].type == "OS::Neutron::Net"


def test_a_resource_whose_condition_is_false_is_not_there() -> None:
    body = {
        "parameters": {"env": {"type": "string", "default": "test"}},
        "conditions": {"prod": {"equals": [{"get_param": "env"}, "prod"]}},
        "resources": {"n": {"type": "OS::Neutron::Net", "condition": "prod"}, "m": {"type": "OS::Neutron::Net"}},
        "outputs": {"n": {"value": {"get_resource": "n"}, "condition": "prod"}},
    }
    assert set(parse(body).resources) == {"m"}
    assert set(parse(body).outputs) == set()
    assert set(parse(body, {"env": "prod"}).outputs) == {"n"}


@pytest.mark.parametrize(
    ("body", "parameters", "told"),
    [
        ({"parameters": {"p": {"type": "number"}}}, {}, "'p': no value was given and it has no default"),
        ({"parameters": {"p": {"type": "number"}}}, {"p": "x"}, "'p': expected a number, found 'x'"),
        ({"parameters": {"p": {"type": "fruit"}}}, {"p": "x"}, "unknown type 'fruit'"),
        ({}, {"p": 1}, "'p': not declared"),
        (
            {"parameters": {"p": {"type": "string", "constraints": [{"allowed_values": ["a"]}]}}},
            {"p": "b"},
            "'b' breaks the constraint",
        ),
        (
            {"parameters": {"p": {"type": "string", "constraints": [{"length": {"min": 3}, "description": "more!"}]}}},
            {"p": "b"},
            "'p': more!",
        ),
        ({"resources": []}, {}, "resources: expected a map"),
        ({"resources": {"a": {"properties": {}}}}, {}, "'a': expected a map with `type`"),
        (
            {"resources": {"a": {"type": "OS::Neutron::Net", "properties": {"name": {"get_resource": "b"}}}}},
            {},
            "'a': refers to resource 'b', which is not in the template",
        ),
        ({"outputs": {"o": {"value": {"get_attr": ["b", "x"]}}}}, {}, "output 'o': get_attr names 'b'"),
        ({"outputs": {"o": 5}}, {}, "output 'o': expected a map with `value`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_is(body: dict, parameters: dict, told: str) -> None:
    with pytest.raises(TemplateError, match=told):
        parse(body, parameters)


def test_a_condition_that_refers_to_itself_is_told() -> None:
    body = {
        "conditions": {"a": {"not": "b"}, "b": {"not": "a"}},
        "resources": {"n": {"type": "OS::Neutron::Net", "condition": "a"}},
    }
    with pytest.raises(TemplateError, match="refers to itself"):
        parse(body)


def test_text_in_a_list_is_shown_as_heat_does() -> None:
    assert functions.text_of({"a": [1]}) == '{"a": [1]}'
    assert functions.text_of(None) == ""
    assert functions.text_of(True) == "true"
