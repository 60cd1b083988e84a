"""A server that is restarted, for real: the lab kills all its processes and boots it again, as a power failure does."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from agents_world import ENVIRONMENT, PROJECT, SECRET, Service, script_plan, wait_until

from catalog.db import deployments, outputs
from engine.agents import boot, http
from engine.clouds.lab import LabOrchestration, isolation
from engine.clouds.ports import Stack


class Server:
    """A lab server with the agent that its boot data brought."""

    def __init__(self, lab: LabOrchestration, service: Service) -> None:
        self.lab = lab
        settings: dict[str, object] = {"retry_limit": 0.3}
        self.agents = http.HttpAgents(database=service.database, url=lab.agent_url, secret=SECRET, settings=settings)
        access = self.agents.register(ENVIRONMENT, PROJECT, "web")
        self.id = access["agent_id"]
        properties = {"name": "web", "flavor": "m1.small", "image": "x", "user_data": boot.user_data(access)}
        resources = {"web": {"type": "OS::Nova::Server", "properties": {**properties, "user_data_format": "RAW"}}}
        template = {"heat_template_version": "2013-05-23", "resources": resources}
        lab.push(Stack("s", project_id=PROJECT, environment_id=ENVIRONMENT), template, {}, None, {})

    def stop(self) -> None:
        [server] = self.lab.site.objects.all("server")
        self.lab.site.stop_server(server["id"])

    def start(self) -> None:
        [server] = self.lab.site.objects.all("server")
        self.lab.site.start_server(server)

    def shell(self, script: str) -> str:
        return self.lab.exec("web", ["/bin/sh", "-c", script], timeout=60).stdout

    def run(self, plan: dict[str, Any], plan_id: str) -> dict[str, Any]:
        return self.agents.run(self.id, plan_id, plan, 120)


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    if isolation().level == "none":
        pytest.skip("; ".join(isolation().missing))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lab = LabOrchestration(pathlib.Path(folder, "data"), agent_url=service.url)
        try:
            yield Server(lab, service)
        finally:
            lab.cleanup()


def test_the_agent_comes_back_with_its_server_and_nothing_is_lost_or_done_twice(
    service: Service, server: Server
) -> None:
    ran = script_plan("return run().stdout", "mkdir -p /srv/ran; echo x >> /srv/ran/count; cat /srv/ran/count")
    assert server.run(script_plan("return run().stdout", "hostname"), "first")["Body"] == "web"

    # A plan is queued while the server is down.
    server.stop()
    server.agents.send(server.id, "queued", ran)
    server.start()
    assert server.run(ran, "queued")["Body"] == "x"

    # A plan has ended, and its result could not be sent.
    unsent = script_plan(
        "return run().stdout", "touch /srv/begun; while [ ! -e /srv/go ]; do sleep 0.05; done; echo end"
    )
    server.agents.send(server.id, "unsent", unsent)
    wait_until(lambda: server.shell("ls /srv").count("begun"))
    service.stop()
    server.shell("touch /srv/go")
    wait_until(lambda: server.shell("ls /var/lib/chandlery-agent/plans/unsent").count("result.json"))
    server.stop()
    service.start()
    server.start()
    assert server.run(unsent, "unsent")["Body"] == "end"

    # A plan is in the middle.
    half = script_plan("return run().stdout", "echo x >> /srv/half; echo half way; sleep 600")
    with service.database.transaction() as session:
        deployment = deployments.submit(
            session,
            environment_id=ENVIRONMENT,
            session_id=None,
            project_id=PROJECT,
            user_id="u",
            kind="delete",
            action=None,
            model={},
            lock=[],
        )
        deployment_id = deployment.id
    server.agents.watch(deployment_id, "web", server.id, "half", half)
    server.agents.send(server.id, "half", half)

    def printed() -> str:
        with service.database.reading() as session:
            return "".join(chunk.text for chunk in outputs.of_deployment(session, deployment_id))

    wait_until(lambda: printed() == "half way\n")
    server.stop()
    server.start()
    result = server.run(half, "half")
    assert result["ErrorCode"] == 1
    assert "the server was restarted while the plan ran; it is not run a second time" in result["Body"]["Message"]
    assert server.shell("cat /srv/half") == "x\n"
    assert printed() == "half way\n"
    assert server.run(ran, "next")["Body"] == "x\nx"

    # Where there is no systemd and no boot data run again: what cloud-init runs with every boot starts it, once.
    server.shell("kill -9 $(pgrep -f '[c]handlery/agent.py')")
    server.shell("for n in 1 2 3; do /var/lib/cloud/scripts/per-boot/chandlery-agent; done")
    assert server.run(ran, "after")["Body"] == "x\nx\nx"
    assert len(server.shell("pgrep -f '[a]gent.py --daemon'").split()) == 1
