"""No route asks the database once per row: so many statements at most, however much there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from catalog_cloud import Client, Cloud, archive_of
from sqlalchemy import event

from catalog.api.v1 import urls
from catalog.db import categories, deployments, instance_stats, statuses
from catalog.db.base import Database, now

FEW, MORE = 2, 9  # of everything
# Statements of one request, that of the token included, by path of the URL map.
BOUNDS = {
    "/environments": 5,
    urls.E: 9,
    f"{urls.E}/lastStatus": 7,
    f"{urls.E}/topology": 6,
    f"{urls.E}/sessions/{{session}}": 7,
    f"{urls.E}/services{{path...}}": 7,
    f"{urls.E}/model/{{path...}}": 6,
    f"{urls.E}/deployments": 6,
    f"{urls.E}/deployments/{{deployment}}/output": 6,
    f"{urls.E}/receipt": 6,
    "/deployments": 5,
    "/receipts": 4,
    "/reconciliations": 5,
    f"{urls.E}/deployments/{{deployment}}": 6,
    f"{urls.E}/actions/{{action}}": 5,
    f"{urls.E}/instance-statistics/raw": 5,
    f"{urls.E}/instance-statistics/raw/{{instance}}": 5,
    f"{urls.E}/instance-statistics/aggregated": 5,
    "/stats": 3,
    "/templates": 4,
    urls.T: 4,
    f"{urls.T}/services{{path...}}": 4,
    "/catalog/packages": 4,
    urls.P: 4,
    f"{urls.P}/ui": 8,
    f"{urls.P}/logo": 7,
    f"{urls.P}/supplier_logo": 7,
    f"{urls.P}/download": 8,
    f"{urls.P}/dependencies": 15,
    f"{urls.P}/dependents": 9,
    f"{urls.P}/shares": 8,
    "/catalog/categories": 5,
    "/catalog/categories/{category}": 5,
    "/catalog/repositories": 3,
}
# The engine answers these, a repository, or a stream that goes on asking.
ELSEWHERE = {
    "/schemas/{class}",
    "/schemas/{class}/{methods}",
    "/catalog/repositories/search",
    f"{urls.E}/deployments/{{deployment}}/events",
}


@contextlib.contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.fixture
def names(cloud: Cloud, core: None) -> dict[str, str]:
    """What `{...}` in the paths stands for; `fill` adds to them."""
    member = cloud.member
    environment = member.environment("the-one")["id"]
    template = member.json("POST", "/v1/templates", {"name": "the-one"})["id"]
    package = member.upload(archive_of("org.example.Main"), {"categories": ["Web"], "tags": ["t"]}).json["id"]
    with cloud.database.reading() as session:
        category = session.scalar(sa.select(categories.Category.id).where(categories.Category.name == "Web"))
    known = {"environment": environment, "template": template, "package": package, "category": category or ""}
    return {**known, "session": member.session(environment), "instance": "i0"}


def fill(cloud: Cloud, names: dict[str, str], first: int, last: int) -> None:
    """So many more of everything: environments, and in the one, applications, sessions, deployments with reports."""
    member, environment = cloud.member, names["environment"]
    in_session = {"X_Configuration_Session": names["session"]}
    for number in range(first, last):
        application = {"?": {"id": f"a{number}", "type": "org.example.Main"}, "name": f"a{number}"}
        member("POST", f"/v1/environments/{environment}/services", application, **in_session)
        member("POST", f"/v1/templates/{names['template']}/services", application)
        member.session(member.environment(f"e{number}")["id"])
        member.session(environment)
        member("POST", "/v1/templates", {"name": f"t{number}"})
        tags = {"categories": ["Web"], "tags": ["t", f"t{number}"]}
        member.upload(archive_of(f"org.example.P{number}", require={"org.example.Main": ">=0"}), tags)
        names["action"] = names["deployment"] = deployed(cloud.database, member, environment, number)


def deployed(database: Database, member: Client, environment: str, number: int) -> str:
    """The id of a deployment that has ended, with reports and an instance."""
    with database.transaction() as session:
        row = deployments.Deployment(
            environment_id=environment,
            project_id=member.project_id,
            user_id=member.user_id,
            kind="action",
            action={"object_id": "a0", "method": "m", "args": {}},
            model={"Objects": None},
            lock=[],
            state=deployments.FINISHED,
            result={"result": None, "isException": False},
            started=now(),
            finished=now(),
        )
        session.add(row)
        session.flush()
        for _ in range(number + 1):
            statuses.add(
                session, deployment_id=row.id, environment_id=environment, level="info", text="t", entity_id="a0"
            )
        instance_stats.track(
            session,
            environment_id=environment,
            instance_id=f"i{number}",
            instance_type=1,
            type_name="t",
            type_title="t",
            unit_count=1,
            project_id=member.project_id,
        )
        return row.id


def test_every_route_that_reads_has_a_bound_here() -> None:
    assert {route.path for route in urls.ROUTES if route.method == "GET"} == set(BOUNDS) | ELSEWHERE


def test_no_route_asks_more_when_there_is_more(cloud: Cloud, names: dict[str, str]) -> None:
    fill(cloud, names, 0, FEW)
    few = statements(cloud, names)
    fill(cloud, names, FEW, MORE)
    more = statements(cloud, names)
    grown = {path: (len(few[path]), found) for path, found in more.items() if len(found) > len(few[path])}
    assert grown == {}
    beyond = {path: found for path, found in more.items() if len(found) > BOUNDS[path]}
    assert beyond == {}


def statements(cloud: Cloud, names: dict[str, str]) -> dict[str, list[str]]:
    """What each route asks, applications and models as the session has them; the second time, caches being filled."""
    found = {}
    for path in BOUNDS:
        url = "/v1" + path.replace("{path...}", "/").format(**names)
        caller = cloud.admin if path in ("/stats", "/reconciliations") else cloud.member
        headers = {"X_Configuration_Session": names["session"]} if path.startswith(urls.E) else {}
        allowed = None if "logo" in path or path.endswith("/ui") else 200  # these packages have none
        caller("GET", url, status=allowed, **headers)
        with counted(cloud.database) as seen:
            caller("GET", url, status=allowed, **headers)
        found[path] = seen
    return found
