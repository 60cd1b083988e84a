"""Who may call what: every route of the OpenAPI document by everybody there is, and what a stranger learns from it.

The table has the status codes: nobody in particular, a reader and a member of the project that owns what is in the
path, a member of another project, an administrator (of a project of his own). A stranger who asks for an environment
gets the 403 that Murano's clients and tests expect (spec/api-v1 §4.1), and nothing with it that was not in the request.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from catalog_cloud import CORE, Accounts, Client, Cloud, archive_of, cloud_of, multipart
from catalog_engine import ScriptedEngine, finish, scripted

from catalog import config, packages, service
from catalog.api import openapi
from catalog.db.base import Database

PEOPLE = ("anonymous", "reader", "stranger", "member", "admin")  # who may do something comes after who may not
TABLE = """
                                                                anonymous reader member stranger admin
GET    /v1/environments                                               401    200    200      200   200
POST   /v1/environments                                               401    403    200      200   200
GET    /v1/environments/{environment}                                 401    200    200      403   200
PUT    /v1/environments/{environment}                                 401    403    200      403   200
DELETE /v1/environments/{environment}                                 401    403    200      403   200
GET    /v1/environments/{environment}/lastStatus                      401    200    200      403   200
GET    /v1/environments/{environment}/topology                        401    200    200      403   200
GET    /v1/environments/{environment}/receipt                         401    200    200      403   200
GET    /v1/receipts                                                   401    200    200      200   200
GET    /v1/reconciliations                                            401    403    403      403   200
POST   /v1/reconciliations                                            401    403    200      403   200
DELETE /v1/leftovers/{stack}                                          401    403    200      200   200
POST   /v1/environments/{environment}/check                           401    200    200      403   200
POST   /v1/environments/{environment}/plan                            401    200    200      403   200
POST   /v1/environments/{environment}/configure                       401    403    200      403   200
GET    /v1/environments/{environment}/sessions/{session}              401    403    200      403   403
DELETE /v1/environments/{environment}/sessions/{session}              401    403    200      403   403
POST   /v1/environments/{environment}/sessions/{session}/deploy       401    403    200      403   200
GET    /v1/environments/{environment}/services                        401    200    200      403   200
POST   /v1/environments/{environment}/services                        401    403    200      403   200
PUT    /v1/environments/{environment}/services                        401    403    200      403   200
DELETE /v1/environments/{environment}/services                        401    403    200      403   200
GET    /v1/environments/{environment}/services/{path}                 401    200    200      403   200
POST   /v1/environments/{environment}/services/{path}                 401    404    404      404   404
PUT    /v1/environments/{environment}/services/{path}                 401    403    200      403   200
DELETE /v1/environments/{environment}/services/{path}                 401    403    200      403   200
GET    /v1/environments/{environment}/model/                          401    200    200      403   200
PATCH  /v1/environments/{environment}/model/                          401    403    200      403   200
GET    /v1/environments/{environment}/model/{path}                    401    200    200      403   200
GET    /v1/deployments                                                401    200    200      200   200
GET    /v1/environments/{environment}/deployments                     401    200    200      403   200
GET    /v1/environments/{environment}/deployments/{deployment}        401    200    200      403   200
GET    /v1/environments/{environment}/deployments/{deployment}/events 401    200    200      403   200
GET    /v1/environments/{environment}/deployments/{deployment}/output 401    200    200      403   200
POST   /v1/environments/{environment}/deployments/{deployment}/cancel 401    403    200      403   200
POST   /v1/environments/{environment}/deployments/{deployment}/retry  401    403    409      403   409
POST   /v1/environments/{environment}/actions/{action}                401    403    200      403   200
GET    /v1/environments/{environment}/actions/{action}                401    403    200      403   200
POST   /v1/actions                                                    401    403    200      404   404
GET    /v1/environments/{environment}/instance-statistics/raw         401    200    200      403   200
GET    /v1/environments/{environment}/instance-statistics/raw/{instance} 401 200    200      403   200
GET    /v1/environments/{environment}/instance-statistics/aggregated  401    200    200      403   200
GET    /v1/stats                                                      401    403    403      403   200
GET    /v1/templates                                                  401    200    200      200   200
POST   /v1/templates                                                  401    403    200      200   200
GET    /v1/templates/{template}                                       401    200    200      403   200
PUT    /v1/templates/{template}                                       401    403    200      403   200
DELETE /v1/templates/{template}                                       401    403    200      403   200
POST   /v1/templates/{template}/clone                                 401    403    200      200   200
POST   /v1/templates/{template}/create-environment                    401    403    200      403   200
GET    /v1/templates/{template}/services                              401    200    200      403   403
POST   /v1/templates/{template}/services                              401    403    200      403   403
GET    /v1/templates/{template}/services/{path}                       401    200    200      403   403
PUT    /v1/templates/{template}/services/{path}                       401    403    200      403   403
DELETE /v1/templates/{template}/services/{path}                       401    403    200      403   403
GET    /v1/catalog/packages                                           401    200    200      200   200
POST   /v1/catalog/packages                                           401    403    200      200   200
GET    /v1/catalog/packages/{package}                                 401    200    200      403   200
PATCH  /v1/catalog/packages/{package}                                 401    403    200      403   200
DELETE /v1/catalog/packages/{package}                                 401    403    200      403   200
GET    /v1/catalog/packages/{package}/ui                              401    200    200      403   200
GET    /v1/catalog/packages/{package}/logo                            401    200    200      403   200
GET    /v1/catalog/packages/{package}/supplier_logo                   401    200    200      403   200
GET    /v1/catalog/packages/{package}/download                        401    200    200      403   200
GET    /v1/catalog/packages/{package}/dependencies                    401    200    200      403   200
GET    /v1/catalog/packages/{package}/dependents                      401    200    200      403   200
PUT    /v1/catalog/packages/{package}/lifecycle                       401    403    200      403   200
GET    /v1/catalog/packages/{package}/shares                          401    403    200      403   200
PUT    /v1/catalog/packages/{package}/shares/{project}                401    403    200      403   200
DELETE /v1/catalog/packages/{package}/shares/{project}                401    403    200      403   200
GET    /v1/catalog/categories                                         401    200    200      200   200
POST   /v1/catalog/categories                                         401    403    403      403   200
GET    /v1/catalog/categories/{category}                              401    200    200      200   200
DELETE /v1/catalog/categories/{category}                              401    403    403      403   200
GET    /v1/catalog/repositories                                       401    200    200      200   200
GET    /v1/catalog/repositories/search                                401    200    200      200   200
POST   /v1/catalog/imports                                            401    403    404      404   404
POST   /v1/catalog/imports/file                                       401    403    200      200   200
GET    /v1/schemas/{class}                                            401    200    200      404   404
GET    /v1/schemas/{class}/{methods}                                  401    200    200      404   404
POST   /agents/v1/{agent}/enrol                                       401    401    401      401   401
POST   /agents/v1/{agent}/poll                                        401    401    401      401   401
POST   /agents/v1/{agent}/output/{plan}                               401    401    401      401   401
POST   /agents/v1/{agent}/results/{plan}                              401    401    401      401   401
GET    /                                                              300    300    300      300   300
GET    /healthcheck                                                   200    200    200      200   200
GET    /metrics                                                       403    403    403      403   403
GET    /v1/openapi.json                                               200    200    200      200   200
"""
HEADER, *ROWS = [line.split() for line in TABLE.strip().splitlines()]

SECRET = "harbour"  # a word in everything that members of the project call their own
APP = {"?": {"id": f"{SECRET}-app", "type": "org.harbour.App"}, "name": SECRET}
NEW = {"?": {"id": f"{SECRET}-new", "type": "org.harbour.App"}}
# What is sent, by the route; a name that is "new" is so for everybody.
BODIES: dict[str, Any] = {
    "POST /v1/environments": {"name": "new"},
    "PUT /v1/environments/{environment}": {"name": "new"},
    "POST /v1/environments/{environment}/services": NEW,
    "PUT /v1/environments/{environment}/services": [NEW],
    "POST /v1/environments/{environment}/services/{path}": NEW,
    "PUT /v1/environments/{environment}/services/{path}": APP,
    "PATCH /v1/environments/{environment}/model/": [{"op": "replace", "path": "/defaultNetworks/flat", "value": True}],
    "POST /v1/environments/{environment}/actions/{action}": {},
    "POST /v1/actions": {"className": "org.harbour.App", "methodName": "greet"},
    "POST /v1/templates": {"name": "new"},
    "PUT /v1/templates/{template}": {"name": "new"},
    "POST /v1/templates/{template}/clone": {"name": "new"},
    "POST /v1/templates/{template}/create-environment": {"name": "new"},
    "POST /v1/templates/{template}/services": NEW,
    "PUT /v1/templates/{template}/services/{path}": APP,
    "PATCH /v1/catalog/packages/{package}": [{"op": "add", "path": "/tags", "value": ["new"]}],
    "PUT /v1/catalog/packages/{package}/lifecycle": {"lifecycle": "deprecated"},
    "POST /v1/catalog/categories": {"name": "new"},
    "POST /v1/catalog/imports": {"name": "org.example.Nowhere"},
    "POST /agents/v1/{agent}/enrol": {"session": "0" * 64},
    "POST /agents/v1/{agent}/poll": {},
    "POST /agents/v1/{agent}/output/{plan}": {"from": 0, "to": 0, "texts": []},
    "POST /agents/v1/{agent}/results/{plan}": {"ErrorCode": 0},
}
TYPES = {"PATCH": {"model": "application/env-model-json-patch", "packages": "application/murano-packages-json-patch"}}
UPLOADS = ("POST /v1/catalog/packages", "POST /v1/catalog/imports/file")
# Routes whose path leads elsewhere than the others': to a deployment that runs, to what is public, to what is unused.
PLACES = {
    "POST /v1/environments/{environment}/deployments/{deployment}/cancel": {
        "environment": "busy",
        "deployment": "running",
    },
    "GET /v1/environments/{environment}/actions/{action}": {"action": "deployment"},
    "GET /v1/environments/{environment}/model/{path}": {"path": "model_path"},
    "POST /v1/templates/{template}/clone": {"template": "public_template"},
}
WITH_SESSION = ("services", "services/{path}", "model/")  # what is written in a session, which the header names
MESSAGING = {"exchange": "personas"}

# What the engine says to a question, by the last part of the route's path.
ANSWERS: dict[str, Any] = {
    "check": {"problems": [], "notes": []},
    "plan": {"steps": [], "hash": "0" * 64, "moment": 1.0},
    "reconciliations": {"leftovers": [], "drift": [], "foreign": [], "skipped": [], "problems": []},
    "{stack}": {
        "stack_id": "s1",
        "name": "stack",
        "region": None,
        "project_id": "p",
        "environment_id": None,
        "environment_name": None,
        "status": None,
        "reason": "its environment is gone",
    },
}

World = dict[str, str]  # what the names in paths stand for


def test_the_table_has_every_route_of_the_document() -> None:
    assert sorted(HEADER) == sorted(PEOPLE)
    paths = openapi.document()["paths"]
    documented = [(method.upper(), path) for path, item in paths.items() for method in item]
    assert sorted((row[0], row[1]) for row in ROWS) == sorted(documented)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_everybody_gets_the_code_of_the_table(
    row: list[str], worlds: dict[str, World], cloud: Cloud, engine: ScriptedEngine
) -> None:
    method, path, *codes = row
    engine.answer = ANSWERS.get(path.rpartition("/")[2], {})
    found = {}
    for person in PEOPLE:
        client: Client = getattr(cloud, person)
        values = {**worlds["admin" if person == "admin" else "others"], "person": person}
        answer = call(client, method, path, values)
        found[person] = str(answer.status_int)
        if person in ("anonymous", "stranger") and (method, path) != ("GET", "/v1/templates"):
            says_nothing(answer.body.decode("utf-8", "replace"), cloud)
    assert found == dict(zip(HEADER, codes, strict=True))


def test_a_public_template_tells_only_whose_it_is(worlds: dict[str, World], cloud: Cloud) -> None:
    listed, _ = sorted(cloud.stranger.json("GET", "/v1/templates")["templates"], key=lambda each: str(each["name"]))
    assert listed.pop("tenant_id") == cloud.member.project_id
    assert listed["id"] == worlds["others"]["public_template"]
    assert set(listed) == {"id", "name", "version", "description_text", "is_public", "created", "updated"}


def call(client: Client, method: str, path: str, world: World) -> Any:
    """One request as the table's route has it."""
    route = f"{method} {path}"
    values = dict(world)
    for name, place in PLACES.get(route, {}).items():
        values[name] = world[place]
    headers = {}
    tail = path.partition("{environment}/")[2]
    if method != "GET" and tail in WITH_SESSION:
        headers["X_Configuration_Session"] = world["session"]
    if method == "PATCH":
        headers["Content_Type"] = next(kind for word, kind in TYPES["PATCH"].items() if word in path)
    if path.startswith("/agents"):
        headers["Authorization"] = f"Bearer {client.token or 'none'}"
    address = path.replace("{class}", "org.harbour.App").format(**values)
    if route in UPLOADS:
        raw, kind = multipart([("file", ("package.zip", archive_of("org.example.New")))])
        return client(method, address, raw=raw, status=None, **{**headers, "Content_Type": kind})
    body = BODIES.get(route)
    if route == "POST /v1/reconciliations":
        body = {"environment_id": world["environment"]}
    if isinstance(body, dict) and body.get("name") == "new":
        body = {"name": f"new-{world['person']}"}
    return client(method, address, body, status=None, **headers)


