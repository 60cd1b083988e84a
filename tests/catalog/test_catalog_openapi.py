"""The OpenAPI document describes the routes there are, no more and no fewer, and it is a valid one."""

from __future__ import annotations

import pathlib
import re

import openapi_spec_validator
from catalog_cloud import Cloud

from catalog.api import openapi
from catalog.api.openapi import reference
from catalog.api.v1 import urls

# The 53 method-path pairs of Murano's router (spec/api-v1 §1.3), its names of path parameters replaced by ours.
E = "/v1/environments/{environment}"
T = "/v1/templates/{template}"
P = "/v1/catalog/packages/{package}"
MURANO = f"""
    GET POST PUT DELETE {E}/services
    GET POST PUT DELETE {E}/services/{{path}}
    GET POST            /v1/environments
    GET PUT DELETE      {E}
    GET                 {E}/lastStatus
    GET                 {E}/model/{{path}}
    PATCH               {E}/model/
    GET POST            /v1/templates
    GET PUT DELETE      {T}
    POST                {T}/create-environment
    POST                {T}/clone
    GET POST            {T}/services
    GET PUT DELETE      {T}/services/{{path}}
    GET                 {E}/deployments
    GET                 {E}/deployments/{{deployment}}
    GET                 /v1/deployments
    POST                {E}/configure
    GET DELETE          {E}/sessions/{{session}}
    POST                {E}/sessions/{{session}}/deploy
    GET                 {E}/instance-statistics/raw/{{instance}}
    GET                 {E}/instance-statistics/raw
    GET                 {E}/instance-statistics/aggregated
    GET POST            {E}/actions/{{action}}
    POST                /v1/actions
    GET PATCH DELETE    {P}
    GET POST            /v1/catalog/packages
    GET                 {P}/ui
    GET                 {P}/logo
    GET                 {P}/supplier_logo
    GET                 {P}/download
    GET POST            /v1/catalog/categories
    GET DELETE          /v1/catalog/categories/{{category}}
    GET                 /v1/stats
    GET                 /v1/schemas/{{class}}/{{methods}}
    GET                 /v1/schemas/{{class}}
"""


def documented() -> set[tuple[str, str]]:
    """Every (method, path) of the document."""
    paths = openapi.document()["paths"]
    return {(method.upper(), path) for path, item in paths.items() for method in item}


def served() -> set[tuple[str, str]]:
    """Every (method, path) of the URL map. A rest of a path that may be empty makes two, unless a slash precedes it."""
    found = set()
    for route in urls.ROUTES:
        path = "/v1" + route.path
        stem = re.sub(r"\{\w+\.\.\.\}$", "", path)
        if stem == path or not stem.endswith("/"):
            found.add((route.method, stem))
        if stem != path:
            found.add((route.method, stem.rstrip("/") + "/{path}"))
    return found


def test_the_document_is_valid_openapi() -> None:
    openapi_spec_validator.validate(openapi.document())


def test_the_document_and_the_url_map_have_the_same_routes() -> None:
    own = {("GET", "/v1/openapi.json")}  # the document itself needs no login, and is mounted beside the URL map
    whole_model = {("GET", f"{E}/model/")}  # the empty rest of `model/{path...}`, described by itself
    ours = {(method, path) for method, path in documented() if path.startswith("/v1/")}
    assert ours - own - whole_model == served()
    assert own | whole_model <= ours


def test_every_call_of_murano_is_in_the_document() -> None:
    rows = [line.split() for line in MURANO.strip().splitlines()]
    calls = {(method, path) for *methods, path in rows for method in methods}
    assert len(calls) == 57  # the original's router entries, of which four are the bare forms of `services`
    assert calls <= documented()


def test_every_reference_of_the_document_leads_somewhere_and_every_component_is_used() -> None:
    document = openapi.document()
    references: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                references.add(value["$ref"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    defined = {
        f"#/components/{kind}/{name}"
        for kind, components in document["components"].items()
        for name in components
        if kind != "securitySchemes"
    }
    assert references == defined


def test_every_operation_has_an_id_of_its_own_and_says_what_it_is_for() -> None:
    operations = [operation for item in openapi.document()["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"].endswith(".") for operation in operations)


def test_the_service_hands_the_document_to_everybody(cloud: Cloud) -> None:
    answer = cloud.anonymous("GET", "/v1/openapi.json")
    assert answer.json == {**openapi.document(), "servers": [{"url": "http://localhost"}]}
    cloud.anonymous("POST", "/v1/openapi.json", status=404)


def test_the_reference_in_the_documentation_is_the_documents() -> None:
    """`python -m catalog.api.openapi.reference > docs/api-reference.md` makes it so."""
    path = pathlib.Path(__file__).parents[2] / "docs" / "api-reference.md"
    assert path.read_text(encoding="utf-8") == reference.page()
