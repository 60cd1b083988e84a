"""The OpenAPI document as a page for people: `python -m catalog.api.openapi.reference > docs/api-reference.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from catalog.api import openapi

Json = dict[str, Any]

# Told once for all calls, not with each of them.
SHARED_PARAMETERS = ("idempotency_key", "if_none_match")
SHARED_CODES = {*map(str, openapi.SHARED_ERRORS), "304", "422"}

INTRODUCTION = """\
# Reference of the REST API

Made from the OpenAPI document that the service hands out at `/v1/openapi.json`, by
`python -m catalog.api.openapi.reference > docs/api-reference.md`. What all calls have in common, and how they are used
together, is told on [the page about the API](api.md).
"""


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join(_lines(openapi.document())) + "\n"


def _lines(document: Json) -> Iterator[str]:
    yield INTRODUCTION
    yield from _shared(document)
    for tag in document["tags"]:
        yield f"## {tag['name']}\n"
        yield f"{_text(tag['description'])}\n"
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(document, f"{method.upper()} {path}", operation)
    yield "## Values\n"
    for name, schema in document["components"]["schemas"].items():
        yield from _schema(name, schema)


def _shared(document: Json) -> Iterator[str]:
    """What would otherwise be said with every call."""
    yield "## All calls\n"
    yield "| header | of every | |\n| --- | --- | --- |"
    for name, method in zip(SHARED_PARAMETERS, ("POST", "GET"), strict=True):
        header = document["components"]["parameters"][name]
        yield f"| `{header['name']}` | {method} | {_cell(header['description'])} |"
    yield ""
    yield "| code | when |\n| --- | --- |"
    for name, answer in document["components"]["responses"].items():
        if name.startswith("Error"):
            yield f"| {name.removeprefix('Error')} | {_cell(answer['description'])} |"
    shared = ", ".join(map(str, openapi.SHARED_ERRORS))
    yield f"\nAny call below `/v1` may answer {shared}; only what else it may answer is told with it.\n"


def _operation(document: Json, title: str, operation: Json) -> Iterator[str]:
    yield f"### `{title}`\n"
    yield f"{_text(operation['summary'])} {_text(operation.get('description', ''))}".strip() + "\n"
    own = [each for each in operation["parameters"] if each.get("$ref", "").rpartition("/")[2] not in SHARED_PARAMETERS]
    parameters = [_resolved(document, each) for each in own]
    if parameters:
        yield "| parameter | in | type | |\n| --- | --- | --- | --- |"
        for each in parameters:
            said = ("Required. " if each.get("required") and each["in"] != "path" else "") + each.get("description", "")
            yield f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {_cell(said)} |"
        yield ""
    if "requestBody" in operation:
        body = operation["requestBody"]
        yield f"Body{'' if body.get('required') else ' (optional)'}: {_content(body['content'])}\n"
    for code, answer in operation["responses"].items():
        if int(code) < 400 and code not in SHARED_CODES:
            said = _resolved(document, answer)
            content = f": {_content(said['content'])}" if "content" in said else ""
            yield f"- {code}{content}. {_text(said['description'])}"
    told = SHARED_CODES if operation["security"] == [{"token": []}] else set()
    further = [code for code in operation["responses"] if int(code) >= 400 and code not in told]
    if further:
        yield f"- errors: {', '.join(sorted(further))}"
    yield ""


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield f'<a id="value-{name.lower()}"></a>\n'
    yield f"### {name}\n"
    if "properties" not in schema:
        yield f"{_sentence(_kind(schema))} {_text(schema.get('description', ''))}".strip() + "\n"
        return
    if "description" in schema:
        yield f"{_text(schema['description'])}\n"
    yield "| field | type | |\n| --- | --- | --- |"
    for field, inner in schema["properties"].items():
        optional = "" if field in schema.get("required", ()) else "Optional. "
        yield f"| `{field}` | {_kind(inner)} | {_cell(optional + inner.get('description', ''))} |"
    if schema.get("additionalProperties", True) is not False:
        yield "\nOther fields are allowed."
    yield ""


def _content(content: Json) -> str:
    return " or ".join(
        f"`{kind}`" + (f", {_kind(value['schema'])}" if "schema" in value else "") for kind, value in content.items()
    )


def _kind(schema: Json) -> str:
    """What a value is, in a few words; a schema with a name as a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#value-{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_kind(each) for each in schema[key])
    if "allOf" in schema:
        return " and ".join(_kind(each) for each in schema["allOf"] if "$ref" in each)
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kinds = schema.get("type", "any value")
    words = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_of_type(word, schema) for word in words)


def _of_type(word: str, schema: Json) -> str:
    if word == "array" and "items" in schema:
        return f"array of {_kind(schema['items'])}"
    if word == "object" and schema.get("maxProperties") == 0:
        return "empty object"
    if word == "object" and "properties" in schema:
        fields = (
            f"`{name}`{'' if name in schema.get('required', ()) else '?'}: {_kind(inner)}"
            for name, inner in schema["properties"].items()
        )
        return "{" + ", ".join(fields) + "}"
    if word == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    return word


def _resolved(document: Json, value: Json) -> Json:
    while "$ref" in value:
        found: Any = document
        for part in value["$ref"].split("/")[1:]:
            found = found[part]
        value = found
    return value


def _text(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


if __name__ == "__main__":
    sys.stdout.write(page())
