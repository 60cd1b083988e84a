"""What a plan tells of a stack: every change with before and after, what it means, and no secret."""

from __future__ import annotations

import json

import pytest
from engine_world import MemoryCloud

from engine import steps
from engine.clouds import changes, differences, executions, ports, recording, replacement, services

STACK = ports.Stack(name="shop")
TELLER = steps.Teller(b"key")


def server(**properties):
    return {"type": "OS::Nova::Server", "properties": {"image": "debian", "flavor": "small", **properties}}


def stack(parameters=None, files=None, environment=None, definitions=None, outputs=None, **resources):
    template = {"resources": resources, "parameters": definitions or {}, "outputs": outputs or {}}
    return changes.Pushed(template=template, parameters=parameters or {}, files=files, environment=environment)


def told(before, after):
    return [TELLER.told(step) for step in changes.of_push("shop", before, after)]


def changed(before, after):
    """Each change as (path, before, after, effect); "-" is what is not there."""
    return [
        (each["path"], each.get("before", "-"), each.get("after", "-"), each.get("effect"))
        for step in told(before, after)
        for each in step["details"].get("changes", ())
    ]


def test_a_changed_property_is_told_with_before_after_and_what_it_means():
    before = stack(web=server(metadata={"a": {"b": 1}}, networks=[{"port": "p1"}, {"port": "p2"}]))
    after = stack(
        web=server(flavor="large", metadata={"a": {"b": 2, "c.d": 3}}, networks=[{"port": "p0"}, {"port": "p1"}])
    )
    assert changed(before, after) == [
        ("properties.flavor", "small", "large", "resize"),
        ("properties.metadata.a.b", 1, 2, "in place"),
        ('properties.metadata.a["c.d"]', "-", 3, "in place"),
        ("properties.networks[0]", "-", {"port": "p0"}, "in place"),
        ("properties.networks[1]", {"port": "p2"}, "-", "in place"),
    ]
    (step,) = told(before, after)
    assert step["summary"] == "Update the server web: flavor, metadata, networks (restarts it)"
    assert step["details"]["effect"] == "resize"


@pytest.mark.parametrize(
    ("kind", "name", "policy", "effect"),
    [
        ("OS::Nova::Server", "image", {}, "rebuild"),
        ("OS::Nova::Server", "image", {"image_update_policy": "REPLACE"}, "replace"),
        ("OS::Nova::Server", "user_data", {}, "replace"),
        ("OS::Nova::Server", "user_data", {"user_data_update_policy": "IGNORE"}, "in place"),
        ("OS::Nova::Server", "flavor", {"flavor_update_policy": {"get_param": "x"}}, "unknown"),
        ("OS::Nova::Server", "key_name", {}, "replace"),
        ("OS::Neutron::Subnet", "cidr", {}, "replace"),
        ("OS::Neutron::Subnet", "dns_nameservers", {}, "in place"),
        ("OS::Trove::Instance", "flavor", {}, "unknown"),
        ("OS::Nova::Server", "invented", {}, "unknown"),
    ],
)
def test_what_a_change_means_is_told_where_it_is_known(kind, name, policy, effect):
    assert replacement.effect_of(kind, name, policy) == effect


def test_what_refers_to_a_replaced_resource_is_named():
    web = server(networks=[{"network": {"get_resource": "net"}}])
    before = stack(net={"type": "OS::Neutron::Net", "properties": {"tenant_id": "a"}}, web=web)
    after = stack(net={"type": "OS::Neutron::Net", "properties": {"tenant_id": "b"}}, web=web)
    (step,) = told(before, after)
    assert step["summary"] == "Update the network net: tenant_id (replaces it)"
    assert step["details"]["affects"] == ["web"]


