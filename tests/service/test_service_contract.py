"""Schemathesis holds a running service to its OpenAPI document: every route, every check, as member and administrator.

Requests are derived from the document: valid ones, and ones that break it in one place. They are the same in every
run. Ids in them are replaced by those of things that exist, most times, so that there is more to see than a 404.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import contract_ground
import pytest
import schemathesis
import service_process
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

import packages
from catalog.api import openapi
from catalog.repositories import build
from cli import client
from cli.commands import repository

pytestmark = pytest.mark.contract

# What is valid by its schema and still a 400, because a schema cannot say it: (method, path) -> what it cannot say.
BEYOND_SCHEMAS = {
    ("POST", "/v1/environments"): "that an id is there once",
    ("POST", "/v1/environments/{environment}/services"): "that an id is there once",
    ("PUT", "/v1/environments/{environment}/services"): "that an id is there once",
    ("PUT", "/v1/environments/{environment}/services/{path}"): "what may stand where the path leads",
    ("PATCH", "/v1/environments/{environment}/model/"): "what may stand where the paths lead",
    ("POST", "/v1/actions"): "what a version specification is, and which arguments the method takes",
    ("POST", "/v1/templates"): "that an id is there once",
    ("POST", "/v1/templates/{template}/services"): "that an id is there once",
    ("PUT", "/v1/templates/{template}/services/{path}"): "what may stand where the path leads",
    ("POST", "/v1/catalog/packages"): "what is in an archive",
    ("PATCH", "/v1/catalog/packages/{package}"): "which categories there are",
    ("POST", "/v1/catalog/imports"): "what a version specification is, and which categories there are",
    ("GET", "/v1/schemas/{class}"): "what a version specification is",
    ("GET", "/v1/schemas/{class}/{methods}"): "what a version specification is",
}
# A valid request may be refused for what there is, or because its Idempotency-Key was another one's (422).
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "422", "502", "503", "504"]
CONFIG = {
    "seed": 1,
    "suppress-health-check": ["all"],
    "request-timeout": contract_ground.TIMEOUT,
    "generation": {
        "max-examples": 5,
        "deterministic": True,
        "no-shrink": True,
        "database": "none",
        "with-security-parameters": False,  # the token is the test's
        "allow-x00": False,  # no database takes a NUL: a 400 wherever it is
    },
    "phases": {"coverage": {"unexpected-methods": ["PATCH", "TRACE"]}},
    "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
    "operations": [
        {
            "include-method": method,
            "include-path": path,
            "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}},
        }
        for method, path in BEYOND_SCHEMAS
    ],
}
schemathesis.serializer.alias(
    ["application/env-model-json-patch", "application/murano-packages-json-patch"], "application/json"
)
AS_MEMBER = schemathesis.openapi.from_dict(openapi.document(), config=SchemathesisConfig.from_dict(CONFIG))
AS_ADMINISTRATOR = schemathesis.openapi.from_dict(
    openapi.document(), config=SchemathesisConfig.from_dict({**CONFIG, "phases": {"coverage": {"enabled": False}}})
)
GENERATED = 4  # one of so many requests keeps the ids it was generated with


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[contract_ground.Ground]:
    folder = tmp_path_factory.mktemp("contract")
    build.build(repository.package_folders([packages.folder()]), folder / "repository")
    with service_process.installed(folder / "service", folder / "repository") as running:
        file = running.service.data / client.CREDENTIALS_FILE
        accounts = {name: client.Credentials.from_file(file, name) for name in ("demo", "admin")}
        yield contract_ground.Ground(running.service.url, accounts)


@AS_MEMBER.parametrize()
def test_the_service_keeps_to_its_document_for_members(case: Any, ground: contract_ground.Ground) -> None:
    hold(case, ground, "demo")


@AS_ADMINISTRATOR.parametrize()
def test_the_service_keeps_to_its_document_for_administrators(case: Any, ground: contract_ground.Ground) -> None:
    hold(case, ground, "admin")


def hold(case: Any, ground: contract_ground.Ground, account: str) -> None:
    """Sends a generated request and checks the answer. A method that a path has not is a 404 (spec/api-v1 §1.3)."""
    lead(case, ground)
    headers = {"X-Auth-Token": ground.tokens[account]}
    answer = case.call(base_url=ground.url, headers=headers)
    if answer.status_code == 200:
        note_what_is_gone(case, ground)
    if answer.request.method != case.operation.method.upper() and case.operation.path.startswith("/v1/"):
        assert answer.status_code == 404, f"{answer.request.method} {case.operation.path}: {answer.status_code}"
    case.validate_response(answer, headers=headers, excluded_checks=[checks.unsupported_method])


def lead(case: Any, ground: contract_ground.Ground) -> None:
    """Has a generated request lead to what exists, most times; a session first, as it may take a new environment."""
    if "X-Configuration-Session" in (case.headers or {}) and case.meta.generation.mode.is_positive:
        case.headers["X-Configuration-Session"] = ground.id("session")
    given = case.path_parameters or {}
    if zlib.crc32(repr(sorted(given.items())).encode()) % GENERATED:
        for name in given:
            if name in contract_ground.MAKERS:
                given[name] = ground.id(name)


def note_what_is_gone(case: Any, ground: contract_ground.Ground) -> None:
    last = case.operation.path.rpartition("/")[2].strip("{}")
    if case.method == "DELETE" or last == "deploy":
        ground.forget(last)
