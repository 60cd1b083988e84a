"""The OpenAPI 3.1 document of the service, assembled from one file per area beside this module.

A file is OpenAPI in YAML minus what all routes have in common: its paths are those of the URL map (`v1.urls`),
below its `prefix`; path parameters, the shared errors, the request id and the security scheme are added here.
`errors` lists the further status codes of a route. `document()` makes the whole; `openapi_app` serves it.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import webob
import yaml

from catalog.api import errors

AREAS = (
    "document",
    "environments",
    "receipts",
    "sessions",
    "applications",
    "deployments",
    "actions",
    "templates",
    "packages",
    "categories",
    "repositories",
    "schemas",
    "statistics",
    "agents",
    "service",
)
METHODS = ("get", "post", "put", "patch", "delete")
# What any route of version 1 may answer beside what is its own: any body may be too much or of a wrong type, any
# call may be against the operator's policy, any database may be away.
SHARED_ERRORS = (400, 401, 403, 406, 413, 415, 500, 503)
# What any route of version 1 takes and answers by its method: a parameter, status codes, a header of the answer.
BY_METHOD = {
    "get": ("if_none_match", (304,), "ETag"),
    "post": ("idempotency_key", (409, 422), "Idempotent-Replayed"),
}
COMPONENTS = ("schemas", "parameters", "headers", "responses", "securitySchemes")

Json = dict[str, Any]


@functools.cache
def document() -> Json:
    """The whole document; a value that is shared: do not change it."""
    whole: Json = {"paths": {}, "components": {kind: {} for kind in COMPONENTS}, "tags": []}
    for area in AREAS:
        _add(whole, area, _read(area))
    return whole


def openapi_app(root_url: Callable[[Mapping[str, Any]], str]) -> Callable[[Json, Any], Iterable[bytes]]:
    """The WSGI application that answers the document; `root_url` tells a request's root URL of the service."""

    def answer(environ: Json, start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            missing = errors.NotFound(f"{environ['REQUEST_METHOD']} /v1/openapi.json: there is no such resource")
            return errors.response(missing, environ.get("HTTP_ACCEPT"), environ.get("openstack.request_id", ""))(
                environ, start_response
            )
        body = json.dumps({**document(), "servers": [{"url": root_url(environ)}]}).encode()
        return webob.Response(body=body, content_type="application/json", charset=None)(environ, start_response)

    return answer


def _read(area: str) -> Json:
    text = importlib.resources.files(__name__).joinpath(f"{area}.yaml").read_text(encoding="utf-8")
    value: Json = yaml.load(text, yaml.CSafeLoader)
    return value


def _add(whole: Json, area: str, part: Json) -> None:
    """Merges one file. Raises `ValueError` for a name that two files define."""
    for kind in COMPONENTS:
        for name, value in part.get(kind, {}).items():
            if name in whole["components"][kind]:
                raise ValueError(f"catalog/api/openapi/{area}.yaml: {kind}/{name} is defined in another file, too")
            whole["components"][kind][name] = value
    for key in ("openapi", "info", "externalDocs", "jsonSchemaDialect"):
        if key in part:
            whole[key] = part[key]
    if "tag" in part:
        whole["tags"].append(part["tag"])
    prefix = part.get("prefix", "/v1")
    for path, operations in part.get("paths", {}).items():
        item = whole["paths"].setdefault(prefix + path, {})
        for method, operation in operations.items():
            if method not in METHODS or method in item:
                raise ValueError(f"catalog/api/openapi/{area}.yaml: {path}: {method} is no method or there twice")
            item[method] = _complete(operation, method, prefix + path, part)


def _complete(operation: Json, method: str, path: str, part: Json) -> Json:
    """An operation with everything that goes without saying in its file."""
    names = re.findall(r"\{(\w+)\}", path)
    parameters = [*(_reference("parameters", name) for name in names), *operation.get("parameters", ())]
    codes = {*operation.get("errors", ()), *part.get("errors", SHARED_ERRORS)}
    responses = {str(code): _with_request_id(answer) for code, answer in operation["responses"].items()}
    if "errors" not in part:
        if names:
            codes.add(404)
        if method in BY_METHOD and not _is_stream(operation):
            parameter, more, header = BY_METHOD[method]
            parameters.append(_reference("parameters", parameter))
            codes.update(more)
            if "200" in responses:
                responses["200"]["headers"][header] = _reference("headers", header.replace("-", ""))
    for code in sorted(codes):
        kind = part.get("error", "Error") if code >= 400 else "Answer"
        responses.setdefault(str(code), _reference("responses", f"{kind}{code}"))
    own = {key: value for key, value in operation.items() if key not in ("errors", "parameters", "responses")}
    words = re.findall(r"\w+", path)
    return {
        "operationId": "_".join([method, *(words[1:] if words[:1] == ["v1"] else words)]),
        "tags": [part["tag"]["name"]],
        "security": part.get("security", [{"token": []}]),
        **own,
        "parameters": parameters,
        "responses": responses,
    }


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _is_stream(operation: Json) -> bool:
    return any("text/event-stream" in answer.get("content", {}) for answer in operation["responses"].values())


def _with_request_id(answer: Json) -> Json:
    if "$ref" in answer:
        return answer
    headers = {"x-openstack-request-id": _reference("headers", "RequestId"), **answer.get("headers", {})}
    return {**answer, "headers": headers}