def says_nothing(text: str, cloud: Cloud) -> None:
    """Fails when an answer has something of the project in it that was not in the request."""
    for sent in ("org.harbour.App", APP["?"]["id"], NEW["?"]["id"]):
        text = text.replace(sent, "")
    assert SECRET not in text
    for word in (cloud.member.project_id, cloud.member.user_id, cloud.reader.user_id):
        assert word not in text


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedEngine]:
    with scripted(MESSAGING) as listening:
        yield listening


@pytest.fixture(scope="module")
def prepared(
    furnished: tuple[Path, Accounts], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, World]]:
    """A database with two of everything a route can lead to, made once: what a member deletes, an administrator does
    not find any more.
    """
    path = tmp_path_factory.mktemp("personas") / "catalog.sqlite"
    shutil.copy(furnished[0], path)
    running, database = serve(path)
    made = cloud_of(running, database, furnished[1])
    packages.import_archives(
        database,
        [archive_of("io.murano", version="0.0.1", classes=CORE, Type="Library")],
        owner_id=made.admin.project_id,
        is_public=True,
    )
    worlds = {"others": furnish(made, 1), "admin": furnish(made, 2)}
    running.close()
    return path, worlds


@pytest.fixture
def worlds(prepared: tuple[Path, dict[str, World]]) -> dict[str, World]:
    return prepared[1]


