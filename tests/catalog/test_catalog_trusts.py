"""Trusts of environments, as requests make, use, replace and end them. Keystone itself is in `tests/openstack`.

A ledger takes Keystone's part: it makes trusts from tokens, and knows which of them work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from catalog_cloud import Client, Cloud, archive_of
from catalog_engine import ScriptedEngine, finish, scripted

from catalog import trusts
from catalog.db import deployments, environments, sessions

MESSAGING = {"exchange": "trusts"}
APP = {"?": {"id": "a1", "type": "org.example.App"}, "name": "web"}


class Ledger:
    """Keystone's trusts, in memory. `made`: all there ever were; `refusal` is raised for the next ones."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.working: set[str] = set()
        self.removed: list[str] = []
        self.refusal: Exception | None = None

    def work(self, trust_id: str, project_id: str) -> bool:
        if isinstance(self.refusal, trusts.Away):
            raise self.refusal
        return trust_id in self.working and self.made[trust_id]["project_id"] == project_id

    def make(
        self, token: str, user_id: str, project_id: str, roles: Sequence[Mapping[str, str]], seconds: int | None = None
    ) -> str:
        if self.refusal is not None:
            raise self.refusal
        trust_id = f"trust-{len(self.made) + 1}"
        self.made[trust_id] = {
            "token": token, "user_id": user_id, "project_id": project_id, "roles": roles, "seconds": seconds,
        }  # fmt: skip
        self.working.add(trust_id)
        return trust_id

    def remove(self, trust_id: str) -> None:
        self.removed.append(trust_id)
        self.working.discard(trust_id)


@pytest.fixture
def overrides() -> dict[str, dict[str, Any]]:
    return {"messaging": MESSAGING, "engine_rpc": {"check_timeout": 10, "plan_timeout": 10}}


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    found = Ledger()
    monkeypatch.setattr(trusts, "configured", lambda conf: found)
    return found


@pytest.fixture
def cloud(ledger: Ledger, cloud: Cloud) -> Cloud:
    """The service, made when the ledger was there already."""
    return cloud


@pytest.fixture(scope="module")
def listening() -> Iterator[ScriptedEngine]:
    with scripted(MESSAGING) as engine:
        yield engine


@pytest.fixture
def engine(listening: ScriptedEngine) -> ScriptedEngine:
    listening.asked.clear()
    listening.answer = None
    return listening


@pytest.fixture
def path(cloud: Cloud, core: None) -> str:
    """The path of an environment that nobody has deployed."""
    cloud.member.upload(archive_of("org.example.App"))
    return f"/v1/environments/{cloud.member.environment()['id']}"


def identifier(path: str) -> str:
    return path.rpartition("/")[2]


def composed(client: Client, path: str) -> str:
    session_id = client.session(identifier(path))
    client("POST", f"{path}/services", APP, X_Configuration_Session=session_id)
    return session_id


def deploy(client: Client, path: str, status: int = 200) -> Any:
    return client("POST", f"{path}/sessions/{client.session(identifier(path))}/deploy", status=status)


def first(cloud: Cloud, path: str) -> None:
    """The first deployment, from begin to end."""
    cloud.member("POST", f"{path}/sessions/{composed(cloud.member, path)}/deploy")
    finish(cloud, identifier(path), {"result": None, "isException": False})


def kept(cloud: Cloud, path: str) -> str | None:
    """The trust that the environment has."""
    with cloud.database.reading() as work:
        environment = environments.get(work, identifier(path))
        assert environment is not None
        return trusts.trust_of(environment.model)


def deployed_with(cloud: Cloud, path: str) -> str | None:
    """The trust of the deployment that is under way."""
    with cloud.database.reading() as work:
        [deployment] = deployments.unfinished(work, identifier(path))
        return trusts.trust_of(deployment.model)


def test_who_deploys_lends_all_roles_of_the_token_in_the_tokens_project(
    cloud: Cloud, path: str, ledger: Ledger
) -> None:
    cloud.member("POST", f"{path}/sessions/{composed(cloud.member, path)}/deploy")
    assert ledger.made == {
        "trust-1": {
            "token": cloud.member.token,
            "user_id": cloud.member.user_id,
            "project_id": cloud.member.project_id,
            "roles": [{"name": "member"}],
            "seconds": None,
        }
    }
    assert deployed_with(cloud, path) == kept(cloud, path) == "trust-1"
    with cloud.database.reading() as work:
        [deployment] = deployments.unfinished(work, identifier(path))
        assert cloud.member.token not in str(deployment.model)
    shown = cloud.member.json("GET", f"{path}/deployments")["deployments"]
    assert "trust-1" not in str(shown)
    assert "trust-1" not in str(cloud.member.json("GET", f"{path}/model/"))


