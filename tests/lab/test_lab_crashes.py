"""The service, the keeper or a push may die at any point: the next one finds everything again and leaks nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from lab_world import booted, eventually, links_of, network_of, output_of, processes_with, server_of, template_of

from engine.clouds.lab import LabOrchestration
from engine.clouds.lab.sandbox import processes
from engine.clouds.ports import CloudError, Stack

pytestmark = pytest.mark.isolation

STACK = Stack("crash")


def test_servers_outlive_the_service_and_are_found_again(fresh_lab) -> None:
    template = template_of(network_of(fresh_lab) | server_of("web"), {"id": {"get_resource": "web"}})
    service = multiprocessing.get_context("spawn").Process(target=_push, args=(str(fresh_lab.site.directory), template))
    service.start()
    service.join(120)
    assert service.exitcode == 0
    (server,) = fresh_lab.servers()
    assert server.state == "running"
    assert output_of(fresh_lab, "web", "hostname") == "web\n"
    assert fresh_lab.push(STACK, template, {}, None, {}) == {"id": server.id}
    assert [again.pid for again in fresh_lab.servers()] == [server.pid]


def test_a_push_killed_anywhere_is_finished_by_the_next_and_nothing_leaks(fresh_lab) -> None:
    directory = str(fresh_lab.site.directory)
    fresh_lab.start().site.base()
    first = template_of(network_of(fresh_lab) | server_of("one") | server_of("two"))
    second = template_of(network_of(fresh_lab) | server_of("two", "#!/bin/sh\necho new\n") | server_of("three"))
    context = multiprocessing.get_context("spawn")
    chance = random.Random(7)  # the same moments each time, as far as the machine allows
    for number in range(6):
        template = second if number % 2 else first
        started = context.Event()
        process = context.Process(target=_push, args=(directory, template, started))
        process.start()
        assert started.wait(120)
        time.sleep(chance.uniform(0.0, 0.25))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    outputs = fresh_lab.push(STACK, {**second, "outputs": {"id": {"value": {"get_resource": "two"}}}}, {}, None, {})
    servers = {server.name: server for server in fresh_lab.servers()}
    assert set(servers) == {"two", "three"}
    assert servers["two"].id == outputs["id"]
    assert "new" in booted(fresh_lab, "two")
    _assert_only(fresh_lab, [server.pid for server in servers.values()])
    fresh_lab.delete(STACK)
    _assert_only(fresh_lab, [])
    LabOrchestration(fresh_lab.site.directory).start().close()
    assert [path.name for path in fresh_lab.site.directory.glob("objects/*")] == ["lock"]
    assert [path.name for path in fresh_lab.site.directory.glob("objects/.*")] == []
    assert list((fresh_lab.site.directory / "stacks").iterdir()) == []


def test_a_lost_keeper_is_replaced_and_servers_boot_again_with_their_files(fresh_lab) -> None:
    template = template_of(network_of(fresh_lab) | server_of("web", "#!/bin/sh\necho boot >> /srv/boots\n"))
    fresh_lab.push(STACK, template, {}, None, {})
    booted(fresh_lab, "web")
    output_of(fresh_lab, "web", "echo precious > /srv/file")
    pid, start = fresh_lab.site.keeper.process()
    assert processes.kill(pid, start)
    (before,) = fresh_lab.servers()
    again = LabOrchestration(fresh_lab.site.directory).start()
    try:
        (after,) = again.servers()
        assert after.id == before.id
        assert after.pid != before.pid
        assert processes.start_time(before.pid) == 0
        assert eventually(lambda: output_of(again, "web", "cat /srv/boots") == "boot\nboot\n")
        assert output_of(again, "web", "cat /srv/file") == "precious\n"
        signal_url = f"http://{again.site.range.service}:8081/"
        assert "no such handle" in output_of(again, "web", f"curl -sS -m 3 -d x {signal_url}")
    finally:
        again.close()


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(fresh_lab) -> None:
    fresh_lab.push(STACK, template_of(network_of(fresh_lab) | server_of("web")), {}, None, {})
    (server,) = fresh_lab.servers()
    record = fresh_lab.site.server_directory(server.id) / "run.json"
    real = record.read_text()
    record.write_text(f'{{"pid": {os.getpid()}, "start": 1}}')
    assert fresh_lab.servers()[0].state == "stopped"
    fresh_lab.site.stop_server(server.id)
    assert processes.start_time(os.getpid()) > 0
    record.write_text(real)


def test_cleanup_removes_everything_also_when_the_service_is_gone(tmp_path) -> None:
    lab = LabOrchestration(tmp_path / "data")
    lab.push(STACK, template_of(network_of(lab) | server_of("one") | server_of("two")), {}, None, {})
    lab.exec("one", ["sh", "-c", "mkdir -p /srv/a/b && chmod 0 /srv/a && mknod /srv/pipe p && ln -s / /srv/root"])
    pids = [server.pid for server in lab.servers()]
    keeper = lab.site.keeper.process()[0]
    lab.close()
    LabOrchestration(tmp_path / "data").cleanup()
    assert not (tmp_path / "data").exists()
    assert eventually(lambda: [processes.start_time(pid) for pid in [*pids, keeper]] == [0, 0, 0])
    assert processes_with(str(tmp_path)) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert eventually(lambda: not Path("/sys/class/net", lab.site.uplink_link).exists())
    LabOrchestration(tmp_path / "data").cleanup()


def _push(directory: str, template: dict[str, Any], started: Any = None) -> None:
    """In a process of its own: the service."""
    lab = LabOrchestration(directory)
    if started is not None:
        started.set()
    lab.push(STACK, template, {}, None, {})


def _assert_only(lab: LabOrchestration, pids: list[int]) -> None:
    """The lab's files, objects and links belong to the servers that there are, and to no other."""
    keeper = lab.site.keeper.process()[0]
    children = Path(f"/proc/{keeper}/task/{keeper}/children")
    assert eventually(lambda: sorted(map(int, children.read_text().split())) == sorted(pids))
    identities = {server.id for server in lab.servers()}
    assert {path.name for path in (lab.site.directory / "servers").iterdir()} == identities
    assert {port["device_id"] for port in lab.site.objects.all("port")} == identities
    assert eventually(
        lambda: sum(name.startswith("v") for name in links_of(lab)) == len(pids)
    )  # the kernel takes links down a little later


def test_cleanup_leaves_what_is_not_the_labs(tmp_path) -> None:
    (tmp_path / "catalog.sqlite").write_text("precious")
    LabOrchestration(tmp_path).cleanup()
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.sqlite"]


def test_a_data_directory_that_servers_would_see_is_refused() -> None:
    with pytest.raises(CloudError, match="choose a data directory elsewhere"):
        LabOrchestration("/usr/local/share/chandlery-lab")
