"""What scripts print is seen while they run: once, bounded, without secrets, and never at the cost of the result."""

from __future__ import annotations

import pathlib
import re
import uuid
from typing import Any

import pytest
from agents_world import ENVIRONMENT, PROJECT, Guest, Service, script_plan, wait_until

import catalog.db.tables
import dsl
from catalog.api import agents as agents_api
from catalog.db import agents as rows
from catalog.db import deployments, masking, outputs
from engine import effects
from engine.agents import http, stored
from engine.clouds import recording, services

SESSION = "s" * 40
PLAN = {"FormatVersion": "2.0.0", "Name": "Install", "Parameters": {"adminPassword": "hunter-22"}}


def a_deployment(service: Service) -> str:
    with service.database.transaction() as session:
        row = deployments.submit(
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
        return row.id


def printed(service: Service, deployment_id: str) -> list[outputs.Shown]:
    with service.database.reading() as session:
        return outputs.of_deployment(session, deployment_id, limit=10_000)


def text_of(chunks: list[outputs.Shown]) -> str:
    return "".join(chunk.text for chunk in chunks)


def run_watched(guest: Guest, plan: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The deployment, and the plan's result."""
    deployment_id, plan_id = a_deployment(guest.service), uuid.uuid4().hex
    guest.service.agents.watch(deployment_id, "i1", guest.id, plan_id, plan)
    return deployment_id, guest.run(plan, plan_id)


@pytest.fixture
def sender(service: Service, new_guest: Any) -> Any:
    """A guest of the test's own, with one plan that it took: `sender(begin, end, *texts)` sends output of it."""
    guest = new_guest()
    body = {"session": rows.hash_of(SESSION)}
    assert service.post(f"{guest.id}/enrol", guest.access["token"], body).status_code == 200
    deployment_id = a_deployment(service)
    service.agents.watch(deployment_id, "i1", guest.id, "plan-1", PLAN)
    service.agents.send(guest.id, "plan-1", PLAN)
    assert service.post(f"{guest.id}/poll", SESSION, {"wait": 0}).status_code == 200

    def send(begin: int, end: int, *texts: list[str]) -> Any:
        body = {"from": begin, "to": end, "texts": [list(text) for text in texts]}
        answer = service.post(f"{guest.id}/output/plan-1", SESSION, body)
        return answer.json()["next"] if answer.status_code == 200 else answer.status_code

    send.deployment_id, send.guest = deployment_id, guest
    send.end = lambda: service.post(f"{guest.id}/results/plan-1", SESSION, {"ErrorCode": 0})
    return send


def test_output_is_seen_while_the_script_runs_and_is_whole_at_its_end(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    go = tmp_path / "go"
    script = f"echo one; echo two >&2; while [ ! -e {go} ]; do sleep 0.05; done; printf three"
    plan = {**script_plan("return run().stdout", script), "Name": "Wait"}
    deployment_id = a_deployment(service)
    service.agents.watch(deployment_id, "i1", guest.id, "plan-1", plan)
    service.agents.send(guest.id, "plan-1", plan)
    wait_until(lambda: len(printed(service, deployment_id)) == 2)
    go.touch()
    assert guest.run(plan, "plan-1")["Body"] == "one\nthree"
    chunks = printed(service, deployment_id)
    assert {(chunk.stream, chunk.text) for chunk in chunks} == {
        ("stdout", "one\n"),
        ("stderr", "two\n"),
        ("stdout", "three"),
    }
    assert {(chunk.entity_id, chunk.plan, chunk.script) for chunk in chunks} == {("i1", "Wait", "run")}
    assert [chunk.number for chunk in chunks] == [1, 2, 3]
    assert not list(guest.storage.glob("plans/*/output")), "the spool is removed when all is sent"


def test_a_service_that_is_away_gets_all_of_it_later_and_nothing_twice(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    go = tmp_path / "go"
    script = f"echo before; while [ ! -e {go} ]; do sleep 0.05; done; echo after"
    plan = script_plan("return run().stdout", script)
    deployment_id = a_deployment(service)
    service.agents.watch(deployment_id, "i1", guest.id, "plan-1", plan)
    service.agents.send(guest.id, "plan-1", plan)
    wait_until(lambda: printed(service, deployment_id))
    service.stop()
    go.touch()
    wait_until(lambda: list(guest.storage.glob("plans/*/result.json")))
    guest.kill()  # the next agent does not know how far this one came
    service.start()
    guest.start()
    assert guest.run(plan, "plan-1")["Body"] == "before\nafter"
    assert text_of(printed(service, deployment_id)) == "before\nafter\n"


def test_output_of_an_endless_script_is_bounded_and_its_result_is_not_touched(new_guest: Any) -> None:
    guest = new_guest().start()
    script = "yes 'one line of many' | head -c 3000000; echo last"
    deployment_id, result = run_watched(guest, script_plan("return run().stdout", script))
    assert result["Body"].endswith("last")
    text = text_of(printed(guest.service, deployment_id))
    assert text.startswith("one line of many\none line")
    assert text.endswith("the rest is not shown; the result has its beginning and end ...]\n")
    assert 900_000 < len(text) <= outputs.MOST_OF_PLAN


def test_an_older_service_gets_the_result_without_the_output(
    service: Service, new_guest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = re.compile(agents_api.PATH.pattern.replace("|output", ""))
    monkeypatch.setattr(agents_api, "PATH", older)
    guest = new_guest().start()
    assert guest.run(script_plan("return run().stdout", "echo old"))["Body"] == "old"
    wait_until(lambda: not list(guest.storage.glob("plans/*/output")))
    assert "is not wanted: HTTP Error 404" in guest.log()


def test_secrets_of_the_plan_are_masked_in_what_its_script_prints(new_guest: Any) -> None:
    guest = new_guest().start()
    plan = script_plan("return run(args.adminPassword).stdout", 'echo "login with $1 now"; echo "token=abc $1"')
    plan["Parameters"] = {"adminPassword": "hunter-22"}
    deployment_id, result = run_watched(guest, plan)
    assert "hunter-22" in result["Body"]  # the program gets what it asked for
    text = text_of(printed(guest.service, deployment_id))
    assert text == f"login with {masking.MASK} now\ntoken={masking.MASK} {masking.MASK}\n"


def test_a_secret_is_masked_wherever_it_is_cut_in_two(service: Service, sender: Any) -> None:
    secret = "hunter-22"
    place = 0
    for cut in range(1, len(secret)):
        for part in (f"{cut}: {secret[:cut]}", f"{secret[cut:]} ok\n"):
            assert sender(place, place + 1, ["run", "stdout", part]) == place + 1
            place += 1
    sender.end()
    lines = text_of(printed(service, sender.deployment_id)).splitlines()
    assert lines == [f"{cut}: {masking.MASK} ok" for cut in range(1, len(secret))]


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\n-----END KEY-----"
    known = masking.spellings(masking.found_in({"deep": [{"privateKey": key}]}))
    assert "MIIE" not in masking.masked_text("+ echo MIIEowIBAAKCAQEA\n", known)
    assert masking.safe_length("> -----BEGIN KEY-----\n", known) == len("> ")  # more of it may follow
    assert masking.safe_length("nothing of it\n", known) == len("nothing of it\n")
    assert masking.safe_length("a line without an end", known) == 0
    assert masking.safe_length("x" * masking.LONGEST_WAIT, known) == masking.LONGEST_WAIT


def test_an_answer_that_was_lost_doubles_nothing_and_a_gap_is_asked_for(service: Service, sender: Any) -> None:
    assert sender(0, 10, ["run", "stdout", "one\n"]) == 10
    assert sender(0, 10, ["run", "stdout", "one\n"]) == 10  # the answer was lost
    assert sender(30, 40, ["run", "stdout", "four\n"]) == 10  # go on at 10
    assert sender(10, 30, ["run", "stdout", "two\nthree\n"]) == 30
    assert sender(7, 7) == 30
    assert text_of(printed(service, sender.deployment_id)) == "one\ntwo\nthree\n"


def test_a_line_waits_for_its_end_and_comes_with_the_result(service: Service, sender: Any) -> None:
    sender(0, 10, ["run", "stdout", "done\n25%\r50"], ["run", "stderr", "no end"])
    assert text_of(printed(service, sender.deployment_id)) == "done\n25%\r"
    assert sender.end().status_code == 200
    assert [(chunk.stream, chunk.text) for chunk in printed(service, sender.deployment_id)] == [
        ("stdout", "done\n25%\r"),
        ("stdout", "50"),
        ("stderr", "no end"),
    ]
    assert sender(10, 20, ["run", "stdout", "late\n"]) == 410


def test_a_guest_that_floods_is_told_that_all_is_taken_and_little_is_kept(service: Service, sender: Any) -> None:
    line = "x" * 1000 + "\n"
    for number in range(12):
        assert sender(number, number + 1, ["run", "stdout", line * 120]) == number + 1
    chunks = printed(service, sender.deployment_id)
    assert sum(len(chunk.text) for chunk in chunks) <= outputs.MOST_OF_PLAN + 200
    assert chunks[-1].text == outputs.TOO_MUCH.format(whole="plan")


def test_all_plans_of_a_deployment_together_are_bounded(
    service: Service, sender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MOST_OF_DEPLOYMENT", 10)
    sender(0, 1, ["run", "stdout", "12345678\n"])
    sender(1, 2, ["run", "stdout", "12345678\n"])
    sender(2, 3, ["run", "stdout", "12345678\n"])
    texts = [chunk.text for chunk in printed(service, sender.deployment_id)]
    assert texts == ["12345678\n", outputs.TOO_MUCH.format(whole="deployment")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"from": -1, "to": 1, "texts": []}, 400),
        ({"from": 0, "to": 2**60, "texts": []}, 400),
        ({"from": True, "to": 1, "texts": []}, 400),
        ({"from": 0, "to": 1, "texts": "x"}, 400),
        ({"from": 0, "to": 1, "texts": [["a", "stdout"]]}, 400),
        ({"from": 0, "to": 1, "texts": [["a", "stdin", "x"]]}, 400),
        ({"from": 0, "to": 1, "texts": [["a", "stdout", 1]]}, 400),
        ({"from": 0, "to": 1, "texts": [["a", "stdout", ""]] * 501}, 400),
        ({"from": 0, "to": 1, "texts": [["a", "stdout", "x" * 200_000]]}, 413),
    ],
)
def test_what_is_no_output_is_refused(service: Service, sender: Any, body: Any, status: int) -> None:
    assert service.post(f"{sender.guest.id}/output/plan-1", SESSION, body).status_code == status
    assert printed(service, sender.deployment_id) == []


def test_what_no_database_takes_as_text_is_replaced(service: Service, sender: Any) -> None:
    assert sender(0, 1, ["s\0" * 100, "stdout", "a\0b\ud800\n"]) == 1
    [chunk] = printed(service, sender.deployment_id)
    assert (chunk.text, len(chunk.script)) == ("a\ufffdb\ufffd\n", outputs.LONGEST_NAME)


def test_an_agent_sends_output_of_its_own_plans_that_it_took_and_that_somebody_watches(
    service: Service, sender: Any, new_guest: Any
) -> None:
    other = new_guest("i2")
    service.post(f"{other.id}/enrol", other.access["token"], {"session": rows.hash_of("t" * 40)})
    piece = {"from": 0, "to": 1, "texts": [["run", "stdout", "a lie\n"]]}
    stolen = service.post(f"{other.id}/output/plan-1", "t" * 40, piece)
    missing = service.post(f"{other.id}/output/nothing", "t" * 40, piece)
    assert (stolen.status_code, stolen.text) == (missing.status_code, missing.text) == (404, missing.text)
    service.agents.send(sender.guest.id, "plan-2", {})
    assert service.post(f"{sender.guest.id}/output/plan-2", SESSION, piece).status_code == 409
    sender.end()
    assert service.post(f"{sender.guest.id}/poll", SESSION, {"wait": 0}).json()["id"] == "plan-2"
    assert service.post(f"{sender.guest.id}/output/plan-2", SESSION, piece).status_code == 410  # nobody watches it
    assert printed(service, sender.deployment_id) == []


def test_chunks_of_plans_that_run_at_the_same_time_are_numbered_without_a_gap(
    service: Service, sender: Any, new_guest: Any
) -> None:
    other = new_guest("i2")
    service.post(f"{other.id}/enrol", other.access["token"], {"session": rows.hash_of("t" * 40)})
    service.agents.watch(sender.deployment_id, "i2", other.id, "plan-2", {})
    service.agents.send(other.id, "plan-2", {})
    service.post(f"{other.id}/poll", "t" * 40, {"wait": 0})
    for number in range(3):
        sender(number, number + 1, ["a", "stdout", f"a{number}\n"])
        piece = {"from": number, "to": number + 1, "texts": [["b", "stdout", f"b{number}\n"]]}
        assert service.post(f"{other.id}/output/plan-2", "t" * 40, piece).status_code == 200
    chunks = printed(service, sender.deployment_id)
    assert [chunk.number for chunk in chunks] == [1, 2, 3, 4, 5, 6]
    assert [chunk.entity_id for chunk in chunks] == ["i1", "i2"] * 3
    with service.database.reading() as session:
        assert [chunk.number for chunk in outputs.of_deployment(session, sender.deployment_id, after=4)] == [5, 6]


def test_the_output_goes_with_its_deployment(service: Service, sender: Any) -> None:
    sender(0, 1, ["run", "stdout", "x\n"])
    with service.database.transaction() as session:
        session.delete(session.get(catalog.db.environments.Environment, ENVIRONMENT))
    assert printed(service, sender.deployment_id) == []


def test_what_a_deployments_program_runs_is_watched_by_its_deployment(service: Service, new_guest: Any) -> None:
    """From the effect of a program to what people read, with nothing but the cloud made up."""
    guest, deployment_id = new_guest("web").start(), a_deployment(service)
    context = effects.Context(
        deployment_id=deployment_id,
        environment_id=ENVIRONMENT,
        project_id=PROJECT,
        user_id="u",
        owner_project_id=PROJECT,
        owner_user_id="u",
    )
    cloud = services.Cloud(orchestration=recording.Recording(), agents=service.agents)
    plan = {**script_plan("return run().stdout", "echo 'as told'"), "Name": "Tell", "ID": "1"}
    arguments = {"instance_id": "web", "plan": plan, "timeout": 120, "wait": True}
    effect = dsl.Effect(key="0/1", name="agent.run", arguments=arguments, location=None, object_id=None)
    performer = effects.Performer(context, cloud)
    assert performer.perform(effect)["Body"] == "as told"
    assert performer.perform(effect)["Body"] == "as told"  # a worker that takes over asks again
    assert [(chunk.entity_id, chunk.plan, chunk.text) for chunk in printed(service, deployment_id)] == [
        ("web", "Tell", "as told\n")
    ]
    assert guest.log().count("starts") == 1


def test_the_line_at_which_a_plan_hung_is_shown_when_nobody_waits_any_more(service: Service, sender: Any) -> None:
    sender(0, 1, ["run", "stdout", "Do you want to continue? [Y/n] "])
    assert printed(service, sender.deployment_id) == []
    with pytest.raises(http.AgentTimeout):
        stored.withdraw(service.database, sender.guest.id, "plan-1", 1, http.why_no_answer)
    assert text_of(printed(service, sender.deployment_id)) == "Do you want to continue? [Y/n] "