@pytest.fixture
def cloud(prepared: tuple[Path, dict[str, World]], furnished: tuple[Path, Accounts], tmp_path: Path) -> Iterator[Cloud]:
    shutil.copy(prepared[0], tmp_path / "catalog.sqlite")
    running, database = serve(tmp_path / "catalog.sqlite")
    yield cloud_of(running, database, furnished[1])
    running.close()


def serve(path: Path) -> tuple[service.Service, Database]:
    options = {"database": {"connection": f"sqlite:///{path}"}, "messaging": MESSAGING}
    conf = config.load(overrides=options)
    database = Database(conf.database.connection)
    return service.create_app(conf, database=database), database


def furnish(cloud: Cloud, number: int) -> World:
    """One of everything, owned by the member."""
    member = cloud.member
    package = member.upload(archive_of("org.harbour.App", version=f"0.{number}.0")).json["id"]
    member("PUT", f"/v1/catalog/packages/{package}/shares/somebody")
    environment, deployment = deployed(cloud, f"{SECRET}-{number}")
    finish(cloud, environment, {"result": None, "isException": False})
    session = member.session(environment)
    busy, running = deployed(cloud, f"{SECRET}-busy-{number}")
    body = {"name": f"{SECRET}-{number}", "services": [APP]}
    return {
        "package": package,
        "project": "somebody",
        "environment": environment,
        "deployment": deployment,
        "session": session,
        "busy": busy,
        "running": running,
        "template": member.json("POST", "/v1/templates", body)["id"],
        "public_template": member.json("POST", "/v1/templates", {"name": f"public-{number}", "is_public": True})["id"],
        "category": cloud.admin.json("POST", "/v1/catalog/categories", {"name": f"unused-{number}"})["id"],
        "action": "a1_scaleUp",
        "path": f"{SECRET}-app",
        "model_path": f"services/{SECRET}-app",
        "instance": "i1",
        "methods": "modelBuilder",
        "stack": "s1",
        "agent": "0" * 32,
        "plan": "p1",
    }


def deployed(cloud: Cloud, name: str) -> tuple[str, str]:
    """An environment and its deployment, which has begun."""
    environment = cloud.member.environment(name)["id"]
    where = f"/v1/environments/{environment}"
    session = cloud.member.session(environment)
    cloud.member("POST", f"{where}/services", APP, X_Configuration_Session=session)
    cloud.member("POST", f"{where}/sessions/{session}/deploy")
    [deployment] = cloud.member.json("GET", f"{where}/deployments")["deployments"]
    return environment, deployment["id"]
