"""A server behaves as a small machine of its own: boot data, host name, network, processes, and people's tools."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from lab_world import booted, eventually, network_of, output_of, server_of, template_of

from engine.clouds.lab import LabOrchestration
from engine.clouds.ports import CloudError, Stack

pytestmark = pytest.mark.isolation

WEB = "#!/bin/sh\ncd /srv && hostname > index.html && (python3 -m http.server 80 >/dev/null 2>&1 &)\n"


@pytest.fixture(scope="module")
def pair(shared_lab: LabOrchestration) -> LabOrchestration:
    """Two servers on one network, a third on another, each serving its name."""
    resources = network_of(shared_lab, "a") | network_of(shared_lab, "b")
    resources |= server_of("one", WEB, "a") | server_of("two", WEB, "a") | server_of("three", WEB, "b")
    resources["fip"] = {
        "type": "OS::Neutron::FloatingIP",
        "properties": {
            "floating_network": shared_lab.external_network_id,
            "port_id": {"get_resource": "port-three"},
        },
    }
    shared_lab.push(Stack("pair"), template_of(resources), {}, None, {})
    for name in ("one", "two", "three"):
        booted(shared_lab, name)
    return shared_lab


@pytest.fixture
def api() -> Iterator[str]:
    """A service on 127.0.0.1, as the agent API is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"got " + body)

        def log_message(self, *arguments: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_servers_have_their_own_host_names(pair) -> None:
    assert output_of(pair, "one", "hostname; cat /etc/hostname; uname -n") == "one\none\none\n"


def test_servers_see_only_their_own_processes(pair) -> None:
    listing = output_of(pair, "one", "ps axo args").splitlines()
    assert any("init.py" in line for line in listing)
    assert len(listing) < 8


def test_servers_reach_each_other_in_one_network_and_across_networks(pair) -> None:
    addresses = {server.name: server.addresses for server in pair.servers()}
    for name in ("two", "three"):
        assert eventually(lambda name=name: _fetch(pair, "one", addresses[name][0]) == f"{name}\n")
    assert _fetch(pair, "one", addresses["three"][1]) == "three\n"  # its floating address


def test_the_service_reaches_servers_by_fixed_and_floating_address(pair) -> None:
    for server in pair.servers():
        for address in server.addresses:
            with urllib.request.urlopen(pair.reachable(f"http://{address}/"), timeout=60) as answer:
                assert answer.read().decode().strip() == server.name


def test_a_forwarded_port_leads_to_the_server(pair) -> None:
    address = next(server.addresses[0] for server in pair.servers() if server.name == "two")
    host, port = pair.forward(address, 80)
    assert host == "127.0.0.1"
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=60) as answer:
        assert answer.read() == b"two\n"
    assert pair.forward(address, 80) == (host, port)
    with pytest.raises(CloudError, match="no address of a server"):
        pair.forward("192.0.2.77", 80)


def test_commands_give_output_exit_code_and_take_input(pair) -> None:
    done = pair.exec("one", ["/bin/sh", "-c", "cat; echo oops >&2; exit 7"], text="typed\n", env={"A": "b"})
    assert (done.returncode, done.stdout, done.stderr) == (7, "typed\n", "oops\n")
    assert pair.exec("one", ["no-such-program"]).returncode == 127
    with pytest.raises(CloudError, match=r"no server 'nine'.*one"):
        pair.exec("nine", ["true"])


def test_a_command_that_hangs_is_ended_after_its_timeout(pair) -> None:
    with pytest.raises(CloudError, match=r"0\.3 s"):
        pair.exec("one", ["sleep", "3000"], timeout=0.3)
    assert eventually(lambda: "sleep 3000" not in output_of(pair, "one", "ps axo args | grep -v grep"))


def test_the_console_says_that_the_server_is_simulated(pair) -> None:
    assert "simulated server" in pair.console("one")
    assert "simulated server" in output_of(pair, "one", "cat /etc/motd")


def test_a_server_can_make_network_namespaces_for_its_pods(pair) -> None:
    script = """
    set -e
    ip link add name pods type bridge && ip address add 10.244.0.1/24 dev pods && ip link set pods up
    unshare --net --uts sleep 20 & pod=$!
    sleep 0.1
    ip link add name p1 type veth peer name eth0 netns $pod
    ip link set p1 master pods up
    nsenter -t $pod -n sh -c 'ip link set lo up; ip address add 10.244.0.2/24 dev eth0; ip link set eth0 up'
    nsenter -t $pod -n python3 -m http.server 8000 --directory /srv >/dev/null 2>&1 & web=$!
    for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; curl -s http://10.244.0.2:8000/ && break; done
    kill $pod $web; ip link delete pods
    """
    assert output_of(pair, "two", script) == "two\n"