def test_a_changed_parameter_shows_at_the_stack_and_at_the_resources_that_take_it():
    definitions = {"size": {"type": "string"}, "count": {"type": "number"}}
    web = {"type": "OS::Nova::Server", "properties": {"flavor": {"get_param": "size"}, "image": "debian"}}
    before = stack({"size": "small", "count": "3"}, definitions=definitions, web=web)
    after = stack({"size": "large", "count": 3}, definitions=definitions, web=web)
    assert changed(before, after) == [
        ("parameters.size", "small", "large", None),
        ("properties.flavor", "small", "large", "resize"),
    ]


def test_outputs_files_and_environment_are_part_of_a_stack():
    before = stack(files={"a.sh": "echo 1"}, environment="parameter_defaults: {x: 1}", web=server())
    after = stack(
        files={"a.sh": "echo 2", "b/c.sh": "echo 3"},
        environment={"parameter_defaults": {"x": 2}},
        outputs={"ip": {"value": "1"}},
        web=server(),
    )
    (step,) = told(before, after)
    assert step["summary"] == "Update the stack shop: outputs, environment, files"
    paths = [each["path"] for each in step["details"]["changes"]]
    assert paths == ["outputs.ip", "environment.parameter_defaults.x", 'files["a.sh"]', 'files["b/c.sh"]']
    file = step["details"]["changes"][2]
    assert file["before"].startswith("[file: 6 characters, digest ")
    assert file["before"] != file["after"]


def test_what_the_cloud_does_not_tell_is_said_to_be_unknown():
    before, after = (
        stack(web=server()),
        stack(files={"a.sh": "echo"}, environment={"parameters": {"x": 1}}, web=server()),
    )
    (step,) = told(before, after)
    assert "environment and files change" in step["details"]["unknown"]
    assert told(stack(web=server()), stack(files={}, environment={}, web=server())) == []


def test_what_heat_adds_to_an_environment_is_no_change():
    definitions = {"size": {"type": "string"}}
    kept = {"parameters": {"size": "small"}, "resource_registry": {"resources": {}}, "encrypted_param_names": []}
    web = server()
    before = stack({"size": "small"}, {}, kept, definitions, web=web)
    assert told(before, stack({"size": "small"}, {}, {}, definitions, web=web)) == []


def test_the_value_of_a_hidden_parameter_is_never_shown_and_counts():
    definitions = {"pin": {"type": "string", "hidden": True, "default": "0000x"}, "note": {"type": "string"}}
    web = {"type": "T::T", "properties": {"code": {"get_param": "pin"}, "text": {"get_param": "note"}}}
    pushes = [stack({"pin": pin, "note": "n"}, {}, {"parameters": {"pin": pin}}, definitions, web=web) for pin in "12"]
    first, second = ([TELLER.told(step) for step in changes.of_push("shop", None, each)] for each in pushes)
    assert [step["digest"] for step in first] != [step["digest"] for step in second]
    assert [{**step, "digest": ""} for step in first] == [{**step, "digest": ""} for step in second]
    assert "0000x" not in json.dumps(first)
    assert changed(*pushes) == [
        ("parameters.pin", "*** SANITIZED ***", "*** SANITIZED ***", None),
        ("properties.code", "*** SANITIZED ***", "*** SANITIZED ***", "unknown"),
    ]


def test_a_hidden_value_that_heat_does_not_give_back_may_have_changed():
    definitions = {"pin": {"type": "string", "hidden": True}}
    web = {"type": "T::T", "properties": {"code": {"get_param": "pin"}}}
    before = stack({"pin": "******"}, {}, {}, definitions, web=web)
    (step,) = told(before, stack({"pin": "4711"}, {}, {}, definitions, web=web))
    assert step["type"] == "OS::Heat::Stack"
    assert step["details"]["changes"][0]["note"] == "Heat hides what it was: it may be the same"


def test_text_under_the_name_of_a_secret_is_masked_on_both_sides():
    before, after = stack(web=server(admin_pass="old")), stack(web=server(admin_pass="new"))
    assert changed(before, after) == [("properties.admin_pass", "*** SANITIZED ***", "*** SANITIZED ***", "in place")]


