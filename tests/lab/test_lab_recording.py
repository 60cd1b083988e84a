"""Where the machine isolates nothing, the lab says so and only records what it would have run."""

from __future__ import annotations

import pytest
from lab_world import network_of, server_of, template_of

from engine.clouds.lab import Isolation, LabOrchestration, addressing, isolation
from engine.clouds.ports import CloudError, Stack

REASON = "this machine lets the lab isolate nothing (for the story): scripts are recorded, not run"
STACK = Stack("recorded")


@pytest.fixture
def paper(tmp_path, monkeypatch) -> LabOrchestration:
    monkeypatch.setattr(addressing, "_CLAIMS", tmp_path / "claims.json")  # these labs have no network to claim
    return LabOrchestration(tmp_path / "data", isolation=Isolation("none", (REASON,)))


def test_the_level_of_this_machine_is_one_sentence() -> None:
    found = isolation()
    assert found.level in ("full", "user", "none")
    assert bool(found.missing) == (found.level != "full")
    assert str(found).startswith(found.level)


def test_a_push_gives_outputs_and_runs_nothing(paper) -> None:
    resources = network_of(paper) | server_of("web", f"#!/bin/sh\ntouch {paper.site.directory}/ran\n")
    outputs = paper.push(
        STACK, template_of(resources, {"a": {"get_attr": ["web", "addresses", "net", 0, "addr"]}}), {}, None, {}
    )
    (server,) = paper.servers()
    assert (server.state, server.pid, server.addresses) == ("recorded", 0, (outputs["a"],))
    assert not (paper.site.directory / "ran").exists()
    assert not paper.site.keeper.running()
    assert not (paper.site.directory / "keeper.log").exists()


def test_the_console_has_the_reason_and_the_script(paper) -> None:
    data = "#cloud-config\nwrite_files: [{path: /etc/a, content: b}]\nruncmd: [echo hello]\n"
    paper.push(STACK, template_of(network_of(paper) | server_of("web", data)), {}, None, {})
    console = paper.console("web")
    assert REASON in console
    assert "--- write /etc/a\nb\n--- script runcmd\n#!/bin/sh\necho hello\n" in console
    with pytest.raises(CloudError, match="does not run"):
        paper.exec("web", ["true"])


def test_recorded_stacks_change_and_go_as_others_do(paper) -> None:
    paper.push(STACK, template_of(network_of(paper) | server_of("one") | server_of("two")), {}, None, {})
    paper.push(STACK, template_of(network_of(paper) | server_of("two")), {}, None, {})
    assert [server.name for server in paper.servers()] == ["two"]
    paper.delete(STACK)
    assert paper.servers() == []
    assert list((paper.site.directory / "servers").iterdir()) == []
    paper.cleanup()
    assert not paper.site.directory.exists()
