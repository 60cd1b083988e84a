"""One secret in two servers: an image of a server with its agent in it was started as another server."""

from __future__ import annotations

import datetime
import shutil
from typing import Any

from agents_world import ENVIRONMENT, PROJECT, Service, wait_until

from catalog.db import agents as table
from catalog.db import deployments, statuses

SESSION = "s" * 40
FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32


class Polls:
    """Polls of servers that share a secret."""

    def __init__(self, service: Service) -> None:
        self.service = service
        access = service.agents.register(ENVIRONMENT, PROJECT, "web")
        self.id = str(access["agent_id"])
        service.post(f"{self.id}/enrol", access["token"], {"session": table.hash_of(SESSION)})

    def __call__(self, boot: str | None) -> int:
        body = {"wait": 0} if boot is None else {"wait": 0, "boot": boot}
        return self.service.post(f"{self.id}/poll", SESSION, body).status_code


def test_a_server_that_is_restarted_again_and_again_is_itself(service: Service) -> None:
    poll = Polls(service)
    for number in range(40):
        assert poll(f"{number:032x}") == 204
        assert poll(f"{number:032x}") == 204


def test_a_poll_that_was_on_its_way_when_the_server_crashed_is_no_twin(service: Service) -> None:
    poll = Polls(service)
    assert [poll(FIRST), poll(SECOND), poll(FIRST), poll(SECOND), poll(THIRD), poll(SECOND), poll(THIRD)] == [
        204, 204, 409, 204, 204, 409, 204,
    ]  # fmt: skip


def test_the_copy_of_a_server_is_refused_once_both_are_seen_and_a_report_says_so(service: Service) -> None:
    with service.database.transaction() as session:
        deployment = deployments.submit(
            session,
            environment_id=ENVIRONMENT,
            session_id=None,
            project_id=PROJECT,
            user_id="u",
            kind="deploy",
            action={"object_id": "e", "method": "deploy", "args": {}},
            model={},
            lock=[],
        )
        deployment_id = deployment.id
    poll = Polls(service)
    assert [poll(FIRST), poll(SECOND), poll(FIRST), poll(FIRST)] == [204, 204, 409, 204]
    service.agents.send(poll.id, "plan-1", {})
    refused = service.post(f"{poll.id}/poll", SESSION, {"wait": 0, "boot": SECOND})
    assert refused.status_code == 409
    assert "made from a copy of its disk" in refused.json()["error"]["message"]
    assert refused.headers["Retry-After"] == "30"
    assert poll(FIRST) == 200
    with service.database.reading() as session:
        reports = statuses.of_deployment(session, deployment_id)
    assert [(report.level, report.entity_id) for report in reports[1:]] == [("warning", "web")]
    assert "Two servers have the secret of one agent" in reports[1].text
    assert poll(THIRD) == 200  # the first one is restarted: it stays the first one
    assert poll(SECOND) == 409


def test_a_copy_takes_the_place_of_a_server_that_is_gone(service: Service) -> None:
    poll = Polls(service)
    assert [poll(FIRST), poll(SECOND), poll(FIRST), poll(FIRST), poll(SECOND)] == [204, 204, 409, 204, 409]
    with service.database.transaction() as session:
        session.get(table.Agent, poll.id).seen -= datetime.timedelta(seconds=table.TWIN_SECONDS)
    assert poll(SECOND) == 204


def test_agents_that_do_not_say_which_boot_they_are_are_believed(service: Service) -> None:
    poll = Polls(service)
    assert [poll(None), poll(FIRST), poll(None), poll(SECOND), poll(None)] == [204] * 5


def test_two_real_agents_with_one_disk(service: Service, new_guest: Any) -> None:
    original, copy = new_guest("web").start(), new_guest("web")
    assert original.value("return 1") == 1
    original.kill()  # its image is taken
    shutil.copytree(original.folder, copy.folder)
    source = (copy.folder / "agent.py").read_text()
    text = source.replace('return f"{kernel}/{process_begun(1)}"', 'return "another machine"')
    assert text != source
    original.start()
    copy.start(source=text)
    wait_until(lambda: "made from a copy of its disk" in copy.log() + original.log())
    refused = copy if "made from a copy" in copy.log() else original
    assert "made from a copy" not in (original if refused is copy else copy).log()
    assert original.value("return 2") == 2  # one of the two carries it out
