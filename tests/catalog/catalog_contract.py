"""Holds answers of the service against its OpenAPI document: status, headers, type and body.

`hold(method, path, answer)` is called by the tests' client for every answer there is.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from typing import Any

import jsonschema
import referencing
import webob
from referencing.jsonschema import DRAFT202012

from catalog.api import openapi

# What a web server or a browser needs on any answer; everything else is for clients and has to be documented.
PLAIN_HEADERS = {"connection", "content-type", "content-length", "date", "server", "vary"}
DOCUMENT = "urn:chandlery:openapi"
OTHERS = ("/identity", "/dashboard")  # applications with documents of their own, or for people


def hold(method: str, path: str, answer: webob.Response) -> None:
    """Fails when the document does not allow this answer."""
    where = f"{method} {path} -> {answer.status_int}"
    place = urllib.parse.unquote(path.partition("?")[0], errors="replace")
    place = "/" + "/v1/".join(re.split(r"^/*v1/+", place)).lstrip("/")
    if place.endswith("/services/"):  # the one path whose last slash does not matter
        place = place[:-1]
    found = _operation(method.lower(), place)
    if found is None:
        if place.startswith("/v1/") or place == "/v1":
            assert answer.status_int in (400, 401, 404), f"{where}: no such route is documented"
        return
    pointer, operation = found
    status = str(answer.status_int)
    assert status in operation["responses"], f"{where}: documented are {', '.join(operation['responses'])}"
    pointer, documented = _resolved(f"{pointer}/responses/{status}", operation["responses"][status])
    _hold_headers(where, pointer, documented, answer)
    _hold_body(where, pointer, documented, answer)


def _hold_headers(where: str, pointer: str, documented: dict[str, Any], answer: webob.Response) -> None:
    headers = {name.lower(): (name, header) for name, header in documented.get("headers", {}).items()}
    for name, value in answer.headers.items():
        if name.lower() in PLAIN_HEADERS:
            continue
        assert name.lower() in headers, f"{where}: the header {name} is not documented"
        original, header = headers[name.lower()]
        place, header = _resolved(f"{pointer}/headers/{_escaped(original)}", header)
        _validator(f"{place}/schema").validate(value)
    for name, (original, header) in headers.items():
        _, header = _resolved(original, header)
        assert not header.get("required") or name in answer.headers, f"{where}: the header {original} is missing"


def _hold_body(where: str, pointer: str, documented: dict[str, Any], answer: webob.Response) -> None:
    kinds = documented.get("content", {})
    if "text/event-stream" in kinds or not answer.body:
        return
    kind = answer.content_type
    assert kind in kinds, f"{where}: a body of type {kind}; documented are {', '.join(kinds) or 'none'}"
    if "schema" in kinds[kind] and kind == "application/json":
        try:
            _validator(f"{pointer}/content/{_escaped(kind)}/schema").validate(answer.json)
        except jsonschema.ValidationError as failure:
            place = "/".join(map(str, failure.absolute_path))
            raise AssertionError(f"{where}: /{place} of the body: {failure.message}") from failure


@functools.cache
def _operations() -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    """Every path as pattern, pointer and path item; those with fewer parameters first."""
    found = []
    for path, item in openapi.document()["paths"].items():
        parts = re.split(r"\{(\w+)\}", path)
        expression = "".join(
            (".+" if part == "path" else "[^/]+") if position % 2 else re.escape(part)
            for position, part in enumerate(parts)
        )
        found.append((len(parts), re.compile(expression, re.DOTALL), f"/paths/{_escaped(path)}", item))
    return [(pattern, pointer, item) for _, pattern, pointer, item in sorted(found, key=lambda each: each[0])]


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    if path.startswith(OTHERS):
        return None
    for pattern, pointer, item in _operations():
        if method in item and pattern.fullmatch(path):
            return f"{pointer}/{method}", item[method]
    return None


def _resolved(pointer: str, value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a value refers to, if it is a reference, and where it is."""
    while "$ref" in value:
        pointer = value["$ref"].removeprefix("#")
        value = openapi.document()
        for part in pointer.split("/")[1:]:
            value = value[part]
    return pointer, value


@functools.cache
def _validator(pointer: str) -> Any:
    registry: Any = referencing.Registry().with_resource(DOCUMENT, DRAFT202012.create_resource(openapi.document()))
    return jsonschema.Draft202012Validator(
        {"$ref": f"{DOCUMENT}#{urllib.parse.quote(pointer, safe='/~')}"}, registry=registry
    )


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