def test_servers_reach_the_services_agent_address_and_nothing_else_of_it(fresh_lab, api) -> None:
    lab = LabOrchestration(fresh_lab.site.directory, agent_url=api)
    script = f"#!/bin/sh\ncurl -sS -m 5 -d hello {lab.agent_url}/agents\n"
    lab.push(Stack("s"), template_of(network_of(lab) | server_of("web", script)), {}, None, {})
    try:
        assert "got hello" in booted(lab, "web")
        port = api.rpartition(":")[2]
        for target in (lab.site.range.host, lab.site.range.service, "127.0.0.1", "192.0.2.2"):
            answer = output_of(lab, "web", f"curl -sS -m 0.4 -d x http://{target}:{port}/")
            assert "got" not in answer
            assert "curl" in answer
    finally:
        lab.close()


def test_the_agent_address_comes_back_with_the_next_service(fresh_lab, api) -> None:
    first = LabOrchestration(fresh_lab.site.directory, agent_url="http://127.0.0.1:9")
    first.push(Stack("s"), template_of(network_of(first) | server_of("web")), {}, None, {})
    first.close()
    second = LabOrchestration(fresh_lab.site.directory, agent_url=api).start()
    try:
        assert second.agent_url == first.agent_url
        fetch = f"curl -sS -m 20 -d again {second.agent_url}/"
        assert eventually(lambda: output_of(second, "web", fetch) == "got again")
    finally:
        second.close()


def test_four_servers_boot_together(lab, push) -> None:
    lab.start().site.base()  # made once per data directory
    resources = network_of(lab)
    for name in ("a", "b", "c", "d"):
        resources |= server_of(name, "#!/bin/sh\necho up\n")
    push(resources)
    for name in ("a", "b", "c", "d"):
        booted(lab, name)


def test_a_server_without_networks_joins_the_labs_own(lab, push) -> None:
    push({"s": {"type": "OS::Nova::Server", "properties": {"flavor": "m1.tiny", "image": "any"}}})
    (server,) = [server for server in lab.servers() if server.name == "murano--story-s"]
    assert output_of(lab, server.name, "hostname") == "murano--story-s\n"
    assert server.addresses[0].startswith(str(lab.site.range.network.network_address).split(".0.0")[0])


def _fetch(lab: LabOrchestration, server: str, address: str) -> str:
    return output_of(lab, server, f"curl -s -m 20 http://{address}/")


def test_a_command_may_leave_something_running(pair) -> None:
    assert output_of(pair, "one", "sleep 3000 & echo left") == "left\n"
    assert "sleep 3000" in output_of(pair, "one", "ps axo args")
    output_of(pair, "one", "pkill -f 'sleep 3000'")


def test_a_floating_address_moves_from_server_to_server(lab, push) -> None:
    servers = network_of(lab, "f") | server_of("blue", WEB, "f") | server_of("green", WEB, "f")

    def pushed(port: str) -> str:
        fip = {
            "type": "OS::Neutron::FloatingIP",
            "properties": {"floating_network": lab.external_network_id, "port_id": {"get_resource": port}},
        }
        return push(servers | {"fip": fip}, {"address": {"get_attr": ["fip", "floating_ip_address"]}})["address"]

    address = pushed("port-blue")
    assert eventually(lambda: _fetch(lab, "green", address) == "blue\n")
    assert pushed("port-green") == address
    assert eventually(lambda: _fetch(lab, "blue", address) == "green\n")
    push(servers)
    assert _fetch(lab, "blue", address) == ""
    assert address not in output_of(lab, "green", "ip address show lo")


def test_a_server_may_name_networks_instead_of_ports(lab, push) -> None:
    named = {"networks": [{"network": {"get_resource": "network-x"}}, {"network": "y-net"}]}
    resources = network_of(lab, "x") | network_of(lab, "y")
    resources["network-y"]["properties"]["name"] = "y-net"
    resources["two-legs"] = {"type": "OS::Nova::Server", "properties": named}
    found = push(resources, {"addresses": {"get_attr": ["two-legs", "networks"]}})["addresses"]
    shown = output_of(lab, "murano--story-two-legs", "ip -o -4 address show; ip route")
    assert f"eth0    inet {found['x'][0]}/24" in shown
    assert f"eth1    inet {found['y-net'][0]}/24" in shown
    assert shown.count("default via") == 1
