"""Restarts, lost answers and duplicates: every plan runs once, no result is lost."""

from __future__ import annotations

import datetime
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agents_world import ENVIRONMENT, PROJECT, Service, script_plan, wait_until

from catalog.api import agents as agents_api
from catalog.db import agents as table
from engine.agents import boot, http, stored

COUNT = "open(args.path, 'a').write('x'); return open(args.path).read()"


def counting(path: pathlib.Path, body: str = COUNT) -> dict[str, Any]:
    return {"FormatVersion": "2.0.0", "Body": body, "Parameters": {"path": str(path)}}


def test_asking_again_for_the_same_plan_gives_the_same_result(new_guest: Any, tmp_path: pathlib.Path) -> None:
    guest = new_guest().start()
    first = guest.run(counting(tmp_path / "n"), "plan-1")
    assert first["Body"] == "x"
    assert guest.run(counting(tmp_path / "n"), "plan-1") == first
    assert guest.run(counting(tmp_path / "n"), "plan-2")["Body"] == "xx"


def test_two_workers_waiting_for_one_plan_both_get_its_result(new_guest: Any, tmp_path: pathlib.Path) -> None:
    guest = new_guest().start()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: guest.run(counting(tmp_path / "n"), "plan-1"), range(8)))
    assert {result["ID"] for result in results} == {results[0]["ID"]}
    assert results[0]["Body"] == "x"


def test_plans_run_in_the_order_they_were_sent(service: Service, new_guest: Any, tmp_path: pathlib.Path) -> None:
    guest = new_guest()
    for number in range(5):
        body = f"open(args.path, 'a').write('{number}')"
        service.agents.send(guest.id, f"plan-{number}", counting(tmp_path / "n", body))
    guest.start()
    assert guest.run(counting(tmp_path / "n", "return open(args.path).read()"))["Body"] == "01234"