def test_later_deployments_actions_and_the_deletion_use_the_first_users_trust(
    cloud: Cloud, path: str, ledger: Ledger
) -> None:
    first(cloud, path)
    deploy(cloud.colleague, path)
    assert deployed_with(cloud, path) == "trust-1"
    finish(cloud, identifier(path), {"result": None, "isException": False})
    cloud.colleague("POST", f"{path}/actions/a1_scaleUp", {})
    assert deployed_with(cloud, path) == "trust-1"
    finish(cloud, identifier(path), {"result": None, "isException": False})
    cloud.admin("DELETE", path)
    assert deployed_with(cloud, path) == "trust-1"
    assert (list(ledger.made), ledger.removed) == (["trust-1"], [])


def test_a_trust_that_does_not_work_any_more_is_replaced_by_one_of_who_deploys_now(
    cloud: Cloud, path: str, ledger: Ledger
) -> None:
    first(cloud, path)
    ledger.working.clear()
    deploy(cloud.colleague, path)
    assert deployed_with(cloud, path) == kept(cloud, path) == "trust-2"
    assert ledger.made["trust-2"]["user_id"] == cloud.colleague.user_id


def test_a_session_from_before_does_not_bring_an_old_trust_back(cloud: Cloud, path: str, ledger: Ledger) -> None:
    old = composed(cloud.member, path)
    with cloud.database.transaction() as work:
        row, environment = sessions.get(work, old), environments.get(work, identifier(path))
        assert row is not None
        assert environment is not None
        row.model = trusts.with_trust(row.model, "trust-of-somebody")
    cloud.member("POST", f"{path}/sessions/{old}/deploy")
    assert deployed_with(cloud, path) == "trust-1"


@pytest.mark.parametrize(
    ("refusal", "status"), [(trusts.Refused("no roles to lend"), 403), (trusts.Away("no route to Keystone"), 503)]
)
def test_where_no_trust_can_be_made_nothing_is_deployed_or_deleted(
    cloud: Cloud, path: str, ledger: Ledger, refusal: Exception, status: int
) -> None:
    first(cloud, path)
    before = cloud.member.json("GET", f"{path}/deployments")
    session_id = cloud.member.session(identifier(path))
    ledger.working.clear()
    ledger.refusal = refusal
    for method, what in (
        ("POST", f"{path}/sessions/{session_id}/deploy"),
        ("POST", f"{path}/actions/a1_scaleUp"),
        ("DELETE", path),
    ):
        answer = cloud.member(method, what, {} if "actions" in what else None, status=status)
        assert str(refusal) in answer.text
    assert cloud.member.json("GET", f"{path}/deployments") == before
    assert cloud.member.json("GET", path)["status"] == "pending"
    ledger.refusal = None
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy")


def test_nobody_lends_anything_for_what_is_refused_anyway(cloud: Cloud, path: str, ledger: Ledger) -> None:
    session_id = composed(cloud.member, path)
    cloud.stranger("POST", f"{path}/sessions/{session_id}/deploy", status=403)
    cloud.reader("POST", f"{path}/sessions/{session_id}/deploy", status=403)
    cloud.member("POST", f"{path}/actions/a1_scaleUp", {}, status=404)
    cloud.member("POST", f"/v1/environments/{'0' * 32}/sessions/{session_id}/deploy", status=400)
    assert ledger.made == {}


def test_a_trust_for_a_deployment_that_did_not_come_about_is_ended(cloud: Cloud, path: str, ledger: Ledger) -> None:
    session_id = cloud.member.session(identifier(path))
    unknown = {"?": {"id": "x", "type": "org.example.Unknown"}}
    cloud.member("POST", f"{path}/services", unknown, X_Configuration_Session=session_id)
    cloud.member("POST", f"{path}/sessions/{session_id}/deploy", status=400)
    assert ledger.removed == ["trust-1"]
    assert kept(cloud, path) is None


def test_an_administrator_of_another_project_has_nothing_to_lend(cloud: Cloud, path: str, ledger: Ledger) -> None:
    first(cloud, path)
    ledger.working.clear()
    answer = cloud.admin("DELETE", path, status=403)
    assert cloud.member.project_id in answer.text
    assert list(ledger.made) == ["trust-1"]


@pytest.mark.parametrize("query", ["", "?abandon=true"])
def test_an_environment_that_goes_at_once_takes_its_trust_along(
    cloud: Cloud, path: str, ledger: Ledger, query: str
) -> None:
    if query:
        first(cloud, path)
    else:
        with cloud.database.transaction() as work:
            environment = environments.get(work, identifier(path))
            assert environment is not None
            environment.model = trusts.with_trust(environment.model, "trust-1")
    cloud.member("DELETE", f"{path}{query}")
    assert ledger.removed == ["trust-1"]
    cloud.member("GET", path, status=404)


