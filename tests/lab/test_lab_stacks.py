"""Stacks converge: what is pushed is what is there, nothing more, and errors name their resource."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from dataclasses import replace

import pytest
from lab_world import booted, eventually, links_of, network_of, output_of, server_of, template_of

from engine.clouds.lab import LabOrchestration
from engine.clouds.lab.sandbox import processes
from engine.clouds.ports import Orchestration, Stack, StackError

pytestmark = pytest.mark.isolation


def test_the_lab_is_an_orchestration(lab: LabOrchestration) -> None:
    assert isinstance(lab, Orchestration)


def test_one_server_boots_with_its_address_in_the_outputs(lab, push, stack) -> None:
    outputs = push(
        network_of(lab) | server_of("web", "#cloud-config\nruncmd: ['echo it runs > /srv/proof']\n"),
        {
            "web-id": {"get_resource": "web"},
            "addresses-web": {"get_attr": ["web", "addresses", "net"]},
            "port-address": {"get_attr": ["port-web", "fixed_ips", 0, "ip_address"]},
            "first": {"get_attr": ["web", "first_address"]},
        },
    )
    (server,) = lab.servers()
    assert (server.name, server.state, server.id) == ("web", "running", outputs["web-id"])
    assert outputs["addresses-web"][0]["addr"] == outputs["port-address"] == outputs["first"] == server.addresses[0]
    assert outputs["addresses-web"][0]["version"] == 4
    booted(lab, "web")
    assert output_of(lab, "web", "cat /srv/proof") == "it runs\n"
    assert lab.outputs(stack) == outputs
    assert lab.current(stack)["resources"]["web"]["type"] == "OS::Nova::Server"


def test_the_same_push_twice_changes_nothing(lab, push) -> None:
    resources = network_of(lab) | server_of("web")
    outputs = push(resources, {"id": {"get_resource": "web"}})
    before = {server.id: server.pid for server in lab.servers()}
    assert push(resources, {"id": {"get_resource": "web"}}) == outputs
    assert {server.id: server.pid for server in lab.servers()} == before


def test_an_update_adds_and_removes_servers_and_leaves_the_others_alone(lab, push) -> None:
    push(network_of(lab) | server_of("one") | server_of("two"))
    pids = {server.name: server.pid for server in lab.servers()}
    push(network_of(lab) | server_of("two") | server_of("three"))
    after = {server.name: server.pid for server in lab.servers()}
    assert set(after) == {"two", "three"}
    assert after["two"] == pids["two"]
    assert processes.start_time(pids["one"]) == 0
    assert len(lab.site.objects.all("port")) == 2


def test_changed_boot_data_replaces_the_server_on_the_same_port(lab, push) -> None:
    wanted = {"address": {"get_attr": ["web", "first_address"]}, "id": {"get_resource": "web"}}
    first = push(network_of(lab) | server_of("web", "#!/bin/sh\necho first\n"), wanted)
    second = push(network_of(lab) | server_of("web", "#!/bin/sh\necho second\n"), wanted)
    assert first["id"] != second["id"]
    assert first["address"] == second["address"]
    assert "second" in booted(lab, "web")
    assert [server.id for server in lab.servers()] == [second["id"]]


def test_new_metadata_leaves_the_server_running(lab, push) -> None:
    push(network_of(lab) | server_of("web", metadata={"a": "1"}))
    (before,) = lab.servers()
    outputs = push(network_of(lab) | server_of("web", metadata={"a": "2"}), {"m": {"get_attr": ["web", "metadata"]}})
    assert lab.servers() == [before]
    assert outputs == {"m": {"a": "2"}}


def test_what_a_stack_has_is_told_by_its_ids_also_after_a_failure_and_found_by_its_tags(lab, push, stack) -> None:
    assert lab.resources(stack) is None
    tagged = replace(stack, tags=("murano", "chandlery:one"))
    bad = {"type": "OS::Cinder::VolumeAttachment", "depends_on": "subnet-net"}
    with pytest.raises(StackError, match="required"):
        lab.push(tagged, template_of(network_of(lab) | {"bad": bad}), {}, None, {})
    found = lab.resources(stack)
    assert {each.name for each in found.resources if each.status == "CREATE_COMPLETE"} >= {"network-net", "subnet-net"}
    assert {lab.site.objects.get(each.id)["kind"] for each in found.resources if each.name == "network-net"} == {"net"}
    [known] = lab.tagged("p1", "chandlery:one")
    assert (known.id, known.name, known.region_name, known.tags) == (
        found.id,
        "murano--story",
        "RegionOne",
        ("murano", "chandlery:one"),
    )
    assert lab.tagged("p2", "chandlery:one") == []
    lab.delete(stack)
    assert lab.resources(stack) is None
    assert lab.tagged("p1", "chandlery:one") == []


def test_what_its_template_retains_stays_when_its_stack_lets_go_of_it(lab, push, stack) -> None:
    volume = {"type": "OS::Cinder::Volume", "properties": {"size": 1}}
    push({"kept": {**volume, "deletion_policy": "Retain"}, "later": volume, "gone": volume})
    held = {each.name: each for each in lab.resources(stack).resources}
    assert {name: each.policy for name, each in held.items()} == {"kept": "retain", "later": "delete", "gone": "delete"}
    push({"later": {**volume, "deletion_policy": "retain"}, "gone": volume})
    assert {each.name for each in lab.resources(stack).resources} == {"later", "gone"}
    lab.delete(stack)
    there = [name for name, each in held.items() if lab.site.objects.get(each.id)]
    assert sorted(there) == ["kept", "later"]
    with pytest.raises(StackError, match="deletion_policy: expected one of delete, retain, snapshot, found 'burn'"):
        push({"v": {**volume, "deletion_policy": "burn"}})
    for name in there:  # the lab is the next test's, too
        lab.site.objects.remove(held[name].id)


def test_delete_leaves_nothing_and_may_be_repeated(lab, push, stack) -> None:
    push(network_of(lab) | server_of("one") | server_of("two"))
    before = {kind: lab.site.objects.all(kind) for kind in ("net", "subnet", "port", "server", "config")}
    network = lab.site.objects.find("net", "net")["id"]
    assert (len(before["server"]), len(before["port"])) == (2, 2)
    directories = [lab.site.server_directory(server.id) for server in lab.servers()]
    pids = [server.pid for server in lab.servers()]
    lab.delete(stack)
    lab.delete(stack)
    assert lab.servers() == []
    assert not any(directory.exists() for directory in directories)
    left = [item for kind in before for item in lab.site.objects.all(kind) if item["stack"] == stack.name]
    assert left == []
    assert not any(lab.site.directory.glob("stacks/*.json"))
    assert lab.current(stack) is None
    assert [processes.start_time(pid) for pid in pids] == [0, 0]
    assert eventually(lambda: not [name for name in links_of(lab) if name.startswith("v")])
    assert lab.site.bridge_of(network) not in links_of(lab)


def test_a_server_that_died_comes_back_with_the_next_push(lab, push) -> None:
    resources = network_of(lab) | server_of("web", "#!/bin/sh\necho booted >> /var/log/boots\n")
    push(resources)
    booted(lab, "web")
    (before,) = lab.servers()
    os.kill(before.pid, signal.SIGKILL)
    assert eventually(lambda: lab.servers()[0].state == "stopped")
    push(resources)
    (after,) = lab.servers()
    assert (after.id, after.state) == (before.id, "running")
    assert eventually(lambda: output_of(lab, "web", "cat /var/log/boots").count("booted") == 2)


def test_an_unknown_resource_type_names_the_resource_and_what_there_is(lab, push) -> None:
    with pytest.raises(StackError) as caught:
        push({"wheel": {"type": "OS::Sahara::Cluster"}})
    assert caught.value.resource == "wheel"
    assert "OS::Sahara::Cluster" in str(caught.value)
    assert "OS::Nova::Server" in str(caught.value)
    assert lab.servers() == []


def test_an_unknown_property_names_the_property_and_what_there_is(push) -> None:
    with pytest.raises(StackError, match=r"resource 'n' \(OS::Neutron::Net\): unknown property 'nmae'.*name"):
        push({"n": {"type": "OS::Neutron::Net", "properties": {"nmae": "x"}}})


def test_one_failing_resource_fails_the_push_and_a_corrected_push_heals_it(lab, push, stack) -> None:
    broken = network_of(lab) | server_of("web")
    broken["port-web"]["properties"]["fixed_ips"] = [{"ip_address": "203.0.113.9"}]
    with pytest.raises(StackError) as caught:
        push(broken)
    assert caught.value.resource == "port-web"
    assert "203.0.113.9" in caught.value.reason
    push(network_of(lab) | server_of("web"))
    assert [server.state for server in lab.servers()] == ["running"]


def test_networks_with_the_same_addresses_are_refused_with_the_remedy(lab, push) -> None:
    resources = network_of(lab, "a") | network_of(lab, "b")
    for name in "ab":
        resources[f"subnet-{name}"]["properties"]["cidr"] = "10.213.7.0/24"
    with pytest.raises(StackError, match=r"overlaps 10\.213\.7\.0/24.*leave `cidr` out"):
        push(resources)


def test_a_circle_of_resources_is_named(push) -> None:
    with pytest.raises(StackError, match=r"circle: (a -> b -> a|b -> a -> b)"):
        push(
            {
                "a": {"type": "OS::Neutron::Net", "depends_on": "b"},
                "b": {"type": "OS::Neutron::Net", "depends_on": ["a"]},
            }
        )


def test_stacks_of_two_projects_may_have_the_same_name(lab) -> None:
    net = {"n": {"type": "OS::Neutron::Net", "properties": {"name": "n"}}}
    first, second = Stack("s", project_id="p1"), Stack("s", project_id="p2")
    one = lab.push(first, template_of(net, {"id": {"get_resource": "n"}}), {}, None, {})
    two = lab.push(second, template_of(net, {"id": {"get_resource": "n"}}), {}, None, {})
    assert one != two
    lab.delete(first)
    assert lab.outputs(second) == two


def test_a_volume_appears_in_its_server_and_keeps_its_files(lab, push) -> None:
    volume = {
        "vol": {"type": "OS::Cinder::Volume", "properties": {"size": 1, "name": "data"}},
        "att": {
            "type": "OS::Cinder::VolumeAttachment",
            "properties": {
                "instance_uuid": {"get_resource": "web"},
                "volume_id": {"get_resource": "vol"},
                "mountpoint": "/var/data",
            },
        },
    }
    wanted = {"attached": {"get_attr": ["vol", "attachments_list"]}, "id": {"get_resource": "web"}}
    resources = network_of(lab) | volume | server_of("web", "#!/bin/sh\necho one\n")
    outputs = push(resources, wanted)
    assert output_of(lab, "web", "echo kept > /var/data/file && cat /var/data/file") == "kept\n"
    resources |= server_of("web", "#!/bin/sh\necho two\n")
    again = push(resources, wanted)
    assert again["id"] != outputs["id"]
    assert again["attached"][0]["server_id"] == again["id"]
    assert output_of(lab, "web", "cat /var/data/file") == "kept\n"
    os.kill(lab.servers()[0].pid, signal.SIGKILL)
    assert eventually(lambda: lab.servers()[0].state == "stopped")
    push(resources, wanted)
    assert output_of(lab, "web", "cat /var/data/file") == "kept\n"
    push({name: resources[name] for name in resources if name != "att"})
    assert output_of(lab, "web", "ls -A /var/data") == ""


def test_links_that_a_server_left_behind_are_not_followed_when_it_starts_again(lab, push, tmp_path) -> None:
    volume = {
        "vol": {"type": "OS::Cinder::Volume", "properties": {"size": 1}},
        "att": {
            "type": "OS::Cinder::VolumeAttachment",
            "properties": {
                "instance_uuid": {"get_resource": "web"},
                "volume_id": {"get_resource": "vol"},
                "mountpoint": "/srv/data/deep",
            },
        },
    }
    resources = network_of(lab) | volume | server_of("web")
    push(resources)
    booted(lab, "web")
    script = f"""
    umount /srv/data/deep || echo failed; mv /srv/data /srv/gone; ln -s {tmp_path} /srv/data
    rm -rf /var/lib/cloud/instance; mkdir /tmp/evil; cd /tmp
    for name in run srv/x media; do rmdir /$name; ln -s {tmp_path} /$name; done
    """
    output_of(lab, "web", script)
    (server,) = lab.servers()
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: lab.servers()[0].state == "stopped")
    push(resources)
    assert lab.servers()[0].state == "running"
    assert list(tmp_path.iterdir()) == []
    assert (
        output_of(lab, "web", "test -d /srv/data/deep -a ! -L /srv/data && touch /srv/data/deep/x && echo fine")
        == "fine\n"
    )


def test_a_wait_condition_waits_for_its_server(lab, push) -> None:
    resources = network_of(lab) | {
        "handle": {"type": "OS::Heat::WaitConditionHandle"},
        "done": {
            "type": "OS::Heat::WaitCondition",
            "depends_on": "web",
            "properties": {"handle": {"get_resource": "handle"}, "timeout": 10},
        },
    }
    script = {
        "str_replace": {
            "template": '#!/bin/sh\nSIGNAL --data-binary \'{"status": "SUCCESS", "data": "ready"}\'\n',
            "params": {"SIGNAL": {"get_attr": ["handle", "curl_cli"]}},
        }
    }
    outputs = push(resources | server_of("web", script), {"data": {"get_attr": ["done", "data"]}})
    assert outputs == {"data": '{"1": "ready"}'}


def test_a_signalled_failure_fails_the_stack_with_its_reason(lab, push) -> None:
    resources = network_of(lab) | {
        "handle": {"type": "OS::Heat::WaitConditionHandle"},
        "done": {
            "type": "OS::Heat::WaitCondition",
            "properties": {"handle": {"get_resource": "handle"}, "timeout": 10},
        },
    }
    body = '{"status": "FAILURE", "reason": "disk full"}'
    script = {"list_join": ["", ["#!/bin/sh\n", {"get_attr": ["handle", "curl_cli"]}, f" -d '{body}'\n"]]}
    with pytest.raises(StackError, match=r"'done'.*disk full"):
        push(resources | server_of("web", script))


def test_stacks_pushed_at_the_same_time_get_different_networks_and_addresses(lab) -> None:
    def push(number: int) -> dict[str, str]:
        resources = network_of(lab, f"n{number}") | server_of(f"s{number}", None, f"n{number}")
        wanted = {
            "address": {"get_attr": [f"s{number}", "first_address"]},
            "net": {"get_attr": [f"subnet-n{number}", "cidr"]},
        }
        return lab.push(Stack(f"same-time-{number}"), template_of(resources, wanted), {}, None, {})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(push, range(4)))
    assert len({output["net"] for output in outputs}) == 4
    assert len({output["address"] for output in outputs}) == 4
    assert output_of(lab, "s0", f"ip -o address show eth0 | grep -c {outputs[0]['address']}/24") == "1\n"