def test_boot_data_are_told_by_their_size():
    (_stack, step) = told(None, stack(web=server(user_data={"str_replace": {"template": "#!/bin/sh token"}})))
    shown = step["details"]["properties"]["user_data"]["str_replace"]["template"]
    assert shown.startswith("[boot data: 15 characters, digest ")


def test_long_values_are_shortened_and_say_so_from_where_they_differ():
    text = "x" * 5000
    before, after = stack(web=server(description=text + "a")), stack(web=server(description=text + "b"))
    ((_path, old, new, _effect),) = changed(before, after)
    assert old.endswith("a [shortened: characters 4,926 to 5,001 of 5,001 characters]")
    assert new.endswith("b [shortened: characters 4,926 to 5,001 of 5,001 characters]")
    (_stack, step) = told(None, stack(web=server(tags=list(range(80)), description=text)))
    shown = step["details"]["properties"]
    assert shown["tags"][49:] == [49, "[shortened: 30 more]"]
    assert shown["description"].endswith("[shortened: the first 300 of 5,000 characters]")


def test_a_step_with_very_many_changes_says_how_many_are_left_out():
    before = stack(web=server(metadata={f"k{number}": 1 for number in range(70)}))
    after = stack(web=server(metadata={f"k{number}": 2 for number in range(70)}))
    (step,) = told(before, after)
    assert (len(step["details"]["changes"]), step["details"]["changes_left_out"]) == (50, 20)
    other = stack(web=server(metadata={f"k{number}": 3 if number == 69 else 2 for number in range(70)}))
    assert told(before, other)[0]["digest"] != step["digest"]


def test_a_deletion_names_what_goes_with_it_and_what_is_kept():
    volume = {"type": "OS::Cinder::Volume", "properties": {"name": "data"}, "deletion_policy": "Retain"}
    device = {"volume_id": {"get_resource": "scratch"}, "delete_on_termination": True}
    before = stack(data=volume, web=server(block_device_mapping_v2=[device]))
    found = [TELLER.told(step) for step in changes.of_deletion("shop", before)]
    assert [(step["kind"], step["target"]) for step in found] == [
        ("delete", "web"),
        ("update", "data"),
        ("delete", "shop"),
    ]
    assert found[0]["details"]["goes_with"] == [
        "its disk",
        'the volume {"get_resource": "scratch"} (delete_on_termination)',
    ]
    assert found[1]["details"]["effect"] == "kept"
    assert found[2]["details"]["goes_with"] == [{"name": "web", "type": "OS::Nova::Server"}]


def test_a_template_without_resources_deletes_the_stack():
    assert [step["kind"] for step in told(stack(web=server()), stack())] == ["delete", "delete"]
    assert told(None, stack()) == []


def test_a_recording_compares_with_what_the_cloud_keeps():
    class Heat(MemoryCloud):
        def parameters(self, stack):
            return {"size": "small"}

        def files(self, stack):
            return {"a.sh": "echo 1"}

        def environment(self, stack):
            return {}

    real = Heat()
    template = {"resources": {"web": server()}, "parameters": {"size": {"type": "string"}}}
    real.stacks["shop"] = template
    recorded = recording.Recording(real.cloud())
    recorded.push(STACK, template, {"a.sh": "echo 2"}, None, {"size": "small"})
    assert [step.details["changed"] for step in recorded.steps] == [["files"]]
    recorded.push(ports.Stack(name="shop", region_name="elsewhere"), template, {}, None, {"size": "small"})
    assert real.calls == []


