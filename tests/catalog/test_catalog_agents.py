"""The agents' API as its callers see it: every answer it has, held against the OpenAPI document like all others.

How agents, plans and servers live together is told by tests/agents.
"""

from __future__ import annotations

from typing import Any

import pytest
from catalog_cloud import Client, Cloud

from catalog.db import agents, deployments, outputs

AGENT = "a" * 32
BOOT, OWN = "secret-of-the-boot-data", "secret-of-the-agent"
PLAN = {"FormatVersion": "2.0.0", "Body": "return 1"}


@pytest.fixture
def agent(cloud: Cloud) -> Client:
    """Somebody in a server whose agent is registered."""
    environment_id = cloud.member.environment()["id"]
    with cloud.database.transaction() as session:
        agents.register(
            session,
            agent_id=AGENT,
            environment_id=environment_id,
            project_id=cloud.member.project_id,
            instance_id="vm",
            token_hash=agents.hash_of(BOOT),
        )
    return cloud.anonymous


def call(agent: Client, path: str, body: Any, *, secret: str = OWN, status: int = 200, **headers: str) -> Any:
    authorization = f"Bearer {secret}"
    return agent("POST", f"/agents/v1/{AGENT}/{path}", body, Authorization=authorization, status=status, **headers)


def test_an_agent_enrols_once_waits_for_a_plan_and_hands_in_its_result_once(cloud: Cloud, agent: Client) -> None:
    enrolment = {"session": agents.hash_of(OWN)}
    call(agent, "poll", {"wait": 0}, status=401)
    assert call(agent, "enrol", enrolment, secret=BOOT).json == {}
    call(agent, "enrol", enrolment, secret=BOOT)
    call(agent, "enrol", {"session": agents.hash_of("another")}, secret=BOOT, status=403)
    call(agent, "poll", {"wait": 0, "version": "1.0"}, status=204)
    with cloud.database.transaction() as session:
        agents.queue(session, agent_id=AGENT, plan_id="p1", plan=PLAN, timeout=None)
        agents.queue(session, agent_id=AGENT, plan_id="p2", plan=PLAN, timeout=None)
    call(agent, "results/p2", {"ErrorCode": 0}, status=409)
    delivered = call(agent, "poll", {}).json
    assert (delivered["id"], delivered["plan"]) == ("p1", PLAN)
    piece = {"from": 0, "to": 9, "texts": [["run", "stdout", "one\n"]]}
    call(agent, "output/p1", piece, status=410)
    call(agent, "output/p2", piece, status=409)
    call(agent, "output/p3", piece, status=404)
    with cloud.database.transaction() as session:
        deployment = deployments.submit(
            session,
            environment_id=session.get(agents.Agent, AGENT).environment_id,
            session_id=None,
            project_id=cloud.member.project_id,
            user_id="u",
            kind="delete",
            action=None,
            model={},
            lock=[],
        )
        of = {"deployment_id": deployment.id, "agent_id": AGENT, "entity_id": "vm"}
        outputs.watch(session, **of, plan_id="p1", plan=PLAN)
    assert call(agent, "output/p1", piece).json == {"next": 9}
    call(agent, "output/p1", {"from": 0}, status=400)
    assert call(agent, "results/p1", {"ErrorCode": 0, "Body": 1}).json == {}
    with cloud.database.transaction() as session:
        agents.withdraw(session, "p2")
    call(agent, "results/p2", {"ErrorCode": 0}, status=410)
    call(agent, "results/p3", {"ErrorCode": 0}, status=404)


def test_what_is_no_request_of_an_agent_is_refused_in_its_own_form(agent: Client) -> None:
    call(agent, "enrol", {"session": agents.hash_of(OWN)}, secret=BOOT)
    call(agent, "enrol", {"session": "short"}, secret=BOOT, status=400)
    call(agent, "results/p1", {"ErrorCode": "none"}, status=400)
    call(agent, "results/p1", [1], status=400)
    answer = call(agent, "poll", {"wait": 0}, secret="somebody-elses", status=401)
    assert answer.json["error"]["code"] == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    agent("POST", f"/agents/v1/{AGENT}/poll", {"wait": 0}, status=401)
    call(agent, "poll", {"wait": 0, "boot": "1" * 32}, status=204)
    call(agent, "poll", {"wait": 0, "boot": "2" * 32}, status=204)
    call(agent, "poll", {"wait": 0, "boot": "1" * 32}, status=409)
    too_much = {"wait": 0, "version": "x" * (70 << 10)}
    call(agent, "poll", too_much, status=413)