def test_a_check_of_what_was_never_deployed_borrows_a_trust_for_the_question(
    cloud: Cloud, path: str, ledger: Ledger, engine: ScriptedEngine
) -> None:
    engine.answer = {"problems": [], "notes": []}
    assert cloud.member.json("POST", f"{path}/check") == engine.answer
    engine.answer = {"steps": [], "hash": "0" * 64, "moment": 1.0}
    cloud.member("POST", f"{path}/plan", {})
    assert [trusts.trust_of(arguments["model"]) for _name, arguments in engine.asked] == ["trust-1", "trust-2"]
    assert ledger.removed == ["trust-1", "trust-2"]
    assert [made["seconds"] for made in ledger.made.values()] == [600, 600]
    assert kept(cloud, path) is None


def test_a_question_about_what_is_deployed_uses_its_trust(
    cloud: Cloud, path: str, ledger: Ledger, engine: ScriptedEngine
) -> None:
    first(cloud, path)
    engine.answer = {"problems": [], "notes": []}
    cloud.admin("POST", f"{path}/check")
    assert trusts.trust_of(engine.asked[-1][1]["model"]) == "trust-1"
    ledger.working.clear()
    cloud.admin("POST", f"{path}/check")  # with no rights in the project to lend
    assert trusts.trust_of(engine.asked[-1][1]["model"]) is None
    assert ledger.removed == []


def test_a_check_tells_that_no_trust_can_be_made_beside_all_other_problems(
    cloud: Cloud, path: str, ledger: Ledger, engine: ScriptedEngine
) -> None:
    ledger.refusal = trusts.Refused("no roles to lend")
    missing = {"object_id": "a1", "type": "org.example.App", "path": "db", "message": "is missing"}
    missing = {**missing, "expected": None, "found": None, "fix": None}
    engine.answer = {"problems": [missing], "notes": []}
    told, other = cloud.member.json("POST", f"{path}/check")["problems"]
    assert told["message"] == "no roles to lend"
    assert told["object_id"] is None
    assert other == missing
    cloud.member("POST", f"{path}/plan", {}, status=403)


def test_a_static_action_has_a_trust_while_it_runs(
    cloud: Cloud, path: str, ledger: Ledger, engine: ScriptedEngine
) -> None:
    engine.answer = "fine"
    cloud.member("POST", "/v1/actions", {"className": "org.example.App", "methodName": "greet"})
    assert engine.asked[-1][1]["trust_id"] == "trust-1"
    assert ledger.removed == ["trust-1"]


def test_a_retry_goes_on_with_the_trust_that_works(cloud: Cloud, path: str, ledger: Ledger) -> None:
    first(cloud, path)
    deploy(cloud.member, path)
    [failed] = [each["id"] for each in cloud.member.json("GET", f"{path}/deployments")["deployments"]][:1]
    finish(cloud, identifier(path), {"result": {"message": "stuck"}, "isException": True})
    with cloud.database.transaction() as work:
        work.get_one(deployments.Deployment, failed).failure = {"effects": 0}
    ledger.refusal = trusts.Refused("no roles to lend")
    ledger.working.clear()
    cloud.member("POST", f"{path}/deployments/{failed}/retry", status=403)
    cloud.member("POST", f"{path}/deployments/{'0' * 32}/retry", status=404)
    ledger.refusal = None
    cloud.colleague("POST", f"{path}/deployments/{failed}/retry")
    assert deployed_with(cloud, path) == kept(cloud, path) == "trust-2"


def test_who_looks_for_leftovers_lends_a_trust_for_it_if_there_is_one_to_lend(
    cloud: Cloud, path: str, ledger: Ledger, engine: ScriptedEngine
) -> None:
    engine.answer = {"leftovers": [], "drift": [], "foreign": [], "skipped": [], "problems": []}
    cloud.member("POST", "/v1/reconciliations", {})
    assert (engine.asked[-1][1]["trust_id"], ledger.removed) == ("trust-1", ["trust-1"])
    ledger.refusal = trusts.Refused("no roles to lend")
    cloud.member("POST", "/v1/reconciliations", {})
    assert engine.asked[-1][1]["trust_id"] is None
    ledger.refusal = None
    cloud.admin("POST", "/v1/reconciliations", {"tenant_id": cloud.member.project_id})
    assert engine.asked[-1][1]["trust_id"] is None

    engine.answer = {
        "stack_id": "s1", "name": "stack", "region": None, "project_id": "p", "environment_id": None,
        "environment_name": None, "status": None, "reason": "its environment is gone",
    }  # fmt: skip
    cloud.member("DELETE", "/v1/leftovers/s1")  # goes on after the answer
    assert (engine.asked[-1][1]["trust_id"], ledger.removed) == ("trust-2", ["trust-1"])
    assert ledger.made["trust-2"]["seconds"] == 600