def test_a_script_is_told_with_all_that_it_is_called_with():
    plan = {
        "FormatVersion": "2.0.0",
        "ID": "1",
        "Stamp": 5,
        "Name": "Install",
        "Body": "return install('{0}'.format(args.port)).stdout",
        "Parameters": {"port": 80, "password": "s3cret!"},
        "Scripts": {
            "install": {"Type": "Application", "Version": "1.0.0", "EntryPoint": "f1", "Files": ["f2"]},
            "cook": {"Type": "Chef", "EntryPoint": "recipe::default", "Options": {"captureStderr": True}},
        },
        "Files": {
            "f1": {"Name": "install.sh", "BodyType": "Text", "Body": "echo 1"},
            "f2": {"Name": "lib.sh", "BodyType": "Text", "Body": "echo 2"},
            "f3": {"Name": "big.tgz", "URL": "https://example.org/big.tgz", "Type": "Downloadable"},
        },
    }
    step = executions.of_plan("web", plan, 600)
    details = TELLER.told(step)["details"]
    assert details["scripts"] == [
        {
            "name": "install",
            "type": "Application",
            "version": "1.0.0",
            "entry_point": "install.sh",
            "files": ["lib.sh"],
        },
        {"name": "cook", "type": "Chef", "entry_point": "recipe::default", "options": {"captureStderr": True}},
    ]
    assert details["parameters"] == {"port": 80, "password": "*** SANITIZED ***"}
    assert (details["timeout"], details["waits"]) == (600, True)
    assert [file["name"] for file in details["files"]] == ["install.sh", "lib.sh", "big.tgz"]
    again = executions.of_plan("web", {**plan, "ID": "2", "Stamp": 9}, 600)
    assert TELLER.told(again) == TELLER.told(step)
    for change in (
        {"Files": {**plan["Files"], "f1": {"Name": "install.sh", "Body": "echo !"}}},
        {"Body": "return 1"},
        {"Parameters": {"port": 80, "password": "another"}},
    ):
        other = executions.of_plan("web", {**plan, **change}, 600)
        assert TELLER.told(other)["digest"] != TELLER.told(step)["digest"]
    assert TELLER.told(executions.of_plan("web", plan, 60))["digest"] != TELLER.told(step)["digest"]


def test_a_plan_of_the_first_format_is_told_with_its_commands():
    plan = {"Scripts": ["ZWNobw=="], "Commands": [{"Name": "Install", "Arguments": {"adminPassword": "x1y2", "n": 1}}]}
    details = TELLER.told(executions.of_plan("web", plan, 60))["details"]
    assert details["commands"] == [{"name": "Install", "arguments": {"adminPassword": "*** SANITIZED ***", "n": 1}}]


def test_workflows_are_made_and_run():
    recorded = recording.Recording()
    flow = recorded.cloud().workflow
    flow.upload("", "version: '2.0'\nbackup:\n  tasks: {}\n")
    assert flow.run("", "backup", {"token": "t0ken"}, {}, 600) == {}
    assert isinstance(flow.run("", "backup", {}, {}, 0), str)
    shown = [TELLER.told(step) for step in recorded.steps]
    assert [(step["kind"], step["target"], step["type"]) for step in shown] == [
        ("create", "backup", "workflow"),
        ("execute", "backup", "workflow"),
        ("execute", "backup", "workflow"),
    ]
    assert shown[1]["details"]["parameters"] == {"token": "*** SANITIZED ***"}
    assert shown[2]["details"]["waits"] is False


def test_a_recording_offers_no_service_that_its_cloud_has_not():
    there = recording.Recording(MemoryCloud().cloud()).cloud()
    assert (there.network, there.workflow, there.secrets) == (None, None, None)
    assert isinstance(there.orchestration, services.KeepsParameters)


def test_lists_are_compared_by_what_they_have_in_common():
    found = list(differences.between("x", [1, 2, 3, 4], [2, 3, 5, 4]))
    assert [(each.path, each.before, each.after) for each in found] == [
        ("x[0]", 1, steps.ABSENT),
        ("x[2]", steps.ABSENT, 5),
    ]
    assert list(differences.between("x", True, 1)) != []
    assert list(differences.between("x", 1, 1.0)) == []


def test_a_digest_needs_the_key():
    step = steps.Step(kind="report", target="a", type="info", summary="pin 1234")
    assert steps.Teller(b"one").told(step)["digest"] != steps.Teller(b"two").told(step)["digest"]