def test_a_lost_answer_makes_the_agent_send_the_stored_result(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    guest.run(counting(tmp_path / "n"), "plan-1")
    with service.database.transaction() as session:  # as if the result had never arrived
        row = session.get(table.AgentPlan, "plan-1")
        row.state, row.result = table.SENT, None
    assert guest.run(counting(tmp_path / "n"), "plan-1")["Body"] == "x"
    assert (tmp_path / "n").read_text() == "x"


def test_a_service_that_restarts_is_met_again(service: Service, new_guest: Any, tmp_path: pathlib.Path) -> None:
    guest = new_guest().start()
    guest.run(counting(tmp_path / "n"))
    begun = time.monotonic()
    service.stop()
    assert time.monotonic() - begun < 15, "the waiting poll holds the service"
    service.start()
    assert guest.run(counting(tmp_path / "n"))["Body"] == "xx"


def test_a_result_made_while_the_service_is_away_arrives_later(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    plan = counting(tmp_path / "n", "import time; open(args.path, 'a').write('x'); time.sleep(0.6); return 'made'")
    service.agents.send(guest.id, "plan-1", plan)
    wait_until((tmp_path / "n").exists)
    service.stop()
    wait_until(lambda: list(guest.storage.glob("plans/*/result.json")))
    service.start()
    assert guest.run(plan, "plan-1")["Body"] == "made"
    assert (tmp_path / "n").read_text() == "x"


def test_an_agent_killed_while_a_plan_runs_takes_up_its_result_afterwards(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    plan = counting(tmp_path / "n", "import time; open(args.path, 'a').write('x'); time.sleep(0.6); return 'survived'")
    service.agents.send(guest.id, "plan-1", plan)
    wait_until((tmp_path / "n").exists)
    guest.kill()
    guest.start()
    assert guest.run(plan, "plan-1")["Body"] == "survived"
    assert (tmp_path / "n").read_text() == "x"


def test_a_plan_interrupted_by_a_reboot_is_an_error_and_not_run_again(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    plan = counting(tmp_path / "n", "import time, os; open(args.path, 'a').write(str(os.getpid())); time.sleep(60)")
    service.agents.send(guest.id, "plan-1", plan)
    wait_until((tmp_path / "n").exists)
    guest.kill()
    entry = guest.storage / "plans" / "plan-1" / "process.json"
    process = json.loads(entry.read_text())
    entry.write_text(json.dumps({**process, "boot": "an earlier one"}))
    try:
        guest.start()
        result = guest.run(plan, "plan-1")
    finally:
        entry.write_text(json.dumps(process))  # so that the fixture ends the process
    assert result["ErrorCode"] == 1
    assert "the server was restarted while the plan ran" in result["Body"]["Message"]


@pytest.fixture
def restarts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """`restarts()` says how often servers were told to restart; the stand-in for it does nothing else."""
    folder, told = tmp_path / "bin", tmp_path / "restarts"
    folder.mkdir()
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: told.read_text().splitlines() if told.exists() else []


def after_the_restart(text: str) -> str:
    return text.replace('return f"{kernel}/{process_begun(1)}"', 'return "the next boot"')


def test_a_plan_may_want_a_restart_which_comes_after_its_result_and_before_the_next_plan(
    service: Service, new_guest: Any, tmp_path: pathlib.Path, restarts: Any
) -> None:
    guest = new_guest().start()
    upgrade = {**counting(tmp_path / "n", "return 'a new kernel'"), "RebootOnCompletion": 1}
    assert guest.run(upgrade, "plan-1")["Body"] == "a new kernel"  # it is there whether the server comes back or not
    service.agents.send(guest.id, "plan-2", counting(tmp_path / "n"))
    wait_until(restarts)
    guest.kill()
    assert not (tmp_path / "n").exists(), "the next plan is not cut in two by the restart"
    guest.start(source=after_the_restart(boot.agent_source()))
    assert guest.run(counting(tmp_path / "n"), "plan-2")["Body"] == "x"
    assert restarts() == ["reboot"]


def test_a_restart_is_still_to_come_when_the_agent_died_before_it(
    service: Service, new_guest: Any, tmp_path: pathlib.Path, restarts: Any
) -> None:
    guest = new_guest().start()
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    plan = {"FormatVersion": "2.0.0", "Body": wait, "RebootOnCompletion": 2}
    service.agents.send(guest.id, "plan-1", plan)
    wait_until(lambda: list(guest.storage.glob("plans/plan-1/process.json")))
    guest.kill()
    go.touch()
    wait_until(lambda: list(guest.storage.glob("plans/plan-1/result.json")))
    guest.start()
    assert guest.run(plan, "plan-1")["ErrorCode"] == 0
    wait_until(restarts)


@pytest.mark.parametrize(
    ("wanted", "body", "count"), [(1, "raise Exception('no')", 0), (2, "raise Exception('no')", 1)]
)
def test_a_plan_that_failed_restarts_the_server_only_if_it_wants_that_in_any_case(
    new_guest: Any, restarts: Any, wanted: int, body: str, count: int
) -> None:
    guest = new_guest().start()
    assert guest.run({"FormatVersion": "2.0.0", "Body": body, "RebootOnCompletion": wanted})["ErrorCode"] == 1
    if count:
        wait_until(restarts)
    else:
        assert guest.value("return 'no restart before this'")
        assert restarts() == []


def test_a_plan_that_takes_too_long_is_withdrawn_and_stopped(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest().start()
    plan = script_plan("run()", f"echo $$ > {tmp_path}/pid; sleep 3000")
    with pytest.raises(http.AgentTimeout, match=r"within 5 seconds: it took the plan \d+ s ago"):
        guest.run(plan, "plan-1", timeout=5)
    assert guest.value("return 'the next one runs'") == "the next one runs"
    wait_until(lambda: not pathlib.Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists())
    with pytest.raises(http.AgentTimeout):  # withdrawn is withdrawn, also for a worker that asks again
        guest.run(plan, "plan-1", timeout=5)


def test_the_time_of_a_plan_counts_from_when_it_was_queued_first(service: Service, new_guest: Any) -> None:
    """... whoever waits, and who goes on has a few seconds at least: the result may be there, and nobody took it."""
    guest = new_guest()

    def left(timeout: float, passed: float) -> float:
        with service.database.transaction() as session:
            row = session.get_one(table.AgentPlan, "plan-1")
            assert row.deadline is not None
            row.deadline -= datetime.timedelta(seconds=passed)
        return stored.queue(service.database, guest.id, "plan-1", {}, timeout)

    assert 3500 < stored.queue(service.database, guest.id, "plan-1", {}, 3600.0) <= 3600
    assert 2500 < left(3600.0, 1000.0) <= 2600
    assert 10 < left(3600.0, 10_000.0) <= table.ANOTHER_WAIT_SECONDS
    assert left(1.0, 0.0) <= 1


def test_a_timeout_says_what_is_known_about_the_agent(new_guest: Any) -> None:
    guest = new_guest()
    with pytest.raises(TimeoutError, match="it has never enrolled"):
        guest.run({}, timeout=0.1)
    guest.start()
    guest.value("return 1")
    guest.kill()  # its poll may still wait in the service, and be given the plan
    with pytest.raises(http.AgentTimeout, match=r"(last seen|took the plan) \d+ s ago"):
        guest.run({}, timeout=0.1)


def test_a_worker_may_leave_and_the_plan_stays(new_guest: Any, tmp_path: pathlib.Path) -> None:
    class LeaseLost(Exception):
        pass

    def check() -> None:
        raise LeaseLost

    guest = new_guest()
    with pytest.raises(LeaseLost):
        guest.run(counting(tmp_path / "n"), "plan-1", check=check)
    guest.start()
    assert guest.run(counting(tmp_path / "n"), "plan-1")["Body"] == "x"


def test_a_plan_nobody_waits_for_runs_even_after_its_time(
    service: Service, new_guest: Any, tmp_path: pathlib.Path
) -> None:
    guest = new_guest()
    service.agents.send(
        guest.id, "plan-1", counting(tmp_path / "n", "import time; time.sleep(0.5); return 'ran'"), 0.01
    )
    time.sleep(0.1)
    guest.start()
    wait_until(lambda: list(guest.storage.glob("plans/*/result.json")))
    assert "'ran'" in str(json.loads(next(guest.storage.glob("plans/*/result.json")).read_text()))


def test_a_plan_id_means_one_plan_of_one_agent(service: Service, new_guest: Any) -> None:
    guest, other = new_guest("i1").start(), new_guest("i2")
    guest.run({"FormatVersion": "2.0.0"}, "plan-1")
    with pytest.raises(table.PlanConflict, match="another plan"):
        guest.run({"FormatVersion": "2.1.0"}, "plan-1")
    with pytest.raises(table.PlanConflict, match="another agent"):
        other.run({"FormatVersion": "2.0.0"}, "plan-1")


def test_strange_plan_ids_are_refused_before_anything_happens(service: Service, new_guest: Any) -> None:
    guest = new_guest()
    for plan_id in ("../../../tmp/x", "0/17", "a b", "ü", ".", "", "x" * 129):
        with pytest.raises(ValueError, match="plan id"):
            guest.service.agents.run(guest.id, plan_id, {}, 1)


def test_boot_data_that_runs_again_and_lost_enrolments_do_no_harm(service: Service, new_guest: Any) -> None:
    guest = new_guest().start()
    assert guest.value("return 1") == 1
    guest.kill()
    guest.access = service.agents.register(ENVIRONMENT, PROJECT, "i1")
    guest.start()
    assert guest.value("return 2") == 2
    again = service.post(f"{guest.id}/enrol", guest.access["token"], {"session": table.hash_of(guest.session)})
    assert again.status_code == 200  # the agent repeats an enrolment whose answer was lost


def test_a_replaced_server_enrols_after_the_next_registration(service: Service, new_guest: Any) -> None:
    old, new = new_guest().start(), new_guest()
    assert old.value("return 'old'") == "old"
    new.access = service.agents.register(ENVIRONMENT, PROJECT, "i1")
    new.start()
    wait_until(lambda: "the agent of this server is alive" in new.log())  # Heat deletes the old one after that
    old.kill()
    with service.database.transaction() as session:  # a minute later
        session.get(table.Agent, old.id).seen -= datetime.timedelta(seconds=60)
    wait_until(lambda: "enrolled" in new.log())
    assert service.post(f"{old.id}/poll", old.session, {"wait": 0}).status_code == 401
    assert new.value("return args.storage", storage="new") == "new"


def test_a_second_agent_on_the_same_storage_leaves(new_guest: Any) -> None:
    guest = new_guest().start()
    assert guest.value("return 1") == 1
    first = guest.process
    guest.start(reads_boot_data_again=False)
    assert guest.process.wait(10) == 0
    assert "an agent already runs" in guest.log()
    guest.process = first
    assert guest.value("return 2") == 2


def test_the_daemon_survives_its_parent(new_guest: Any, tmp_path: pathlib.Path) -> None:
    guest = new_guest()
    guest.access["log_file"] = str(tmp_path / "daemon.log")
    guest.start()
    guest.value("return 1")
    guest.kill()
    guest.process = None
    command = [sys.executable, guest.folder / "agent.py", "--config", guest.folder / "agent.json", "--daemon"]
    assert subprocess.run(command, timeout=60).returncode == 0
    pid = guest.value("import os; return os.getppid()")
    assert "enrolled" not in (tmp_path / "daemon.log").read_text()  # it has its session already
    os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("version", ["3.6.15", "3.8.18", "3.13.0"])
def test_other_pythons_run_the_agent(version: str, new_guest: Any, tmp_path: pathlib.Path) -> None:
    python = pathlib.Path.home() / ".pyenv" / "versions" / version / "bin" / "python"
    if not python.exists():
        pytest.skip(f"Python {version} is not installed")
    guest = new_guest(python=str(python)).start()
    body = "import sys\nfor k, v in args.d.iteritems():\n  return [list(sys.version_info[:2]), k, run('x').stdout]"
    plan = script_plan(body, "echo hello $1")
    plan["Parameters"] = {"d": {"k": 1}}
    assert guest.run(plan)["Body"] == [[int(part) for part in version.split(".")[:2]], "k", "hello x"]
    assert "f'" not in guest.log()


def test_a_plan_queued_while_the_agent_polls_arrives_at_once(new_guest: Any) -> None:
    guest = new_guest().start()
    guest.value("return 1")
    begun = time.monotonic()
    for _ in range(10):
        guest.value("return 1")
    assert (time.monotonic() - begun) / 10 < 10, "each waited for the end of a poll"


def test_more_agents_than_may_wait_come_back_later(service: Service) -> None:
    app = agents_api.agents_app(service.database, wait=2, waiters=1)
    statuses: list[tuple[str, dict[str, str]]] = []
    accesses = [service.agents.register(ENVIRONMENT, PROJECT, f"i{number}") for number in range(2)]
    sessions = [uuid.uuid4().hex for _ in accesses]
    for access, session in zip(accesses, sessions, strict=True):
        path, body = f"{access['agent_id']}/enrol", {"session": table.hash_of(session)}
        assert service.post(path, access["token"], body).status_code == 200

    def poll(number: int) -> None:
        environ = {
            "PATH_INFO": f"/agents/v1/{accesses[number]['agent_id']}/poll",
            "REQUEST_METHOD": "POST",
            "HTTP_AUTHORIZATION": f"Bearer {sessions[number]}",
            "CONTENT_LENGTH": "0",
            "wsgi.input": io.BytesIO(),
        }
        app(environ, lambda status, headers: statuses.append((status, dict(headers))))

    first = threading.Thread(target=poll, args=(0,))
    first.start()
    time.sleep(0.2)
    poll(1)
    assert statuses == [("204 No Content", {"Retry-After": "2", "Content-Length": "0", "Cache-Control": "no-store"})]
    app.close()
    first.join(60)
    assert len(statuses) == 2
